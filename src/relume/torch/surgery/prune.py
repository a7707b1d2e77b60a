"""Dead units cut out of a copy of a model: a smaller model with the same outputs."""

from __future__ import annotations

import copy
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.parameter import Parameter
from torch.utils.flop_counter import FlopCounterMode

from relume.artifacts.change import Change, Check, Edit
from relume.artifacts.findings import Findings
from relume.artifacts.numbers import percent
from relume.errors import CureError
from relume.torch.surgery.channels import Reader, groups_of, is_depthwise
from relume.torch.surgery.gates import Gate, dead_units, gates
from relume.torch.surgery.program import Program, path_of, without_fast_path
from relume.torch.surgery.rest import Batch, at_rest, distance, outputs
from relume.torch.surgery.trunks import key, trunk

TOLERANCE = 1e-5
"""Share of the largest output by which outputs may move, as fewer terms are summed in another order.

At most 2.6e-7 was measured on the networks of the tests, in float32.
"""

TIMED = 7  # alternating forwards of each model; their medians are compared

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prune(model: nn.Module, findings: Findings, example_inputs: Any) -> tuple[nn.Module, Change]:
    """See :func:`relume.prune`."""
    batch = Batch.of(example_inputs)
    before = {"eval": outputs(model, batch)["eval"]}
    smaller = copy.deepcopy(model).eval()
    program = Program(smaller, batch)
    found = gates(program, carry=True)
    cuts = _Cuts(program, found)
    for gate, units in dead_units(findings, program, found).values():
        cuts.take(gate, units)
    changed = cuts.make()
    if not changed:
        if not cuts.left:
            return smaller.train(model.training), Change("prune", (), (), (), str(batch))
        raise CureError(
            f"No unit could be cut. {'; '.join(map(str, cuts.left))}. The model is unchanged.", slug="nothing-to-prune"
        )
    proof = _prove(model, smaller, batch, before)
    for one, other in zip(model.modules(), smaller.modules(), strict=True):
        other.training = one.training
    return smaller, Change("prune", tuple(changed), tuple(cuts.left), proof, f"{batch}, eval mode")


class _Cuts:
    """What to cut out of each module."""

    def __init__(self, program: Program, found: list[Gate]) -> None:
        self._program, self._gates, self._count = program, [*found], len(found)  # trunks follow the gates
        self._chosen: dict[int, set[int]] = defaultdict(set)  # gate → units
        self.left: list[Edit] = []

    def take(self, gate: Gate, units: Iterable[int]) -> None:
        """Choose these units, if they are constant and the layers around them can be cut."""
        source = self._source(gate)
        units = {unit * source.units // gate.units for unit in units}
        summed = dict.fromkeys(units, "a tensor is added to it that cannot be cut with it")
        refused = summed if source.sums else self._choose(source, units)
        joined = trunk(self._program, source) if refused else None
        if joined is not None:
            left = self._choose(self._known(joined), refused)
            refused = {unit: left[unit] if source.sums else why for unit, why in refused.items() if unit in left}
        reasons: dict[str, list[int]] = defaultdict(list)
        for unit, why in refused.items():
            reasons[why].append(unit)
        self.left += [Edit(source.place, tuple(each), why) for why, each in reasons.items()]

    def _choose(self, gate: Gate, units: Iterable[int]) -> dict[int, str]:
        """Choose the units of a gate that can be cut; lists the others with the reason."""
        values = self._program.values(reader.node.args[0] for reader in gate.readers)
        reasons = {unit: self._refusal(gate, unit, values) for unit in units}
        fit = {unit for unit, why in reasons.items() if not why}
        if fit:
            self._chosen[self._gates.index(gate)] |= fit
        return {unit: why for unit, why in reasons.items() if why}

    def _known(self, joined: Gate) -> Gate:
        """The trunk as an earlier gate found it: it is cut, and its constants are folded, only once."""
        for gate in self._gates[self._count :]:
            if key(gate) == key(joined):
                return gate
        self._gates.append(joined)
        return joined

    def _source(self, gate: Gate) -> Gate:
        """The gate before a depthwise convolution: its channel can only be cut together with the one it reads."""
        for other in self._gates:
            if other is not gate and gate.layer in [node for node, _ in other.carriers]:
                return self._source(other)
        return gate

    def _refusal(self, gate: Gate, unit: int, values: dict[Node, Tensor]) -> str:
        if gate.refusal(unit):
            return gate.refusal(unit)
        if not gate.readers:
            return "no layer reads it"
        makers = [self._module(node) for node in [*gate.makers, *(node for node, _ in gate.carriers)]]
        if not all(isinstance(module, (*_LAYERS, *_NORMS)) for module in makers):
            return "relume does not cut a " + ", ".join(type(module).__name__ for module in makers)
        if any(is_depthwise(node) for node in gate.makers):
            return "its layer is a depthwise convolution, whose input cannot be cut"
        for reader in gate.readers:
            if why := self._unfit(reader, unit, values):
                return why
        return ""

    def _unfit(self, reader: Reader, unit: int, values: dict[Node, Tensor]) -> str:
        """Why one unit cannot be cut out of a layer that reads it, "" if it can."""
        module = self._module(reader.node)
        if not isinstance(module, _LAYERS) or reader.weight != f"{path_of(reader.node)}.weight".lstrip("."):
            return f"{path_of(reader.node)} is a {type(module).__name__}, which relume does not cut"
        given = reader.channels.places(unit)
        constants = values[reader.node.args[0]].movedim(reader.channels.axis, 0)[given].flatten(1)
        if bool((constants != constants[:, :1]).any()):
            return "it is not constant on the batch: not dead on these data, or no longer"
        if bool(constants.any()) and (isinstance(module, _TRANSPOSED) or any(getattr(module, "padding", ()) or ())):
            return f"it is a constant other than 0, and {path_of(reader.node)} pads with 0"
        return ""

    def make(self) -> list[Edit]:
        """Cut; the edits, one for each gate."""
        edits = []
        rows: dict[Any, set[int]] = defaultdict(set)
        columns: dict[Any, set[int]] = defaultdict(set)
        for number, chosen in self._chosen.items():
            gate = self._gates[number]
            units = self._balanced(gate, chosen)
            if len(units) == gate.units:
                self.left.append(
                    Edit(gate.place, tuple(sorted(units)), "every unit is dead, and a layer needs at least one")
                )
            if not 0 < len(units) < gate.units:
                continue
            self._fold(gate, units)
            for node in gate.makers:
                rows[self._module(node)] |= units
            for node, channels in gate.carriers:
                rows[self._module(node)] |= channels.places_of(units)
            for reader in gate.readers:
                columns[self._module(reader.node)] |= reader.channels.places_of(units)
            cut = ", ".join(dict.fromkeys(path_of(node) for node in [*gate.makers, *(n for n, _ in gate.carriers)]))
            edits.append(Edit(gate.place, tuple(sorted(units)), f"cut out of {cut} and its readers"))
        for module in rows.keys() | columns.keys():
            _narrow(module, rows.get(module, set()), columns.get(module, set()))
        return edits

    def _balanced(self, gate: Gate, chosen: set[int]) -> set[int]:
        """The same number of units from each group of a grouped convolution, as its groups have one size."""
        own = torch.arange(gate.units)
        cut = [(groups_of(node), own) for node in gate.makers]
        cut += [(groups_of(node), channels.ids) for node, channels in gate.carriers if not is_depthwise(node)]
        cut += [(reader.groups, reader.channels.ids) for reader in gate.readers]
        units, before = set(chosen), -1
        while len(units) != before:
            before = len(units)
            for groups, ids in cut:
                group = {unit: place * groups // len(ids) for place, unit in enumerate(ids.tolist())}
                counts = Counter(group[unit] for unit in units)
                least = min(counts[n] for n in range(groups))
                taken: Counter[int] = Counter()
                for unit in sorted(units):
                    taken[group[unit]] += 1
                    if taken[group[unit]] > least:
                        units.discard(unit)
        if units != chosen:
            why = "the groups of the convolution would differ in size"
            self.left.append(Edit(gate.place, tuple(sorted(chosen - units)), why))
        return units

    def _fold(self, gate: Gate, units: set[int]) -> None:
        """Add the contribution of constant units to the bias of their readers."""
        values = self._program.values(reader.node.args[0] for reader in gate.readers)
        for reader in {self._module(reader.node): reader for reader in gate.readers}.values():
            module, channels = self._module(reader.node), reader.channels
            given = values[reader.node.args[0]].movedim(channels.axis, 0).flatten(1)[:, 0].double()
            if not bool(given[[*channels.places_of(units)]].any()):
                continue
            weight = module.weight.detach().double()
            shift = weight.new_zeros(len(weight))
            for unit in units:
                for place, (rows, *column) in zip(channels.places(unit), reader.columns(unit, weight), strict=True):
                    shift[rows] += weight[(rows, *column)].reshape(rows.stop - rows.start, -1).sum(1) * given[place]
            shift = shift.to(module.weight)
            with torch.no_grad():
                module.bias = Parameter(shift if module.bias is None else module.bias + shift)

    def _module(self, node: Node) -> Any:
        return self._program.model.get_submodule(path_of(node))


def _narrow(module: Any, rows: set[int], columns: set[int]) -> None:
    """Cut rows (outputs) and columns (inputs) out of a layer, or channels out of a normalization."""
    depthwise = getattr(module, "groups", 1) == getattr(module, "in_channels", 0) > 1
    if depthwise:
        columns = {row * module.in_channels // module.out_channels for row in rows}
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is None or tensor.ndim == 0:
            continue
        kept = tensor.detach()
        if columns and name == "weight" and not depthwise:
            kept = _without_columns(module, kept, columns)
        axis = int(isinstance(module, _TRANSPOSED) and name == "weight")
        kept = kept[(*[slice(None)] * axis, _without(rows, kept.shape[axis]))].clone()
        if name in module._parameters:
            module._parameters[name] = Parameter(kept, requires_grad=tensor.requires_grad)
        else:
            module._buffers[name] = kept
    if isinstance(module, _NORMS):
        module.num_features -= len(rows)
        return
    kind = "features" if isinstance(module, nn.Linear) else "channels"
    for name, gone in ((f"out_{kind}", rows), (f"in_{kind}", columns)):
        setattr(module, name, getattr(module, name) - len(gone))
    if depthwise:
        module.groups -= len(columns)


def _without_columns(module: Any, weight: Tensor, columns: set[int]) -> Tensor:
    if isinstance(module, _TRANSPOSED):
        return weight[_without(columns, len(weight))]
    size = weight.shape[1]  # inputs of each group
    parts = enumerate(weight.chunk(getattr(module, "groups", 1)))
    return torch.cat([part[:, _without({c - n * size for c in columns}, size)] for n, part in parts])


def _without(gone: set[int], size: int) -> list[int]:
    return [place for place in range(size) if place not in gone]


def _prove(model: nn.Module, smaller: nn.Module, batch: Batch, before: Any) -> tuple[Check, ...]:
    """The same outputs, the same answers, fewer parameters; and the smaller model is still exported.

    Raises: CureError: one of these does not hold.
    """
    try:
        after = outputs(smaller, batch)
        Program(smaller, batch)
    except CureError as error:
        raise CureError(
            f"The smaller model does not run: {error}. A size may be written into its forward, such as "
            "x.view(-1, 400); write x.flatten(1).",
            slug="proof-failed",
        ) from error
    moved, _ = distance(before, after)
    same = all(
        torch.equal(a.argmax(-1), b.argmax(-1)) for a, b in zip(before["eval"], after["eval"], strict=True) if a.ndim
    )
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, smaller)]
    work = [_flops(each, batch) for each in (model, smaller)]
    clocks = _latencies((model, smaller), batch)
    checks = (
        Check("outputs stay", moved <= TOLERANCE, f"moved by {moved:.1e} of the largest one"),
        Check("top-1 is the same", same, f"on {batch}"),
        Check("torch.export traces it", True, "yes"),
        Check("parameters", sizes[1] < sizes[0], f"{sizes[0]:,} → {sizes[1]:,} ({percent(sizes[1] / sizes[0] - 1)})"),
        Check("FLOPs", work[1] <= work[0], f"{work[0]:,} → {work[1]:,} ({percent(work[1] / max(work[0], 1) - 1)})"),
        Check("latency", True, f"{clocks[0] * 1e3:.2f} → {clocks[1] * 1e3:.2f} ms, median of {TIMED}"),
    )
    if not all(check.holds for check in checks):
        failed = "; ".join(str(check) for check in checks if not check.holds)
        raise CureError(f"The pruned model is not equivalent: {failed}. The model is unchanged.", slug="proof-failed")
    return checks


def _flops(model: nn.Module, batch: Batch) -> int:
    counter = FlopCounterMode(display=False)
    with at_rest(model), without_fast_path(), torch.no_grad():  # which hides a transformer's layers from the counter
        model.eval()
        with counter:
            model(*batch.args, **batch.kwargs)
    return int(counter.get_total_flops())


def _latencies(models: tuple[nn.Module, nn.Module], batch: Batch) -> list[float]:
    """Seconds of a forward pass of each, measured in turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMED):
        for model, told in zip(models, seconds, strict=True):
            with at_rest(model), torch.no_grad():
                model.eval()
                began = time.perf_counter()
                model(*batch.args, **batch.kwargs)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                told.append(time.perf_counter() - began)
    return [statistics.median(each) for each in seconds]
