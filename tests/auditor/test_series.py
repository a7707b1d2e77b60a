"""Several checkpoints of one run: the earlier ones prove, and another run's are refused."""

from __future__ import annotations

import pytest
import torch
from helpers import trained

import relume
from relume.errors import CheckpointError

network, train = trained.network, trained.train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints of the steps 400, 700 and 1,000; unit 3 dies at 200, unit 5 at 550, and unit 7 at 550 until 900."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def save(step):
        if step == 900:
            with torch.no_grad():
                model[0].bias[7] = 0.0
        if step in (400, 700):
            torch.save({"model": model.state_dict(), "optim": optimizer.state_dict()}, folder / f"step-{step}.pt")

    train(model, optimizer, 1000, {3: 200, 5: 550, 7: 550}, at=save)
    torch.save({"model": model.state_dict(), "optim": optimizer.state_dict()}, folder / "step-1000.pt")
    return folder


def test_a_unit_without_a_gradient_between_two_checkpoints_is_proven(run):
    site = relume.audit(run / "step-400.pt", run / "step-1000.pt").sites[0]
    assert site.dead == (3, 5)
    assert "proven for the 600 steps since step-400.pt" in site.cause[3].says
    assert "proven" not in site.cause[5].says  # it had gradients after step 400


def test_files_are_ordered_by_their_steps_and_the_longest_proof_is_reported(run):
    files = [run / f"step-{step}.pt" for step in (1000, 400, 700)]
    site = relume.audit(*files).sites[0]
    assert "600 steps since step-400.pt" in site.cause[3].says
    assert "300 steps since step-700.pt" in site.cause[5].says


def test_a_folder_of_checkpoints_is_their_series(run):
    assert relume.audit(run).to_dict() == relume.audit(*run.iterdir()).to_dict()


def test_a_unit_that_came_back_is_not_dead(run):
    assert 7 in relume.audit(run / "step-700.pt").sites[0].dead
    assert 7 not in relume.audit(run).sites[0].dead


def test_a_single_gradient_between_two_checkpoints_ends_the_proof(run, tmp_path):
    saved = torch.load(run / "step-1000.pt", weights_only=True)
    state = saved["optim"]["state"][0]
    state["exp_avg_sq"][3, 11] *= 1.001
    torch.save(saved, tmp_path / "step-1000.pt")
    site = relume.audit(run / "step-400.pt", tmp_path / "step-1000.pt").sites[0]
    assert "proven" not in site.cause[3].says


def test_checkpoints_of_two_runs_are_refused(run, tmp_path):
    torch.manual_seed(2)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    train(model, optimizer, 150)
    torch.save({"model": model.state_dict(), "optim": optimizer.state_dict()}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"not from one run.*fell"):
        relume.audit(tmp_path / "other.pt", run / "step-400.pt")


def test_networks_of_two_sizes_are_refused(run, tmp_path):
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    train(model, optimizer, 20)
    torch.save({"model": model.state_dict(), "optim": optimizer.state_dict()}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not from one run"):
        relume.audit(tmp_path / "other.pt", run / "step-400.pt")


def test_a_checkpoint_of_the_same_step_is_named_as_unused(run, tmp_path):
    (tmp_path / "copy.pt").write_bytes((run / "step-400.pt").read_bytes())
    findings = relume.audit(tmp_path / "copy.pt", run / "step-400.pt")
    assert ("a checkpoint", "copy.pt") in [(what, where) for what, where, _ in findings.not_observed]
