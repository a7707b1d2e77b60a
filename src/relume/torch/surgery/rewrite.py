"""Writing into a model's weights and its optimizer's state, in a way that can be taken back to the bit."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relume.errors import CureError

_STARTS_AT_ZERO = frozenset(
    "momentum_buffer exp_avg exp_avg_sq max_exp_avg_sq exp_inf square_avg grad_avg acc_delta sum exp_avg_diff "
    "neg_pre_grad".split()
)
"""State of an optimizer that has the shape of its parameter and begins at zero."""


class Rewrite:
    """What was written, with the values from before."""

    def __init__(self, optimizer: Optimizer | None = None) -> None:
        self._optimizer = optimizer
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._written: list[tuple[Tensor, Any]] = []

    def write(self, tensor: Tensor, index: Any, value: Any) -> None:
        """``tensor[index] = value``; the optimizer's state of a parameter's entries begins anew."""
        self._put(tensor, index, value)
        self._written.append((tensor, index))
        for name, state in self._state(tensor):
            if name not in _STARTS_AT_ZERO:
                raise CureError(
                    f"{type(self._optimizer).__name__} keeps {name!r} for each weight, and relume does not know its "
                    "first value. Give optimizer=None, and make a new optimizer after the cure.",
                    slug="wrong-optimizer",
                )
            self._put(state, index, 0)

    def is_anew(self) -> bool:
        """Whether the optimizer has forgotten all that it knew of what was written."""
        return not any(bool(state[index].any()) for tensor, index in self._written for _, state in self._state(tensor))

    def undo(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for tensor, before in self._before.values():
                tensor.copy_(before)
        self._before.clear()

    def _put(self, tensor: Tensor, index: Any, value: Any) -> None:
        if id(tensor) not in self._before:
            self._before[id(tensor)] = (tensor, tensor.detach().clone())
        with torch.no_grad():
            tensor[index] = value

    def _state(self, tensor: Tensor) -> list[tuple[str, Tensor]]:
        known = self._optimizer.state.get(tensor, {}) if self._optimizer is not None else {}
        return [
            (name, state)
            for name, state in known.items()
            if isinstance(state, Tensor) and state.ndim and state.is_floating_point() and name != "step"
            if state.shape == tensor.shape or self._refuse_shape(name)
        ]

    def _refuse_shape(self, name: str) -> bool:
        raise CureError(
            f"{type(self._optimizer).__name__} keeps {name!r} for whole rows or columns, not for each weight, so that "
            "one unit's share cannot be reset. Give optimizer=None, and make a new optimizer after the cure.",
            slug="wrong-optimizer",
        )


class Draws:
    """Fresh weights at a layer's own initialization, from a stream that is nobody else's."""

    def __init__(self) -> None:
        self._seed = -1
        self._generator = torch.Generator()

    def fresh(self, module: nn.Module) -> dict[str, Tensor]:
        """Name → what ``module.reset_parameters()`` would give; the module stays as it is."""
        if self._seed != torch.initial_seed():
            self._seed = torch.initial_seed()
            self._generator.manual_seed(self._seed)
        seed = int(torch.randint(2**62, (), generator=self._generator))
        twin = copy.copy(module)
        twin._parameters = {  # on the CPU, in float32: no other stream is drawn from
            name: None if p is None else nn.Parameter(torch.empty(p.shape)) for name, p in module._parameters.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            twin.reset_parameters()
        return {name: p.detach() for name, p in twin._parameters.items() if p is not None}


DRAWS = Draws()
