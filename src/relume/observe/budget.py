"""When to look: as often as the budget allows, by what looks are found to cost.

A look costs more than a clock inside it can see: caches are cold, and the step around it runs slower, and the next one
too. So a look is charged the larger of two figures: what its own clock saw, with a surcharge; and how much longer
looked-at steps and those directly behind them take than the others, where that is beyond chance. Where looks are far
apart they come in pairs, for the second in a row costs half of the first.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

_AIM = 0.75
"""This much of the budget is planned with: a stopwatch outside has found a quarter more than what was booked (a CNN of
29 ms a step: 2.5 % for 2.0), and what one finds scatters by more than half a percent.
"""

_FLOOR_NS, _FLOOR_SHARE = 20_000, 0.02
"""What a step may cost where the share of it would be less, at this budget: watching a 0.3 ms step within 2 % would see
nothing. Of a smaller budget it is as much less.
"""

_FLOOR_PART = 0.045
"""Of the step's time the floor is this at most, as far as that pays for more than the steps that are passed over."""

_IDLE_NS = 3_500  # what a step costs that is passed over: one hook, and the cold code around it (measured 3.2 µs)
_LEAST = 2.0  # times that a step may cost in any case
_COLD = 1.7
"""All of ours costs at least so many times what its own clock sees: caches are cold, and what it drove out of them is
missed later. By a stopwatch outside it was 1.7 to 1.9 times on a net of 0.46 ms a step (with signs of life or without,
four times 60 to 120 pairs of blocks); on nets of 25 to 57 ms the difference is near the noise.
"""

_AT_MOST = 3.0  # and not more than this: what seems to be more is the steps' own unevenness
_COMPARED = 8  # steps of each kind before they are compared
_KEPT = 129  # steps of each kind that the comparison remembers
_WARM_UP = 3  # looks that meet the sites and warm the code: no measure of what follows
_BURST = 2  # looks in a row; four cost no less a look, and leave gaps of twice the length between them
_FAR = 8  # steps from a look to the next, from which on they come in bursts
_TOO_FAR = 16  # and from which on they do not: the gaps between bursts would be what a death is dated to
_SOON, _GAP = 300, 19  # in so many first steps there is a look for each so many of them, on credit
_DEAR = 4  # steps that such a look may cost
_REPAID = 0.1  # of what a step earns goes to repay what was spent without having been earned
_REGULAR = 1.25  # prices that a look may cost at once; what is above (a wide look, a writing, a delay) is a debt
_PLAIN_EACH = 8  # looks, of which one has two steps behind it for comparison
_SAVED = 8  # looks that may be saved up in a pause: a long evaluation must not buy a hundred looks in a row
_FAR_NS = 250_000_000  # of steps that are passed over without another thought: what a step takes may change
_MOST_PASSED = 256
_MOST_UNREAD = 64  # steps from one reading of the signs of life to the next, or one such part of the run
_RESERVED = 0.62  # of what is free is put aside for urgent looks
_MOST_RESERVED = 24  # looks
_AT_HAND = 3  # prices that other looks may be paid from; what is above fills the reserve
_ROW = 16  # urgent looks at most that are begun together
_FURTHER = 0.7  # of what a look costs by itself, for those behind it in a row; until one was seen
_AVERAGED = 8  # bookings, about
_FOR_SIGNS = 1 / 8  # of what a step earns goes into reading signs of life
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

    def error(self) -> float:
        """The median's standard error, were the numbers normal: 1.25 σ / √n, with σ from their quartiles."""
        count = len(self._sorted)
        return 0.93 * (self._sorted[3 * count // 4] - self._sorted[count // 4]) / math.sqrt(count)


class Budget:
    """The account of one run. Times are nanoseconds."""

    def __init__(self, share: float, every: int | None = None) -> None:
        """``share`` of the time may be spent (1.0: look at every step); or look at ``every`` k-th step."""
        self._share = share if share >= 1.0 else share * _AIM
        self._every = every
        self._credit = 0.0
        self._debt = 0.0
        self._price = 0.0
        self._hangover = 0.0  # what a look costs the step behind it
        self._looks = 0
        self._behind = 0  # steps behind the latest look
        self._plain = _Latest()
        self._after = _Latest()  # directly behind a look
        self._looked = _Latest()
        self._own = _Latest()
        self._further = _FURTHER
        self._reserve = 0.0  # for urgent looks
        self._floor = _FLOOR_NS * min(share / _FLOOR_SHARE, 1.0)
        self._income = max(self._floor - _IDLE_NS, _IDLE_NS)  # what a step has earned of late
        self._upkeep = 0.0  # and what it costs without looks, apart from what all cost
        self._signs = _Latest()  # what it costs to read the signs of life
        self.spent = 0.0
        self.elapsed = 0
        self.steps = 0

    @property
    def overhead(self) -> float | None:
        """Share of the time that the watching took; None before a second step."""
        if not self.elapsed:
            return None
        return self.spent / max(self.elapsed - self.spent, 1)

    def book(self, steps: int, duration: int, own: int, looked: int) -> None:
        """Book steps: how long they took together, the cost of our own that a clock inside saw, and the looks."""
        first, self.steps = self.steps == 0, self.steps + steps
        self._looks += looked
        cost, regular = float(own + _IDLE_NS * steps), 0.0
        if first:
            duration = 0  # it holds the script's preparations
        elif self._looks > _WARM_UP:
            self._compare(steps, duration, own, looked)
            cost += (_COLD - 1) * own
            if looked:
                usual = self._own.median() * self._looks_by_price(looked)
                cost += (self._price / self._own.median() - _COLD) * min(own, _REGULAR * usual)
                if self._behind:  # in a row they are cheaper: the caches are warm
                    cost = max(cost, self._price + _IDLE_NS * steps)
            elif self._behind == 0:
                cost += self._hangover
            regular = min(cost, _REGULAR * self._price * self._looks_by_price(looked) + _IDLE_NS * steps)
        self._behind = 0 if looked else self._behind + steps
        self.elapsed += duration
        self.spent += cost
        self._debt += cost - regular
        if not regular:
            return
        earned = self._allowed((duration - cost) / steps) * steps
        income = max(earned - _IDLE_NS * steps, 0.0)
        self._income += (min(income / steps, 2 * self._income) - self._income) / _AVERAGED  # a pause is no income
        free = income if looked else max(earned - regular, 0.0)
        if not looked:
            self._upkeep += ((regular / steps - _IDLE_NS) - self._upkeep) * min(steps / _MOST_PASSED, 1.0)
        repaid = min(self._debt, _REPAID * free)
        self._debt -= repaid
        reserved = min(_RESERVED * (free - repaid), self._lacks_reserve(), self._price)
        self._reserve += reserved
        saved = self._credit + earned - repaid - reserved - regular
        self._credit = min(saved, _SAVED * max(self._price, self._floor))

    def _allowed(self, step_ns: float) -> float:
        """What a step of this length may cost."""
        return max(self._share * step_ns, min(self._floor, _FLOOR_PART * step_ns), _LEAST * _IDLE_NS)

    def _looks_by_price(self, looked: int) -> float:
        """How many looks by themselves cost as much as so many in a row, or steps that are passed over."""
        return 1 + self._further * max(looked - 1, 0)

    def _compare(self, steps: int, duration: int, own: int, looked: int) -> None:
        if looked > _BURST:
            further = (own / self._own.median() - 1) / (looked - 1)
            self._further += (min(max(further, 0.1), 1.0) - self._further) / 2
        elif looked:
            alone = self._looks_by_price(looked)
            plain = self._plain.median() if len(self._plain) else duration / steps
            self._looked.add(plain + (duration - plain * steps) / alone)
            self._own.add(max(own / alone, 1))
            own_cost = self._own.median()
            self._price = max(own_cost * _COLD, min(self._longer(self._looked), own_cost * _AT_MOST))
            self._hangover = min(self._longer(self._after), own_cost)
        elif steps == 1:
            (self._plain if self._behind else self._after).add(duration)

    def _longer(self, steps: _Latest) -> float:
        """How much longer these steps take than plain ones, as far as it is beyond chance; 0 until enough are known."""
        if min(len(self._plain), len(steps)) < _COMPARED:
            return 0.0
        chance = 2 * math.hypot(self._plain.error(), steps.error())
        return max(steps.median() - self._plain.median() - chance, 0.0)

    def steps_between_signs(self, cost: int) -> int:
        """How many steps from one reading of the signs of life to the next, by what one has cost of late."""
        self._signs.add(cost)
        soon = _SOON - self.steps  # so long looks are as near as signs would be
        most = max(soon, _MOST_UNREAD, self.steps // _MOST_UNREAD)
        return max(1, min(math.ceil(_COLD * self._signs.median() / (_FOR_SIGNS * self._income)), most))

    def steps_to_pass(self, step: int, *, urgent: int = 0) -> int:
        """How many steps to pass over from this one on, by its number on its clock; −n: look at it and at n in a row.

        ``urgent``: so many looks in a row are wanted, and the reserve may be spent on them.
        """
        if self._every is not None:
            return -step % self._every or -1
        if self._share >= 1.0 or self._looks < _WARM_UP:
            return -1
        if not urgent:
            self._put_by(self._credit - _AT_HAND * self._price)
        step_ns = self._plain.median() if len(self._plain) else self._price
        earned = self._allowed(step_ns) - _IDLE_NS if len(self._plain) else self._income
        far = _FAR * earned < self._price <= _TOO_FAR * earned
        row = (min(urgent, _ROW) or (_BURST if far else 1)) if len(self._own) else 1
        price = self._price * self._looks_by_price(row)
        missing = price - self._credit - (self._reserve if urgent else 0.0)
        affordable = missing <= _NEAR * self._price
        if not (urgent and affordable) and self._wants_plain():
            return 1  # two steps to compare the looked-at ones with: a longer stretch may have an evaluation in it
        if affordable or self._is_due(step_ns):
            self._pay(price, urgent > 0)
            return -row
        if self._behind == 0 and (len(self._after) < _COMPARED or self._looks % _PLAIN_EACH == 1):
            return 1  # the one directly behind a look, by itself
        longest = max(1, (self._looks + 1) * _GAP - self.steps) if self.steps < _SOON else _MOST_PASSED
        free = max(earned - self._upkeep, earned / _AVERAGED)
        kept_back = _RESERVED if not urgent and self._lacks_reserve() > missing else 0.0
        needed = self._steps_to_save(missing, free * (1 - kept_back))
        return max(1, min(round(needed), int(_FAR_NS / max(step_ns, 1)), longest))

    def _wants_plain(self) -> bool:
        few = len(self._plain) < _COMPARED or self._looks % _PLAIN_EACH == 0
        return few and self._behind < 2 and self._looks > _SOON // _GAP

    def _is_due(self, step_ns: float) -> bool:
        """Whether a look is made on credit: a short run has some too."""
        return self.steps < _SOON and self._looks < self.steps // _GAP and self._price < _DEAR * step_ns

    def _pay(self, price: float, from_reserve: bool) -> None:
        """Have a price in the account, from the reserve where that may be, and else as a debt."""
        missing = max(price - self._credit, 0.0)
        reserved = min(missing, self._reserve) if from_reserve else 0.0
        self._reserve -= reserved
        self._debt += missing - reserved
        self._credit += missing

    def _steps_to_save(self, missing: float, free: float) -> float:
        """In how many steps this will have been saved, of what they leave, while a debt is repaid."""
        slowly, indebted = free * (1 - _REPAID), self._debt / (_REPAID * free)
        return min(missing / slowly, indebted + max(missing - slowly * indebted, 0.0) / free)

    def _put_by(self, surplus: float) -> None:
        """What was saved for urgent looks, and not spent on them, is for the next ones."""
        surplus = min(max(surplus, 0.0), self._lacks_reserve())
        self._credit -= surplus
        self._reserve += surplus

    def _lacks_reserve(self) -> float:
        return max(_MOST_RESERVED * self._price - self._reserve, 0.0)
