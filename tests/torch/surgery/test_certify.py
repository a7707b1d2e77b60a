"""``relume.certify``: bounds hold for every input that is tried, and certificates say no more than is so."""

from __future__ import annotations

import copy
import itertools

import networks
import pytest
import torch
from networks import kill
from test_revive import bits, same, watched
from torch import nn

import relume
from relume.errors import CureError
from relume.torch.surgery.bounds import BoundPropagation
from relume.torch.surgery.gates import gates
from relume.torch.surgery.program import Program
from relume.torch.surgery.rest import Batch


def plain():
    return nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2)), (3,)


def convolutional():
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2),
    )  # fmt: skip
    with torch.no_grad():
        layers[1].running_mean.uniform_(-1, 1)
        layers[1].running_var.uniform_(0.5, 2)
        layers[1].weight.uniform_(-1, 1)
    return layers, (1, 10, 10)


class Joined(nn.Module):
    """A residual sum and a concatenation."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(16, 4)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return torch.relu(self.third(torch.cat([torch.relu(self.second(h) + h), h.sigmoid()], 1)))


def joined():
    return Joined(), (3,)


def every_gate(model, x):
    """The pre-activations of each activation on a batch, as the model computes them."""
    program = Program(model, Batch.of(x))
    found = gates(program)
    values = program.values(gate.input for gate in found)
    return [gate.rows(values[gate.input]) for gate in found if gate.name == "relu" and gate.axis]


def samples(low, high, count=4000):
    """Random points of a box, and some of its corners."""
    draw = torch.Generator().manual_seed(0)
    inside = low + (high - low) * torch.rand(count, *low.shape[1:], generator=draw)
    corner = torch.where(torch.rand(count, *low.shape[1:], generator=draw) < 0.5, low, high)
    return torch.cat([inside, corner, low, high])


@pytest.mark.parametrize("make", [plain, convolutional, joined], ids=lambda make: make.__name__)
@pytest.mark.parametrize("width", [0.1, 1.0, 5.0])
def test_no_input_of_the_box_goes_above_the_bounds(make, width):
    torch.manual_seed(0)
    model, shape = make()
    model.eval()
    low = torch.randn(1, *shape) - width
    high = low + 2 * width
    certificate = relume.certify(model, low, high)
    told = [site for site in certificate.sites if site.place.startswith("relu")]
    seen = every_gate(model, samples(low, high))
    assert len(told) == len(seen)
    for site, rows in zip(told, seen, strict=True):
        largest = rows.amax(1)
        assert bool((largest.double() <= torch.tensor(site.upper).double()).all())
        assert not set(site.on_the_box) & set((largest > 0).nonzero().flatten().tolist())


def test_the_first_layers_bounds_equal_those_of_the_corners():
    torch.manual_seed(0)
    model, _ = plain()
    low, high = torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([[1.0, 3.0, 2.5]])
    corners = torch.tensor([[ends[bit][n] for n, bit in enumerate(c)] for c in itertools.product((0, 1), repeat=3)
                            for ends in [(low[0], high[0])]])  # fmt: skip
    exact = model[0](corners).amax(0)
    assert torch.allclose(torch.tensor(relume.certify(model, low, high).sites[0].upper), exact, atol=1e-5)


def test_linear_bounds_are_tighter_than_intervals_and_certify_more():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU())
    model.append(nn.Linear(20, 1))
    low, high = -torch.ones(1, 6) * 0.3, torch.ones(1, 6) * 0.3
    program = Program(model, Batch.of(low))
    last = gates(program)[-1].input
    wide, tight = (BoundPropagation(program, low, high, linear=linear).of(last) for linear in (False, True))
    gap = [float((box[1] - box[0]).mean()) for box in (wide, tight)]
    assert gap[1] < 0.6 * gap[0]
    model[4].bias.data -= float(tight[1].max()) + 1e-3
    dead = relume.certify(model, low, high).sites[-1].on_the_box
    assert dead == tuple(range(20))
    assert bool((BoundPropagation(program, low, high, linear=False).of(last)[1] > 0).any())


class Averaged(nn.Module):
    """Means, constants and curves on the way."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 8, 3, stride=2), nn.Linear(8, 5)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.first(x), 0.3) * 3.0 + 100.0
        return torch.relu(self.last(torch.relu(self.norm(self.second(x / 7.0)).tanh()).mean([2, 3])))


def averaged():
    model = Averaged()
    with torch.no_grad():
        model.norm.running_mean.uniform_(-50, 50)
        model.norm.running_var.uniform_(0.5, 2)
    return model, (2, 9, 9)


class Cancelling(nn.Module):
    """Large terms that cancel: the rounding of the first layer is more than all that follows adds."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(256, 4), nn.Linear(4, 4)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, -1.0]).repeat(4, 128))

    def forward(self, x):
        return torch.relu(self.last(torch.relu(self.first(x * 0.001 + 1000.0))))


def cancelling():
    return Cancelling(), (256,)


@pytest.mark.parametrize("make", [plain, convolutional, joined, averaged, cancelling], ids=lambda make: make.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_models_own_rounding_stays_within_its_bound(make, dtype):
    torch.manual_seed(0)
    model, shape = make()
    model.eval().to(dtype)
    low, high = -2 * torch.ones(1, *shape), 3 * torch.ones(1, *shape)
    x = samples(low, high).to(dtype)
    exact = copy.deepcopy(model).double()
    program, real = Program(model, Batch.of(x[:1])), Program(exact, Batch.of(x.double()))
    bounds = BoundPropagation(program, low, high)
    computed = Program(model, Batch.of(x))
    triples = zip(gates(program), gates(computed), gates(real), strict=True)
    for gate, own, precise in list(triples):
        ours, theirs = (p.values([g.input])[g.input].double() for p, g in ((computed, own), (real, precise)))
        bound, moved = bounds.rounding(gate.input)[0], (ours - theirs).abs().amax(0)
        assert bool((moved <= bound).all()), gate.place
        says = 2000 * torch.finfo(dtype).eps * max(1.0, float(theirs.abs().amax()))
        assert make is cancelling or float(bound.amax()) < says, gate.place
        low_, high_ = (end[0] for end in bounds.of(gate.input))
        assert bool(((ours >= low_) & (ours <= high_) & (theirs >= low_) & (theirs <= high_)).all()), gate.place


def test_three_claims_are_distinguished():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0.0, -0.1  # for every input
        model[0].weight[1], model[0].bias[1] = 1.0, -10.0  # for inputs up to 3
        model[0].weight[2], model[0].bias[2] = 0.0, 0.0  # exactly 0, which does not fire
        model[2].weight[0], model[2].bias[0] = -1.0, -0.1  # of inputs ≥ 0
    certificate = relume.certify(model, torch.zeros(1, 3), torch.ones(1, 3))
    first, second = certificate.sites
    assert first.everywhere == (0, 2)
    assert set(first.on_the_box) >= {0, 1, 2}
    assert second.everywhere == (0,)
    assert "dead for every input: 0, 2" in str(certificate)
    assert certificate.to_dict()["sites"][1]["everywhere"] == [0]


def test_an_unbounded_box_is_bounded_if_possible():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        model[0].bias.copy_(torch.tensor([-2.0, -2.0]))
    inf = float("inf")
    site = relume.certify(model, torch.tensor([[0.0, -inf]]), torch.tensor([[1.0, inf]])).sites[0]
    assert site.on_the_box == (0,)
    assert site.upper[1] == inf


def test_batchnorm_that_silences_for_every_input_is_certified_in_a_real_network():
    torch.manual_seed(0)
    model = networks.VGG()
    with torch.no_grad():
        model.features[1].weight[3], model.features[1].bias[3] = 0.0, -0.2
    kill(model, ["classifier.0"], (5,))
    before = bits(model)
    certificate = relume.certify(model, torch.full((1, 3, 16, 16), -2.0), torch.full((1, 3, 16, 16), 2.0))
    assert same(before, bits(model))
    assert certificate.sites[0].everywhere == (3,)
    assert 5 in certificate.sites[-1].on_the_box
    assert certificate.sites[-1].everywhere == ()


BOXES = {
    "no tensor": (0.0, 1.0),
    "two shapes": (torch.zeros(1, 3), torch.ones(1, 2)),
    "no batch axis": (torch.zeros(3), torch.ones(3)),
    "empty": (torch.ones(1, 3), torch.zeros(1, 3)),
    "nan": (torch.full((1, 3), float("nan")), torch.ones(1, 3)),
}


@pytest.mark.parametrize("case", BOXES)
def test_an_invalid_box_is_refused(case):
    with pytest.raises(CureError, match="lower"):
        relume.certify(plain()[0], *BOXES[case])


def test_a_box_that_does_not_fit_the_model_is_refused():
    with pytest.raises(CureError, match="fails on the batch"):
        relume.certify(plain()[0], torch.zeros(1, 7), torch.ones(1, 7))


@pytest.mark.slow
def test_no_unit_is_removable_without_l1_and_more_are_with_more_of_it():
    """As Serra et al. 2020 ("Lossless Compression of Deep Neural Networks") found: units silent on all of [0, 1]ⁿ.

    They add l1 to the loss. Here its proximal step follows each step of the optimizer: it minimizes the same objective.
    With a subgradient a weight swings around zero by the rate times l1 and never is zero, so a unit's bound on the box
    depends on the rate too. The proximal step makes exact zeros, and the shape depends on l1 alone.
    """
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    removable = []
    for l1 in (0.0, 3e-3, 1e-2):
        torch.manual_seed(0)
        layers = (nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
        model = nn.Sequential(*layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(1500):
            rows = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            with torch.no_grad():  # the proximal step of l1, which makes exact zeros
                for p in model.parameters():
                    p.copy_(p.sign() * (p.abs() - 0.05 * l1).clamp(min=0))
        sites = relume.certify(model, torch.zeros(1, 64), torch.ones(1, 64)).sites
        removable.append(sum(len(site.on_the_box) for site in sites))
        assert float((model(x).argmax(1) == y).float().mean()) > 0.97
        if removable[-1]:
            smaller, change = relume.prune(model, watched(model, x), x)
            cut = [set(edit.units) for edit in change.changed]
            assert all(set(site.on_the_box) <= units for site, units in zip(sites, cut, strict=True))
            assert torch.equal(smaller(x).argmax(1), model(x).argmax(1))
    print(f"removable of 100 units: {removable}")
    assert removable[0] == 0 < removable[1] < removable[2]
