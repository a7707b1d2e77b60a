"""Which of PyTorch's callables is which activation, and which are layers: tables, no behavior.

A table's key is the callable as ``__torch_function__`` is handed it: ``F.relu``, ``torch.relu`` and
``torch.Tensor.relu`` are three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # the field's name for it
from torch import Tensor

from relume.activations import ACTIVATIONS
from relume.torch.family import FAMILY, callees

Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]


@dataclass(frozen=True)
class Applied:
    """An activation as one call applies it.

    ``name`` is its stem in ``activations/``; ``parameters`` are the call's, by that file's names.
    ``clamp``: written as a clamp, so that it counts only where its input comes from a layer. ``code``: it gives a
    sparse code, in which a unit fires where it is not 0.
    """

    name: str
    parameters: Mapping[str, float]
    clamp: bool = False
    code: bool = False


Reading = Callable[[Arguments, Keywords], Applied | None]
"""Reads a call's arguments; None: this call is no activation of ours."""


def _argument(args: Arguments, kwargs: Keywords, place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _of(name: str) -> Reading:
    """An activation whose numbers stand in the definition's order after the input; what is learned is read later."""
    numbers = [p for p in ACTIVATIONS[name].parameters if not p.choices and not p.learnable]
    plain = Applied(name, {})

    def read(args: Arguments, kwargs: Keywords) -> Applied:
        given = {
            p.name: float(_argument(args, kwargs, place, p.name, p.default)) for place, p in enumerate(numbers, start=1)
        }
        return Applied(name, given) if given else plain

    return read


def _hardtanh(args: Arguments, kwargs: Keywords) -> Applied | None:
    low = _argument(args, kwargs, 1, "min_val", -1.0)
    high = _argument(args, kwargs, 2, "max_val", 1.0)
    return _between(low, high, clamp=False)


def _clamp(args: Arguments, kwargs: Keywords) -> Applied | None:
    return _between(_argument(args, kwargs, 1, "min", None), _argument(args, kwargs, 2, "max", None), clamp=True)


def _clamp_min(args: Arguments, kwargs: Keywords) -> Applied | None:
    return _between(_argument(args, kwargs, 1, "min", None), None, clamp=True)


def _between(low: Any, high: Any, *, clamp: bool) -> Applied | None:
    """A clamp to [0, ∞) is a ReLU, one to [0, c] a ReLU6 with another bound; anything else is neither."""
    if isinstance(low, Tensor) or isinstance(high, Tensor) or low != 0:
        return None
    if high is None:
        return Applied("relu", {}, clamp)
    return Applied("relu6", {} if high == 6 else {"max_val": float(high)}, clamp)


def _threshold(args: Arguments, kwargs: Keywords) -> Applied | None:
    """With the value 0 a ReLU, or with a threshold other than 0 a JumpReLU."""
    is_zero = _argument(args, kwargs, 2, "value", None) == 0
    return Applied("relu", {}, code=_argument(args, kwargs, 1, "threshold", None) != 0) if is_zero else None


def _maximum(args: Arguments, kwargs: Keywords) -> Applied | None:
    """``maximum(x, zero)`` with a zero on the CPU: reading one on an accelerator would wait for it."""
    other = _argument(args, kwargs, 1, "other", None)
    if isinstance(other, Tensor) and other.numel() == 1 and other.device.type == "cpu" and float(other) == 0.0:
        return Applied("relu", {}, clamp=True)
    return None


def _calls(name: str) -> dict[Callable[..., Any], Reading]:
    every = (*(each.function for each in callees(name, (F, torch, Tensor, torch._C._nn))), FAMILY[name].function)
    return dict.fromkeys(every, _of(name))


ACTIVATION_CALLS: dict[Callable[..., Any], Reading] = {
    **{call: reading for name in FAMILY if ACTIVATIONS[name].elementwise for call, reading in _calls(name).items()},
    **dict.fromkeys((F.hardtanh, F.hardtanh_, torch._C._nn.hardtanh), _hardtanh),
    **dict.fromkeys((torch.clamp, Tensor.clamp, torch.clamp_, Tensor.clamp_), _clamp),
    **dict.fromkeys((torch.clip, Tensor.clip, torch.clip_, Tensor.clip_), _clamp),
    **dict.fromkeys((torch.clamp_min, Tensor.clamp_min, torch.clamp_min_, Tensor.clamp_min_), _clamp_min),
    **dict.fromkeys((F.threshold, torch.threshold, torch.threshold_), _threshold),
    **dict.fromkeys((torch.maximum, Tensor.maximum, torch.max, Tensor.max), _maximum),
}
"""Every call that applies an activation which relume defines (softmax has no units to judge)."""

_BOTH_SIDES = "it is flat around 0 and steep on both sides, so a unit that outputs 0 is not stuck there"
_NO_FLAT_SIDE = "its slope never vanishes on only one side, so its units cannot die"
_GATED = "half of its input gates the other half, so its output has no pre-activation"

UNJUDGED_CALLS: dict[Callable[..., Any], tuple[str, str]] = {
    F.glu: ("glu", _GATED),
    F.logsigmoid: ("logsigmoid", "it belongs to a loss: the units whose slope vanishes are those that are right"),
    F.softsign: ("softsign", _NO_FLAT_SIDE),
    F.tanhshrink: ("tanhshrink", _BOTH_SIDES),
    F.hardshrink: ("hardshrink", _BOTH_SIDES),
    F.softshrink: ("softshrink", _BOTH_SIDES),
    torch._transformer_encoder_layer_fwd: (
        "relu or gelu in TransformerEncoderLayer's fast path",
        "relume does not know this activation",
    ),
}
"""Activations that are not judged: what the report calls them, and why."""

RECURRENT_CALLS: dict[Callable[..., Any], Applied] = {torch.rnn_relu: Applied("relu", {})}
"""All layers and steps of a recurrent network in one call, which gives the last layer's activations."""

LAYER_CALLS: dict[Callable[..., Any], tuple[int, int]] = {
    F.linear: (1, -1),
    F.bilinear: (2, -1),
    F.embedding: (1, -1),
    F.conv1d: (1, -2),
    F.conv2d: (1, -3),
    F.conv3d: (1, -4),
    F.conv_transpose1d: (1, -2),
    F.conv_transpose2d: (1, -3),
    F.conv_transpose3d: (1, -4),
}
"""A layer's call → (place of its weight among the arguments, unit axis of its result)."""

NORM_CALLS: dict[Callable[..., Any], tuple[int, str, int]] = {
    F.batch_norm: (3, "weight", 1),
    F.instance_norm: (3, "weight", 1),
    F.group_norm: (2, "weight", 1),
    F.layer_norm: (2, "weight", -1),
}
"""A normalization's call → (place and name of its weight, unit axis); without a weight the layer before it stays."""

MATMUL_CALLS = frozenset(
    (
        *(torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.mm, Tensor.mm),
        *(torch.bmm, Tensor.bmm, torch.addmm, Tensor.addmm, torch.baddbmm, torch.einsum),
    )
)
"""Products: layers where one factor is a parameter."""

ARITHMETIC_CALLS = frozenset(
    (
        *(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.add_, Tensor.__iadd__),
        *(torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__rsub__, torch.rsub),
        *(torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.mul_, Tensor.__imul__),
        *(torch.neg, Tensor.neg, Tensor.__neg__, torch.div, Tensor.div, Tensor.__truediv__),
    )
)
"""Arithmetic: with a plain number it is how losses are written (``relu(1 - score)``), seldom how layers are joined."""
