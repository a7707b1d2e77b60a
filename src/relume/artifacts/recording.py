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

SCHEMA_VERSION = 2
"""1: the first. 2: how units fell silent (``death``)."""

APPLICATION_ID = 0x524C4D45  # "RLME": how a recording is told from any other SQLite file
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
CREATE TABLE unit (             -- a number for each unit of a site: first_fired, last_fired, silent_since, slope
    site INTEGER NOT NULL, name TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (site, name));
CREATE TABLE event (            -- a unit died or revived, at the first step of the window that shows it
    site INTEGER NOT NULL, unit INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE TABLE death (            -- how a unit fell silent that is silent: the facts of a Death, as JSON
    site INTEGER NOT NULL, unit INTEGER NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (site, unit));
CREATE TABLE vital (            -- a number of a whole site, by its name
    site INTEGER NOT NULL, name TEXT NOT NULL, number REAL NOT NULL, PRIMARY KEY (site, name));
CREATE TABLE window (           -- a closed window of a clock
    clock INTEGER NOT NULL, first_step INTEGER NOT NULL, last_step INTEGER NOT NULL, looked INTEGER NOT NULL,
    rates TEXT NOT NULL, loss REAL);
CREATE TABLE timeline (         -- how many units of a site were silent in a closed window
    site INTEGER NOT NULL, first_step INTEGER NOT NULL, silent INTEGER NOT NULL, examples INTEGER NOT NULL);
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
    """

    key: str
    model: str
    module: str
    call: str
    file: str
    line: int
    activation: str
    parameters: Mapping[str, float]
    layer: str
    unit_axis: int
    units: int
    axis_assumed: bool
    clock: int
    compiled: bool = False
    producer: str = ""


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
    """How a unit fell silent: its largest pre-activation at the last look in which it fired and at the first after it.

    That pre-activation is w·x + b, with x the input that excited the unit most, and a remainder where something is
    added behind the layer. ``by_…`` are the parts of its change, which they add up to (Shapley values of the terms).

    Attributes:
        before, after: the steps of the two looks; ``before`` is −1 where the unit never fired.
        top_first, top_before, top_after: the largest pre-activation at the first look and at the two.
        half: what it would have been on the earlier x with half of the change of w and b.
        update, usual: ‖(Δw, Δb)‖ a step between the two looks, and its mean between looks in which the unit fired.
        shrinking: cosine of Δw and −w.
        weight_first, weight_after: ‖w‖. ``bias_first``, ``bias_after``: b.
        bias_falls: share of the intervals between looks in which b fell.
        input_before, input_after: ‖x‖. ``offset_…``: γ = ‖mean‖/‖std‖ of the layer's input.
        rate_before, rate_after: learning rate of the weight. ``decay``: its weight decay.
        kind: of the layer: linear, convolution, norm (w is its scale, b its shift). ``trained``: w is stepped.
        upstream: the number of the site that made the layer's input, −1 where none did.
    """

    unit: int
    before: int
    after: int
    top_first: float
    top_before: float
    top_after: float
    by_weight: float
    by_bias: float
    by_input: float
    by_rest: float
    half: float
    update: float
    usual: float
    shrinking: float
    weight_first: float
    weight_after: float
    bias_first: float
    bias_after: float
    bias_falls: float
    input_before: float
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

SURE_FIRINGS = 12.0
"""Firings that were to be expected of a silent unit at its rate before: none of so many comes once in 160,000 times.

A unit that fires on 1 % of examples falls silent some dozens of times in a run; at seven, one in thousand of these
silences was taken for its death.
"""


@dataclass
class SiteRecord:
    """All that a recording keeps of one site. Steps are −1 for never; ``window`` is None before one has closed.

    ``vitals``, where they are known: ``init_gain`` (√(E[w²] · inputs) of the layer before the first step),
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
    vitals: dict[str, float] = field(default_factory=dict)

    @property
    def is_counted(self) -> bool:
        """Whether its units are counted: it was looked at, and is no copy of another site."""
        return self.total.looks > 0 and "copy_of" not in self.vitals

    @classmethod
    def new(cls, site: Site) -> SiteRecord:
        """A site that was just met."""
        zero, never = Count.zero(site.units), np.full(site.units, -1, np.int64)
        return cls(site, zero, None, zero, never, never.copy(), never.copy())

    def judged(self) -> Count:
        """The counts on which units are judged: the latest closed window's and the open one's."""
        return self.open if self.window is None else self.window + self.open

    def surely_silent(self, dead: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Which units are silent and not only rare: they never fired, or fired often enough before to be missed.

        ``dead``: those that have died and not revived, where that is at hand. They fired before their silence and not
        in it, and the longer it lasts, the less this shows in their rate before the window.
        """
        judged = self.judged()
        dead = self._died() if dead is None else dead
        before = max(self.total.samples - judged.samples, 1)
        missed = (self.total.fired - judged.fired) / before * judged.samples
        return np.asarray((judged.fired == 0) & ((self.total.fired == 0) | (missed >= SURE_FIRINGS) | dead))

    def _died(self) -> NDArray[np.bool_]:
        dead = np.zeros(self.site.units, bool)
        for unit, _, kind in self.events:
            dead[unit] = kind == "died"
        return dead


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
    """A closed window of a clock: steps ``first_step`` … ``last_step``, its last learning rates, its mean loss."""

    clock: int
    first_step: int
    last_step: int
    looked: int
    rates: tuple[float, ...]
    loss: float | None


@dataclass
class Recording:
    """A recording as read."""

    meta: dict[str, Any]
    clocks: list[Clock]
    sites: list[SiteRecord]
    windows: list[Window]
    timeline: list[tuple[int, int, int, int]]
    not_observed: list[tuple[str, str, str]]


def header(path: Path) -> bytes:
    """Read the first bytes of a file: what kind of file it is."""
    with path.open("rb") as file:
        return file.read(HEADER_SIZE)
