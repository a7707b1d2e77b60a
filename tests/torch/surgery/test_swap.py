"""``relume.swap``: only the named activations change, and everything around them stays."""

from __future__ import annotations

import copy
import inspect
import pickle

import networks
import pytest
import torch
import torch.nn.functional as F
from models import Child, Dropping, Mixed
from test_revive import bits, same
from torch import nn

import relume
from relume.errors import CureError, ParameterError, UnknownName
from relume.torch.surgery.swap import _Swap


def line(kind, text):
    lines, first = inspect.getsourcelines(kind)
    return first + next(n for n, each in enumerate(lines) if text in each)


def mixed(kind=Mixed):
    torch.manual_seed(0)
    return kind(), torch.randn(32, 6)


def test_every_relu_is_swapped_and_the_rest_stays():
    model, x = mixed()
    with torch.no_grad():
        h = F.leaky_relu(model.second(F.leaky_relu(model.first(x), 0.3)), 0.3)
        expected = model.third(torch.sigmoid(h) + h.tanh())
    names = list(model.state_dict())
    change = relume.swap(model, "relu", "leaky_relu", negative_slope=0.3, batch=x)
    assert torch.equal(model(x), expected)
    assert len(change.changed) == 2
    assert [edit.what for edit in change.left] == ["sigmoid: not asked for", "tanh: not asked for"]
    assert change.holds
    assert "outputs: moved by" in str(change)
    assert list(model.state_dict()) == names
    assert model.act.inplace


def test_a_module_a_line_and_a_part_can_be_named():
    model, x = mixed()
    relume.swap(model, "act", "elu")
    assert isinstance(model.act, nn.ELU)
    spot = f"models.py:{line(Mixed, 'F.relu(self.second')}"
    relume.swap(model, spot, "gelu", batch=x)
    with torch.no_grad():
        h = F.gelu(model.second(F.elu(model.first(x))))
        assert torch.equal(model(x), model.third(torch.sigmoid(h) + h.tanh()))
    vgg = networks.VGG().eval()
    change = relume.swap(vgg, "classifier", "silu", batch=networks.images())
    assert [edit.place for edit in change.changed] == ["classifier.1"]


def test_calls_of_several_methods_and_of_a_parent_are_swapped():
    model, x = mixed(Child)
    relume.swap(model, ["tanh", "sigmoid"], "relu", batch=x)
    with torch.no_grad():
        h = F.relu(model.second(F.relu(model.first(F.relu(x)))))
        assert torch.equal(model(x), model.third(F.relu(h) + F.relu(h)))


def test_another_instance_of_the_class_is_not_touched():
    model, x = mixed()
    other, before = copy.deepcopy(model), Mixed.forward
    expected = other(x)
    relume.swap(model, "relu", "elu")
    assert torch.equal(other(x), expected)
    assert Mixed.forward is before


def test_a_swapped_model_is_copied_pickled_exported_and_compiled():
    model, x = mixed()
    relume.swap(model, "relu", "prelu", batch=x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
        expected = model(x)
        assert torch.equal(copy.deepcopy(model)(x), expected)
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
        exported = torch.export.export(model, (x,), strict=False).module()
        assert torch.equal(exported(x), expected)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.first.weight.zero_()
        assert torch.equal(twin(x), expected)
    fresh, _ = mixed()
    relume.swap(fresh, "relu", "prelu")
    fresh.load_state_dict(twin.state_dict())
    assert torch.equal(fresh(x), expected)


def test_hooks_mode_dtype_and_sharing_stay():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared).double().eval()
    seen = []
    shared.register_forward_hook(lambda module, args, out: seen.append(type(module)))
    relume.swap(model, "relu", "prelu", batch=torch.randn(8, 4, dtype=torch.float64))
    assert model[1] is model[3]
    assert model[1].weight.dtype == torch.float64
    assert not model[1].training
    seen.clear()
    model(torch.randn(2, 4, dtype=torch.float64))
    assert seen == [nn.PReLU, nn.PReLU]


def test_only_one_of_two_paths_to_a_shared_module_is_swapped():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    relume.swap(model, "3", "elu")
    assert isinstance(model[3], nn.ELU)
    assert model[1] is shared


def test_slopes_join_the_optimizer_without_weight_decay_and_leave_it_again():
    model, x = mixed()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    change = relume.swap(model, "relu", "prelu", optimizer=optimizer, batch=x)
    slopes = [p for name, p in model.named_parameters() if "act" in name or "swapped" in name]
    added = [(group["lr"], group["weight_decay"], p) for group in optimizer.param_groups[1:] for p in group["params"]]
    assert [(lr, decay) for lr, decay, _ in added] == [(3e-3, 0.0)] * 2
    assert {id(p) for *_, p in added} == {id(p) for p in slopes}
    assert "in the optimizer" in str(change)
    model(x).sum().backward()
    optimizer.step()
    assert all(p in optimizer.state for p in slopes)
    relume.swap(model, "act", "relu", optimizer=optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(slopes[0]) not in held or id(slopes[1]) not in held


def test_an_encoder_layer_takes_another_activation():
    torch.manual_seed(0)
    layer, x = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval(), torch.randn(2, 5, 8)
    twin = copy.deepcopy(layer)
    twin.activation, twin.activation_relu_or_gelu = F.silu, 0
    relume.swap(layer, "activation", "silu", batch=x)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), twin(x))


def test_the_init_gain_is_mended():
    model, x = mixed()
    before = model.first.weight.detach().clone()
    change = relume.swap(model, "relu", "leaky_relu", negative_slope=1.0, reinit=True, batch=x)
    assert torch.allclose(model.first.weight, before / 2**0.5)
    assert sum("ratio of the init gains" in edit.what for edit in change.changed) == 2


# ---- refused, and rolled back ----------------------------------------------------------------------------------------


REFUSED = {
    "nothing there": (("gelu", "elu", {}), CureError, "nothing to swap at 'gelu'.*relu at act"),
    "no such activation": (("relu", "rellu", {}), UnknownName, "Did you mean 'relu'"),
    "a bad parameter": (("relu", "leaky_relu", {"negative_slope": float("nan")}), ParameterError, "negative_slope"),
    "an unknown parameter": (("relu", "elu", {"slope": 1.0}), CureError, "does not accept"),
    "no batch": (("relu", "elu", {"reinit": True}), CureError, "needs a batch"),
    "softmax": (("relu", "softmax", {}), CureError, "cannot replace an activation"),
    "a batch that does not fit": (("relu", "elu", {"batch": torch.randn(4, 5)}), CureError, "fails on the batch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_and_the_model_does_not_change(case):
    (where, to, options), error, match = REFUSED[case]
    model, _ = mixed()
    before, modules = bits(model), list(model.named_modules())
    with pytest.raises(error, match=match):
        relume.swap(model, where, to, **options)
    assert same(before, bits(model))
    assert modules == list(model.named_modules())
    assert "forward" not in vars(model)


def test_a_result_that_is_dropped_needs_an_activation_in_place():
    model, x = mixed(Dropping)
    with pytest.raises(CureError, match="its result is not used"):
        relume.swap(model, "relu", "gelu", batch=x)
    relume.swap(model, "relu", "elu", batch=x)
    with torch.no_grad():
        assert torch.equal(model(x), model.last(F.elu(model.first(x))))


def test_a_swap_that_does_nothing_is_caught_and_rolled_back(monkeypatch):
    model, x = mixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before, modules = bits(model, optimizer), list(model.named_modules())
    monkeypatch.setattr(_Swap, "_place", lambda self, spot, new: None)
    with pytest.raises(CureError, match="not applied at act"):
        relume.swap(model, "relu", "prelu", optimizer=optimizer, batch=x)
    assert same(before, bits(model, optimizer))
    assert modules == list(model.named_modules())


def test_a_place_to_which_the_batch_does_not_come_is_rolled_back():
    class Skipping(Mixed):
        def forward(self, x):
            return self.third(self.second(self.first(x)))

    model, x = mixed(Skipping)
    before, modules = bits(model), list(model.named_modules())
    with pytest.raises(CureError, match="not applied at act"):
        relume.swap(model, "act", "elu", batch=x)
    assert same(before, bits(model))
    assert modules == list(model.named_modules())
