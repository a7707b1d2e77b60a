"""The configuration in a file of Keras → the order of its layers, and what feeds each normalization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Layout:
    """What a model's configuration says of its layers; names are paths with dots, as in :class:`Checkpoint`.

    Attributes:
        order: the layers in the order in which Keras lists their variables.
        follows: a batch normalization → the layer whose output it normalizes, if that layer has no activation.
    """

    order: list[str] = field(default_factory=list)
    follows: dict[str, str] = field(default_factory=dict)


def layout(config: Any) -> Layout:
    """The layout of a Sequential or a Functional model, with the models in it; empty for another class.

    Raises: LookupError, TypeError, AttributeError: it is no configuration of Keras.
    """
    found = Layout()
    _add(config["config"], "", found)
    return found


def _add(model: Mapping[str, Any], within: str, found: Layout) -> None:
    entries = {str(entry["config"]["name"]): entry for entry in model.get("layers", ()) if entry["config"]}
    before = ""
    for name, entry in entries.items():
        path = within + name.replace("/", ".")
        found.order.append(path)
        if "layers" in entry["config"]:
            _add(entry["config"], f"{path}.", found)
        fed_by = _input(entry["inbound_nodes"]) if "inbound_nodes" in entry else before
        producer = entries.get(fed_by)
        if entry["class_name"] == "BatchNormalization" and producer and _is_linear(producer["config"]):
            found.follows[path] = within + fed_by.replace("/", ".")
        before = name


def _is_linear(config: Mapping[str, Any]) -> bool:
    """Whether a layer has its own activation setting, and it is linear: only dense layers and convolutions have one."""
    return config.get("activation", "") in (None, "linear")


def _input(nodes: Sequence[Any]) -> str:
    """The layer that feeds one that is called once, on one tensor; "" for others."""
    inputs = list(_inputs(nodes[0])) if len(nodes) == 1 else []
    return inputs[0] if len(inputs) == 1 else ""


def _inputs(node: Any) -> Iterator[str]:
    """The layers in a node of Keras 3 (``keras_history``) or Keras 2 (a list of ``[layer, node, tensor, {}]``)."""
    if isinstance(node, Mapping):
        if "keras_history" in node:
            yield str(node["keras_history"][0])
        else:
            for value in node.values():
                yield from _inputs(value)
    elif isinstance(node, list) and node:
        if isinstance(node[0], str):
            yield node[0]
        else:
            for value in node:
                yield from _inputs(value)
