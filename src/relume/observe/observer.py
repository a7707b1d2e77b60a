"""The observer: hears from a probe, decides when to look, and writes the recording."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from relume.artifacts.curve import LossCurve
from relume.artifacts.recording import Clock, Rates, Site, SiteRecord, Window
from relume.artifacts.writer import RecordingWriter
from relume.errors import RecordingError, WatchError
from relume.framework import FRAMEWORKS, Framework, Look, Phase, Plan, Probe, Steps, now_ns
from relume.observe.budget import Budget
from relume.observe.tracks import ClockTrack, SiteTrack

_FLUSH_NS = 1_000_000_000
"""Interval of writing new data: what a ``kill -9`` can lose."""

_FLUSH_SHARE = 200  # writing takes at most one of this many parts of the time

_MOST_KEPT = 1 << 21
"""Numbers that a probe may keep before they are folded: 8 MB of each kind."""


class Observer:
    """One run's watching: the :class:`~relume.framework.Listener` of its probe."""

    def __init__(
        self,
        writer: RecordingWriter,
        *,
        budget: float = 0.02,
        window: int | None = None,
        every: int | None = None,
        dead_after: int | None = None,
        phase: Phase = "train",
        complain: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
        progress: Callable[[int, Sequence[SiteRecord]], None] | None = None,
    ) -> None:
        """``progress`` gets the step and the sites once a second, or more seldom if that takes long."""
        self.writer = writer
        self.failed = False
        self._budget = Budget(budget, every)
        self._window = window
        self._dead_after = dead_after
        self._phase = phase
        self._thorough = every is not None or budget >= 1.0  # with --every the last call is seen too
        self._complain = complain
        self._progress = progress
        self._probes: list[Probe] = []  # a script may import several frameworks
        self._clocks: list[ClockTrack] = []
        self._sites: list[SiteTrack] = []
        self._rates: list[Rates] = []
        self._losses: list[LossCurve] = []
        self._closed: list[tuple[Window, list[tuple[int, int, int]]]] = []
        self._clock_ns = now_ns
        self._now, self._flushed = now_ns(), time.perf_counter_ns()
        self._flush_gap = _FLUSH_NS
        self._told, self._tell_gap = self._flushed, _FLUSH_NS
        self._own = 0
        allowance = {} if self._thorough else {"allowance_ns": self._budget.allowance_ns}
        writer.meta(budget=budget, window=window, every=every, phase=phase, **allowance)
        if dead_after is not None:
            writer.meta(dead_after=dead_after)

    # ---- the watching ----------------------------------------------------------------------------------------------

    def start(self, framework: Framework) -> None:
        """Watch a whole process: the script has just imported the framework."""
        try:
            self.watch(framework)
        except Exception as error:  # noqa: BLE001 - the script continues after any error
            self.fault(error)

    def watch(self, framework: Framework, model: Any | None = None) -> None:
        """Begin to watch with a framework's probe; the framework is imported already."""
        probe: Probe = framework.load_probe()(self, self._phase, thorough=self._thorough)
        self.writer.meta(**{framework.package: probe.version})
        self._probes.append(probe)
        if not self.failed:
            probe.start(model)
            self._now = self._clock_ns()

    def resume(self, model: Any | None) -> None:
        """Continue after :meth:`pause`."""
        if not self.failed:
            for probe in self._probes:
                probe.start(model)
            self._now = self._clock_ns()

    def pause(self) -> None:
        """Stop watching and write what was seen."""
        if not self._probes:
            return
        try:
            for probe in reversed(self._probes):
                probe.stop()
            if not self.failed:
                self._fold(last=True)
                for site in self._sites:
                    site.end()
            self.write()
        except Exception as error:  # noqa: BLE001 - our error ends only the watching
            self.fault(error)

    def finish(self, **facts: Any) -> None:
        """End the recording with the run's last facts."""
        self.pause()
        self.writer.meta(**facts, finished=True)
        self.writer.close()

    def fault(self, error: BaseException) -> None:
        """Report our error once and end the watching; the data so far are kept. Never raises."""
        if self.failed:
            return
        self.failed = True
        if isinstance(error, RecordingError):
            text, slug = str(error).removesuffix(f" [{error.slug}]"), error.slug
        else:
            frames = traceback.extract_tb(error.__traceback__)
            where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
            text, slug = f"a bug in relume, please report it: {type(error).__name__}: {error}{where}", "own-fault"
        said = f"relume: the watching has ended; the training continues unchanged: {text} [{slug}]"
        works: list[Callable[[], Any]] = [
            lambda: self._complain(said),
            *(probe.stop for probe in reversed(self._probes)),
            self._fold,
            lambda: self.writer.meta(fault=text),
        ]
        for work in works:
            with contextlib.suppress(Exception):
                work()

    # ---- what a probe tells ----------------------------------------------------------------------------------------

    def new_clock(self, name: str, kind: str) -> int:
        """Number a source of steps that was met."""
        self._clocks.append(ClockTrack(name, kind))
        self._losses.append(LossCurve(len(self._losses)))
        return len(self._clocks) - 1

    def timed_by(self, clock: Callable[[], int]) -> None:
        """Steps are timed by another clock than the calling thread's."""
        self._clock_ns, self._now = clock, clock()

    def new_site(self, site: Site) -> int:
        """Number an activation that was met for the first time."""
        self._sites.append(SiteTrack(site, slides=self._window is None, dead_after=self._dead_after))
        return len(self._sites) - 1

    def not_observed(self, what: str, where: str, why: str) -> None:
        """Keep what could not be watched."""
        try:
            self.writer.not_observed(what, where, why)
        except Exception as error:  # noqa: BLE001 - as below
            self.fault(error)

    def steps_ended(self, clock: int, steps: Steps) -> None:
        """Take note that steps of a clock are over."""
        try:
            self._steps_ended(clock, steps)
        except Exception as error:  # noqa: BLE001 - the training continues after any error
            self.fault(error)

    def _steps_ended(self, clock: int, steps: Steps) -> None:
        track = self._clocks[clock]
        first = not track.steps
        now, own = self._clock_ns(), sum(probe.cost for probe in self._probes)
        self._budget.book(steps, now - self._now, own - self._own)
        self._now, self._own = now, own
        self._losses[clock].add(track.steps, steps.losses)
        self._rates += [Rates(clock, step, rates) for step, rates in steps.rates]
        track.take(steps)
        if sum(probe.kept() for probe in self._probes) > _MOST_KEPT:
            self._fold()
        wall = time.perf_counter_ns()
        if first:  # what came before it may have been long
            self._flushed = self._told = wall
        if self.writer.waits or (self.writer.path and wall - self._flushed > self._flush_gap):
            self.write()
        if self._progress is not None and wall - self._told > self._tell_gap:
            self._tell_progress()

    def plan(self, clock: int, *, urgent: bool) -> Plan:
        """Plan the looks of the clock's next steps."""
        try:
            track = self._clocks[clock]
            return self._budget.plan(track.steps, track.stale, urgent=urgent)
        except Exception as error:  # noqa: BLE001 - as above
            self.fault(error)
            return Plan(Look.OFF, sys.maxsize)

    # ---- what is kept ----------------------------------------------------------------------------------------------

    def _fold(self, *, last: bool = False) -> None:
        """Take over what was counted, and fold it into the records, bucket by bucket.

        On small networks this costs more than a look, so it is done when there is time. ``last``: the open buckets end.
        """
        for probe in self._probes:
            for seen in probe.drain():
                self._sites[seen.site].take(seen)
        for clock, track in enumerate(self._clocks):
            sites = self._sites_of(clock)
            while (end := track.bucket_end(self._window, [site for _, site in sites])) is not None:
                self._close_bucket(clock, end)
            for _, site in sites:
                site.fold(None if last else track.steps - 1)
            if last and self._is_wanted([site.record for _, site in sites]):
                self._close_bucket(clock, track.steps - 1)

    def _close_bucket(self, clock: int, end: int) -> None:
        bucket, silent = self._clocks[clock].close_bucket(clock, end), []
        for number, site in self._sites_of(clock):
            site.fold(end)
            if site.record.open.looks:
                examples = site.record.open.examples
                silent.append((number, site.close_bucket(bucket.first_step, end), examples))
        self._closed.append((bucket, silent))

    def _is_wanted(self, records: Sequence[SiteRecord]) -> bool:
        """Whether open buckets close at the end: one that ``--window`` cut off does so only if it is all there is."""
        visited = [record for record in records if record.open.looks]
        return bool(visited) and (self._window is None or all(record.window is None for record in visited))

    def _sites_of(self, clock: int) -> list[tuple[int, SiteTrack]]:
        return [(number, site) for number, site in enumerate(self._sites) if site.record.site.clock == clock]

    def write(self) -> None:
        """Write the changes since the last time; the watching continues."""
        began = time.perf_counter_ns()
        if not self.failed:
            self._fold()
        if any(track.steps and track.kind != "forward" for track in self._clocks):
            self.writer.move()
        with self.writer.transaction():
            for number, site in enumerate(self._sites):
                if site.changed:
                    site.record.history = site.firings.history
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
        assert self._progress is not None
        began = time.perf_counter_ns()
        self._fold()
        self._progress(max(track.steps for track in self._clocks), [site.record for site in self._sites])
        self._told = time.perf_counter_ns()
        self._tell_gap = max(_FLUSH_NS, _FLUSH_SHARE * (self._told - began))


def framework_of(model: Any) -> Framework:
    """Find the framework that a model belongs to: the one whose package defines one of its classes.

    Raises: WatchError: it belongs to none that is watched.
    """
    packages = [cls.__module__.partition(".")[0] for cls in type(model).__mro__]
    framework = next((f for package in packages for f in FRAMEWORKS if f.package == package), None)
    if framework is None or framework.probe is None or framework.package not in ("torch", "keras"):
        raise WatchError(
            f"watch() was given a {type(model).__name__}; expected a torch.nn.Module or a keras.Model. "
            "Give the model itself; to watch a whole script, including JAX, use `relume run`.",
            slug="not-a-module",
        )
    return framework
