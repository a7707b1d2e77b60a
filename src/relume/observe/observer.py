"""The observer: hears from a probe, decides when to look, and writes the recording."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from relume.artifacts.recording import Clock, RecordingWriter, Site, SiteRecord, Window
from relume.framework import FRAMEWORKS, Framework, Phase, Probe
from relume.observe.budget import Budget
from relume.observe.tracks import FEWEST_EXAMPLES, ClockTrack, close_window, fold

_FLUSH_NS = 2_000_000_000
"""Open counts are written so often: what a ``kill -9`` can lose."""


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
    ) -> None:
        self.writer = writer
        self._budget = Budget(budget, every)
        self._window = window
        self._phase = phase
        self._complain = complain
        self._probe: Probe | None = None
        self._clocks: list[ClockTrack] = []
        self._records: list[SiteRecord] = []
        self._now = self._flushed = time.perf_counter_ns()
        self._own = 0
        self.failed = False
        writer.meta(budget=budget, window=window, every=every, phase=phase)

    # ---- the watching -----------------------------------------------------------------------------------------

    def start(self, framework: Framework) -> None:
        """Watch a whole process: the script has just imported the framework."""
        try:
            self.watch(framework)
        except Exception as error:  # noqa: BLE001 - whatever it is, the script goes on
            self.fault(error)

    def watch(self, framework: Framework, model: Any | None = None) -> None:
        """Begin to watch with a framework's probe; the framework is imported already."""
        probe: Probe = framework.load_probe()(self, self._phase)
        self._probe = probe
        self.writer.meta(**{framework.package: probe.version})
        self._now = time.perf_counter_ns()
        probe.start(model)

    def resume(self, model: Any | None) -> None:
        """Go on after :meth:`pause`."""
        if self._probe is not None and not self.failed:
            self._now = time.perf_counter_ns()
            self._probe.start(model)

    def pause(self) -> None:
        """Stop watching and write what was seen."""
        if self._probe is not None:
            self._probe.stop()
            if not self.failed:
                self._close_last_windows()
                self._flush()

    def write(self) -> None:
        """Write what was seen so far; the watching goes on."""
        if self._probe is not None and not self.failed:
            self._flush()

    def finish(self, **facts: Any) -> None:
        """End the recording with the run's last facts."""
        self.pause()
        self.writer.meta(**facts, finished=True)
        self.writer.close()

    def fault(self, error: BaseException) -> None:
        """Say an error of ours once and end the watching; what was seen is kept."""
        if self.failed:
            return
        self.failed = True
        text = f"{type(error).__name__}: {error}"
        self._complain(
            f"relume: an error of its own ended the watching; the training goes on unchanged ({text}). "
            "Please report it with this line. [own-fault]"
        )
        if self._probe is not None:
            self._probe.stop()
        self.writer.meta(fault=text)

    # ---- what a probe tells -----------------------------------------------------------------------------------

    def new_clock(self, name: str, kind: str) -> int:
        """A source of steps was met."""
        self._clocks.append(ClockTrack(name, kind))
        return len(self._clocks) - 1

    def new_site(self, site: Site) -> int:
        """An activation was met for the first time."""
        self._records.append(SiteRecord.new(site))
        self.writer.site(len(self._records) - 1, self._records[-1])
        return len(self._records) - 1

    def not_observed(self, what: str, where: str, why: str) -> None:
        """Something that could not be watched was met."""
        self.writer.not_observed(what, where, why)

    def step_ended(self, clock: int, rates: Sequence[float], loss: float | None) -> bool:
        """A step of the clock is over; returns whether to look at its next one."""
        track, probe = self._clocks[clock], self._probe
        assert probe is not None
        if track.looking:
            track.looked += 1
            track.looks += 1
            track.rates = tuple(rates)
            if loss is not None:
                track.losses.append(loss)
        self._book(probe, any(t.looking for t in self._clocks))
        track.steps += 1
        if track.looking and track.is_full(self._window, lambda: self._examples(clock)):
            self._close_window(clock)
        elif self._now - self._flushed > _FLUSH_NS:
            self._flush()
        track.looking = self._budget.wants_look(track.steps)
        return track.looking

    def _book(self, probe: Probe, looked: bool) -> None:
        now, own = time.perf_counter_ns(), probe.cost
        self._budget.step_ended(now - self._now, own - self._own, looked)
        self._now, self._own = now, own

    # ---- what is kept -----------------------------------------------------------------------------------------

    def _visited(self, clock: int) -> list[int]:
        """The sites that were seen in the clock's open window."""
        return [n for n, r in enumerate(self._records) if r.site.clock == clock and r.open.looks]

    def _examples(self, clock: int) -> int:
        """Examples that the clock's least visited site has seen in the open window."""
        assert self._probe is not None
        pending = self._probe.pending(clock)
        seen = [self._records[n].open.examples + pending.pop(n, 0) for n in self._visited(clock)]
        return min([*seen, *pending.values()], default=0)

    def _drain(self, clock: int) -> list[int]:
        """Take over what was counted; returns the sites' numbers."""
        assert self._probe is not None
        tallies = self._probe.drain(clock)
        for tally in tallies:
            record = self._records[tally.site]
            if record.site.clock != clock:  # it was met before its optimiser was
                record.site = replace(record.site, clock=clock)
            fold(record, tally, self._clocks[clock].first_step)
        return [tally.site for tally in tallies]

    def _close_window(self, clock: int) -> None:
        track = self._clocks[clock]
        self._drain(clock)
        loss = sum(track.losses) / len(track.losses) if track.losses else None
        closed = Window(clock, track.first_step, track.steps - 1, track.looks, track.rates, loss)
        with self.writer.transaction():
            silent = []
            for number in self._visited(clock):
                record = self._records[number]
                examples = record.open.examples
                self.writer.events(number, close_window(record, track.first_step))
                self.writer.site(number, record)
                silent.append((number, int((record.silent_since >= 0).sum()), examples))
            self.writer.window(closed, silent)
            self._write_clocks()
        track.begin_window()

    def _close_last_windows(self) -> None:
        """At the end: an open window is closed where it is evidence enough, or all there is."""
        for clock, track in enumerate(self._clocks):
            self._drain(clock)
            visited = [self._records[n] for n in self._visited(clock)]
            enough = self._window is None and self._examples(clock) >= FEWEST_EXAMPLES
            if visited and (enough or all(r.window is None for r in visited)):
                self._close_window(clock)

    def _flush(self) -> None:
        """Write the open counts of all clocks."""
        with self.writer.transaction():
            for clock in range(len(self._clocks)):
                for number in self._drain(clock):
                    self.writer.site(number, self._records[number])
            self._write_clocks()
        self._flushed = self._now

    def _write_clocks(self) -> None:
        for number, t in enumerate(self._clocks):
            self.writer.clock(Clock(number, t.name, t.kind, t.steps, t.looked))
        self.writer.meta(overhead=self._budget.overhead, overhead_ns=int(self._budget.spent))


def framework_of(model: Any) -> Framework:
    """The framework that a model belongs to: the one whose package is loaded and defines one of its classes."""
    packages = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    return next((f for f in FRAMEWORKS if f.package in packages), FRAMEWORKS[0])
