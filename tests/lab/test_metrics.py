"""Which of a script's numbers is compared, and which way is better."""

from __future__ import annotations

import math
import re

import pytest

from relume.artifacts.trial import Design
from relume.errors import NothingToCompare, StudyError
from relume.lab.capture.metrics import (
    DETECTED,
    LOGGED,
    LOGGERS,
    MOST_POINTS,
    REGEX,
    Metric,
    RunCurves,
    choose,
    infer_mode,
    is_diverged,
)

CURVE = [(0.0, 1.0), (1.0, 2.0)]


def found(**sources):
    named = {"logged": LOGGED, "loggers": LOGGERS, "regex": REGEX, "printed": DETECTED}
    return RunCurves({named[s]: {name: CURVE for name in names} for s, names in sources.items() if names})


@pytest.mark.parametrize(
    ("sources", "chosen"),
    [
        ({"logged": ["mine"], "loggers": ["acc"], "printed": ["loss"]}, "mine"),
        ({"loggers": ["acc"], "printed": ["loss"]}, "acc"),
        ({"loggers": ["acc", "epoch", "lr-SGD", "train_samples_per_second", "grad_norm"]}, "acc"),
        ({"loggers": ["epoch"], "printed": ["test_accuracy", "foo"]}, "test_accuracy"),
        ({"printed": ["foo"]}, "foo"),
        ({"logged": ["epoch"]}, "epoch"),
    ],
)
def test_the_only_metric_of_the_first_source_that_has_one_is_compared(sources, chosen):
    assert choose(found(**sources)) == Metric(chosen)


@pytest.mark.parametrize(
    ("asked", "sources", "chosen"),
    [
        ("acc", {"logged": ["loss"], "loggers": ["acc"]}, Metric("acc")),
        ("val.*", {"loggers": ["val/acc", "train/acc"]}, Metric("val/acc")),
        (r"acc: (\S+)", {"regex": ["acc"], "printed": ["acc", "loss"]}, Metric("acc", r"acc: (\S+)")),
        ("f(x)", {"loggers": ["f(x)", "loss"]}, Metric("f(x)")),
    ],
)
def test_the_requested_metric_is_compared_from_any_source(asked, sources, chosen):
    assert choose(found(**sources), asked) == chosen


def test_the_metric_of_tuning_is_not_among_the_candidates():
    assert choose(found(loggers=["val_acc", "test_acc"]), besides="val_acc") == Metric("test_acc")


def test_several_metrics_are_listed_with_their_values_and_what_picks_each():
    curves = {"train loss": [(0.0, 2.5), (1.0, 0.125)], "acc": [(0.0, 0.5)]}
    with pytest.raises(NothingToCompare, match=r"\[several-metrics\]") as error:
        choose(RunCurves({LOGGERS: curves}))
    lines = str(error.value).splitlines()
    assert lines[0].startswith("The script has 2 metrics (loggers); choose the one to compare")
    assert re.split(r" {2,}", lines[2].strip()) == ["train loss", "2", "2.5", "0.125", "--metric 'train loss'"]
    assert re.split(r" {2,}", lines[3].strip()) == ["acc", "1", "0.5", "0.5", "--metric acc"]


@pytest.mark.parametrize(("asked", "sources"), [("v.*", {"loggers": ["va", "vb"]}), ("(a)(b)", {"regex": ["a", "b"]})])
def test_an_expression_that_fits_several_lists_them(asked, sources):
    with pytest.raises(NothingToCompare, match=r"has 2 metrics"):
        choose(found(**sources), asked)


def test_many_metrics_and_long_names_are_cut():
    names = [f"{'x' * 5000}{n}" for n in range(500)]
    with pytest.raises(NothingToCompare, match="and 480 more") as error:
        choose(found(logged=names))
    assert len(str(error.value)) < 6000


@pytest.mark.parametrize("sources", [{}, {"loggers": ["epoch", "lr"]}])
def test_without_a_metric_the_error_says_how_to_log_one(sources):
    with pytest.raises(NothingToCompare, match=r"relume\.log\(step, test_accuracy=value\).*\[no-metric\]"):
        choose(found(**sources))


@pytest.mark.parametrize("asked", ["val_acc", r"val acc: (\S+)"])
def test_an_unknown_metric_is_refused_with_the_list_of_metrics(asked):
    with pytest.raises(NothingToCompare, match=r"Found: test_acc\..*\[metric-not-found\]"):
        choose(found(printed=["test_acc"]), asked)


def test_an_invalid_expression_is_a_usage_error():
    with pytest.raises(StudyError, match=r"\[bad-metric-regex\]") as error:
        choose(found(loggers=["acc"]), "acc: (")
    assert not isinstance(error.value, NothingToCompare)


LESS = (
    "loss error perplexity wer fid mse rmse mae val_loss trainLoss test/loss_epoch accuracy_error nll val.ppl".split()
)
MORE = (
    "acc accuracy auc f1 reward return iou mIoU map bleu psnr ssim r2 score val_F1 ep_rew_mean Acc@1 top5 "
    "test_average_accuracy loss_score"
).split()


@pytest.mark.parametrize(("names", "mode"), [(LESS, "min"), (MORE, "max")])
def test_the_better_way_is_read_from_the_name(names, mode):
    assert {name: infer_mode(name) for name in names} == dict.fromkeys(names, mode)


@pytest.mark.parametrize("name", ["beauty", "lossless", "score2go", "mapping", "", "加"])
def test_a_name_that_does_not_say_asks_for_the_mode(name):
    with pytest.raises(StudyError, match=r"--mode max or --mode min\. \[unknown-mode\]"):
        infer_mode(name)


def test_the_curves_of_a_trial_come_from_the_first_source_and_before_it_from_the_regex():
    curves = {
        LOGGERS: {"acc": [(0.0, 1.0)]},
        REGEX: {"acc": [(0.0, 2.0)]},
        DETECTED: {"acc": [(0.0, 3.0)], "loss": CURVE},
    }
    assert RunCurves(curves).curves() == {"acc": ((0.0, 2.0),), "loss": tuple(CURVE)}


def test_long_curves_are_thinned_except_the_judged_ones():
    curve = [(float(step), float(step)) for step in range(10_001)]
    kept = RunCurves({LOGGED: {"acc": curve, "other": curve}}).curves(["acc"])
    assert kept["acc"] == tuple(curve)
    assert len(kept["other"]) == MOST_POINTS
    assert (kept["other"][0], kept["other"][-1]) == (curve[0], curve[-1])
    assert [step for step, _ in kept["other"]] == sorted({step for step, _ in kept["other"]})


@pytest.mark.parametrize(
    ("metrics", "diverged"),
    [
        ({"acc": [1, math.nan]}, True),
        ({"acc": [math.nan, 1]}, False),
        ({"acc": [1], "train_loss": [1, math.inf]}, True),
        ({"acc": [1], "train_loss": [math.nan, 1]}, False),
        ({"acc": [1], "other": [math.nan]}, False),
        ({"acc": [1], "val": [-math.inf]}, True),
        ({}, False),
    ],
)
def test_a_run_diverged_where_its_metric_or_a_loss_ended_in_nan_or_infinity(metrics, diverged):
    design = Design((), metric="acc", tune_metric="val")
    curves = {name: tuple(enumerate(values)) for name, values in metrics.items()}
    assert is_diverged(curves, design) is diverged
