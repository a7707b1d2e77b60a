"""Planted faults: the battery's own checks, run against an adapter with one of them, must fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases
import checks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from on_torch import Torch, TorchInPlace


class Faulty(Torch):
    """``relume.torch.functional`` with another function in one place."""

    def __init__(self, activation: str, function: Callable[..., torch.Tensor]) -> None:
        self.fault = activation, function

    def call(self, activation: str, x: torch.Tensor, **parameters: Any) -> torch.Tensor:
        name, function = self.fault
        return function(x, **parameters) if name == activation else super().call(activation, x, **parameters)


class FaultyInPlace(Faulty, TorchInPlace):
    """The same in place."""

    def call(self, activation: str, x: torch.Tensor, **parameters: Any) -> torch.Tensor:
        copy = x * 1
        out = self.fault[1](copy, **parameters)
        assert out is copy
        return out


def prelu_on_the_last_axis(x: torch.Tensor, weight: torch.Tensor, axis: Any = 1) -> torch.Tensor:
    return torch.where(x > 0, x, weight.to(x.dtype) * x)


def rrelu_random_at_evaluation(x: torch.Tensor, lower: float = 1 / 8, upper: float = 1 / 3) -> torch.Tensor:
    return x * torch.where(x.detach() > 0, 1, torch.empty_like(x).uniform_(lower, upper))


def forward_mode_of_pytorch(x: torch.Tensor, weight: torch.Tensor, axis: Any = 1) -> torch.Tensor:
    return F.prelu(x, weight.reshape(-1).to(x.dtype))


def slope_of_the_right_at_zero(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x >= 0, 1.0507009873554805 * x, F.selu(torch.where(x >= 0, 0, x)))


FAULTS: dict[str, tuple[str, dict[str, Any], str, Callable[..., torch.Tensor]]] = {
    "half a slope at relu's kink": ("relu", {}, "gradient", lambda x: torch.maximum(x, torch.zeros_like(x))),
    "minus zero lost": ("relu", {}, "value", lambda x: F.relu(x) + 0.0),
    "nan swallowed": ("relu", {}, "value", lambda x: torch.where(x > 0, x, 0)),
    "slope 0 at nan": ("relu", {}, "gradient", lambda x: torch.where(x > 0, x, x.detach().clamp(max=0) * 0)),
    "slope 1 at both kinks of relu6": ("relu6", {}, "gradient", lambda x: x.clamp(0, 6)),
    "slope 1 at leaky_relu's kink": (
        "leaky_relu",
        {"negative_slope": 0.2},
        "gradient",
        lambda x, negative_slope: torch.where(x >= 0, x, negative_slope * x),
    ),
    "a slope above 1 by the maximum": (
        "leaky_relu",
        {"negative_slope": 2.0},
        "value",
        lambda x, negative_slope: torch.maximum(x, negative_slope * x),
    ),
    "exp(x) − 1": ("elu", {"alpha": 1.0}, "value", lambda x, alpha: torch.where(x > 0, x, alpha * (torch.exp(x) - 1))),
    "a slope computed from the rounded result": (
        "elu",
        {"alpha": 1.0},
        "gradient",
        lambda x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x)),
    ),
    "alpha left out of celu's exponent": ("celu", {"alpha": 2.0}, "value", lambda x, alpha: F.elu(x, alpha)),
    "celu's quotient rounded": ("celu", {"alpha": 0.3}, "gradient", lambda x, alpha: F.celu(x, alpha)),
    "selu's slope from the right": ("selu", {}, "gradient", slope_of_the_right_at_zero),
    "rrelu random at evaluation": ("rrelu", {}, "value", rrelu_random_at_evaluation),
    "rrelu's lower bound at evaluation": (
        "rrelu",
        {"lower": 0.1, "upper": 0.9},
        "value",
        lambda x, lower, upper: F.leaky_relu(x, lower),
    ),
    "another slope at 0 in forward mode": (
        "prelu",
        {"weight": cases.PARAMETERS["prelu"][0]["weight"]},
        "forward_gradient",
        forward_mode_of_pytorch,
    ),
    "float32 out of float64": ("relu", {}, "value", lambda x: F.relu(x.float())),
    "a 0-d tensor becomes a vector": ("relu", {}, "value", lambda x: F.relu(x.reshape(-1)).view(x.shape or (1,))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_battery_finds_the_fault(fault):
    activation, parameters, part, function = FAULTS[fault]
    with pytest.raises(AssertionError, match=r"^float(32|64), "):
        check_both(Faulty(activation, function), activation, parameters, part)


def check_both(adapter: Any, activation: str, parameters: dict[str, Any], part: str) -> None:
    for dtype in ("float64", "float32"):
        checks.check(adapter, activation, parameters, dtype, part)


def test_the_battery_finds_an_ignored_inplace_flag():
    with pytest.raises(AssertionError):
        checks.check(FaultyInPlace("relu", F.relu), "relu", {}, "float32", "value")


def test_the_battery_finds_slopes_along_the_wrong_axis_although_sizes_coincide():
    adapter = Faulty("prelu", prelu_on_the_last_axis)
    with pytest.raises(AssertionError, match="ulp"):
        checks.check_prelu_shape(adapter, (2, 4, 4, 4), (4,), 1, "float32", "value")
    checks.check_prelu_shape(adapter, (2, 4, 4, 4), (4,), -1, "float32", "value")


class FaultyDraws(Torch):
    """RReLU in training with a fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def drawn(self, x, dtype, lower, upper, seed):
        value, gradient = super().drawn(x, dtype, lower, upper, seed)
        if self.fault == "another sample":
            gradient = super().drawn(x, dtype, lower, upper, seed + 1)[1]
        elif self.fault == "narrow":
            return super().drawn(x, dtype, lower + 0.05, upper - 0.05, seed)
        elif self.fault == "wide":
            return super().drawn(x, dtype, lower, upper + 0.05, seed)
        elif self.fault == "seed ignored":
            return super().drawn(x, dtype, lower, upper, 0)
        elif self.fault == "neighbours alike":
            value[1::2] = value[::2]
            gradient[1::2] = gradient[::2]
        elif self.fault == "slope 1 at zero":
            gradient[x == 0] = 1
        elif self.fault == "slope 1 at nan":
            gradient[np.isnan(x)] = 1
        elif self.fault == "minus zero lost":
            value = value + np.float32(0)
        elif self.fault == "one for all":
            return super().drawn(x[:1], dtype, lower, upper, seed)[0].repeat(x.size), gradient
        return value, gradient


DRAW_FAULTS = ["another sample", "narrow", "wide", "seed ignored", "neighbours alike", "one for all"]
DRAW_FAULTS += ["slope 1 at zero", "slope 1 at nan", "minus zero lost"]


@pytest.mark.parametrize("fault", DRAW_FAULTS)
def test_the_battery_finds_faults_of_the_random_slopes(fault):
    checks.check_drawn(FaultyDraws("none"), "float32")
    with pytest.raises(AssertionError):
        checks.check_drawn(FaultyDraws(fault), "float32")


def test_the_battery_finds_draws_that_depend_on_the_data():
    """PyTorch's own on the CPU draws for x ≤ 0 alone."""

    class Native(Torch):
        def drawn(self, x, dtype, lower, upper, seed):
            torch.manual_seed(seed)
            one = torch.from_numpy(x).requires_grad_()
            out = F.rrelu(one, lower, upper, training=True)
            return out.detach().numpy(), torch.autograd.grad(out.sum(), one)[0].numpy()

    with pytest.raises(AssertionError, match="the draws depend on the data"):
        checks.check_drawn(Native(), "float32")
