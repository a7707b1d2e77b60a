"""The contents of a checkpoint's tree, however nested: arrays by path, and the states of optimizers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from relume.artifacts.tensor import Tensor
from relume.auditor import files
from relume.auditor.keras_layout import Layout

Keys = tuple[str, ...]
"""A path in the tree."""

FIRST = {"mu": "nu", "exp_avg": "exp_avg_sq", "momentum": "velocity"}
"""Names of the first moment and its second one: Optax, PyTorch, Keras."""

_STEPS = ("count", "step", "steps", "iteration", "iterations", "global_step")


class Optimizer(NamedTuple):
    """A PyTorch optimizer's saved state."""

    where: Keys
    state: Mapping[Any, Any]
    groups: Sequence[Mapping[str, Any]]


@dataclass
class CheckpointFile:
    """One file of a checkpoint.

    Attributes:
        path: the file. ``weights``: arrays other than moments, by path.
        moments: Adam's, if they are among the arrays, recognized by name.
        optimizers: PyTorch's. ``steps``: the numbers that count steps.
        layout: of a Keras model, None if no file has it.
    """

    path: Path
    weights: dict[Keys, Tensor] = field(default_factory=dict)
    moments: dict[Keys, Tensor] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    layout: Layout | None = None


def read_part(path: Path) -> CheckpointFile:
    """Read a file and sort its contents.

    Raises: CheckpointError: it cannot be read.
    """
    part = CheckpointFile(path)
    _collect(files.read(path), (), part, set())
    return part


def _collect(tree: Any, where: Keys, part: CheckpointFile, met: set[int]) -> None:
    """Sort a tree into the part; a container seen before is skipped."""
    if isinstance(tree, Tensor) or (isinstance(tree, int) and not isinstance(tree, bool)):
        _sort(tree, where, part)
    elif isinstance(tree, Layout):
        part.layout = tree
    elif isinstance(tree, (Mapping, list)) and id(tree) not in met:
        met.add(id(tree))
        if isinstance(tree, Mapping) and _is_optimizer(tree):
            part.optimizers.append(Optimizer(where, tree["state"], tree["param_groups"]))
            return
        for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            _collect(value, (*where, str(key)), part, met)


def _is_optimizer(tree: Mapping[Any, Any]) -> bool:
    groups = tree.get("param_groups")
    return isinstance(tree.get("state"), Mapping) and isinstance(groups, list) and all(map(_is_group, groups))


def _is_group(group: Any) -> bool:
    return isinstance(group, Mapping) and isinstance(group.get("params"), list)


def _sort(value: Tensor | int, where: Keys, part: CheckpointFile) -> None:
    keys = tuple(key for name in where for key in re.split(r"[./]", name) if key)
    counts = bool(keys) and keys[-1] in _STEPS
    if isinstance(value, int):
        part.steps += [value] if counts and value >= 0 else []
    elif moment_of(keys) is not None:
        part.moments[keys] = value
    elif value.data.ndim:
        part.weights[tuple(key for name in where for key in name.split("/") if key)] = value
    elif counts:
        part.steps.append(int(value.numbers()))


def moment_of(keys: Keys) -> tuple[str, Keys] | None:
    """The moment that a path names, and its parameter.

    Example:
        >>> moment_of(("opt", "0", "mu", "Dense_0", "kernel")), moment_of(("adam", "dense_kernel_velocity"))
        (('mu', ('Dense_0', 'kernel')), ('velocity', ('adam', 'dense_kernel')))
    """
    kinds = {*FIRST, *FIRST.values()}
    for place, key in enumerate(keys[:-1]):
        if key in kinds:
            return key, keys[place + 1 :]
    last, _, kind = keys[-1].rpartition("_") if keys else ("", "", "")
    if kind in kinds and last:
        return kind, (*keys[:-1], last)
    return (keys[-1], keys[:-1]) if len(keys) > 1 and keys[-1] in kinds else None
