"""Why a unit fell silent: the factors of its largest pre-activation, kept at the looks around its death.

A unit's largest pre-activation of a look is w·x + b, with x the input that excited it most (and a remainder, where
something is added behind the layer). Kept are w, b and x of the last look in which the unit fired and of the first
in which it did not; nothing is computed anew. Everything stays on the device until the counts are drained.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.artifacts.recording import Death
from relume.torch.watching.made import Array, Made, quiet

MOST_NUMBERS = 1 << 22
"""Weights of the largest layer whose factors are kept: four times 16 MB."""


class Terms(NamedTuple):
    """The factors of each unit's largest pre-activation in one look; of shape (units,) or (units, inputs)."""

    top: Array
    weight: Array
    bias: Array
    x: Array
    offset: Array  # γ = ‖mean‖ / ‖std‖ of the layer's input, for all units the same
    step: Array
    rate: Array

    def where(self, mask: Array, other: Terms) -> Terms:
        """These where the mask is true, the other ones elsewhere."""
        where = _namespace(mask).where
        return Terms(
            *(where(mask[:, None] if mine.ndim > 1 else mask, mine, its) for mine, its in zip(self, other, strict=True))
        )


class Factors:
    """What one site keeps; ``bound``: a unit fires above it."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._now: Terms | None = None  # of the look under way
        self._step = -1
        self._alive: Terms | None = None  # of the last look in which the unit fired
        self._silent: Terms | None = None  # of the first one after it in which it did not
        self._first: Terms | None = None
        self._fired: Array = None  # in the last look
        self._ever: Array = None
        self._update: Array = None  # Σ ‖update‖ a step, between looks in which it fired
        self._intervals: Array = None  # how many there were
        self._falls: Array = None  # and in how many b fell
        self._told = -1
        self.made: dict[str, Any] = {}

    @quiet
    def take(self, z: Tensor, made: Made, offset: Array, step: int, rate: float) -> None:
        """Keep the factors of a look's pre-activations (of the layer's own shape); several of a step are one look."""
        now = _terms(z, made, offset, step, rate)
        if now is None:
            return
        if self._now is not None and self._step == step and _alike(self._now.weight, now.weight):
            now = now.where(now.top > self._now.top, self._now)
        else:
            self._settle()
        self._now, self._step = now, step
        self.made = {"kind": made.kind, "upstream": made.upstream, "trained": made.trained, "decay": made.decay}

    def _settle(self) -> None:
        """A look is over: compare it with those before."""
        now, self._now = self._now, None
        if now is None:
            return
        fired = now.top > self._bound
        if self._alive is None or not _alike(self._alive.weight, now.weight):
            self._first = self._alive = self._silent = now
            self._update = self._intervals = self._falls = _namespace(now.top).zeros_like(now.top)
            self._ever = fired
        else:
            if self.made["kind"] == "norm":  # a scale of 0 hides what came in: taken as unchanged
                where = _namespace(now.x).where
                now = now._replace(x=where(now.weight == 0, self._alive.x, now.x))
            self._compare(now, fired)
        self._fired = fired

    def _compare(self, now: Terms, fired: Array) -> None:
        assert self._alive is not None
        assert self._silent is not None
        alive, steady = self._alive, fired & self._fired
        weight, bias = now.weight - alive.weight, now.bias - alive.bias
        gap = now.step - alive.step
        update = ((weight * weight).sum(1) + bias * bias) ** 0.5 / (gap + (gap == 0))
        self._update = self._update + update * steady
        self._intervals = self._intervals + steady
        self._falls = self._falls + (steady & (bias < 0))
        fell = ~fired & (self._fired | ~self._ever)  # a unit that never fired is told of as it is now
        if _may_be_any(fell):
            self._silent = now.where(fell, self._silent)
        self._alive = now.where(fired, alive) if _may_be_any(~fired) else now
        self._ever = self._ever | fired

    @quiet
    def deaths(self) -> list[Death]:
        """What is known of the units that are silent since the last time that this was asked; waits for a device."""
        self._settle()
        if self._silent is None:
            return []
        fell = _host(self._silent.step)
        units = np.flatnonzero(~_host(self._fired).astype(bool) & (fell > self._told))
        self._told = int(fell.max(initial=-1))
        if not len(units):
            return []
        before, after, first = (_Numbers(terms, units) for terms in (self._alive, self._silent, self._first))
        ever, update, intervals, falls = (
            _host(x[units]) for x in (self._ever, self._update, self._intervals, self._falls)
        )
        return [
            _death(int(unit), before.of(n), after.of(n), first.of(n), bool(ever[n]), self.made)._replace(
                usual=float(update[n] / intervals[n]) if intervals[n] else math.nan,
                bias_falls=float(falls[n] / intervals[n]) if intervals[n] else math.nan,
            )
            for n, unit in enumerate(units)
        ]


class _Numbers:
    """Terms of some units on the host."""

    def __init__(self, terms: Terms | None, units: NDArray[np.intp]) -> None:
        assert terms is not None
        self._parts = [_host(part[units]) for part in terms]

    def of(self, n: int) -> list[Any]:
        return [part[n] for part in self._parts]


def _death(unit: int, before: Any, after: Any, first: Any, ever: bool, made: dict[str, Any]) -> Death:
    top, w, b, x, offset, step, rate = before
    top_now, w_now, b_now, x_now, offset_now, step_now, rate_now = after
    by_weight = float((w_now - w) @ (x + x_now) / 2)
    by_input = float((x_now - x) @ (w + w_now) / 2)
    by_bias = float(b_now - b)
    change = _norm(w_now - w, b_now - b)
    length = float(np.linalg.norm(w))
    fall = float(np.linalg.norm(w_now - w))
    return Death(
        unit=unit,
        before=int(step) if ever else -1,
        after=int(step_now),
        top_before=float(top),
        top_after=float(top_now),
        by_weight=by_weight,
        by_bias=by_bias,
        by_input=by_input,
        by_rest=float(top_now - top) - by_weight - by_bias - by_input,
        half=float(top + ((w_now - w) @ x + b_now - b) / 2),
        update=change / max(int(step_now - step), 1),
        usual=math.nan,
        shrinking=float((w - w_now) @ w / (length * fall)) if length * fall else 0.0,
        weight_first=float(np.linalg.norm(first[1])),
        weight_after=float(np.linalg.norm(w_now)),
        bias_first=float(first[2]),
        bias_after=float(b_now),
        bias_falls=math.nan,
        top_first=float(first[0]),
        input_before=float(np.linalg.norm(x)),
        input_after=float(np.linalg.norm(x_now)),
        offset_before=float(offset),
        offset_after=float(offset_now),
        rate_before=float(rate),
        rate_after=float(rate_now),
        **made,
    )


def _terms(z: Tensor, made: Made, offset: Array, step: int, rate: float) -> Terms | None:
    """The factors of a look; None where the layer is too large to be kept."""
    if made.weight is None or made.weight.numel() > MOST_NUMBERS:
        return None
    weight, bias = made.weights()
    top, index = made.largest(z)
    x = made.inputs(index, top, weight, bias)
    same = _namespace(top).zeros_like(top)
    return Terms(top, weight, bias, x, same + offset, same + step, same + rate)


def _norm(row: NDArray[Any], number: Any) -> float:
    return float(np.sqrt(np.square(row).sum() + number**2))


def _namespace(x: Array) -> Any:
    return torch if isinstance(x, Tensor) else np


def _may_be_any(mask: Array) -> bool:
    """Whether any is true; on a device that would be waited for: perhaps."""
    return isinstance(mask, Tensor) or bool(mask.any())


def _alike(one: Array, other: Array) -> bool:
    return type(one) is type(other) and one.shape == other.shape


def _host(x: Array) -> NDArray[np.float64]:
    return x.double().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)
