"""``relume compare`` as a user types it, on a script that knows nothing of relume."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import schemas

SCRIPT = Path(__file__).with_name("compared.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the script, and something of the user's that the script writes over."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(SCRIPT, folder / "train.py")
    (folder / "weights.pt").write_text("the user's own")
    return folder


def compare(folder, *arguments):
    """Exit status, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "relume", "compare", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=250, check=False,
        env={**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


PLAIN = ("--with", "elu,tests_own:Twice", "--seeds", "6", "--lr-factors", "1")


@pytest.fixture(scope="module")
def study(home):
    """The study that most of these tests read."""
    (home / "tests_own.py").write_text("def Twice(x):\n    raise RuntimeError('not this one')\n")
    return compare(home, *PLAIN, "train.py", "--lr", "0.02")


def told(home, *arguments):
    status, out, _ = compare(home, *PLAIN, "--json", *arguments, "train.py", "--lr", "0.02")
    assert status == 0
    return json.loads(out)


def test_a_planted_difference_is_named(home, study):
    status, out, err = study
    assert status == 0, err
    said = {verdict["activation"]: verdict for verdict in told(home)["verdicts"]}
    assert said["elu"]["verdict"] == "worse"
    assert said["elu"]["difference"] < 0
    assert out.startswith("elu is worse than the script's ReLU by")
    assert "2 activations replaced" in out
    assert "Next: relume report relume-study" in out


def test_a_contender_that_breaks_the_script_is_not_tried_to_the_end(home, study):
    verdict = next(v for v in told(home)["verdicts"] if v["activation"] == "tests_own:Twice")
    assert verdict["verdict"] == "undecided"
    assert verdict["notes"] == ["Not compared: every run failed with the same error (RuntimeError: not this one)."]
    failed = [trial for trial in told(home)["trials"] if trial["status"] == "failed"]
    assert {trial["error"] for trial in failed} == {"RuntimeError: not this one"}
    assert 2 <= len(failed) < 6  # those that had begun when the second failed


def test_the_same_command_runs_no_trial_again(home, study):
    files = {path: path.stat().st_mtime_ns for path in (home / "relume-study" / "trials").glob("*.json")}
    assert 15 <= len(files) < 19  # two on six seeds, the first once more, and those of the one that cannot run
    status, out, err = compare(home, *PLAIN, "train.py", "--lr", "0.02")
    assert (status, out) == (0, study[1])
    assert f"{len(files)} trials are done" in err
    assert {path: path.stat().st_mtime_ns for path in (home / "relume-study" / "trials").glob("*.json")} == files


def test_the_users_files_are_unchanged(home, study):
    assert (home / "weights.pt").read_text() == "the user's own"
    assert {path.name for path in home.iterdir()} <= {
        "train.py", "weights.pt", "tests_own.py", "relume-study", "__pycache__"
    }  # fmt: skip


def test_the_json_has_the_shape_of_the_contract(home, study):
    data = told(home)
    schemas.fits("study", data)
    assert set(data) >= {"schema", "study", "verdicts", "trials", "not_swapped"}
    assert set(data["study"]) >= {"script", "argv", "metric", "mode", "baseline", "threads"}
    assert (data["study"]["metric"], data["study"]["mode"], data["study"]["script"]) == ("score", "max", "train.py")
    assert set(data["trials"][0]) >= {
        "activation", "seed", "lr_factor", "stage", "status", "metrics", "seconds", "peak_memory", "dead_share"
    }  # fmt: skip
    assert str(home) not in json.dumps(data)


def test_the_probe_shows_what_would_be_done(home, study):
    status, out, _ = compare(home, *PLAIN, "--probe", "train.py", "--lr", "0.02")
    assert status == 0
    assert "2 sites would be replaced" in out
    assert "Net.act1@train.py:23" in out.replace("\n", "")
    assert "score" in out
    assert "compared: max at last" in out
    assert "torch.manual_seed(3)" in out
    assert "SGD at 0.02" in out
    assert "weights.pt" in out


def test_the_dry_run_shows_the_matrix_and_runs_no_trial(home, study):
    before = len(list((home / "relume-study" / "trials").glob("*.json")))
    status, out, _ = compare(home, "--with", "elu", "--seeds", "8", "--dry-run", "train.py", "--lr", "0.02")
    assert status == 0
    assert "choose rates: 2 × 3 factors (0.25, 1, 4) × 1 seed " in out
    assert "48" in out
    assert len(list((home / "relume-study" / "trials").glob("*.json"))) == before


def test_several_metrics_end_with_5_and_say_how_to_choose(home, tmp_path):
    arguments = ("--with", "elu", "--seeds", "2", "--lr-factors", "1", "--study", str(tmp_path / "s"))
    status, _, err = compare(home, *arguments, "train.py", "--also-loss")
    assert status == 5
    assert "--metric loss" in err
    assert "--metric score" in err


def test_a_seed_without_effect_is_refused(home, tmp_path):
    arguments = ("--with", "elu", "--seeds", "3", "--lr-factors", "1", "--study", str(tmp_path / "s"))
    status, _, err = compare(home, *arguments, "train.py", "--constant")
    assert status == 4
    assert "[seed-without-effect]" in err


def test_noise_that_no_seed_fixes_is_reported(home, tmp_path, study):
    assert "Run-to-run noise" not in study[1]
    arguments = ("--with", "elu", "--seeds", "2", "--lr-factors", "1", "--study", str(tmp_path / "s"))
    status, out, _ = compare(home, *arguments, "train.py", "--noisy")
    assert status == 0
    assert "Run-to-run noise: baseline at seed 0 was run twice" in " ".join(out.split())


def test_a_script_without_activations_ends_with_5(tmp_path):
    (tmp_path / "flat.py").write_text("import torch\nprint('score: 1.5')\n")
    status, _, err = compare(tmp_path, "--with", "elu", "flat.py")
    assert status == 5
    assert "[nothing-to-swap]" in err


def test_a_script_that_crashes_is_not_compared(tmp_path):
    (tmp_path / "broken.py").write_text("import torch\nraise OSError('no data here')\n")
    status, _, err = compare(tmp_path, "--with", "elu", "broken.py")
    assert status == 5
    assert "OSError: no data here" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--with", "rlu", "train.py"), "[unknown-activation]"),
        (("--lr-factors", "0,1", "train.py"), "0,1"),
        (("--shard", "3/2", "train.py"), "3/2"),
        (("--at", "end", "train.py"), "[unknown-at]"),
        (("--with", "elu", "train.py", "--lr={lr}"), "[bad-template]"),
        (("--with", "elu", "absent.py"), "absent.py"),
    ],
)
def test_wrong_usage_is_reported_before_anything_runs(home, tmp_path, arguments, says):
    status, _, err = compare(home, "--study", str(tmp_path / "s"), *arguments)
    assert status in (4, 5)
    assert says in err


DYING = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
net[0].bias.data.fill_(-100.0)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for epoch in range(3):
    for step in range(10):
        x = torch.randn(32, 4)
        loss = (net(x).squeeze(1) - x[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
"""


def test_a_run_that_ends_with_a_dead_layer_is_a_failure_and_its_curve_counts_epochs(tmp_path):
    (tmp_path / "train.py").write_text(DYING)
    plain = ("--with", "leaky_relu", "--seeds", "2", "--lr-factors", "1", "--at-time", "baseline")
    status, out, err = compare(tmp_path, *plain, "--json", "train.py")
    assert status == 0, err
    data = json.loads(out)
    schemas.fits("study", data)
    runs = {trial["activation"]: trial for trial in data["trials"]}
    assert (runs["baseline"]["dead_layers"], runs["leaky_relu"]["dead_layers"]) == (1, 0)
    assert (data["as_it_stands"]["runs"], data["as_it_stands"]["failed"]) == (2, 2)
    assert data["study"]["learning_rate"] == 0.01
    (verdict,) = data["verdicts"]
    assert verdict["baseline_failed"] == 2
    assert any("(2 ended with a dead layer)" in note for note in verdict["notes"])
    assert data["not_swapped"][0]["what"] == "nn.Tanh"  # beside ReLU it is taken for a gate or an output
    html = tmp_path / "study.html"
    subprocess.run([sys.executable, "-m", "relume", "report", "relume-study", "--html", html], cwd=tmp_path, check=True)
    assert "epoch" in html.read_text()


@pytest.mark.parametrize("time", ["0", "-3s", "soon", "3x"])
def test_an_invalid_time_is_refused(home, time):
    status, _, err = compare(home, "--at-time", time, "train.py")
    assert status == 4
    assert "no time, such as 60s" in err
