"""Seeds without an edit: if the script seeds with u, a trial of seed k seeds with u + k · φ; k = 0 changes nothing.

φ = 0x9E3779B97F4A7C15, 2⁶⁴ divided by the golden ratio, so a script that seeds with 0, 1, 2 … never repeats the numbers
of another trial. Calls by the script's own code and by trainers get another seed; calls by an installed library for its
own data do not.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
from collections.abc import Collection
from types import FrameType
from typing import Any, NamedTuple

from relume.watching.patches import Patches
from relume.watching.source import shown_path

STRIDE = 0x9E3779B97F4A7C15

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
)
_INSTALLED = f"-packages{os.sep}"  # of another environment's folder too
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_RANDOM = random.__file__  # Random.__init__ seeds itself

USER, TRAINER, LIBRARY = "script", "trainer", "library"


def remapped(seed: int, k: int, modulus: int = 2**64) -> int:
    """The seed that a trial of seed ``k`` uses instead of ``seed``; the same for k = 0."""
    return (int(seed) + k * STRIDE) % modulus if k else seed


class Seeding:
    """Seeds one trial: Python and NumPy itself, and the frameworks through :meth:`new`.

    Args:
        k: the trial's seed.
        remap: give seeding calls another seed; False if the script gets its seed as an argument.
        keep: the places, ``file:line``, of seeding calls that keep their seed.
    """

    def __init__(self, k: int, *, remap: bool = True, keep: Collection[str] = ()) -> None:
        self.k = k
        self._keep = frozenset(keep)
        self.offset = k if remap else 0
        self._fresh = 0
        self.seen: list[str] = []

    def start(self, patches: Patches) -> None:
        """Seed Python and NumPy, and start remapping their seeds."""
        random.seed(self.k)
        self._random(patches)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(self.k % 2**32)
            self._numpy(patches)

    def new(self, call: str, seed: Any, caller: Caller, modulus: int = 2**64) -> Any:
        """The seed that a call gets instead; None, a seed from the clock, becomes the trial's own."""
        if caller.who == LIBRARY:
            return seed
        self._note(call, seed, caller.place)
        if seed is not None and caller.place in self._keep:
            return seed
        if seed is None:
            self._fresh += 1
            return (self.k * STRIDE + self._fresh) % modulus
        if isinstance(seed, int) or hasattr(seed, "__index__"):
            return remapped(int(seed), self.offset, modulus) if self.offset else seed
        if self.offset and isinstance(seed, (list, tuple)) and seed:
            return [remapped(int(seed[0]), self.offset, 2**32), *seed[1:]]
        if self.offset and isinstance(seed, str):
            return f"{seed}{self.offset}"
        return seed

    def _note(self, call: str, seed: Any, place: str) -> None:
        written = f"{call}({'' if seed is None else seed}) at {place}"
        if written not in self.seen and len(self.seen) < 50:
            self.seen.append(written)

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

        class RandomState(state, metaclass=like(state)):  # type: ignore[valid-type, misc, metaclass]
            """NumPy's, with the trial's seed."""

            def __init__(self, seed: Any = None) -> None:
                super().__init__(new("numpy.random.RandomState", seed, caller_of(sys._getframe(1)), 2**32))

        patches.put(np.random, "seed", seed)
        patches.put(np.random, "default_rng", default_rng)
        patches.put(np.random, "RandomState", RandomState)


def like(base: Any) -> Any:
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


def caller_of(frame: FrameType | None, through: Collection[str] = ()) -> Caller:
    """The caller with the innermost frame outside relume and outside files with one of these parts in their paths."""
    while frame is not None and is_between(frame.f_code.co_filename, through):
        frame = frame.f_back
    if frame is None:
        return Caller(LIBRARY, "")
    file = frame.f_code.co_filename
    place = f"{shown_path(file)}:{frame.f_lineno}"
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if name in TRAINERS:
        return Caller(TRAINER, place)
    is_library = file.startswith((*_LIBRARIES, "<frozen")) or _INSTALLED in file
    return Caller(LIBRARY if is_library else USER, place)


def is_between(file: str, through: Collection[str]) -> bool:
    """Whether a file is relume's, or has one of these parts in its path."""
    return file.startswith(_OURS) or any(part in file for part in through)
