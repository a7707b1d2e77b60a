"""Signs of life between the looks: what the gradient of a bias says of its units at an optimiser's step.

Where a unit of a ReLU does not fire, nothing comes back to the bias before it. So where the gradient of a unit's bias
is a number other than zero, the unit has fired since the gradients were zeroed last. To read it costs a few
microseconds, a small part of a look. A gradient of zero proves nothing: what lies behind the layer may be dead. So no
unit is called dead by its signs. They date a silence that looks have found, and say when looks are urgent.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from relume.activations import ACTIVATIONS
from relume.torch.watching.counting import Accumulator
from relume.torch.watching.functions import Applied
from relume.torch.watching.made import plain

PAIR = 2
"""Readings that are looked through at once. How long a unit is without a sign is counted in pairs of them."""

_PATIENCE = 2  # pairs without a sign, in which a unit is missed
_DOUBTED = 4  # times as many, each time that it turns out to be alive
_STEADY = 32  # pairs, each with a sign, behind which a unit is missed in the first one without
_ASKED = 8  # pairs, for which a unit is asked for that is missed
_KEPT = 1_024  # pairs whose steps are remembered
_NEVER = -(1 << 40)  # the age of a sign that there never was


class Signs:
    """One site's part in a :class:`Reading`."""

    def __init__(self, bias: Tensor, units: int) -> None:
        self.reference = weakref.ref(bias)
        self.units = units
        self.reading: Reading | None = None
        self.place = slice(0)

    @property
    def bias(self) -> Tensor | None:
        """What the layer before the site adds last, while it is alive."""
        return self.reference()

    def numbers(self, otherwise: Any) -> Any:
        """The gradient, of whatever type; ``otherwise`` where there is none, or it would have to be waited for."""
        gradient: Any = None if self.bias is None else self.bias.grad
        if type(gradient) is not Tensor or not gradient.is_cpu or gradient.layout is not torch.strided:
            return otherwise
        return plain(gradient).reshape(-1) if gradient.numel() == self.units else otherwise

    def quiet_since(self) -> NDArray[np.int64] | None:
        """The first step behind the last sign of each unit at which a sign was looked for in vain.

        −1 where the last reading had one, where none ever had, or where it is too long ago. None before a reading.
        """
        return None if self.reading is None else self.reading.quiet_since(self.place)


class Signer(Protocol):
    """A site, as far as it concerns its signs."""

    signs: Signs | None
    accumulator: Accumulator

    @property
    def layer(self) -> Any:
        """The layer before it."""


class Signers(Protocol):
    """The sites; ``met`` changes with them."""

    met: int

    def __iter__(self) -> Iterator[Signer]:
        """One after the other."""


class Reading:
    """Reads the signs of all sites at the steps of one optimiser: of another one the gradients may be old.

    Most of the time goes into calls whose code has left the caches since the last reading. So gradients are only put
    down, and looked through two at a time. The vectors hold the units of all sites, one behind the other.
    """

    def __init__(self) -> None:
        self._made_for: tuple[int, int] | None = None
        self._number = 0  # of the pair under way
        self._full = 0  # rows of it that were put down
        self._steps = np.full(_KEPT, -1, np.int64)  # at which a pair began
        self._parts: list[tuple[weakref.ref[Tensor], slice, Signs]] = []
        self._rows = np.zeros((PAIR, 0), np.float32)
        self._age = self._patience = np.zeros(0, np.int64)  # pairs since the last sign; at which age a unit is missed
        self._missed = np.zeros(0, np.bool_)
        self._known = b""  # the same
        self._steady_at = 0
        self._asked: list[tuple[int, NDArray[np.intp]]] = []  # since which pair, and who is missed

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._parts)

    def read(self, optimizer: Optimizer, sites: Signers, step: int) -> bool:
        """Put the gradients of a step down; returns whether it is time to look through what lies there."""
        made_for = (len(optimizer.param_groups), sites.met)
        if made_for != self._made_for:
            self._made_for, self._full = made_for, 0
            self._make(_signs_at(optimizer, sites))
        row = self._rows[self._full]
        for bias, place, signs in self._parts:
            try:
                row[place] = bias().grad.numpy()  # type: ignore[union-attr]
            except (AttributeError, TypeError, RuntimeError, ValueError):  # there is none, or of another kind
                row[place] = signs.numbers(self._age[place] == 0)  # as before
        if not self._full:
            self._steps[self._number % _KEPT] = step
        self._full += 1
        return self._full == PAIR

    def look_through(self) -> tuple[int, int]:
        """Take in what was put down.

        Returns: (units that are missed since now, units that were missed not long ago and still are)
        """
        one, other = abs(self._rows) > 0  # nan is not
        age = self._age
        age += 1
        age *= ~(one | other)
        missed = age >= self._patience
        self._number, self._full = self._number + 1, 0
        if self._number == self._steady_at:
            self._patience[(age == 0) & (self._patience == _PATIENCE)] = 1
        known, self._known = self._known, missed.tobytes()
        return self._ask(missed) if self._asked or known != self._known else (0, 0)

    @property
    def asks(self) -> bool:
        """Whether units are asked for."""
        return bool(self._asked)

    def look(self, sites: Signers, step: int) -> int:
        """Ask no more for the units that have fired in a look; returns how many are left."""
        for site in sites:
            fired = site.accumulator.latest(step)
            if fired is not None and site.signs is not None and site.signs.reading is self:
                found = self._missed[site.signs.place] & (fired > 0)
                self._missed[site.signs.place] &= ~found
                self._patience[site.signs.place][found] *= _DOUBTED
        self._known = self._missed.tobytes()
        return self._left()

    def _left(self) -> int:
        return sum(int(np.count_nonzero(self._missed[units])) for _, units in self._asked)

    def _ask(self, missed: NDArray[np.bool_]) -> tuple[int, int]:
        """Ask for the units that are missed until they have a sign again, or for some time."""
        before, self._missed = self._missed, missed
        self._patience[before & ~missed] *= _DOUBTED
        fresh = np.flatnonzero(missed & ~before)
        asked = [(since, units) for since, units in self._asked if self._number - since < _ASKED]
        self._asked = [*asked, (self._number, fresh)] if len(fresh) else asked
        return len(fresh), self._left()

    def _make(self, parts: list[Signs]) -> None:
        """Take in these sites; those that are in already keep what is known of them."""
        ends = np.cumsum([0, *(signs.units for signs in parts)]).tolist()
        age, patience = np.full(ends[-1], _NEVER), np.full(ends[-1], _PATIENCE)
        for signs, begin, end in zip(parts, ends, ends[1:], strict=False):
            if signs.reading is self:
                age[begin:end], patience[begin:end] = self._age[signs.place], self._patience[signs.place]
            signs.reading, signs.place = self, slice(begin, end)
        self._parts = [(signs.reference, signs.place, signs) for signs in parts]
        self._rows, self._age, self._patience = np.zeros((PAIR, ends[-1]), np.float32), age, patience
        self._missed, self._asked = age >= patience, []
        self._known = self._missed.tobytes()
        self._steady_at = self._number + _STEADY

    def quiet_since(self, place: slice) -> NDArray[np.int64]:
        """Of the units at a place; as of :class:`Signs`."""
        age = self._age[place]
        known = (age > 0) & (age <= min(_KEPT, self._number))
        return np.where(known, self._steps[(self._number - age) % _KEPT], -1)


def _signs_at(optimizer: Optimizer, sites: Iterable[Signer]) -> list[Signs]:
    """The signs of the sites that are alone behind a layer of this optimiser: of two it is not known which fired."""
    sites = list(sites)
    behind = Counter(id(site.layer) for site in sites)
    own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [s.signs for s in sites if s.signs is not None and id(s.signs.bias) in own and behind[id(s.layer)] == 1]


def signs_of(applied: Applied, bias: Any, units: int) -> Signs | None:
    """The signs of a site that is met; None where its activation has a slope where a unit does not fire.

    ``bias``: what its layer adds last, None where that is not known.
    """
    activation = ACTIVATIONS[applied.name]
    parameters = {name: value for name, value in applied.parameters.items() if name != "max_val"}
    settled = activation.defaults() | parameters
    if activation.learnable or not activation.dies(**settled) or activation.fires_above(**settled) != 0:
        return None
    fits = isinstance(bias, Tensor) and bias.is_leaf and bias.is_cpu and bias.numel() == units
    return Signs(bias, units) if fits else None
