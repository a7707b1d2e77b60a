"""``relume run --swap``, ``--revive``, ``--plan`` on unedited scripts: what is done, left and refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from relume.cli import Exit

SCRIPT = """
import sys, torch, torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
open("started", "w").close()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act, self.b, self.c = nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 1)
        with torch.no_grad():
            self.b.bias[:6] = -100.0

    def forward(self, x):
        x = self.act(self.a(x))
        return self.c(F.relu(self.b(x)))

net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.01, weight_decay=0.1)
for step in range(300):
    x = torch.randn(64, 8)
    opt.zero_grad()
    (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
    opt.step()
print(repr(sum(p.double().sum().item() for p in net.parameters() if p.numel() != 1)))
"""


@pytest.fixture
def relume(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def call(*arguments):
        command = [sys.executable, "-m", "relume", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    return call


def test_the_users_own_activation_may_call_the_one_that_it_replaces(relume, tmp_path):
    own = "import torch.nn.functional as F\n\ndef act(x):\n    return F.relu(x) - 0.01 * F.relu(-x)\n"
    (tmp_path / "mine.py").write_text(own)
    ended = relume("run", "--swap", "relu=mine:act", "-q", "train.py")
    assert ended.returncode == 0, ended.stderr
    leaky = relume("run", "--swap", "relu=leaky_relu:0.01", "-q", "train.py")
    assert math.isfinite(float(leaky.stdout))
    assert float(ended.stdout) == pytest.approx(float(leaky.stdout), rel=1e-6)


def told(relume):
    return json.loads(relume("report", "run.relume", "--json").stdout)


def by_hand(relume, tmp_path, *edits):
    """What a copy of the script prints in which these texts were replaced."""
    text = SCRIPT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "edited.py").write_text(text)
    return relume("run", "-q", "--out", "edited.relume", "edited.py").stdout


def test_a_swap_trains_as_the_script_edited_by_hand(relume, tmp_path):
    ran = relume("run", "--swap", "relu=leaky_relu:0.2", "train.py")
    assert ran.returncode == 0, ran.stderr
    edits = (("nn.ReLU()", "nn.LeakyReLU(0.2)"), ("F.relu(self.b(x))", "F.leaky_relu(self.b(x), 0.2)"))
    assert ran.stdout == by_hand(relume, tmp_path, *edits)
    assert "Swapped relu → leaky_relu:0.2: Net.act@train.py:16 and Net@train.py:17." in ran.stderr
    assert [site["activation"] for site in told(relume)["sites"]] == ["leaky_relu", "leaky_relu"]


LEARNING = """
import hashlib, torch, torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.a, self.b = nn.Conv1d(2, 6, 3), nn.ReLU(), nn.Linear(24, 16), nn.Linear(16, 1)

    def forward(self, x):
        x = self.act(self.conv(x)).flatten(1)
        return self.b(F.relu(self.a(x)))

net = Net()
opt = torch.optim.OPT(net.parameters(), lr=0.01, weight_decay=0.1)
for step in range(100):
    x = torch.randn(64, 2, 6)
    opt.zero_grad()
    (net(x) - x.sum((1, 2))[:, None]).square().mean().backward()
    opt.step()
print(sorted(hashlib.sha256(p.detach().numpy().tobytes()).hexdigest()[:16] for p in net.parameters()))
"""


@pytest.mark.parametrize(
    ("to", "optimizer", "modules"),
    [
        ("prelu", "AdamW", ("nn.PReLU(6)", "nn.PReLU(16)")),
        pytest.param("prelu:shared:0.1", "SGD", ("nn.PReLU(init=0.1)", "nn.PReLU(init=0.1)"), marks=pytest.mark.slow),
        ("leaky_relu:0.1", "Adam", ("nn.LeakyReLU(0.1)", "nn.LeakyReLU(0.1)")),
        pytest.param("elu", "SGD", ("nn.ELU()", "nn.ELU()"), marks=pytest.mark.slow),
    ],
)
def test_a_module_and_a_call_are_swapped_as_by_hand_to_the_bit_and_slopes_do_not_decay(
    relume, tmp_path, to, optimizer, modules
):
    script = LEARNING.replace("torch.optim.OPT", f"torch.optim.{optimizer}")
    (tmp_path / "train.py").write_text(script)
    edited = script.replace("nn.ReLU()", modules[0]).replace("F.relu(", "self.second(")
    edited = edited.replace("super().__init__()", f"super().__init__()\n        self.second = {modules[1]}")
    if to.startswith("prelu"):
        slopes = "[net.act.weight, net.second.weight]"
        rest = "[p for n, p in net.named_parameters() if n not in ('act.weight', 'second.weight')]"
        groups = f"[{{'params': {rest}}}, {{'params': {slopes}, 'weight_decay': 0.0}}]"
        edited = edited.replace("net.parameters(), lr", f"{groups}, lr")
    (tmp_path / "edited.py").write_text(edited)
    ran = relume("run", "-q", "--swap", f"relu={to}", "train.py")
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    by_hand = subprocess.run([sys.executable, "edited.py"], cwd=tmp_path, env=one, capture_output=True, text=True)
    assert (ran.returncode, by_hand.returncode) == (0, 0), ran.stderr + by_hand.stderr
    assert ran.stdout == by_hand.stdout


def test_an_activation_that_is_not_a_separate_call_is_listed_as_not_swapped(relume, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT.replace("self.act(self.a(x))", "self.a(x).clamp(min=0)"))
    ran = relume("run", "--swap", "relu=elu", "train.py")
    assert "Not changed: Net@train.py:16: relu: Tensor.clamp is not replaced." in ran.stderr
    assert "Swapped relu → elu: Net@train.py:17." in ran.stderr


def test_only_the_named_place_is_swapped_and_the_other_is_listed(relume, tmp_path):
    ran = relume("run", "--swap", "Net.act@train.py:16=elu", "--swap", "Net.gone@train.py:3=elu", "train.py")
    assert ran.stdout == by_hand(relume, tmp_path, ("nn.ReLU()", "nn.ELU()"))
    cures = told(relume)["run"]["cures"]
    assert [(each["place"], each["what"]) for each in cures["changed"]] == [("Net.act@train.py:16", "relu → elu")]
    left = {each["place"]: each["what"] for each in cures["left"]}
    assert left["Net@train.py:17"] == "relu: not asked for"
    assert "no call matches it" in left["Net.gone@train.py:3"]
    assert "Not changed: Net.gone@train.py:3" in ran.stderr


def test_dead_units_are_revived_in_an_unedited_script(relume):
    assert relume("run", "-q", "train.py").returncode == 0
    assert told(relume)["sites"][1]["dead"] == [0, 1, 2, 3, 4, 5]
    ran = relume("run", "--revive", "train.py")
    assert ran.returncode == 0, ran.stderr
    data = told(relume)
    assert data["sites"][1]["dead"] == []
    revived = [each for each in data["run"]["cures"]["changed"] if each["units"]]
    units = {unit for each in revived for unit in each["units"]}
    assert units >= {0, 1, 2, 3, 4, 5}  # and unit 25, which fires once in the first 100 steps and never again
    assert all(each["step"] % 100 == 0 and 0 < each["step"] <= 300 for each in revived)
    assert f"Revived {len(units)} units of relu in the model after b" in ran.stderr
    assert data["run"]["asked"] == ["--revive gaps"]


def test_a_rule_may_follow_and_the_word_after_it_is_the_script(relume):
    ran = relume("run", "--revive", "redo:0.1:50", "--out", "other.relume", "train.py")
    assert ran.returncode == 0, ran.stderr
    data = json.loads(relume("report", "other.relume", "--json").stdout)
    assert {each["step"] % 50 for each in data["run"]["cures"]["changed"]} == {0}


def test_a_plan_is_run_again_after_it_was_edited(relume, tmp_path):
    relume("run", "-q", "train.py")
    assert relume("plan", "run.relume", "-o", "plan.json").returncode == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["actions"] = [action for action in plan["actions"] if action["cure"] == "swap_activation"]
    plan["actions"][0]["settings"]["to"] = "elu"
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    ran = relume("run", "--plan", "plan.json", "train.py")
    assert ran.stdout == by_hand(relume, tmp_path, ("F.relu(self.b(x))", "F.elu(self.b(x))"))
    (tmp_path / "other.py").write_text(SCRIPT)
    refused = relume("run", "--plan", "plan.json", "other.py")
    assert refused.returncode == Exit.USAGE
    assert "[plan-of-another]" in refused.stderr


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        (("--swap", "rleu=elu"), "unknown-activation"),
        (("--swap", "relu=elo"), "unknown-activation"),
        (("--swap", "relu"), "bad-swap"),
        (("--swap", "tanh=elu"), "bad-swap"),
        (("--swap", "relu=clip:1"), "bad-swap"),
        (("--swap", "relu=leaky_relu:x"), "bad-contenders"),
        (("--revive=often",), "unknown-rule"),
        (("--plan", "gone.json"), "plan-damaged"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_script_starts(relume, tmp_path, options, slug):
    refused = relume("run", *options, "train.py")
    assert refused.returncode == Exit.USAGE
    assert f"[{slug}]" in refused.stderr
    assert not (tmp_path / "started").exists()


def test_a_script_without_pytorch_runs_and_the_report_says_that_nothing_was_changed(relume, tmp_path):
    (tmp_path / "plain.py").write_text("print(1)\n")
    ran = relume("run", "--revive", "plain.py")
    assert (ran.returncode, ran.stdout) == (0, "1\n")
    assert "Not changed: the whole run" in ran.stderr
