"""The observer: hears from a probe, decides when to look, and writes the recording."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from relume.artifacts.curve import LossCurve
from relume.artifacts.recording import Clock, Rates, Site, SiteRecord, Window
from relume.artifacts.writer import RecordingWriter
from relume.errors import WatchError
from relume.framework import FRAMEWORKS, Framework, Phase, Probe
from relume.observe.budget import Budget
from relume.observe.tracks import ClockTrack, Drained, SiteTrack

_FLUSH_NS = 1_000_000_000
"""What is new is written so often: what a ``kill -9`` can lose."""

_FLUSH_SHARE = 200  # and so seldom that writing takes at most 1 of so many parts of the time

_MOST_WAITING = 1 << 21
"""Numbers that may wait to be added up: 8 MB of them."""


class Observer:
    """One run's watching: the :class:`~relume.framework.Listener` of its probe."""

    def __init__(
        self,
        writer: RecordingWriter,
        *,
        budget: float = 0.02,
        window: int | None = None,
        every: int | None = None,
        phase: Phase = "train",
        complain: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
        progress: Callable[[int, Sequence[SiteRecord]], None] | None = None,
    ) -> None:
        """``progress`` is told the step and the sites whenever what is new was written while the run goes on."""
        self.writer = writer
        self.failed = False
        self._budget = Budget(budget, every)
        self._window = window
        self._phase = phase
        self._thorough = every is not None or budget >= 1.0  # what is asked for exactly is seen to the last call
        self._complain = complain
        self._progress = progress
        self._probe: Probe | None = None
        self._clocks: list[ClockTrack] = []
        self._sites: list[SiteTrack] = []
        self._rates: list[Rates] = []
        self._losses: list[LossCurve] = []
        self._closed: list[tuple[Window, list[tuple[int, int, int]]]] = []
        self._drained: list[tuple[int, Drained]] = []
        self._waiting = 0
        self._now = self._flushed = time.perf_counter_ns()
        self._flush_gap = _FLUSH_NS
        self._own = 0
        self._unbooked = 0
        writer.meta(budget=budget, window=window, every=every, phase=phase)

    # ---- the watching ----------------------------------------------------------------------------------------------

    def start(self, framework: Framework) -> None:
        """Watch a whole process: the script has just imported the framework."""
        try:
            self.watch(framework)
        except Exception as error:  # noqa: BLE001 - whatever it is, the script goes on
            self.fault(error)

    def watch(self, framework: Framework, model: Any | None = None) -> None:
        """Begin to watch with a framework's probe; the framework is imported already."""
        self._probe = framework.load_probe()(self, self._phase, thorough=self._thorough)
        self.writer.meta(**{framework.package: self._probe.version})
        self.resume(model)

    def resume(self, model: Any | None) -> None:
        """Go on after :meth:`pause`."""
        if self._probe is not None and not self.failed:
            self._probe.start(model)
            self._now = time.perf_counter_ns()

    def pause(self) -> None:
        """Stop watching and write what was seen."""
        if self._probe is None:
            return
        try:
            self._probe.stop()
            if not self.failed:
                self._close_last_panes()
            self.write()
        except Exception as error:  # noqa: BLE001 - an error of ours ends the watching, and nothing else
            self.fault(error)

    def finish(self, **facts: Any) -> None:
        """End the recording with the run's last facts."""
        self.pause()
        self.writer.meta(**facts, finished=True)
        self.writer.close()

    def fault(self, error: BaseException) -> None:
        """Say an error of ours once and end the watching; what was seen is kept. Raises nothing, whatever is broken."""
        if self.failed:
            return
        self.failed = True
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
        text = f"{type(error).__name__}: {error}{where}"
        with contextlib.suppress(Exception):
            self._complain(
                f"relume: an error of its own ended the watching; the training goes on unchanged ({text}). "
                "Please report it with this line. [own-fault]"
            )
        with contextlib.suppress(Exception):
            if self._probe is not None:
                self._probe.stop()
        with contextlib.suppress(Exception):
            self.writer.meta(fault=text)

    # ---- what a probe tells ----------------------------------------------------------------------------------------

    def new_clock(self, name: str, kind: str) -> int:
        """Number a source of steps that was met."""
        self._clocks.append(ClockTrack(name, kind))
        self._losses.append(LossCurve(len(self._losses)))
        return len(self._clocks) - 1

    def new_site(self, site: Site) -> int:
        """Number an activation that was met for the first time."""
        self._sites.append(SiteTrack(site, slides=self._window is None))
        return len(self._sites) - 1

    def not_observed(self, what: str, where: str, why: str) -> None:
        """Keep what could not be watched."""
        try:
            self.writer.not_observed(what, where, why)
        except Exception as error:  # noqa: BLE001 - as below
            self.fault(error)

    def steps_ended(self, clock: int, steps: int, rates: Sequence[float], loss: float | None) -> int:
        """Take note that steps of a clock are over; returns how many to pass over before the next look."""
        try:
            return self._steps_ended(clock, steps, rates, loss)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self.fault(error)
            return sys.maxsize

    def _steps_ended(self, clock: int, steps: int, rates: Sequence[float], loss: float | None) -> int:
        track = self._clocks[clock]
        if track.looking:
            if track.rates != tuple(rates):
                track.rates = tuple(rates)
                self._rates.append(Rates(clock, track.steps, track.rates))  # of a row of looks, from its first
            if loss is not None:
                track.losses.append(loss)
                self._losses[clock].add(track.steps + steps - 1, loss)
        self._count_steps(track, steps)
        if track.pane_is_full(self._window, lambda: self._examples(clock)):
            self._close_pane(clock)
        elif track.urgent and track.looks and self._probe is not None and not self._probe.missed(clock):
            track.urgent = False
        if track.steps == steps:  # the first: what came before it may have been long
            self._flushed = self._now
        if self.writer.waits or (self.writer.path and self._now - self._flushed > self._flush_gap):
            self.write()
            self._tell_progress()
        passed = self._budget.steps_to_pass(track.steps, urgent=track.wanted() if track.urgent else 0)
        track.looking = passed <= 0
        return passed

    def signs_read(self, clock: int, fresh: int, missed: int, cost: int) -> int:
        """Take note of units that are missed; returns how many steps are to lie between two readings."""
        if self._thorough or self._window is not None:
            return sys.maxsize
        self._clocks[clock].miss(fresh, missed)
        return self._budget.steps_between_signs(cost)

    def steps_passed(self, clock: int, steps: int) -> None:
        """Take note of steps that have ended before a probe was stopped."""
        if steps:
            self._count_steps(self._clocks[clock], steps)

    def _count_steps(self, track: ClockTrack, steps: int) -> None:
        looks = steps if track.looking else 0
        track.steps += steps
        track.looked += looks
        track.looks += looks
        self._unbooked += steps
        self._book(looks or int(any(t.looking for t in self._clocks)))

    def _book(self, looks: int) -> None:
        assert self._probe is not None
        now, own = time.perf_counter_ns(), self._probe.cost
        self._budget.book(self._unbooked, now - self._now, own - self._own, looks)
        self._now, self._own, self._unbooked = now, own, 0

    # ---- what is kept ----------------------------------------------------------------------------------------------

    def _examples(self, clock: int) -> int:
        """Count the examples that the clock's least visited site has seen in the open pane."""
        assert self._probe is not None
        seen = dict(self._clocks[clock].drained)
        for site, examples in self._probe.pending(clock).items():
            seen[site] = seen.get(site, 0) + examples
        return min(seen.values(), default=0)

    def _drain(self, clock: int, closed: Window | None = None) -> None:
        """Take over what was counted. It is added up later: on small networks that costs more than a look."""
        assert self._probe is not None
        track, tallies = self._clocks[clock], self._probe.drain(clock)
        for tally in tallies:
            track.drained[tally.site] = track.drained.get(tally.site, 0) + tally.examples
            self._waiting += tally.numbers
        self._drained.append((clock, Drained(tallies, closed)))
        if self._waiting > _MOST_WAITING:
            self._add_up()

    def _close_pane(self, clock: int) -> None:
        track = self._clocks[clock]
        track.examples = self._examples(clock) / max(track.looks, 1)
        self._drain(
            clock, Window(clock, track.first_step, track.steps - 1, track.looks, track.rates, track.mean_loss())
        )
        track.begin_pane()

    def _add_up(self) -> None:
        """Fold what was drained into the records, in its order."""
        drained, self._drained, self._waiting = self._drained, [], 0
        for clock, part in drained:
            for tally in part.tallies:
                site = self._sites[tally.site]
                if site.record.site.clock != clock:  # it was met before its optimiser was
                    site.record.site = replace(site.record.site, clock=clock)
                site.fold(tally)
            if part.closed is not None:
                self._close(part.closed)

    def _close(self, window: Window) -> None:
        silent = []
        for number, site in enumerate(self._sites):
            if site.record.site.clock == window.clock and site.record.open.looks:
                examples = site.record.open.examples
                silent.append((number, site.close_pane(window.first_step), examples))
        self._closed.append((window, silent))

    def _close_last_panes(self) -> None:
        """Close the open panes at the end: one that the user's ``--window`` cut off only where it is all there is."""
        for clock, track in enumerate(self._clocks):
            self._drain(clock)
            self._add_up()
            visited = [self._sites[n].record for n in track.drained]
            if visited and (self._window is None or all(record.window is None for record in visited)):
                self._close_pane(clock)
        self._add_up()
        for site in self._sites:
            site.end()

    def write(self) -> None:
        """Write what is new since the last time; the watching goes on."""
        began = time.perf_counter_ns()
        if self._probe is not None and not self.failed:
            for clock in range(len(self._clocks)):
                self._drain(clock)
        self._add_up()
        if any(track.steps and track.kind != "forward" for track in self._clocks):
            self.writer.move()
        with self.writer.transaction():
            for number, site in enumerate(self._sites):
                if site.changed:
                    self.writer.site(number, site.record)
                    self.writer.events(number, site.new_events())
                    self.writer.deaths(number, site.new_deaths())
                    site.changed = False
            for window, silent in self._closed:
                self.writer.window(window, silent)
            self.writer.rates(self._rates)
            for curve in self._losses:
                self.writer.losses(curve)
            for number, t in enumerate(self._clocks):
                self.writer.clock(Clock(number, t.name, t.kind, t.steps, t.looked))
            self.writer.meta(overhead=self._budget.overhead, overhead_ns=int(self._budget.spent))
        self.writer.settle()
        self._closed, self._rates = [], []
        self._flushed = time.perf_counter_ns()
        self._flush_gap = max(_FLUSH_NS, _FLUSH_SHARE * (self._flushed - began))

    def _tell_progress(self) -> None:
        if self._progress is not None:
            began = time.perf_counter_ns()
            self._progress(max(track.steps for track in self._clocks), [site.record for site in self._sites])
            self._flush_gap += _FLUSH_SHARE * (time.perf_counter_ns() - began)


def framework_of(model: Any) -> Framework:
    """Find the framework that a model belongs to: the one whose package defines one of its classes.

    Raises: WatchError: it belongs to none that is watched.
    """
    packages = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    framework = next((f for f in FRAMEWORKS if f.package in packages), None)
    if framework is None or framework.probe is None:
        belongs = f", of {framework.name}, which is not watched yet" if framework is not None else ""
        raise WatchError(
            f"watch() was given a {type(model).__name__}{belongs}; it watches a torch.nn.Module. "
            "Give the model itself; a whole script is watched by `relume run`.",
            slug="not-a-module",
        )
    return framework
