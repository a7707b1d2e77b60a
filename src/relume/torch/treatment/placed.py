"""Contenders that depend on their place: a PReLU's slopes, a user's module, the random slopes of an RReLU.

Each has a ``call`` for eager code, by the route of the call. For ``torch.compile`` it has ``prepare``, which numbers a
route while dynamo traces, and ``traced``, which dynamo traces, by that number.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from relume.artifacts.trial import Contender
from relume.torch.treatment import originals
from relume.torch.treatment.routes import Route
from relume.torch.treatment.slopes import Learned, maker
from relume.watching.patches import Patches


class Placed(Protocol):
    """One such contender."""

    def call(self, input: Tensor, inplace: bool, route: Route) -> Tensor:
        """Apply it."""

    def prepare(self, route: Route, order: int) -> int | None:
        """Number a route for ``traced``; ``order`` counts the calls of the same place in one graph.

        Returns: None if it cannot be traced.
        """

    def traced(self, number: int, input: Tensor, inplace: bool) -> Tensor:
        """Apply it at the route of this number."""


class _Ready:
    """The prepared routes, one attribute each: dynamo sees attributes added while it traces, but not list items."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, what: Any) -> int:
        """Keep it; returns its number."""
        setattr(self, f"route_{self._count}", what)
        self._count += 1
        return self._count - 1


class Slopes:
    """PReLU, with the slopes of each site."""

    def __init__(self, contender: Contender, sites: Any) -> None:
        self.learned = Learned(maker(contender, None), sites)
        self._ready = _Ready()

    def call(self, input: Tensor, inplace: bool, route: Route) -> Tensor:
        """x if x > 0 else slope · x."""
        weight, site = self.learned.at(route, input)
        return _prelu(input, inplace, weight, site.axis - site.ndim, site.inner)

    def prepare(self, route: Route, order: int) -> int | None:
        """See :class:`Placed`."""
        if not route.sites:
            return None
        site = route.sites[order % len(route.sites)]
        return self._ready.add((self.learned.of(route, site), site.axis - site.ndim, site.inner))

    def traced(self, number: int, input: Tensor, inplace: bool) -> Tensor:
        """See :class:`Placed`."""
        weight, axis, inner = getattr(self._ready, f"route_{number}")
        return _prelu(input, inplace, weight, axis, inner)


class Own:
    """A module of the user's class at each site."""

    def __init__(self, contender: Contender, kind: Any, sites: Any) -> None:
        self.learned = Learned(maker(contender, kind), sites)
        self._ready = _Ready()

    def call(self, input: Tensor, inplace: bool, route: Route) -> Tensor:
        """The module's own forward."""
        module, _ = self.learned.at(route, input)
        return _apply(module, input, inplace)

    def prepare(self, route: Route, order: int) -> int | None:
        """See :class:`Placed`."""
        if not route.sites:
            return None
        return self._ready.add(self.learned.of(route, route.sites[order % len(route.sites)]))

    def traced(self, number: int, input: Tensor, inplace: bool) -> Tensor:
        """See :class:`Placed`."""
        return _apply(getattr(self._ready, f"route_{number}"), input, inplace)


class Drawn:
    """RReLU, which draws in training: if its module trains, or without a module if gradients are on."""

    learned = None

    def __init__(self, contender: Contender, seed: int) -> None:
        numbers = contender.parameters
        self._lower, self._upper = numbers.get("lower", 1 / 8), numbers.get("upper", 1 / 3)
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}
        self._ready = _Ready()
        self._number = -1

    def start(self, patches: Patches) -> None:
        """Follow PyTorch's random state, so that a checkpoint's second forward draws the same numbers."""
        get, put = _copy(torch.random.get_rng_state), _copy(torch.random.set_rng_state)

        def get_state() -> Tensor:
            state = get()
            state._relume_drawn = {device: own.get_state() for device, own in self._generators.items()}
            return state

        def set_state(new_state: Tensor) -> None:
            put(new_state)
            drawn: Any = getattr(new_state, "_relume_drawn", None)
            for device, own in self._generators.items() if drawn is not None else ():
                if device in drawn:
                    own.set_state(drawn[device])
                else:  # had drawn nothing yet
                    own.manual_seed(self._seed)

        patches.put_code(torch.random.get_rng_state, _get_state, _relume_get_state=get_state)
        patches.put_code(torch.random.set_rng_state, _set_state, _relume_set_state=set_state)

    def call(self, input: Tensor, inplace: bool, route: Route) -> Tensor:
        """x if x > 0 else s · x."""
        module = route.module()
        training = torch.is_grad_enabled() if module is None else module.training
        generator = self.generator(input.device) if training else None
        return originals.ours.rrelu(input, self._lower, self._upper, training, inplace, generator)

    def prepare(self, route: Route, order: int) -> int | None:
        """See :class:`Placed`."""
        from relume.torch.treatment.drawing import register

        if self._number < 0:
            self._number = register(self.generator)
        return self._ready.add(route.module())

    def traced(self, number: int, input: Tensor, inplace: bool) -> Tensor:
        """See :class:`Placed`."""
        module = getattr(self._ready, f"route_{number}")
        training = torch.is_grad_enabled() if module is None else module.training
        if not training:
            return originals.functional.leaky_relu(input, (self._lower + self._upper) / 2, inplace)
        drawn = torch.ops.relume_lab.drawn(input.detach(), self._lower, self._upper, self._number)
        slopes = torch.where(input.detach() > 0, 1, drawn)
        return input.mul_(slopes) if inplace else input * slopes

    def generator(self, device: torch.device) -> torch.Generator:
        """The contender's own generator on a device: the script's other random numbers do not depend on it."""
        generator = self._generators.get(device)
        if generator is None:
            generator = self._generators[device] = torch._C.Generator(device=device)
            generator.manual_seed(self._seed)
        return generator


_relume_get_state: Any = None
_relume_set_state: Any = None


def _get_state() -> Any:
    return _relume_get_state()


def _set_state(new_state: Any) -> Any:
    return _relume_set_state(new_state)


def _copy(function: Any) -> Any:
    return FunctionType(function.__code__, function.__globals__, function.__name__)


def _prelu(input: Tensor, inplace: bool, weight: Tensor, axis: int, inner: int) -> Tensor:
    """With the slopes along an axis counted from the back, each for ``inner`` neighbors, repeated."""
    axis += input.ndim
    if weight.numel() > 1 and input.shape[axis] != weight.numel():
        weight = weight.repeat_interleave(inner).repeat(input.shape[axis] // (weight.numel() * inner))
    if inplace:
        return input.copy_(originals.ours.prelu(input.clone(), weight, axis))
    return originals.ours.prelu(input, weight, axis)


def _apply(module: nn.Module, input: Tensor, inplace: bool) -> Tensor:
    return input.copy_(module(input.clone())) if inplace else module(input)
