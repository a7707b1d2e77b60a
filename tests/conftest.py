"""Settings and fixtures of all tests."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def nothing_compiled_before():
    """No file's tests depend on what another's have compiled: relume watches compiled code in another way."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is not None and any(backend is not None for backend in dynamo.cached_backends.values()):
        sys.modules["torch._dynamo"].reset()
