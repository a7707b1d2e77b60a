"""Held after every test here: no tap, hook or mode of the watching is left in the process."""

from __future__ import annotations

import pytest
import torch

from relume.torch.watching.schedule import taps


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    hooks = torch.nn.modules.module
    assert taps._subscribers == ()
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks
    assert not torch.optim.Optimizer.step.__globals__["_global_optimizer_post_hooks"]
    assert torch._C._len_torch_function_stack() == 0


class Kept(list):
    """What was logged: a list of (step, metrics)."""

    def __call__(self, metrics, step):
        self.append((step, metrics))


@pytest.fixture
def kept():
    return Kept()
