"""A site is a place of the program: temporary modules and weights are no part of it, and its name identifies it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import relume
from relume.reports.run import wording
from relume.torch.watching.where import places


class Counted(nn.Module):
    """Two layers, the first with dead units; counts itself what fired in train mode."""

    def __init__(self, *dead, width=8, units=12):
        super().__init__()
        self.a, self.b = nn.Linear(width, units), nn.Linear(units, 1)
        with torch.no_grad():
            self.a.bias[list(dead)] = -40
        self.fired = torch.zeros(units)

    def note(self, pre):
        if self.training:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                self.fired += (pre > 0).sum(0)
        return pre


class MadeInForward(Counted):
    def forward(self, x):
        return self.b(nn.ReLU()(self.note(self.a(x))))


class NotSelf(Counted):
    def forward(this, x):
        return this.b(F.relu(this.note(this.a(x)) - 0.0))


def train(net, steps=20, call=None, evaluate=False):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(steps):
        if evaluate:
            net.eval()
            net(torch.randn(16, 8))
            net.train()
        optimizer.zero_grad()
        (call or net)(torch.randn(16, 8)).square().mean().backward()
        optimizer.step()


def watched(net, model=None, **options):
    torch.manual_seed(0)
    with relume.watch(net if model is None else model, every=1, window=options.get("steps", 20)) as watch:
        train(net, **options)
    return watch


def assert_counts(site, net, dead):
    assert site["dead"] == dead
    assert [round(rate * site["samples"]) for rate in site["firing_rate"]] == net.fired.tolist()


@pytest.mark.parametrize(("net", "call"), [(MadeInForward(1, 4), "nn.ReLU"), (NotSelf(1, 4), "F.relu")])
def test_one_site_with_its_layer_and_exact_counts(net, call):
    report = watched(net, evaluate=True).to_dict()
    (site,) = report["sites"]
    assert_counts(site, net, [1, 4])
    assert (site["call"], site["model"], site["layer"]) == (call, type(net).__name__, "a")
    assert report["not_observed"] == []


def test_a_function_whose_first_argument_is_a_module_is_not_its_method():
    net = Counted(2)

    def forward(model, x):
        return model.b(F.relu(model.note(model.a(x))))

    with relume.watch(net, every=1, window=20) as watch:
        train(net, call=lambda x: forward(net, x))
    (site,) = watch.to_dict()["sites"]
    assert_counts(site, net, [2])
    assert site["module"] == "forward"


def test_adapted_weights_of_functional_call_are_the_same_site():
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1))
    with torch.no_grad():
        net[0].bias[:3] = -40
    fired = torch.zeros(12)

    def note(module, args, out):
        fired.add_((out.detach() > 0).sum(0))

    net[0].register_forward_hook(note)

    def loss(parameters):
        return functional_call(net, parameters, (torch.randn(16, 8),)).square().mean()

    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net, every=1, window=10) as watch:
        for _ in range(10):
            parameters = dict(net.named_parameters())
            for _ in range(2):
                gradients = torch.autograd.grad(loss(parameters), list(parameters.values()), create_graph=True)
                parameters = {k: v - 0.05 * g for (k, v), g in zip(parameters.items(), gradients, strict=True)}
            optimizer.zero_grad()
            loss(parameters).backward()
            optimizer.step()
    (site,) = watch.to_dict()["sites"]
    assert site["dead"] == [0, 1, 2]
    assert [round(rate * site["samples"]) for rate in site["firing_rate"]] == fired.tolist()
    assert {cause["kind"] for cause in site["cause"].values()} == {"born dead"}


def test_a_function_of_adapted_weights_distinguishes_its_layers():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ParameterList(torch.randn(8, 8) / 3 for _ in range(3))

        def forward(self, x, weights=None):
            for weight in self.weights if weights is None else weights:
                x = F.relu(F.linear(x, weight))
            return x

    net = Functional()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net, every=1) as watch:
        for _ in range(10):
            adapted = [weight - 0.01 * torch.randn(8, 8) for weight in net.weights]
            optimizer.zero_grad()
            (net(torch.randn(4, 8)).sum() + net(torch.randn(4, 8), adapted).sum()).backward()
            optimizer.step()
    sites = watch.to_dict()["sites"]
    assert [site["total_examples"] for site in sites] == [80, 80, 80]


@pytest.mark.parametrize("bias", [True, False])
def test_a_parametrized_layer_is_named(bias):
    net = nn.Sequential(nn.Linear(8, 12, bias=bias), nn.ReLU(), nn.Linear(12, 1))
    nn.utils.parametrizations.weight_norm(net[0])
    (site,) = watched(net).to_dict()["sites"]
    assert (site["layer"], site["producer"]) == ("0", "ParametrizedLinear 8→12")


def test_ten_thousand_modules_are_cheap_and_one_site():
    net = Counted(0)

    def temporary(x):
        return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8))(x)

    def call(x):
        for _ in range(500):
            temporary(x)
        return net.b(F.relu(net.a(x)))

    began = time.process_time()
    train(net, 20, call=call)
    bare = time.process_time() - began
    began = time.process_time()
    with relume.watch(net, every=1) as watch:
        train(net, 20, call=call)
    assert time.process_time() - began < 15 * bare + 5
    assert len(watch.to_dict()["sites"]) == 1


def test_temporary_networks_of_a_script_share_one_site(tmp_path):
    (tmp_path / "many.py").write_text(MANY)
    command = [sys.executable, "-m", "relume", "run", "--every", "1", "many.py"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    report = subprocess.run(
        [sys.executable, "-m", "relume", "report", "run.relume", "--json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    sites = json.loads(report.stdout)["sites"]
    assert [(site["model"], site["total_examples"]) for site in sites] == [("Sequential", 1200), ("Net", 160)]


MANY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)
    def forward(self, x):
        return self.b(nn.ReLU()(self.a(x)))

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for step in range(20):
    for _ in range(15):
        nn.Sequential(nn.Linear(4, 6), nn.ReLU())(torch.randn(4, 4))
    optimizer.zero_grad()
    net(torch.randn(8, 4)).mean().backward()
    optimizer.step()
"""


def test_an_exported_program_is_judged_under_the_names_of_what_was_exported():
    net = nn.Sequential(nn.Conv1d(1, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4), nn.ReLU6())
    with torch.no_grad():
        net[1].weight[2], net[1].bias[2] = 0, -1
        net[4].bias[0] = -40
    exported = torch.export.export(net, (torch.randn(16, 1, 8),)).module()
    with relume.watch(exported, every=1) as watch:
        train(exported, call=lambda x: exported(x.view(16, 1, 8)))
    report = watch.to_dict()
    assert [(site["module"], site["call"], site["dead"]) for site in report["sites"]] == [
        ("2", "nn.ReLU", [2]),
        ("5", "nn.ReLU6", [0]),
    ]
    assert report["not_observed"] == []


def test_copies_under_vmap_are_listed():
    parts = [nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1)) for _ in range(2)]
    parameters, buffers = stack_module_state(parts)
    base = copy.deepcopy(parts[0])
    optimizer = torch.optim.SGD(parameters.values(), lr=0.01)

    def one(parameters, buffers, x):
        return functional_call(base, (parameters, buffers), (x,))

    with relume.watch(base, every=1) as watch:
        for _ in range(3):
            vmap(one, (0, 0, None))(parameters, buffers, torch.randn(4, 8)).sum().backward()
            optimizer.step()
    report = watch.to_dict()
    assert report["sites"] == []
    assert [(row["what"], row["why"]) for row in report["not_observed"]] == [
        ("nn.ReLU", "it runs inside a torch.func transform")
    ]


# ---- names -------------------------------------------------------------------------------------------------------


def names(watch):
    return list(wording.names([judged.site for judged in watch.findings().sites]).values())


def test_a_member_of_a_sequential_is_named_with_its_root_and_its_layer():
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 1))
    assert names(watched(net)) == ["Sequential.1 · after Linear 8→12", "Sequential.3 · after BatchNorm1d 12"]


def test_calls_on_one_line_are_distinguished_by_their_layers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 1)

        def forward(self, x):
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    assert names(watched(Net())) == ["Net · after a (Linear 8→12)", "Net · after b (Linear 12→12)"]


def test_a_module_that_is_called_twice_is_named_with_the_paths_of_its_layers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.relu = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1), nn.ReLU()

        def forward(self, x):
            return self.c(self.relu(self.b(self.relu(self.a(x)))))

    assert names(watched(Net())) == ["relu · after a (Linear 8→8)", "relu · after b (Linear 8→8)"]


def test_a_notebook_cell_is_named_by_its_number():
    assert places.shown_path("<ipython-input-3-1a2b3c>") == "In [3]"
    assert places.shown_path("/tmp/ipykernel_123/456.py") == "456.py"
