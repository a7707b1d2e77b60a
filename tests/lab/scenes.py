"""The simulated worlds: the truth in each, and the question of its studies."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from world import DEPTH, Metric, Truth, truths

from relume.artifacts.trial import BASELINE


@dataclass(frozen=True)
class Scene:
    """A world and what is asked in it.

    Attributes:
        asked: of the design, beside the seeds.
        over_all: the truth is the mean over all runs, with those that collapse; otherwise over those that train.
    """

    about: str
    truths: dict[str, Truth]
    correlation: float = 0.0
    asked: dict = field(default_factory=dict)
    metric: Metric | None = None
    over_all: bool = False

    def best(self, name: str) -> float:
        """The mean of the runs that train, or of all, at the best of all rates, tried or not."""
        truth, factors = self.truths[name], self.asked.get("factors", ())
        mean = truth.mean(factors[0]) if len(factors) == 1 else truth.top
        return mean - truth.collapse * (mean + DEPTH) if self.over_all else mean

    def truth(self, name: str) -> float:
        """Best against best: what a verdict claims to know."""
        return self.best(name) - self.best(BASELINE)


CURVE = partial(Truth, curvature=0.3)
STEEP = partial(Truth, curvature=1.5)
SCENES = {
    "one curve": Scene("all activations have the same curve", truths(6, CURVE())),
    "one curve, paired": Scene("the same, pairs correlated by 0.5", truths(6, CURVE()), 0.5),
    "steep": Scene("only one rate is any good", truths(6, STEEP()), 0.5),
    "optima apart": Scene(
        "best rates a factor of 64 apart", truths(6, CURVE(), CURVE(optimum=2), CURVE(optimum=-2), CURVE(optimum=4))
    ),
    "unequal noise": Scene(
        "contenders 1 to 3 times as noisy as the baseline",
        truths(6, STEEP(), *(STEEP(spread=1 + 0.4 * index) for index in range(6))),
        0.5,
    ),
    "noisy baseline": Scene("the baseline is 3 times as noisy", truths(6, STEEP(spread=3.0), *[STEEP()] * 6)),
    "failures": Scene(
        "5 % of all runs fail, and more the higher the rate",
        truths(6, CURVE(limit=3, failing=0.05), *(CURVE(limit=edge, failing=0.05) for edge in (1.5, 3, 5, 1.5, 3, 5))),
    ),
    "30 % fail": Scene(
        "30 % of the runs of four contenders fail whatever the rate; best rates a factor of 64 apart",
        truths(6, CURVE(), *(CURVE(optimum=best, failing=0.3) for best in (2, -2, 4, 0))),
    ),
    "15 % fail": Scene(
        "15 % of all runs fail whatever the rate, and only one rate is any good", truths(6, STEEP(failing=0.15)), 0.5
    ),
    "three are better": Scene(
        "three are 3 sd better: the others' errors count", truths(6, STEEP(), *[STEEP(top=3)] * 3)
    ),
    "at delta": Scene(
        "all differ by exactly delta: equivalent is false",
        truths(6, STEEP(), *[STEEP(top=1.5)] * 3, *[STEEP(top=-1.5)] * 3),
        0.5,
        {"delta": 1.5},
    ),
    "equal, with delta": Scene(
        "no difference, delta given: three claims can be made", truths(6, STEEP()), 0.5, {"delta": 1.5}
    ),
    "one contender, not tuned": Scene("nothing but the looks shares the error", truths(1), 0.0, {"factors": (1.0,)}),
    "not tuned": Scene("the script's own rate alone", truths(6), 0.0, {"factors": (1.0,)}),
    "half a step off": Scene(
        "all are equal at their best rates; those of the contenders lie half a step of the grid off the baseline's",
        truths(6, CURVE(), *[CURVE(optimum=1)] * 3, *[CURVE(optimum=-1)] * 3),
    ),
    "half a step off, steep": Scene(
        "the same, steep", truths(6, STEEP(), *[STEEP(optimum=1), STEEP(optimum=-1)] * 3), 0.5
    ),
    "half a step off, 3": Scene("three contenders", truths(3, STEEP(), *[STEEP(optimum=1)] * 3), 0.5),
    "baseline off": Scene(
        "the baseline's best rate lies half a step off", truths(3, STEEP(optimum=1), *[STEEP()] * 3), 0.5
    ),
    "a quarter off": Scene(
        "three contenders, a quarter of a step off", truths(3, STEEP(), *[STEEP(optimum=0.5)] * 3), 0.5
    ),
    "beyond the grid": Scene(
        "the baseline's best rate is 512 times the script's, beyond all that is tried; equal there",
        truths(3, CURVE(optimum=9), *[CURVE()] * 3),
    ),
    "just beyond the grid": Scene(
        "the same at 128 times the script's", truths(3, CURVE(optimum=7), *[CURVE()] * 3), 0.5
    ),
    "contenders beyond": Scene(
        "the contenders' best rates lie at 1/512, equal there", truths(3, CURVE(), *[CURVE(optimum=-9)] * 3)
    ),
    "10 % collapse": Scene(
        "10 % of the contenders' runs end where they began; those that train are equal",
        truths(3, CURVE(), *[CURVE(collapse=0.1)] * 3),
        metric=Metric(start=True),
    ),
    "5 % collapse": Scene("the same, 5 %", truths(3, CURVE(), *[CURVE(collapse=0.05)] * 3), metric=Metric(start=True)),
    "10 % collapse, equal means": Scene(
        "the contenders' runs that train are better by what the 10 % that collapse cost: equal over all runs",
        truths(3, CURVE(), *[CURVE(top=10 / 9, collapse=0.1)] * 3),
        metric=Metric(start=True),
        over_all=True,
    ),
    "5 % collapse, equal means": Scene(
        "the same, 5 %",
        truths(3, CURVE(), *[CURVE(top=10 / 19, collapse=0.05)] * 3),
        metric=Metric(start=True),
        over_all=True,
    ),
    "10 % dead layers": Scene(
        "10 % of the contenders' runs end with a dead layer, and one value is logged",
        truths(3, CURVE(), *[CURVE(collapse=0.1)] * 3),
        metric=Metric(dead=True),
    ),
    "5 % dead layers, equal means": Scene(
        "5 %; those that train are better by what that costs: equal over all runs",
        truths(3, CURVE(), *[CURVE(top=10 / 19, collapse=0.05)] * 3),
        metric=Metric(dead=True),
        over_all=True,
    ),
    "10 % of the baseline": Scene(
        "10 % of the baseline's runs collapse",
        truths(3, CURVE(collapse=0.1), *[CURVE()] * 3),
        metric=Metric(start=True),
    ),
    "collapse, with delta": Scene(
        "5 % of the contenders' runs collapse; delta is what that moves the mean by",
        truths(3, CURVE(), *[CURVE(collapse=0.05)] * 3),
        0.9,
        {"delta": 0.05 * DEPTH},
        Metric(start=True),
    ),
    "collapse unseen, with delta": Scene(
        "the same where one value is logged",
        truths(3, CURVE(), *[CURVE(collapse=0.05)] * 3),
        0.9,
        {"delta": 0.05 * DEPTH},
    ),
    "few digits": Scene("printed to 2 sd", truths(6), 0.5, {"factors": (1.0,)}, Metric(step=2.0)),
    "few digits, paired": Scene("pairs correlated by 0.95", truths(6), 0.95, {"factors": (1.0,)}, Metric(step=2.0)),
    "20 items": Scene("accuracy on 20 items", truths(6), 0.5, {"factors": (1.0,)}, Metric(items=20)),
    "20 items, paired": Scene("pairs correlated by 0.95", truths(6), 0.95, {"factors": (1.0,)}, Metric(items=20)),
    "64 items, 1": Scene("accuracy on 64 items, one contender", truths(1), 0.9, {"factors": (1.0,)}, Metric(items=64)),
    "heavy tails": Scene(
        "Student's t with 3 degrees of freedom", truths(6), 0.5, {"factors": (1.0,)}, Metric(tails=True)
    ),
    "cliff": Scene("half of the runs diverge from ×1.4 on", truths(6, CURVE(limit=0.5), *[CURVE(limit=0.5)] * 6), 0.5),
}
