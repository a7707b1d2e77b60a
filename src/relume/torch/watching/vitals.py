"""How a site's layer fares: a few numbers of a wide look, for all units together; read when the counts are drained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relume.torch.watching.made import Array, Made, plain

_SAMPLED = 4_096
"""Numbers of a weight's gradient that are kept to tell noise from signal."""

_COMPARED = 64
"""Numbers of a weight that are compared to tell a copy: no two weights that were drawn apart share one of them."""


class Vitals:
    """The numbers of one site; what is not finite or not known is left out when they are read.

    ``init_gain``: √(E[w²] · inputs) of its layer before the first step, and ``init_gain_back`` the same with its
    outputs: the one keeps the scale forwards, the other backwards; ``offset``: γ = ‖mean‖/‖std‖ of its input;
    ``peak``: the largest |output|; ``rms_first``, ``rms``: root mean square of the output at the first look and the
    latest; ``gradient_first``, ``gradient``: that of the weight's gradient; ``noise``: the share of that gradient
    which changes from look to look, over ``gradients`` of them.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, Any] = {}
        self._sum: Array = None  # of the sampled gradients
        self._squares: Array = 0.0  # Σ of their squared lengths
        self._gradients = 0
        self._first: Array = None  # some weights of a layer that nothing trains, at the first look
        self._loaded: Array = False  # whether they are a trained layer's, or have moved and are near to one's
        self._apart: list[tuple[Array, int]] = []  # how far those are from trained ones, and the sites of these

    def number(self, name: str, number: Any) -> None:
        """A number of the site; the latest counts."""
        self._numbers[name] = number

    def compare(self, weight: Tensor, trained: Sequence[tuple[Tensor, int]]) -> None:
        """Compare a layer that nothing trains with the trained ones that it may be a copy of; with their sites."""
        mine = plain(weight).reshape(-1)[:_COMPARED]
        first = self._first = self._first if self._first is not None else mine + 0
        self._apart = []
        for other, number in trained:
            theirs = plain(other).reshape(-1)[:_COMPARED]
            apart = ((mine - theirs) ** 2).sum()
            is_near = apart < ((mine * mine).sum() + (theirs * theirs).sum()) / 2  # drawn apart, they are at the sum
            self._loaded = self._loaded | (apart == 0) | (is_near & (mine != first).any())
            self._apart.append((apart, number))

    def layer(self, made: Made, offset: Array, step: int) -> None:
        """What the layer was given."""
        self._numbers["offset"] = offset
        if step == 0 and made.kind != "norm" and made.weight is not None:
            weight = plain(made.weight)
            square = (weight * weight).sum()
            self._numbers["init_gain"] = (square / len(weight)) ** 0.5
            self._numbers["init_gain_back"] = (square / weight.shape[1]) ** 0.5

    def output(self, y: Tensor) -> None:
        """What the activation gave."""
        values = plain(y)
        self._latest("rms", ((values * values).sum() / max(y.numel(), 1)) ** 0.5)
        peak = abs(values).max()
        before = self._numbers.get("peak")
        larger = torch.maximum if isinstance(peak, Tensor) else max
        self._numbers["peak"] = peak if before is None else larger(peak, before)

    def gradient(self, gradient: Tensor) -> None:
        """What the weight's step is made of."""
        flat = plain(gradient).reshape(-1)
        self._latest("gradient", ((flat * flat).sum() / max(len(flat), 1)) ** 0.5)
        sample = flat[:: max(1, len(flat) // _SAMPLED)]
        if self._sum is None or self._sum.shape != sample.shape:
            self._sum, self._squares, self._gradients = sample * 0, 0.0, 0
        self._sum = self._sum + sample
        self._squares = self._squares + (sample * sample).sum()
        self._gradients += 1

    def read(self) -> dict[str, float]:
        """The numbers on the host; waits for a device."""
        numbers = {name: float(number) for name, number in self._numbers.items()}
        if bool(self._loaded):
            numbers["copy_of"] = float(min((float(apart), number) for apart, number in self._apart)[1])
        if self._gradients > 1:
            numbers["gradients"] = float(self._gradients)
            numbers["noise"] = self._noise()
        return {name: number for name, number in numbers.items() if math.isfinite(number)}

    def _noise(self) -> float:
        """1 − ‖E g‖² / E‖g‖², with ‖E g‖² freed of the part that the mean of a few noisy ones has by chance."""
        n = self._gradients
        square, whole = float((self._sum * self._sum).sum()) / n**2, float(self._squares) / n
        if not whole:
            return math.nan
        signal = (square - whole / n) * n / (n - 1)
        return min(1.0, max(0.0, 1 - signal / whole))

    def _latest(self, name: str, number: Array) -> None:
        self._numbers.setdefault(f"{name}_first", number)
        self._numbers[name] = number
