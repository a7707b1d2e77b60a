"""Exported programs: their code is a graph's, generated, and calls ATen's operations instead of PyTorch's functions.

``torch.export.export(net, inputs).module()`` trains as any module does. Its calls have the arguments of the functions
that were traced; which module and which source line each call comes from is kept in the graph's nodes.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import fx

aten = torch.ops.aten

_ORDER_DIFFERS: dict[str, Any] = {
    "embedding": (0, -1),
    "batch_norm": (1, "weight", 1),
    "instance_norm": (1, "weight", 1),
}
"""Operations that take their arguments in another order than the function of that name: their row in its table."""

ORIGINAL: dict[Any, Callable[..., Any]] = {}
"""Operation → the function of PyTorch that was traced."""

_CODE = "<eval_with_key>"
"""The file name that torch.fx gives to generated code."""


def with_exported(table: Mapping[Callable[..., Any], Any]) -> dict[Any, Any]:
    """A table of calls, with the ATen operations that exported programs call in their place."""
    found = dict(table)
    for call, row in table.items():
        name = getattr(call, "__name__", "")
        packet = getattr(aten, name, None) if name and not name.startswith("__") else None
        for overload in packet.overloads() if packet is not None else ():
            found[getattr(packet, overload)] = _ORDER_DIFFERS.get(name, row)
            ORIGINAL.setdefault(getattr(packet, overload), call)
    return found


class Traced(NamedTuple):
    """Where a call of generated code was written: the module's path, its class, and the source line."""

    path: str
    module: str
    file: str
    line: int
    function: str

    @property
    def is_activation(self) -> bool:
        """Whether the call was an activation module's of PyTorch."""
        return self.module.startswith("torch.nn.modules.activation.")

    @property
    def kind(self) -> str:
        """The name of the module's class."""
        return self.module.rpartition(".")[2]


def is_generated(frame: FrameType) -> bool:
    """Whether a frame runs the code of a graph."""
    return frame.f_code.co_filename.startswith(_CODE)


def traced(frame: FrameType) -> Traced | None:
    """Where the call of a frame of generated code was written; None if the graph does not tell."""
    module = frame.f_locals.get("self")
    if not is_generated(frame) or not isinstance(module, fx.GraphModule):
        return None
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    name = text.partition("=")[0].strip()
    node = next((node for node in module.graph.nodes if node.name == name), None)
    stack = list((node.meta.get("nn_module_stack") or {}).values()) if node is not None else []
    if node is None or not stack:
        return None
    path, module = stack[-1]
    return Traced(path, str(module), *source_in(node.meta.get("stack_trace") or ""))


_FRAME = re.compile(r'File "(.+?)", line (\d+), in (\w+)')


def source_in(trace: str) -> tuple[str, int, str]:
    """(file, line, function) of the innermost frame of a stack trace outside of PyTorch; ("", 0, "") if none is."""
    home = torch.__path__[0]
    frames = [found for found in _FRAME.findall(trace) if not found[0].startswith(home)]
    file, line, function = frames[-1] if frames else ("", "0", "")
    return file, int(line), function
