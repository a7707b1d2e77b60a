"""The treatment of one trial, in the order in which its parts take effect."""

from __future__ import annotations

import os

from torch.optim import Optimizer

from relume.artifacts.swap_plan import SwapPlan, Treated
from relume.artifacts.trial import Contender
from relume.torch.treatment.births import Births
from relume.torch.treatment.digests import Digests
from relume.torch.treatment.rates import OptimizerSteps
from relume.torch.treatment.remedies import Remedies
from relume.torch.treatment.seeding import seed_torch
from relume.torch.treatment.swapping import Swapping
from relume.treatment.seeding import STRIDE, Seeding
from relume.watching import source
from relume.watching.patches import Patches


class TorchTreatment:
    """The :class:`~relume.framework.Treatment` of PyTorch.

    Args:
        contender: None keeps the script's activations.
        plan: the survey's findings.
        only: as for ``--only``; "" for no limit.
        seeds: the trial's, for PyTorch's own seeding calls.
        lr_factor: multiplies every optimizer's rates during its steps.
    """

    def __init__(
        self,
        contender: Contender | None,
        plan: SwapPlan,
        only: str = "",
        seeds: Seeding | None = None,
        lr_factor: float = 1.0,
    ) -> None:
        self._plan = plan = plan.of("torch")
        self._patches = Patches()
        self._seeds = seeds or Seeding(0)
        drawing = (self._seeds.k * STRIDE + 1) % 2**63  # no other generator's
        is_swap = contender is not None and not contender.treatment
        self._swapping = Swapping(contender, plan, only, drawing) if is_swap else None  # type: ignore[arg-type]
        self._remedies = Remedies([] if contender is None or is_swap else [contender], plan.inputs)
        self._learned = None if self._swapping is None else self._swapping.learned
        self._digests = Digests(self._is_learned)
        spared = None if self._learned is None else self._learned.is_learned
        before = self._digests.steps if self._learned is None else self._step_begins
        self._steps = OptimizerSteps(lr_factor * self._remedies.factor, spared, before, self._remedies.warmup)
        self._trained = ""

    def start(self) -> None:
        """Start treating the process: PyTorch is imported, and the script has not continued yet."""
        self._patches.put(source, "folder", os.getcwd())  # a site keeps its name if the script changes the folder
        learned = self._learned
        if learned is not None:
            Births(learned.kinds, learned.owners, learned.born, learned.met).start(self._patches)
            learned.start(self._patches)
        if self._swapping is not None:
            self._swapping.start(self._patches)
        self._remedies.start(self._patches)
        self._steps.start(self._patches)
        seed_torch(self._seeds, self._patches)

    def stop(self) -> None:
        """Restore everything, after digesting the trained parameters."""
        self._trained = self._digests.trained()
        self._patches.undo()

    def facts(self) -> Treated:
        """What was done, after :meth:`stop`."""
        swapped = () if self._swapping is None else self._swapping.sites
        left = () if self._swapping is None else self._plan.left_by(swapped)
        return Treated(
            sites=tuple(site.key for site in swapped),
            not_swapped=left,
            parameters_added=self._digests.learned(),
            start=self._digests.start(),
            weights=self._trained,
            steps=self._steps.steps,
            notes=(*self._remedies.notes, *(() if self._learned is None else self._learned.notes)),
        )

    def _is_learned(self, parameter: object) -> bool:
        return self._learned is not None and self._learned.is_learned(parameter)

    def _step_begins(self, optimizer: Optimizer) -> None:
        assert self._learned is not None
        self._learned.house(optimizer)
        self._digests.steps(optimizer)
