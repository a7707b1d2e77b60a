"""When to look: as often as the budget allows, by what looks are found to cost.

A look costs more than a clock inside it can see: caches are cold, and the step around it runs slower. So a look is
charged the larger of its own clock and of how much longer looked-at steps take than the others.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_FLOOR_NS = 15_000
"""What a step may cost where the share of it would be less: watching a 0.3 ms step within 2 % would see nothing."""

_IDLE_NS = 2_000  # what a step that is not looked at costs beyond our own clock: the way into the hook, cold
_COLD = 1.5  # a look's cost over its own clock's, until enough steps have been compared (measured 1.3 to 1.7)
_COMPARED = 8  # steps of each kind before they are compared
_KEPT = 65  # steps of each kind that the comparison remembers
_SAVED = 8  # looks that may be saved up in a pause: a long evaluation must not buy a hundred looks in a row


class Budget:
    """The account of one run. Times are nanoseconds."""

    def __init__(self, share: float, every: int | None = None) -> None:
        """``share`` of the time may be spent (1.0: look at every step); or look at ``every`` k-th step."""
        self._share = share
        self._every = every
        self._credit = 0.0
        self._price = 0.0
        self._plain: deque[int] = deque(maxlen=_KEPT)
        self._looked: deque[int] = deque(maxlen=_KEPT)
        self._own: deque[int] = deque(maxlen=_KEPT)
        self.spent = 0.0
        self.elapsed = 0
        self.steps = 0

    @property
    def overhead(self) -> float:
        """Share of the time that the watching took."""
        return self.spent / max(self.elapsed - self.spent, 1)

    def step_ended(self, duration: int, own: int, looked: bool) -> None:
        """Book a step: its duration and the cost of our own that a clock inside saw."""
        self.steps += 1
        if self.steps == 1:  # it holds the script's preparations and the first meeting with every site
            self.spent = float(own)
            return
        self.elapsed += duration
        cost = float(_IDLE_NS + own)
        if looked:
            self._looked.append(duration)
            self._own.append(own)
            self._price = self._look_price()
            cost = max(cost, self._price)
        else:
            self._plain.append(duration)
        self.spent += cost
        earned = max(self._share * (duration - cost), _FLOOR_NS)
        self._credit = min(self._credit + earned - cost, _SAVED * max(self._price, _FLOOR_NS))

    def _look_price(self) -> float:
        """What a look costs: by the comparison of looked-at steps with the others as soon as there are enough."""
        own = median(self._own)
        if min(len(self._plain), len(self._looked)) < _COMPARED:
            return own * _COLD
        return max(own, median(self._looked) - median(self._plain))

    def wants_look(self, step: int) -> bool:
        """Whether to look at a step, given its number on its clock."""
        if self._every is not None:
            return step % self._every == 0
        return self._share >= 1.0 or self._credit >= self._price
