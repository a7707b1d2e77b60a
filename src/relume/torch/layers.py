"""The family as modules: subclasses of ``torch.nn``'s, with their signatures, reprs and state_dict keys.

A network takes ours in place of PyTorch's and loads its old checkpoint. Parameters are checked at construction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from relume.activations import Activation
from relume.activations._edge import bound
from relume.torch import functional
from relume.torch._refusals import refuse_axes, refuse_parameters


class ReLU(nn.ReLU):
    """:func:`relume.torch.functional.relu` as a module.

    Args:
        inplace: write the result into the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """max(0, x), in the shape of ``input``."""
        return functional.relu(input, self.inplace)


class LeakyReLU(nn.LeakyReLU):
    """:func:`relume.torch.functional.leaky_relu` as a module.

    Args:
        negative_slope: finite.
        inplace: write the result into the input.
        **others: refused; of ``alpha`` the error says that it is called ``negative_slope``.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False, **others: Any) -> None:
        refuse_parameters("leaky_relu", negative_slope=negative_slope, **others)
        super().__init__(negative_slope, inplace)

    def forward(self, input: Tensor) -> Tensor:
        """x if x > 0 else negative_slope · x."""
        return functional.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(nn.PReLU):
    """:func:`relume.torch.functional.prelu` as a module; ``weight`` holds its slopes.

    Args:
        num_parameters: how many slopes: 1 for all, the size of ``axis``, or a tuple of sizes where ``axis`` is a tuple.
        init: the slopes' start value, finite.
        device: of the slopes.
        dtype: of the slopes.
        axis: the axis of the input, or a tuple of axes, that the slopes run along.

    Raises: ParameterError; ShapeError: there is not one size for each axis.

    Example:
        >>> PReLU(3, axis=-1)
        PReLU(num_parameters=3, axis=-1)
    """

    axis: int | tuple[int, ...] = 1  # of modules that were pickled as PyTorch's

    def __init__(
        self,
        num_parameters: int | tuple[int, ...] = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = None,
        *,
        axis: int | tuple[int, ...] = 1,
    ) -> None:
        refuse_parameters("prelu", weight=init)
        refuse_axes(num_parameters, axis)
        super().__init__(num_parameters, init, device, dtype)
        self.axis = axis

    def forward(self, input: Tensor) -> Tensor:
        """x if x > 0 else weight · x."""
        return functional.prelu(input, self.weight, self.axis)

    def extra_repr(self) -> str:
        """PyTorch's, and the axis where it is not 1."""
        return super().extra_repr() + (f", axis={self.axis}" if self.axis != 1 else "")


class RReLU(nn.RReLU):
    """:func:`relume.torch.functional.rrelu` as a module: random slopes in training, their mean in evaluation.

    Args:
        lower: least slope.
        upper: greatest slope, ≥ ``lower``.
        inplace: write the result into the input.
        generator: what draws the slopes; None is PyTorch's own.
    """

    generator: torch.Generator | None = None  # of modules that were pickled as PyTorch's

    def __init__(
        self,
        lower: float = 1.0 / 8,
        upper: float = 1.0 / 3,
        inplace: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        refuse_parameters("rrelu", lower=lower, upper=upper)
        super().__init__(lower, upper, inplace)
        self.generator = generator

    def forward(self, input: Tensor) -> Tensor:
        """x if x > 0 else s · x."""
        return functional.rrelu(input, self.lower, self.upper, self.training, self.inplace, self.generator)


class ReLU6(nn.ReLU6):
    """:func:`relume.torch.functional.relu6` as a module.

    Args:
        inplace: write the result into the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """min(max(0, x), 6)."""
        return functional.relu6(input, self.inplace)


class ELU(nn.ELU):
    """:func:`relume.torch.functional.elu` as a module.

    Args:
        alpha: finite, ≥ 0.
        inplace: write the result into the input.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        refuse_parameters("elu", alpha=alpha)
        super().__init__(alpha, inplace)

    def forward(self, input: Tensor) -> Tensor:
        """x if x > 0 else alpha · (exp(x) − 1)."""
        return functional.elu(input, self.alpha, self.inplace)


class CELU(nn.CELU):
    """:func:`relume.torch.functional.celu` as a module.

    Args:
        alpha: finite, > 0.
        inplace: write the result into the input.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        refuse_parameters("celu", alpha=alpha)
        super().__init__(alpha, inplace)

    def forward(self, input: Tensor) -> Tensor:
        """x if x > 0 else alpha · (exp(x / alpha) − 1)."""
        return functional.celu(input, self.alpha, self.inplace)


class SELU(nn.SELU):
    """:func:`relume.torch.functional.selu` as a module.

    Args:
        inplace: write the result into the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """ELU with the constants that keep mean 0 and variance 1."""
        return functional.selu(input, self.inplace)


class Elementwise(nn.Module):
    """A module of an activation that PyTorch has none of, with the definition's parameters as its attributes."""

    activation: Activation

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()
        numbers = bound(self.activation, given, named)
        refuse_parameters(self.activation.name, **numbers)
        for name, number in (self.activation.defaults() | numbers).items():
            setattr(self, name, number)

    def forward(self, input: Tensor) -> Tensor:
        """The activation of ``input``, in its shape."""
        return getattr(functional, self.activation.name)(input, **self._numbers())

    def extra_repr(self) -> str:
        """The parameters."""
        return ", ".join(f"{name}={number}" for name, number in self._numbers().items())

    def _numbers(self) -> dict[str, Any]:
        return {p.name: getattr(self, p.name) for p in self.activation.parameters}


def made(activation: Activation) -> type[nn.Module]:
    """The module of an activation that PyTorch has none of."""
    doc = f"``{activation.formula}``: :func:`relume.torch.functional.{activation.name}` as a module."
    doc += "".join(f"\n\n    Args:\n        {p.name}: {p.meaning}, in {p.interval}." for p in activation.parameters)
    own = {"activation": activation, "__doc__": doc, "__module__": __name__}
    return type(activation.title, (Elementwise,), own)


def __getattr__(name: str) -> Any:
    from relume.torch.family import FAMILY

    modules = {member.module.__name__: member.module for member in FAMILY.values()}
    if name == "__all__":
        return sorted(modules)
    if name in modules:
        return modules[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
