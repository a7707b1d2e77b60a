"""Activations with the layers that feed and read their units: the places where a cure works."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from relume.activations import ACTIVATIONS
from relume.artifacts.findings import Findings, Judged
from relume.errors import CureError
from relume.torch.family import FAMILY
from relume.torch.surgery.channels import LAYERS, TRANSPOSED, Channels, Reader, follow, is_depthwise
from relume.torch.surgery.program import Program, line_of, operation, path_of, shape_of

_ACTIVATIONS = {
    **{name: name for name in FAMILY if ACTIVATIONS[name].elementwise},
    **{"_prelu_kernel": "prelu", "clamp_min": "relu", "threshold": "relu", "hardtanh": "relu6", "maximum": "relu"},
}
_PASSES = frozenset("dropout contiguous clone to _to_copy view reshape permute transpose flatten unflatten".split())


@dataclass(eq=False)
class Gate:
    """One activation of the units of one layer.

    Attributes:
        node: the activation; ``name``: its stem in ``activations/``; ``module``: path of the module that applies it.
        units: how many. ``axis``: of its input, along which they are.
        layer: the linear layer or convolution that makes its input, None if only a normalization does.
        norm: the normalization between the two, None without one.
        sums: something is added between the layer and the activation.
        readers: the layers that read its units. ``carriers``: operations with parameters for each unit on the way
            there.
        stops: unit → why it cannot be cured; ``why``: why none can, "" if some can.
        twins: further applications, by other calls of the same layer.
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
    twins: list[Gate] = field(default_factory=list)

    @property
    def applications(self) -> list[Gate]:
        """The gate and its twins."""
        return [self, *self.twins]

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
        """The gate's name in texts for users."""
        maker = path_of(self.makers[0]) if self.makers else ""
        return f"{self.name} in {self.module or 'the model'}" + (f" after {maker}" if maker else "")

    def is_at(self, module: str, line: int | None = None) -> bool:
        """Whether one of its applications is in a module, and at a line if one is given."""
        return any(each.module == module and line in (None, line_of(each.node)) for each in self.applications)

    def rows(self, value: Tensor) -> Tensor:
        """A tensor of the gate's input shape as (units, samples)."""
        return value.movedim(self.axis, 0).reshape(self.units, -1)

    def inputs(self, values: Mapping[Node, Tensor]) -> Tensor:
        """The pre-activations of all applications, (units, samples)."""
        return torch.cat([each.rows(values[each.input]) for each in self.applications], 1)

    def rows_of_layer(self, value: Tensor) -> Tensor:
        """The same for a tensor of the shape that the layer before the activation gives."""
        return value.movedim(axis_of(self.makers[0]), 0).reshape(self.units, -1)

    def outgoing(self, program: Program) -> Tensor:
        """Σ|w| of the weights that read each unit; shape (units,)."""
        total = torch.zeros(self.units + 1)  # the last is for entries without a unit
        for reader in {reader.weight: reader for reader in self.readers}.values():
            weight = program.model.get_parameter(reader.weight).detach().float().abs()
            if operation(reader.node) in TRANSPOSED:
                weight = weight.transpose(0, 1)
            columns = weight.unflatten(0, (reader.groups, -1)).flatten(3).sum(-1) if weight.ndim > 2 else weight[None]
            ids = reader.channels.ids.to(weight.device)
            total = total.to(weight.device)
            total.index_add_(0, ids.masked_fill(ids < 0, self.units), columns.sum(1).flatten())
        return total[:-1]

    def incoming(self, program: Program) -> Tensor:
        """Σ|w| of the weights that make each unit; shape (units,), 1 if only a normalization does."""
        weight = program.tensor(self.layer.args[1]) if self.layer is not None else None
        if weight is None:
            return torch.ones(self.units, device=next(program.model.parameters()).device)
        return weight.detach().float().abs().movedim(unit_axis(self.layer), 0).flatten(1).sum(1)

    def refusal(self, unit: int) -> str:
        """Why a unit cannot be cured, "" if it can."""
        return self.why or self.stops.get(unit, "")


def gates(program: Program, *, carry: bool = False) -> list[Gate]:
    """The activations of a program in the order in which they run; ``carry`` as in :func:`channels.follow`."""
    found: list[Gate] = []
    for node in program.nodes:
        name = _activation(node)
        if not name:
            continue
        gate = Gate(node, name, path_of(node))
        _wire(program, gate, carry)
        first = next((other for other in found if _is_twin(program, gate, other)), None)
        if first is None:
            found.append(gate)
        else:
            first.twins.append(gate)
    for gate in found:
        _pool(program, gate)
    return found


def _is_twin(program: Program, gate: Gate, other: Gate) -> bool:
    """Whether two gates are one activation of one layer that is called twice."""
    alike = bool(gate.makers) and (gate.name, gate.axis, gate.why) == (other.name, other.axis, other.why)
    pairs = list(zip(gate.makers, other.makers, strict=False)) if alike else []
    return len(pairs) == len(gate.makers) == len(other.makers) > 0 and all(
        isinstance(_weight(one), Node) and program.tensor(_weight(one)) is program.tensor(_weight(two))
        for one, two in pairs
    )


def _pool(program: Program, gate: Gate) -> None:
    """Combine the readers of all applications, and reject those that share a weight with anything else."""
    for twin in gate.twins:
        gate.readers += [reader for reader in twin.readers if reader.node not in [r.node for r in gate.readers]]
        gate.carriers += [each for each in twin.carriers if each[0] not in [node for node, _ in gate.carriers]]
        gate.stops |= twin.stops
    gate.why = gate.why or _unfit_makers(program, gate)
    refuse_shared(program, gate)


def refuse_shared(program: Program, gate: Gate) -> None:
    """Stop the units that a layer reads whose weight another call reads too, of other units."""
    readers = {reader.node: reader.channels for reader in gate.readers}
    for role in (readers, dict(gate.carriers)):
        for node, channels in role.items():
            weights = [node.args[1]] if role is readers else [n for n in node.all_input_nodes if n in program.names]
            for weight in weights:
                calls = program.calls(program.tensor(weight))
                alike = all(call in role and torch.equal(role[call].ids, channels.ids) for call in calls)
                if not alike or _is_tied(program, weight):
                    why = f"{path_of(node)} reads it, whose weight is shared with another layer or call"
                    gate.stops |= {unit: why for unit in channels.units() if unit not in gate.stops}


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
        gate.why = "no layer of the model computes its input"
        return
    maker = gate.makers[-1]
    axis = axis_of(maker)
    gate.units = shape_of(maker)[axis]
    route = follow(program, maker, Channels(axis, torch.arange(gate.units)), until=gate.node, carry=True)
    for unit in set(range(gate.units)) & {u for reader in route.readers for u in reader.channels.units()}:
        gate.stops[unit] = "another layer reads its pre-activation"
    gate.stops |= {unit: f"its pre-activation goes elsewhere: {why}" for unit, why in route.stops.items()}
    if route.arrived is None or not torch.equal(route.arrived.ids, torch.arange(gate.units)):
        gate.why = "its units differ from those of the layer before it"
        return
    gate.axis = route.arrived.axis
    onward = follow(program, gate.node, route.arrived, carry=carry)
    gate.readers, gate.carriers = onward.readers, onward.carriers
    gate.stops |= {unit: why for unit, why in onward.stops.items() if unit not in gate.stops}


def _find_makers(gate: Gate, node: Any) -> bool:
    """Walk from the activation's input back to the layer that makes it; whether there is one."""
    while isinstance(node, Node) and node.op == "call_function":
        name = operation(node)
        if name in LAYERS:
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
    if name in LAYERS and not is_depthwise(node):
        return [node]
    if name in ("add", "mul"):
        both = [makers_of(given) for given in node.args[:2]]
        return [*both[0], *both[1]] if all(both) else []
    if name in LAYERS or name == "batch_norm" or name in _PASSES or name in _ACTIVATIONS or "pool" in name:
        return makers_of(node.args[0])
    return []


def axis_of(maker: Node) -> int:
    """The axis of the units in what a layer or normalization gives."""
    last = operation(maker) in ("linear", "layer_norm")
    return len(shape_of(maker)) - 1 if last else 1


def unit_axis(maker: Node) -> int:
    """The axis of the units in a layer's weight."""
    return int(operation(maker) in TRANSPOSED)


def _unfit_makers(program: Program, gate: Gate) -> str:
    """Why the layers before the activation cannot be written to, "" if they can."""
    for node in gate.makers:
        plain = node is gate.norm and gate.layer is not None and not isinstance(_weight(node), Node)
        twins = {maker for each in gate.applications for maker in each.makers}
        if not plain and (why := unfit_maker(program, node, twins)):
            return why
    return ""


def unfit_maker(program: Program, node: Node, calls: Set[Node]) -> str:
    """Why a layer cannot be written to, "" if it can; ``calls``: its known calls."""
    weight = _weight(node)
    if not isinstance(weight, Node):
        return f"{path_of(node)} has no weight"
    if weight not in program.names:
        return f"the weight of {path_of(node)} is computed, not a parameter"
    if operation(node).endswith("_norm") and len(shape_of(weight)) != 1:
        return f"{path_of(node)} scales each position separately"
    if program.calls(program.tensor(weight)) - calls or _is_tied(program, weight):
        return f"the weight of {path_of(node)} is shared with another layer or call"
    return ""


def _weight(node: Node) -> Any:
    return node.args[_WEIGHT_AT[operation(node)]] if len(node.args) > 1 else None


def _is_tied(program: Program, weight: Node) -> bool:
    """Whether several modules hold a weight."""
    tensor = program.tensor(weight)
    return sum(any(p is tensor for p in module._parameters.values()) for module in program.model.modules()) > 1


_WEIGHT_AT = {**dict.fromkeys(LAYERS, 1), "batch_norm": 1, "layer_norm": 2, "group_norm": 2}
_WEIGHT_AT["instance_norm"] = 1


def dead_units(findings: Findings, program: Program, found: list[Gate]) -> dict[int, tuple[Gate, tuple[int, ...]]]:
    """The dead units of the findings, by the number of their gate.

    Those of an audit belong to a layer: dead units of a layer without an activation are left out.

    Raises: CureError: the findings belong to another model.
    """
    model = type(program.model).__name__
    judged = [each for each in findings.sites if each.site.model.partition("#")[0] in (model, "")]
    if len({each.site.model for each in judged if each.site.model}) > 1:
        raise CureError(
            f"The findings are of several models of the class {model}. Watch the one to cure: with relume.watch(model) "
            "as w, then w.findings().",
            slug="findings-of-another-model",
        )
    if not judged:
        seen = ", ".join(sorted({each.site.model for each in findings.sites})) or "no model"
        raise CureError(
            f"The findings are of {seen}, and the model is a {model}. Give the model that was watched.",
            slug="findings-of-another-model",
        )
    named: dict[int, list[set[int]]] = defaultdict(list)
    for each in judged:
        number = _match(each, found) if each.site.activation else _after_layer(each, program, found)
        if number is not None:
            named[number].append({*each.dead})
    matched = {}
    for number, told in sorted(named.items()):  # a layer that is called twice may be two sites: dead at both
        units = set.intersection(*told) if found[number].twins else set.union(*told)
        if units:
            matched[number] = (found[number], tuple(sorted(units)))
    return matched


def _after_layer(judged: Judged, program: Program, found: list[Gate]) -> int | None:
    """The number of the gate after an audited layer; None without one."""
    site = judged.site
    for number, gate in enumerate(found):
        if gate.units == site.units and site.module in [path_of(node) for node in gate.makers]:
            return number
    if not judged.dead or site.module in dict(program.model.named_modules()):
        return None
    raise CureError(
        f"{site.file} has a layer {site.module} with {site.units} units, but {type(program.model).__name__} has no "
        "layer of this name. Give the model that was saved, with the same names.",
        slug="findings-of-another-model",
    )


def _match(judged: Judged, found: list[Gate]) -> int | None:
    """The number of a site's gate; None without one, if the site has no dead unit."""
    site = judged.site
    tests: list[Callable[[Gate], bool]] = [
        lambda gate: (gate.name, gate.units) == (site.activation, site.units) and gate.is_at(site.module),
        lambda gate: (
            not site.layer or site.layer in [path_of(node) for each in gate.applications for node in each.makers]
        ),
        lambda gate: gate.is_at(site.module, site.line),
    ]
    numbers: Iterable[int] = range(len(found))
    for test in tests:
        fitting = [number for number in numbers if test(found[number])]
        if len(fitting) == 1:
            return fitting[0]
        numbers = fitting or (numbers if test is tests[-1] else [])
    if numbers:  # a loop that applies one layer several times: the gate knows that its weight is shared
        return next(iter(numbers))
    if not judged.dead:
        return None
    raise CureError(
        f"The findings have {site.activation} with {site.units} units at {site.key}, which the model does not apply on "
        "this batch. Give the model that was watched, with the findings of its latest run.",
        slug="findings-of-another-model",
    )
