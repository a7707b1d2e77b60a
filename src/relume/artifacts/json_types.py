"""The JSON of the commands, as types: mypy holds the code that makes it to them, and the schemas are made from them.

New keys may come within a schema.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Severity = Literal["error", "warning", "info"]


class NotObservedJson(TypedDict):
    """What could not be judged or replaced, at which source line, and why."""

    what: str
    where: str
    why: str


class CauseJson(TypedDict):
    """Why a unit died."""

    kind: str
    evidence: str


class SiteJson(TypedDict):
    """One place where an activation is applied, and its units, which go by their numbers."""

    id: str
    model: str
    module: str
    call: str
    source: str
    activation: str
    parameters: dict[str, Any]
    layer: str
    producer: str
    code: bool
    unit_axis: int
    units: int
    clock: int
    axis_assumed: bool
    steps: int
    examples: int
    samples: int
    total_examples: int
    provisional: bool
    dead: list[int]
    born_dead: list[int]
    rare: list[int]
    always_on: list[int]
    stuck_high: list[int]
    one_sided: list[int]
    saturated: list[int]
    dormant: list[int]
    non_finite: list[int]
    non_finite_since: dict[str, int]
    firing_rate: list[float | None]
    last_fired: list[int]
    silent_for: list[int]
    needed: int
    events: list[list[int | str]]
    timeline: list[list[int]]
    died_after: dict[str, int]
    died_at: dict[str, int]
    revived_at: dict[str, int]
    copies: list[str]
    slopes: list[float | None]
    statistics: dict[str, float]
    cause: dict[str, CauseJson]


class SpanJson(TypedDict):
    """Consecutive windows of a clock."""

    first_step: int
    last_step: int
    looked: int
    dead: int


class RatesJson(TypedDict):
    """The learning rates from a step on."""

    step: int
    rates: list[float | None]


class LossJson(TypedDict):
    """The losses of consecutive steps; null where none of them is finite."""

    first_step: int
    last_step: int
    number: int
    mean: float | None
    low: float | None
    high: float | None
    non_finite: int


class TimelineJson(TypedDict):
    """A clock over the whole run."""

    id: int
    name: str
    kind: str
    steps: int
    looked: int
    spans: list[SpanJson]
    rates: list[RatesJson]
    losses: list[LossJson]
    loss_non_finite_since: int | None


class AdvisedJson(TypedDict):
    """A cure for a finding."""

    cure: str
    changes: str
    units: int
    evidence: list[str]


class FindingJson(TypedDict):
    """One pathology at one site."""

    rule: str
    slug: str
    severity: Severity
    site: str
    units: list[int]
    evidence: str
    advice: str
    cures: list[AdvisedJson]


class ClockJson(TypedDict):
    """A source of steps."""

    name: str
    kind: str
    steps: int
    looked: int


class RunJson(TypedDict):
    """What was run; beside these keys the versions of the frameworks, and what else is known of it."""

    script: str | None
    argv: list[str]
    exit: int | None
    steps: int
    looked: int
    samples: int
    overhead: float | None
    clocks: list[ClockJson]


class FindingsJson(TypedDict):
    """`relume report RECORDING --json` and `relume audit --json`."""

    schema: int
    run: RunJson
    sites: list[SiteJson]
    timelines: list[TimelineJson]
    findings: list[FindingJson]
    not_observed: list[NotObservedJson]


class DeadSiteJson(TypedDict):
    """How many units of a site are dead."""

    site: str
    source: str
    dead: int
    units: int


class FailureJson(TypedDict):
    """One thing that failed; `site` is null for the whole run."""

    check: str
    slug: str
    site: str | None
    source: str | None
    units: int
    of: int
    evidence: str
    advice: str


class CheckJson(TypedDict):
    """`relume check --json`."""

    schema: int
    holds: bool
    max_dead: float | None
    per_site: bool
    fail_on: list[str]
    dead: int
    judged: int
    units: int
    share: float
    provisional: list[str]
    dead_sites: list[DeadSiteJson]
    failures: list[FailureJson]
    notes: list[str]


class SideJson(TypedDict):
    """One of two runs as a whole."""

    script: str | None
    sites: int
    units: int
    dead: int
    share: float
    steps: int
    looked: int
    overhead: float | None


class ShiftJson(TypedDict):
    """A site in both runs."""

    id: str
    id_after: str
    source: str
    source_after: str
    activation: str
    activation_after: str
    units: list[int]
    dead: list[int]
    died: list[int] | None
    lived: list[int] | None
    firing_rate: list[float | None]
    most_shifted: int | None
    largest_shift: float
    provisional: bool


class DiffJson(TypedDict):
    """`relume diff --json`."""

    schema: int
    comparable: bool
    before: SideJson
    after: SideJson
    sites: list[ShiftJson]
    lost: list[str]
    new: list[str]


class ParameterJson(TypedDict):
    """One parameter of an activation."""

    name: str
    default: float | str
    meaning: str
    values: str
    learnable: bool
    defaults: dict[str, float | str]


class KinkJson(TypedDict):
    """A point where the formula changes, and each framework's slope there."""

    at: str
    slopes: dict[str, str]


class ActivationJson(TypedDict):
    """One activation in full."""

    name: str
    title: str
    aliases: list[str]
    formula: str
    range: str
    rectifier: bool
    elementwise: bool
    learnable: bool
    random: bool
    backward_needs: str
    can_die: str
    dies: bool
    saturates: str
    fires_above: float | None
    flat: list[float | None]
    gain: float | None
    gain_note: str
    advantages: str
    disadvantages: str
    when_to_use: str
    parameters: list[ParameterJson]
    kinks: list[KinkJson]
    slope_at_nan: str
    hazards: list[str]
    sources: list[dict[str, str]]


class ListJson(TypedDict):
    """`relume list --json`."""

    schema: int
    activations: list[ActivationJson]


class RuleJson(TypedDict):
    """A rule of the doctor; its page is Markdown."""

    code: str
    name: str
    page: str


class ExplainJson(TypedDict):
    """`relume explain --json`: an activation or a rule."""

    schema: int
    activation: NotRequired[ActivationJson]
    rule: NotRequired[RuleJson]


class TrialJson(TypedDict):
    """One run of a study; `metrics` has the last value of each, `curve` the metric that is compared."""

    activation: str
    seed: int
    lr_factor: float
    stage: Literal["tune", "confirm", "repeat"]
    status: Literal["finished", "failed", "diverged", "timeout"]
    error: str
    value: float | None
    metrics: dict[str, float | None]
    curve: list[list[float | None]]
    seconds: float
    cpu_seconds: float
    peak_memory: int
    parameters_added: int
    dead_share: float | None
    dead_layers: int
    sites: int


class AskedJson(TypedDict):
    """What was asked in a study, and of what."""

    name: str
    script: str
    argv: list[str]
    metric: str
    mode: Literal["min", "max"]
    at: str
    tune_metric: str
    baseline: str
    replaces: list[str]
    sites: int | None
    seeds: int
    tuning_seeds: list[int]
    lr_factors: list[float]
    delta: float | None
    alpha: float
    looks: list[dict[str, int]]
    next_seeds: int | None
    runs_left: dict[str, int]
    learning_rate: float | None
    corrected_together: int
    threads: int
    settings: dict[str, str]
    versions: dict[str, str]
    notes: list[str]


class ErrorJson(TypedDict):
    """An error: its stable code, which is a heading of docs/reference/messages.md, what failed, and what to do."""

    code: str
    message: str
    exit: int


class RefusedJson(TypedDict):
    """What any command with `--json` prints on stdout instead of its result, where it is refused."""

    error: ErrorJson
