"""For the tests of the treatment: survey a training in this process, and treat it."""

from __future__ import annotations

import contextlib
import json

import torch

from relume.artifacts.swap_plan import SwapPlan
from relume.lab.contenders import parse_contender
from relume.torch.treatment.survey import TorchSurvey
from relume.torch.treatment.treatment import TorchTreatment
from relume.treatment.seeding import Seeding
from relume.watching.patches import Patches


def survey(train, *args) -> SwapPlan:
    """The plan of a training, as it comes back from JSON."""
    seeds, patches = Seeding(0), Patches()
    surveying = TorchSurvey(seeds)
    seeds.start(patches)
    surveying.start()
    try:
        train(*args)
    finally:
        plan = surveying.stop()
        patches.undo()
    return SwapPlan.from_dict(json.loads(json.dumps(plan.to_dict())))


@contextlib.contextmanager
def treated(contender, plan=None, only="", seed=0, factor=1.0, **options):
    """Within it, what trains is treated."""
    what = None if contender is None else parse_contender(contender)
    seeds, patches = Seeding(seed, **options), Patches()
    treatment = TorchTreatment(what, plan or SwapPlan(), only, seeds, factor)
    seeds.start(patches)
    treatment.start()
    try:
        yield treatment
    finally:
        treatment.stop()
        patches.undo()


def descend(net, optimizer, steps=4, width=6, loss=lambda out: out.square().mean()) -> list[float]:
    """A short training; returns its losses."""
    losses = []
    for _ in range(steps):
        value = loss(net(torch.randn(8, width)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses
