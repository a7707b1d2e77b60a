"""A step of each verb is broken at one point so that it cures nothing: its own proof refuses it and rolls it back."""

from __future__ import annotations

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import kill
from test_prune import Expanding
from test_revive import bits, same, small, watched
from torch import nn

import relume
from relume.errors import CureError
from relume.torch.surgery import prune as pruning
from relume.torch.surgery.prune import _Cuts
from relume.torch.surgery.revive import Revival
from relume.torch.surgery.rewrite import Rewrite
from relume.torch.surgery.swap import _Swap


def nothing(*args, **kwargs):
    """In place of the step that does the work."""


def only_weights(self, tensor, index, value, put=Rewrite._put):
    """Leaves the optimizer's state as it is."""
    if isinstance(tensor, nn.Parameter):
        put(self, tensor, index, value)


@pytest.mark.parametrize(
    ("step", "broken", "match"),
    [
        ((Revival, "_rewrite"), nothing, "fires on all samples or none"),
        ((Revival, "_settle"), nothing, "fires on all samples or none"),
        ((Rewrite, "_put"), only_weights, "still has moments"),
    ],
    ids=["it changes nothing", "it sets no bias", "the optimizer remembers"],
)
def test_a_revival_that_does_nothing_is_refused(monkeypatch, step, broken, match):
    model, x = small()
    with torch.no_grad():
        model[0].bias[[2, 9]] = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    model(x).square().sum().backward()
    optimizer.step()
    x = x + 100 * (step[1] == "_settle")  # of another mean than the layer's own initialization is made for
    model[0].weight.data.abs_()
    kill(model, ["0"], (2, 9))
    model[0].bias.data[[2, 9]] = -1e5
    findings, before = watched(model, x), bits(model, optimizer)
    monkeypatch.setattr(*step, broken)
    with pytest.raises(CureError, match=match):
        relume.revive(model, findings, x, optimizer=optimizer)
    assert same(before, bits(model, optimizer))


@pytest.mark.parametrize("step", ["_place", "_enlist"])
def test_a_swap_that_replaces_nothing_or_forgets_the_optimizer_is_refused(monkeypatch, step):
    model, x = small()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    before, parts = bits(model, optimizer), list(map(id, model.modules()))
    monkeypatch.setattr(_Swap, step, nothing)
    with pytest.raises(CureError, match="The swap was rolled back"):
        relume.swap(model, "relu", "prelu", optimizer=optimizer, batch=x)
    assert same(before, bits(model, optimizer))
    assert parts == list(map(id, model.modules()))


def zero(module, rows, columns):
    """Sets to 0 what was to be cut."""
    with torch.no_grad():
        module.weight[list(rows)] = 0
        if module.bias is not None:
            module.bias[list(rows)] = 0


def twice(self, gate, units, fold=_Cuts._fold):
    """Adds the constants two times."""
    fold(self, gate, units)
    fold(self, gate, units)


@pytest.mark.parametrize(
    ("step", "broken", "match"),
    [
        ((pruning, "_narrow"), nothing, "FAILS  parameters"),
        ((pruning, "_narrow"), zero, "FAILS  parameters"),
        ((_Cuts, "_fold"), nothing, "FAILS  outputs stay"),
        ((_Cuts, "_fold"), twice, "FAILS  outputs stay"),
    ],
    ids=["it cuts nothing", "it sets to zero", "it leaves the constants out", "it adds them twice"],
)
def test_a_prune_that_does_nothing_or_folds_wrongly_is_refused(monkeypatch, step, broken, match):
    torch.manual_seed(0)
    model, x = Expanding().eval(), networks.images()
    kill(model, ["expand"])
    with torch.no_grad():
        model.bn.bias.fill_(1.0)
    findings, before = watched(model, x), bits(model)
    monkeypatch.setattr(*step, broken)
    with pytest.raises(CureError, match=match):
        relume.prune(model, findings, x)
    assert same(before, bits(model))


def test_a_reviver_that_never_resets_counts_nothing_as_revived(monkeypatch):
    model, x = small()
    kill(model, ["0"], (2, 9))
    monkeypatch.setattr(Revival, "_rewrite", nothing)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with relume.Reviver(model, optimizer=optimizer, every=5) as reviver:
        for _ in range(40):
            optimizer.zero_grad()
            F.mse_loss(model(x), x[:, :3]).backward()
            optimizer.step()
    assert reviver.revived == 0
    assert "No unit could be revived" in repr(reviver)
    assert bool((model[1](model[0](x))[:, [2, 9]] == 0).all())
