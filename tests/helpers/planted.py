"""A framework whose units fire as planted: no mock of a part of relume, it stands for a framework."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from relume.artifacts.recording import Site
from relume.framework import Look, Plan, Rows, Seen, Steps

BATCH = 50


class Planted:
    """A framework with one optimizer and sites whose units fire as planted: ``fires(site, step)`` → bool per unit."""

    version = "1.0"

    def __init__(self, listener, phase="train", *, thorough):
        self.listener, self.phase = listener, phase
        self.cost = 0
        self.step = 0
        self.looked = []
        self.started = self.stopped = 0
        self.plan, self.left, self.told = Plan(Look.WIDE, 1), 1, 0
        self.rows = {}
        self.breaks = {}

    def plant(self, fires, sites=1, units=4, kind="optimizer"):
        self.fires, self.units = fires, units
        self.clock = self.listener.new_clock("SGD", kind)
        blank = Site("", "Net", "", "nn.ReLU", "x.py", 1, "relu", {}, "", -1, units, False, self.clock)
        self.sites = [self.listener.new_site(replace(blank, key=f"s{n}")) for n in range(sites)]
        return self

    def broken(self, what):
        if what in self.breaks:
            raise self.breaks[what]

    def start(self, model):
        self.broken("start")
        self.started += 1

    def stop(self):
        self.broken("stop")
        self.stopped += 1
        self.tell()
        self.plan, self.left = Plan(Look.WIDE, 1), 1

    def kept(self):
        self.broken("kept")
        return self.units * sum(map(len, self.rows.values()))

    def drain(self):
        self.broken("drain")
        rows, self.rows = self.rows, {}
        return [Seen(site, self.clock, self.table(kept)) for site, kept in rows.items()]

    def table(self, kept):
        steps, fired = np.array([step for step, _ in kept]), np.array([fires for _, fires in kept]) * float(BATCH)
        examples = np.full(len(kept), BATCH)
        return Rows(steps, examples, examples, fired, BATCH - fired, fired)

    def look(self):
        self.looked.append(self.step)
        for site in self.sites:
            fired = self.fires(site, self.step)
            if fired is not None:  # else the site is not visited in this step
                self.rows.setdefault(site, []).append((self.step, fired))

    def tell(self):
        steps, self.told = self.step - self.told, self.step
        if steps:
            self.listener.steps_ended(self.clock, Steps(self.plan, steps, [0.5] * steps, self.rates()))

    def rates(self):
        return [(0, (0.1,))] if self.told == self.step and self.step == 1 else []

    def train(self, steps):
        """As a framework's probe does it: look, tell, and ask again when the plan is over."""
        end = self.step + steps
        while self.step < end and self.started > self.stopped:
            if self.step - self.told in Steps(self.plan, self.step - self.told + 1).looked:
                self.look()
            self.step += 1
            self.left -= 1
            if self.left <= 0:
                self.tell()
                self.plan = self.listener.plan(self.clock, urgent=False)
                self.left = (self.plan.off + self.plan.steps) * self.plan.cycles
