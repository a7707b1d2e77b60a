"""Counting inside code of ``torch.compile``: an operation in the graph, put there before the backend compiles it.

A backend is given the graph that dynamo has traced, with the module, the source line and an example of each node's
result. The graph is walked as eager calls are followed: layers leave tags, operations carry them on, and after each
activation's input and result a counting operation is inserted. The graph stays whole and is traced no more often than
without us. At run time the operation looks whether a step is looked at, and otherwise returns at once.
"""

from __future__ import annotations

import gc
import operator
import sys
import weakref
from collections import Counter as Counts
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch._higher_order_ops.effects import _EffectType, _register_effectful_op
from torch.nn.parameter import Parameter

from relume.torch.watching.calls import arithmetic
from relume.torch.watching.calls.codes import IN_A_GRAPH, TOPK_CALLS
from relume.torch.watching.calls.exported import source_in
from relume.torch.watching.calls.functions import ACTIVATION_CALLS, UNJUDGED_CALLS, Applied
from relume.torch.watching.units.axes import Borrowed, Tag
from relume.torch.watching.units.following import Follower
from relume.torch.watching.where import places


class GraphCall(NamedTuple):
    """An activation in a graph.

    ``modules``: the modules around it, the outermost first. ``order``: of the same module's calls on the same line.
    ``slope``: the learned one of a PReLU.
    """

    applied: Applied
    call: Callable[..., Any]
    tag: Tag | None
    x: Shaped
    modules: tuple[nn.Module, ...]
    file: str
    line: int
    function: str
    order: int
    slope: Tensor | None = None

    def unfit(self, tag: Tag, assumed: bool) -> str:
        """Why it is not judged, "" where it is; ``assumed``: its tag did not come from a layer."""
        if not self.x.dtype.is_floating_point:
            return (
                f"its tensor is {str(self.x.dtype).removeprefix('torch.')}; units are judged on floating-point numbers"
            )
        if not self.x.ndim or (assumed and self.applied.clamp):
            return "its input does not come from a layer"
        if not tag.direct:
            return "it follows arithmetic with plain numbers, so it is taken as part of the loss"
        return ""


if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe
    from relume.torch.watching.where.sites import Sites

_probes: list[weakref.ref[TorchProbe]] = []

_library = torch.library.Library("relume", "FRAGMENT")
_library.define("seen(Tensor? x, Tensor? y, int probe, int slot) -> ()")


def _seen(x: Tensor | None, y: Tensor | None, probe: int, slot: int) -> None:
    watching = _probes[probe]()
    if watching is not None:
        watching.seen_in_graph(slot, x, y)


_library.impl("seen", _seen, "CompositeExplicitAutograd")  # a custom_op costs ten times as much a call
torch.library.register_fake("relume::seen", lambda x, y, probe, slot: None, lib=_library)
_register_effectful_op(torch.ops.relume.seen.default, _EffectType.ORDERED)  # or it would be taken for dead code


def count_in(graph: fx.GraphModule, inputs: Any, probe: TorchProbe) -> None:
    """Put the counting into a graph that is about to be compiled."""
    reference = weakref.ref(probe)  # the same one for the same probe
    if reference not in _probes:
        _probes.append(reference)
    _GraphInstrumenter(graph, inputs, probe.sites, _probes.index(reference)).insert()


class Shaped:
    """What the rules of tags ask of a tensor, in plain numbers: a symbolic size would leave a guard behind."""

    def __init__(self, value: Any) -> None:
        self.shape = torch.Size(size if isinstance(size, int) else size.node.hint for size in value.shape)
        self.ndim = len(self.shape)
        self.dtype = value.dtype

    def numel(self) -> int:
        """The number of elements."""
        return self.shape.numel()


class _GraphFollower(Follower):
    """The tags of a graph's nodes; ``given``: what its placeholders stand for."""

    kinds = (fx.Node,)

    def __init__(self, given: Mapping[fx.Node, Any]) -> None:
        super().__init__()
        self._given = given

    def shaped(self, x: Any) -> Any:
        value = x.meta.get("example_value") if isinstance(x, fx.Node) else None
        return Shaped(value) if isinstance(value, Tensor) else None

    def parameter(self, x: Any) -> Parameter | None:
        given = self._given.get(x) if isinstance(x, fx.Node) else None
        return given if isinstance(given, Parameter) else None

    def borrowed(self, weight: Any) -> tuple[Any, Borrowed | None]:
        return None, None


class _GraphInstrumenter:
    """One graph."""

    def __init__(self, graph: fx.GraphModule, inputs: Any, sites: Sites, number: int) -> None:
        self._graph = graph
        self._sites = sites
        self._number = number
        given = [node for node in graph.graph.nodes if node.op == "placeholder"]
        self._given = dict(zip(given, inputs, strict=False))
        self._tags = _GraphFollower(self._given)
        self._forms = arithmetic.Forms(self._tags)
        self._orders: Counts[Any] = Counts()
        self._modules = _alive({key for node in graph.graph.nodes for key in node.meta.get("nn_module_stack") or ()})
        self._root = _root(self._modules.values())
        self._caller = places.source(sys._getframe(1))

    def insert(self) -> None:
        """Put the counting in."""
        for node in list(self._graph.graph.nodes):
            call = _callable(node)
            if call in TOPK_CALLS and getattr(self._tags.of(node.args[0]), "output", "") == "relu":
                self._say(node, "torch.topk", IN_A_GRAPH)
            if call is None or not isinstance(node.meta.get("example_value"), Tensor | None):
                continue
            if call in UNJUDGED_CALLS:
                self._say(node, *UNJUDGED_CALLS[call])
            if not self._applies(node, call):
                self._tags.follow(call, node.args, node.kwargs, node)
                if call in arithmetic.NOTED:
                    self._forms.note(call, node.args, node)
        self._graph.graph.lint()
        self._graph.recompile()

    def _say(self, node: fx.Node, what: str, why: str) -> None:
        file, line, _ = self._source(node)
        self._sites.unjudged_in_graph(what, self._around(node), file, line, why)

    def _applies(self, node: fx.Node, call: Any) -> bool:
        """Whether a call applies an activation that is judged; the counting is in the graph then."""
        applied = ACTIVATION_CALLS[call](node.args, node.kwargs) if call in ACTIVATION_CALLS else None
        x, what = node.args[0] if node.args else node.kwargs.get("input"), call
        if applied is None and call in arithmetic.JOINS:
            form = self._forms.form(call, node.args, node.kwargs)
            tag = self._tags.of(form.x) if form is not None else None
            if form is None or not isinstance(tag, Tag) or not tag.direct:
                return False
            applied, x, what = form.applied, form.x, form.name
            if applied is None:
                self._say(node, form.name, arithmetic.WHY)
        shape = self._tags.shaped(x)
        if applied is None or shape is None or self._tags.parameter(x) is not None:
            return False
        tag = self._tags.of(x)
        tag = tag if isinstance(tag, Tag) else None
        slot = self._sites.meet_in_graph(self._met(node, what, applied, tag, shape))
        if slot >= 0:
            self._count_around(node, call, x, slot)
        if tag is not None:
            self._tags.put(node, tag._replace(output=applied.name))
        return True

    def _count_around(self, node: fx.Node, call: Any, x: fx.Node, slot: int) -> None:
        graph, result = self._graph.graph, x if call is operator.setitem else node
        with graph.inserting_before(node):
            before = graph.call_method("detach", (x,))
        with graph.inserting_after(node):
            after = graph.call_method("detach", (result,))
        if _is_in_place(node, call):  # its argument is written over
            self._count(before, (before, None), slot)
            self._count(after, (None, after), slot)
        else:
            self._count(after, (before, after), slot)

    def _count(self, behind: fx.Node, given: tuple[fx.Node | None, fx.Node | None], slot: int) -> None:
        with self._graph.graph.inserting_after(behind):
            self._graph.graph.call_function(torch.ops.relume.seen.default, (*given, self._number, slot))

    def _met(self, node: fx.Node, call: Any, applied: Applied, tag: Tag | None, shape: Shaped) -> GraphCall:
        modules = self._around(node)
        file, line, function = self._source(node)
        place = (id(modules[-1]) if modules else 0, file, line, applied.name)
        self._orders[place] += 1
        slope = self._given.get(node.args[1]) if applied.name == "prelu" and len(node.args) > 1 else None
        order = self._orders[place]
        return GraphCall(applied, call, tag, shape, modules, file, line, function, order, slope)

    def _source(self, node: fx.Node) -> tuple[str, int, str]:
        """The innermost frame outside PyTorch; in a compiled nn.Sequential, the one that calls it."""
        file, line, function = source_in(node.meta.get("stack_trace") or "")
        return (places.shown_path(file), line, function) if file else self._caller

    def _around(self, node: fx.Node) -> tuple[nn.Module, ...]:
        """The modules around a node, the outermost first."""
        stack = node.meta.get("nn_module_stack") or {}
        around = (self._modules[key] for key in stack if key in self._modules)
        return tuple(dict.fromkeys(m for m in (self._root, *around) if m is not None))


def _alive(keys: set[Any]) -> dict[Any, nn.Module]:
    """The modules that dynamo names by their ids (``id@1`` at a second call); they are alive while it traces them."""
    ids = {key: int(number) for key in keys if (number := str(key).partition("@")[0]).isdigit()}
    wanted = set(ids.values())
    found = {id(x): x for x in gc.get_objects() if id(x) in wanted and issubclass(type(x), nn.Module)}
    return {key: found[number] for key, number in ids.items() if number in found}


def _is_in_place(node: fx.Node, call: Any) -> bool:
    is_written_over = getattr(call, "__name__", "").endswith("_") or call is operator.setitem
    return is_written_over or True in (*node.args[1:], node.kwargs.get("inplace"))


def _root(modules: Collection[nn.Module]) -> nn.Module | None:
    """The smallest module around all of a graph's; dynamo does not name the one that was compiled."""
    inner = {id(m) for m in modules}
    around = []
    for x in gc.get_objects():
        if issubclass(type(x), nn.Module) and inner and not type(x).__module__.startswith("torch._dynamo"):
            own = {id(m) for m in x.modules()}
            if inner <= own:
                around.append((len(own), id(x) in inner, x))
    return min(around, key=lambda found: found[:2])[2] if around else None


def _callable(node: fx.Node) -> Any:
    if node.op == "call_function":
        return node.target
    return getattr(Tensor, str(node.target), None) if node.op == "call_method" else None
