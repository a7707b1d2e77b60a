"""Units that fire for no input of a box, or for no input at all, by bounds on their pre-activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from relume.artifacts.certificate import Certificate, CertifiedSite
from relume.artifacts.change import Edit
from relume.errors import CureError
from relume.torch.surgery.bounds import BoundPropagation
from relume.torch.surgery.gates import gates
from relume.torch.surgery.program import Program
from relume.torch.surgery.rest import Batch, at_rest, outputs

_JUDGED = ("relu", "relu6")


def certify(model: nn.Module, lower: Any, upper: Any) -> Certificate:
    """See :func:`relume.certify`."""
    low, high = _box(lower, upper)
    middle = torch.where(torch.isfinite(low) & torch.isfinite(high), (low + high) / 2, torch.zeros_like(low))
    outputs(model, Batch.of(middle))  # has a clearer error than the trace
    with at_rest(model):
        model.eval()
        program = Program(model, Batch.of(middle))
        box = BoundPropagation(program, low, high)
        nothing = torch.full_like(low, torch.inf)
        everywhere = BoundPropagation(program, -nothing, nothing, linear=False)
    sites, left = [], []
    for gate in gates(program):
        if gate.name not in _JUDGED or not gate.units or gate.axis == 0:
            left.append(Edit(gate.place, (), gate.why or f"a unit of {gate.name} is not silent below 0"))
            continue
        nodes = [each.input for each in gate.applications]
        if any(box.of(node) is None for node in nodes):
            left.append(Edit(gate.place, (), "it does not depend on the input"))
            continue
        upper_here, upper_there = (
            gate.inputs({node: bounds.of(node)[1] for node in nodes}).amax(1)  # type: ignore[index]
            for bounds in (box, everywhere)
        )
        sites.append(
            CertifiedSite(
                gate.place,
                gate.units,
                tuple((upper_here <= 0).nonzero().flatten().tolist()),
                tuple((upper_there <= 0).nonzero().flatten().tolist()),
                tuple(upper_here.tolist()),
            )
        )
    return Certificate(tuple(sites), tuple(left))


def _box(lower: Any, upper: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(lower, Tensor) or not isinstance(upper, Tensor) or lower.shape != upper.shape or lower.ndim < 2:
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in (lower, upper)]
        raise CureError(
            f"lower and upper are {shapes[0]} and {shapes[1]}. Give two tensors of the shape of the model's input, the "
            "batch axis too: lower of shape (1, …).",
            slug="bad-box",
        )
    if bool((lower > upper).any()) or bool(torch.isnan(lower + upper.sign()).any()):
        raise CureError("lower is above upper somewhere, or one is NaN: the box is empty.", slug="bad-box")
    return lower.detach(), upper.detach()
