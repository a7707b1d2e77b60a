"""``relume.prune``: a smaller model with the same outputs, or a refusal with the reason."""

from __future__ import annotations

import copy

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS, kill
from test_revive import Shared, bits, same, watched
from torch import nn

import relume
from relume.errors import CureError
from relume.torch.surgery import prune as pruning
from relume.torch.surgery.rest import Batch

IN_GROUPS = (networks.Grouped, networks.Groups)  # which are cut if as many units are dead in each group
PLANTED = {kind: paths for kind, (_, paths) in NETWORKS.items() if kind not in IN_GROUPS}
PLANTED[networks.MobileNet] = ("blocks.0.conv.1", "blocks.0.conv.4", "blocks.1.conv.4")


def planted(kind):
    torch.manual_seed(0)
    model, x = kind().eval(), NETWORKS[kind][0]()
    kill(model, PLANTED[kind])
    with torch.no_grad():  # running statistics and shifts as a training leaves them
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    return model, x


@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_dead_units_are_cut_and_the_outputs_stay(kind):
    model, x = planted(kind)
    findings, before = watched(model, x), bits(model)
    smaller, change = relume.prune(model, findings, x)

    assert same(before, bits(model))
    assert type(smaller) is kind
    assert change.holds
    assert sum(len(edit.units) for edit in change.changed) >= 2 * len(PLANTED[kind]) - 2 * (kind is networks.MobileNet)
    with torch.no_grad():
        old, new = model(x), smaller(x)
    assert float((old - new).abs().max()) <= 1e-5 * float(old.abs().max())
    assert torch.equal(old.argmax(1), new.argmax(1))
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, smaller)]
    assert sizes[1] < sizes[0]
    twin = copy.deepcopy(smaller)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
        twin.load_state_dict(smaller.state_dict())
        assert torch.equal(twin(x), new)
        exported = torch.export.export(smaller, (x,), strict=False).module()
        assert torch.allclose(exported(x), old, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Constant folding:UserWarning"
)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("dynamo", [False, True], ids=["by tracing", "by torch.export"])
@pytest.mark.parametrize("kind", [networks.VGG, networks.TransposedUNet, networks.GPT], ids=lambda kind: kind.__name__)
def test_a_smaller_model_is_exported_to_onnx_with_the_outputs_of_the_larger_one(kind, dynamo, tmp_path, capsys):
    onnx = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript" if dynamo else "onnx")
    model, x = planted(kind)
    smaller, _ = relume.prune(model, watched(model, x), x)
    with torch.no_grad():
        old = model(x)
    torch.onnx.export(smaller, (x,), tmp_path / "small.onnx", dynamo=dynamo)
    given = onnx.InferenceSession(tmp_path / "small.onnx")
    told = torch.from_numpy(given.run(None, {given.get_inputs()[0].name: x.numpy()})[0])
    assert torch.allclose(told, old, rtol=0, atol=1e-5)
    assert torch.equal(told.argmax(1), old.argmax(1))


def test_the_savings_of_a_prune_are_reported_before_and_after():
    model, x = planted(networks.VGG)
    smaller, change = relume.prune(model, watched(model, x), x)
    told = {check.claim: check.evidence for check in change.proof}
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, smaller)]
    assert f"{sizes[0]:,} → {sizes[1]:,}" in told["parameters"]
    flops = [pruning._flops(each, Batch.of(x)) for each in (model, smaller)]
    assert f"{flops[0]:,} → {flops[1]:,}" in told["FLOPs"]
    before, after = told["latency"].removesuffix(f" ms, median of {pruning.TIMED}").split(" → ")
    assert float(before) > 0 < float(after)
    assert told["top-1 is the same"] == "on a batch of 16 examples"


def test_a_smaller_model_is_trained():
    model, x = planted(networks.VGG)
    smaller, _ = relume.prune(model, watched(model, x), x)
    smaller.train()
    optimizer = torch.optim.SGD(smaller.parameters(), lr=0.01)
    smaller(x).square().mean().backward()
    optimizer.step()


def test_each_group_loses_the_same_number_of_units():
    torch.manual_seed(0)
    model, x = networks.Groups().eval(), networks.images()
    for path, units in (("stem", (1, 2, 4, 9)), ("bn1", (0, 5, 6, 11)), ("group2", (3, 7, 8))):
        kill(model, [path], units)
    smaller, change = relume.prune(model, watched(model, x), x)
    cut = {edit.place.rpartition(" after ")[2]: edit.units for edit in change.changed}
    assert cut == {"stem": (1, 4, 9), "bn1": (0, 5, 9), "group2": (1, 3, 4, 7, 8, 9)}
    assert {edit.units for edit in change.left if "would differ in size" in edit.what} >= {(2,), (6, 11)}
    with torch.no_grad():
        assert torch.allclose(smaller(x), model(x), rtol=0, atol=1e-6)
    layers = (smaller.group1, smaller.depth, smaller.group2)
    sizes = [(layer.in_channels, layer.out_channels, layer.groups) for layer in layers]
    assert sizes == [(9, 9, 3), (9, 18, 9), (18, 6, 3)]


def test_a_channel_of_a_shared_layer_is_cut_once():
    model, x = planted(networks.Siamese)
    smaller, _ = relume.prune(model, watched(model, x), x)
    assert (smaller.conv.out_channels, smaller.norm.num_features, smaller.fc1.in_features) == (6, 6, 6)


class Expanding(nn.Module):
    """A depthwise convolution turns the silence of a unit into a constant."""

    def __init__(self, kernel=1, padding=0):
        super().__init__()
        self.expand, self.depth = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.bn, self.project = nn.BatchNorm2d(8), nn.Conv2d(8, 4, kernel, padding=padding, bias=False)

    def forward(self, x):
        return self.project(F.relu6(self.bn(self.depth(F.relu6(self.expand(x))))))


def test_a_constant_is_folded_into_the_next_bias():
    torch.manual_seed(0)
    model, x = Expanding().eval(), networks.images()
    kill(model, ["expand"])
    with torch.no_grad():
        model.bn.bias.fill_(1.0)
        model.depth.bias.fill_(1.0)
    smaller, change = relume.prune(model, watched(model, x), x)
    assert smaller.project.bias is not None
    assert smaller.depth.groups == 6
    assert change.holds
    with torch.no_grad():
        assert torch.allclose(smaller(x), model(x), atol=1e-5)


def test_a_constant_that_padding_would_break_is_refused():
    torch.manual_seed(0)
    model, x = Expanding(3, 1).eval(), networks.images()
    kill(model, ["expand"])
    with torch.no_grad():
        model.bn.bias.fill_(1.0)
    before = bits(model)
    with pytest.raises(CureError, match="a constant other than 0, and project pads with 0"):
        relume.prune(model, watched(model, x), x)
    assert same(before, bits(model))


def test_a_channel_that_is_dead_in_all_of_a_residual_trunk_is_cut_out_of_all_of_it():
    model, x = planted(networks.ResNet)
    kill(model, ["bn1", "layer1.bn2"], (2, 5))
    smaller, change = relume.prune(model, watched(model, x), x)
    with torch.no_grad():
        assert torch.allclose(smaller(x), model(x), rtol=0, atol=1e-5)
    assert change.left == ()
    assert (smaller.conv1.out_channels, smaller.bn1.num_features, smaller.layer1.conv1.in_channels) == (6, 6, 6)
    assert (smaller.layer1.conv2.out_channels, smaller.layer1.bn2.num_features) == (6, 6)
    assert (smaller.layer2.conv1.in_channels, smaller.layer2.down[0].in_channels) == (6, 6)


def test_a_constant_channel_of_a_linear_trunk_is_folded_once():
    torch.manual_seed(0)
    model, x = networks.MobileNet().eval(), networks.images()
    kill(model, ["stem.1"], (2, 5))
    with torch.no_grad():
        project = model.blocks[0].conv[7]
        project.weight[[2, 5]], project.bias[[2, 5]] = 0.0, torch.tensor([0.7, -0.3])
    smaller, change = relume.prune(model, watched(model, x), x)
    with torch.no_grad():
        assert torch.allclose(smaller(x), model(x), rtol=0, atol=1e-5)
    assert (2, 5) in [edit.units for edit in change.changed]
    assert smaller.blocks[0].conv[6].out_channels == smaller.blocks[1].conv[0].in_channels == 6
    assert smaller.blocks[1].conv[0].bias is not None


def refused_residual():
    model = networks.ResNet().eval()
    with torch.no_grad():
        model.bn1.bias[:2] = -100
    return model, networks.images(), "add at layer1 reads it"


def refused_groups():
    model = networks.Grouped()
    kill(model, ["conv1"], (1, 4))  # both in the first group
    return model, torch.randn(32, 4, 20), "groups of the convolution would differ in size"


def refused_whole():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    kill(model, ["0"], range(5))
    return model, torch.randn(32, 6), "a layer needs at least one"


class Hard(nn.Module):
    """A size is written into its forward."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 256, 3)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).view(-1, 8 * 256))


class Rising(nn.Module):
    """A unit that is constant after a shift is read by a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.up = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 3, stride=2)

    def forward(self, x):
        return self.up(self.norm(F.relu(self.conv(x))))


def refused_constant():
    model = Rising().eval()
    kill(model, ["conv"])
    with torch.no_grad():
        model.norm.bias.fill_(1.0)
    return model, networks.images(), "a constant other than 0"


def refused_shared():
    model = Shared()
    kill(model, ["first", "twice"])
    return model, torch.randn(32, 6), "shared with another layer or call"


def refused_view():
    model = Hard()
    kill(model, ["conv"])
    return model, networks.images(), r"does not run.*x\.flatten\(1\)"


@pytest.mark.parametrize(
    "make", [refused_residual, refused_groups, refused_whole, refused_constant, refused_shared, refused_view]
)
def test_units_that_cannot_be_cut_are_refused_and_the_model_does_not_change(make):
    torch.manual_seed(0)
    model, x, match = make()
    findings, before = watched(model, x), bits(model)
    with pytest.raises(CureError, match=match):
        relume.prune(model, findings, x)
    assert same(before, bits(model))


def test_a_unit_that_lives_again_is_not_cut():
    torch.manual_seed(0)
    model, x = networks.MLP().eval(), torch.randn(64, 10)
    kill(model, ["fc1"])
    findings = watched(model, x)
    with torch.no_grad():
        model.fc1.bias[1] = 0.1
    smaller, change = relume.prune(model, findings, x)
    assert smaller.fc1.out_features == 31
    assert "is not constant on the batch" in change.left[0].what


def test_findings_without_dead_units_give_the_model_as_it_is():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(256, 6)
    smaller, change = relume.prune(model, watched(model, x), x)
    assert change.changed == ()
    assert torch.equal(smaller(x), model(x))


def test_a_prune_that_cuts_the_wrong_units_is_caught_by_its_proof(monkeypatch):
    model, x = planted(networks.MLP)
    findings = watched(model, x)
    narrow = pruning._narrow
    monkeypatch.setattr(
        pruning, "_narrow", lambda module, rows, columns: narrow(module, {r - 1 for r in rows}, columns)
    )
    with pytest.raises(CureError, match="FAILS  outputs stay"):
        relume.prune(model, findings, x)


def audited_vgg(tmp_path):
    """A VGG with channels that its weights alone show to be dead, and the audit of its checkpoint."""
    torch.manual_seed(0)
    model = networks.VGG().eval()
    with torch.no_grad():
        for path, units in (
            ("features.1", [1, 3]),
            ("features.5", [2, 5, 6]),
            ("classifier.0", [4]),
            ("classifier.3", [0]),
        ):
            model.get_submodule(path).weight[units] = 0
            model.get_submodule(path).bias[units] = -0.2
    torch.save(model.state_dict(), tmp_path / "vgg.pt")
    return model, relume.audit(tmp_path / "vgg.pt")


def test_a_vgg_is_pruned_by_the_audit_of_its_checkpoint(tmp_path):
    model, findings = audited_vgg(tmp_path)
    assert findings.sites[-1].dead == (0,)  # of the output, which no activation follows: it stays
    x = networks.images()
    smaller, change = relume.prune(model, findings, x)
    assert [edit.units for edit in change.changed] == [(1, 3), (2, 5, 6), (4,)]
    with torch.no_grad():
        assert torch.allclose(smaller(x), model(x), rtol=0, atol=1e-6)
        assert torch.equal(smaller(x).argmax(1), model(x).argmax(1))
    work = [pruning._flops(each, Batch.of(x)) for each in (model, smaller)]
    assert work[1] < 0.8 * work[0]


def test_an_audit_of_another_model_is_refused(tmp_path):
    _, findings = audited_vgg(tmp_path)
    other, x = networks.ResNet().eval(), networks.images()
    before = bits(other)
    with pytest.raises(CureError, match=r"vgg.pt has a layer features.1 with 8 units, but ResNet has no"):
        relume.prune(other, findings, x)
    assert same(before, bits(other))
