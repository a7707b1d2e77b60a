"""A survey, a trial's treatment and a run's changes for frameworks whose activations are Python calls.

Each framework has a :class:`Kit` for the differences.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from relume.artifacts.swap_plan import OptimizerRates, SwapPlan, Treated
from relume.artifacts.trial import Contender
from relume.errors import StudyError
from relume.treatment.calls import Act, Asked, AskedCalls, Calls, SurveyCalls, TrialCalls
from relume.treatment.seeding import Seeding
from relume.watching import source
from relume.watching.patches import Patches


class Kit(ABC):
    """What a framework does for its treatments; all of it ends when the patches are undone.

    Attributes:
        package: the framework's. ``rates``: of the optimizers that were met.
        notes: what a reader must know, in plain sentences.
    """

    package = ""

    def __init__(self) -> None:
        self.rates: list[OptimizerRates] = []
        self.notes: list[str] = []

    @abstractmethod
    def seed(self, seeds: Seeding, patches: Patches) -> None:
        """Seed the framework, and give its seeding calls the trial's seeds."""

    @abstractmethod
    def follow(self, calls: Calls, patches: Patches) -> None:
        """Hand every call of an activation to ``calls``."""

    @abstractmethod
    def multiply_rates(self, factor: float, patches: Patches) -> None:
        """Multiply the learning rates of every optimizer, and note them in ``rates``."""

    @abstractmethod
    def act(self, contender: Contender, seed: int) -> Act:
        """What a contender computes, as in a hand-edited copy of the script; ``seed``: for its own random numbers.

        Raises: StudyError: it cannot be used in such a script.
        """

    def digests(self) -> Treated:
        """Digests of the trained parameters, and how many the contender has; nothing if they are not known."""
        return Treated()


class CallSurvey:
    """The :class:`~relume.framework.Surveyor` of such a framework."""

    kit: ClassVar[type[Kit]]

    def __init__(self, seeds: Seeding) -> None:
        self._seeds, self._patches = seeds, Patches()
        self._kit = self.kit()
        self._found = SurveyCalls(self._kit.package)

    def start(self) -> None:
        """Start the survey: the framework is imported, and the script has not continued yet."""
        self._patches.put(source, "folder", os.getcwd())  # a site keeps its name if the script changes the folder
        self._kit.seed(self._seeds, self._patches)
        self._kit.multiply_rates(1.0, self._patches)
        self._kit.follow(self._found, self._patches)

    def stop(self) -> SwapPlan:
        """Restore everything; returns what was found."""
        self._patches.undo()
        return SwapPlan(
            sites=self._found.sites(),
            not_swapped=tuple(self._found.not_swapped),
            optimizers=tuple(dict.fromkeys(self._kit.rates)),
            seeds=tuple(self._seeds.seen),
        )


class CallTreatment:
    """The :class:`~relume.framework.Treatment` of such a framework."""

    kit: ClassVar[type[Kit]]

    def __init__(
        self, contender: Contender | None, plan: SwapPlan, only: str, seeds: Seeding, lr_factor: float = 1.0
    ) -> None:
        self._seeds, self._patches = seeds, Patches()
        self._kit = self.kit()
        self._plan = plan.of(self._kit.package)
        self._factor = lr_factor
        self._calls: TrialCalls | None = None
        if contender is not None and contender.treatment:
            self._factor *= float(contender.parameters["factor"]) if contender.treatment == "lr" else 1.0
            if contender.treatment != "lr" and self._plan.sites:
                raise StudyError(f"{contender.name}: {_NEEDS_TORCH}", slug="needs-torch")
        elif contender is not None and self._plan.sites:
            act = self._kit.act(contender, seeds.k)
            self._calls = TrialCalls(self._kit.package, act, self._plan, only)
        self._digests = Treated()

    def start(self) -> None:
        """Start treating the process: the framework is imported, and the script has not continued yet."""
        self._patches.put(source, "folder", os.getcwd())
        self._kit.seed(self._seeds, self._patches)
        self._kit.multiply_rates(self._factor, self._patches)
        if self._calls is not None:
            self._kit.follow(self._calls, self._patches)

    def stop(self) -> None:
        """Restore everything, after digesting the trained parameters."""
        self._digests = self._kit.digests()
        self._patches.undo()

    def facts(self) -> Treated:
        """What was done, after :meth:`stop`."""
        sites = () if self._calls is None else self._calls.sites
        left = () if self._calls is None else self._plan.left_by(sites)
        done = Treated(tuple(site.key for site in sites), left, notes=tuple(self._kit.notes))
        return done.joined(self._digests)


class CallCures:
    """The :class:`~relume.framework.Cures` of such a framework: activations and rates."""

    kit: ClassVar[type[Kit]]

    def __init__(self, swaps: Sequence[tuple[str, Mapping[str, Any]]], treatments: Sequence[Mapping[str, Any]]) -> None:
        self._patches = Patches()
        self._kit = self.kit()
        asked = [Asked(where, Contender(**told)) for where, told in swaps]
        self._calls = AskedCalls(self._kit.package, asked, lambda contender: self._kit.act(contender, 0))
        self._treatments = [Contender(**told) for told in treatments]

    def start(self) -> None:
        """Start treating the process."""
        self._kit.follow(self._calls, self._patches)
        factors = (each.parameters["factor"] for each in self._treatments if each.treatment == "lr")
        if (factor := math.prod(map(float, factors))) != 1:
            self._kit.multiply_rates(factor, self._patches)

    def facts(self) -> dict[str, Any]:
        """See :class:`~relume.framework.Cures`."""
        swapped, kept = self._calls.swapped, self._calls.kept
        left = [*kept.items()]
        if swapped or kept:
            left += [(each.name, _NEEDS_TORCH) for each in self._treatments if each.treatment != "lr"]
        return {
            "changed": [{"place": key, "units": [], "what": what} for key, what in swapped.items()],
            "left": [{"place": place, "units": [], "what": what} for place, what in left],
            "met": sorted(self._calls.met),
        }


_NEEDS_TORCH = (
    "possible in PyTorch scripts only; in other scripts relume replaces activations and multiplies learning rates"
)
