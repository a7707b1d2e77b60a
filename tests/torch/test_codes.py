"""Sparse codes: each way of writing one is counted by its latents, equal to brute force, and trains as without us."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume

INPUTS, LATENTS, TOKENS, K, STEPS = 16, 64, 32, 4, 20
DEAD = [3, 17]


class Jump(torch.autograd.Function):
    """JumpReLU, as SAELens and dictionary_learning write it."""

    @staticmethod
    def forward(ctx, x, threshold):
        ctx.save_for_backward(x, threshold)
        return x * (x > threshold)

    @staticmethod
    def backward(ctx, gradient):
        x, threshold = ctx.saved_tensors
        return (x > threshold) * gradient, None


class Fused(torch.autograd.Function):
    """The encoder of sparsify: its forward pass in one function, with a backward pass of the selected latents."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        values, indices = torch.topk(F.relu(F.linear(x, weight, bias)), K, dim=-1, sorted=False)
        ctx.save_for_backward(x, weight, indices)
        return values, indices

    @staticmethod
    def backward(ctx, gradient, _):
        x, weight, indices = ctx.saved_tensors
        sums = gradient.new_zeros(len(weight)).index_add_(0, indices.flatten(), gradient.flatten())
        outer = (gradient[..., None] * x[..., None, :]).flatten(0, -2)
        return None, torch.zeros_like(weight).index_add_(0, indices.flatten(), outer), sums


def zeros(pre):
    return torch.zeros_like(pre)


def topk_of_relu(sae, pre):
    top = F.relu(pre).topk(K, sorted=False, dim=-1)
    return zeros(pre).scatter_(dim=-1, index=top.indices, src=top.values)


def relu_of_topk(sae, pre):
    values, indices = torch.topk(pre, k=K, dim=-1, sorted=False)
    return zeros(pre).scatter_(-1, indices, sae.relu(values))


def topk_without_relu(sae, pre):
    values, indices = pre.topk(K)
    return pre.new_zeros(pre.shape).scatter(-1, indices, values)


def relu_of_scattered(sae, pre):
    values, indices = pre.topk(K)
    return F.relu(zeros(pre).scatter(-1, indices, values))


def topk_by_norm(sae, pre):
    acts = F.relu(pre)
    indices = (acts * sae.decoder.weight.norm(dim=0)).topk(K).indices
    return zeros(pre).scatter(-1, indices, acts.gather(-1, indices))


def masked(sae, pre):
    mask = zeros(pre).scatter_(-1, pre.abs().topk(K).indices, 1.0)
    return pre * mask


def masked_relu(sae, pre):
    mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(-1, pre.topk(K).indices, True)
    return torch.where(mask, F.relu(pre), 0.0)


def of_magnitudes(sae, pre):
    _, indices = pre.abs().topk(K, dim=-1)
    return zeros(pre).scatter(-1, indices, pre.gather(-1, indices))


def of_a_batch(sae, pre):
    acts = F.relu(pre)
    top = acts.flatten().topk(K * (pre.numel() // LATENTS), sorted=False, dim=-1)
    return zeros(acts).flatten().scatter_(-1, top.indices, top.values).reshape(pre.shape)


def of_a_batch_without_relu(sae, pre):
    values, indices = pre.flatten().topk(K * (pre.numel() // LATENTS))
    return zeros(pre).flatten().scatter(-1, indices, values).view(pre.shape)


def gated(sae, pre):
    gate = ((pre - 0.2) > 0).to(pre.dtype)
    return gate * sae.relu(sae.scale.exp() * pre + sae.shift)


def gated_by_where(sae, pre):
    return torch.where(pre - 0.2 > 0, F.relu(sae.scale.exp() * pre + sae.shift), 0.0)


CODES = {
    "relu, topk": [topk_of_relu, of_a_batch],
    "topk, relu": [relu_of_topk],
    "topk, scatter": [topk_without_relu, topk_by_norm, of_magnitudes, of_a_batch_without_relu],
    "x * gate": [masked, gated],
    "where(gate, x, 0)": [masked_relu, gated_by_where],
    "x * (x > t)": [
        lambda sae, pre: pre * (pre > sae.threshold),
        lambda sae, pre: Jump.apply(pre, sae.threshold),
        lambda sae, pre: pre * (pre.abs() > sae.threshold),
        lambda sae, pre: pre * (pre >= pre.kthvalue(LATENTS - K + 1, dim=-1, keepdim=True).values),
    ],
    "where(x > t, x, 0)": [
        lambda sae, pre: torch.where(pre > sae.threshold, pre, 0),
        lambda sae, pre: torch.where(pre >= pre.topk(K).values[..., -1:], pre, zeros(pre)),
    ],
    "masked_fill(x < t, 0)": [lambda sae, pre: pre.masked_fill(pre <= sae.threshold, 0.0)],
    "F.threshold": [lambda sae, pre: F.threshold(pre, 0.3, 0.0)],
    "F.relu": [relu_of_scattered, lambda sae, pre: F.relu(pre * (pre > sae.threshold).float())],
}
WAYS = [(call, code) for call, codes in CODES.items() for code in codes]
SHAPES = [(TOKENS, INPUTS), (4, TOKENS // 4, INPUTS)]


class SAE(nn.Module):
    """A sparse autoencoder that counts its own firings: ``fired``, shape (latents,)."""

    def __init__(self, code):
        super().__init__()
        self.encoder, self.decoder, self.relu = nn.Linear(INPUTS, LATENTS), nn.Linear(LATENTS, INPUTS), nn.ReLU()
        self.threshold = nn.Parameter(torch.full((LATENTS,), 0.3))
        self.scale, self.shift = (nn.Parameter(0.1 * torch.randn(LATENTS)) for _ in range(2))
        self.code = code
        self.fired = torch.zeros(LATENTS, dtype=torch.long)
        with torch.no_grad():
            self.encoder.weight[DEAD] = 0
            self.encoder.bias[DEAD] = -1e-6

    def forward(self, x):
        code = self.code(self, self.encoder(x))
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self.fired += (code != 0).reshape(-1, LATENTS).sum(0)
        return self.decoder(code)


def trained(code, shape, *, watched=True, steps=STEPS, **options):
    torch.manual_seed(0)
    sae = SAE(code)
    adam = torch.optim.Adam(sae.parameters(), 1e-3)
    watch = relume.watch(sae, **{"every": 1, "window": 100, **options})
    if watched:
        watch.start()
    for _ in range(steps):
        x = torch.randn(shape)
        loss = (sae(x) - x).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    watch.stop()
    return sae, watch.to_dict(), [*(p.detach().clone() for p in sae.parameters()), torch.rand(1)]


def counts(site):
    return [round(rate * site["samples"]) for rate in site["firing_rate"]]


@pytest.mark.parametrize("shape", SHAPES, ids=["tokens", "sequences"])
@pytest.mark.parametrize(("call", "code"), WAYS)
def test_a_code_is_counted_by_its_latents_and_its_training_is_not_changed(call, code, shape):
    sae, report, state = trained(code, shape)
    (site,) = report["sites"]
    assert (site["call"], site["units"], site["code"]) == (call, LATENTS, True)
    assert counts(site) == sae.fired.tolist()
    assert site["samples"] == site["examples"] == TOKENS * STEPS
    assert set(DEAD) <= set(site["dead"]) == set((sae.fired == 0).nonzero().flatten().tolist())
    assert report["not_observed"] == []
    assert all(map(torch.equal, state, trained(code, shape, watched=False)[2]))


def test_the_fused_encoder_of_sparsify_is_counted_at_its_topk():
    class Sparse(SAE):
        def forward(self, x):
            values, indices = Fused.apply(x, self.encoder.weight, self.encoder.bias)
            self.fired.index_add_(0, indices.flatten(), (values.flatten() > 0).long())
            return F.embedding_bag(indices, self.decoder.weight.T, per_sample_weights=values, mode="sum")

    torch.manual_seed(0)
    sae = Sparse(None)
    sgd = torch.optim.SGD(sae.parameters(), 1e-2)
    with relume.watch(sae, every=1, window=100) as watch:
        for _ in range(STEPS):
            x = torch.randn(TOKENS, INPUTS)
            (sae(x) - x).square().mean().backward()
            sgd.step()
    (site,) = watch.to_dict()["sites"]
    assert site["call"] == "relu, topk"
    assert counts(site) == sae.fired.tolist()


@pytest.mark.parametrize("code", [topk_of_relu, relu_of_topk, of_a_batch])
def test_a_code_is_counted_within_a_budget_too(code):
    _, report, state = trained(code, SHAPES[0], steps=60, every=None, window=None, budget=0.5)
    (site,) = report["sites"]
    assert site["call"] == next(call for call, codes in CODES.items() if code in codes)
    assert 0 < site["samples"] <= 60 * TOKENS
    assert sum(counts(site)) <= K * site["samples"]
    assert all(map(torch.equal, state, trained(code, SHAPES[0], watched=False, steps=60)[2]))


def router_of_softmax(sae, pre):
    values, indices = pre.topk(K)
    return zeros(pre).scatter(-1, indices, F.softmax(values, dim=-1))


def router_by_softmax(sae, pre):
    values, indices = F.softmax(pre, dim=-1).topk(K)
    return zeros(pre).scatter(-1, indices, values)


def router_by_mask(sae, pre):
    scores = F.softmax(pre, dim=-1)
    return scores * zeros(pre).scatter(-1, scores.topk(K).indices, 1.0)


def router_by_sigmoid(sae, pre):
    values, indices = torch.sigmoid(pre).topk(K)
    return zeros(pre).scatter(-1, indices, values)


@pytest.mark.parametrize("router", [router_of_softmax, router_by_softmax, router_by_mask, router_by_sigmoid])
def test_a_router_of_experts_is_not_a_code(router):
    _, report, _ = trained(router, SHAPES[0])
    assert not any(site["code"] for site in report["sites"])


def test_a_code_whose_indices_are_not_known_is_listed():
    def by_sorting(sae, pre):
        indices = pre.argsort(dim=-1, descending=True)[..., :K]
        return zeros(pre).scatter(-1, indices, pre.gather(-1, indices))

    _, report, _ = trained(by_sorting, SHAPES[0])
    assert report["sites"] == []
    ((what, why),) = {(row["what"], row["why"]) for row in report["not_observed"]}
    assert what == "scatter into zeros"
    assert "relume.tap" in why


def test_latents_that_are_rare_by_design_are_neither_rare_nor_dead():
    """Each latent fires once in 160 tokens: a ReLU's unit with that rate would be rare, and silent in many windows."""

    def one_by_one(sae, pre):
        return zeros(pre).scatter(-1, F.relu(pre).topk(1).indices, F.relu(pre).topk(1).values)

    _, report, _ = trained(topk_of_relu, SHAPES[0], steps=400, window=None)
    (site,) = report["sites"]
    assert set(site["dead"]) == {unit for unit, silent in enumerate(site["silent_for"]) if silent >= 300 * LATENTS / K}
    assert not set(site["dead"]) & set(site["rare"])
    assert set(DEAD) <= set(site["dead"])
    assert not site["provisional"]


def test_a_code_is_provisional_until_the_bound_is_below_one_percent_of_its_mean_rate():
    _, report, _ = trained(topk_of_relu, SHAPES[0], steps=100, window=None)  # 3,200 of 300 * 64 / 4 = 4,800 tokens
    (site,) = report["sites"]
    assert site["provisional"]
    _, report, _ = trained(topk_of_relu, SHAPES[0], steps=160, window=None)
    assert not report["sites"][0]["provisional"]


@pytest.mark.parametrize("dead_after", [320, 640, 10_000])
def test_dead_after_is_the_silence_that_makes_a_unit_dead(dead_after):
    _, report, _ = trained(topk_of_relu, SHAPES[0], window=None, dead_after=dead_after)
    (site,) = report["sites"]
    assert report["run"]["dead_after"] == dead_after
    assert site["dead"] == [unit for unit, silent in enumerate(site["silent_for"]) if silent >= dead_after]
    assert site["provisional"] is (dead_after > TOKENS * STEPS)


def test_dead_latents_of_an_input_that_is_not_centered_name_it():
    torch.manual_seed(0)
    sae = SAE(topk_of_relu)
    adam = torch.optim.Adam(sae.parameters(), 1e-3)
    with relume.watch(sae, every=1, window=100) as watch:
        for _ in range(STEPS):
            x = torch.randn(TOKENS, INPUTS) + 5
            (sae(x) - x).square().mean().backward()
            adam.step()
    (finding,) = (found for found in watch.to_dict()["findings"] if found["slug"] == "born_dead")
    assert "input not centered (γ = 4.7)" in finding["evidence"]
    assert "b - W @ mean" in finding["advice"]
    assert finding["cures"] == []


def test_centering_the_input_in_the_bias_gives_its_outputs_and_revives_latents():
    torch.manual_seed(0)
    x, mean = torch.randn(2_000, INPUTS), 5 * torch.ones(INPUTS)
    sae = SAE(topk_of_relu)
    dead = (sae.code(sae, sae.encoder(x + mean)) == 0).all(0).sum()
    centered = sae.encoder(x)
    with torch.no_grad():
        sae.encoder.bias -= sae.encoder.weight @ mean
    assert torch.allclose(sae.encoder(x + mean), centered, atol=1e-5)
    assert (sae.code(sae, sae.encoder(x + mean)) == 0).all(0).sum() < dead / 4


def test_a_selection_in_a_compiled_graph_is_listed():
    torch._dynamo.reset()
    torch.manual_seed(0)
    sae = SAE(topk_of_relu)
    del sae.fired
    sae.forward = lambda x: sae.decoder(sae.code(sae, sae.encoder(x)))
    sgd = torch.optim.SGD(sae.parameters(), 1e-2)
    with relume.watch(sae, every=1, window=100) as watch:
        compiled = torch.compile(sae, backend="eager")
        for _ in range(3):
            compiled(torch.randn(TOKENS, INPUTS)).square().mean().backward()
            sgd.step()
    assert "torch.topk" in [row["what"] for row in watch.to_dict()["not_observed"]]
