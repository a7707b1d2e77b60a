"""When to look: as often as the budget allows, by what looks are found to cost.

A look costs more than a clock inside it can see: caches are cold, and the step around it runs slower. So a look is
charged the larger of its own clock and of how much longer looked-at steps take than the others. Where looks are far
apart they come in bursts, for the second in a row costs half of the first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

_FLOOR_NS = 15_000
"""What a step may cost where the share of it would be less: watching a 0.3 ms step within 2 % would see nothing."""

_IDLE_NS = 4_500  # what a step costs that is passed over: one hook, and the cold code around it (measured 3.5 to 5 µs)
_COLD = 1.3  # a look's cost over its own clock's, until enough steps have been compared (measured 1.15 to 1.5)
_AT_LEAST = 1.1  # and at least this after that: between long steps of uneven length a look's cost is lost in the noise
_COMPARED = 8  # steps of each kind before they are compared
_KEPT = 129  # steps of each kind that the comparison remembers
_WARM_UP = 3  # looks that meet the sites and warm the code: no measure of what follows
_BURST = 4  # looks in a row
_FAR = 8  # steps from a look to the next, from which on they come in bursts
_SOON, _GAP = 300, 20  # in so many first steps there is a look for each so many of them, on credit
_DEAR = 4  # steps that such a look may cost
_REPAID = 0.5  # of what a step earns goes to repay what was spent without having been earned
_SAVED = 8  # looks that may be saved up in a pause: a long evaluation must not buy a hundred looks in a row
_FAR_NS = 250_000_000  # of steps that are passed over without another thought: what a step takes may change
_MOST_PASSED = 64
_NEAR = 0.15  # of a look's price may be missing: to ask again costs as much


class _Latest:
    """The latest numbers, and their median without sorting them anew: it is asked for at every look."""

    def __init__(self) -> None:
        self._numbers: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, number: float) -> None:
        if len(self._numbers) == _KEPT:
            del self._sorted[bisect_left(self._sorted, self._numbers.popleft())]
        self._numbers.append(number)
        insort(self._sorted, number)

    def median(self) -> float:
        return self._sorted[len(self._sorted) // 2]


class Budget:
    """The account of one run. Times are nanoseconds."""

    def __init__(self, share: float, every: int | None = None) -> None:
        """``share`` of the time may be spent (1.0: look at every step); or look at ``every`` k-th step."""
        self._share = share
        self._every = every
        self._credit = 0.0
        self._debt = 0.0
        self._price = 0.0
        self._looks = 0
        self._left = 0  # looks of the burst under way
        self._just_looked = False
        self._plain = _Latest()
        self._looked = _Latest()
        self._own = _Latest()
        self.spent = 0.0
        self.elapsed = 0
        self.steps = 0

    @property
    def overhead(self) -> float | None:
        """Share of the time that the watching took; None before a second step."""
        if not self.elapsed:
            return None
        return self.spent / max(self.elapsed - self.spent, 1)

    def book(self, steps: int, duration: int, own: int, looked: bool) -> None:
        """Book steps: how long they took together, and the cost of our own that a clock inside saw."""
        first, self.steps = self.steps == 0, self.steps + steps
        self._looks += looked
        self._just_looked = looked
        cost = float(own + _IDLE_NS * steps)
        if first or self._looks <= _WARM_UP:
            self.spent += cost
            self._debt += cost
            self.elapsed += 0 if first else duration  # the first holds the script's preparations
            return
        if looked:
            self._looked.add(duration / steps)
            self._own.add(own)
            self._price = self._look_price()
            cost = max(own, self._price) + _IDLE_NS * steps
        elif steps == 1:
            self._plain.add(duration)
        self.elapsed += duration
        self.spent += cost
        earned = max(self._share * (duration - cost), _FLOOR_NS * steps)
        repaid = min(self._debt, _REPAID * earned)
        self._debt -= repaid
        saved = self._credit + earned - repaid - cost
        self._credit = min(saved, _SAVED * max(self._price, _FLOOR_NS))

    def _look_price(self) -> float:
        """What a look costs: by comparing looked-at steps with the others as soon as there are enough of both."""
        own = self._own.median()
        if min(len(self._plain), len(self._looked)) < _COMPARED:
            return own * _COLD
        return max(own * _AT_LEAST, self._looked.median() - self._plain.median())

    def steps_to_pass(self, step: int) -> int:
        """How many steps to pass over from this one on, by its number on its clock; 0: look at it."""
        if self._every is not None:
            return -step % self._every
        if self._share >= 1.0 or self._looks < _WARM_UP:
            return 0
        if self._left:
            self._left -= 1
            return 0
        step_ns = self._plain.median() if len(self._plain) else self._price
        earned = max(self._share * step_ns, _FLOOR_NS) - _IDLE_NS
        burst = _BURST if self._price > _FAR * earned else 1
        missing = burst * self._price - self._credit
        due = self.steps < _SOON and self._looks < self.steps // _GAP and self._price < _DEAR * step_ns
        if missing <= _NEAR * self._price or due:
            self._left = burst - 1
            self._debt += max(missing, 0.0)
            self._credit += max(missing, 0.0)
            return 0
        if self._just_looked:
            return 1  # a step to compare the looked-at ones with: a longer stretch may have an evaluation in it
        return max(1, min(round(missing / earned), int(_FAR_NS / max(step_ns, 1)), _MOST_PASSED))
