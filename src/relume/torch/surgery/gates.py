"""Activations with what feeds and what reads each of their units: the places where a cure works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from relume.activations import ACTIVATIONS
from relume.artifacts.findings import Findings
from relume.artifacts.recording import Site
from relume.errors import CureError
from relume.torch.family import FAMILY
from relume.torch.surgery.channels import CONVOLUTIONS, Channels, Reader, follow
from relume.torch.surgery.program import Program, line_of, operation, path_of, shape_of

_ACTIVATIONS = {
    **{name: name for name in FAMILY if ACTIVATIONS[name].elementwise},
    **{"_prelu_kernel": "prelu", "clamp_min": "relu", "threshold": "relu", "hardtanh": "relu6", "maximum": "relu"},
}
_PASSES = frozenset("dropout contiguous clone to _to_copy view reshape permute transpose flatten unflatten".split())


@dataclass(eq=False)
class Gate:
    """One application of an activation.

    Attributes:
        node: the activation; ``name``: its stem in ``activations/``; ``module``: path of the module that applies it.
        units: how many. ``axis``: of its input, along which they are.
        layer: the linear layer or convolution that makes its input, None if only a normalization does.
        norm: the normalization between the two, None without one.
        sums: something is added between the layer and the activation.
        readers: the layers that read its units. ``carriers``: what has numbers for each unit on the way to them.
        stops: unit → why it cannot be cured; ``why``: why none can, "" if some can.
    """

    node: Node
    name: str
    module: str
    units: int = 0
    axis: int = 0
    layer: Node | None = None
    norm: Node | None = None
    sums: bool = False
    readers: list[Reader] = field(default_factory=list)
    carriers: list[tuple[Node, Channels]] = field(default_factory=list)
    stops: dict[int, str] = field(default_factory=dict)
    why: str = ""

    @property
    def input(self) -> Node:
        """The node of the pre-activation."""
        assert isinstance(self.node.args[0], Node)
        return self.node.args[0]

    @property
    def makers(self) -> list[Node]:
        """The layers that make the pre-activation."""
        return [node for node in (self.norm, self.layer) if node is not None]

    @property
    def place(self) -> str:
        """How the gate is named in what people read."""
        maker = path_of(self.makers[0]) if self.makers else ""
        return f"{self.name} in {self.module or 'the model'}" + (f" after {maker}" if maker else "")

    def rows(self, value: Tensor) -> Tensor:
        """A tensor of the gate's input shape as (units, samples)."""
        return value.movedim(self.axis, 0).reshape(self.units, -1)

    def rows_of_layer(self, value: Tensor) -> Tensor:
        """The same for a tensor of the shape that the layer before the activation gives."""
        return value.movedim(axis_of(self.makers[0]), 0).reshape(self.units, -1)

    def outgoing(self, program: Program) -> Tensor:
        """Σ|w| of the weights that read each unit; shape (units,)."""
        total = torch.zeros(self.units + 1)  # the last is for entries that are no unit's
        for reader in self.readers:
            weight = program.model.get_parameter(reader.weight).detach().float()
            grouped = weight.abs().unflatten(0, (reader.groups, -1)).flatten(3).sum(-1) if weight.ndim > 2 else None
            columns = weight.abs().sum(0) if grouped is None else grouped.sum(1).flatten()
            ids = reader.channels.ids.to(columns.device)
            total = total.to(columns.device).index_add_(0, ids.masked_fill(ids < 0, self.units), columns)
        return total[:-1]

    def incoming(self, program: Program) -> Tensor:
        """Σ|w| of the weights that make each unit; shape (units,), 1 where a normalization alone does."""
        weight = program.tensor(self.layer.args[1]) if self.layer is not None else None
        if weight is None:
            return torch.ones(self.units, device=next(program.model.parameters()).device)
        return weight.detach().float().abs().flatten(1).sum(1)

    def refusal(self, unit: int) -> str:
        """Why a unit cannot be cured, "" if it can."""
        return self.why or self.stops.get(unit, "")


def gates(program: Program, *, carry: bool = False) -> list[Gate]:
    """The activations of a program in the order in which they run; ``carry`` as in :func:`channels.follow`."""
    found = []
    for node in program.nodes:
        name = _activation(node)
        if name:
            gate = Gate(node, name, path_of(node))
            _wire(program, gate, carry)
            found.append(gate)
    return found


def _activation(node: Node) -> str:
    name = operation(node)
    if name == "clamp":
        return "relu" if len(node.args) == 2 and node.args[1] == 0 else ""
    if name == "hardtanh" and (len(node.args) < 2 or node.args[1] != 0):
        return ""
    return _ACTIVATIONS.get(name, "") if shape_of(node) else ""


def _wire(program: Program, gate: Gate, carry: bool) -> None:
    _find_makers(gate, gate.input)
    if not gate.makers:
        gate.why = "no layer of the model makes its input"
        return
    maker = gate.makers[-1]
    axis = axis_of(maker)
    gate.units = shape_of(maker)[axis]
    gate.why = _unfit_makers(program, gate)
    route = follow(program, maker, Channels(axis, torch.arange(gate.units)), until=gate.node, carry=True)
    for unit in set(range(gate.units)) & {u for reader in route.readers for u in reader.channels.units()}:
        gate.stops[unit] = "another layer reads its pre-activation"
    gate.stops |= {unit: f"its pre-activation goes elsewhere: {why}" for unit, why in route.stops.items()}
    if route.arrived is None or not torch.equal(route.arrived.ids, torch.arange(gate.units)):
        gate.why = gate.why or "its units are not those of the layer before it"
        return
    gate.axis = route.arrived.axis
    onward = follow(program, gate.node, route.arrived, carry=carry)
    gate.readers, gate.carriers = onward.readers, onward.carriers
    gate.stops |= {unit: why for unit, why in onward.stops.items() if unit not in gate.stops}


def _find_makers(gate: Gate, node: Any) -> bool:
    """Walk from the activation's input back to the layer that makes it; whether there is one."""
    while isinstance(node, Node) and node.op == "call_function":
        name = operation(node)
        if name == "linear" or name in CONVOLUTIONS:
            gate.layer = node
            return True
        if name in ("layer_norm", "group_norm", "instance_norm"):
            gate.norm = node
            return True
        if name == "add":
            gate.sums = any(_find_makers(gate, given) for given in node.args[:2])
            return gate.sums
        if name == "batch_norm":
            gate.norm = node
        elif name not in _PASSES:
            return False
        node = node.args[0]
    return False


def makers_of(node: Any) -> list[Node]:
    """The layers that make a tensor, through activations, pooling, normalizations and sums; none if one is unknown."""
    if not isinstance(node, Node) or node.op != "call_function" or not node.args:
        return []
    name = operation(node)
    depthwise = name in CONVOLUTIONS and len(node.args) > 6 and int(node.args[6]) > 1
    if (name == "linear" or name in CONVOLUTIONS) and not depthwise:
        return [node]
    if name == "add":
        both = [makers_of(given) for given in node.args[:2]]
        return [*both[0], *both[1]] if all(both) else []
    if depthwise or name == "batch_norm" or name in _PASSES or name in _ACTIVATIONS or "pool" in name:
        return makers_of(node.args[0])
    return []


def axis_of(maker: Node) -> int:
    """The axis of the units in what a layer or normalization gives."""
    last = operation(maker) in ("linear", "layer_norm")
    return len(shape_of(maker)) - 1 if last else 1


def _unfit_makers(program: Program, gate: Gate) -> str:
    """Why the layers before the activation cannot be written to, "" if they can."""
    for node in gate.makers:
        plain = node is gate.norm and gate.layer is not None and not isinstance(_weight(node), Node)
        if not plain and (why := unfit_maker(program, node)):
            return why
    return ""


def unfit_maker(program: Program, node: Node) -> str:
    """Why a layer cannot be written to, "" if it can."""
    weight = _weight(node)
    if not isinstance(weight, Node):
        return f"{path_of(node)} has no weight of its own"
    if weight not in program.names:
        return f"the weight of {path_of(node)} is computed, not a parameter"
    if operation(node).endswith("_norm") and len(shape_of(weight)) != 1:
        return f"{path_of(node)} scales each position for itself"
    if len(weight.users) > 1 or _is_tied(program, weight):
        return f"the weight of {path_of(node)} is shared with another layer or call"
    return ""


def _weight(node: Node) -> Any:
    return node.args[_WEIGHT_AT[operation(node)]] if len(node.args) > 1 else None


def _is_tied(program: Program, weight: Node) -> bool:
    tensor = program.tensor(weight)
    return sum(each is tensor for _, each in program.model.named_parameters(remove_duplicate=False)) > 1


_WEIGHT_AT = {"linear": 1, **dict.fromkeys(CONVOLUTIONS, 1), "batch_norm": 1, "layer_norm": 2, "group_norm": 2}
_WEIGHT_AT["instance_norm"] = 1


def dead_units(findings: Findings, program: Program, found: list[Gate]) -> dict[int, tuple[Gate, tuple[int, ...]]]:
    """The dead units of the findings at the gates that they are of, by the gate's number.

    Those of an audit are a layer's: what it calls dead in a layer without an activation is left out.

    Raises: CureError: the findings are of another model.
    """
    model = type(program.model).__name__
    judged = [each for each in findings.sites if each.site.model.partition("#")[0] in (model, "")]
    if len({each.site.model for each in judged if each.site.model}) > 1:
        raise CureError(
            f"The findings are of several models of the class {model}. Watch the one that is to be cured: "
            "with relume.watch(model) as w, then w.findings().",
            slug="findings-of-another-model",
        )
    if not judged:
        seen = ", ".join(sorted({each.site.model for each in findings.sites})) or "no model"
        raise CureError(
            f"The findings are of {seen}, and the model is a {model}. Give the model that was watched.",
            slug="findings-of-another-model",
        )
    matched: dict[int, tuple[Gate, tuple[int, ...]]] = {}
    for each in judged:
        if each.dead:
            audited = not each.site.activation
            number = _after_layer(each.site, program, found) if audited else _match(each.site, found)
            if number is None:
                continue
            earlier = matched.get(number, (found[number], ()))[1]
            matched[number] = (found[number], tuple(sorted({*earlier, *each.dead})))
    return matched


def _after_layer(site: Site, program: Program, found: list[Gate]) -> int | None:
    """The number of the gate after an audited layer; None without one."""
    for number, gate in enumerate(found):
        if gate.units == site.units and site.module in [path_of(node) for node in gate.makers]:
            return number
    if site.module in dict(program.model.named_modules()):
        return None
    raise CureError(
        f"{site.file} has a layer {site.module} with {site.units} units, {type(program.model).__name__} has none of "
        "this name. Give the model that was saved, under the names that it was saved with.",
        slug="findings-of-another-model",
    )


def _match(site: Site, found: list[Gate]) -> int:
    """The number of a site's gate."""
    tests: list[Callable[[Gate], bool]] = [
        lambda gate: (gate.module, gate.name, gate.units) == (site.module, site.activation, site.units),
        lambda gate: not site.layer or site.layer in [path_of(node) for node in gate.makers],
        lambda gate: line_of(gate.node) == site.line,
    ]
    numbers: Iterable[int] = range(len(found))
    for test in tests:
        fitting = [number for number in numbers if test(found[number])]
        if len(fitting) == 1:
            return fitting[0]
        numbers = fitting or (numbers if test is tests[-1] else [])
    if numbers:  # a loop that applies one layer several times: its weight is shared, which the gate knows
        return next(iter(numbers))
    raise CureError(
        f"{site.activation} with {site.units} units at {site.key} of the findings is not in the model on this batch. "
        "Give the model that was watched, with the findings of its latest run.",
        slug="findings-of-another-model",
    )
