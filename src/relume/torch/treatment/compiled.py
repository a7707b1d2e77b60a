"""The replacement inside ``torch.compile``: the contender is traced instead of the script's activation.

There are no frames to read while dynamo traces: the place of a call is read once from dynamo's own stack, and its route
becomes a constant of the graph. A place's parameters are inputs of the graph, as all parameters are.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn

from relume.artifacts.swap_plan import Spot
from relume.torch.treatment.placed import Placed
from relume.torch.treatment.routes import Routes, local_of, resumed
from relume.torch.watching.where import places
from relume.watching.patches import Patches

_BETWEEN = (os.path.join(os.path.dirname(torch.__file__), "_dynamo", ""), os.path.dirname(__file__))
LEFT, PLAIN, UNTRACED = -1, -2, -3
_CALL = nn.Module.__call__.__code__


@dataclass
class _Frame:
    """A function that dynamo traces, as a frame for :mod:`~relume.torch.watching.where.places`."""

    f_code: CodeType
    f_lasti: int
    f_lineno: int
    first: Any
    tracker: Any
    spot: Spot = ("", 0, 0, 0, 0)
    f_back: Any = None

    @property
    def f_locals(self) -> dict[str, Any]:
        return {local_of(self.f_code): self.first}


class Tracing:
    """The routes of the calls that dynamo traces.

    Args:
        routes: finds the route of a place.
        placed: prepares a route for a contender that depends on its place; None for the others.
        own_code: the contender is the user's, and may itself apply what it replaces.
    """

    def __init__(self, routes: Routes, placed: Placed | None, *, own_code: bool) -> None:
        self._routes = routes
        self._placed = placed
        self._own_code = own_code

    def decide(self) -> int:
        """The decision on the call being traced: LEFT, PLAIN, UNTRACED, or the number of its prepared route."""
        frame: Any = sys._getframe(1)
        while frame is not None and "tx" not in frame.f_locals:
            frame = frame.f_back
        tx = frame.f_locals["tx"]
        if self._own_code and _is_within(tx):
            return LEFT
        place = resumed(places.find(_stack(tx)))  # type: ignore[arg-type]
        traced: Any = place.frame
        route = self._routes.of(place, traced.spot)
        _guard(traced, place.module)
        if not route.swapped:
            return LEFT
        if self._placed is None:
            return PLAIN
        orders = tx.output.__dict__.setdefault("_relume_orders", Counter())  # of this attempt to trace
        orders[id(place.module), route.spot] += 1
        number = self._placed.prepare(route, orders[id(place.module), route.spot] - 1)
        return UNTRACED if number is None else number


def _is_within(tx: Any) -> bool:
    """Whether the call being traced is inside another one: traced with it, or running while this is traced."""
    own = tx.f_code
    traced = getattr(tx, "parent", None)
    frame: FrameType | None = sys._getframe()
    while traced is not None:
        if traced.f_code is own:
            return True
        traced = getattr(traced, "parent", None)
    while frame is not None:
        if (frame.f_code.co_filename, frame.f_code.co_name) == (own.co_filename, own.co_name):
            return True
        frame = frame.f_back
    return False


def _guard(traced: Any, module: nn.Module | None) -> None:
    """The decision on one module's call does not apply to another module with the same code."""
    from torch._dynamo.guards import GuardBuilder, install_guard

    while traced is not None and module is not None:
        if traced.first is module:
            source = getattr(traced.tracker, "source", None)
            if source is not None:
                install_guard(source.make_guard(GuardBuilder.ID_MATCH))
                return
        traced = traced.f_back


def _stack(tx: Any) -> _Frame:
    """Dynamo's translators, the innermost first, as a chain of frames."""
    frames: list[_Frame] = []
    while tx is not None:
        code, instruction = tx.f_code, tx.current_instruction
        at = instruction.positions
        numbers = (at.lineno, at.end_lineno, at.col_offset, at.end_col_offset) if at is not None else (0, 0, 0, 0)
        line, end_line, column, end_column = (number or 0 for number in numbers)
        spot = (places.shown_path(code.co_filename), line, end_line, column, end_column)
        tracker, first = _first_local(tx)
        frames.append(_Frame(code, instruction.offset or 0, line, first, tracker, spot))
        if code in places._ACTIVATION_FORWARDS:  # dynamo goes from the caller straight to forward
            frames.append(_Frame(_CALL, 0, 0, first, tracker))
        tx = getattr(tx, "parent", None)
    for inner, outer in pairwise(frames):
        inner.f_back = outer
    return frames[0]


def _first_local(tx: Any) -> tuple[Any, Any]:
    tracker: Any = tx.symbolic_locals.get(local_of(tx.f_code))
    if hasattr(tracker, "peek_value"):  # dynamo resolves a local when it is used
        if not tracker.is_realized():
            return tracker, tracker.peek_value()
        tracker = tracker.unwrap()
    return tracker, getattr(tracker, "value", None)


def outside_dynamo(frame: Any) -> Any:
    """The nearest frame outside dynamo and relume."""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return frame


def inline(functions: Iterable[Any], patches: Patches) -> None:
    """Make dynamo trace into these functions, which it would otherwise put into its graph unchanged."""
    from torch._dynamo import trace_rules
    from torch._dynamo.variables.functions import UserFunctionVariable

    rules = trace_rules.get_torch_obj_rule_map()
    for function in functions:
        before = rules.get(function)
        rules[function] = UserFunctionVariable

        def undo(function: Any = function, before: Any = before) -> None:
            if before is None:
                rules.pop(function, None)
            else:
                rules[function] = before

        patches.on_undo(undo)
