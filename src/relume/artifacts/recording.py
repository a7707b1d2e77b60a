"""The recording: what the watching of one run kept.

One SQLite file, written through the run and readable at any moment, after a ``kill -9`` too. It grows with what
changes (sites met, windows closed, units that died or revived), not with steps × units. Here are its schema and what
its rows mean; ``writer.py`` writes it and ``reader.py`` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.curve import LossPoint
from relume.artifacts.history import Band, History
from relume.artifacts.recent import Recent

SCHEMA_VERSION = 5
"""1: the first. 2: how units fell silent (``death``). 3: each change of a learning rate (``rate``), the loss of every
step that told one (``loss``), since when units are not finite and how often they fired lately (``unit``), and deaths
that are compared on like inputs. 4: a window keeps no rates and no loss (``rate`` and ``loss`` have them), and the
numbers of a layer have another name (``statistic``). 5: how often each unit fired over the steps (``history``),
and its pre-activations (``band``)."""

APPLICATION_ID = 0x524C4D45  # "RLME": marks an SQLite file as a recording
SQLITE_MAGIC = b"SQLite format 3\0"
HEADER_SIZE = 100

SCHEMA = """
CREATE TABLE meta (             -- the run: script, argv, exit, versions, budget, cost; values are JSON
    key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE clock (            -- a source of steps
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, steps INTEGER NOT NULL, looked INTEGER NOT NULL);
CREATE TABLE site (             -- a place that applies an activation, in the order of the first call
    id INTEGER PRIMARY KEY, description TEXT NOT NULL);
CREATE TABLE count (            -- what was counted at a site in a span: 'total', 'window' (the latest closed) or 'open'
    site INTEGER NOT NULL, span TEXT NOT NULL, looks INTEGER NOT NULL, examples INTEGER NOT NULL,
    samples INTEGER NOT NULL, fired BLOB NOT NULL, flat BLOB NOT NULL, magnitude BLOB NOT NULL,
    PRIMARY KEY (site, span));
CREATE TABLE unit (             -- a number for each unit of a site: first_fired, last_fired, silent_since,
                                -- non_finite_since, slope, recent_fired, recent_examples, recent_silent
    site INTEGER NOT NULL, name TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (site, name));
CREATE TABLE event (            -- a unit died or revived, at the first step of the window that shows it
    site INTEGER NOT NULL, unit INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE TABLE death (            -- how a unit fell silent that is silent: the facts of a Death, as JSON
    site INTEGER NOT NULL, unit INTEGER NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (site, unit));
CREATE TABLE statistic (        -- a number of a whole site, by its name
    site INTEGER NOT NULL, name TEXT NOT NULL, number REAL NOT NULL, PRIMARY KEY (site, name));
CREATE TABLE window (           -- a closed window of a clock
    clock INTEGER NOT NULL, first_step INTEGER NOT NULL, last_step INTEGER NOT NULL, looked INTEGER NOT NULL);
CREATE TABLE rate (             -- the learning rate of each parameter group from a step on: the first, each change
    clock INTEGER NOT NULL, step INTEGER NOT NULL, rates TEXT NOT NULL);
CREATE TABLE loss (             -- the losses of a stretch of steps; mean, low and high are of the finite ones
    clock INTEGER NOT NULL, first_step INTEGER NOT NULL, last_step INTEGER NOT NULL, number INTEGER NOT NULL,
    mean REAL, low REAL, high REAL, non_finite INTEGER NOT NULL, non_finite_since INTEGER NOT NULL,
    PRIMARY KEY (clock, first_step));
CREATE TABLE timeline (         -- how many units of a site were silent in a closed window
    site INTEGER NOT NULL, first_step INTEGER NOT NULL, silent INTEGER NOT NULL, examples INTEGER NOT NULL);
CREATE TABLE history (          -- how often each unit fired over the steps: the last steps of its stretches, as JSON,
                                -- and a byte for each stretch and unit
    site INTEGER PRIMARY KEY, ends TEXT NOT NULL, rates BLOB NOT NULL);
CREATE TABLE band (             -- pre-activations at some looks: their steps as JSON; smallest, largest and how far the
                                -- parameters have moved, 16-bit numbers for each look and unit
    site INTEGER PRIMARY KEY, steps TEXT NOT NULL, numbers BLOB NOT NULL);
CREATE TABLE not_observed (
    what TEXT NOT NULL, place TEXT NOT NULL, why TEXT NOT NULL);
"""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
ClockKind = Literal["optimizer", "backward", "forward"]


@dataclass(frozen=True)
class Site:
    """One place where an activation is applied.

    Attributes:
        key: the site's stable name. ``model``: its tree's root. ``module``: path in the tree.
        call: how it is written (``nn.ReLU``, ``F.relu``). ``file``, ``line``: in the user's code.
        activation: stem in ``activations/``; ``parameters``: as given in the call.
        layer: path of the layer that produces its input, "" if unknown. ``producer``: its class and sizes
            (``Linear 8→64``).
        unit_axis: axis of the units; ``axis_assumed``: it was not followed from a layer.
        clock: the id of the clock that it counts by. ``compiled``: it is in a graph of ``torch.compile``.
        code: it gives a sparse code: few units fire on a sample, by design.
    """

    key: str
    model: str
    module: str
    call: str
    file: str
    line: int
    activation: str
    parameters: Mapping[str, Any]
    layer: str
    unit_axis: int
    units: int
    axis_assumed: bool
    clock: int
    compiled: bool = False
    producer: str = ""
    code: bool = False


@dataclass
class Count:
    """What was counted at a site in a span of steps; arrays have the shape (units,)."""

    looks: int
    examples: int
    samples: int
    fired: Integers
    flat: Integers
    magnitude: Floats

    @classmethod
    def zero(cls, units: int) -> Count:
        """Nothing counted yet."""
        return cls(0, 0, 0, np.zeros(units, np.int64), np.zeros(units, np.int64), np.zeros(units))

    def __add__(self, other: Count) -> Count:
        return Count(
            self.looks + other.looks,
            self.examples + other.examples,
            self.samples + other.samples,
            self.fired + other.fired,
            self.flat + other.flat,
            self.magnitude + other.magnitude,
        )


class Death(NamedTuple):
    """How a unit fell silent: what its parameters and its inputs had in the fall of its largest pre-activations.

    The level of a unit in a look is its largest pre-activation in a group of eight samples, or in an example of a
    convolution, averaged over the groups; a silent unit's is below the firing edge. Its fall is from the
    reference, the last look at which the unit's largest pre-activation was at least half its mean, to a look in which
    the unit is silent. ``by_weight`` and ``by_bias`` are differences on the inputs of that look, between its parameters
    and those of the reference; ``by_input`` is the rest of the fall. nan means unknown.

    Attributes:
        before, after: the steps of the two looks; ``before`` is −1 if the unit never fired.
        level_first, level_before, level_after: the level at the first look and at the two.
        by_weight, by_bias, by_input: their parts in the change of the level.
        luck: standard error of ``by_input``, as far as it is of one look.
        leap: longest way of w and b between two looks since the reference, in usual ways over as many steps.
        path: the sum of all ways of w and b; 0 if they never moved.
        shrinking: cosine of Δw and −w.
        weight_first, weight_after: ‖w‖. ``bias_first``, ``bias_after``: b.
        bias_falls: share of the intervals between looks in which b fell.
        input_after: root mean square of ‖x‖ over the layer. ``offset_…``: γ = ‖mean‖/‖std‖ of its input.
        rate_before, rate_after: learning rate of the weight. ``decay``: its weight decay.
        kind: of the layer: linear, convolution, norm (w is its scale, b its shift).
        trained: an optimizer steps w, or the weights of the layer moved without one.
        upstream: the number of the site that produced the layer's input, −1 for none.
    """

    unit: int
    before: int
    after: int
    level_first: float
    level_before: float
    level_after: float
    by_weight: float
    by_bias: float
    by_input: float
    luck: float
    leap: float
    path: float
    shrinking: float
    weight_first: float
    weight_after: float
    bias_first: float
    bias_after: float
    bias_falls: float
    input_after: float
    offset_before: float
    offset_after: float
    rate_before: float
    rate_after: float
    decay: float
    kind: str
    trained: bool
    upstream: int


LOSSES = ("cross_entropy", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""The losses of which it is known what they expect."""


@dataclass
class SiteRecord:
    """All that a recording keeps of one site. Steps are −1 for never; ``window`` is None before one has closed.

    ``dead_after``: the silent examples after which a unit is dead, if the user set them (``--dead-after``).
    ``non_finite_since``: the first looked-at step with an output that was NaN or infinite; None in recordings before
    version 3, as ``recent``. ``history``: None before a window has closed, and before version 5.

    ``statistics``, if they are known: ``init_gain`` (√(E[w²] · inputs) of the layer before the first step),
    ``init_gain_back`` (with its outputs in the place of its inputs), ``offset``
    (γ = ‖mean‖/‖std‖ of its input), ``peak`` (the largest |output|), ``rms_first`` and ``rms`` (root mean square of
    the output at the first look and the latest), ``gradient_first`` and ``gradient`` (that of the gradient of the
    layer's weight), ``noise`` (the share of that gradient that changes from look to look) over ``gradients`` looks;
    ``copy_of`` (the number of the site whose weights are loaded into this one's layer), ``slope_decay`` (the weight
    decay of a PReLU's slopes), ``loss`` (the index in ``LOSSES`` of the loss that takes the output as it is) and
    ``negative_targets`` (the share of that loss's targets that are below 0).
    """

    site: Site
    total: Count
    window: Count | None
    open: Count
    first_fired: Integers
    last_fired: Integers
    silent_since: Integers
    slope: Floats | None = None
    events: list[tuple[int, int, str]] = field(default_factory=list)
    deaths: dict[int, Death] = field(default_factory=dict)
    statistics: dict[str, float] = field(default_factory=dict)
    recent: Recent | None = None
    non_finite_since: Integers | None = None
    history: History | None = None
    band: Band | None = None
    dead_after: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether its units are counted: it was looked at, and is no copy of another site."""
        return self.total.looks > 0 and "copy_of" not in self.statistics

    @classmethod
    def new(cls, site: Site) -> SiteRecord:
        """A site that was just met."""
        zero, never = Count.zero(site.units), np.full(site.units, -1, np.int64)
        return cls(site, zero, None, zero, never, never.copy(), never.copy())

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which units have had no output that was NaN or infinite."""
        return np.isfinite(self.total.magnitude)

    def judged(self) -> Count:
        """The counts on which units are judged: the latest closed window's and the open one's."""
        return self.open if self.window is None else self.window + self.open

    def surely_silent(self) -> NDArray[np.bool_]:
        """Which units are silent and dead rather than rare: silent for :attr:`needed`, or as :class:`Recent` says."""
        if self.needed is not None:
            return np.asarray(self.silent_for() >= self.needed)
        judged = self.judged()
        recent = self.recent or self._recent_before(judged)
        since = self.open.examples if self.recent else 0
        return np.asarray((judged.fired == 0) & ((self.total.fired == 0) | recent.surprised(since)))

    def silent_for(self) -> Floats:
        """The examples since each unit fired; shape (units,)."""
        silent = (self.recent or self._recent_before(self.judged())).silent
        since = np.minimum(silent + (self.open.examples if self.recent else 0), self.total.examples)
        return np.where(self.open.fired > 0, 0.0, since)

    @property
    def needed(self) -> float | None:
        """The examples on which a unit must be silent to be dead; None: :class:`Recent` decides.

        ``dead_after``, or for a code those that bring the bound 3/n to 1 % of its mean firing rate.
        """
        if self.dead_after is not None or not self.site.code:
            return self.dead_after
        return 300 / (self.mean_rate or 1.0)

    @property
    def mean_rate(self) -> float:
        """The share of its samples on which a unit fires, in the mean of all units and the whole run."""
        return float(self.total.fired.sum() / max(self.total.samples * self.site.units, 1))

    def _recent_before(self, judged: Count) -> Recent:
        """The rates before the window, for a recording that kept none (version 2); its dead units stay dead."""
        recent, before = Recent.nothing(self.site.units), self.total.examples - judged.examples
        recent.add(self.total.fired - judged.fired, before, self.total.samples - judged.samples)
        recent.add(judged.fired, judged.examples, judged.samples)
        for unit, _, kind in self.events:
            recent.silent[unit] = np.inf if kind == "died" else judged.examples
        return recent


@dataclass(frozen=True)
class Clock:
    """A source of steps: ``kind`` is "optimizer", "backward" or "forward"."""

    id: int
    name: str
    kind: str
    steps: int
    looked: int


@dataclass(frozen=True)
class Window:
    """A closed window of a clock: steps ``first_step`` … ``last_step``, of which ``looked`` were looked at."""

    clock: int
    first_step: int
    last_step: int
    looked: int


class Rates(NamedTuple):
    """The learning rate of each parameter group of a clock's optimizer, from ``step`` to the next change."""

    clock: int
    step: int
    rates: tuple[float, ...]


@dataclass
class Recording:
    """A recording as read."""

    meta: dict[str, Any]
    clocks: list[Clock]
    sites: list[SiteRecord]
    windows: list[Window]
    timeline: list[tuple[int, int, int, int]]
    not_observed: list[tuple[str, str, str]]
    rates: list[Rates] = field(default_factory=list)
    losses: list[LossPoint] = field(default_factory=list)


def header(path: Path) -> bytes:
    """Read the first bytes of a file: what kind of file it is."""
    with path.open("rb") as file:
        return file.read(HEADER_SIZE)
