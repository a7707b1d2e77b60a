"""The errors of this folder: relume's own, which are PyTorch's classes too and hold its words.

Code that catches errors of ``torch.nn.functional`` still catches them.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from relume.activations import ACTIVATIONS
from relume.activations._edge import axes_of, require_dtype, slopes_shape
from relume.errors import DtypeError, ParameterError, ShapeError


class TorchParameterError(ParameterError, RuntimeError):
    """A parameter outside its bounds."""


class TorchShapeError(ShapeError, RuntimeError):
    """Slopes that do not fit the input."""


class TorchDtypeError(DtypeError, NotImplementedError):
    """A dtype on which the activation has no meaning."""


_TORCHS_WORDS = {
    "celu": "ZeroDivisionError: alpha cannot be 0 for CELU",
    "rrelu": "Lower bound should be less than or equal to the upper bound",
}


def refuse_dtype(name: str, input: Any) -> None:
    """Raise for a dtype on which the activation has no meaning; an object that is not a tensor is a TypeError."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if input.is_quantized:
        return
    try:
        require_dtype(ACTIVATIONS[name], str(input.dtype).removeprefix("torch."), tuple(input.shape), "input.float()")
    except DtypeError as error:
        raise TorchDtypeError(_bare(error), slug="dtype") from None


def refuse_parameters(name: str, **given: Any) -> None:
    """Raise for parameters outside their bounds, in the definition's words and PyTorch's."""
    try:
        ACTIVATIONS[name].check(**given)
    except ParameterError as error:
        words = f" ({_TORCHS_WORDS[name]}.)" if name in _TORCHS_WORDS else ""
        raise TorchParameterError(_bare(error) + words, slug="parameter-out-of-bounds") from None


def accepted(name: str, **given: Any) -> Any:
    """The one parameter as PyTorch's operations take it: a tensor as it is, NumPy's number as float; or an error."""
    (number,) = given.values()
    if isinstance(number, (Tensor, torch.SymFloat, torch.SymInt)):
        return number
    refuse_parameters(name, **given)
    return float(number)


def refuse_axes(sizes: int | tuple[int, ...], axis: int | tuple[int, ...]) -> None:
    """Raise where a module's slopes do not have one size for each of its axes."""
    count = 1 if isinstance(sizes, int) else len(tuple(sizes))
    if count != len(axes_of(axis)):
        raise TorchShapeError(
            f"PReLU: num_parameters = {sizes} for axis = {axis}. Expected one size for each axis: "
            "PReLU((4, 5), axis=(1, 2)).",
            slug="weight-shape",
        )


def refuse_slopes(input: Tensor, weight: Tensor, axis: int | tuple[int, ...]) -> NoReturn:
    """Raise for slopes that do not fit, and say which shapes would."""
    try:
        slopes_shape(tuple(weight.shape), tuple(input.shape), axis)
    except ShapeError as error:
        message, found = _bare(error), error.slug
    else:
        message, found = f"PReLU: weight of shape {tuple(weight.shape)} does not fit axis = {axis}.", ""
    if weight.ndim > 1 and isinstance(axis, int):
        words = f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
    elif input.ndim == 0:
        words = "Not allow zero-dim input tensor."
    else:
        words = "Mismatch of parameter numbers and input channel size."
    raise TorchShapeError(
        f"{message} ({words})",
        slug="axis-order"
        if found == "axis-order"
        else ("axis-out-of-range" if found == "axis-out-of-range" else "weight-shape"),
    )


def refuse_mixed(input: Tensor, weight: Tensor) -> None:
    """Raise for slopes of another dtype than the input's, as PyTorch does, but under autocast."""
    if input.dtype != weight.dtype and not torch.is_autocast_enabled(input.device.type):
        raise TorchDtypeError(
            f"PReLU: the input is {input.dtype}, the slopes are {weight.dtype} (prelu: Type promoting not supported). "
            "Convert one of both, for example with module.to(dtype).",
            slug="dtype",
        )


def _bare(error: Any) -> str:
    return str(error).removesuffix(f" [{error.slug}]")
