"""Counting for Keras on PyTorch: the calls that Keras's probe names, each when it is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch

from relume.framework import Listener, Look, Phase
from relume.torch.watching.probe import TorchProbe
from relume.torch.watching.schedule import taps
from relume.watching.bounds import bounds_on_output
from relume.watching.counted import CallCountingProbe, CountedSite, Where

running: list[EagerProbe] = []
"""The probes that watch now, at most one for each listener."""


class EagerProbe(CallCountingProbe):
    """What counts for ``relume.keras.watching`` on PyTorch, in the place of the probe that follows modules."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        super().__init__(listener, phase, thorough=thorough)
        self.version = str(torch.__version__)
        self._thread = threading.get_ident()
        self._seen: list[tuple[CountedSite, int, int, Any]] = []  # site, examples, samples, counts of the step
        self._waiting: list[tuple[CountedSite, int, int, int, Any]] = []  # the same with the step, on the device

    def start(self, model: Any | None) -> None:
        """Wait for an optimizer of Keras: a model of Keras's that PyTorch's own trains is left to PyTorch's probe."""
        running.append(self)

    def optimizer_made(self) -> None:
        """Watch; PyTorch's own probe of this run ends, which would see the inside of Keras's layers."""
        if not self.running and self in running:
            self.running = self.looking = True
            for probe in taps.subscribers():
                if isinstance(probe, TorchProbe) and probe.listener is self.listener:
                    probe.stop()

    def stop(self) -> None:
        """Count no more."""
        if self in running:
            running.remove(self)
            self._settle()
            self.running = False

    def trains(self) -> bool:
        """Whether calls belong to a training pass on the thread that is watched."""
        return self.running and self.looking and threading.get_ident() == self._thread and torch.is_grad_enabled()

    def _count(
        self, name: str, parameters: Mapping[str, Any], where: Callable[[], Where | None], x: Any, y: Any
    ) -> None:
        place = where()
        if place is None or not isinstance(y, torch.Tensor) or y.device.type == "meta" or y.ndim < 2:
            return
        axis, units = place.axis % y.ndim, int(y.shape[place.axis])
        key = (place.model, place.module, place.call, place.file, place.line, place.place, units, name)
        if key not in self.sites:
            self.sites[key] = CountedSite(
                place, name, dict(parameters), units, bounds_on_output(name, parameters), rank=y.ndim
            )
        site, others = self.sites[key], [i for i in range(y.ndim) if i != axis]
        bounds, y = site.bounds, y.detach()
        source = y if bounds.by_output else torch.as_tensor(x).detach()
        parts = [(source > bounds.fires_above).sum(others), y.abs().sum(others, dtype=torch.float32)]
        if bounds.flat_below is not None:
            parts.append((source < bounds.flat_below).sum(others))
        if bounds.flat_above is not None:
            parts.append((source >= bounds.flat_above).sum(others))
        counts = torch.stack([part.to(torch.float32) for part in parts])
        samples = y.numel() // units
        self._seen.append((site, min(len(y), samples), samples, counts))

    def stepped(self, optimizer: Any) -> None:
        """An optimizer has stepped."""
        self.guarded(self._stepped, optimizer)

    def _stepped(self, optimizer: Any) -> None:
        clock = self.optimizer_clock(optimizer)
        if clock.number < 0:
            clock.number = self.listener.new_clock(clock.name, clock.kind)
        for site, *seen in self._seen:
            if site.clock is None:
                self.announce(site, self.clock_of(site))
            assert site.clock is not None
            self._waiting.append((site, site.clock.steps + site.clock.pending, *seen))
        self._seen.clear()
        clock.pending += 1
        self.left -= 1
        if self.left <= 0:
            self._settle()
            self.ask(clock)

    def _settle(self) -> None:
        """Collect the counts, which waits for a device, and report the steps to the listener."""
        for site, step, examples, samples, counts in self._waiting:
            fired, magnitude, *flat = counts.cpu().numpy()
            site.rows.append((step, examples, samples, fired, sum(flat, 0.0 * fired), magnitude))
        self._waiting.clear()
        for clock in [clock for clock in self.clocks if clock.pending]:
            number, clock.pending = clock.pending, 0
            rate = (float(clock.source.learning_rate),) if self.look is Look.WIDE else ()
            self.steps_over(clock, number, (), rate)


ENGINE = EagerProbe
