"""``relume.tap``: a code that nobody can see is counted in a watched run, and nothing happens elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import relume

UNITS, K, TOKENS, STEPS = 64, 4, 32, 30


def train(step, **options):
    torch.manual_seed(0)
    net = torch.nn.Linear(8, 8)
    sgd = torch.optim.SGD(net.parameters(), 0.1)
    with relume.watch(net, **{"every": 1, "window": 100, **options}) as watch:
        for _ in range(STEPS):
            net(torch.randn(TOKENS, 8)).square().mean().backward()
            step()
            sgd.step()
    return watch.to_dict()


def code():
    """(values, indices): two units never fire, and the first value of each call is 0."""
    indices = torch.rand(TOKENS, UNITS - 2).topk(K).indices
    values = torch.rand(TOKENS, K)
    values[0, 0] = 0
    return values, indices


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_code_is_counted_by_its_values_and_indices(dense, dtype):
    fired = torch.zeros(UNITS, dtype=torch.long)

    def step():
        values, indices = code()
        fired.index_add_(0, indices.flatten(), (values.flatten() != 0).long())
        if dense:
            relume.tap("sae", torch.zeros(TOKENS, UNITS, dtype=dtype).scatter(-1, indices, values.to(dtype)))
        else:
            relume.tap("sae", values.to(dtype), indices, units=UNITS)

    (site,) = train(step)["sites"]
    assert (site["module"], site["call"], site["units"], site["code"]) == ("sae", "relume.tap", UNITS, True)
    assert site["source"].startswith("tests/torch/test_tapped.py:")
    assert [round(rate * site["samples"]) for rate in site["firing_rate"]] == fired.tolist()
    assert site["samples"] == TOKENS * STEPS
    assert site["dead"] == [UNITS - 2, UNITS - 1]


def test_tokens_outside_a_mask_are_not_counted():
    fired, kept = torch.zeros(UNITS, dtype=torch.long), []

    def step():
        values, indices = code()
        mask = torch.rand(TOKENS) < 0.5
        kept.append(int(mask.sum()))
        for token in mask.nonzero().flatten():
            fired[indices[token][values[token] != 0]] += 1
        relume.tap("sae", values[mask], indices[mask], units=UNITS)

    (site,) = train(step)["sites"]
    assert [round(rate * site["samples"]) for rate in site["firing_rate"]] == fired.tolist()
    assert site["samples"] == sum(kept) < TOKENS * STEPS


def test_negative_indices_are_padding():
    def step():
        values, indices = code()
        relume.tap("sae", values, torch.where(indices < 32, indices, -1), units=UNITS)

    (site,) = train(step)["sites"]
    assert site["dead"] == list(range(32, UNITS))


def test_two_names_are_two_sites_and_a_wide_code_is_counted_in_one_row():
    fired = torch.zeros(1 << 17, dtype=torch.long)

    def step():
        indices = torch.randint(1 << 17, (TOKENS, K))
        fired.index_add_(0, indices.flatten(), torch.ones(TOKENS * K, dtype=torch.long))
        relume.tap("wide", torch.ones(TOKENS, K), indices, units=1 << 17)
        relume.tap("narrow", torch.ones(TOKENS, 3))

    wide, narrow = train(step)["sites"]
    assert [round(rate * wide["samples"]) for rate in wide["firing_rate"]] == fired.tolist()
    assert narrow["always_on"] == [0, 1, 2]


BAD = [
    ((torch.ones(4, 2), torch.ones(4, 3, dtype=torch.long)), {"units": 9}, "expected integers of one shape"),
    ((torch.ones(4, 2), torch.ones(4, 2)), {"units": 9}, "expected integers of one shape"),
    ((torch.ones(4, 2), torch.full((4, 2), 9)), {"units": 9}, "got the index 9 for 9 units"),
    ((torch.ones(4, 2), torch.ones(4, 2, dtype=torch.long)), {}, "expected the number of units"),
    ((torch.ones(4, 2),), {"units": 9}, "without indices, and units=9"),
    (([1.0], None), {}, "expected tensors of PyTorch"),
    ((torch.tensor(1.0),), {}, "got values of shape ()"),
]


@pytest.mark.parametrize(("given", "units", "why"), BAD)
def test_a_code_that_does_not_fit_is_listed_and_never_raised(given, units, why):
    report = train(lambda: relume.tap("sae", *given, **units))
    assert report["sites"] == []
    (row,) = report["not_observed"]
    assert row["what"] == "relume.tap('sae')"
    assert why in row["why"]


def test_a_pass_of_another_phase_is_not_counted():
    inner = torch.nn.Linear(2, 2)

    class Tapping(torch.nn.Module):
        def forward(self, x):
            relume.tap("sae", *code(), units=UNITS)
            return x

    evaluating = Tapping().eval()
    assert train(lambda: evaluating(inner.weight))["sites"] == []
    (site,) = train(lambda: evaluating(inner.weight), phase="all")["sites"]
    assert site["samples"] == TOKENS * STEPS


def test_tap_does_nothing_outside_a_watched_run():
    code = "import sys, relume; relume.tap('sae', object(), 3); assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
