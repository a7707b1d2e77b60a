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
from relume.torch.watching.layer_calls import plain

_ROWS = 8  # readings that are looked through at once, where no unit is missed
_SURE = 9.2  # a unit is missed where its being without a sign for so long comes once in e^9.2 = 10,000 times
_EXPECTED = 5  # readings in which a unit must have had a sign, that it is looked for again where it has none
_KNOWN = 4  # readings with a sign, before which no unit is missed
_FEWEST = 2  # readings without a sign, in which a unit is missed
_DOUBTED = 4  # times as many, each time that it turns out to be alive
_ASKED = 16  # readings, for which a unit is asked for that is missed
_KEPT = 1_024  # readings whose steps are remembered
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
    down, and looked through several at a time; at once where units are without a sign that have nearly always had one.
    For these it is read again at the next steps, until they have one or are missed. The vectors hold the units of all
    sites, one behind the other.
    """

    def __init__(self) -> None:
        self._made_for: tuple[int, int] | None = None
        self._number = 0  # readings that were looked through
        self._full = 0  # rows that were put down since
        self._steps = np.full(_KEPT, -1, np.int64)  # of the readings
        self._parts: list[tuple[weakref.ref[Tensor], slice, Signs]] = []
        self._rows = np.zeros((_ROWS, 0), np.float32)
        self._units = _Units(0)
        self._expected = self._lacking = np.zeros(0, np.bool_)  # units that should have signs; of these, without
        self._lacked = 0  # readings in a row that found some
        self._asked: list[tuple[int, NDArray[np.intp]]] = []  # since which reading, and who is missed

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._parts)

    @property
    def lacks(self) -> bool:
        """Whether units are without a sign that should have one, and are to be looked for at the next step."""
        return self._lacked > 0

    def read(self, optimizer: Optimizer, sites: Signers, step: int) -> bool:
        """Put the gradients of a step down; returns whether it is time to look through what lies there."""
        made_for = (len(optimizer.param_groups), sites.met)
        if made_for != self._made_for:
            self._take_in()
            self._made_for = made_for
            self._make(_signs_at(optimizer, sites))
        row = self._rows[self._full]
        for bias, place, signs in self._parts:
            try:
                row[place] = bias().grad.numpy()  # type: ignore[union-attr]
            except (AttributeError, TypeError, RuntimeError, ValueError):  # there is none, or of another kind
                row[place] = signs.numbers(self._had_signs(place))
        self._steps[(self._number + self._full) % _KEPT] = step
        self._full += 1
        looked_for = self._lacking if self._lacked else self._expected
        self._lacking = looked_for & (row == 0)
        self._lacked = self._lacked + 1 if self._lacking.any() else 0
        return self._full == _ROWS or self._lacked >= _FEWEST or self._number < _ROWS

    def _had_signs(self, place: slice) -> Any:
        """What the reading before has shown of the units at a place."""
        return self._rows[self._full - 1][place] if self._full else self._units.age[place] == 0

    def look_through(self) -> tuple[int, int]:
        """Take in what was put down.

        Returns: (units that are missed since now, units that were missed not long ago and still are)
        """
        self._take_in()
        units = self._units
        before, patience = units.missed, units.patience()
        missed = units.age >= patience
        units.doubt[before & ~missed] *= _DOUBTED
        units.missed = missed
        self._expected = (patience <= _EXPECTED) & ~missed & (units.age >= 0)
        self._lacking = self._lacking & ~missed
        self._lacked = self._lacked if self._lacking.any() else 0
        return self._ask(np.flatnonzero(missed & ~before))

    def _take_in(self) -> None:
        if self._full:
            self._units.add(abs(self._rows[: self._full]) > 0)  # nan is no sign
            self._number, self._full = self._number + self._full, 0

    def look(self, sites: Signers, step: int) -> int:
        """Ask no more for the units that have fired in the looks from a step on; returns how many are left."""
        units = self._units
        for site in sites:
            fired = site.accumulator.since(step)
            if fired is not None and site.signs is not None and site.signs.reading is self:
                found = units.missed[site.signs.place] & (fired > 0)
                units.missed[site.signs.place] &= ~found
                units.doubt[site.signs.place][found] *= _DOUBTED
        return self._left()

    def _left(self) -> int:
        return sum(int(np.count_nonzero(self._units.missed[units])) for _, units in self._asked)

    def _ask(self, fresh: NDArray[np.intp]) -> tuple[int, int]:
        """Ask for the units that are missed until they have a sign again, or for some time."""
        asked = [(since, units) for since, units in self._asked if self._number - since < _ASKED]
        self._asked = [*asked, (self._number, fresh)] if len(fresh) else asked
        return len(fresh), self._left()

    def _make(self, parts: list[Signs]) -> None:
        """Take in these sites; those that are in already keep what is known of them."""
        ends = np.cumsum([0, *(signs.units for signs in parts)]).tolist()
        units = _Units(ends[-1])
        for signs, begin, end in zip(parts, ends, ends[1:], strict=False):
            if signs.reading is self:
                units.keep(slice(begin, end), self._units, signs.place)
            signs.reading, signs.place = self, slice(begin, end)
        self._parts = [(signs.reference, signs.place, signs) for signs in parts]
        self._rows, self._units, self._asked = np.zeros((_ROWS, ends[-1]), np.float32), units, []
        self._expected, self._lacked = np.zeros(ends[-1], np.bool_), 0

    def quiet_since(self, place: slice) -> NDArray[np.int64]:
        """Of the units at a place; as of :class:`Signs`."""
        self._take_in()
        age = self._units.age[place]
        known = (age > 0) & (age <= min(_KEPT, self._number))
        return np.where(known, self._steps[(self._number - age) % _KEPT], -1)


class _Units:
    """What is known of units; vectors.

    Attributes:
        age: readings since the last sign. ``missed``: whether it is longer ago than it should be.
        signs: readings with a sign, ``readings``: among so many up to the last of them.
        doubt: so many times too soon the unit would be missed otherwise.
    """

    def __init__(self, number: int) -> None:
        self.age = np.full(number, _NEVER)
        self.signs, self.readings = np.zeros(number, np.int64), np.zeros(number, np.int64)
        self.doubt = np.ones(number)
        self.missed = np.zeros(number, np.bool_)

    def keep(self, here: slice, other: _Units, there: slice) -> None:
        """Take over what is known of some units."""
        for name, vector in vars(self).items():
            vector[here] = getattr(other, name)[there]

    def add(self, signed: NDArray[np.bool_]) -> None:
        """Add readings, of shape (readings, units)."""
        number, signs = len(signed), signed.sum(0)
        behind = np.argmax(signed[::-1], axis=0)
        self.readings += (signs > 0) * (np.maximum(self.age, 0) + number - behind)
        self.signs += signs
        self.age = np.where(signs > 0, behind, self.age + number)

    def patience(self) -> NDArray[np.float64]:
        """After how many readings without a sign each is missed, by how often it had none before."""
        without = 1 - (self.signs + 0.5) / (self.readings + 1)
        readings = np.maximum(np.ceil(-_SURE / np.log(without)), _FEWEST) * self.doubt
        return np.where(self.signs < _KNOWN, np.inf, readings)


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
