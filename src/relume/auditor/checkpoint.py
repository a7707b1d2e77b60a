"""One checkpoint from its files: the weights by name, and Adam's moments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relume.artifacts.tensor import Tensor
from relume.auditor.adam import Moments, of_arrays, of_optimizer
from relume.auditor.keras_layout import Layout
from relume.auditor.tree import CheckpointFile, Keys
from relume.errors import CheckpointError

SORTED = (".safetensors", ".keras", ".h5", ".hdf5")


@dataclass
class Checkpoint:
    """What an audit needs from one checkpoint.

    Attributes:
        name: as given. ``files``: those it was read from.
        weights: by name, in the file's order. ``moments``: by the name of the weight.
        ordered: the weights are in the order of the model's modules. ``step``: the optimizer's, None if unknown.
        layout: of a Keras model, None if no file has it.
        unread: (what, where, why) of everything unusable.
    """

    name: str
    files: tuple[str, ...] = ()
    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    ordered: bool = True
    step: int | None = None
    layout: Layout | None = None
    unread: list[tuple[str, str, str]] = field(default_factory=list)


def assemble(parts: Sequence[CheckpointFile], name: str) -> Checkpoint:
    """One checkpoint: its weights in one file or in shards, the optimizer's state next to them or in the same file.

    Raises: CheckpointError: there are no weights in it.
    """
    found = Checkpoint(name, tuple(part.path.name for part in parts))
    found.layout = next((part.layout for part in parts if part.layout is not None), None)
    found.step = max((step for part in parts for step in part.steps), default=None)
    weights = {keys: tensor for part in parts for keys, tensor in part.weights.items()}
    if not weights:
        raise CheckpointError(
            f"{name} has no weights of a layer. Give the file with the model's state dict, or a folder with it and the "
            "optimizer's state.",
            slug="checkpoint-empty",
        )
    as_laid_out = found.layout is not None and {".".join(keys[:-1]) for keys in weights} <= set(found.layout.order)
    found.weights = _without_copies(weights if as_laid_out else _shortened(weights), found.unread)
    found.ordered = _are_ordered(found, parts)
    moments = {keys: tensor for part in parts for keys, tensor in part.moments.items()}
    found.moments = of_arrays(moments, found.step, found.weights, found.unread)
    for optimizer in (optimizer for part in parts for optimizer in part.optimizers):
        found.moments |= of_optimizer(optimizer, found.weights, found.unread, ordered=found.ordered)
    found.step = max((moments.step for moments in found.moments.values()), default=found.step)
    return found


def _are_ordered(found: Checkpoint, parts: Sequence[CheckpointFile]) -> bool:
    """Whether the weights are in the order of the modules: not in a file sorted by name, unless Keras gives it."""
    if found.layout is not None:
        return {name.rpartition(".")[0] for name in found.weights} <= set(found.layout.order)
    return not any(part.path.suffix in SORTED for part in parts)


def _shortened(weights: Mapping[Keys, Tensor]) -> dict[Keys, Tensor]:
    """The weights without the common start of their paths: ``state_dict``, ``model``, ``params``."""
    paths = list(weights)
    common = 0
    while paths and all(len(path) > common + 1 and path[common] == paths[0][common] for path in paths):
        common += 1
    return {path[common:]: tensor for path, tensor in weights.items()}


def _without_copies(weights: Mapping[Keys, Tensor], unread: list[tuple[str, str, str]]) -> dict[str, Tensor]:
    """Names → weights. A state dict with the names and shapes of an earlier one is a copy (an average, a target)."""
    parts: dict[Keys, dict[str, Tensor]] = {}
    for path, tensor in weights.items():
        where, name = (path[:-1], path[-1]) if "." in path[-1] else ((), ".".join(path))
        parts.setdefault(where, {})[name] = tensor
    kept: dict[Keys, dict[str, Tensor]] = {}
    for where, tensors in parts.items():
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if any(shapes == {name: tensor.shape for name, tensor in other.items()} for other in kept.values()):
            unread.append((f"{len(shapes)} weights", ".".join(where), "a second copy of the network, not judged"))
        else:
            kept[where] = tensors
    return {
        f"{'.'.join(where)}." * bool(where and len(kept) > 1) + _clean(name): tensor
        for where, tensors in kept.items()
        for name, tensor in tensors.items()
    }


def _clean(name: str) -> str:
    """The name without the prefixes of torch.compile and DistributedDataParallel."""
    return re.sub(r"(^|\.)((_orig_mod|module)\.)+", r"\1", name)
