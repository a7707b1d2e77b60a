"""What a survey of a script found: which activations can be replaced, which not and why, and how it trains.

Made once a study by a survey of ``torch/treatment/``; every later trial is given it as data and surveys nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

Spot = tuple[str, int, int, int, int]
"""A call in the source: file, first and last line, first and last column."""


@dataclass(frozen=True)
class Birth:
    """A module by its construction: the same one in every run of the script, and in its copies.

    Attributes:
        kind: module and qualified name of its class, such as ``__main__:Net``.
        order: its index among the instances of its class, from 0.
    """

    kind: str
    order: int


@dataclass(frozen=True)
class SwapSite:
    """One place that applies an activation of the family.

    Attributes:
        key: for people, and for ``--only``: ``Net.relu1@train.py:12``.
        activation: stem in ``activations/``. ``call``: as it is written, ``nn.ReLU`` or ``F.relu``.
        owner: the activation module, or the module whose code makes the call; None outside any.
        alone: an activation module is called.
        spot: where the call is written.
        layer: the module that made the input, None if it is unknown.
        axis, ndim: the unit axis, of how many; ``units``: along it; ``inner``: neighbors that are one unit's.
        hidden: its result reaches a parameterized layer. Others are not replaced.
        why: why it is not replaced; "" if it is.
        framework: the package whose treatment replaces it.
    """

    key: str
    activation: str
    call: str
    file: str
    line: int
    owner: Birth | None
    alone: bool
    spot: Spot
    layer: Birth | None
    axis: int
    ndim: int
    units: int
    inner: int = 1
    hidden: bool = True
    why: str = ""
    framework: str = "torch"


@dataclass(frozen=True)
class NotSwapped:
    """Something that acts as an activation and is not replaced: what, where, why."""

    what: str
    where: str
    why: str


IN_A_CHILD = "in a child process"
"""The beginning of ``why`` for activations that another process computes."""


@dataclass(frozen=True)
class OptimizerRates:
    """An optimizer as it was at its first step: its class and its learning rates, a group each."""

    optimizer: str
    rates: tuple[float, ...]


@dataclass(frozen=True)
class FirstLayer:
    """The layer that takes a network's input.

    Attributes:
        layer: which one. ``spot``: the call that makes it. ``alone``: that call makes only such layers.
        norm: the class of ``torch.nn`` that normalizes its input.
    """

    layer: Birth
    spot: Spot
    norm: str
    alone: bool


@dataclass(frozen=True)
class SwapPlan:
    """The whole of it, as JSON in :meth:`to_dict`.

    Attributes:
        sites: in the order of their first call. ``not_swapped``: what no trial replaces.
        optimizers: as they were met. ``schedulers``: classes. ``seeds``: the seeding calls that were seen.
        holders: modules that hold PyTorch's own functions by another name, ``module:name``.
        modules: that were imported: a server may load them beforehand.
        inputs: the layers whose input can be normalized, of each network one.
        compiled: the script calls ``torch.compile``; a survey runs such code uncompiled.
    """

    sites: tuple[SwapSite, ...] = ()
    not_swapped: tuple[NotSwapped, ...] = ()
    optimizers: tuple[OptimizerRates, ...] = ()
    schedulers: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    compiled: bool = False
    inputs: tuple[FirstLayer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> SwapPlan:
        """The plan that :meth:`to_dict` wrote, straight or through JSON."""
        return cls(
            sites=tuple(_site(site) for site in told["sites"]),
            not_swapped=tuple(NotSwapped(**each) for each in told["not_swapped"]),
            optimizers=tuple(OptimizerRates(each["optimizer"], tuple(each["rates"])) for each in told["optimizers"]),
            schedulers=tuple(told["schedulers"]),
            seeds=tuple(told["seeds"]),
            holders=tuple(told["holders"]),
            modules=tuple(told["modules"]),
            compiled=told["compiled"],
            inputs=tuple(_first_layer(each) for each in told.get("inputs", ())),
        )

    def of(self, framework: str) -> SwapPlan:
        """The plan with this framework's sites only."""
        return replace(self, sites=tuple(site for site in self.sites if site.framework == framework))

    def joined(self, other: SwapPlan) -> SwapPlan:
        """What two frameworks' surveys of one run found."""
        lists = ("sites", "not_swapped", "optimizers", "schedulers", "holders", "inputs")
        both: dict[str, Any] = {name: (*getattr(self, name), *getattr(other, name)) for name in lists}
        return replace(other, **both, compiled=self.compiled or other.compiled)

    def left_by(self, sites: Sequence[SwapSite]) -> tuple[NotSwapped, ...]:
        """What a trial that replaces ``sites`` leaves as it is."""
        chosen = {site.key for site in sites}
        left = [
            NotSwapped(site.call, f"{site.file}:{site.line}", site.why or "--only leaves it out")
            for site in self.sites
            if site.key not in chosen
        ]
        return (*left, *self.not_swapped)

    def chosen(self, only: str = "") -> tuple[SwapSite, ...]:
        """The sites that a trial replaces: the hidden ones, of ``--only`` if it is given."""
        wanted = [word.strip() for word in only.split(",") if word.strip()]
        return tuple(site for site in self.sites if site.hidden and (not wanted or any(map(site_is(site), wanted))))


@dataclass(frozen=True)
class Treated:
    """What was done to one trial.

    Attributes:
        sites: keys of the places that were replaced. ``not_swapped``: what was left as it is.
        parameters_added: numbers that the contender learns.
        start, weights: digests of the initial parameters, without the contender's own, and of the trained ones, with
            them; "" if no optimizer took a step.
        steps: of all optimizers.
        notes: what a reader must know, in plain sentences.
    """

    sites: tuple[str, ...] = ()
    not_swapped: tuple[NotSwapped, ...] = ()
    parameters_added: int = 0
    start: str = ""
    weights: str = ""
    steps: int = 0
    notes: tuple[str, ...] = ()

    def joined(self, other: Treated) -> Treated:
        """What two frameworks' treatments of one run did; a digest that both have is one of both."""
        return Treated(
            sites=self.sites + other.sites,
            not_swapped=tuple(dict.fromkeys(self.not_swapped + other.not_swapped)),
            parameters_added=self.parameters_added + other.parameters_added,
            start=self.start + other.start,
            weights=self.weights + other.weights,
            steps=self.steps + other.steps,
            notes=self.notes + other.notes,
        )


def site_is(site: SwapSite) -> Any:
    """Whether a word of ``--only`` means this site: a kind, ``file:line``, a module's path, or the whole key."""
    where = f"{site.file}:{site.line}"
    module = site.key.partition("@")[0]
    names = {site.activation, site.activation.replace("_", ""), site.call.lower(), where, module, site.key}

    def means(word: str) -> bool:
        return word in names or word.lower() in names or module.endswith(f".{word}")

    return means


def _first_layer(told: Mapping[str, Any]) -> FirstLayer:
    file, line, end_line, column, end_column = told["spot"]
    spot = (file, line, end_line, column, end_column)
    return FirstLayer(Birth(**told["layer"]), spot, told["norm"], told["alone"])


def _site(told: Mapping[str, Any]) -> SwapSite:
    births = {name: None if told[name] is None else Birth(**told[name]) for name in ("owner", "layer")}
    file, line, end_line, column, end_column = told["spot"]
    return SwapSite(**{**told, **births, "spot": (file, line, end_line, column, end_column)})
