"""``relume.revive``: dead units fire again, the outputs stay, and what cannot be done leaves the model as it was."""

from __future__ import annotations

import copy

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS, kill
from torch import nn

import relume
from relume.errors import CureError
from relume.torch.surgery.rewrite import Rewrite


def watched(model, x, passes=4):
    """The findings of some forward passes in the model's own mode."""
    with relume.watch(model, phase="all", every=1) as w:  # with gradients: without, a transformer hides its layers
        for _ in range(passes):
            model(x)
    return w.findings()


def bits(model, optimizer=None):
    """Everything that a refused cure must leave as it was."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    kept = copy.deepcopy(optimizer.state_dict()) if optimizer is not None else None
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    return state, modes, repr(kept), hooks, torch.get_rng_state()


def same(one, other):
    return (
        all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(one[0].values(), other[0].values(), strict=True))
        and one[1:4] == other[1:4]
        and torch.equal(one[4], other[4])
    )


def planted(kind, train):
    torch.manual_seed(11)
    batch, paths = NETWORKS[kind]
    model = kind().train(train)
    kill(model, paths)
    return model, batch(), paths


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.__name__)
def test_dead_units_of_real_networks_fire_again_and_the_outputs_stay(kind, train):
    model, x, paths = planted(kind, train)
    findings = watched(model, x)
    twin = copy.deepcopy(model).eval()
    before, stream = bits(model), torch.get_rng_state()

    change = relume.revive(model, findings, x)

    revived = {(edit.place.rpartition(" after ")[2], unit) for edit in change.changed for unit in edit.units}
    assert {(path, unit) for path in paths for unit in (1, 4)} <= revived
    assert change.holds
    assert all("it fires on the batch in eval mode" in edit.what for edit in change.left)
    assert torch.equal(stream, torch.get_rng_state())
    assert before[1] == [module.training for module in model.modules()]
    with torch.no_grad():
        old, new = twin(x), copy.deepcopy(model).eval()(x)
    assert float((old - new).abs().max()) <= 1e-6 * float(old.abs().max())
    dead = {(each.site.layer, unit) for each in watched(model, x).sites for unit in each.dead}
    assert not {(path, unit) for path in paths for unit in (1, 4)} & dead


@pytest.mark.parametrize("kind", [networks.MLP, networks.ResNet], ids=lambda kind: kind.__name__)
def test_revived_units_learn_and_live_on(kind):
    model, x, _ = planted(kind, True)
    target = torch.randint(3, (len(x),))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    change = relume.revive(model, watched(model, x), x, optimizer=optimizer)
    units = sum(len(edit.units) for edit in change.changed)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()
    dead = sum(len(each.dead) for each in watched(model, x).sites)
    assert dead <= 0.05 * units


def small():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    kill(model, ["0"], (2, 9))
    return model, torch.randn(64, 6)


def make(name, parameters):
    kinds = {
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=1e-4, amsgrad=True),
        "adamw, foreach": lambda p: torch.optim.AdamW(p, lr=1e-4, foreach=True),
        "adam, fused": lambda p: torch.optim.Adam(p, lr=1e-4, fused=True),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-4, momentum=0.9, centered=True),
        "lion": lambda p: Lion(p, lr=1e-4),
    }
    return kinds[name](parameters)


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023: the sign of an interpolated momentum."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.sub_(group["lr"] * average.lerp(p.grad, 0.1).sign())
                average.lerp_(p.grad, 0.01)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw, foreach", "adam, fused", "rmsprop", "lion"])
def test_the_optimizer_forgets_exactly_the_revived_slices(name):
    model, x = small()
    with torch.no_grad():
        model[0].bias[[2, 9]] = 0.0
    optimizer = make(name, model.parameters())
    for _ in range(3):  # while all units live, so that each slice has a state
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    kill(model, ["0"], (2, 9))
    before = copy.deepcopy(optimizer.state_dict()["state"])

    relume.revive(model, watched(model, x), x, optimizer=optimizer)

    slices = {0: (slice(None), [2, 9], 0), 1: (slice(None), [2, 9], 0), 2: (slice(None), [2, 9], 1), 3: (None, [], 0)}
    for number, parameter in enumerate(model.parameters()):
        for key, state in optimizer.state[parameter].items():
            if not isinstance(state, torch.Tensor) or state.ndim == 0:
                assert state == before[number][key]
                continue
            axis, chosen = slices[number][2], slices[number][1]
            expected = before[number][key].clone()
            assert expected.any()
            expected.index_fill_(axis, torch.tensor(chosen, dtype=torch.long), 0.0)
            assert torch.equal(state, expected), (number, key)


def test_a_watched_training_does_not_count_the_proof():
    model, x = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relume.watch(model, budget=1.0) as w:
        for _ in range(6):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        before = w.to_dict()
        relume.revive(model, w, x, optimizer=optimizer)
        after = w.to_dict()
    assert [site["total_examples"] for site in after["sites"]] == [site["total_examples"] for site in before["sites"]]
    assert after["run"]["steps"] == before["run"]["steps"]


def test_findings_from_a_file_are_accepted(tmp_path):
    model, x = small()
    with relume.watch(model, phase="all", every=1) as w, torch.no_grad():
        for _ in range(4):
            model(x)
    w.save(tmp_path / "run.relume")
    assert relume.revive(model, tmp_path / "run.relume", x).changed[0].units == (2, 9)


def test_a_model_without_dead_units_does_not_change():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(256, 6)
    before = bits(model)
    change = relume.revive(model, watched(model, x), x)
    assert (change.changed, change.left) == ((), ())
    assert same(before, bits(model))


# ---- refused -------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """The unit goes into a sum, where no weight could be set to 0."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(h + self.second(h))


class Shared(nn.Module):
    """One layer, applied twice."""

    def __init__(self):
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))


class Tied(nn.Module):
    """A decoder with the encoder's weight."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Normed(nn.Module):
    """LayerNorm reads all units together."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.norm(torch.relu(self.first(x))))


class Peeking(nn.Module):
    """The pre-activation is an output too."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        z = self.first(x)
        return self.last(torch.relu(z)), z


class Overwriting(nn.Module):
    """ReLU in place, without its result: what is read later is the activation."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        z = self.first(x)
        F.relu_(z)
        return self.last(z) + self.last.bias * z.sum()


class BatchDependent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(x) if float(x.detach().sum()) > 0 else self.last(x) * 2


CANNOT = {
    Residual: "add reads it",
    Shared: "shared with another layer or call",
    Tied: "shared",
    Normed: "layer_norm at norm reads it",
    Peeking: "the model's output reads it",
    Overwriting: "sum reads it|writes into a view",
    BatchDependent: "cannot be traced by torch.export",
}


@pytest.mark.parametrize("kind", CANNOT, ids=lambda kind: kind.__name__)
def test_units_that_cannot_be_revived_are_refused_with_the_reason_and_not_changed(kind):
    torch.manual_seed(0)
    model = kind()
    kill(model, ["twice" if kind is Shared else "first"])
    x = torch.randn(64, 8 if kind is Tied else 6)
    findings = watched(model, x)
    assert any(each.dead for each in findings.sites)
    before = bits(model)
    with pytest.raises(CureError, match=CANNOT[kind]):
        relume.revive(model, findings, x)
    assert same(before, bits(model))


def wrong_model(model, x):
    return nn.Sequential(nn.Linear(6, 15), nn.ReLU(), nn.Linear(15, 3)), x, {}


def wrong_class(model, x):
    return networks.MLP(), torch.randn(8, 10), {}


def batch_of_another_shape(model, x):
    return model, torch.randn(64, 7), {}


def wrong_optimizer(model, x):
    return model, x, {"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)}


def factored_optimizer(model, x):
    optimizer = torch.optim.Adafactor(model.parameters())
    model(x).sum().backward()
    optimizer.step()
    kill(model, ["0"], (2, 9))
    return model, x, {"optimizer": optimizer}


def on_meta(model, x):
    return model.to("meta"), x, {}


def compiled(model, x):
    return torch.compile(model), x, {}


def scripted(model, x):
    return torch.jit.trace(model, x), x, {}


def integers(model, x):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}), x, {}


def not_finite(model, x):
    with torch.no_grad():
        model[2].bias[0] = float("nan")
    return model, x, {}


BAD = {
    wrong_model: "which the model does not apply",
    wrong_class: "The findings are of Sequential",
    batch_of_another_shape: "fails on the batch",
    wrong_optimizer: "does not hold",
    factored_optimizer: "keeps 'row_var' for whole rows",
    on_meta: "on the meta device",
    compiled: "torch.compile",
    scripted: "is scripted",
    integers: "is quantized",
    not_finite: "not finite",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_bad_input_is_refused_and_the_model_does_not_change(spoil):
    model, x = small()
    findings = watched(model, x)
    given, batch, options = spoil(model, x)
    before = bits(given, options.get("optimizer")) if spoil not in (on_meta, integers) else None
    with pytest.raises(CureError, match=BAD[spoil]):
        relume.revive(given, findings, batch, **options)
    assert before is None or same(before, bits(given, options.get("optimizer")))


def test_a_unit_that_fires_on_the_batch_is_not_revived():
    model, x = small()
    findings = watched(model, x)
    with torch.no_grad():
        model[0].bias[9] = 0.0
    change = relume.revive(model, findings, x)
    assert change.changed[0].units == (2,)
    assert change.left[0].units == (9,)
    assert "fires on the batch" in change.left[0].what


def test_a_unit_that_fires_in_the_other_mode_is_not_revived():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(64, 6)
    kill(model, ["1"])
    with torch.no_grad():
        model(x)
        model[1].running_var[1] = 0.0  # as it may be after a training: in evaluation the unit is not silent
    findings = watched(model, x, passes=1)
    with torch.no_grad():
        model[1].running_var[1] = 0.0
    change = relume.revive(model, findings, x)
    assert 1 in change.left[0].units
    assert "in eval mode" in change.left[0].what
    assert 4 in change.changed[0].units


class Twice(nn.Module):
    """One layer, applied at two lines to two inputs: a unit of it may be silent at one of them only."""

    def __init__(self):
        super().__init__()
        self.shared, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        one = torch.relu(self.shared(x))
        two = torch.relu(self.shared(x - 50))
        return self.last(one) + self.last(two)


def test_a_unit_of_a_shared_layer_is_dead_if_it_is_silent_at_each_call():
    torch.manual_seed(0)
    model, x = Twice(), torch.randn(64, 6)
    with torch.no_grad():
        model.shared.weight[2] = model.shared.weight[2].abs()  # at the second call it is silent
    kill(model, ["shared"])
    findings = watched(model, x)
    assert any(2 in each.dead for each in findings.sites)
    change = relume.revive(model, findings, x)
    assert [edit.units for edit in change.changed] == [(1, 4)]
    assert change.left == ()


def test_two_layers_in_a_row_of_which_every_unit_is_dead_are_revived():
    torch.manual_seed(0)
    layers = (nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    model, x = nn.Sequential(*layers), torch.randn(64, 6)
    kill(model, ["0"], range(5))
    kill(model, ["2"], range(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    change = relume.revive(model, watched(model, x), x, optimizer=optimizer)
    assert [len(edit.units) for edit in change.changed] == [5, 4]
    before = model[0].weight.clone()
    for _ in range(2):  # the first step reaches the last layer only
        optimizer.zero_grad()
        F.mse_loss(model(x), torch.ones(64, 2)).backward()
        optimizer.step()
    assert not torch.equal(before, model[0].weight)


def test_a_layer_of_which_every_unit_is_dead_is_revived_whole():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(64, 6)
    kill(model, ["0"], range(5))
    assert relume.revive(model, watched(model, x), x).changed[0].units == (0, 1, 2, 3, 4)


# ---- the proof catches what only looks like a cure -----------------------------------------------------------------


def test_a_cure_that_writes_into_a_copy_is_caught_by_its_proof(monkeypatch):
    model, x = small()
    findings = watched(model, x)
    before = bits(model)
    put = Rewrite._put
    monkeypatch.setattr(Rewrite, "_put", lambda self, tensor, index, value: put(self, tensor.clone(), index, value))
    with pytest.raises(CureError, match="fires on all samples or none"):
        relume.revive(model, findings, x)
    assert same(before, bits(model))


def test_a_cure_that_leaves_the_outgoing_weights_is_caught_and_rolled_back(monkeypatch):
    model, x = small()
    findings = watched(model, x)
    before = bits(model)
    put = Rewrite._put

    def careless(self, tensor, index, value):
        if tensor is not model[2].weight:
            put(self, tensor, index, value)

    monkeypatch.setattr(Rewrite, "_put", careless)
    with pytest.raises(CureError, match=r"outputs moved by .* rolled back"):
        relume.revive(model, findings, x)
    assert same(before, bits(model))
