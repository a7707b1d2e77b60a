"""Everything that relume raises on purpose.

::

    RelumeError
    ├─ UnknownName (KeyError)         a name that relume does not know; names the nearest
    ├─ ParameterError (ValueError)    an activation's parameter outside its bounds
    ├─ ShapeError (ValueError)        two shapes that do not broadcast
    ├─ DtypeError (TypeError)         integer, bool or complex where floating numbers are needed
    ├─ SpecError (ValueError)         a layer that cannot be described, or has no equal in another framework
    ├─ MissingExtra (ImportError)     an optional dependency that is not installed
    ├─ ScriptError                    the script cannot be started: absent, not Python, no such module
    ├─ RecordingError                 a file that cannot be read as a recording
    ├─ CheckpointError                a file that cannot be read as a checkpoint, or several that do not belong together
    ├─ PlanError                      a file that cannot be read or written as a plan
    ├─ WatchError                     a model or run that cannot be watched
    ├─ CureError (ValueError)         a cure that cannot be made, or whose proof failed: the model is as it was
    └─ StudyError                     a comparison that cannot be made, or a study that cannot be read
       └─ NothingToCompare            nothing to replace, or no metric: exit status 5

A message says what failed, what relume got, what it expected and what to do. It ends with its slug in brackets:
the key of its paragraph in ``docs/reference/messages.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RelumeError(Exception):
    """The base of all of relume's errors. ``slug`` is stable; the wording is not."""

    def __init__(self, message: str, *, slug: str) -> None:
        super().__init__(f"{message} [{slug}]")
        self.slug = slug

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class UnknownName(RelumeError, KeyError):
    """A name that relume does not know."""


class ParameterError(RelumeError, ValueError):
    """A parameter of an activation outside its bounds."""


class ShapeError(RelumeError, ValueError):
    """Two shapes that do not broadcast."""


class DtypeError(RelumeError, TypeError):
    """A dtype on which the operation has no meaning."""


class SpecError(RelumeError, ValueError):
    """A layer that cannot be described, or that has no equal in another framework."""


class MissingExtra(RelumeError, ImportError):
    """An optional dependency that is not installed."""


class ScriptError(RelumeError):
    """The script cannot be started."""


class RecordingError(RelumeError):
    """A file that cannot be read as a recording."""


class CheckpointError(RelumeError):
    """A file that cannot be read as a checkpoint, or several that are of different runs."""


class PlanError(RelumeError):
    """A file that cannot be read or written as a plan."""


class WatchError(RelumeError):
    """A model or a run that cannot be watched."""


class CureError(RelumeError, ValueError):
    """A cure that cannot be made, or whose proof failed. The model is as it was, to the bit."""


class StudyError(RelumeError):
    """A comparison that cannot be made as it was asked for, or a study that cannot be read or written."""


class NothingToCompare(StudyError):
    """The script has nothing that could be replaced, or shows no number by which to compare."""


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UnknownName:
    """The error for an unknown name: gives the nearest and all."""
    names = sorted(known)
    nearest = difflib.get_close_matches(got.lower(), names, n=1, cutoff=0.5)
    guess = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return UnknownName(f"There is no {kind} {got!r}.{guess} Known: {', '.join(names)}.", slug=f"unknown-{kind}")
