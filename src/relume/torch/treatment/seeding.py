"""Seeds without an edit: if the script seeds with u, a trial of seed k seeds with u + k · φ; k = 0 changes nothing.

φ = 0x9E3779B97F4A7C15, 2⁶⁴ divided by the golden ratio, so a script that seeds with 0, 1, 2 … never repeats the numbers
of another trial. Calls by the script's own code and by trainers get another seed; calls by an installed library for its
own data do not.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
import sysconfig
from collections.abc import Collection
from types import FrameType, FunctionType
from typing import Any, NamedTuple

import torch

from relume.torch.watching.where import places
from relume.watching.patches import Patches

STRIDE = 0x9E3779B97F4A7C15
_UNSEEDED = 67280421310721
"""PyTorch's default seed of a generator."""

TRAINERS = frozenset(
    (
        *("lightning", "pytorch_lightning", "lightning_fabric", "transformers", "accelerate", "fastai", "ignite"),
        *("timm", "skorch", "composer", "catalyst", "stable_baselines3", "torchrl", "tianshou", "ultralytics"),
    )
)
"""Packages whose seeding helpers count as the script's own calls."""

_LIBRARIES = tuple(
    {os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {os.path.dirname(os.path.dirname(torch.__file__)) + os.sep}  # it may come from another environment's folder
)
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_THROUGH = (  # frames between the caller and relume; dynamo wraps torch.manual_seed
    _OURS,
    *(os.path.join(os.path.dirname(torch.__file__), *part) for part in (("_compile.py",), ("_dynamo", ""))),
)
_RANDOM = random.__file__  # Random.__init__ seeds itself

USER, TRAINER, LIBRARY = "script", "trainer", "library"


def remapped(seed: int, k: int, modulus: int = 2**64) -> int:
    """The seed that a trial of seed ``k`` uses instead of ``seed``; the same for k = 0."""
    return (int(seed) + k * STRIDE) % modulus if k else seed


class Seeding:
    """Seeds one trial.

    Args:
        k: the trial's seed.
        remap: give seeding calls another seed; False if the script gets its seed as an argument.
        keep: the places, ``file:line``, of seeding calls that keep their seed.
    """

    def __init__(self, k: int, *, remap: bool = True, keep: Collection[str] = ()) -> None:
        self._k = k
        self._keep = frozenset(keep)
        self._remap = k if remap else 0
        self._fresh = 0
        self.seen: list[str] = []

    def start(self, patches: Patches) -> None:
        """Seed all three, and start remapping."""
        self._seed_all()
        self._torch(patches)
        self._random(patches)
        if "numpy" in sys.modules:
            self._numpy(patches)

    def _seed_all(self) -> None:
        torch.manual_seed(self._k)
        random.seed(self._k)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed(self._k % 2**32)

    def new(self, call: str, seed: Any, caller: Caller, modulus: int = 2**64) -> Any:
        """The seed that a call gets instead; None, a seed from the clock, becomes the trial's own."""
        if caller.who == LIBRARY:
            return seed
        self._note(call, seed, caller.place)
        if seed is not None and caller.place in self._keep:
            return seed
        if seed is None:
            self._fresh += 1
            return (self._k * STRIDE + self._fresh) % modulus
        if isinstance(seed, int) or hasattr(seed, "__index__"):
            return remapped(int(seed), self._remap, modulus) if self._remap else seed
        if self._remap and isinstance(seed, (list, tuple)) and seed:
            return [remapped(int(seed[0]), self._remap, 2**32), *seed[1:]]
        if self._remap and isinstance(seed, str):
            return f"{seed}{self._remap}"
        return seed

    def _note(self, call: str, seed: Any, place: str) -> None:
        written = f"{call}({'' if seed is None else seed}) at {place}"
        if written not in self.seen and len(self.seen) < 50:
            self.seen.append(written)

    # ---- PyTorch --------------------------------------------------------------------------------------------------

    def _torch(self, patches: Patches) -> None:
        for home, name in (
            (torch, "manual_seed"),
            *((part, name) for part in (torch.cuda, torch.xpu) for name in ("manual_seed", "manual_seed_all")),
            (torch.mps, "manual_seed"),
        ):
            function = inspect.unwrap(getattr(home, name, _absent))
            if function is not _absent and isinstance(function, FunctionType):
                self._replace(function, f"{home.__name__}.{name}", patches)
        patches.put(torch, "Generator", _generator_class(self))

        def from_the_clock() -> int:
            fresh = self.new("torch.seed", None, caller_of(sys._getframe(1)))
            if fresh is None:
                return original()
            manual_seed(fresh)  # from here: a library's call, which does not change
            return fresh

        original, manual_seed = torch.seed, torch.manual_seed
        for home in (torch, torch.random):
            patches.put(home, "seed", from_the_clock)

    def _replace(self, function: FunctionType, shown: str, patches: Patches) -> None:
        """Replaces a function's code, so that every reference to it is seeded alike."""
        original = FunctionType(function.__code__, function.__globals__, function.__name__)

        def call(seed: Any) -> Any:
            return original(self.new(shown, seed, caller_of(sys._getframe(2))))

        name = f"_relume_{function.__name__}"
        made: dict[str, Any] = {}
        exec(compile(f"def entry(seed):\n    return {name}(seed)\n", __file__, "exec"), made)
        patches.put_code(function, made["entry"], **{name: call})

    # ---- random and NumPy -----------------------------------------------------------------------------------------

    def _random(self, patches: Patches) -> None:
        original, instance = random.Random.seed, random.seed.__self__  # type: ignore[attr-defined]

        def seed_of(self: random.Random, a: Any = None, version: int = 2) -> None:
            frame = sys._getframe(1)
            if frame.f_code.co_filename == _RANDOM and frame.f_back is not None:
                frame = frame.f_back
            original(self, new("random.Random", a, caller_of(frame), 2**64), version)

        def seed(a: Any = None, version: int = 2) -> None:
            original(instance, new("random.seed", a, caller_of(sys._getframe(1)), 2**64), version)

        new = self.new
        patches.put(random.Random, "seed", seed_of)
        patches.put(random, "seed", seed)

    def _numpy(self, patches: Patches) -> None:
        import numpy as np

        new, seed_numpy, make = self.new, np.random.seed, np.random.default_rng
        state = np.random.RandomState

        def seed(seed: Any = None) -> None:
            seed_numpy(new("numpy.random.seed", seed, caller_of(sys._getframe(1)), 2**32))

        def default_rng(seed: Any = None) -> Any:
            return make(new("numpy.random.default_rng", seed, caller_of(sys._getframe(1))))

        class RandomState(state, metaclass=_like(state)):  # type: ignore[valid-type, misc, metaclass]
            """NumPy's, with the trial's seed."""

            def __init__(self, seed: Any = None) -> None:
                super().__init__(new("numpy.random.RandomState", seed, caller_of(sys._getframe(1)), 2**32))

        patches.put(np.random, "seed", seed)
        patches.put(np.random, "default_rng", default_rng)
        patches.put(np.random, "RandomState", RandomState)


def _absent(seed: int) -> None:
    """Placeholder for a function that this PyTorch does not have."""


def _generator_class(seeding: Seeding) -> Any:
    base: Any = torch.Generator

    class Generator(base, metaclass=_like(base)):  # type: ignore[metaclass]
        """PyTorch's, with the trial's seed if the script created it."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            self = base.__new__(cls, *args, **kwargs)
            self._relume_made_by = caller_of(sys._getframe(1)).who
            if self._relume_made_by == USER and seeding._remap:
                base.manual_seed(self, remapped(_UNSEEDED, seeding._remap))
            return self

        def manual_seed(self, seed: int) -> Any:
            caller = caller_of(sys._getframe(1))._replace(who=self._relume_made_by)
            base.manual_seed(self, seeding.new("torch.Generator.manual_seed", seed, caller))
            return self

        def seed(self) -> int:
            caller = caller_of(sys._getframe(1))._replace(who=self._relume_made_by)
            fresh = seeding.new("torch.Generator.seed", None, caller)
            if fresh is None:
                return base.seed(self)
            base.manual_seed(self, fresh)
            return fresh

    return Generator


def _like(base: Any) -> Any:
    """A metaclass whose classes accept instances of ``base`` as their own."""

    class Like(type(base)):  # type: ignore[misc]
        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, base)

        def __subclasscheck__(cls, other: Any) -> bool:
            return issubclass(other, base)

    return Like


class Caller(NamedTuple):
    """The caller: the script's code, a trainer, or another library; and its place, as ``file:line``."""

    who: str
    place: str


def caller_of(frame: FrameType | None) -> Caller:
    """The caller with the innermost frame outside relume."""
    while frame is not None and frame.f_code.co_filename.startswith(_THROUGH):
        frame = frame.f_back
    if frame is None:
        return Caller(LIBRARY, "")
    place = f"{places.shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if name in TRAINERS:
        return Caller(TRAINER, place)
    is_library = frame.f_code.co_filename.startswith((*_LIBRARIES, "<frozen"))
    return Caller(LIBRARY if is_library else USER, place)
