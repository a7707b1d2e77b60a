"""Scripts, each as a user has it and as the same user would edit it by hand for a contender, a seed and a rate.

``<<...>>`` marks what the hand changes: ``<<before|after>>``. An edited script makes its activations with
``act(units)``, which is what a hand would write: ``nn.ELU()``. As a program it runs all of them, treated and edited,
each in a fork, and prints what they trained as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

STRIDE = 0x9E3779B97F4A7C15
SEED, FACTOR = 3, 4.0

OWN = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.full((1,), 1.5))
    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)

def bent(x):
    return torch.where(x > 0, x, 0.1 * torch.tanh(x))
"""

ACTS = {
    "baseline": "",
    "relu": "nn.ReLU(inplace)",
    "leaky_relu:0.2": "nn.LeakyReLU(0.2, inplace)",
    "prelu:channel": "rt.PReLU(units, axis=axis)",
    "prelu:shared:0.1": "nn.PReLU(init=0.1)",
    "rrelu": "Drawn(inplace=inplace)",
    "relu6": "nn.ReLU6(inplace)",
    "elu": "nn.ELU(inplace=inplace)",
    "selu": "nn.SELU(inplace)",
    "celu:0.5": "nn.CELU(0.5, inplace)",
    "gelu": "nn.GELU()",
    "silu": "nn.SiLU(inplace)",
    "relu_squared": "rt.ReLUSquared()",
    "hardswish": "nn.Hardswish(inplace)",
    "softplus:2": "nn.Softplus(2)",
    "own_acts:Mine": "own_acts.Mine()",
    "own_acts:bent": "Bent()",
}

HEAD = """
import relume.torch as rt
import own_acts
drawing = torch.Generator().manual_seed((SEED * STRIDE + 1) % 2**63)
class Bent(nn.Module):
    def forward(self, x):
        return own_acts.bent(x)
class Drawn(nn.RReLU):  # a copy of the module draws from the same generator
    def forward(self, x):
        return rt.functional.rrelu(x, self.lower, self.upper, self.training, self.inplace, drawing)
def act(units, axis=1, inplace=False, was=nn.ReLU):
    return ACT
def groups(net):
    own = [p for m in net.modules() if isinstance(m, (nn.PReLU, own_acts.Mine)) for p in m.parameters()]
    rest = [p for p in net.parameters() if all(p is not q for q in own)]
    return [{"params": rest}, {"params": own, "weight_decay": 0.0}] if own else rest
"""

START = """
import random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
<<|HEAD>>
torch.manual_seed(<<11|(11 + SEED * STRIDE) % 2**64>>)
np.random.seed(<<5|(5 + SEED * STRIDE) % 2**32>>)
random.seed(<<"x"|f"x{SEED}">>)
LOSSES = []
"""

SCRIPTS = {}

SCRIPTS["modules"] = (
    START
    + """
net = nn.Sequential(
    nn.Linear(6, 16), <<nn.ReLU()|act(16)>>, nn.Dropout(0.2), nn.Linear(16, 12), <<nn.ReLU()|act(12)>>, nn.Linear(12, 3)
)
optimizer = torch.optim.Adam(<<net.parameters()|groups(net)>>, lr=<<0.01|0.01 * FACTOR>>, weight_decay=0.1)
rng = np.random.default_rng(<<3|(3 + SEED * STRIDE) % 2**64>>)
for step in range(20):
    x = torch.from_numpy(rng.normal(size=(8, 6)).astype("float32")) + float(np.random.rand()) + random.random()
    loss = F.cross_entropy(net(x), torch.randint(0, 3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["functional"] = (
    START
    + """
saved = F.relu
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(5))
        self.out = nn.Linear(8, 1)
        <<|self.acts = nn.ModuleList(act(8) for _ in range(5))>>
    def forward(self, x):
        a, b, c, d, e = self.layers
        x = <<F.relu(a(x))|self.acts[0](a(x))>>
        x = <<torch.relu(b(x))|self.acts[1](b(x))>>
        x = <<c(x).relu()|self.acts[2](c(x))>>
        x = <<saved(d(x))|self.acts[3](d(x))>>
        x = <<F.leaky_relu(input=e(x), negative_slope=0.3)|self.acts[4](e(x))>>
        return self.out(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=<<0.1|0.1 * FACTOR>>, momentum=0.9)
batches = torch.Generator().manual_seed(<<2|(2 + SEED * STRIDE) % 2**64>>)
for step in range(20):
    x = torch.randn(10, 8, generator=batches)
    loss = F.relu(1 - net(x).squeeze(1) * x[:, 0].sign()).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["in_place"] = (
    START
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = <<nn.ReLU(inplace=True)|act(4, inplace=True)>>
        self.a, self.b, self.c, self.out = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        <<|self.acts = nn.ModuleList(act(8, inplace=True) for _ in range(3))>>
    def forward(self, x):
        x = self.act(self.norm(self.conv(x))).flatten(1)
        x = <<F.relu(self.a(x), inplace=True)|self.acts[0](self.a(x))>>
        x = self.b(x)
        <<x.relu_()|x = self.acts[1](x)>>
        x = self.c(x)
        <<F.relu(x, inplace=True)|x = self.acts[2](x)>>
        return self.out(x)
net = Net()
optimizer = torch.optim.RMSprop(net.parameters(), lr=<<0.001|0.001 * FACTOR>>)
for step in range(20):
    loss = net(torch.randn(6, 2, 4, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
net.eval()
with torch.no_grad():
    LOSSES.append(net(torch.ones(2, 2, 4, 4)).sum().item())
NETS = [net]
"""
)

SCRIPTS["bounded"] = (
    START
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.act = <<nn.Tanh()|act(8)>>
        <<|self.acts = nn.ModuleList(act(8) for _ in range(2))>>
    def forward(self, x):
        x = self.act(self.a(x))
        x = <<torch.sigmoid(self.b(x))|self.acts[0](self.b(x))>>
        x = <<self.c(x).tanh()|self.acts[1](self.c(x))>>
        return torch.sigmoid(self.out(x))
net = Net()
optimizer = torch.optim.SGD(<<net.parameters()|groups(net)>>, lr=<<0.1|0.1 * FACTOR>>, momentum=0.9)
for step in range(20):
    x = torch.randn(10, 6)
    loss = F.binary_cross_entropy(net(x), (x[:, :2] > 0).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["one_cycle"] = (
    START
    + """
net = nn.Sequential(nn.Linear(6, 16), <<nn.ReLU6()|act(16)>>, nn.Linear(16, 12), <<nn.ELU()|act(12)>>, nn.Linear(12, 3))
optimizer = torch.optim.AdamW(<<net.parameters()|groups(net)>>, lr=1e-4, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=<<0.02|0.02 * FACTOR>>, total_steps=20)
for step in range(20):
    loss = F.cross_entropy(net(torch.randn(8, 6)), torch.randint(0, 3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["autocast"] = (
    START
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 6, 3)
        self.leaky = <<nn.LeakyReLU(0.1)|act(6)>>
        self.a, self.out = nn.Linear(36, 10), nn.Linear(10, 2)
        <<|self.acts = nn.ModuleList([act(10)])>>
    def forward(self, x):
        x = self.leaky(self.conv(x)).flatten(1)
        return self.out(<<F.gelu(self.a(x))|self.acts[0](self.a(x))>>)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=<<0.01|0.01 * FACTOR>>)
for step in range(20):
    with torch.autocast("cpu", torch.bfloat16):
        out = net(torch.randn(8, 3, 8))
    loss = F.cross_entropy(out.float(), torch.randint(0, 2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["gan"] = (
    START
    + """
maker = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2), nn.Tanh())
judge = nn.Sequential(
    nn.Linear(2, 16), <<nn.LeakyReLU(0.2)|act(16, was=nn.LeakyReLU)>>, nn.Linear(16, 16),
    <<nn.LeakyReLU(0.2)|act(16, was=nn.LeakyReLU)>>, nn.Linear(16, 1)
)
makes = torch.optim.Adam(maker.parameters(), lr=<<0.002|0.002 * FACTOR>>, betas=(0.5, 0.999))
judges = torch.optim.Adam(<<judge.parameters()|groups(judge)>>, lr=<<0.001|0.001 * FACTOR>>, weight_decay=0.01)
for step in range(20):
    real, fake = torch.randn(8, 2), maker(torch.randn(8, 4))
    loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
    judges.zero_grad()
    loss.backward()
    judges.step()
    loss = F.softplus(-judge(fake)).mean()
    makes.zero_grad()
    loss.backward()
    makes.step()
    LOSSES.append(loss.item())
NETS = [maker, judge]
"""
)

SCRIPTS["residual"] = (
    START
    + """
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, 2 * width, 3, padding=1), nn.Conv2d(2 * width, width, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(2 * width), nn.BatchNorm2d(width)
        <<self.relu = nn.ReLU(inplace=True)|self.act1 = act(2 * width, inplace=True)>>
        <<|self.act2 = act(width, inplace=True)>>
    def forward(self, x):
        y = <<self.relu|self.act1>>(self.norm1(self.first(x)))
        y = self.norm2(self.second(y))
        y += x
        return <<self.relu|self.act2>>(y)
net = nn.Sequential(nn.Conv2d(1, 4, 3), Block(4), Block(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
rate = <<0.05|0.05 * FACTOR>>
optimizer = torch.optim.SGD(<<net.parameters()|groups(net)>>, lr=rate, momentum=0.9, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=<<1e-3|1e-3 * FACTOR>>)
for step in range(20):
    loss = F.cross_entropy(net(torch.randn(4, 1, 6, 6)), torch.randint(0, 2, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    LOSSES.append(loss.item())
NETS = [net]
"""
)

SCRIPTS["encoder"] = (
    START
    + """
layer = nn.TransformerEncoderLayer(
    8, 2, 16, dropout=0.1, batch_first=True, activation=<<"relu"|act(16, axis=2)>>
)
net = nn.ModuleList([nn.TransformerEncoder(layer, 2), nn.Linear(8, 2)])
optimizer = torch.optim.Adam(<<net.parameters()|groups(net)>>, lr=<<0.004|0.004 * FACTOR>>, weight_decay=0.01)
padding = torch.arange(5) >= torch.tensor([5, 3, 4]).view(3, 1)
for step in range(12):
    out = net[1](net[0](torch.randn(3, 5, 8), src_key_padding_mask=padding).mean(1))
    loss = F.cross_entropy(out, torch.randint(0, 2, (3,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    LOSSES.append(loss.item())
    net.eval()
    with torch.no_grad():
        LOSSES.append(net[1](net[0](torch.ones(3, 5, 8), src_key_padding_mask=padding)).sum().item())
    net.train()
NETS = [net]
"""
)

ONLY = {"gan": "leaky_relu"}


def written(name: str, contender: str | None) -> str:
    """A script as the user has it, or edited for a contender."""
    text = SCRIPTS[name]
    if contender is None:
        return re.sub(r"<<(.*?)\|(.*?)>>", r"\1", text, flags=re.DOTALL)
    if contender == "baseline":  # its activations stay: the hand changes seeds and rates alone
        text = re.sub(
            r"<<(.*?)\|(.*?)>>",
            lambda m: m[2] if re.search("SEED|FACTOR|HEAD", m[2]) else m[1],
            text,
            flags=re.DOTALL,
        )
    else:
        text = re.sub(r"<<(.*?)\|(.*?)>>", r"\2", text, flags=re.DOTALL)
    head = HEAD.replace("ACT\n", f"{ACTS[contender] or 'was()'}\n")
    text = text.replace("HEAD", f"SEED, STRIDE, FACTOR = {SEED}, {STRIDE}, {FACTOR}\n{head}")
    return text


def run(path: Path) -> dict:
    """Run a script in this process, and digest what it trained: every number of the losses and of the weights."""
    from relume.runner.script import load_script
    from relume.runner.script import run as run_script

    status = run_script(load_script(str(path), []))
    main = sys.modules["__main__"]
    states = [tensor for net in main.NETS for tensor in net.state_dict().values()]
    digests = sorted(hashlib.sha256(repr(tuple(t.shape)).encode() + t.numpy().tobytes()).hexdigest() for t in states)
    return {"status": status, "losses": [loss.hex() for loss in main.LOSSES], "states": digests}


def treated(path: Path, plan: dict, contender: str, only: str) -> dict:
    """Run a script as the user has it under a treatment."""
    from relume.artifacts.swap_plan import SwapPlan
    from relume.lab.contenders import parse_contender
    from relume.torch.treatment.treatment import TorchTreatment
    from relume.treatment.seeding import Seeding
    from relume.watching.patches import Patches

    sys.path.insert(0, str(path.parent))
    what = None if contender == "baseline" else parse_contender(contender)
    seeds = Seeding(SEED)
    treatment = TorchTreatment(what, SwapPlan.from_dict(plan), only, seeds, FACTOR)
    seeds.start(Patches())
    treatment.start()
    result = run(path)
    treatment.stop()
    facts = treatment.facts()
    return result | {"sites": len(facts.sites), "not_swapped": [each.what for each in facts.not_swapped]}


def surveyed(path: Path) -> dict:
    """The plan of a script."""
    from relume.torch.treatment.survey import TorchSurvey
    from relume.treatment.seeding import Seeding
    from relume.watching.patches import Patches

    seeds = Seeding(0)
    survey = TorchSurvey(seeds)
    seeds.start(Patches())
    survey.start()
    run(path)
    return survey.stop().to_dict()


def forked(work, *what) -> dict:
    """Do it in a fork; returns its answer."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        try:
            answer = work(*what)
        except BaseException as error:  # noqa: BLE001 - told to the parent
            answer = {"error": repr(error)}
        with os.fdopen(there, "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as given:
        answer = json.load(given)
    os.waitpid(child, 0)
    return answer


def main(folder: Path, names: list[str]) -> None:
    """Everything of these scripts, as JSON on stdout."""
    from relume.torch.treatment import survey, treatment, warm  # noqa: F401 - once for all forks

    warm.warm()
    (folder / "own_acts.py").write_text(OWN)
    answers = {}
    for name in names:
        path = folder / f"{name}.py"
        path.write_text(written(name, None))
        plan = forked(surveyed, path)
        answers[name] = {"plan": plan, "plain": forked(run, path), "runs": {}}
        for number, contender in enumerate(ACTS):
            edited = folder / f"{name}_{number}.py"
            edited.write_text(written(name, contender))
            both = forked(treated, path, plan, contender, ONLY.get(name, "")), forked(run, edited)
            answers[name]["runs"][contender] = both
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(SCRIPTS))
