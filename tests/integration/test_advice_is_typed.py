"""Of each rule a script that breaks it: every command that its report ends with is typed, and works."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
"""
MLP = """
net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
def batch():
    x = torch.randn(64, 8)
    return x, x.sum(1, keepdim=True)
def criterion(out, y):
    return F.mse_loss(out, y)
"""
CNN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.act, self.fc = nn.ReLU(), nn.Linear(64, 10)
    def forward(self, x):
        x = F.max_pool2d(self.act(self.conv1(x)), 2)
        return self.fc(F.max_pool2d(self.act(self.conv2(x)), 2).flatten(1))
net, centers = Net(), torch.randn(10, 1, 8, 8)
def batch():
    y = torch.randint(0, 10, (64,))
    return centers[y] + 0.5 * torch.randn(64, 1, 8, 8), y
def criterion(out, y):
    return F.cross_entropy(out, y)
"""
TRAIN = """
opt = OPT
for step in range(150):
    x, y = batch()
    # before
    loss = criterion(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    # after
print(f"loss: {loss.item():.4f}")
"""


def script(net, opt="torch.optim.Adam(net.parameters(), lr=1e-4)", start="", *, before="", after="", **other):
    """A training of a net that begins with ``start``; ``other``: words of the net and what takes their place."""
    words = {"act": "nn.ReLU()", "data": "torch.randn(64, 8)", "target": "x.sum(1, keepdim=True)"}
    for old, new in other.items():
        net = net.replace(words[old], new)
    return HEAD + net + start + TRAIN.replace("OPT", opt).replace("# before", before).replace("# after", after)


def adam(rate):
    return f"torch.optim.Adam(net.parameters(), lr={rate})"


def sgd(rate, more=""):
    return f"torch.optim.SGD(net.parameters(), lr={rate}{more})"


BIAS, CONV = "net[0].bias.data[:6] = {}\n", "net.conv1.bias.data[:4] = {}\n"
DEEP = MLP.replace(
    "nn.Sequential(nn.Linear(8, 32), nn.ReLU(), ",
    "nn.Sequential(nn.Linear(8, 32), *[m for _ in range(12) for m in (nn.Sigmoid(), nn.Linear(32, 32))], nn.ReLU(), ",
)
CLAMPED = MLP.replace("net = nn.Sequential(", "net = Clamped(").replace("nn.ReLU(), ", "")
CLAMP = """
class Clamped(nn.Sequential):
    def forward(self, x):
        return self[2](self[1](self[0](x).clamp(min=0)))
"""

GROWN = "net.conv1.weight.data *= 1 + 900 * (step == 99)"
SHOT = "y = y * (1e4 if step > 90 else 1)"
LARGE, SMALL = "for p in net.parameters():\n    p.data *= 12\n", "for p in net.parameters():\n    p.data /= 30\n"
CONVEX = CNN.replace("F.cross_entropy(out", "F.cross_entropy(out.softmax(1)")
ENDING = MLP.replace("nn.Linear(32, 1))", "nn.Linear(32, 1), nn.ReLU())")

BREAKS = (
    ("output_activation", script(ENDING)),
    ("born_dead", script(CLAMP + CLAMPED, start=BIAS.format(-50))),
    ("output_activation", script(CONVEX)),
    ("dead_unit", script(MLP, adam(0.1))),
    ("dead_unit", script(CNN, adam(0.1))),
    ("dead_unit", script(MLP, adam(0.1), "net.compile()\n")),
    ("born_dead", script(MLP, start=BIAS.format(-50))),
    ("rare_unit", script(MLP, start=BIAS.format(-1.5))),
    ("always_on", script(CNN, start=CONV.format(30))),
    ("one_sided", script(MLP, start=BIAS.format(-30), act="nn.LeakyReLU()")),
    ("one_sided", script(CNN, start=CONV.format(-30), act="nn.PReLU()")),
    ("stuck_high", script(MLP, start=BIAS.format(30), act="nn.ReLU6()")),
    ("stuck_high", script(CNN, start=CONV.format(30), act="nn.ReLU6()")),
    ("saturated", script(MLP, start=BIAS.format(30), act="nn.Tanh()")),
    ("saturated", script(CNN, start=CONV.format(30), act="nn.Tanh()")),
    ("non_finite", script(MLP, sgd(5))),
    ("dying_trend", script(MLP, adam(0.1))),
    ("vanishing_gradient", script(DEEP, sgd(0.01))),
    ("exploding_gradient", script(MLP, sgd(1e-9), before=SHOT)),
    ("exploding_activation", script(CNN, sgd(1e-4), after=GROWN)),
    ("noisy_gradient", script(MLP, sgd(1e-6), data="torch.randn(2, 8)", target="10 * torch.randn(2, 1)")),
    ("init_gain", script(MLP, start=LARGE)),
    ("init_gain", script(CNN, start=SMALL)),
    ("input_offset", script(MLP, data="torch.randn(64, 8) + 20")),
    ("input_offset", script(MLP, sgd(1e-3), data="255 * torch.rand(64, 8)")),
    ("wide_range", script(MLP, before="x[0] *= 300 if step == 50 else 1")),
    ("learned_slope", script(MLP, act="nn.PReLU(init=0.0)")),
    ("learned_slope", script(CNN, act="nn.PReLU(init=-0.2)")),
    ("vanishing_activation", script(CNN, sgd(0.1, ", weight_decay=1.0"))),
)
"""(rule, a script that breaks it), of an MLP and of another network."""

FAST = 2
"""A report that ends without a cure, and one with deaths for which only some cures can be tried."""
CASES = [pytest.param(*case, marks=[pytest.mark.slow] * (n >= FAST)) for n, case in enumerate(BREAKS)]


def typed(command, folder):
    """What a command of the report does, without the browser."""
    words = [word for word in shlex.split(command) if word != "--open"]
    assert words.pop(0) == "relume"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    line = [sys.executable, "-m", "relume", *words]
    ended = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def next_commands(text):
    """The commands of the lines from ``Next:`` on."""
    return [line[6:].strip() for line in text[text.rindex("Next: ") :].splitlines() if line.strip()]


@pytest.mark.parametrize(("rule", "text"), CASES)
def test_the_next_command_of_a_report_works(rule, text, tmp_path):
    (tmp_path / "train.py").write_text(text)
    said = typed("relume run train.py", tmp_path).stderr
    assert rule in {f["slug"] for f in json.loads(typed("relume report --json", tmp_path).stdout)["findings"]}, said
    for command in next_commands(said):
        ended = typed(command, tmp_path)
        if command.startswith("relume fix"):  # there are dead units, so cures can be tried; they need not work
            assert ended.returncode in (0, 1), ended.stderr
            assert "verdict" in ended.stdout
            assert "Error: " not in ended.stdout
        else:
            assert ended.returncode == 0, ended.stderr


CHECKPOINTS = {
    "zero_unit": ("Identity()", "net[0].weight.data[3] = 0; net[0].bias.data[3] = -1"),
    "shut_unit": ("BatchNorm1d(16)", "net[1].weight.data[3] = 0; net[1].bias.data[3] = -1"),
    "broken_weight": ("BatchNorm1d(16)", "net[0].weight.data[3] = float('inf')"),
    "no_gradient": ("Identity()", "net[0].bias.data[3] = -1e9; [step() for _ in range(300)]"),
}
SAVED = """
net = nn.Sequential(nn.Linear(8, 16), nn.NORM, nn.ReLU(), nn.Linear(16, 1))
opt = torch.optim.Adam(net.parameters())
def step():
    opt.zero_grad()
    net(torch.randn(64, 8)).square().mean().backward()
    opt.step()
[step() for _ in range(50)]
PLANT
torch.save({"model": net.state_dict(), "optimizer": opt.state_dict()}, "last.pt")
"""


@pytest.mark.parametrize("rule", CHECKPOINTS)
def test_the_next_command_of_a_checkpoint_report_works(rule, tmp_path):
    norm, plant = CHECKPOINTS[rule]
    made = SAVED.replace("NORM", norm).replace("PLANT", plant).replace("last.pt", str(tmp_path / "last.pt"))
    exec(HEAD + made, {})
    told = typed("relume audit last.pt", tmp_path)
    assert rule in told.stdout
    for command in next_commands(told.stdout):
        assert typed(command, tmp_path).returncode == 0
