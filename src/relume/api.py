"""The verbs for Python, as ``cli/`` has them for the shell."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from relume.artifacts.difference import Difference
from relume.artifacts.findings import Findings
from relume.artifacts.json_types import FindingsJson
from relume.artifacts.study import Study
from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import Design
from relume.artifacts.verdict import CheckResult
from relume.artifacts.writer import RecordingWriter
from relume.auditor.audit import audit as audit_files
from relume.auditor.audit import is_checkpoint
from relume.doctor.check import check as check_findings
from relume.doctor.diagnosis import diagnose, diagnose_checkpoint
from relume.doctor.difference import differ
from relume.doctor.reading import findings_of
from relume.errors import ParameterError, WatchError
from relume.framework import Framework, Phase
from relume.logged import log as log
from relume.observe.observer import Observer, framework_of
from relume.tapped import tap as tap

BUDGET = 0.02
"""Share of the step time that watching may cost, by default."""


class Watch:
    """The watching of one model: a context manager, or :meth:`start` and :meth:`stop`. Made by :func:`watch`."""

    def __init__(self, model: Any, *, framework: Framework | None = None, **options: Any) -> None:
        """``framework``: the model's; None: found by its class. ``options``: those of the observer."""
        self._model = model
        self._framework = framework
        self._writer = RecordingWriter(None)
        self._observer = Observer(self._writer, **options)
        self._state = "new"

    def start(self) -> Watch:
        """Begin to watch, or continue after :meth:`stop`."""
        if self._state == "new":
            self._observer.watch(self._framework or framework_of(self._model), self._model)
            # a notebook's cell that is run again drops its earlier watch, which could not be stopped otherwise
            weakref.finalize(self, self._observer.pause).atexit = False
        elif self._state == "stopped":
            self._observer.resume(self._model)
        self._state = "watching"
        return self

    def stop(self) -> None:
        """Stop watching; no hook, mode or patch remains. The counts stay."""
        if self._state == "watching":
            self._observer.pause()
            self._state = "stopped"

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def findings(self) -> Findings:
        """The doctor's findings on what was seen so far."""
        if self._state == "watching":
            self._observer.write()
        return diagnose(self._writer.read())

    def to_dict(self) -> FindingsJson:
        """The same shape as ``relume report FILE --json``."""
        return self.findings().to_dict()

    def to_metrics(self) -> dict[str, float]:
        """Numbers by stable names, as loggers take them: ``mlflow.log_metrics(w.to_metrics())``."""
        return self.findings().to_metrics()

    def save(self, path: str | Path) -> None:
        """Write what was seen so far as a recording for ``relume report``.

        Raises: RecordingError: the file exists and is not a recording made by relume, or cannot be written.
        """
        if self._state == "watching":
            self._observer.write()
        self._writer.save(Path(path))

    def __rich__(self) -> Any:
        from relume.reports.run import terminal

        return terminal.render(self.findings())

    def _repr_html_(self) -> str:
        from relume.reports.run.html.page import notebook

        return notebook(self.findings())

    def __repr__(self) -> str:
        from relume.reports.run import terminal

        return terminal.to_text(self.findings())


def watch(
    model: Any,
    *,
    budget: float = BUDGET,
    window: int | None = None,
    every: int | None = None,
    dead_after: int | None = None,
    phase: Phase = "train",
) -> Watch:
    """Watch one model's activations while it trains, or while it is evaluated (``phase="all"``).

    Args:
        model: a ``torch.nn.Module`` or a ``keras.Model``.
        budget: share of the step time that watching may cost, in (0, 1]; 1.0 sees every step.
        window: steps over which counts are kept; None: enough for 1,000 examples.
        every: look at each k-th step instead of within a budget: the same counts on every run.
        dead_after: the examples (tokens of a sparse code) on which a unit must be silent to be dead, such as
            10_000_000; None: as many as the evidence needs.
        phase: which of the model's passes count, by its ``training`` flag: "train", "eval" or "all".

    Returns: a context manager; ``w.findings()``, ``w.to_dict()``, ``w.save(path)`` give what was seen.

    Raises: WatchError: not a model, or an option out of its range.

    Example:
        >>> with relume.watch(model) as w:      # doctest: +SKIP
        ...     train(model)
        >>> w.to_dict()["sites"][0]["dead"]     # doctest: +SKIP
        [3, 17]
    """
    options: dict[str, Any] = {"budget": budget, "window": window, "every": every, "dead_after": dead_after}
    check_options(**options, phase=phase)
    return Watch(model, **options, phase=phase)


def check_options(
    *,
    budget: float = BUDGET,
    window: int | None = None,
    every: int | None = None,
    dead_after: int | None = None,
    phase: Phase = "train",
) -> None:
    """Raises: WatchError: an option of the watching is out of its range."""
    if not 0 < budget <= 1:
        raise WatchError(
            f"budget is {budget}; expected a share of the step time in (0, 1], such as 0.02.", slug="bad-option"
        )
    for name, number in (("window", window), ("every", every), ("dead_after", dead_after)):
        if number is not None and number < 1:
            of = "examples" if name == "dead_after" else "steps"
            raise WatchError(f"{name} is {number}; expected a number of {of}, at least 1.", slug="bad-option")
    if phase not in ("train", "eval", "all"):
        raise WatchError(f'phase is {phase!r}; expected "train", "eval" or "all".', slug="bad-option")


class Comparison:
    """The result of :func:`compare`; prints like ``relume report STUDY``.

    Attributes:
        findings: the verdicts, the trials and what they rest on.
    """

    def __init__(self, findings: StudyFindings) -> None:
        self.findings = findings

    @property
    def verdicts(self) -> dict[str, str]:
        """Activation → "better", "worse", "equivalent" or "undecided"."""
        return {verdict.activation: verdict.verdict for verdict in self.findings.verdicts}

    def to_dict(self) -> dict[str, Any]:
        """The same shape as ``relume compare --json``."""
        return self.findings.to_dict()

    def __rich__(self) -> Any:
        from relume.reports.study import terminal

        return terminal.render([self.findings])

    def __repr__(self) -> str:
        from relume.reports.study import terminal

        return terminal.to_text([self.findings])


def compare(
    train: Callable[[Any, int, float, Callable[..., None]], Any],
    *,
    activations: Iterable[Any] | Mapping[str, Any],
    seeds: int = 8,
    metric: str = "",
    mode: Literal["min", "max"] | None = None,
    at: str = "last",
    tune_metric: str = "",
    lr_factors: Sequence[float] = (0.25, 1.0, 4.0),
    delta: float | None = None,
    until_decided: bool = False,
    jobs: int = 1,
    study: str | Path = "relume-study",
) -> Comparison:
    """Find out by experiment which activation a task wants; for anything but a PyTorch script, such as a Keras model.

    Args:
        train: ``train(activation, seed, lr_factor, log)`` builds and trains one model. It seeds with ``seed`` whatever
            draws numbers, multiplies its own learning rate by ``lr_factor``, and calls ``log(step, name=value)`` or
            returns a number or a mapping of numbers.
        activations: the arguments for ``train``, the baseline first: names, functions or classes; or name → activation.
        seeds: of the first verdict; call again with two or four times this number to continue the study.
        metric: the metric to compare, if several are logged.
        mode: whether less or more is better, if the metric's name does not show it.
        at: which value of the curve counts: "last", "best" or "mean:K".
        tune_metric: the metric used to choose learning rates; "" for ``metric``.
        lr_factors: the grid for each activation's learning rate; with a single factor nothing is tuned.
        delta: the smallest difference that matters, in the metric's unit.
        until_decided: double the seeds, up to 4×, until every verdict is decided.
        jobs: processes; with more than one, ``train`` must be importable.
        study: the folder of the trials; the same call continues an interrupted study.

    Raises: StudyError: the study is another's, the seed has no effect, or a number cannot be compared.

    Example:
        >>> relume.compare(train, activations=["relu", "elu", "gelu"], seeds=8)     # doctest: +SKIP
    """
    from relume.lab.campaign import Terms
    from relume.lab.findings import findings_of
    from relume.lab.function_study import FunctionCall, activations_of, campaign_of

    call = FunctionCall(train, activations_of(activations), metric, tune_metric, mode, jobs)
    design = Design((), seeds=seeds, factors=tuple(map(float, lr_factors)), at=at, delta=delta)
    kept = Study.open(study)
    try:
        campaign = campaign_of(call, design, kept, Terms(until_decided))
        return Comparison(findings_of(kept, campaign.carry_out()))
    finally:
        kept.close()


Run = Findings | Watch | str | Path
"""A run: its findings, its watch, or the file of its recording or of its checkpoint."""


def audit(*files: str | Path) -> Findings:
    """Judge the units of a checkpoint without running anything, as ``relume audit`` does.

    Args:
        files: a checkpoint (of ``torch.save``, Keras, ``.safetensors`` or ``.npz``) or a folder of one; or several of
            one run, of which the latest is judged and the earlier ones prove which units had no gradient since.

    Returns: findings, a site for each layer; its ``cause`` holds the evidence for each dead unit.

    Raises: CheckpointError: a file cannot be read as a checkpoint, or they are of different runs.

    Example:
        >>> relume.audit("last.ckpt").to_dict()["sites"][0]["dead"]     # doctest: +SKIP
        [3, 17]
    """
    return diagnose_checkpoint(audit_files([Path(file) for file in files]))


def check(
    run: Run, *, max_dead: float | None = None, per_site: bool = False, fail_on: Sequence[str] = ()
) -> CheckResult:
    """Check a run, as ``relume check`` does.

    Args:
        run: findings, a watch, or the file of a recording.
        max_dead: share of units that may be dead, in [0, 1]; 0.01 unless it or ``fail_on`` is given.
        per_site: apply the limit to each site, instead of all units.
        fail_on: codes or names of the rules that may not find anything.

    Returns: a verdict; ``verdict.holds``, ``verdict.failures``, ``verdict.to_dict()``. Provisional sites never fail it.

    Raises:
        ParameterError: ``max_dead`` is not a share.
        UnknownName: no such rule.
        RecordingError: the file cannot be read.

    Example:
        >>> assert relume.check("run.relume", max_dead=0.05).holds      # doctest: +SKIP
    """
    if max_dead is not None and not 0 <= max_dead <= 1:
        raise ParameterError(
            f"max_dead is {max_dead}; expected a share of the units in [0, 1], such as 0.01.", slug="bad-option"
        )
    return check_findings(_findings(run), max_dead=max_dead, per_site=per_site, fail_on=fail_on)


def diff(before: Run, after: Run) -> Difference:
    """Compare two runs, as ``relume diff`` does: which units died or lived in only one of them.

    Args:
        before: findings, a watch, or the file of a recording.
        after: the other one.

    Returns: a difference; ``difference.comparable`` says whether the two have a site in common,
        ``difference.to_dict()`` is the JSON of ``relume diff --json``.

    Raises: RecordingError: a file cannot be read.
    """
    return differ(_findings(before), _findings(after))


def _findings(run: Run) -> Findings:
    if isinstance(run, Watch):
        return run.findings()
    if isinstance(run, Findings):
        return run
    return audit(run) if is_checkpoint(Path(run)) else findings_of(run)
