"""For the tests of the treatment: survey a training in this process, and treat it."""

from __future__ import annotations

import contextlib
import json

import torch

from relume.artifacts.swap_plan import SwapPlan
from relume.lab.contenders import parse_contender
from relume.torch.treatment.survey import TorchSurvey
from relume.torch.treatment.treatment import TorchTreatment


def survey(train, *args) -> SwapPlan:
    """The plan of a training, as it comes back from JSON."""
    surveying = TorchSurvey()
    surveying.start()
    try:
        train(*args)
    finally:
        plan = surveying.stop()
    return SwapPlan.from_dict(json.loads(json.dumps(plan.to_dict())))


@contextlib.contextmanager
def treated(contender, plan=None, only="", seed=0, factor=1.0, **options):
    """Within it, what trains is treated."""
    what = None if contender is None else parse_contender(contender)
    treatment = TorchTreatment(what, plan or SwapPlan(), only, seed, factor, **options)
    treatment.start()
    try:
        yield treatment
    finally:
        treatment.stop()


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
