"""Changes around an optimizer's ``step()``: multiplies its rates, and exempts slopes from weight decay.

Both last only for the step. Outside it a scheduler, clipping or ``state_dict`` sees the script's own values.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from relume.watching.patches import Patches

_Scaled = tuple[dict[str, Any], Any, Any]
"""A group whose rate is multiplied: the group, what its rate was, and what it was set to."""


class _Moved(NamedTuple):
    """Slopes moved to a separate group: the old group, and their positions in its list."""

    optimizer: Optimizer
    group: dict[str, Any] | None
    alone: dict[str, Any]
    whole: list[Any]


_Open = tuple[Optimizer, Any, Sequence[_Scaled], Sequence[_Moved]]
"""A step in progress, with the frame that runs it. One is created per step: a plain tuple takes 1 µs less."""


class OptimizerSteps:
    """Wraps every optimizer's step.

    Args:
        factor: multiplies each group's ``lr``. ``warmup``: only a part of it in this many first steps of an optimizer.
        is_slope: whether a parameter is a contender's, exempt from weight decay; None: there are none.
        before: called before each outermost step.
    """

    def __init__(
        self,
        factor: float,
        is_slope: Callable[[Any], bool] | None = None,
        before: Callable[[Optimizer], None] | None = None,
        warmup: int = 0,
    ) -> None:
        self._factor = self._whole = factor
        self._warmup = warmup
        self._taken: Counter[int] = Counter()  # steps of each optimizer, by its id
        self._is_slope = is_slope
        self._before = before
        self._open: list[_Open] = []
        self.steps = 0

    def start(self, patches: Patches) -> None:
        """Start wrapping."""
        patches.on_undo(self.end)
        patches.on_undo(register_optimizer_step_pre_hook(self._begins).remove)
        patches.on_undo(register_optimizer_step_post_hook(self._ended).remove)

    def end(self) -> None:
        """Restore after a step that raised."""
        while self._open:
            _, _, scaled, moved = self._open.pop()
            _put_back(scaled, moved, self._factor)

    def _begins(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        frame = sys._getframe(1)
        while self._open and not _is_running(self._open[-1][1], frame):  # that step raised
            _, _, scaled, moved = self._open.pop()
            _put_back(scaled, moved, self._factor)
        if not self._open:
            self.steps += 1
            if self._before is not None:
                self._before(optimizer)
            if self._warmup:
                self._taken[id(optimizer)] += 1
                self._factor = self._whole * min(1.0, self._taken[id(optimizer)] / self._warmup)
        scaled = () if self._factor == 1 else self._scale(optimizer)
        moved = () if self._is_slope is None else self._spare(optimizer)
        self._open.append((optimizer, frame, scaled, moved))

    def _ended(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        while self._open:
            own, _, scaled, moved = self._open.pop()
            if scaled or moved:
                _put_back(scaled, moved, self._factor)
            if own is optimizer:
                break

    def _scale(self, optimizer: Optimizer) -> Sequence[_Scaled]:
        """Multiply the rates of its groups, except those that an outer step has multiplied."""
        mine = [group for _, _, around, _ in self._open for group, _, _ in around] if self._open else []
        scaled: list[_Scaled] = []
        for group in optimizer.param_groups:
            if mine and any(group is each for each in mine):
                continue
            rate = group.get("lr")
            if isinstance(rate, (float, int, Tensor)) and not isinstance(rate, bool):
                group["lr"] = rate * self._factor
            scaled.append((group, rate, group.get("lr")))
        return scaled

    def _spare(self, optimizer: Optimizer) -> Sequence[_Moved]:
        """Move slopes to a separate group without weight decay."""
        assert self._is_slope is not None
        moved: list[_Moved] = []
        groups = optimizer.param_groups
        around = [outer for _, _, _, others in self._open for outer in others]
        for outer in around:  # an optimizer around another one, with the same groups in its own list
            if any(g is outer.group for g in groups) and not any(g is outer.alone for g in groups):
                groups.append(outer.alone)
                moved.append(_Moved(optimizer, None, outer.alone, []))
        for group in list(optimizer.param_groups):
            if not group.get("weight_decay"):
                continue
            slopes = [p for p in group["params"] if self._is_slope(p)]
            if not slopes:
                continue
            whole, mine = group["params"], {id(p) for p in slopes}
            alone = {**group, "params": slopes, "weight_decay": 0 * group["weight_decay"]}
            group["params"] = [p for p in whole if id(p) not in mine]
            groups.append(alone)
            moved.append(_Moved(optimizer, group, alone, whole))
        return moved


def _put_back(scaled: Sequence[_Scaled], moved: Sequence[_Moved], factor: float) -> None:
    for each in reversed(moved):
        if each.group is not None:
            each.group["params"] = each.whole
        each.optimizer.param_groups[:] = [g for g in each.optimizer.param_groups if g is not each.alone]
    for group, was, set_to in scaled:
        now = group.get("lr")
        if now is set_to:
            if was is not None:
                group["lr"] = was
        elif isinstance(now, (int, float, Tensor)):  # set within the step
            group["lr"] = now / factor


def _is_running(frame: Any, inner: Any) -> bool:
    """Whether a frame is around another."""
    while inner is not None:
        if inner is frame:
            return True
        inner = inner.f_back
    return False


def rates_of(optimizer: Optimizer) -> tuple[float, ...]:
    """The learning rates of an optimizer's groups, NaN for one without."""
    rates = (group.get("lr") for group in optimizer.param_groups)
    return tuple(float("nan") if rate is None else float(torch.as_tensor(rate)) for rate in rates)
