"""Large tensors, whose gradients are relume's own: the same numbers as small ones, less memory, PReLU's faster."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import relume.torch.functional as rf
from relume.torch import _large

N = _large.LARGE_OUTPUT
OUTPUT_SERVES = {
    "leaky_relu": {},
    "leaky_relu 0": {"negative_slope": 0.0},
    "rrelu": {},
    "relu6": {},
}


def call(name, x, **parameters):
    return getattr(rf, name.split()[0])(x, **parameters)


def kept(function, x):
    """Bytes that backward keeps beside the output and the parameters."""
    saved: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.update({t.data_ptr(): t.nbytes}) or t, lambda t: t):
        y = function(x)
    saved.pop(y.data_ptr(), None)
    return sum(size for size in saved.values() if size > 1000)


def sample(dtype=torch.float32):
    x = torch.randn(N // 64, 64, dtype=dtype) * 4
    x[0, :6] = torch.tensor([0.0, -0.0, torch.inf, 6.0, -1e-45, 1e-45])
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", OUTPUT_SERVES)
def test_an_output_that_determines_the_slope_is_all_that_is_saved(name, dtype):
    x = sample(dtype).requires_grad_()
    assert kept(lambda t: call(name, t, **OUTPUT_SERVES[name]), x) == 0
    small = x.detach()[:8].clone().requires_grad_()
    y = call(name, x, **OUTPUT_SERVES[name])
    expected = call(name, small, **OUTPUT_SERVES[name])
    g = torch.randn_like(x)
    assert torch.equal(y[:8], expected)
    ours = torch.autograd.grad(y, x, g)[0]
    assert torch.equal(ours[:8], torch.autograd.grad(expected, small, g[:8])[0])


def test_relu6_in_place_keeps_no_copy_of_its_input_and_elu_only_its_output():
    x = sample().requires_grad_()
    for name in ("relu6", "elu", "celu", "selu", "leaky_relu"):
        assert kept(lambda t, name=name: call(name, t * 1, inplace=True), x) == 0, name
    y = rf.relu6(x * 1, inplace=True)
    g = torch.randn_like(x)
    ours = torch.autograd.grad(y, x, g)[0]
    assert torch.equal(ours, torch.autograd.grad(nn.functional.relu6(x), x, g)[0])


def test_a_negative_slope_saves_the_input_as_the_output_does_not_show_its_sign():
    x = sample().requires_grad_()
    y = rf.leaky_relu(x, -0.5)
    (slopes,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slopes, torch.where(x > 0, 1.0, -0.5))


@pytest.mark.parametrize("name", [*OUTPUT_SERVES, "prelu"])
def test_the_second_derivative_equals_that_of_small_tensors(name):
    x, g = torch.randn(N // 8, 8, requires_grad=True), torch.randn(N // 8, 8, requires_grad=True)
    given = (torch.rand(8, requires_grad=True),) if name == "prelu" else ()
    y = rf.prelu(x, *given) if given else call(name, x, **OUTPUT_SERVES[name])
    first = torch.autograd.grad(y, (x, *given), g, create_graph=True)
    second = torch.autograd.grad([f.sum() for f in first], (g, *given))
    native = nn.functional.prelu(x, *given) if given else call(name, x.double(), **OUTPUT_SERVES[name])
    expected = torch.autograd.grad(native, (x, *given), g if given else g.double(), create_graph=True)
    for a, b in zip(second, torch.autograd.grad([f.sum() for f in expected], (g, *given)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("shape", "axis", "count"),
    [((N // 64, 64), 1, 64), ((4, 8, N // 32), 1, 8), ((8, 4, N // 32), 0, 8), ((N,), 0, 1), ((1, 4, N), 1, 1)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_prelus_gradients_are_pytorchs(shape, axis, count, dtype):
    x, weight = torch.randn(shape, dtype=dtype), torch.rand(count, dtype=dtype)
    g = torch.randn(shape, dtype=dtype)
    results = []
    for function in (rf.prelu, composed):
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = function(*leaves, axis=axis)
        results.append((y, *torch.autograd.grad(y, leaves, g)))
    (y, dx, dw), (expected, dx_expected, dw_expected) = results
    assert torch.equal(y, expected)
    assert torch.equal(dx, dx_expected)
    exact = (g.double() * x.double().clamp(max=0)).movedim(axis, 0).reshape(shape[axis], -1).sum(1)
    exact = exact if count > 1 else exact.sum(0, keepdim=True)
    room = {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 1e-2}[dtype] * (x.numel() / count) ** 0.5
    assert (dw.double() - exact).abs().max() <= room
    assert (dw_expected.double() - exact).abs().max() <= 10 * room  # PyTorch's own, for the scale of the figure


def composed(x, weight, axis):
    spread = [1] * x.ndim
    spread[axis] = weight.numel()
    return torch.where(x > 0, x, weight.view(spread) * x)


@pytest.mark.parametrize("lay", [torch.channels_last, torch.contiguous_format])
def test_rrelu_in_training_draws_uniformly_from_its_bounds_and_keeps_the_memory_format(lay):
    x = -torch.ones(4, 8, 256, 256).to(memory_format=lay)
    y = rf.rrelu(x, 0.1, 0.5, training=True, generator=torch.Generator().manual_seed(1))
    again = rf.rrelu(x, 0.1, 0.5, training=True, generator=torch.Generator().manual_seed(1))
    assert torch.equal(y, again)
    assert y.is_contiguous(memory_format=lay)
    slopes = -y.double().flatten()
    assert 0.1 <= slopes.min() <= slopes.max() <= 0.5
    ordered = (slopes.sort().values - 0.1) / 0.4
    n = slopes.numel()
    assert (ordered - torch.arange(n) / n).abs().max() < 1.95 / n**0.5  # Kolmogorov and Smirnov's, at one in 1000
    for lag in (1, 2, 3, 4, 256):
        pair = torch.stack([slopes[:-lag], slopes[lag:]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 5 / n**0.5, lag


NET = """
import sys, torch
from pathlib import Path
from torch import nn
import relume.torch as rt
def mapped(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
torch.set_num_threads(1)
Activation = getattr({"nn": nn, "rt": rt}[sys.argv[1]], sys.argv[2])
blocks = ((nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), Activation().eval()) for _ in range(8))
net = nn.Sequential(*(layer for block in blocks for layer in block))
x = torch.randn(4, 16, 256, 256)
net(x[:1, :, :4, :4]).sum().backward()
base = mapped("VmSize")
y = net(x)
print((mapped("VmPeak") - base) / x.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["LeakyReLU", "ReLU6", "RReLU"])
def test_a_net_of_convolution_norm_and_activation_takes_a_quarter_less_memory(name):
    """The peak of a forward pass of 8 blocks, in outputs of a layer: 2 a block, with PyTorch's activation 3."""

    def peak(library):
        argv = [sys.executable, "-c", NET, library, name]
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back
        return float(subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout)

    native, ours = peak("nn"), peak("rt")
    assert ours == pytest.approx(8 * 2 + 1, abs=0.5)
    assert ours <= 0.75 * native
