"""Gated feed-forward blocks of language models: a unit is its gate row, and each block is one site, counted exactly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume
from relume.activations import ACTIVATIONS

WIDTH, HIDDEN, HEADS, VOCABULARY, LENGTH = 16, 24, 2, 11, 6
GATES = {"relu": F.relu, "silu": F.silu, "gelu": F.gelu}


class Block(nn.Module):
    """Attention and a gated feed-forward layer; ``packed``: gate and up projection are one matrix."""

    def __init__(self, gate, packed):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.gate_proj, self.up_proj = nn.Linear(WIDTH, HIDDEN), nn.Linear(WIDTH, HIDDEN)
        self.gate_up, self.down_proj = nn.Linear(WIDTH, 2 * HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.gate, self.packed = gate, packed
        self.fired = torch.zeros(HIDDEN, dtype=torch.long)
        with torch.no_grad():
            self.gate_proj.bias[3] = self.gate_up.bias[3] = -50

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        pre, up = self.gate_up(x).chunk(2, dim=-1) if self.packed else (self.gate_proj(x), self.up_proj(x))
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self.fired += (pre > ACTIVATIONS[self.gate].fires_above()).sum((0, 1))
        return x + self.down_proj(GATES[self.gate](pre) * up)


class Model(nn.Module):
    """Two blocks with tied embeddings."""

    def __init__(self, gate, packed=False):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(gate, packed) for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def trained(gate, packed, *, watched=True):
    torch.manual_seed(0)
    model = Model(gate, packed)
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    watch = relume.watch(model, every=1, window=100)
    if watched:
        watch.start()
    for _ in range(10):
        tokens = torch.randint(VOCABULARY, (8, LENGTH))
        F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        adam.step()
        adam.zero_grad()
    watch.stop()
    return model, watch.to_dict(), [*(p.detach().clone() for p in model.parameters()), torch.rand(1)]


def counts(site):
    return [round(rate * site["samples"]) for rate in site["firing_rate"]]


@pytest.mark.parametrize("packed", [False, True], ids=["two matrices", "one matrix"])
@pytest.mark.parametrize("gate", GATES)
def test_a_unit_is_its_gate_row_at_one_site_for_each_block(gate, packed):
    model, report, state = trained(gate, packed)
    layer = "gate_up" if packed else "gate_proj"
    assert [(s["module"], s["activation"], s["layer"], s["units"]) for s in report["sites"]] == [
        (f"blocks.{n}", gate, f"blocks.{n}.{layer}", HIDDEN) for n in range(2)
    ]
    for site, block in zip(report["sites"], model.blocks, strict=True):
        assert counts(site) == block.fired.tolist()
        assert site["code"] is False
        assert site["dead"] == [3]
    assert report["not_observed"] == []
    assert all(map(torch.equal, state, trained(gate, packed, watched=False)[2]))


def test_generation_in_inference_mode_is_counted_with_phase_all():
    torch.manual_seed(0)
    model = Model("relu").eval()
    with relume.watch(model, every=1, window=100, phase="all") as watch, torch.inference_mode():
        tokens = torch.randint(VOCABULARY, (4, 1))
        for _ in range(LENGTH):
            tokens = torch.cat((tokens, model(tokens)[:, -1:].argmax(-1)), dim=1)
    for site, block in zip(watch.to_dict()["sites"], model.blocks, strict=True):
        assert counts(site) == block.fired.tolist()
