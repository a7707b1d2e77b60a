"""The HTML report of studies as text: verdict first, both intervals by their names, the data inside, names escaped."""

from __future__ import annotations

import math
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from helpers import made_study as made

from relume.artifacts.trial import BASELINE, Contender
from relume.reports.study import terminal as study_terminal
from relume.reports.study import wording as study_wording
from relume.reports.study.html.charts import cell, differences, seed_table
from relume.reports.study.html.contents import headline
from relume.reports.study.html.curves import curves, mean_curve, rates, thinned
from relume.reports.study.html.page import study_page
from relume.reports.study.methods import paragraph

HOSTILE = "<script>alert(1)</script>&amp;\n" + "x" * 10_000


class Page(HTMLParser):
    """The words of a page and the data in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.scripts, self._script = [], [], {}, None
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag in ("script", "style"):
            self._script = dict(attributes).get("id", tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.words.append(data)
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


@pytest.fixture(scope="module")
def page():
    return Page(study_page([made.study()]))


def test_the_verdict_comes_first_in_plain_words(page):
    said = page.text.index("elu is better than the script's ReLU")
    sentence = page.text.index(study_wording.sentence(made.study()))
    assert said < sentence < page.text.index("Difference from the baseline")


def test_both_intervals_are_there_and_named(page):
    assert "Thick: 95 % interval for this contender. Thin: 95 % interval for all contenders" in page.text
    chart = differences(made.study(), "")
    assert chart.columns[3:5] == ("95 % interval, one contender", "95 % interval, all together")
    assert chart.rows[0] == (
        "elu", "better", "+2.46", "0.96 to 3.96", "0.36 to 4.56", "0.029", "0.015", "70 % of pairs", 10,
    )  # fmt: skip
    assert len(chart.rows) == 6


def test_the_methods_paragraph_equals_the_one_of_the_other_formats(page):
    assert paragraph(made.study()) in page.text


def test_problems_are_reported():
    found = Page(study_page([made.troubled()]))
    assert "Runs that did not finish" in found.text
    assert "loss is nan" in found.text
    assert "elu : the best rate is the last one that was tried." in found.text.replace("elu:", "elu :")
    assert "F.softplus at net.py:30 : relume does not know this activation." in found.text
    assert "9/10" in found.text


def test_a_running_study_shows_the_waiting_runs_and_the_curves():
    running = replace(made.waiting(), left={BASELINE: 8, "elu": 10})
    running = replace(
        running, verdicts=tuple(replace(v, baseline_lr_factor=math.nan, lr_factor=math.nan) for v in running.verdicts)
    )
    told = dict(study_wording.progress(running))
    names = study_wording.names(running)
    assert {heading: cells[names.index("elu")] for heading, cells in told.items()} == {
        "runs ended": str(sum(t.key.activation == "elu" for t in running.trials)), "failed": "·", "waiting": "10"
    }  # fmt: skip
    for text in (Page(study_page([running])).text, study_terminal.to_text([running])):
        assert "progress" in text
    assert curves(running, "")
    assert not study_wording.progress(made.study())


def test_a_study_without_a_verdict_claims_nothing():
    found = Page(study_page([made.waiting()]))
    assert "No verdict yet" in found.text
    assert "Difference from the baseline" not in found.text
    assert "seed by seed" not in found.text


def test_a_study_of_one_trial_is_readable():
    first = made.waiting()
    found = Page(study_page([replace(first, trials=first.trials[:1], verdicts=())]))
    assert "Nothing was compared" in found.text
    assert "Methods" in found.text
    assert "svg" in found.tags


def test_several_studies_are_reported_one_after_the_other():
    found = Page(study_page([made.study(name="first"), made.troubled()]))
    assert "2 studies, corrected together" in found.text
    assert found.text.count("Data table: seed by seed") == 2


def test_names_of_any_kind_stay_text_and_short():
    study = made.study({HOSTILE: (1.0, 0.5, 0.01, "better")})
    design = replace(study.design, metric=HOSTILE, contenders=(Contender(HOSTILE),))
    subject = replace(study.subject, script=HOSTILE, argv=(HOSTILE,), versions={HOSTILE: HOSTILE})
    broken = replace(study.trials[0], status="failed", error=HOSTILE)
    text = study_page(
        [
            replace(
                study, design=design, subject=subject, name=HOSTILE, trials=(broken, *study.trials[1:]),
                not_swapped=((HOSTILE, HOSTILE, HOSTILE),), notes=(HOSTILE,),
            )
        ]
    )  # fmt: skip
    found = Page(text)
    assert found.tags.count("script") == text.count("</script>")
    assert "alert(1)" in found.text
    assert max(map(len, found.text.split())) <= 420


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"elu": (1.0, 0.5, 0.01, "better"), "gelu": (2.0, 0.5, 0.01, "better")},
         "gelu and elu are better than the script's ReLU"),
        ({"elu": (-1.0, 0.5, 0.01, "worse")}, "elu is worse than the script's ReLU"),
        ({"elu": (-1.0, 0.5, 0.01, "worse"), "gelu": (0.0, 2.0, 1.0, "undecided")},
         "No contender is shown to be better than the script's ReLU"),
        ({"elu": (0.0, 0.5, 1.0, "equivalent")}, "elu is equivalent to the script's ReLU"),
        ({"elu": (0.0, 2.5, 1.0, "undecided")}, "No difference from the script's ReLU is shown"),
    ],
)  # fmt: skip
def test_the_headline_agrees_with_the_verdicts(told, expected):
    assert headline(made.study(told)) == expected


def test_the_seed_table_has_the_pairs_of_the_verdict():
    study = made.study()
    heads, rows = seed_table(study)
    assert [row[0] for row in rows] == [str(seed) for seed in range(10)]
    first = study.pairs("elu")[0]
    told = dict(zip(heads, rows[first.seed], strict=True))
    assert (told[BASELINE], told["elu"]) == (cell(first.baseline), cell(first.activation))
    assert seed_table(made.waiting())[1] == []


def test_curves_have_a_line_a_seed_and_the_mean():
    chart = curves(made.study(), "")[0]
    thin, thick = (layer["data"]["values"] for layer in chart.spec["layer"])
    assert len({row["r"] for row in thin}) == 20
    assert [row["v"] for row in thick if row["s"] == 0] == [40.0, 40.0]
    last = [trial.metrics["test_accuracy"][-1][1] for trial in made.study().runs(BASELINE)]
    assert [row["v"] for row in thick if (row["s"], row["w"]) == (2.0, 0)] == [pytest.approx(sum(last) / 10)]


def test_many_long_curves_are_thinned_and_keep_their_ends():
    curve = [(float(i), float(i)) for i in range(10_000)]
    kept = thinned(curve, 50)
    assert len(kept) == 50
    assert (kept[0], kept[-1]) == (curve[0], curve[-1])
    assert mean_curve([]) == []
    study = made.study({"elu": made.TOLD["elu"]})
    long = tuple((float(i), 1.0 / (i + 1)) for i in range(3000))
    study = replace(study, trials=tuple(replace(t, metrics={"test_accuracy": long}) for t in study.trials))
    assert len(study_page([study]).encode()) < 1_500_000


def test_the_rates_that_were_tried_are_drawn_and_the_chosen_one_is_marked():
    chart = rates(made.study(), "")
    assert chart.columns == ("contender", "×1/4", "×1", "×4", "chosen")
    assert [row[-1] for row in chart.rows] == ["×1"] * 7
    assert sum(row["chosen"] for row in chart.spec["data"]["values"]) == 7
    assert rates(replace(made.study(), trials=()), "") is None
