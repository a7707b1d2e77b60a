"""For trial processes: PyTorch's one-time work, done once for all of them, and the files that PyTorch writes itself."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import torch


def warm() -> None:
    """Take one optimizer step: the first one of a process loads a compiler, which takes a second.

    The random state does not change. Nothing runs in parallel: such a process could not be forked.
    """
    state = torch.random.get_rng_state()
    parameter = torch.nn.Parameter(torch.zeros(1))
    for kind in (torch.optim.SGD, torch.optim.Adam):
        parameter.grad = torch.zeros(1)
        kind([parameter], lr=0.0).step()
    torch.manual_seed(0)  # without a GPU it stores its stack, and so reads PyTorch's sources
    torch.random.set_rng_state(state)


def reseed() -> None:
    """Draw a new seed, like a fresh process: a forked one has its parent's."""
    torch.default_generator.seed()


def announce_saving() -> None:
    """Raise Python's audit event for a file that ``torch.save`` opens: its writer is C++, and raises none."""
    own = torch.serialization._open_zipfile_writer

    @functools.wraps(own)
    def writer(name_or_buffer: Any) -> Any:
        if torch.serialization._is_path(name_or_buffer):
            sys.audit("open", name_or_buffer, "wb", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        return own(name_or_buffer)

    torch.serialization._open_zipfile_writer = writer
