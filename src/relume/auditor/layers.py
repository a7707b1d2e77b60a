"""Weights → layers with units: which axis a unit is on, and which normalization follows a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from relume.auditor.checkpoint import Checkpoint
from relume.auditor.naming import is_embedding

Shape = tuple[int, ...]

_WEIGHTS = {"weight": 0, "kernel": -1, "w": -1, "W": -1}
"""The names of a layer's weight, and the axis of its units if its bias does not determine it."""

_BIASES = {"bias", "b"}
_BRANCH = re.compile(r"downsample|shortcut|skip|residual", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """A layer whose units are judged; its parameters by their names in the checkpoint.

    Attributes:
        name: the module's. ``units``: their number. ``axis``: of the units in the weight.
        weight: None for a normalization whose layer is unknown. ``bias``: None without one.
        scale, shift: of the batch normalization that follows, None without one; ``norm``: the name of its module.
    """

    name: str
    units: int
    axis: int = 0
    weight: str | None = None
    bias: str | None = None
    scale: str | None = None
    shift: str | None = None
    norm: str = ""

    @property
    def parameters(self) -> tuple[tuple[str, int], ...]:
        """(name, axis of the units) of every parameter whose gradient passes through the units."""
        own = ((self.weight, self.axis), (self.bias, 0), (self.scale, 0), (self.shift, 0))
        return tuple((name, axis) for name, axis in own if name is not None)


def layers_of(found: Checkpoint) -> tuple[list[Layer], list[tuple[str, str, str]]]:
    """The layers whose units can be judged, in file order; and (what, where, why) of those left out."""
    shapes = {name: tensor.shape for name, tensor in found.weights.items()}
    shapes |= {name: moments.first.shape for name, moments in found.moments.items() if name not in shapes}
    modules: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        module, _, parameter = name.rpartition(".")
        modules.setdefault(module, {})[parameter] = shape
    inputs_first = _inputs_first(modules)
    layers: dict[int, Layer] = {}
    norms: dict[int, Layer] = {}
    skipped: list[tuple[str, str, str]] = []
    for place, (module, own) in enumerate(modules.items()):
        layer = _layer(module, own, inputs_first=inputs_first)
        if layer is not None and layer.bias is None and is_embedding(module):
            skipped.append((f"{layer.units:,} rows", module, "an embedding's rows are not units"))
        elif layer is not None:
            layers[place] = layer
        elif (norm := _normalization(module, own)) is not None:
            norms[place] = norm
        elif large := sorted(name for name, shape in own.items() if len(shape) > 1):
            why = "not the weight of a linear layer or a convolution"
            skipped.append((", ".join(large[:3]), module or "the file", why))
    _join(layers, {place: norm for place, norm in norms.items() if not _BRANCH.search(norm.name)}, found)
    return [layers[place] for place in sorted(layers)], skipped


def _layer(module: str, own: Mapping[str, Shape], *, inputs_first: bool) -> Layer | None:
    weight = next((name for name in own if name in _WEIGHTS and len(own[name]) > 1), None)
    if weight is None:
        return None
    bias = next((name for name in own if name in _BIASES and len(own[name]) == 1), None)
    shape, usual = own[weight], _WEIGHTS[weight] % len(own[weight])
    if weight == "weight" and inputs_first and len(shape) == 2:
        usual = 1
    axis = usual if bias is None else _axis(shape, own[bias][0], usual)
    if axis is None:
        return None
    prefix = f"{module}." if module else ""
    return Layer(module or "model", shape[axis], axis, prefix + weight, None if bias is None else prefix + bias)


def _axis(shape: Shape, units: int, usual: int) -> int | None:
    """The axis with the bias's length: the usual one, the next one in a transposed convolution, or none."""
    return next((axis for axis in (usual, 0, 1, len(shape) - 1) if axis < len(shape) and shape[axis] == units), None)


def _inputs_first(modules: Mapping[str, Mapping[str, Shape]]) -> bool:
    """Whether the matrices are (inputs, outputs), as in GPT-2, judging by those with a bias."""
    told = [
        own["bias"][0] == own["weight"][1]
        for own in modules.values()
        if len(own.get("weight", ())) == 2 and len(own.get("bias", ())) == 1 and own["weight"][0] != own["weight"][1]
    ]
    return bool(told) and all(told)


def _normalization(module: str, own: Mapping[str, Shape]) -> Layer | None:
    """A batch normalization, recognized by its running statistics (PyTorch's or Keras's)."""
    for scale, shift, mean in (("weight", "bias", "running_mean"), ("gamma", "beta", "moving_mean")):
        if mean in own and len(own.get(scale, ())) == 1 and scale in own and shift in own:
            return Layer(module, own[scale][0], scale=f"{module}.{scale}", shift=f"{module}.{shift}", norm=module)
    return None


def _join(layers: dict[int, Layer], norms: Mapping[int, Layer], found: Checkpoint) -> None:
    """Assign each normalization to the layer before it; one whose layer is unknown is judged separately."""
    for place, norm in norms.items():
        free = [i for i, layer in layers.items() if layer.units == norm.units and layer.weight and not layer.norm]
        before = max((i for i in layers if i < place), default=-1)
        if found.layout is not None:
            near = [i for i in free if layers[i].name == found.layout.follows.get(norm.name)]
        elif found.ordered:
            near = [i for i in free if i == before]
        else:
            near = [i for i in free if _are_neighbours(layers[i].name, norm.name)]
        if len(near) == 1:
            layers[near[0]] = replace(layers[near[0]], scale=norm.scale, shift=norm.shift, norm=norm.name)
        else:
            layers[place] = norm


def _are_neighbours(layer: str, norm: str) -> bool:
    """Whether the names of two sibling modules belong together: ``conv1`` and ``bn1``, ``0`` and ``1``."""
    (parent, _, one), (other, _, two) = layer.rpartition("."), norm.rpartition(".")
    if parent != other:
        return False
    if one.isdigit() and two.isdigit():
        return int(two) == int(one) + 1
    return not two.isdigit() and re.findall(r"\d+$", one) == re.findall(r"\d+$", two)
