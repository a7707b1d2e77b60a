"""What a framework's folder fulfills, and which folders there are; imports none of them.

The observer (``observe/``) decides when to look and what to keep; a probe (``torch/watching/``) sees. They meet here:
the probe calls a :class:`Listener`, the listener calls its :class:`Probe`.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import numpy as np

    from relume.artifacts.certificate import Certificate
    from relume.artifacts.change import Change
    from relume.artifacts.findings import Findings
    from relume.artifacts.history import Band
    from relume.artifacts.recording import Death, Site
    from relume.artifacts.swap_plan import SwapPlan, Treated

Phase = Literal["train", "eval", "all"]

now_ns = time.perf_counter_ns if sys.platform == "win32" else time.thread_time_ns
"""The clock of the budget: processor time of the calling thread, so that a busy machine makes nothing look dear.

With two other busy loops on two cores, a look of 0.1 ms took 0.2 to 0.5 ms by the wall clock. A
reading costs 0.33 µs (the wall's 0.07). Windows counts a thread's time in ticks of 16 ms.
"""


class Look(Enum):
    """How much of a step is seen."""

    OFF = "nothing: the step is skipped"
    LEAN = "fired counts at known sites"
    WIDE = "every call: new sites, unit axes, causes and layer statistics too"


class Plan(NamedTuple):
    """What a probe does before it asks again: pass over ``off`` steps and look at ``steps``, ``cycles`` times."""

    look: Look
    steps: int
    off: int = 0
    cycles: int = 1


class Rows(NamedTuple):
    """What was counted at a site, one row for each forward pass that was looked at, in their order.

    Attributes:
        steps: of the site's clock, shape (rows,), as are ``examples`` (batch items) and ``samples`` (examples ×
            positions).
        fired: samples on which each unit fired, shape (rows, units), as are ``flat`` (on a flat part of the curve;
            None if it has none) and ``magnitude`` (Σ |output|; not finite if an output is not).
    """

    steps: np.ndarray[Any, Any]
    examples: np.ndarray[Any, Any]
    samples: np.ndarray[Any, Any]
    fired: np.ndarray[Any, Any]
    flat: np.ndarray[Any, Any] | None
    magnitude: np.ndarray[Any, Any]

    def part(self, first: int, last: int) -> Rows:
        """These rows of them."""
        flat = None if self.flat is None else self.flat[first:last]
        steps, examples, samples = (x[first:last] for x in (self.steps, self.examples, self.samples))
        return Rows(steps, examples, samples, self.fired[first:last], flat, self.magnitude[first:last])


@dataclass
class Seen:
    """What a probe saw at one site since it was last drained.

    Attributes:
        site, clock: the numbers that the listener gave the site and its clock.
        rows: the counts.
        slope: the learned slope of a PReLU, shape (units,), None for the others.
        deaths: how units fell silent that are silent now, since the last time.
        statistics: numbers of the whole site, by the names that :class:`~relume.artifacts.recording.SiteRecord` gives.
        band: pre-activations at some looks so far, None where they are not looked at.
    """

    site: int
    clock: int
    rows: Rows
    slope: np.ndarray[Any, Any] | None = None
    deaths: Sequence[Death] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    band: Band | None = None


class Steps(NamedTuple):
    """Consecutive steps of a clock.

    Attributes:
        plan: by which they were seen, from its beginning. ``number``: how many.
        losses: one each, None if it is not known.
        rates: (step, learning rate of each parameter group) of those in which a rate is another than before.
    """

    plan: Plan
    number: int
    losses: Sequence[float | None] = ()
    rates: Sequence[tuple[int, tuple[float, ...]]] = ()

    @property
    def looked(self) -> list[int]:
        """Those that were looked at, counted from 0."""
        look, steps, off, _ = self.plan
        return [] if look is Look.OFF else [n for n in range(self.number) if n % (off + steps) >= off]


class Listener(Protocol):
    """The observer, as a probe knows it. None of these may raise into the user's training."""

    def new_clock(self, name: str, kind: str) -> int:
        """A source of steps was met: an optimizer, the backward passes or the root forwards."""

    def timed_by(self, clock: Callable[[], int]) -> None:
        """Steps, and own work, are timed by this clock from now on instead of :data:`now_ns`."""

    def new_site(self, site: Site) -> int:
        """An activation was met for the first time; returns its number."""

    def steps_ended(self, clock: int, steps: Steps) -> None:
        """Steps of the clock are over."""

    def plan(self, clock: int, *, urgent: bool) -> Plan:
        """What to see of the clock's next steps; ``urgent``: something new was met that only a wide look sees."""

    def not_observed(self, what: str, where: str, why: str) -> None:
        """Something that could not be watched was met."""

    def fault(self, error: BaseException) -> None:
        """An error in relume: it is reported once and the watching ends; the training continues."""


class Probe(Protocol):
    """How one framework is watched; made as ``TheProbe(listener, phase, thorough=…)``.

    ``thorough``: a look sees every call of its step; otherwise it may see less of what lies outside the modules in
    which there are sites, and count a site only from the look on that follows its first call.
    """

    version: str
    """The framework's version."""

    cost: int
    """Nanoseconds of its own work so far, as seen from inside."""

    def start(self, model: Any | None) -> None:
        """Begin: watch ``model``, or with None everything that trains in this process."""

    def stop(self) -> None:
        """Leave nothing behind: no hook, no mode, no patch."""

    def kept(self) -> int:
        """How many numbers are kept until :meth:`drain`."""

    def drain(self) -> list[Seen]:
        """Return the counts since the last call; waits for a device."""


class Surveyor(Protocol):
    """One run in which it is found what a trial could replace; made as ``TheSurvey(seeds)``.

    The framework is imported then, and the script has not gone on. The run trains as the script does. ``seeds`` is a
    :class:`~relume.treatment.seeding.Seeding`, which the survey asks about the framework's own seeding calls.
    """

    def start(self) -> None:
        """Surveyor from now on."""

    def stop(self) -> SwapPlan:
        """Leave nothing behind; returns what was found."""


class TrialTreatment(Protocol):
    """The treatment of one trial by one framework.

    It is made as ``TheTreatment(contender, plan, only, seeds, lr_factor)``. ``contender``: None leaves the activations
    as they are. ``plan``: of all frameworks. By then the framework is imported, and the script waits.
    """

    def start(self) -> None:
        """Treat the process from now on.

        Raises: StudyError: the contender cannot be made.
        """

    def stop(self) -> None:
        """Leave nothing behind."""

    def facts(self) -> Treated:
        """What was done, after :meth:`stop`."""


class Cures(Protocol):
    """The changes that a run makes while it is watched; made as ``TheCures(swaps, treatments)``.

    ``swaps``: (where, contender) of each activation to replace. ``treatments``: contenders of ``treatments.py``. Both
    as JSON has them. The framework is imported then, and the script has not gone on.
    """

    def start(self) -> None:
        """Treat the process from now on, to its end."""

    def facts(self) -> dict[str, Any]:
        """What was ``changed`` and what was ``left``, each a list of place, units, what and, of a revival, step.

        ``met``: the positions of the swaps that found their place.
        """


class Surgery(Protocol):
    """How the models of one framework are altered; a module with these functions, behind ``relume.cures``."""

    def refuse_model(self, model: Any) -> None:
        """Raises: CureError: a cure cannot change this model in place; called before all others."""

    def revive(self, model: Any, findings: Findings, batch: Any, *, optimizer: Any = None) -> Change:
        """See :func:`relume.revive`."""

    def revive_at(self, model: Any, places: Any, batch: Any, *, optimizer: Any = None) -> Change:
        """Revive the units of a plan: (module path, line, units) of each activation."""

    def prune(self, model: Any, findings: Findings, example_inputs: Any) -> tuple[Any, Change]:
        """See :func:`relume.prune`."""

    def swap(
        self, model: Any, where: Any, to: str, *, optimizer: Any, reinit: bool, batch: Any, **params: Any
    ) -> Change:
        """See :func:`relume.swap`."""

    def certify(self, model: Any, lower: Any, upper: Any) -> Certificate:
        """See :func:`relume.certify`."""

    def reviver(self, model: Any, optimizer: Any, rule: str, options: Mapping[str, float], every: int) -> Any:
        """What :class:`relume.Reviver` uses: ``start``, ``stop``, ``revived``, ``changes``, a repr."""


@dataclass(frozen=True)
class Framework:
    """One framework: its name, its top-level package, and where its probe is (None: not watched).

    ``children``: the module with ``when_training(begin)`` and ``group()``, for children of a watched process.
    ``trials``: the module with ``warm()``, which does once what the first trial would have to, ``reseed()``, as a
    forked process has its parent's random state, and ``announce_saving()``, which raises the audit events of files that
    are written without Python's knowledge.
    ``treatment``, ``survey``: the classes that the lab needs; None: its scripts cannot be compared unedited.
    ``cures``: the class of :class:`Cures`; None: ``relume run`` cannot change its trainings.
    ``checkpoints``: the module with ``read(path)``: a saved file's containers, each array of them a ``Tensor``.
    ``step``: the class for one step, ``(function, jit's options)``, that the probe takes in the place of a model.
    ``surgery``: the module that fulfills :class:`Surgery`; None: its models cannot be cured.
    """

    name: str
    package: str
    probe: str | None = None
    children: str | None = None
    trials: str | None = None
    treatment: str | None = None
    survey: str | None = None
    cures: str | None = None
    checkpoints: str | None = None
    surgery: str | None = None
    step: str | None = None

    def load_probe(self) -> Any:
        """The probe's class; imports the framework."""
        return self._load(self.probe)

    def load_step(self) -> Any:
        """The class for one step; imports the framework."""
        return self._load(self.step)

    def load_treatment(self) -> Any:
        """The :class:`TrialTreatment`'s class; imports the framework."""
        return self._load(self.treatment)

    def load_survey(self) -> Any:
        """The :class:`Surveyor`'s class; imports the framework."""
        return self._load(self.survey)

    def load_cures(self) -> Any:
        """The :class:`Cures`' class; imports the framework."""
        return self._load(self.cures)

    def load_surgery(self) -> Surgery:
        """The :class:`Surgery`; imports the framework."""
        if self.surgery is None:
            raise LookupError(self.name)
        return cast(Surgery, importlib.import_module(self.surgery))

    def load_children(self) -> Any:
        """The module for children; imports the framework."""
        if self.children is None:
            raise LookupError(self.name)
        return importlib.import_module(self.children)

    def load_trials(self) -> Any:
        """The module for the processes of trials; imports the framework."""
        if self.trials is None:
            raise LookupError(self.name)
        return importlib.import_module(self.trials)

    def load_checkpoints(self) -> Any:
        """The module that reads saved files; imports the framework."""
        if self.checkpoints is None:
            raise LookupError(self.name)
        return importlib.import_module(self.checkpoints)

    def _load(self, place: str | None) -> Any:
        if place is None:
            raise LookupError(self.name)
        module, _, attribute = place.partition(":")
        return getattr(importlib.import_module(module), attribute)


FRAMEWORKS = (
    Framework(
        "PyTorch",
        "torch",
        probe="relume.torch.watching.probe:TorchProbe",
        children="relume.torch.watching.schedule.children",
        trials="relume.torch.treatment.warm",
        treatment="relume.torch.treatment.treatment:TorchTreatment",
        survey="relume.torch.treatment.survey:TorchSurvey",
        cures="relume.torch.treatment.cures:TorchCures",
        checkpoints="relume.torch.checkpoints",
        surgery="relume.torch.surgery.verbs",
    ),
    Framework("TensorFlow", "tensorflow", probe="relume.tensorflow.watching.probe:TensorFlowProbe"),
    Framework(
        "Keras",
        "keras",
        probe="relume.keras.watching.probe:KerasProbe",
        treatment="relume.keras.treatment:KerasTreatment",
        survey="relume.keras.treatment:KerasSurvey",
        cures="relume.keras.treatment:KerasCures",
    ),
    Framework(
        "JAX",
        "jax",
        probe="relume.jax.watching.probe:JaxProbe",
        step="relume.jax.watching.probe:Step",
        treatment="relume.jax.treatment:JaxTreatment",
        survey="relume.jax.treatment:JaxSurvey",
        cures="relume.jax.treatment:JaxCures",
    ),
)
"""The frameworks by the name of their package, the watched ones first."""

SPECS = {
    "torch": "relume.torch.specs",
    "keras": "relume.keras.specs",
    "flax": "relume.jax.specs",
    "equinox": "relume.jax.specs",
    "jax": "relume.jax.specs",
    "onnx": "relume.onnx.specs",
}
"""By package: the module with ``to_spec(layer)`` → Spec or None, and ``from_spec(spec, package)`` → layer."""


def load_specs(package: str) -> Any:
    """The module of ``SPECS``; imports the framework."""
    return importlib.import_module(SPECS[package])


def package_of_layer(layer: Any) -> str | None:
    """Which package of ``SPECS`` a layer or function is of, by the modules of its classes; imports nothing.

    A ``functools.partial`` is of its function's.
    A Keras layer on the PyTorch backend is a torch.nn.Module too: the class nearest to the layer's own counts.
    """
    if isinstance(layer, partial):
        return package_of_layer(layer.func)
    homes = {package: package for package in SPECS} | {f"relume.{package}": package for package in SPECS}
    homes |= {f"relume.jax.{package}": package for package in ("flax", "equinox")}
    for module in (getattr(layer, "__module__", ""), *(kind.__module__ for kind in type(layer).__mro__)):
        parts = str(module).split(".")
        for length in (3, 2, 1):
            if found := homes.get(".".join(parts[:length])):
                return found
    return None
