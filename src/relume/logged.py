"""``relume.log``: a number of the user's script, for the trial in which it runs. Outside a trial nothing happens.

It imports nothing, so that a script may log without loading the rest of relume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Sink = Callable[[Any, Mapping[str, Any]], None]
"""Takes the step, None if it was not given, and the numbers by their names. It raises no ``Exception``."""

_sink: Sink | None = None


def log(step: Any = None, **metrics: Any) -> None:
    """Log numbers of a training, by which ``relume compare`` compares its trials.

    Outside a trial it does nothing, and what it is given is not even looked at: a script may keep the line.

    Args:
        step: where on the way, such as the epoch; without it the calls of a name are counted from 0.
        **metrics: numbers, or tensors and arrays with one element. Anything else is ignored.

    Example:
        >>> log(3, test_accuracy=0.91)
        >>> log(**{"val/loss": 0.2})
    """
    if _sink is not None:
        _sink(step, metrics)


def send_to(sink: Sink | None) -> None:
    """Pass what is logged from now on to a trial; None: to nothing."""
    global _sink
    _sink = sink
