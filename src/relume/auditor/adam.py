"""Adam's moments in a checkpoint, by the name of their weight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from relume.artifacts.tensor import Tensor
from relume.auditor.naming import is_embedding, named
from relume.auditor.tree import FIRST, Keys, Optimizer, moment_of

BETAS = (0.9, 0.999)
"""Adam's decay rates if the file has none: every framework's defaults."""

Weights = Mapping[str, Tensor]
Unread = list[tuple[str, str, str]]


class Moments(NamedTuple):
    """Adam's moments of one parameter after ``step`` steps; ``assumed``: the decay rates are the defaults."""

    first: Tensor
    second: Tensor
    step: int
    beta1: float
    beta2: float
    assumed: bool


def of_optimizer(optimizer: Optimizer, weights: Weights, unread: Unread, *, ordered: bool) -> dict[str, Moments]:
    """The moments of a PyTorch optimizer, by their weights' names, or by their own numbers if names are unknown.

    ``ordered``: the weights are in the order of the model's modules. Unusable ones are added to ``unread``.
    """
    where = ".".join(optimizer.where) or "optimizer"
    states: dict[Any, tuple[Mapping[str, Any], Any]] = {
        key: (group, optimizer.state.get(key)) for group in optimizer.groups for key in group["params"]
    }
    if not any(_both(state) for _, state in states.values()):
        held = sorted({str(name) for _, state in states.values() if isinstance(state, Mapping) for name in state})
        why = f"these are not Adam's moments: the optimizer stores {', '.join(held[:4]) or 'nothing'}"
        unread.append(("deaths by gradients", where, why))
        return {}
    shapes = {key: state["exp_avg"].shape if _both(state) else None for key, (_, state) in states.items()}
    known = {name: tensor.shape for name, tensor in weights.items()}
    names = named(shapes, optimizer.groups, known, ordered=ordered)
    embeddings = {shape for name, shape in known.items() if is_embedding(name)} - {known[n] for n in names.values()}
    found: dict[str, Moments] = {}
    for key, (group, state) in states.items():
        moments = _moments(state, group) if _both(state) else None
        if moments is not None and key not in names and shapes[key] in embeddings:
            unread.append(
                ("Adam's moments", f"{where}.{key}", "it may belong to an embedding: several weights have its shape")
            )
        elif moments is not None:
            found[names.get(key, f"{where}.{key}.weight")] = moments
    return found


def _both(state: Any) -> bool:
    first, second = (state.get(name) for name in ("exp_avg", "exp_avg_sq")) if isinstance(state, Mapping) else (0, 0)
    return isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape


def _moments(state: Mapping[str, Any], group: Mapping[str, Any]) -> Moments | None:
    step, betas = state.get("step"), group.get("betas")
    if isinstance(step, Tensor) and step.data.size == 1:
        step = float(step.numbers().reshape(-1)[0])
    if not isinstance(step, (int, float)) or not step >= 1:
        return None
    known = isinstance(betas, list) and len(betas) == 2 and all(isinstance(b, float) and 0 < b < 1 for b in betas)
    beta1, beta2 = betas if known and betas is not None else BETAS
    return Moments(state["exp_avg"], state["exp_avg_sq"], int(step), beta1, beta2, not known)


def of_arrays(moments: Mapping[Keys, Tensor], step: int | None, weights: Weights, unread: Unread) -> dict[str, Moments]:
    """The moments stored as arrays, each under the weight whose name is the end of its own."""
    pairs: dict[Keys, dict[str, Tensor]] = {}
    for keys, tensor in moments.items():
        kind, of = moment_of(keys) or ("", ())
        pairs.setdefault(of, {})[kind] = tensor
    found = {}
    for of, both in pairs.items():
        first, second = next(((a, b) for a, b in FIRST.items() if a in both and b in both), (None, None))
        if first is None or second is None or both[first].shape != both[second].shape:
            continue
        name = _weight_of(of, both[first].shape, weights)
        if name is None or not step:
            why = "no weight has its name and shape" if name is None else "the file has no count of steps"
            unread.append(("Adam's moments", ".".join(of), why))
        else:
            found[name] = Moments(both[first], both[second], step, *BETAS, True)
    return found


def _weight_of(of: Keys, shape: tuple[int, ...], weights: Weights) -> str | None:
    """The weight with the longest name with which this one ends, or the other way round."""
    own = _flat(".".join(of))
    fits = [
        name
        for name, tensor in weights.items()
        if tensor.shape == shape and (own.endswith(_flat(name)) or _flat(name).endswith(own))
    ]
    longest = max((len(name) for name in fits), default=0)
    best = [name for name in fits if len(name) == longest]
    return best[0] if len(best) == 1 else None


def _flat(name: str) -> str:
    return re.sub(r"\W+", "_", name)
