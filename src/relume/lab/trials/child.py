"""One trial in its own process: the script as ``python`` would run it, treated, watched, and captured.

The executor sets the working folder, the log, the clock and the limits; this module runs the script and keeps its
results.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relume.artifacts.findings import count_dead
from relume.artifacts.plan import CurePlan
from relume.artifacts.subject import without_folder
from relume.artifacts.swap_plan import SwapPlan, Treated
from relume.artifacts.trial import Design, Status, Trial
from relume.artifacts.writer import RecordingWriter
from relume.doctor.diagnosis import diagnose, judge_sites
from relume.doctor.plan import plan
from relume.framework import FRAMEWORKS, Framework, Surveyor, TrialTreatment
from relume.lab.capture import Capture
from relume.lab.capture.metrics import TRAINING_LOSS, is_diverged
from relume.lab.trials.forked import STDERR, deliver, scratch
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.templates import Filled, fill
from relume.observe.observer import Observer
from relume.runner.imports import after_import
from relume.runner.script import before_hard_exit, load_module, load_script, run
from relume.treatment.seeding import Seeding
from relume.watching.patches import Patches

_BUDGET = 0.01
"""Of the step time, for watching: a trial reports its dead share at the end, not when and why units died."""


_DIAGNOSIS_BUDGET = 0.02
"""As in `relume run`: when and why units died is reported too."""

_LONGEST = 500
"""Length to which an error is cut."""


class Diverged(BaseException):
    """Ends a script whose loss stays NaN. The script's ``except Exception`` does not catch it."""


def run_trial(order: TrialSpec, log: Path) -> tuple[Trial, dict[str, Any]]:
    """Run one trial in this process, in the current folder.

    Args:
        order: what to run.
        log: the file that gets the stdout of the process.

    Returns: the trial without its memory, and the findings of a survey as JSON.
    """
    filled = fill(order.script.args, order.key.seed, order.key.lr_factor)
    for name, text in order.sources.items():
        Path(name).unlink(missing_ok=True)  # in this trial's own layer, which may be a link
        Path(name).write_text(text, encoding="utf-8", newline="")
    program = (load_module if order.script.is_module else load_script)(order.script.script, filled.args)
    trial = _TrialProcess(order, filled)
    forget = before_hard_exit(lambda status: deliver(*trial.finish(status, log)))  # a script may end by os._exit
    trial.start()
    status = run(program)
    forget()
    return trial.finish(status, log)


class _TrialProcess:
    """The parts of a trial's process, in the order in which they begin; they end in reverse."""

    def __init__(self, order: TrialSpec, filled: Filled) -> None:
        self._order = order
        self._filled = filled
        self._diverged = ""
        self._began = self._cpu = 0.0
        self._capture = Capture(order.regex, order.metric, self._end, order.tune_metric)
        self._seeds = Seeding(order.key.seed, remap=not filled.seed, keep=order.keep_seeds)
        self._patches = Patches()
        self._surveys: list[Surveyor] = []  # one for each framework that the script has imported
        self._treatments: list[TrialTreatment] = []
        budget = _DIAGNOSIS_BUDGET if order.diagnose else _BUDGET
        self._observer = Observer(
            RecordingWriter(None), budget=budget, complain=lambda text: print(text, file=sys.stderr)
        )

    def start(self) -> None:
        """Wait for the script to import what it trains with."""
        self._began, self._cpu = time.perf_counter(), _cpu_seconds()
        self._capture.start()
        self._seeds.start(self._patches)
        for framework in FRAMEWORKS:
            if framework.treatment is not None:
                after_import(framework.package, lambda framework=framework: self._imported(framework))  # type: ignore[misc]

    def _imported(self, framework: Framework) -> None:
        order = self._order
        if order.plan is None:
            self._surveys.append(framework.load_survey()(self._seeds))
            self._surveys[-1].start()
            return
        factor = 1.0 if self._filled.rate else order.key.lr_factor
        plan = SwapPlan.from_dict(order.plan)
        self._treatments.append(framework.load_treatment()(order.contender, plan, order.only, self._seeds, factor))
        self._treatments[-1].start()
        self._observer.start(framework)

    def _end(self, name: str) -> None:
        self._diverged = name
        raise Diverged(f"{name} is NaN or infinite")

    def finish(self, status: int, log: Path) -> tuple[Trial, dict[str, Any]]:
        """End everything and collect the result."""
        took, cpu = time.perf_counter() - self._began, _cpu_seconds() - self._cpu
        self._observer.pause()
        plan, treated = SwapPlan(), Treated()
        for survey in self._surveys:
            plan = plan.joined(survey.stop())
        for treatment in self._treatments:
            treatment.stop()
            treated = treated.joined(treatment.facts())
        self._patches.undo()
        found = self._capture.finish(_text(log), _text(scratch() / STDERR))
        curves = found.curves({self._order.metric, self._order.tune_metric})
        if self._order.metric == TRAINING_LOSS:
            curves[TRAINING_LOSS] = self._training_loss()
        ended = self._status(status, curves)
        dead_share, dead_layers, silent_share = self._dead()
        trial = Trial(
            self._order.key,
            ended,
            metrics=curves,
            error="" if ended == "finished" else self._error(status),
            seconds=took,
            cpu_seconds=cpu,
            parameters_added=treated.parameters_added,
            dead_share=dead_share,
            dead_layers=dead_layers,
            silent_share=silent_share,
            weights=treated.weights,
            start=treated.start,
            sites=len(treated.sites),
            counter=found.counter(self._order.metric),
        )
        if self._order.plan is not None:
            return trial, {"cures": self._diagnosed().to_dict()} if self._order.diagnose else {}
        sources = {
            source: {name: [list(p) for p in c] for name, c in each.items()} for source, each in found.sources.items()
        }
        return trial, {"plan": plan.to_dict(), "sources": sources}

    def _status(self, status: int, curves: Mapping[str, Any]) -> Status:
        if self._diverged:
            return "diverged"
        if status != 0:
            return "failed"
        design = Design((), metric=self._order.metric, tune_metric=self._order.tune_metric)
        return "diverged" if is_diverged(curves, design) else "finished"

    def _error(self, status: int) -> str:
        if self._diverged:
            return f"{self._diverged} is NaN or infinite"
        value = getattr(sys, "last_value", None)
        if value is None:
            return f"exit status {status}{_last_said()}" if status else "its metric is NaN or infinite"
        return f"{type(value).__name__}: {value}".partition("\n")[0][:_LONGEST]

    def _diagnosed(self) -> CurePlan:
        """The plan of cures for this run's dead units."""
        script = self._order.script
        self._observer.writer.meta(script=without_folder(script.script), argv=list(script.args))
        return plan(diagnose(self._observer.writer.read()), "")

    def _training_loss(self) -> tuple[tuple[float, float], ...]:
        """The mean loss of each tenth of the steps, by the clock with the most; empty if no loss was read."""
        points = [point for point in self._observer.writer.read().losses if math.isfinite(point.mean)]
        most = Counter(point.clock for point in points).most_common(1)
        mine = [point for point in points if point.clock == most[0][0]]
        size = max(1, math.ceil(len(mine) / 10))
        tenths = [mine[first : first + size] for first in range(0, len(mine), size)]
        return tuple((float(tenth[0].first_step), sum(p.mean for p in tenth) / len(tenth)) for tenth in tenths)

    def _dead(self) -> tuple[float | None, int, float | None]:
        """Dead units ÷ units, the sites with all units dead, and silent units ÷ units, if enough was seen."""
        with contextlib.suppress(Exception):  # watching adds to the trial's result, and must never prevent it
            sites = [judged for _, judged in judge_sites(self._observer.writer.read())]
            dead, units = count_dead(sites)
            if units:
                silent = sum(site.firing_rate.count(0.0) for site in sites if not site.provisional)
                return dead / units, sum(site.is_all_dead for site in sites), silent / units
        return None, 0, None


def _text(file: Path) -> str:
    """The output, with the carriage returns by which a line overwrites itself."""
    return file.read_bytes().decode(errors="replace") if file.exists() else ""


def _last_said() -> str:
    """The last line of stderr, where a script that exits says why."""
    said = _text(scratch() / STDERR).split("\n")
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    return f": {last[:_LONGEST]}" if last else ""


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])
