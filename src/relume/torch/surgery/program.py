"""A model as the graph of one batch's operations, over its live weights.

``torch.export`` traces the graph without running the model: fake tensors stand in for the weights. An evaluation uses
the current weights, and so shows what a change of them did inside the model.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, Node
from torch.utils import _pytree as pytree

from relume.errors import CureError
from relume.torch.surgery.rest import Batch, at_rest

VIEWS = ("view", "reshape", "flatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "select", "slice", "expand")


_TRAINING_AT = {"batch_norm": 5, "dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "rrelu": 3}
"""Operation → the place of its ``training`` argument."""


def operation(node: Node) -> str:
    """The operation of a node, its in-place form too: ``relu`` for ``aten.relu_.default``."""
    return _name(node.target) if node.op == "call_function" else node.op


def _name(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    name = str(schema.name).partition("::")[2]
    return name if name.startswith("__") else name.removesuffix("_")


def shape_of(node: Node) -> torch.Size:
    """The shape of a node's tensor; empty if the node is not a tensor."""
    value = node.meta.get("val")
    return value.shape if isinstance(value, Tensor) else torch.Size()


def path_of(node: Node) -> str:
    """The path of the module whose ``forward`` runs the operation; "" for the model itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return stack[-1][0].partition("@")[0] if stack else ""


def line_of(node: Node) -> int:
    """The innermost line of source outside PyTorch that runs the operation, 0 if it is not known."""
    lines = [text.strip() for text in (node.meta.get("stack_trace") or "").splitlines()]
    own = [text for text in lines if text.startswith('File "') and "/torch/nn/" not in text]
    return int(own[-1].partition(", line ")[2].partition(",")[0]) if own else 0


class Program:
    """The graph of one model and batch.

    Attributes:
        nodes: the operations in execution order.
        names: input node → path of its parameter or buffer.
    """

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        self.model, self.batch = model, batch
        self._exported = _export(model, batch)
        self.graph = self._exported.graph
        signature = self._exported.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        inputs = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.names: dict[Node, str] = {node: held[node.name] for node in inputs if node.name in held}
        self._constants = signature.inputs_to_lifted_tensor_constants
        self._inputs = inputs
        self._calls: dict[int, set[Node]] = {}
        _follow_writes(self.graph)
        self.nodes: list[Node] = [node for node in self.graph.nodes if node.op == "call_function"]

    def tensor(self, node: Any) -> Tensor | None:
        """The live parameter or buffer of a node; None for anything else."""
        name = self.names.get(node) if isinstance(node, Node) else None
        if name is None:
            return None
        path, _, leaf = name.rpartition(".")
        found = getattr(self.model.get_submodule(path), leaf)
        assert isinstance(found, Tensor)
        return found

    def calls(self, tensor: Tensor | None) -> set[Node]:
        """The operations that take a parameter or buffer, under whichever name."""
        if not self._calls:
            for node in self.names:
                self._calls.setdefault(id(self.tensor(node)), set()).update(node.users)
        return self._calls.get(id(tensor), set())

    def values(self, wanted: Iterable[Node | None], mode: str = "") -> dict[Node, Tensor]:
        """Evaluate the graph with the weights as they are now; copies of the wanted tensors.

        ``mode``: "eval" evaluates a graph of train mode as if the model were in evaluation mode.
        """
        seen = _Seeing(self._exported.graph_module, set(wanted), evaluates=mode == "eval")
        with at_rest(self.model), torch.no_grad():
            seen.run(*self._arguments())
        return seen.values

    def _arguments(self) -> list[Any]:
        given = iter(pytree.tree_leaves((self.batch.args, dict(self.batch.kwargs))))
        arguments: list[Any] = []
        for node in self._inputs:
            if node in self.names:
                arguments.append(self.tensor(node))
            elif node.name in self._constants:
                arguments.append(self._exported.constants[self._constants[node.name]])
            else:
                x = next(given)
                arguments.append(x.clone() if isinstance(x, Tensor) else x)  # a model may write into its input
        return arguments


class _Seeing(Interpreter):
    """Runs a graph and keeps some of its tensors, before an in-place operation overwrites them."""

    def __init__(self, module: torch.fx.GraphModule, wanted: set[Node], *, evaluates: bool) -> None:
        super().__init__(module)
        self._wanted, self._evaluates = wanted, evaluates
        self.values: dict[Node, Tensor] = {}

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation, in evaluation mode if that is wanted."""
        place = _TRAINING_AT.get(_name(target)) if self._evaluates else None
        if place is not None and len(args) > place:
            args = (*args[:place], False, *args[place + 1 :])
        return super().call_function(target, args, kwargs)

    def run_node(self, n: Node) -> Any:
        """Run a node, and keep its tensor if it is wanted."""
        result = super().run_node(n)
        if n in self._wanted and isinstance(result, Tensor):
            self.values[n] = result.detach().clone()
        return result


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """PyTorch's encoder layers apply their layers one by one, not as one operation that hides them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _export(model: nn.Module, batch: Batch) -> Any:
    said = [logging.getLogger(f"torch.{name}") for name in ("export", "_export", "fx", "_dynamo", "_subclasses")]
    levels = [logger.level for logger in said]
    try:
        for logger in said:
            logger.setLevel(logging.CRITICAL)
        with (
            at_rest(model),
            without_fast_path(),
            contextlib.redirect_stderr(io.StringIO()),
        ):  # it prints the graph on which it fails
            return torch.export.export(model, batch.args, dict(batch.kwargs), strict=False)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise CureError(
            f"{type(model).__name__} cannot be traced by torch.export ({type(error).__name__}: {first}). A cure must "
            "know which weights read a unit. Use relume.swap, which needs no trace, or make the forward traceable.",
            slug="model-not-traceable",
        ) from error
    finally:
        for logger, level in zip(said, levels, strict=True):
            logger.setLevel(level)


def _follow_writes(graph: torch.fx.Graph) -> None:
    """After an in-place operation, let later readers of its input read its result: the same tensor."""
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.name.endswith("_") or not node.args:
            continue
        written = node.args[0]
        if not isinstance(written, Node) or written.op == "placeholder":
            continue
        _refuse_hidden_writes(written, node, order)
        written.replace_all_uses_with(node, delete_user_cb=lambda user, at=order[node]: order[user] > at)


def _refuse_hidden_writes(written: Node, node: Node, order: dict[Node, int]) -> None:
    base = written
    while operation(base) in VIEWS and isinstance(base.args[0], Node):
        base = base.args[0]
        if any(order[user] > order[node] for user in base.users):
            raise CureError(
                f"The model writes into a view at {path_of(node) or 'its forward'} and later reads the whole tensor, "
                "which relume does not follow. Avoid the in-place operation.",
                slug="model-not-traceable",
            )
