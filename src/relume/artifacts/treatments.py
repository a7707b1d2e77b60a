"""What a run can be given besides another activation: the one table of treatments, and of the rules of reviving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REVIVER_RULES: Mapping[str, Mapping[str, float]] = {
    "gaps": {"false_resets": 1e-3},
    "redo": {"tau": 0.025},
    "continual_backprop": {"rate": 1e-4, "maturity": 100, "decay": 0.99},
}
"""By what a :class:`relume.Reviver` chooses units, with the options of each rule and their defaults."""

EVERY = {"gaps": 100, "redo": 1_000, "continual_backprop": 1}
"""Steps between two choices, by rule: 1,000 is ReDo's, 1 continual backprop's."""

SHORT = {"cbp": "continual_backprop"}
"""Other names of a rule."""


@dataclass(frozen=True)
class Treatment:
    """Something that changes a training from outside.

    Attributes:
        says: what it does, a sentence; its parameters' names in braces.
        parameters: by name, in the order in which they are written after colons; None must be given.
    """

    says: str
    parameters: Mapping[str, float | None]


TREATMENTS: Mapping[str, Treatment] = {
    "lr": Treatment("multiply the learning rate by {factor}", {"factor": None}),
    "warmup": Treatment("raise the learning rate over the first {steps} steps", {"steps": 100}),
    "clip": Treatment("clip the norm of the gradients to {norm}", {"norm": 1.0}),
    "no_decay": Treatment("train without weight decay", {}),
    "init": Treatment("draw the weights of linear layers and convolutions by He's rule, with biases of 0", {}),
    "normalize": Treatment("put a BatchNorm without scale and shift before the network's first layer", {}),
    "revive": Treatment("revive dead units on a schedule during the training, by the rule {rule}", {}),
}
"""By the name of ``relume compare --with`` and ``relume fix --try``; ``revive`` takes a rule, then its options."""


def sentence(name: str, parameters: Mapping[str, Any]) -> str:
    """What a treatment does, with its numbers."""
    shown = {key: f"{value:g}" if isinstance(value, (int, float)) else value for key, value in parameters.items()}
    return TREATMENTS[name].says.format(**shown)
