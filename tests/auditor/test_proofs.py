"""What weights alone prove: against the network itself, on inputs of every size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relume


def saved(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "model.pt")
    return relume.audit(tmp_path / "model.pt")


def fired(layers, shape):
    """Which units fire on any of many wild batches, in training."""
    draw = torch.Generator().manual_seed(0)
    seen = torch.zeros(layers[-1].num_features, dtype=torch.bool)
    for scale in (1e-6, 1.0, 1e6):
        batch = torch.randn(shape, generator=draw) * scale
        batch[0] *= 1e4  # one far out among many near each other: the furthest that a normalized value can be
        seen |= (layers.train()(batch) > 0).transpose(0, 1).flatten(1).any(1)
    return seen


def test_channels_that_a_batch_norm_shuts_fire_on_no_input(tmp_path):
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    with torch.no_grad():
        layers[1].weight.copy_(torch.tensor([0.0, 0.0, 1e-9, 1e-3, 1.0, -1e-9, 1e-9, 0.0]))
        layers[1].bias.copy_(torch.tensor([-1.0, 0.0, -1.0, -1.0, 0.0, -1.0, 1e-9, 0.5]))
    findings = saved(layers, tmp_path)
    (site,) = findings.sites
    assert site.dead == (0, 1, 2, 5)
    assert not fired(layers, (64, 3, 8, 8))[list(site.dead)].any()
    assert {f.slug for f in findings.findings} == {"shut_unit"}


def test_the_bound_is_set_by_the_furthest_value_of_a_batch(tmp_path):
    """One value apart from n − 1 equal ones is √(n − 1) standard deviations from the mean: the bound is reached."""
    norm = nn.BatchNorm1d(1, eps=1e-12)
    n = 4096
    with torch.no_grad():
        norm.bias.fill_(-63.9)  # √4095 = 63.99
    values = torch.zeros(n, 1)
    values[0] = 1.0
    assert (norm.train()(values) > 0).any()
    assert saved(nn.Sequential(nn.Linear(4, 1, bias=False), norm), tmp_path).sites[0].dead == ()


def test_rows_of_zeros_are_dead_if_their_bias_does_not_lift_them(tmp_path):
    model = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[[1, 2, 3]] = 0
        model[0].bias[[1, 2, 3]] = torch.tensor([-0.5, 0.0, 0.5])
    findings = saved(model, tmp_path)
    assert findings.sites[0].dead == (1, 2)
    assert [f.slug for f in findings.findings] == ["zero_unit"]
    inputs = torch.randn(1000, 10) * 1e6
    assert not (model[0](inputs) > 0)[:, [1, 2]].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_smallest_number_of_a_dtype_is_not_zero(tmp_path, dtype):
    model = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 2)).to(dtype)
    with torch.no_grad():
        model[0].weight[[1, 2]] = 0
        model[0].bias[[1, 2]] = -1
        model[0].weight[2, 4] = torch.finfo(dtype).smallest_normal
    assert saved(model, tmp_path).sites[0].dead == (1,)


def test_the_bias_shows_the_unit_axis_of_filters_and_transposed_filters(tmp_path):
    model = nn.Sequential(
        nn.Conv1d(3, 7, 5), nn.ReLU(), nn.ConvTranspose1d(7, 5, 3), nn.ReLU(), nn.Conv1d(5, 5, 3, groups=5)
    )
    with torch.no_grad():
        for layer, unit in ((model[0], 6), (model[4], 2)):
            layer.weight[unit], layer.bias[unit] = 0, -1
        model[2].weight[:, 4], model[2].bias[4] = 0, -1
    assert [site.dead for site in saved(model, tmp_path).sites] == [(6,), (4,), (2,)]
    assert [site.site.units for site in saved(model, tmp_path).sites] == [7, 5, 5]


def test_a_branch_that_starts_at_zero_is_not_judged(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[3].weight)
    nn.init.zeros_(model[3].bias)
    findings = saved(model, tmp_path)
    assert all(site.dead == () for site in findings.sites)
    assert [where for what, where, _ in findings.not_observed if what == "a layer"] == ["0 and 1 more"]


def test_the_last_normalization_of_a_shortcut_is_not_judged(tmp_path):
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "downsample": nn.BatchNorm2d(4)})
    with torch.no_grad():
        model["downsample"].weight[1], model["downsample"].bias[1] = 0, -1
    assert [site.dead for site in saved(model, tmp_path).sites] == [()]


def test_numbers_that_are_not_finite_are_an_error_and_not_deaths(tmp_path):
    model = nn.Sequential(nn.Linear(10, 6), nn.BatchNorm1d(6))
    with torch.no_grad():
        model[0].weight[1, 3] = float("nan")
        model[0].weight[2, 3] = float("inf")
        model[0].bias[3] = float("nan")
        model[1].weight[4] = float("-inf")
    findings = saved(model, tmp_path)
    assert findings.sites[0].non_finite == (1, 2, 3, 4)
    assert findings.sites[0].dead == ()
    assert [(f.slug, f.severity) for f in findings.findings] == [("broken_weight", "error")]


def test_rows_of_an_embedding_are_not_units(tmp_path):
    model = nn.ModuleDict({"embedding": nn.Embedding(50, 8, padding_idx=0), "fc": nn.Linear(8, 4)})
    findings = saved(model, tmp_path)
    assert [site.site.module for site in findings.sites] == ["fc"]
    assert any("embedding" in where for _, where, _ in findings.not_observed)


def test_pre_activation_blocks_keep_their_normalizations_apart_from_the_layer_after_them(tmp_path):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.conv1 = nn.BatchNorm2d(6), nn.Conv2d(6, 16, 1, bias=False)
            self.norm2, self.conv2 = nn.BatchNorm2d(16), nn.Conv2d(16, 4, 3, bias=False)

    block = Block()
    with torch.no_grad():
        block.norm1.weight[2], block.norm1.bias[2] = 0, -1
        block.norm2.weight[9], block.norm2.bias[9] = 0, -1
    sites = saved(block, tmp_path).sites
    assert [(site.site.module, site.site.layer, site.dead) for site in sites] == [
        ("norm1", "norm1", (2,)),
        ("norm2", "conv1", (9,)),
        ("conv2", "conv2", ()),
    ]
