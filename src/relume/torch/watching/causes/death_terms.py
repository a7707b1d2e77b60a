"""Why a unit fell silent: what its parameters and its inputs had in the fall of its largest pre-activations.

Each unit has a reference: its parameters at the last look at which its largest pre-activation was usual. When it is
silent, the change of its parameters since then is undone on the inputs of that look. What this gives back of its level
(defined by :class:`~relume.torch.watching.causes.layer_calls.LayerCall`), the parameters took; the rest of the fall is
its inputs'. So weights are compared on like inputs, and it matters little how far apart the looks are. Everything stays
on the device until the counts are drained.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.artifacts.recording import Death
from relume.torch.watching.causes.layer_calls import SAMPLED, Array, LayerCall
from relume.torch.watching.causes.trace import Trace

MOST_NUMBERS = 1 << 22
"""Weights of the largest layer that has terms: the references are one copy of them, 16 MB."""

_USUAL = 0.5
"""A largest pre-activation of at least this share of its mean is usual."""

_SETTLED = 16
"""Steps of silence after which a unit is compared once more: a momentum of 0.9 has then gone 81 % of its way. Without
that, most deaths of ``digits_mlp.py --lr 0.25`` are input change at each step, and weight drift at each 16th."""

_LIKE = 0.25
"""A batch below this share of the mean one is passed over: an agent's single state, the last batch of an epoch."""


class Reference(NamedTuple):
    """The units at the last look at which they were as usual; vectors of shape (units,)."""

    step: Array
    level: Array
    offset: Array
    rate: Array


_AT_FALL = (
    "before", "after", "level_before", "level_after", "by_weight", "by_bias", "by_input", "luck", "leap", "shrinking",
    "weight_after", "bias_after", "input_after", "offset_before", "offset_after", "rate_before", "rate_after",
)  # fmt: skip
"""What is kept of a fall, by the names of :class:`~relume.artifacts.recording.Death`."""


class DeathTerms:
    """What one site keeps of its units; a unit fires if its pre-activation is above ``bound``."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._looks = self._numbers = 0
        self._step = self._told = -1
        self._weight: Array = None  # the references'; shape (units, inputs of a unit)
        self._fired: Array = None  # in the latest look
        self._ever: Array = None
        self._settling: Array = None  # fired since they were compared for good
        self._last: Array = None  # the last step at which each fired
        self._motion: Motion
        self.trace = Trace()
        self._facts: dict[str, Any] = {}

    @np.errstate(all="ignore")
    def take(self, call: LayerCall, numbers: int, step: int, rate: float) -> None:
        """Take in the samples of a call; ``numbers``: how many pre-activations it has. Sizes change: begin anew."""
        assert call.weight is not None
        self._looks, self._numbers = self._looks + 1, self._numbers + numbers
        if numbers * self._looks < _LIKE * self._numbers or call.weight.numel() > MOST_NUMBERS:
            return
        weight, bias = call.parameters()
        top, level = call.levels()
        top = top - self._bound
        if self._weight is None or not _alike(self._weight, weight):
            self._begin(weight, bias, level, step)
        shift = bias - self._bias
        fired = top > 0
        usual = self._is_usual(top, fired)
        away = (_distances(weight, self._weight) + shift * shift) ** 0.5
        self._motion.add(away, bias, step - self._step, self._fired, usual)
        if self.trace.is_due(step):
            self.trace.add(step, call.lowest() - self._bound, top, self._motion.path)
        now = (step, level, call.offset, rate)
        settles = ~fired & self._settling & (step - self._last >= _SETTLED)
        fell = (self._fired & ~fired) | settles
        self._settling = (self._settling | fired) & ~settles
        if isinstance(fell, Tensor) or fell.any():
            self._fall(fell, call, weight, shift, now)
        self._refer(usual, weight, bias, now)
        self._last = _where(fired, step, self._last)
        self._fired, self._ever, self._step = fired, self._ever | fired, step
        self._level, self._square = level, call.square
        self._facts = {"kind": call.kind, "upstream": call.upstream, "trained": call.trained, "decay": call.decay}

    def _begin(self, weight: Array, bias: Array, level: Array, step: int) -> None:
        self._weight, self._bias, self._step = weight + 0, bias + 0, step
        self._first = _rows(level, level, bias, _square(weight) ** 0.5)  # level, bias, norm
        self._reference = _rows(level, *[-1.0] * len(Reference._fields))
        self._falls = _rows(level, *[-1.0] * len(_AT_FALL))
        self._fired = self._ever = self._settling = level != level
        self._last = level * 0
        self._tops = self._firings = level * 0
        self._motion = Motion(bias)

    def _is_usual(self, top: Array, fired: Array) -> Array:
        self._tops = self._tops + _where(fired, top, 0.0)
        self._firings = self._firings + fired
        return fired & (top * self._firings >= _USUAL * self._tops)

    def _fall(self, fell: Array, call: LayerCall, weight: Array, shift: Array, now: tuple[Any, ...]) -> None:
        """Keep how these units fell silent. On a device all are compared, for to ask which would wait for it."""
        units = slice(None) if isinstance(fell, Tensor) else np.flatnonzero(fell)
        change, weight = weight[units] - self._weight[units], self._weight[units]
        shift, bias, before = shift[units], self._bias[units], Reference(*self._reference[:, units])
        step, level, offset, rate = (part[units] if getattr(part, "ndim", 0) else part for part in now)
        without, error = call.level_without(units, change, shift, before.level)
        parts = _rows(
            without,
            *(before.step, step, before.level, level),
            *(level - without - shift, shift, without - before.level, error, self._motion.leap[units]),
            -(change * weight).sum(1) / (_square(change) * _square(weight)) ** 0.5,
            *(_square(weight + change) ** 0.5, bias + shift, call.square**0.5),
            *(before.offset, offset, before.rate, rate),
        )
        if isinstance(fell, Tensor):
            self._falls = torch.where(fell, parts, self._falls)
        else:
            self._falls[:, units] = parts

    def _refer(self, usual: Array, weight: Array, bias: Array, now: tuple[Any, ...]) -> None:
        """Make this look the reference of the units that are as usual."""
        self._reference = _where(usual, _rows(bias, *now), self._reference)
        self._bias = _where(usual, bias, self._bias)
        if isinstance(usual, Tensor):
            self._weight = torch.where(usual[:, None], weight, self._weight)
        elif usual.all():
            np.copyto(self._weight, weight)
        else:
            self._weight[usual] = weight[usual]

    @np.errstate(all="ignore")
    def deaths(self, last_fired: NDArray[np.int64]) -> list[Death]:
        """How units fell silent that are silent now and were not told of yet; waits for a device.

        Args:
            last_fired: the last step at which each unit fired, in looks of all kinds; shape (units,), −1 for never.
        """
        if self._weight is None:
            return []
        falls = dict(zip(_AT_FALL, _host(self._falls), strict=True))
        fired, ever, after = _host(self._fired) > 0, _host(self._ever) > 0, falls["after"]
        again = ~fired & ever & (last_fired >= after)  # it fell silent later: the next call has the terms
        self._fired = self._fired | (torch.from_numpy(again).to(self._fired) if self._on_device() else again)
        units = np.flatnonzero(~fired & ~again & ((after > self._told) | ~ever))
        self._told = int(after.max(initial=self._told))
        if not len(units):
            return []
        facts = self._numbers_of(falls, ever)
        return [
            Death(unit=int(unit), **{name: numbers[unit].item() for name, numbers in facts.items()}, **self._facts)
            for unit in units
        ]

    def _numbers_of(self, falls: dict[str, NDArray[Any]], ever: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """The numbers of each unit's death; of one that never fired, as it is now."""
        level_first, bias_first, weight_first = _host(self._first)
        path = _host(self._motion.path)
        self._facts["trained"] |= bool(path.any())
        instead = {"before": -1, "after": self._step, "level_before": level_first, "level_after": _host(self._level)}
        instead["input_after"] = float(self._square) ** 0.5
        numbers = {name: np.where(ever, row, instead.get(name, math.nan)) for name, row in falls.items()}
        numbers |= {name: numbers[name].astype(int) for name in ("before", "after")}
        firsts = {"level_first": level_first, "bias_first": bias_first, "weight_first": weight_first, "path": path}
        return numbers | firsts | {"bias_falls": _host(self._motion.falls) / _host(self._motion.looks)}

    def _on_device(self) -> bool:
        return isinstance(self._fired, Tensor)


class Motion:
    """How far the parameters of each unit move from look to look; vectors of shape (units,).

    Attributes:
        leap: the longest way between two looks since the reference, in usual ways over as many steps; nan if unknown.
        path: the sum of all ways.
        falls: in how many intervals between looks the bias fell, of ``looks`` that began while the unit fired.
    """

    def __init__(self, bias: Array) -> None:
        self.leap = self.path = self.falls = self.looks = bias * 0
        self._bias = bias + 0
        self._away = self._straight = self._wandered = self._ways = self.leap

    def add(self, away: Array, bias: Array, steps: int, fired: Array, usual: Array) -> None:
        """Take in a look.

        Args:
            away: distance of the parameters from the reference.
            bias: the bias now.
            steps: how many since the look before.
            fired: which units fired then.
            usual: whose reference is this look from now on.
        """
        way = away - self._away  # at least so long
        if steps > 0:
            # A straight walk is in proportion to its steps, a random one to their root: a leap is neither.
            larger, known = (torch.maximum, torch.fmax) if isinstance(way, Tensor) else (np.maximum, np.fmax)
            expected = larger(self._straight * steps, self._wandered * steps**0.5) / self._ways
            self.leap = known(self.leap, way / expected)
            steady = usual & (self._away == 0)
            self._straight = self._straight + way / steps * steady
            self._wandered = self._wandered + way / steps**0.5 * steady
            self._ways = self._ways + steady
            self.looks = self.looks + fired
            self.falls = self.falls + (fired & (bias < self._bias))
            self._bias = bias + 0
        self.path = self.path + abs(way)
        self._away, self.leap = _where(usual, 0.0, away), _where(usual, 0.0, self.leap)


def _square(rows: Array) -> Array:
    return (rows * rows).sum(1) if isinstance(rows, Tensor) else np.einsum("ij,ij->i", rows, rows)


def _distances(rows: Array, others: Array) -> Array:
    """Squared distances, row by row; of NumPy's arrays a few at a time, which stay in the processor's cache."""
    if isinstance(rows, Tensor):
        return _square(rows - others)
    found = np.empty(len(rows), np.float32)
    size = max(1, SAMPLED // rows.shape[1])
    for at in range(0, len(rows), size):
        found[at : at + size] = _square(rows[at : at + size] - others[at : at + size])
    return found


def _where(mask: Array, one: Any, other: Any) -> Array:
    return (torch if isinstance(mask, Tensor) else np).where(mask, one, other)


def _rows(like: Array, *rows: Any) -> Array:
    """Vectors and numbers as the rows of one array; shape (rows, units)."""
    if isinstance(like, Tensor):
        return torch.stack([row if isinstance(row, Tensor) and row.ndim else like * 0 + row for row in rows])
    table = np.empty((len(rows), len(like)))
    for n, row in enumerate(rows):
        table[n] = row
    return table


def _alike(one: Array, other: Array) -> bool:
    """Whether both are NumPy's or of one device, and of one shape."""
    places = (getattr(one, "device", None), getattr(other, "device", None))
    return type(one) is type(other) and one.shape == other.shape and places[0] == places[1]


def _host(x: Array) -> NDArray[np.float64]:
    return x.double().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)
