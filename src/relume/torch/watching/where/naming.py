"""What a site is called: its module and its layer by their paths, the call as it is written, the source line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from relume.artifacts.recording import Site
from relume.torch.watching.calls import exported
from relume.torch.watching.calls.functions import Applied
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.where import places


class CallSite(NamedTuple):
    """Where a call is: the tree's root, its label, the module's path, the call as it is written, and the source."""

    root: nn.Module | None
    model: str
    module: str
    call: str
    file: str
    line: int

    @classmethod
    def of(cls, place: places.Place, call: Any, trees: places.Trees) -> CallSite:
        """Of an eager call; one of an exported program is named as in the program that was exported."""
        root = places.root(place.frame)
        file, line, function = places.source(place.frame)
        model, module = trees.name(root, place.module, function)
        traced = exported.traced(place.frame)
        if traced is None:
            return cls(root, model, module, written(call, place.kind), file, line)
        text = f"nn.{traced.kind}" if traced.is_activation else written(call)
        return cls(root, model, traced.path or module, text, file, line)

    @property
    def key(self) -> str:
        """The stable name of a site here, but for its order among several."""
        return f"{'.'.join(part for part in (self.model, self.module) if part)}@{self.file}:{self.line}"


def layer_name(trees: places.Trees, root: nn.Module | None, tag: Tag) -> str:
    """The name of a layer's weight in the tree of a root, "" if it is not known there."""
    if tag.borrowed is not None and root is not None and tag.borrowed.name:
        path = trees.path(root, tag.borrowed.owner)
        if path is not None:
            return f"{path}.{tag.borrowed.name}".lstrip(".")
    return trees.weight(root, tag.layer)[1]


def produced_by(trees: places.Trees, root: nn.Module | None, tag: Tag) -> tuple[str, str]:
    """(path, class and sizes) of the module that has a layer's weight: ``("fc1", "Linear 8→64")``."""
    name = layer_name(trees, root, tag)
    tree = trees.weight(root, tag.layer)[0] or root
    if not name or tree is None:
        return "", ""
    path = name.rpartition(".")[0]
    module = tree.get_submodule(path)
    kind = type(module).__name__
    for ends in (("in_features", "out_features"), ("in_channels", "out_channels")):
        if all(isinstance(getattr(module, end, None), int) for end in ends):
            return path or kind, f"{kind} {getattr(module, ends[0])}→{getattr(module, ends[1])}"
    is_layer = type(module).__module__.startswith("torch.nn.") and type(module) is not nn.Module
    return path or kind, f"{kind} {tag.units}" if is_layer else ""


def site_of(
    trees: places.Trees, applied: Applied, where: CallSite, tag: Tag, *, assumed: bool, clock: int, order: int
) -> Site:
    """The site of a call that is met; ``order``: its number among the sites of its key."""
    layer, producer = produced_by(trees, where.root, tag)
    return Site(
        key=where.key if order == 1 else f"{where.key}#{order}",
        model=where.model,
        module=where.module,
        call=where.call,
        file=where.file,
        line=where.line,
        activation=applied.name,
        parameters=dict(applied.parameters),
        layer=layer,
        unit_axis=tag.axis,
        units=tag.units,
        axis_assumed=assumed,
        clock=clock,
        producer=producer,
    )


def scripted_parts(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of the outermost scripted or traced parts of a module."""
    inside = None
    for path, part in root.named_modules():
        if isinstance(part, torch.jit.ScriptModule) and (inside is None or not f"{path}.".startswith(inside)):
            inside = f"{path}." if path else ""
            yield path, part


def written(call: Any, kind: type | None = None) -> str:
    """How the call is written: ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``Tensor.relu_``; arithmetic as it is."""
    if isinstance(call, str):
        return call
    call = exported.ORIGINAL.get(call, call)
    for package, prefix in (("torch.nn.modules.activation", "nn"), ("relume.torch.layers", "relume.torch")):
        if kind is not None and kind.__module__ == package:
            return f"{prefix}.{kind.__name__}"
    home = getattr(call, "__module__", None) or ""
    name = getattr(call, "__name__", str(call)).removeprefix("_")
    if home == "relume.torch.functional":
        return f"{home}.{name}"
    prefix = "F" if home.startswith(("torch.nn", "torch._C._nn")) else "torch" if home == "torch" else "Tensor"
    return f"{prefix}.{name}"
