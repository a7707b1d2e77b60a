"""``relume.Reviver``: scores as their papers define them, and units that are revived while a training runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS, VGG, kill
from torch import nn
from torch.optim import optimizer as optimizer_module

import relume
from relume.errors import CureError, ParameterError, UnknownName
from relume.torch.surgery.scores import PATIENCE, ContinualBackprop, Gaps, redo_scores

CPU = torch.device("cpu")


def weights():
    raise AssertionError("this rule needs no weights")


# ---- scores --------------------------------------------------------------------------------------------------------


def test_redo_scores_follow_the_papers_formula():
    h = torch.relu(torch.randn(7, 50, generator=torch.Generator().manual_seed(0)))
    h[3] = 0
    expected = []
    table = h.double().numpy()
    for unit in range(7):
        magnitudes = [np.mean(np.abs(table[k])) for k in range(7)]
        expected.append(magnitudes[unit] / (sum(magnitudes) / 7))
    assert redo_scores(h).tolist() == pytest.approx(expected, rel=1e-6)
    assert redo_scores(torch.zeros(3, 5)).tolist() == [0, 0, 0]


def test_continual_backprops_utility_follows_the_papers_formula():
    draw = torch.Generator().manual_seed(1)
    steps = [torch.relu(torch.randn(4, 6, generator=draw)) for _ in range(30)]
    outgoing, incoming = torch.rand(4, generator=draw) + 0.1, torch.rand(4, generator=draw) + 0.1
    score = ContinualBackprop(4, CPU, rate=1e-4, maturity=100, decay=0.99)
    for h in steps:
        score.observe(h, 6, lambda: (outgoing, incoming))
    for unit in range(4):
        f = u = 0.0
        for t, h in enumerate(steps, start=1):
            row = h[unit].double().numpy()
            f = 0.99 * f + 0.01 * row.mean()
            corrected = f / (1 - 0.99**t)
            y = np.abs(row - corrected).mean() * float(outgoing[unit]) / float(incoming[unit])
            u = 0.99 * u + 0.01 * y
        assert float(score.utility()[unit]) == pytest.approx(u / (1 - 0.99 ** len(steps)), rel=1e-6)


def test_continual_backprop_replaces_its_share_of_mature_units_the_least_useful_first():
    score = ContinualBackprop(10, CPU, rate=0.01, maturity=5)
    h = torch.arange(10.0).unsqueeze(1) * torch.tensor([[0.0, 1.0]])
    chosen = []
    for _ in range(105):
        score.observe(h, 2, lambda: (torch.ones(10), torch.ones(10)))
        units = score.due()
        score.replaced(units)
        chosen += units.tolist()
    assert chosen[0] == 0
    assert 8 <= len(chosen) <= 10  # 100 steps of 0.01 times 10 units, but for the young


def fire(score, pattern, examples=1):
    for row in pattern:
        score.observe(torch.as_tensor(row, dtype=torch.float32).unsqueeze(1), examples, weights)


def test_a_units_own_gaps_decide_when_its_silence_is_overdue():
    score = Gaps(2, CPU, false_resets=0.01)
    steps = np.arange(1, 3201)
    fire(score, np.stack([steps % 4 == 0, steps % 200 == 0], axis=1))
    frequent, rare = score.thresholds().tolist()
    assert frequent == 64  # 800 gaps of 4 examples; the least on which a revival is proven
    assert rare >= PATIENCE  # 16 gaps bound nothing at 1 %
    fire(score, np.zeros((64, 2)))
    assert score.due().tolist() == [0]
    score.replaced(torch.tensor([0]))
    assert score.due().tolist() == []


def test_false_resets_are_as_rare_as_stated():
    rng = np.random.default_rng(0)
    alpha, units, rate = 0.01, 1_000, 0.02
    score = Gaps(units, CPU, false_resets=alpha)
    fired = torch.from_numpy(rng.random((units, 12_000)) < rate).float()
    resets = gaps = 0
    overdue = np.zeros(units, bool)
    for step in range(fired.shape[1]):
        score.observe(fired[:, step : step + 1], 1, weights)
        if step >= 9_000:
            now = np.zeros(units, bool)
            now[score.due().numpy()] = True
            resets += int((now & ~overdue).sum())
            gaps += int(fired[:, step].sum())
            overdue = now
    assert 0 < resets <= alpha * gaps * 1.2
    assert resets / gaps <= alpha + 4 * math.sqrt(alpha / gaps)


# ---- in a training -------------------------------------------------------------------------------------------------


def train(model, optimizer, steps, batch):
    for _ in range(steps):
        optimizer.zero_grad()
        x = batch()
        F.mse_loss(model(x), x.flatten(1)[:, :1].expand(len(x), 5)).backward()
        optimizer.step()


def small():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 5))
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


@pytest.mark.parametrize("examples", [1, 16, 200])
def test_a_unit_that_dies_in_a_training_is_revived(examples):
    model, optimizer = small()
    with relume.Reviver(model, optimizer=optimizer, every=20) as reviver:
        train(model, optimizer, 30, lambda: torch.randn(examples, 6))
        kill(model, ["0"], (3, 7))
        train(model, optimizer, 2 * PATIENCE // examples + 60, lambda: torch.randn(examples, 6))
        x = torch.randn(300, 6)
        assert bool((model[1](model[0](x))[:, [3, 7]] > 0).any(0).all())
    assert reviver.revived >= 2
    step, change = reviver.changes[0]
    assert step % 20 == 0
    assert change.holds
    assert str(reviver.revived) in repr(reviver)


def test_the_optimizer_is_found_and_no_hook_remains():
    model, optimizer = small()
    reviver = relume.Reviver(model, every=10).start()
    train(model, optimizer, 5, lambda: torch.randn(64, 6))
    kill(model, ["0"], (3,))
    train(model, optimizer, 60, lambda: torch.randn(64, 6))
    reviver.stop()
    assert reviver.revived == 1
    assert optimizer.state[model[0].weight]["exp_avg"].shape == (12, 6)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not optimizer_module._global_optimizer_post_hooks


def test_a_training_in_which_nothing_dies_keeps_its_bits():
    ends = []
    for revive in (False, True):
        model, optimizer = small()
        batches = torch.Generator().manual_seed(5)
        reviver = relume.Reviver(model, optimizer=optimizer, every=5)
        if revive:
            reviver.start()
        train(model, optimizer, 40, lambda: torch.randn(64, 6, generator=batches))  # noqa: B023 - called at once
        reviver.stop()
        ends.append([p.detach().clone() for p in model.parameters()] + [torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize(("rule", "options"), [("redo", {"tau": 0.5}), ("continual_backprop", {"rate": 0.01})])
def test_other_rules_replace_units_that_fire(rule, options):
    model, optimizer = small()
    with relume.Reviver(model, optimizer=optimizer, rule=rule, every=50, **options) as reviver:
        train(model, optimizer, 200, lambda: torch.randn(64, 6))
    assert reviver.revived > 0


def test_a_convolutional_network_is_revived_in_train_mode():
    torch.manual_seed(0)
    model = VGG()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    kill(model, ["features.1"])
    with relume.Reviver(model, optimizer=optimizer, every=10) as reviver:
        train(model, optimizer, 100, NETWORKS[VGG][0])
    assert {unit for _, change in reviver.changes for edit in change.changed for unit in edit.units} >= {1, 4}
    assert reviver._inner.fault == ""


def test_single_observations_between_the_batches_are_not_batches():
    model, optimizer = small()
    with relume.Reviver(model, optimizer=optimizer, every=20) as reviver:
        for step in range(60):
            model(torch.randn(6))  # as an agent acts
            train(model, optimizer, 1, lambda: torch.randn(200, 6))
            if step == 30:
                kill(model, ["0"], (3,))
    assert reviver.revived == 1


def test_an_error_in_relume_stops_the_reviver_and_not_the_training(capsys):
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 5)

        def forward(self, x):
            return torch.relu(self.layer(x)) * (2 if float(x.sum()) > 0 else 1)

    model = Untraceable()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with relume.Reviver(model, optimizer=optimizer) as reviver:
        train(model, optimizer, 5, lambda: torch.randn(64, 6))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the reviver has stopped; training continues" in err
    assert "cannot be traced" in repr(reviver)


def test_bad_options_are_refused():
    model, optimizer = small()
    with pytest.raises(UnknownName, match="no rule 'gap'"):
        relume.Reviver(model, rule="gap")
    with pytest.raises(UnknownName, match="no option 'tau'"):
        relume.Reviver(model, tau=0.1)
    with pytest.raises(ParameterError, match="false_resets of gaps is 2"):
        relume.Reviver(model, false_resets=2)
    with pytest.raises(ParameterError, match="every is 0"):
        relume.Reviver(model, every=0)
    with pytest.raises(CureError, match=r"not a torch\.nn\.Module"):
        relume.Reviver(optimizer)
    with pytest.raises(CureError, match="optimizer is a Linear"):
        relume.Reviver(model, optimizer=nn.Linear(2, 2))
