"""When to look: as often as the budget allows, by what looks are found to cost.

A look costs more than a clock inside it can see: caches are cold, and the step around it runs slower. So a look is
charged the larger of its own clock and of how much longer looked-at steps take than the others.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_FLOOR_NS = 15_000
"""What a step may cost where the share of it would be less: watching a 0.3 ms step within 2 % would see nothing."""

_IDLE_NS = 1_500  # what a step costs that is not looked at: the hook and the decision
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
        self.elapsed += duration
        if looked:
            self._looked.append(duration)
            self._own.append(own)
        else:
            self._plain.append(duration)
        cost = _IDLE_NS + (self._cost_of(own) if looked else own)
        self.spent += cost
        self._credit += max(self._share * max(duration - cost, 0), _FLOOR_NS) - cost
        self._credit = min(self._credit, _SAVED * max(self.look_cost(), _FLOOR_NS))

    def _cost_of(self, own: int) -> float:
        return max(own * _COLD if not self._comparable() else own, self._difference() if self._comparable() else 0.0)

    def _comparable(self) -> bool:
        return min(len(self._plain), len(self._looked)) >= _COMPARED

    def _difference(self) -> float:
        return median(self._looked) - median(self._plain)

    def look_cost(self) -> float:
        """What the next look is expected to cost."""
        return self._cost_of(int(median(self._own))) if self._own else 0.0

    def wants_look(self, step: int) -> bool:
        """Whether to look at a step, given its number on its clock."""
        if self._every is not None:
            return step % self._every == 0
        return self._share >= 1.0 or self._credit >= self.look_cost()
