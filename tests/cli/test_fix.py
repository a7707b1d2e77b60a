"""``relume fix``: from dead units to a proven edit, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from helpers import commands, schemas

from relume.cli import Exit

relume = commands.relume

SCRIPT = """\
import sys
import torch
from torch import nn

net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
opt = OPT
for step in range(150):
    x = torch.randn(64, 8)
    loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
print(f"loss: {loss.item():.4f}")
"""
ADAM = "torch.optim.Adam(net.parameters(), lr=0.1)"
"""With it about a quarter of the units dies."""


FEWER = ("--seeds", 6, "--max-dead", "12%", "--delta", 1)


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "train.py").write_text(SCRIPT.replace("OPT", ADAM))
    return tmp_path / "train.py"


def test_the_first_cure_that_works_is_shown_proven_and_written(relume, script):
    status, out, said = relume("fix", *FEWER, "--try", "clip:1e9,lr:1/16,elu", "train.py")
    assert status == Exit.DONE, said
    assert "Cured by lr:1/16: multiply the learning rate by 0.0625." in out
    assert "Not tried, because one works: elu." in out
    assert "the edited script ends with the same weights as the cure's run, to the bit" in out
    assert "+opt = torch.optim.Adam(net.parameters(), lr=0.1 * 0.0625)" in out
    assert "Next: relume fix --write --try clip:1e9,lr:1/16,elu --seeds 6 --max-dead 0.12 --delta 1.0 train.py" in out
    assert script.read_text() == SCRIPT.replace("OPT", ADAM)
    kept = {file: file.stat().st_mtime_ns for file in script.parent.glob("relume-fix/trials/*.json")}
    status, out, _ = relume("fix", *FEWER, "--try", "clip:1e9,lr:1/16,elu", "--write", "train.py")
    assert status == Exit.DONE
    assert "The edit was applied" in out
    assert "lr=0.1 * 0.0625" in script.read_text()
    assert kept == {file: file.stat().st_mtime_ns for file in script.parent.glob("relume-fix/trials/*.json")}


def test_a_search_killed_in_a_trial_or_during_the_proof_of_its_edit_resumes_there(script):
    script.write_text(script.read_text().replace("range(150)", "range(500)"))
    command = [sys.executable, "-m", "relume", "fix", *map(str, FEWER), "--jobs", "1", "--try", "lr:1/16", "train.py"]
    trials = script.parent / "relume-fix" / "trials"
    kept = {}
    for ended in (3, 13):  # of the script's first run, 6 as it stands and 6 of the cure; then the edit is run
        search = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(list(trials.glob("*.json"))) < ended:
            assert search.poll() is None, search.communicate()
            time.sleep(0.01)
        search.kill()
        search.communicate()
        kept |= {file: file.stat().st_mtime_ns for file in trials.glob("*.json")}
        assert len(kept) == ended
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == Exit.DONE, again.stderr
    assert "the edited script ends with the same weights as the cure's run, to the bit" in again.stdout
    assert kept == {file: file.stat().st_mtime_ns for file in kept}


def test_a_cure_that_does_nothing_is_not_accepted(relume, script):
    status, out, _ = relume("fix", "--seeds", 6, "--try", "clip:1e9", "--max-dead", "100%", "--json", "train.py")
    assert status == Exit.CHECK_FAILED
    told = json.loads(out)
    schemas.fits("fix", told)
    (tried,) = told["tried"]
    assert tried["outcome"] == "no effect"
    assert tried["dead"][1] > 0.1
    assert (told["cure"], told["edit"]) == (None, None)
    _, out, _ = relume("plan", "relume-fix/plan-1.json")
    assert "then: relume run train.py" in out  # there is no recording to be compared with


CURABLE = {
    "clip:0.5": "torch.optim.SGD(net.parameters(), lr=0.15, momentum=0.9)",
    "no_decay": "torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=50)",
    "init": "torch.optim.Adam(net.parameters())",
    "normalize": "torch.optim.Adam(net.parameters())",
    "warmup:100": ADAM,
    "leaky_relu:0.1": ADAM,
}
"""An optimizer under which each helps; init gets biases of -5, normalize an input far from 0."""


SLOW = dict.fromkeys(("clip:0.5", "normalize", "leaky_relu:0.1"), pytest.mark.slow)


@pytest.mark.parametrize("cure", [pytest.param(cure, marks=SLOW.get(cure, ())) for cure in CURABLE])
def test_every_edit_equals_its_cure_to_the_last_bit(relume, script, cure):
    start = "net[0].bias.data -= 5\n" if cure == "init" else ""
    text = SCRIPT.replace("opt = OPT", f"{start}opt = {CURABLE[cure]}")
    script.write_text(text.replace("(64, 8)", "(64, 8) + 9") if cure == "normalize" else text)
    status, out, said = relume("fix", "--seeds", 5, "--max-dead", "60%", "--delta", 9999, "--try", cure, "train.py")
    assert status == Exit.DONE, out + said
    assert "the edited script ends with the same weights as the cure's run, to the bit" in out


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        (SCRIPT.replace("OPT", ADAM.replace("0.1", "0.001")), "nothing-dead"),
        (SCRIPT.replace("OPT", ADAM) + "raise ValueError('late')\n", "script-failed"),
        (SCRIPT.replace("OPT", ADAM).replace("nn.ReLU()", "nn.Identity()"), "nothing-watched"),
    ],
)
def test_without_anything_to_cure_it_says_so(relume, script, text, slug):
    script.write_text(text)
    status, _, said = relume("fix", "train.py")
    assert status == Exit.NOTHING_TO_COMPARE
    assert f"[{slug}]" in said


def test_too_few_seeds_for_the_cures_that_are_asked_for_are_refused(relume, script):
    status, _, said = relume("fix", "--seeds", 4, "--try", "lr:1/2,lr:1/4", "train.py")
    assert status == Exit.USAGE
    assert "at least 6 are needed" in said


def test_a_script_without_a_metric_is_judged_by_its_training_loss(relume, script):
    script.write_text(script.read_text().replace("print(", "str("))
    status, out, _ = relume("fix", *FEWER, "--try", "lr:1/16", "--json", "train.py")
    assert status == Exit.DONE
    told = json.loads(out)
    schemas.fits("fix", told)
    assert (told["metric"], told["mode"], told["cure"]) == ("training_loss", "min", "lr:1/16")


FAILS_AT_SOME_SEEDS = """
if SEEDED:
    raise RuntimeError("no such row")
"""


def test_a_script_that_fails_at_some_seeds_is_judged_on_the_others_and_the_report_says_so(relume, script):
    text = script.read_text() + FAILS_AT_SOME_SEEDS
    script.write_text(text.replace("SEEDED", "torch.initial_seed() == 1"))
    status, out, said = relume("fix", *FEWER, "--seeds", 7, "--try", "lr:1/16", "train.py")
    assert status == Exit.DONE, out + said
    assert "The script as it stands failed in 1 of 7 runs: RuntimeError: no such row." in " ".join(out.split())
    script.write_text(text.replace("SEEDED", "0 < torch.initial_seed() < 1000"))
    status, _, said = relume("fix", *FEWER, "--try", "lr:1/16", "train.py")
    assert status == Exit.NOTHING_TO_COMPARE
    assert "failed in 5 of 6 runs, each with a seed of its own (RuntimeError: no such row)" in said
