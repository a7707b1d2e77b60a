"""``relume audit``, and a checkpoint in the place of a recording."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import commands, schemas
from torch import nn

from relume.cli import Exit

relume = commands.relume


@pytest.fixture
def checkpoint(tmp_path):
    """Unit 3 of 10 is dead by its weights, unit 5 never had a gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4))
    with torch.no_grad():
        model[0].bias[5] = -1e3
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(120):
        optimizer.zero_grad()
        model(torch.randn(16, 6)).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = 0, -1
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "last.pt")
    return tmp_path / "last.pt"


def test_dead_units_are_reported_with_their_evidence_and_the_next_command(relume, checkpoint):
    status, out, _ = relume("audit", checkpoint)
    assert status == Exit.DONE
    assert "2 of 14 units are dead, all in layer 0 of last.pt; judged from the checkpoint only, at step 120" in out
    assert "RLM020 zero_unit  0 at last.pt\n    1 of 10 units (10 %) with incoming weights of exactly zero" in out
    assert "no gradient in any of 120 steps" in " ".join(out.split())
    assert "Next: relume explain RLM020" in out
    assert "fires" not in out  # nothing ran, so no rate is known
    assert ":0" not in out


def test_json_has_the_keys_of_a_run(relume, checkpoint, tmp_path):
    told = json.loads(relume("audit", checkpoint, "--json")[1])
    schemas.fits("findings", told)
    commands.write(tmp_path / "run.relume")
    run = json.loads(relume("report", tmp_path / "run.relume", "--json")[1])
    assert set(told) == set(run)
    assert set(told["sites"][0]) == set(run["sites"][0])
    assert set(run["findings"][0]) == set(told["findings"][0])
    assert told["run"]["audited"] == ["last.pt"]
    assert told["sites"][0]["dead"] == [3, 5]
    assert told["sites"][0]["cause"]["3"]["kind"] == "zero weights"


def test_a_check_fails_on_a_checkpoint_as_on_a_run(relume, checkpoint):
    assert relume("check", checkpoint)[0] == Exit.CHECK_FAILED
    assert relume("check", checkpoint, "--max-dead", "50%")[0] == Exit.DONE
    assert relume("check", checkpoint, "--max-dead", "50%", "--fail-on", "zero_unit")[0] == Exit.CHECK_FAILED


def test_reports_take_a_checkpoint(relume, checkpoint, tmp_path):
    assert relume("report", checkpoint)[1] == relume("audit", checkpoint)[1]
    assert relume("report", checkpoint, "--md")[1] == relume("audit", checkpoint, "--md")[1]
    assert relume("report", checkpoint, "--html", tmp_path / "a.html")[0] == Exit.DONE
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Judged from the checkpoint only, at step 120" in page
    assert "last.pt:0" not in page
    assert str(tmp_path) not in page


def test_annotations_name_the_file_without_a_line(relume, checkpoint):
    lines = relume("audit", checkpoint, "--github")[1].splitlines()
    assert [line.split("::")[1] for line in lines] == [
        "warning file=last.pt,title=RLM020 zero_unit",
        "warning file=last.pt,title=RLM022 no_gradient",
    ]


def test_formats_exclude_each_other(relume, checkpoint):
    assert relume("audit", checkpoint, "--json", "--md")[0] == Exit.USAGE


def test_a_file_that_is_not_a_checkpoint_is_a_usage_error_with_its_slug(relume, tmp_path):
    (tmp_path / "a.pt").write_text("hello")
    status, out, said = relume("audit", tmp_path / "a.pt")
    assert (status, out) == (Exit.USAGE, "")
    assert "[checkpoint-foreign]" in said


def test_a_recording_is_still_a_recording(relume, tmp_path):
    commands.write(tmp_path / "run.relume", dead=(5, 6))
    assert "looked at" in relume("report", tmp_path / "run.relume")[1]
