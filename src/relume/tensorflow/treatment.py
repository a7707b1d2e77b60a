"""TensorFlow's part of a change to a Keras script: its seeding call, and its functions where the script calls them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from relume.tensorflow.watching.names import frames, functions
from relume.treatment.calls import Calls, aside
from relume.treatment.seeding import Seeding, caller_of, is_between
from relume.watching.counted import Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

_AUTOGRAPH = (os.path.join(os.path.dirname(tf.__file__), "python", "autograph", ""),)


def seed_tensorflow(seeds: Seeding, patches: Patches) -> None:
    """Seed TensorFlow, and start remapping its global seed."""
    real = tf.random.set_seed
    real(seeds.k % 2**31)

    @functools.wraps(real)
    def set_seed(seed: Any) -> None:
        real(seeds.new("tf.random.set_seed", seed, caller_of(sys._getframe(1), _AUTOGRAPH), 2**31))

    patches.put(tf.random, "set_seed", set_seed)


def follow_functions(calls: Calls, patches: Patches) -> None:
    """Hand the script's own calls of ``tf.nn.relu`` and its relatives to ``calls``; Keras's are Keras's."""
    for name, home, attribute, written in functions():
        patches.put(home, attribute, _followed(getattr(home, attribute), name, written, calls))


def _followed(real: Callable[..., Any], name: str, written: str, calls: Calls) -> Callable[..., Any]:
    def where() -> Where:
        found = (frame for frame in frames() if is_users(frame[0], "tensorflow", "keras"))
        file, line, function = next(found, ("", 0, ""))
        return Where("", function, written, shown_path(file), line)

    @functools.wraps(real)
    def activation(*args: Any, **kwargs: Any) -> Any:
        frame: Any = sys._getframe(1)
        while frame is not None and is_between(frame.f_code.co_filename, _AUTOGRAPH):
            frame = frame.f_back
        if frame is None or not _is_scripts(frame.f_code.co_filename):
            return aside(real, *args, **kwargs)
        return calls.applied(name, where, real, *args, **kwargs)

    return activation


def _is_scripts(file: str) -> bool:
    return "__autograph_generated" in file or is_users(file, "tensorflow", "keras")
