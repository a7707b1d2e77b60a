"""``relume apply``: a plan done to a checkpoint; and ``relume.apply``: one done to a model."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from helpers import commands
from torch import nn

import relume as library
from relume.cli import Exit
from relume.errors import CureError

relume = commands.relume

X = torch.randn(128, 6, generator=torch.Generator().manual_seed(0))


def model_and_optimizer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        model[0].bias[:3] = -50
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def action(cure, site="Sequential.1@t.py:3", units=(0, 1, 2), **settings):
    words = {"why": "", "changes": f"{cure} it", "check": ""}
    return {"cure": cure, "site": site, "units": list(units), "evidence": [], "settings": settings, **words}


@pytest.fixture
def plan(tmp_path):
    def write(*actions):
        told = {"is": "relume plan", "schema": 1, "of": {}, "actions": list(actions), "open": []}
        (tmp_path / "plan.json").write_text(json.dumps(told))
        return tmp_path / "plan.json"

    return write


def test_every_action_of_a_plan_is_applied_to_the_model(plan):
    model, optimizer = model_and_optimizer()
    before = model(X)
    file = plan(
        action("lower_rate", factor=0.25),
        action("swap_activation", to="leaky_relu:0.1"),
        action("revive_units", rule="gaps"),
        action("normalize_input", by="BatchNorm"),
    )
    change = library.apply(model, file, batch=X, optimizer=optimizer)
    assert change.holds
    assert optimizer.param_groups[0]["lr"] == 0.025
    assert repr(model[1]) == "LeakyReLU(negative_slope=0.1)"
    assert torch.equal(nn.Sequential(model[0], nn.ReLU(), model[2])(X), before)  # the revival moved nothing
    assert ((model[0](X) > 0).float().mean(0)[:3] > 0.3).all()
    assert [edit.what for edit in change.left] == ["normalize_input, by hand: normalize_input it"]


@pytest.mark.parametrize(
    ("made", "slug"),
    [
        (action("swap_activation", "Net.1@t.py:3", to="elu"), "plan-of-another"),
        (action("swap_activation", "net.0", to="elu"), "plan-of-another"),
        (action("revive_units", "Sequential.9@t.py:3", rule="gaps"), "plan-of-another"),
        (action("revive_units", units=(99,), rule="gaps"), "plan-of-another"),
        (action("swap_activation", "Sequential.9@t.py:3", to="elu"), "plan-without-actions"),
        (action("normalize_input", by="BatchNorm"), "plan-without-actions"),
    ],
)
def test_a_plan_of_another_model_is_refused_and_the_model_stays(plan, made, slug):
    model, optimizer = model_and_optimizer()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CureError, match=rf"\[{slug}\]"):
        library.apply(model, plan(made, action("lower_rate", factor=0.5)) if slug == "plan-of-another" else plan(made),
                      batch=X, optimizer=optimizer)  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_reviving_without_a_batch_is_skipped_with_the_reason(plan):
    model, _ = model_and_optimizer()
    change = library.apply(model, plan(action("revive_units", rule="gaps"), action("swap_activation", to="elu")))
    assert "needs a batch" in change.left[0].what


def test_the_rates_of_a_checkpoint_are_lowered_and_the_rest_is_listed(relume, plan, tmp_path):
    model, optimizer = model_and_optimizer()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "last.ckpt")
    file = plan(action("lower_rate", factor=0.5), action("revive_units", rule="gaps"))
    status, out, _ = relume("apply", file, tmp_path / "last.ckpt", "-o", tmp_path / "new.ckpt")
    assert status == Exit.DONE
    assert "group 0: learning rate 0.1 → 0.05" in out
    assert "revive_units: it must be proven on a batch" in out
    made = torch.load(tmp_path / "new.ckpt", weights_only=True)
    optimizer.load_state_dict(made["optimizer"])
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["initial_lr"] == 0.05
    assert made["scheduler"]["base_lrs"] == [0.05]
    assert all(torch.equal(made["model"][name], tensor) for name, tensor in model.state_dict().items())
    again = relume("apply", file, tmp_path / "last.ckpt", "-o", tmp_path / "new.ckpt")
    assert again[0] == Exit.USAGE
    assert "[checkpoint-not-writable]" in again[2]


def test_a_file_or_a_plan_without_a_rate_is_refused(relume, plan, tmp_path):
    model, _ = model_and_optimizer()
    torch.save(model.state_dict(), tmp_path / "last.pt")
    bare = relume("apply", plan(action("lower_rate", factor=0.5)), tmp_path / "last.pt", "-o", tmp_path / "new.pt")
    assert "[checkpoint-without-optimizer]" in bare[2]
    swap = relume("apply", plan(action("swap_activation", to="elu")), tmp_path / "last.pt", "-o", tmp_path / "new.pt")
    assert "[plan-without-actions]" in swap[2]
    assert "in the code, not in the checkpoint" in swap[2]
    assert not (tmp_path / "new.pt").exists()
