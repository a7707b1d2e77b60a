"""A study of a Python function, carried out for real: what is kept, what is run again, when a verdict may be given."""

import math
import random
from dataclasses import replace

import pytest

import relume
from relume.artifacts.study import Study
from relume.artifacts.trial import Design
from relume.errors import NothingToCompare, StudyError
from relume.lab.campaign import Quiet, Terms
from relume.lab.findings import read_findings
from relume.lab.function_study import FunctionCall, activations_of, campaign_of
from relume.reports.study import terminal as study_terminal

GAIN = {"relu": 0.0, "elu": 5.0, "gelu": 0.1}


def train(activation, seed, lr_factor, log):
    """A quality with an optimum at twice the rate, and noise of its own."""
    draws = random.Random(f"{seed} {activation}")
    for epoch in range(3):
        log(epoch, accuracy=70 + epoch + GAIN[activation] - (math.log2(lr_factor) - 1) ** 2 / 4 + draws.gauss(0, 0.5))


class Counting:
    """A function that knows how often it was called, and may be interrupted."""

    def __init__(self, stop_after=None):
        self.calls = []
        self.stop_after = stop_after

    __qualname__ = "train"

    def __call__(self, activation, seed, lr_factor, log):
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append((activation, seed, lr_factor))
        train(activation, seed, lr_factor, log)


def compare(folder, train=train, **options):
    options = {"activations": ["relu", "elu", "gelu"], "seeds": 4, **options}
    return relume.compare(train, study=folder, **options)


def test_the_better_one_is_found_at_its_own_rate_and_the_equal_one_is_not(tmp_path):
    found = compare(tmp_path / "study", lr_factors=(0.5, 2, 8), seeds=6)
    assert found.verdicts == {"elu": "better", "gelu": "undecided"}
    assert {verdict.lr_factor for verdict in found.findings.verdicts} == {2.0}
    assert "elu is better than relu by" in repr(found)
    assert found.to_dict()["study"]["metric"] == "accuracy"


def test_a_repeated_command_runs_nothing_and_says_the_same(tmp_path):
    first, second = Counting(), Counting()
    said = compare(tmp_path / "study", first)
    again = compare(tmp_path / "study", second)
    assert len(first.calls) == 45
    assert second.calls == []
    assert repr(again) == repr(said)
    assert len(again.findings.looks) == 1


def test_an_interrupted_study_resumes_where_it_stopped(tmp_path):
    first, second, whole = Counting(stop_after=25), Counting(), Counting()
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "study", first)
    said = compare(tmp_path / "study", second)
    assert len(first.calls) == 25
    assert len(first.calls) + len(second.calls) == 45
    assert repr(compare(tmp_path / "other", whole)).splitlines()[0] == repr(said).splitlines()[0]


def test_more_seeds_are_added_to_those_that_are_there(tmp_path):
    more = Counting()
    compare(tmp_path / "study", Counting(), seeds=2)
    found = compare(tmp_path / "study", more, seeds=4)
    assert [look.seeds for look in found.findings.looks] == [2, 4]
    assert {seed for _, seed, _ in more.calls} == {2, 3}


def test_seeds_between_two_looks_are_refused(tmp_path):
    compare(tmp_path / "study", seeds=2)
    with pytest.raises(StudyError, match=r"\[not-a-look\]"):
        compare(tmp_path / "study", seeds=3)


def test_until_decided_ends_at_the_last_look(tmp_path):
    found = compare(tmp_path / "study", seeds=3, until_decided=True)
    assert [look.seeds for look in found.findings.looks] == [3, 6, 12]
    assert found.verdicts == {"elu": "better", "gelu": "undecided"}


def test_a_trial_that_fails_is_an_outcome(tmp_path):
    def fragile(activation, seed, lr_factor, log):
        if activation == "gelu" and seed == 2:
            raise ZeroDivisionError("once")
        train(activation, seed, lr_factor, log)

    found = compare(tmp_path / "study", fragile, lr_factors=[1.0])
    gelu = found.findings.verdict("gelu")
    assert (gelu.failed, gelu.runs, gelu.n) == (1, 4, 3)
    assert [t.error for t in found.findings.trials if t.status == "failed"] == ["ZeroDivisionError: once"]


def test_a_run_that_ends_in_nan_has_diverged(tmp_path):
    def steep(activation, seed, lr_factor, log):
        log(accuracy=math.nan if activation == "gelu" and lr_factor > 2 else 1 + random.random())

    found = compare(tmp_path / "study", steep)
    assert {t.key.lr_factor for t in found.findings.trials if t.status == "diverged"} == {4.0}


def test_several_metrics_ask_which(tmp_path):
    def both(activation, seed, lr_factor, log):
        log(accuracy=1 + random.random(), loss=random.random())

    with pytest.raises(NothingToCompare, match=r"(?s)accuracy.*loss.*\[several-metrics\]"):
        compare(tmp_path / "study", both)
    found = compare(tmp_path / "study", both, metric="loss")
    assert (found.findings.design.metric, found.findings.design.mode) == ("loss", "min")


def test_a_function_that_always_fails_is_not_compared(tmp_path):
    def broken(activation, seed, lr_factor, log):
        raise ValueError("no data")

    with pytest.raises(NothingToCompare, match=r"ValueError: no data.*\[script-failed\]"):
        compare(tmp_path / "study", broken)


@pytest.mark.parametrize("given", [["relu"], ["relu", "relu"], []])
def test_two_different_activations_are_expected(tmp_path, given):
    with pytest.raises(StudyError, match=r"\[bad-contenders\]"):
        compare(tmp_path / "study", activations=given)


def test_a_returned_number_is_a_metric(tmp_path):
    found = compare(
        tmp_path / "study",
        lambda activation, seed, lr_factor, log: {
            "score": GAIN[activation] + random.Random(f"{seed}{activation}").random()
        },
        lr_factors=[1.0],
        seeds=6,
    )
    assert found.verdicts["elu"] == "better"


def test_functions_and_classes_go_by_their_names():
    assert list(activations_of([math.tanh, "relu", Design])) == ["tanh", "relu", "Design"]


def test_two_shards_share_the_work_and_come_to_one_verdict(tmp_path):
    halves = [Counting(), Counting()]
    campaigns = []
    for number, half in enumerate(halves):
        study = Study.open(tmp_path / "study")
        call = FunctionCall(half, activations_of(["relu", "elu"]))
        terms = Terms(shard=(number + 1, 2), until=0.0)  # none waits for the other
        campaigns.append(campaign_of(call, Design((), seeds=4, factors=(1.0,)), study, terms))
    for _ in range(2):  # the second time each sees what the other has done
        for campaign in campaigns:
            campaign.terms = replace(campaign.terms, until=None)
            ahead = [key for key in campaign.ahead()]
            for trial in campaign.trials.run(list(campaign._claimed(ahead))):
                campaign.study.save(trial)
    assert len(halves[0].calls) + len(halves[1].calls) == 8  # none was run twice
    assert all(half.calls for half in halves)
    assert campaigns[0].judge() == campaigns[1].judge()


def test_finished_trials_are_kept_when_the_time_is_over(tmp_path):
    study = Study.open(tmp_path / "study")
    call = FunctionCall(train, activations_of(["relu", "elu"]))
    campaign = campaign_of(call, Design((), seeds=4), study, Terms(until=0.0))
    verdicts = campaign.carry_out()
    assert campaign.out_of_time
    assert [verdict.verdict for verdict in verdicts] == ["undecided"]
    assert study.looks == ()


class Telling(Quiet):
    """Keeps what it is shown."""

    def __init__(self):
        self.stages, self.verdicts = [], []

    def planned(self, stage, done, left):
        self.stages.append((stage, done, left))

    def judged(self, verdict, runs, waiting):
        self.verdicts.append((verdict.activation, verdict.verdict, runs, waiting))


def test_the_first_verdict_is_printed_while_the_others_still_run(tmp_path):
    study, told, calls = Study.open(tmp_path / "study"), Telling(), Counting()
    call = FunctionCall(calls, activations_of(["relu", "gelu", "elu"]))
    campaign = campaign_of(call, Design((), seeds=6), study, Terms())
    campaign.progress = told
    verdicts = campaign.carry_out()
    ((name, said, runs, waiting),) = told.verdicts
    assert (name, said, waiting) == ("elu", "better", 1)  # tuning promised most of it
    assert runs < len(calls.calls) == len(study.trials())
    assert [verdict.verdict for verdict in verdicts] == ["undecided", "better"]
    assert len(study.looks) == 1
    assert told.stages[0][2] == 9 + 3 * 3 * 6 - 1  # the whole study, without the first run


def test_a_running_study_reports_the_waiting_trials(tmp_path):
    stopped = Counting(stop_after=9 + 2 * 3 * 6)
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "study", stopped, seeds=6)
    (found,) = read_findings([tmp_path / "study"])
    by_name = {verdict.activation: verdict for verdict in found.verdicts}
    assert (by_name["elu"].verdict, by_name["elu"].look) == ("better", 1)
    assert (by_name["gelu"].verdict, by_name["gelu"].look, by_name["gelu"].n) == ("undecided", 0, 0)
    text = " ".join(study_terminal.to_text([found]).split())
    assert "gelu is not judged yet." in text
    assert "waiting" in text
