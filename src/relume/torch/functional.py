"""The family as functions on PyTorch tensors: ``torch.nn.functional``'s names and signatures, one convention.

Each calls PyTorch's own operation where that is right and computes by others where it is not. What PyTorch does
otherwise is listed in ``deviations.toml``. A function is one call to modes and tensor subclasses, as PyTorch's are.

All keep dtype, shape, device and memory format, and work under double backward, forward mode, vmap, autocast,
``torch.compile(fullgraph=True)``, ``torch.export`` and ``torch.jit.trace``; ``torch.jit.script``, which PyTorch has
deprecated, does not take them. What PyTorch has right (``gelu``, ``silu`` …) is PyTorch's own function, by the table of
:mod:`relume.torch.family`. Integers are refused but by ``relu`` and ``relu6``; so are bool,
complex and 8-bit floating tensors.

From 2²¹ elements on, LeakyReLU with a slope of 0 or more, RReLU in evaluation and ReLU6 keep their output alone for
backward. ELU, CELU and SELU do so in place.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import Any

import torch
import torch.nn.functional as F  # the field's name for it
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

from relume.activations._edge import axes_of
from relume.activations.selu import SCALE, SCALED_ALPHA
from relume.torch import _large
from relume.torch._exponential import traced
from relume.torch._large import is_transformed
from relume.torch._refusals import accepted, refuse_dtype, refuse_mixed, refuse_parameters, refuse_slopes
from relume.torch._slopes import drawn

_FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_NUMBERS = (float, int)
_SELU_ALPHA = SCALED_ALPHA / SCALE  # the operation multiplies by SCALE


# ---- piecewise linear ----------------------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Rectified linear unit: ``max(0, x)``. See :mod:`relume.activations.relu`.

    Args:
        input: floating or integer tensor, any shape.
        inplace: write the result into ``input``.

    Raises: DtypeError: bool, complex or 8-bit floating.

    Example:
        >>> relu(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [0.0, 0.0, 3.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(relu, (input,), input, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("relu", input)
    return torch.relu_(input) if inplace else torch.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False, **others: Any) -> Tensor:
    """Leaky rectified linear unit: ``x if x > 0 else negative_slope * x``. See :mod:`relume.activations.leaky_relu`.

    Args:
        input: floating tensor, any shape.
        negative_slope: finite. In place with a negative one, backward raises, as in PyTorch.
        inplace: write the result into ``input``.
        **others: refused; of ``alpha`` the error says that it is called ``negative_slope``.

    Raises: DtypeError, ParameterError.

    Example:
        >>> leaky_relu(torch.tensor([-2.0, 0.0, 3.0]), 0.5).tolist()
        [-1.0, 0.0, 3.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(leaky_relu, (input,), input, negative_slope=negative_slope, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("leaky_relu", input)
    if others:  # such as Keras's alpha
        refuse_parameters("leaky_relu", **others)
    if not (type(negative_slope) in _NUMBERS and -inf < negative_slope < inf):
        negative_slope = accepted("leaky_relu", negative_slope=negative_slope)
    return _large.leaky_relu(input, negative_slope, inplace)


def prelu(input: Tensor, weight: Tensor, axis: int | tuple[int, ...] = 1) -> Tensor:
    """Parametric rectified linear unit: ``x if x > 0 else weight * x``. See :mod:`relume.activations.prelu`.

    Args:
        input: floating tensor, shape (N, C, …) where ``axis`` is 1.
        weight: one slope for all, or shape (C,), one for each unit of ``axis``; with several axes one axis each.
        axis: the axis, or a tuple of axes, that the slopes run along.

    Raises: DtypeError; ShapeError: the slopes do not fit, or there is no such axis.

    Example:
        >>> prelu(torch.full((2, 2), -1.0), torch.tensor([0.5, 0.25]), axis=0).tolist()
        [[-0.5, -0.5], [-0.25, -0.25]]
    """
    if has_torch_function_variadic(input, weight):
        return handle_torch_function(prelu, (input, weight), input, weight, axis=axis)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("prelu", input)
    if input.dtype != weight.dtype:
        refuse_mixed(input, weight)
    if axis == 1 and weight.ndim == 1 < input.ndim and weight.shape[0] == input.shape[1] and not is_transformed():
        return _large.prelu(input, weight)
    spread = _spread(weight, input, axis)
    if forward_ad._current_level >= 0:  # PyTorch's forward mode has slope 1 at 0
        return _prelu_composed(input, weight.reshape(spread))
    if len(spread) == 0 or _only(spread) in (None, 1):
        return _large.prelu(input, weight.reshape(-1) if weight.ndim > 1 else weight)
    place = _only(spread)
    if place < 0:
        return _prelu_composed(input, weight.reshape(spread))
    if input.ndim == 1:
        return _large.prelu(input.unsqueeze(0), weight).squeeze(0)
    return _large.prelu(input.transpose(place, 1), weight.reshape(-1)).transpose(place, 1)


def _spread(weight: Tensor, input: Tensor, axis: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which the slopes broadcast: () where they are one, else of as many axes as the input."""
    if weight.numel() == 1 and weight.ndim <= 1:
        return ()
    axes = axes_of(axis)
    places = [a + input.ndim if a < 0 else a for a in axes]
    shape = [1] * input.ndim
    fits = len(axes) == weight.ndim and all(a < b for a, b in pairwise(places))
    for place, size in zip(places, weight.shape, strict=False):
        if not 0 <= place < input.ndim or size not in (1, input.shape[place]):
            fits = False
            break
        shape[place] = size
    if not fits:
        refuse_slopes(input, weight, axis)
    return tuple(shape)


def _only(shape: tuple[int, ...]) -> Any:
    """The one axis along which there are slopes; None if there is none, −1 if there are several."""
    found = [place for place, size in enumerate(shape) if size != 1]
    return None if not found else found[0] if len(found) == 1 else -1


def _prelu_composed(input: Tensor, weight: Tensor) -> Tensor:
    above = input > 0
    below = torch.where(above, 0, input)  # so that no inf reaches the gradient of the slopes
    return torch.where(above, input, weight.to(input.dtype) * below)


def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Randomized leaky rectified linear unit: ``x if x > 0 else s * x``. See :mod:`relume.activations.rrelu`.

    Args:
        input: floating tensor, any shape.
        lower: least slope.
        upper: greatest slope, ≥ ``lower``.
        training: draw s for each element from U(lower, upper), whatever its sign: how many numbers are drawn does not
            depend on the data. Otherwise s is the mean of both, and nothing is drawn or kept.
        inplace: write the result into ``input``.
        generator: what draws; None is PyTorch's own. Under ``torch.compile`` leave it None.

    Raises: DtypeError; ParameterError: a bound is not finite, or ``lower`` is above ``upper``.

    Example:
        >>> rrelu(torch.tensor([-1.0, 1.0]), 0.25, 0.75).tolist()
        [-0.5, 1.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            rrelu, (input,), input, lower=lower, upper=upper, training=training, inplace=inplace, generator=generator
        )
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("rrelu", input)
    if not (_finite(lower) and _finite(upper) and lower <= upper):
        refuse_parameters("rrelu", lower=lower, upper=upper)
    if not training:
        return _large.leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = drawn(input.detach(), lower, upper, generator)
    return input.mul_(slopes) if inplace else input * slopes


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Rectified linear unit up to 6: ``min(max(0, x), 6)``. See :mod:`relume.activations.relu6`.

    Args:
        input: floating or integer tensor, any shape.
        inplace: write the result into ``input``.

    Raises: DtypeError: bool, complex or 8-bit floating.

    Example:
        >>> relu6(torch.tensor([-2.0, 3.0, 7.0])).tolist()
        [0.0, 3.0, 6.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(relu6, (input,), input, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("relu6", input)
        return F.relu6(input, inplace)
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():  # compiled, PyTorch's loses the sign of 0
        bounded = torch.where(input >= 6, 6, torch.relu(input))
        return input.copy_(bounded) if inplace else bounded
    return _large.relu6(input, inplace)


# ---- squares -------------------------------------------------------------------------------------------------------


def relu_squared(input: Tensor) -> Tensor:
    """Squared rectified linear unit: ``max(0, x)²``. See :mod:`relume.activations.relu_squared`.

    Args:
        input: floating tensor, any shape.

    Raises: DtypeError.

    Example:
        >>> relu_squared(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [0.0, 0.0, 9.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(relu_squared, (input,), input)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("relu_squared", input)
    return torch.relu(input).square()


def leaky_squared(input: Tensor, negative_slope: float = 0.5) -> Tensor:
    """Squared leaky rectified linear unit: ``leaky_relu(x)²``. See :mod:`relume.activations.leaky_squared`.

    Args:
        input: floating tensor, any shape.
        negative_slope: of LeakyReLU before the square: finite.

    Raises: DtypeError, ParameterError.

    Example:
        >>> leaky_squared(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [1.0, 0.0, 9.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(leaky_squared, (input,), input, negative_slope=negative_slope)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("leaky_squared", input)
    if not (type(negative_slope) in _NUMBERS and -inf < negative_slope < inf):
        negative_slope = accepted("leaky_squared", negative_slope=negative_slope)
    return _large.leaky_relu(input, negative_slope, False).square()


# ---- exponential ---------------------------------------------------------------------------------------------------


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Exponential linear unit: ``x if x > 0 else alpha * (exp(x) - 1)``. See :mod:`relume.activations.elu`.

    Args:
        input: floating tensor, any shape.
        alpha: finite, ≥ 0.
        inplace: write the result into ``input``. The slope is then taken from the rounded result, as in PyTorch.

    Raises: DtypeError, ParameterError.

    Example:
        >>> elu(torch.tensor([-1e-8, 2.0])).tolist()
        [-9.99999993922529e-09, 2.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(elu, (input,), input, alpha=alpha, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("elu", input)
    if not (type(alpha) in _NUMBERS and 0 <= alpha < inf):
        alpha = accepted("elu", alpha=alpha)
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return traced(input, alpha, 1.0, 1.0, inplace)
    return (torch._C._nn.elu_ if inplace else torch._C._nn.elu)(input, alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Continuously differentiable ELU: ``x if x > 0 else alpha * (exp(x / alpha) - 1)``.

    See :mod:`relume.activations.celu`.

    Args:
        input: floating tensor, any shape.
        alpha: finite, > 0.
        inplace: as for :func:`elu`.

    Raises: DtypeError, ParameterError.

    Example:
        >>> celu(torch.tensor([-1e9, 2.0]), alpha=0.5).tolist()
        [-0.5, 2.0]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(celu, (input,), input, alpha=alpha, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("celu", input)
    if not (type(alpha) in _NUMBERS and 0 < alpha < inf):
        alpha = accepted("celu", alpha=alpha)
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return traced(input, alpha, 1.0, 1.0 / alpha, inplace)
    if alpha != 1 and input.dtype is torch.float64:  # PyTorch's backward holds 1 / alpha in float32
        y = torch.where(input > 0, input, torch._C._nn.elu(input / alpha, alpha))
        return input.copy_(y) if inplace else y
    return (torch.celu_ if inplace else torch.celu)(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled ELU: ELU with the constants that keep mean 0 and variance 1. See :mod:`relume.activations.selu`.

    Args:
        input: floating tensor, any shape.
        inplace: as for :func:`elu`.

    Raises: DtypeError.

    Example:
        >>> selu(torch.tensor([0.0, 2.0])).tolist()
        [0.0, 2.1014020442962646]
    """
    if has_torch_function_unary(input):
        return handle_torch_function(selu, (input,), input, inplace=inplace)
    if getattr(input, "dtype", None) not in _FLOATING:
        refuse_dtype("selu", input)
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return traced(input, _SELU_ALPHA, SCALE, 1.0, inplace)
    return (torch.selu_ if inplace else torch.selu)(input)


def _finite(number: Any) -> bool:
    """Whether a parameter is a finite number; a tensor is left to the operation."""
    if isinstance(number, bool):
        return False
    if isinstance(number, (int, float)):
        return -inf < number < inf
    return isinstance(number, (Tensor, torch.SymFloat, torch.SymInt))


# ---- in place ------------------------------------------------------------------------------------------------------


def relu_(input: Tensor) -> Tensor:
    """:func:`relu` in place."""
    return relu(input, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """:func:`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def rrelu_(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """:func:`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True, generator=generator)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """:func:`elu` in place."""
    return elu(input, alpha, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """:func:`celu` in place."""
    return celu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """:func:`selu` in place."""
    return selu(input, inplace=True)


def __getattr__(name: str) -> Any:
    from relume.torch.family import FAMILY

    if name == "__all__":
        return sorted([*FAMILY, *(own for own in globals() if own.endswith("_") and own[:-1] in FAMILY)])
    if name in FAMILY:
        return FAMILY[name].function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
