"""Where a unit's value goes: which weights and other operations read it.

A tensor that carries units has an axis along which each entry belongs to one unit, or to none. The graph is evaluated
on unit numbers instead of values: an operation that moves entries moves the numbers, one that works per channel keeps
them, and a linear layer or convolution reads them by columns of its weight. Any other reader of a unit is a stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from relume.activations import ACTIVATIONS
from relume.torch.family import FAMILY, KEEPS_ZERO
from relume.torch.surgery.program import Program, operation, path_of, shape_of

NONE = -1
"""Instead of a unit's number: the entry belongs to no unit."""

_MOVES = frozenset(
    "view reshape _unsafe_view flatten unflatten permute transpose t swapaxes movedim squeeze unsqueeze expand "
    "expand_as view_as contiguous clone cat concat stack chunk split split_with_sizes unbind slice select narrow "
    "pixel_shuffle pixel_unshuffle channel_shuffle flip roll repeat repeat_interleave alias detach getitem".split()
)
_KEEPS_ZERO = KEEPS_ZERO | frozenset(
    "softsign abs neg square dropout feature_dropout alpha_dropout to _to_copy type_as".split()
)
_ELEMENTWISE = frozenset(name for name in FAMILY if ACTIVATIONS[name].elementwise)
_SCALES = frozenset(("mul", "div"))
_POOLS = frozenset(
    f"{how}{n}d"
    for how in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "upsample_nearest")
    for n in (1, 2, 3)
) | {"upsample_bilinear2d", "upsample_linear1d", "upsample_trilinear3d", "constant_pad_nd", "pad"}
_REDUCES = frozenset(("mean", "sum", "amax"))
CONVOLUTIONS = frozenset(("conv1d", "conv2d", "conv3d"))
TRANSPOSED = frozenset(f"conv_transpose{n}d" for n in (1, 2, 3))
LAYERS = CONVOLUTIONS | TRANSPOSED | {"linear"}


@dataclass(frozen=True)
class Channels:
    """The units of a tensor: their numbers along one axis, ``NONE`` for an entry without a unit."""

    axis: int
    ids: Tensor

    def spread(self, shape: torch.Size) -> Tensor:
        """The number of each entry of a tensor of this shape; a view without memory of its own."""
        sizes = [1] * len(shape)
        sizes[self.axis] = len(self.ids)
        return self.ids.view(sizes).expand(shape)

    @classmethod
    def gathered(cls, numbers: Tensor) -> Channels | None:
        """From the number of each entry; None if they vary along more than one axis."""
        for axis in range(numbers.ndim):
            line = numbers[tuple(slice(None) if a == axis else 0 for a in range(numbers.ndim))]
            found = cls(axis, line.clone())
            if torch.equal(found.spread(numbers.shape), numbers):
                return found
        return None

    def units(self) -> set[int]:
        """The units present."""
        return set(self.ids[self.ids != NONE].tolist())

    def places_of(self, units: Set[int]) -> set[int]:
        """The entries of several units along the axis."""
        return {place for place, unit in enumerate(self.ids.tolist()) if unit in units}

    def places(self, unit: int) -> Tensor:
        """The entries of one unit along the axis."""
        return (self.ids == unit).nonzero().flatten()


@dataclass(frozen=True)
class Reader:
    """A linear layer or convolution that reads units: its node, its weight's path, and the units of its inputs."""

    node: Node
    weight: str
    channels: Channels
    groups: int = 1

    def columns(self, unit: int, weight: Tensor) -> list[tuple[Any, ...]]:
        """Indices of the weights that multiply one unit."""
        if operation(self.node) in TRANSPOSED:
            return [(place,) for place in self.channels.places(unit).tolist()]
        rows, inputs = len(weight) // self.groups, weight.shape[1]
        found = []
        for place in self.channels.places(unit).tolist():
            group, column = divmod(place, inputs)
            found.append((slice(group * rows, (group + 1) * rows), column))
        return found


@dataclass
class ChannelPath:
    """What a value passes through in the graph.

    Attributes:
        readers: layers that read it by weights. ``carriers``: normalizations or depthwise convolutions with parameters
            for each channel, with their output channels. ``joined``: what is added to it or multiplied by it.
        stops: unit → why it cannot be followed further. ``arrived``: the channels at the node ``until``.
    """

    readers: list[Reader] = field(default_factory=list)
    carriers: list[tuple[Node, Channels]] = field(default_factory=list)
    joined: list[Node] = field(default_factory=list)
    stops: dict[int, str] = field(default_factory=dict)
    arrived: Channels | None = None

    def stop(self, units: Iterable[int], why: str) -> None:
        """Stop following these units."""
        for unit in units:
            self.stops.setdefault(unit, why)


def follow(
    program: Program,
    start: Node,
    channels: Channels,
    *,
    until: Node | None = None,
    carry: bool = False,
    join: bool = False,
) -> ChannelPath:
    """Follow units from a node's tensor to all their readers.

    Args:
        program: the graph.
        start: the node.
        channels: the units of its tensor.
        until: the node at which to stop; the channels of its first argument are ``ChannelPath.arrived``.
        carry: continue through normalizations and depthwise convolutions, and list them as carriers.
        join: continue through sums and products with tensors of the same channels, and list these.
    """
    return _Walk(program, until, carry, join).run(start, channels)


class _Walk:
    """One walk through the graph, node by node in the order in which they run."""

    def __init__(self, program: Program, until: Node | None, carry: bool, join: bool) -> None:
        self._program, self._until, self._carry, self._join = program, until, carry, join
        self._at: dict[Node, Any] = {}  # channels of a tensor, or a list of them
        self._route = ChannelPath()

    def run(self, start: Node, channels: Channels) -> ChannelPath:
        self._at[start] = channels
        for node in [*self._program.nodes, *(n for n in self._program.graph.nodes if n.op == "output")]:
            carried = [given for given in node.all_input_nodes if given in self._at]
            if not carried or node is start:
                continue
            if node is self._until:
                self._arrive(node)
                continue
            found = self._after(node, carried)
            if isinstance(found, str):
                units = set().union(*(_units(self._at[given]) for given in carried))
                self._route.stop(units, f"{found} reads it")
            elif found is not None:
                self._at[node] = found
        return self._route

    def _arrive(self, node: Node) -> None:
        found = self._at.get(node.args[0])
        self._route.arrived = found if isinstance(found, Channels) else None

    def _after(self, node: Node, carried: list[Node]) -> Any:
        """Channels after a node; None if it reads by weights; a text if they cannot be followed."""
        name = operation(node)
        said = f"{name} at {path_of(node)}" if path_of(node) else name
        if node.op == "output":
            return "the model's output"
        if name in _MOVES:
            return self._moved(node) or said
        if name in ("add", "mul") and self._join:
            return self._joined(node, carried) or said
        first = self._at.get(node.args[0]) if isinstance(node.args[0], Node) else None
        if not isinstance(first, Channels):
            joins = name in _SCALES or (name == "add" and self._until is not None)
            return self._scaled(node, carried) or said if joins and len(carried) == 1 else said
        if name in ("hardtanh", "clamp"):
            return first if _keeps_zero(node) else said
        if name in _KEEPS_ZERO or (self._carry and name in _ELEMENTWISE):  # a constant remains one
            return first
        if name in _SCALES or (name == "add" and self._until is not None):  # a sum may lie before an activation
            return self._scaled(node, carried) or said
        if name in _POOLS:
            return first if first.axis == 1 and shape_of(node)[1] == len(first.ids) else said
        if name in _REDUCES:
            return self._reduced(node, first) or said
        if name == "batch_norm":
            return self._carried(node, first) or f"a BatchNorm ({said})"
        if name in LAYERS:
            return self._read(node, first, said)
        return said

    def _moved(self, node: Node) -> Any:
        def numbers(given: Any) -> Any:
            if not isinstance(given, Node):
                return given
            known = self._at.get(given)
            if isinstance(known, list):
                return [None if c is None else c.spread(shape) for c, shape in known]
            if known is None:
                return torch.full(shape_of(given), NONE) if isinstance(given.meta.get("val"), Tensor) else None
            return known.spread(shape_of(given))

        args = torch.fx.map_arg(node.args, numbers)
        kwargs = torch.fx.map_arg(node.kwargs, numbers)
        moved = (torch.ops.aten.reshape if operation(node) == "view" else node.target)(*args, **kwargs)
        if isinstance(moved, (list, tuple)):
            return [(Channels.gathered(part), part.shape) for part in moved]
        return None if moved is None else Channels.gathered(moved)

    def _scaled(self, node: Node, carried: list[Node]) -> Channels | None:
        """A product keeps zeros; if several factors carry units, each entry must belong to the same unit."""
        if operation(node) == "div" and len(node.all_input_nodes) > 1 and node.all_input_nodes[1] in carried:
            return None
        if self._carry and self._until is None and not self._join and self._others(node, carried):
            return None  # its channels would have to be cut too
        found = [self._at[given] for given in carried]
        for given, channels in zip(carried, found, strict=True):
            fits = isinstance(channels, Channels) and len(shape_of(given)) == len(shape_of(node))
            if not fits or shape_of(given)[channels.axis] != shape_of(node)[channels.axis]:
                return None
        same = all(c.axis == found[0].axis and torch.equal(c.ids, found[0].ids) for c in found)
        return found[0] if same else None

    def _others(self, node: Node, carried: list[Node]) -> list[Node]:
        """The other tensors of a sum or product that have a number for each channel."""
        first = self._at[carried[0]]
        back = first.axis - len(shape_of(carried[0])) if isinstance(first, Channels) else -1
        others = [given for given in node.all_input_nodes if given not in carried]
        return [given for given in others if len(shape_of(given)) >= -back and shape_of(given)[back] > 1]

    def _joined(self, node: Node, carried: list[Node]) -> Channels | None:
        self._route.joined += self._others(node, carried)
        return self._scaled(node, carried)

    def _reduced(self, node: Node, first: Channels) -> Channels | None:
        ndim = len(shape_of(node.args[0]))
        given = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], (list, tuple)) else None
        if not given:
            return None
        dims = sorted(int(dim) % ndim for dim in given)
        if first.axis in dims:
            return None
        kept = len(shape_of(node)) == ndim
        return Channels(first.axis if kept else first.axis - sum(dim < first.axis for dim in dims), first.ids)

    def _carried(self, node: Node, first: Channels) -> Channels | None:
        if not self._carry or first.axis != 1:
            return None
        times = shape_of(node)[1] // len(first.ids)  # outputs of a depthwise convolution for each input
        given = Channels(1, first.ids.repeat_interleave(times))
        self._route.carriers.append((node, given))
        return given

    def _read(self, node: Node, first: Channels, said: str) -> Any:
        weight = node.args[1]
        name = self._program.names.get(weight) if isinstance(weight, Node) else None
        if name is None:
            return f"a layer whose weight is computed ({said})"
        linear = operation(node) == "linear"
        if first.axis != (len(shape_of(node.args[0])) - 1 if linear else 1):
            return f"a layer that mixes its positions ({said})"
        groups = groups_of(node)
        if groups > 1 and operation(node) in TRANSPOSED:
            return f"a transposed convolution in groups ({said})"
        if self._carry and is_depthwise(node):
            return self._carried(node, first)
        self._route.readers.append(Reader(node, name, first, groups))
        return None


def groups_of(layer: Node) -> int:
    """The groups of a convolution, 1 for any other operation."""
    return int(layer.args[6]) if operation(layer) in CONVOLUTIONS | TRANSPOSED and len(layer.args) > 6 else 1


def is_depthwise(layer: Node) -> bool:
    """Whether each channel of a convolution reads only one channel."""
    return groups_of(layer) > 1 and shape_of(layer.args[0])[1] == groups_of(layer)


def _units(channels: Any) -> set[int]:
    if isinstance(channels, Channels):
        return channels.units()
    return set().union(*(part.units() for part, _ in channels if part is not None))


def _keeps_zero(node: Node) -> bool:
    bounds = [*node.args[1:3], None, None] if operation(node) == "clamp" else [*node.args[1:3], -1, 1][:2]
    low, high = bounds[:2]
    return (low is None or low <= 0) and (high is None or high >= 0)
