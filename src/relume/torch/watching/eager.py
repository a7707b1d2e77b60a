"""Counting for Keras on PyTorch: the calls that Keras's probe names, each when it is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch

from relume.framework import Listener, Look, Phase, Seen
from relume.torch.watching.counts.counting import Accumulator
from relume.torch.watching.probe import TorchProbe
from relume.torch.watching.schedule import taps
from relume.torch.watching.units.axes import Tag
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
        tag = Tag(place.axis % y.ndim, int(y.shape[place.axis]))
        key = (place.model, place.module, place.call, place.file, place.line, place.place, tag.units, name)
        if key not in self.sites:
            bounds = bounds_on_output(name, parameters)
            counts = Accumulator(tag.units, bounds, whole=True)
            self.sites[key] = CountedSite(place, name, dict(parameters), tag.units, bounds, rank=y.ndim, state=counts)
        site = self.sites[key]
        step = 0 if site.clock is None else site.clock.steps + site.clock.pending
        site.state.input(torch.as_tensor(x), tag, step)
        site.state.output(y, tag, step)

    def stepped(self, optimizer: Any) -> None:
        """An optimizer has stepped."""
        self.guarded(self._stepped, optimizer)

    def _stepped(self, optimizer: Any) -> None:
        clock = self.optimizer_clock(optimizer)
        if clock.number < 0:
            clock.number = self.listener.new_clock(clock.name, clock.kind)
        for site in self.sites.values():
            if site.clock is None:
                self.announce(site, self.clock_of(site))
        clock.pending += 1
        self.left -= 1
        if self.left <= 0:
            self._settle()
            self.ask(clock)

    def _settle(self) -> None:
        """Tell the listener of the steps."""
        for clock in [clock for clock in self.clocks if clock.pending]:
            number, clock.pending = clock.pending, 0
            rate = (float(clock.source.learning_rate),) if self.look is Look.WIDE else ()
            self.steps_over(clock, number, (), rate)

    def kept(self) -> int:
        """How many numbers are kept until :meth:`drain`."""
        return sum(site.state.kept for site in self.sites.values())

    def drain(self) -> list[Seen]:
        """Return the counts since the last call; waits for a device."""
        return [site.seen(site.state.rows()) for site in self.sites.values() if site.clock and site.state.has_rows]


ENGINE = EagerProbe
