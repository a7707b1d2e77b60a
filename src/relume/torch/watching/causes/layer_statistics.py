"""Statistics of a site's layer: a few numbers for all units together; read when the counts are drained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relume.torch.watching.causes.layer_calls import Array, LayerCall, plain, sampled

_COMPARED = 64
"""Numbers of a weight that are compared to tell a copy: no two weights that were drawn apart share one of them."""

_SAMPLED = 4_096
"""Numbers of a weight's gradient that are used: its root mean square is within 2 %, where they are normal."""


class LayerStatistics:
    """The statistics of one site; what is not finite or not known is left out when they are read.

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

    @np.errstate(all="ignore")
    def layer(self, call: LayerCall, step: int) -> None:
        """Take in the samples of the layer's call."""
        self._numbers["offset"] = call.offset
        if step == 0 and call.kind != "norm" and call.weight is not None:
            flat = plain(call.weight).reshape(-1)
            square = flat @ flat
            self._numbers["init_gain"] = (square / call.weight.shape[0]) ** 0.5
            self._numbers["init_gain_back"] = (square / call.weight.shape[1]) ** 0.5

    @np.errstate(all="ignore")
    def output(self, y: Tensor) -> None:
        """Take in some of what the activation returned."""
        values = sampled(y).reshape(-1)
        self._latest("rms", ((values @ values) / len(values)) ** 0.5)
        larger = torch.maximum if isinstance(values, Tensor) else max
        peak = larger(values.max(), -values.min())
        self._numbers["peak"] = larger(peak, self._numbers.get("peak", peak))

    @np.errstate(all="ignore")
    def gradient(self, gradient: Tensor) -> None:
        """Take in some of the gradient of the layer's weight."""
        flat = plain(gradient).reshape(-1)
        sample = flat[:: len(flat) // _SAMPLED | 1]  # odd, to meet all inputs
        square = sample @ sample
        self._latest("gradient", (square / max(len(sample), 1)) ** 0.5)
        if self._sum is None or self._sum.shape != sample.shape:
            self._sum, self._squares, self._gradients = sample * 0, 0.0, 0
        self._sum = self._sum + sample
        self._squares = self._squares + square
        self._gradients += 1

    @np.errstate(all="ignore")
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
