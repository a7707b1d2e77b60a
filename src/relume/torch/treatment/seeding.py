"""PyTorch's seeding calls, which take the trial's seed; see :mod:`relume.treatment.seeding`."""

from __future__ import annotations

import inspect
import sys
from functools import partial
from types import FrameType, FunctionType
from typing import Any

import torch

from relume.treatment import seeding
from relume.treatment.seeding import USER, Caller, Seeding, like, remapped
from relume.watching.patches import Patches

_UNSEEDED = 67280421310721
"""PyTorch's default seed of a generator."""

_THROUGH = ("/torch/_compile.py", "/torch/_dynamo/")  # dynamo wraps torch.manual_seed


def seed_torch(seeds: Seeding, patches: Patches) -> None:
    """Seed PyTorch, and start remapping its seeds."""
    torch.manual_seed(seeds.k)
    for home, name in (
        (torch, "manual_seed"),
        *((part, name) for part in (torch.cuda, torch.xpu) for name in ("manual_seed", "manual_seed_all")),
        (torch.mps, "manual_seed"),
    ):
        function = inspect.unwrap(getattr(home, name, _absent))
        if function is not _absent and isinstance(function, FunctionType):
            _replace(function, partial(seeds.new, f"{home.__name__}.{name}"), patches)
    patches.put(torch, "Generator", _generator_class(seeds))

    def from_the_clock() -> int:
        fresh = seeds.new("torch.seed", None, _caller_of(sys._getframe(1)))
        if fresh is None:
            return original()
        manual_seed(fresh)  # from here: a library's call, which does not change
        return fresh

    original, manual_seed = torch.seed, torch.manual_seed
    for home in (torch, torch.random):
        patches.put(home, "seed", from_the_clock)


def _replace(function: FunctionType, new: Any, patches: Patches) -> None:
    """Replaces a function's code, so that every reference to it is seeded alike."""
    original = FunctionType(function.__code__, function.__globals__, function.__name__)

    def call(seed: Any) -> Any:
        return original(new(seed, _caller_of(sys._getframe(2))))

    name = f"_relume_{function.__name__}"
    made: dict[str, Any] = {}
    exec(compile(f"def entry(seed):\n    return {name}(seed)\n", __file__, "exec"), made)
    patches.put_code(function, made["entry"], **{name: call})


def _caller_of(frame: FrameType) -> Caller:
    return seeding.caller_of(frame, _THROUGH)


def _absent(seed: int) -> None:
    """Placeholder for a function that this PyTorch does not have."""


def _generator_class(seeds: Seeding) -> Any:
    base: Any = torch.Generator

    class Generator(base, metaclass=like(base)):  # type: ignore[metaclass]
        """PyTorch's, with the trial's seed if the script created it."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            self = base.__new__(cls, *args, **kwargs)
            self._relume_made_by = _caller_of(sys._getframe(1)).who
            if self._relume_made_by == USER and seeds.offset:
                base.manual_seed(self, remapped(_UNSEEDED, seeds.offset))
            return self

        def manual_seed(self, seed: int) -> Any:
            caller = _caller_of(sys._getframe(1))._replace(who=self._relume_made_by)
            base.manual_seed(self, seeds.new("torch.Generator.manual_seed", seed, caller))
            return self

        def seed(self) -> int:
            caller = _caller_of(sys._getframe(1))._replace(who=self._relume_made_by)
            fresh = seeds.new("torch.Generator.seed", None, caller)
            if fresh is None:
                return base.seed(self)
            base.manual_seed(self, fresh)
            return fresh

    return Generator
