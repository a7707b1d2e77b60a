"""The cures that ``relume run`` applies to an unedited script without a survey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from relume.artifacts.trial import Contender
from relume.torch.treatment.named import NamedSwaps
from relume.torch.treatment.rates import OptimizerSteps
from relume.torch.treatment.remedies import Remedies
from relume.treatment.calls import Asked
from relume.watching.patches import Patches


class TorchCures:
    """The :class:`~relume.framework.Cures` of PyTorch."""

    def __init__(self, swaps: Sequence[tuple[str, Mapping[str, Any]]], treatments: Sequence[Mapping[str, Any]]) -> None:
        self._patches = Patches()
        self._swaps = NamedSwaps([Asked(where, Contender(**told)) for where, told in swaps]) if swaps else None
        self._remedies = Remedies([Contender(**told) for told in treatments])
        spared = None if self._swaps is None or not self._swaps.learned else self._swaps.is_learned
        before = None if spared is None else self._house
        self._steps = OptimizerSteps(self._remedies.factor, spared, before, self._remedies.warmup)

    def start(self) -> None:
        """Start treating the process."""
        if self._swaps is not None:
            self._swaps.start(self._patches)
        self._remedies.start(self._patches)
        if self._remedies.factor != 1 or self._remedies.warmup or (self._swaps is not None and self._swaps.learned):
            self._steps.start(self._patches)

    def facts(self) -> dict[str, Any]:
        """See :class:`~relume.framework.Cures`."""
        changed, left = ([], []) if self._swaps is None else self._swaps.facts()
        changed += [{"place": "the training", "units": [], "what": what} for what in self._remedies.done]
        if self._remedies.attached is not None:
            changed += self._remedies.attached.changed()
            left += self._remedies.attached.all_left()
        left += [{"place": "the optimizer", "units": [], "what": note} for note in self._remedies.notes]
        met = [] if self._swaps is None else sorted(self._swaps.met)
        return {"changed": changed, "left": left, "met": met}

    def _house(self, optimizer: Optimizer) -> None:
        assert self._swaps is not None
        self._swaps.house(optimizer)
