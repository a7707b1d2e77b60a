"""By what a unit is replaced during a run: its own gaps between firings, ReDo's score, or continual backprop's utility.

Tensors are (units,) or (units, samples), on the device of the training; nothing waits for the device until ``due``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from relume.torch.surgery.rest import ENOUGH

Weights = Callable[[], tuple[Tensor, Tensor]]
"""Gives Σ|w| over the weights that read each unit, and over those that make it; both (units,)."""

PATIENCE = 1_000
"""Examples of silence after which a unit without a history of its own is overdue.

Slowly-Changing Regression, 30 seeds, 1 M steps: 0.60 ± 0.04 with 1,000 and 0.64 ± 0.04 with 10,000, where plain
training ends at 1.24 ± 0.10.
"""

_BINS = 48  # of gaps, each twice as long as the one before: 2^48 examples are more than anyone trains on


class Score(Protocol):
    """Judges the units of one activation."""

    exact: bool
    """Only silent units are chosen, so that the outputs stay."""

    def observe(self, h: Tensor, examples: int, weights: Weights) -> None:
        """See the outputs ``h`` (units, samples) of a training step."""

    def due(self) -> Tensor:
        """The numbers of the units to replace now."""

    def replaced(self, units: Tensor) -> None:
        """These units begin anew."""


class Gaps:
    """Units whose silence is longer than their own history explains (Self-Normalized Resets, Farias & Jozefiak 2025).

    The gaps between firings are counted in bins that double. With n gaps, of which k are at least T examples long, the
    next one is as long with a probability of at most (k + 1) / (n + 1) if gaps are exchangeable. A unit is overdue when
    its silence reaches the least T ≥ ``ENOUGH`` for which that is at most ``false_resets``. Without enough gaps for
    such a T it is overdue after ``PATIENCE`` examples, or twice its longest gap if that is more.

    Args:
        units: how many. ``device``: of the training.
        false_resets: bound on the probability that one gap of a living unit ends in a reset, in (0, 1).

    Source: arXiv 2410.20098, with the paper's quantile replaced by its finite-sample bound.
    """

    exact = True

    def __init__(self, units: int, device: torch.device, false_resets: float = 1e-3) -> None:
        self._alpha = false_resets
        self._gaps = torch.zeros(units, _BINS, dtype=torch.int64, device=device)
        self.silence = torch.zeros(units, dtype=torch.int64, device=device)

    def observe(self, h: Tensor, examples: int, weights: Weights) -> None:
        """See :class:`Score`; a unit fires if an output of it is not 0."""
        fired = (h != 0).any(1)
        self.silence += examples
        at = self.silence.double().log2().long().unsqueeze(1)
        self._gaps.scatter_add_(1, at, fired.long().unsqueeze(1))
        self.silence.masked_fill_(fired, 0)

    def thresholds(self) -> Tensor:
        """Examples of silence from which each unit is overdue."""
        longer = self._gaps.flip(1).cumsum(1).flip(1)  # gaps of at least 2^k examples
        enough = longer + 1 <= self._alpha * (longer[:, :1] + 1)
        own = 2 ** enough.long().argmax(1)
        longest = (longer > 0).sum(1)  # the longest gap is shorter than 2^longest
        short = torch.clamp(2**longest * 2, min=PATIENCE)
        return torch.where(enough.any(1), own, short).clamp(min=ENOUGH)  # the proof needs silence on so many

    def due(self) -> Tensor:
        """See :class:`Score`."""
        return (self.silence >= self.thresholds()).nonzero().flatten()

    def replaced(self, units: Tensor) -> None:
        """See :class:`Score`."""
        self._gaps[units] = 0
        self.silence[units] = 0


def redo_scores(h: Tensor) -> Tensor:
    """s_i = E|h_i| / mean over the layer of E|h_k|; all 0 for a layer that is silent. ``h``: (units, samples).

    Source: Sokar et al. 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", definition 3.1.
    """
    magnitude = h.abs().mean(1)
    return magnitude / magnitude.mean().clamp(min=torch.finfo(h.dtype).tiny)


class ReDo:
    """Units that are τ-dormant on the latest batch.

    Args:
        tau: τ of the paper; 0 chooses silent units alone.
    """

    def __init__(self, tau: float = 0.025) -> None:
        self._tau = tau
        self.exact = tau == 0
        self._scores = torch.ones(0)

    def observe(self, h: Tensor, examples: int, weights: Weights) -> None:
        """See :class:`Score`."""
        self._scores = redo_scores(h)

    def due(self) -> Tensor:
        """See :class:`Score`."""
        return (self._scores <= self._tau).nonzero().flatten()

    def replaced(self, units: Tensor) -> None:
        """See :class:`Score`; the score is the latest batch's alone."""


class ContinualBackprop:
    """Units of least utility, a fraction of the mature ones a step.

    With f the running mean of h and u that of |h − f̂| · Σ|w_out| / Σ|w_in|, both at ``decay`` and corrected for their
    start by 1 − decay^age, which gives f̂ and û, the units of least û are replaced at ``rate`` a step.

    Args:
        units: how many. ``device``: of the training.
        rate: ρ, replacements a mature unit and step. ``maturity``: steps a unit is spared. ``decay``: η.

    Source: Dohare, Sutton & Mahmood 2021, "Continual Backprop", arXiv 2108.06325, equations 3 to 7.
    """

    exact = False

    def __init__(
        self, units: int, device: torch.device, rate: float = 1e-4, maturity: int = 100, decay: float = 0.99
    ) -> None:
        self._rate, self._maturity, self._decay = rate, maturity, decay
        self._mean = torch.zeros(units, device=device)
        self._utility = torch.zeros(units, device=device)
        self.age = torch.zeros(units, dtype=torch.int64, device=device)
        self._owed = torch.zeros((), device=device)

    def observe(self, h: Tensor, examples: int, weights: Weights) -> None:
        """See :class:`Score`."""
        self.age += 1
        mean = self._corrected(self._mean.lerp_(h.mean(1), 1 - self._decay))
        moved = (h - mean.unsqueeze(1)).abs().mean(1)
        outgoing, incoming = weights()
        tiny = torch.finfo(h.dtype).tiny
        self._utility.lerp_(moved * outgoing / incoming.clamp(min=tiny), 1 - self._decay)
        self._owed += self._rate * (self.age > self._maturity).sum()

    def utility(self) -> Tensor:
        """û of each unit."""
        return self._corrected(self._utility)

    def due(self) -> Tensor:
        """See :class:`Score`."""
        mature = self.age > self._maturity
        count = min(int(self._owed), int(mature.sum()))
        self._owed -= count
        return self.utility().masked_fill(~mature, torch.inf).argsort()[:count]

    def replaced(self, units: Tensor) -> None:
        """See :class:`Score`."""
        self.age[units] = 0
        self._mean[units] = 0
        self._utility[units] = 0

    def _corrected(self, running: Tensor) -> Tensor:
        return running / -torch.expm1(self.age.clamp(min=1) * math.log(self._decay))  # 1 - decay^age loses digits
