"""Maps the numbered parameters of a PyTorch optimizer's state to weights.

A name is given only if nothing else is possible: a wrong one would send a user to the wrong layer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]

_EMBEDDING = re.compile(r"emb|token|vocab|\bw[tp]e\b", re.IGNORECASE)
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "moving_mean", "moving_variance")


def is_embedding(name: str) -> bool:
    """Whether a weight's name is an embedding's: a row is not a unit, and has no gradient without its token."""
    return _EMBEDDING.search(name) is not None


def named(
    shapes: Mapping[Any, Shape | None],
    groups: Sequence[Mapping[str, Any]],
    weights: Mapping[str, Shape],
    *,
    ordered: bool,
) -> dict[Any, str]:
    """The names of an optimizer's parameters, as far as they can be determined.

    Args:
        shapes: of the parameters, by their keys in the optimizer's order; None without state.
        groups: the optimizer's ``param_groups``.
        weights: shapes by name.
        ordered: these are in the order of the model's modules.
    """
    stored = _stored(groups)
    if own := {key: name for key in shapes if (name := stored.get(key, key)) in weights}:
        return {key: str(name) for key, name in own.items()}
    weights = {name: shape for name, shape in weights.items() if not name.endswith(_BUFFERS)}
    if ordered and len(groups) == 1 and (found := _run(list(shapes.items()), list(weights.items()))):
        return found
    return _by_shape(shapes, groups, weights, ordered=ordered)


def _stored(groups: Sequence[Mapping[str, Any]]) -> dict[Any, Any]:
    """The names that newer optimizers store if they are given ``model.named_parameters()``."""
    return {
        key: name
        for group in groups
        if isinstance(group.get("param_names"), list)
        for key, name in zip(group["params"], group["param_names"], strict=False)
    }


def _run(parameters: Sequence[tuple[Any, Shape | None]], weights: Sequence[tuple[str, Shape]]) -> dict[Any, str]:
    """The names if the parameters are consecutive weights, and in one place only; else nothing."""
    places = [
        start
        for start in range(len(weights) - len(parameters) + 1)
        if all(shape in (None, weights[start + i][1]) for i, (_, shape) in enumerate(parameters))
    ]
    if len(places) != 1 or not parameters:
        return {}
    return {key: weights[places[0] + i][0] for i, (key, _) in enumerate(parameters)}


def _by_shape(
    shapes: Mapping[Any, Shape | None],
    groups: Sequence[Mapping[str, Any]],
    weights: Mapping[str, Shape],
    *,
    ordered: bool,
) -> dict[Any, str]:
    """The names of parameters whose shape is as frequent among the weights: a single one, or in order in one group."""
    complete = None not in shapes.values()
    in_groups = Counter(shape for group in groups for shape in {shapes.get(key) for key in group["params"]})
    by_shape: dict[Shape, list[str]] = {}
    for name, shape in weights.items():
        by_shape.setdefault(shape, []).append(name)
    found: dict[Any, str] = {}
    for shape, names in by_shape.items():
        keys = [key for key, own in shapes.items() if own == shape]
        sure = len(names) == 1 or (ordered and complete and in_groups[shape] == 1)
        if len(keys) == len(names) and sure:
            found |= dict(zip(keys, names, strict=True))
    return found
