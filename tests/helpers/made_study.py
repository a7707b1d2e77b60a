"""Studies as the lab would make them: the seven activations on MNIST-1D, 10 seeds; and others that went less well."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.subject import Subject
from relume.artifacts.trial import BASELINE, Contender, Design, InterimAnalysis, Trial, TrialKey, Verdict

SEEDS = 10
# name: difference to ReLU, half of its 95 % interval, Holm's p, verdict, seconds, parameters, dead share
TOLD = {
    "leaky_relu:0.2": (-0.05, 1.23, 1.0, "equivalent", 6.1, 0, 0.0),
    "prelu:channel": (-3.51, 1.29, 0.004, "worse", 7.4, 200, 0.0),
    "rrelu": (1.04, 0.84, 0.105, "undecided", 8.8, 0, 0.0),
    "gelu": (1.41, 1.23, 0.107, "undecided", 6.6, 0, 0.002),
    "silu": (1.70, 1.30, 0.078, "undecided", 6.5, 0, 0.0),
    "elu": (2.46, 1.50, 0.029, "better", 6.4, 0, 0.0),
}


def verdict(name, difference=1.0, half=1.5, p=0.2, call="undecided", seconds=6.0, learns=0, dead=0.0, **more):
    """A verdict on 10 seeds beside a baseline of 65.7 ± 1.2."""
    cost = {
        "baseline": {
            "seconds": 5.9,
            "cpu_seconds": 5.8,
            "peak_memory": 412e6,
            "parameters_added": 0,
            "dead_share": 0.08,
        },
        "activation": {
            "seconds": seconds,
            "cpu_seconds": seconds - 0.1,
            "peak_memory": 415e6,
            "parameters_added": learns,
            "dead_share": dead,
        },
    }
    ci = (difference - half, difference + half)
    wide = (difference - 1.4 * half, difference + 1.4 * half)
    fields = {
        "activation": name, "verdict": call, "n": SEEDS, "mean": 65.7 + difference, "sd": 1.3, "difference": difference,
        "ci": ci, "ci_simultaneous": wide, "p_holm": p, "p_sign_flip": p / 2, "p_better": 0.7, "correlation": 0.2,
        "mdd": 1.9, "seeds_needed": (26, 47) if call == "undecided" else None, "runs": SEEDS, "failed": 0,
        "failed_ci": (0.0, 0.278), "lr_factor": 1.0, "baseline_lr_factor": 1.0, "at_edge": False, "cost": cost,
        "baseline_mean": 65.7, "baseline_sd": 1.2, "look": 1, "level": 0.03,
    }  # fmt: skip
    return Verdict(**fields | more)


def trials(names, curve=(40.0, 60.0)):
    rng = np.random.default_rng(0)
    found = []
    for seed in range(SEEDS):
        for name in (BASELINE, *names):
            last = round(65.7 + TOLD.get(name, (0,))[0] + rng.normal(0, 1.2), 2)
            metrics = {
                "test_accuracy": tuple((float(i), v) for i, v in enumerate((*curve, last))),
                "loss": ((0.0, 0.5),),
            }
            key = TrialKey(name, seed, 1.0, "confirm")
            found.append(Trial(key, "finished", metrics, "", 6.0, 5.9, 412_000_000, 0, 0.08, "w", "s", 2))
    tuning = [replace(t, key=t.key._replace(stage="tune", seed=10_000)) for t in found[: 1 + len(names)]]
    factors = (0.25, 1.0, 4.0)
    others = [replace(t, key=t.key._replace(lr_factor=factor)) for t in found for factor in (0.25, 4.0)]
    return (*(replace(t, key=t.key._replace(lr_factor=factor)) for t in tuning for factor in factors), *found, *others)


def study(told=TOLD, **more):
    """The study of these contenders: by default the seven-activation table."""
    verdicts = tuple(verdict(name, *numbers) for name, numbers in told.items())
    design = Design(
        tuple(Contender(name) for name in told), SEEDS, metric="test_accuracy", mode="max", delta=1.5,
        factors=(0.25, 1.0, 4.0), tuning_seeds=(10_000, 10_001),
    )  # fmt: skip
    done = trials(told)
    findings = StudyFindings(
        name="relume-study",
        design=design,
        subject=Subject(
            "mnist1d_mlp.py",
            ("--steps", "3000"),
            {"mnist1d_mlp.py": "0123456789abcdef"},
            {"python": "3.11.2", "torch": "2.13.0", "relume": "0.1.0"},
        ),
        verdicts=verdicts,
        trials=done,
        values={trial.key: trial.metrics["test_accuracy"][-1][1] for trial in done},
        looks=(InterimAnalysis(1, SEEDS, tuple(told)),),
        replaces=("relu",),
        sites=2,
        next_seeds=2 * SEEDS,
    )
    return replace(findings, **more)


def troubled():
    """Failed runs, an edge of the grid, noise, what could not be replaced, no delta."""
    made = study({"elu": TOLD["elu"], "selu": (math.nan, math.nan, math.nan, "worse", 6.0, 0, None)})
    elu, selu = made.verdicts
    noise = "Run-to-run noise: baseline at seed 0 was run twice and ended with different weights, 0.31 apart in loss."
    elu = replace(elu, at_edge=True, lr_factor=4.0, notes=("elu did best at the last learning rate tried (×4).", noise))
    selu = replace(
        selu, n=1, mean=math.nan, sd=math.nan, failed=9, failed_ci=(0.6, 0.98), baseline_failed=1, p_holm=0.002,
        p_better=math.nan, correlation=math.nan, mdd=math.nan,
        notes=("Fewer than half of its runs finished: the verdict counts each failure as a loss.", noise),
    )  # fmt: skip
    done = tuple(
        replace(trial, status="diverged", error="loss is nan") if trial.key.activation == "selu" else trial
        for trial in made.trials
    )
    return replace(
        made,
        verdicts=(elu, selu),
        trials=done,
        design=replace(made.design, delta=None),
        replaces=("relu", "leaky_relu"),
        not_swapped=(("F.softplus", "net.py:30", "relume does not know this activation"),),
        notes=("The weights were loaded from a file: this is fine-tuning from ReLU weights.",),
        next_seeds=None,
    )


def waiting():
    """Interrupted before the first look."""
    note = "No verdict before all runs of 10 seeds have ended: a verdict is given at fixed numbers only."
    made = study()
    numbers = ("mean", "sd", "difference", "p_holm", "p_sign_flip", "p_better", "correlation", "mdd")
    nothing = dict.fromkeys(numbers, math.nan) | {"ci": (math.nan, math.nan), "n": 0, "look": 0, "seeds_needed": None}
    verdicts = tuple(replace(v, **nothing, verdict="undecided", notes=(note,)) for v in made.verdicts)
    return replace(made, verdicts=verdicts, looks=(), trials=made.trials[:9])
