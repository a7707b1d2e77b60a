"""A study as each format tells it: gold files for the whole, and what names of any kind must not do.

Write the gold files with ``RELUME_GOLD=write``; read the difference before you commit it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import made_study as made

from relume.artifacts.study_findings import AsItStands
from relume.artifacts.trial import BASELINE
from relume.reports.formats import REPORTS, render
from relume.reports.study import terminal as study_terminal
from relume.reports.study import wording as study_wording
from relume.reports.study.csv import COLUMNS
from relume.reports.study.latex import escaped
from relume.reports.study.methods import paragraph
from relume.version import __version__

GOLD = Path(__file__).parents[1] / "gold"
STUDY_REPORTS = [entry.name for entry in REPORTS.values() if entry.study and entry.name != "html"]
FORMATS = {"terminal": study_terminal.to_text, **{name: partial(render, name, "study") for name in STUDY_REPORTS}}
ENDINGS = {"terminal": "txt", "latex": "tex"}
KEPT = ("terminal", "json", "md", "latex")  # in gold files
STUDIES = {"seven": made.study, "troubled": made.troubled, "waiting": made.waiting}

HOSTILE = {
    "html": "<script>alert(1)</script>&amp;",
    "quotes": """a"b'c`d""",
    "lines": "one\ntwo\r\n\x1b[31mthree\x00",
    "markup": "[bold]x[/bold] **y** | z | @someone",
    "tex": r"\input{/etc/passwd} $x$ %rest {a}_b^c~#&",
    "formula": "=HYPERLINK(1)",
    "long": "x" * 10_000,
    "bracket": "[5pt] start",
}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("form", KEPT)
def test_a_study_is_reported_as_in_the_gold_file(form, name):
    study = STUDIES[name]()
    told = FORMATS[form]([replace(study, trials=study.trials[-2:]) if form == "json" else study])
    told = told.rstrip("\n") + "\n"
    path = GOLD / f"study_{name}.{ENDINGS.get(form, form)}"
    if os.environ.get("RELUME_GOLD") == "write":
        path.write_text(told, encoding="utf-8")
    assert told == path.read_text(encoding="utf-8")


# ---- the sentence --------------------------------------------------------------------------------------------------


def sentence(**told):
    return study_wording.sentence(made.study({name.replace("_", ":"): numbers for name, numbers in told.items()}))


def test_the_sentence_says_who_by_how_much_and_how_sure():
    assert sentence(elu=(2.46, 1.50, 0.029, "better")) == (
        "elu is better than the script's ReLU by 2.5 in test_accuracy (95 % interval 1.0 to 4.0, 10 seeds, Holm p = "
        "0.029)."
    )


def test_with_a_loss_the_better_contender_is_lower_and_the_sentence_gives_amounts():
    study = made.study({"elu": (-0.25, 0.05, 0.0004, "better")})
    study = replace(study, design=replace(study.design, metric="test_loss", mode="min"))
    assert "elu is better than the script's ReLU by 0.250 in test_loss (95 % interval 0.200 to 0.300" in (
        study_wording.sentence(study)
    )
    assert "Holm p < 0.001" in study_wording.sentence(study)


def test_an_undecided_sentence_claims_nothing():
    assert sentence(elu=(1.0, 1.5, 0.3, "undecided"), gelu=(0.1, 1.5, 1.0, "undecided")) == (
        "No contender is shown to be better or worse than the script's ReLU in test_accuracy on 10 seeds. elu and gelu "
        "are undecided; 26 to 47 seeds would find a difference of 1.5 with 80 % power."
    )


def test_the_seeds_that_would_settle_it_are_given_only_for_a_named_delta():
    study = made.study({"elu": (1.0, 1.5, 0.3, "undecided")})
    assert "34" not in study_wording.sentence(replace(study, design=replace(study.design, delta=None)))


def test_the_best_comes_first_in_either_direction():
    names = [verdict.activation for verdict in study_wording.rows(made.study())]
    assert names == ["elu", "leaky_relu:0.2", "silu", "gelu", "rrelu", "prelu:channel"]
    study = made.study({"elu": (-0.3, 0.1, 0.01, "better"), "gelu": (-0.5, 0.1, 0.01, "better")})
    study = replace(study, design=replace(study.design, mode="min"))
    assert [verdict.activation for verdict in study_wording.rows(study)] == ["gelu", "elu"]


def test_the_script_as_it_stands_has_a_row_if_another_rate_is_the_baselines_best():
    own = AsItStands(runs=10, failed=7, dead_layers=6, mean=11.5, sd=0.4, dead_share=0.93)
    same = made.study(as_it_stands=own)
    assert study_wording.AS_IT_STANDS not in study_wording.names(same)
    told = replace(same, verdicts=tuple(replace(v, baseline_lr_factor=0.25) for v in same.verdicts))
    columns = dict([*study_wording.quality(told), *study_wording.cost(told)])
    assert study_wording.names(told)[:2] == [study_wording.AS_IT_STANDS, "baseline (ReLU)"]
    assert {len(cells) for cells in columns.values()} == {len(study_wording.names(told))}
    first = {heading: cells[0] for heading, cells in columns.items()}
    assert (first["verdict"], first["failed"], first["lr"], first["dead"]) == ("", "7/10", "×1", "93 %")
    assert columns["lr"][1] == "×1/4"
    said = "7 of 10 runs of the script as it stands (×1) failed or collapsed, 6 with a dead layer."
    for text in (study_terminal.to_text([told]), FORMATS["md"]([told]), render("html", "study", [told])):
        assert study_wording.AS_IT_STANDS in text
        assert said in " ".join(text.split())
    assert json.loads(FORMATS["json"]([told]))["as_it_stands"] == {
        "runs": 10, "failed": 7, "dead_layers": 6, "mean": 11.5, "sd": 0.4, "dead_share": 0.93
    }  # fmt: skip


def test_a_note_of_every_verdict_appears_once_and_a_note_of_one_with_its_name():
    notes = study_wording.notes(made.troubled())
    assert sum("Run-to-run noise" in note for note in notes) == 1
    assert "selu: Fewer than half of its runs finished: the verdict counts each failure as a loss." in notes
    assert "elu did best at the last learning rate tried (×4)." in notes


# ---- data ----------------------------------------------------------------------------------------------------------


def test_the_json_has_the_keys_that_were_promised_and_no_nan():
    told = json.loads(render("json", "study", [made.troubled()]), parse_constant=pytest.fail)
    assert list(told) == ["schema", "study", "as_it_stands", "verdicts", "trials", "not_swapped"]
    promised = {"script", "argv", "metric", "mode", "baseline", "threads"}
    assert promised <= set(told["study"])
    assert {
        "activation", "baseline", "n", "mean", "sd", "difference", "ci", "ci_simultaneous", "p_holm", "p_sign_flip",
        "p_better", "correlation", "mdd", "verdict", "seeds_needed", "failed", "lr_factor", "cost",
    } <= set(told["verdicts"][0])  # fmt: skip
    assert {
        "activation", "seed", "lr_factor", "stage", "status", "metrics", "seconds", "peak_memory", "dead_share",
    } <= set(told["trials"][0])  # fmt: skip
    assert told["verdicts"][1]["difference"] is None
    assert told["not_swapped"] == [
        {"what": "F.softplus", "where": "net.py:30", "why": "relume does not know this activation"}
    ]


def test_several_studies_are_one_json_and_one_csv():
    two = [made.study(name="a"), made.study(name="b")]
    assert [study["study"]["name"] for study in json.loads(render("json", "study", two))["studies"]] == ["a", "b"]
    rows = list(csv.DictReader(io.StringIO(render("csv", "study", two))))
    assert {row["study"] for row in rows} == {"a", "b"}
    assert len(rows) == sum(len(study.trials) for study in two)


def test_the_csv_has_a_row_a_run_with_its_value():
    study = made.troubled()
    study = replace(study, values={k: v for k, v in study.values.items() if k.activation != "selu"})
    rows = list(csv.DictReader(io.StringIO(render("csv", "study", [study]))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["activation"], int(row["seed"]), row["stage"]) for row in rows] == [
        (trial.key.activation, trial.key.seed, trial.key.stage) for trial in study.trials
    ]
    failed = [row for row in rows if row["status"] == "diverged"]
    assert failed
    assert all((row["value"], row["error"]) == ("", "loss is nan") for row in failed)
    assert all(float(row["value"]) > 0 for row in rows if row["status"] == "finished")


def test_pairs_and_runs_are_those_at_the_chosen_rates_of_the_seeds_that_count():
    study = made.study()
    study = replace(study, looks=(replace(study.looks[0], seeds=8),))
    pairs = study.pairs("elu")
    assert [pair.seed for pair in pairs] == list(range(8))
    by_key = {(t.key.activation, t.key.seed): t.metrics["test_accuracy"][-1][1] for t in study.runs("elu")}
    assert [pair.activation for pair in pairs] == [by_key["elu", seed] for seed in range(8)]
    assert all(trial.key[2:] == (1.0, "confirm") for trial in study.runs(BASELINE))
    assert len(study.runs(BASELINE)) == made.SEEDS


# ---- names ---------------------------------------------------------------------------------------------------------


def hostile(name):
    study = made.study({name: (2.46, 1.5, 0.029, "better"), "elu": (1.0, 1.5, 0.3, "undecided")})
    trials = tuple(replace(trial, error=name) for trial in study.trials)
    return replace(
        study,
        name=name,
        trials=trials,
        design=replace(study.design, metric=name),
        subject=replace(study.subject, script=name, argv=(name,)),
        not_swapped=((name, name, name),),
        notes=(name[:300],),
    )


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("form", FORMATS)
def test_names_of_any_kind_are_shown_without_effect(form, kind):
    told = FORMATS[form]([hostile(HOSTILE[kind])] * 2)
    assert "\x00" not in told
    assert "\x1b" not in told
    assert form == "json" or max(map(len, told.splitlines())) < 4000
    if form == "csv":
        rows = list(csv.reader(io.StringIO(told)))
        assert {len(row) for row in rows} == {len(COLUMNS)}
        assert not [each for row in rows[1:] for each in row if each[:1] in "=+@" and each]
    if form == "json":
        assert json.loads(told)["studies"][0]["verdicts"][0]["activation"] == HOSTILE[kind]
    if form == "md":
        tables = [line for line in told.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) <= 2
        spans = Tags()
        spans.feed(re.sub(r"(`+).+?\1", "", told))
        assert spans.found == {"details", "summary"}
    if form == "latex":
        check_latex(told)


def check_latex(told):
    """Braces and environments close, every row has its cells, and no command is there that we do not write."""
    body = "\n".join(line for line in told.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[%#]", body)
    commands = set(re.findall(r"\\([A-Za-z]+)", body))
    ours = (
        "begin end centering footnotesize setlength tabcolsep caption label toprule midrule bottomrule textbf paragraph"
    )
    letters = "textbackslash textasciicircum textasciitilde textless textgreater textbar textquotedbl textasciigrave"
    assert commands <= set(f"{ours} paragraph {letters} pm times cdot alpha ldots to".split())
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body.replace(r"\\", "")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert body.count("$") % 2 == 0
    for table in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.+?)\\end\{tabular\}", body, re.DOTALL):
        rows = [row for row in re.split(r"\\\\", table[1]) if "&" in row]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table[0]) - 1}
        assert not [row for row in rows if row.strip().startswith("[")]


def test_latex_text_is_escaped_letter_by_letter():
    assert escaped("a_b 5% {x} \\ [1] 中") == r"a\_b 5\% \{x\} \textbackslash{} {[}1{]} ?"


def test_a_long_list_is_cut_and_says_so():
    study = replace(made.study(), not_swapped=tuple((f"F.{n}", f"a.py:{n}", "why") for n in range(40)))
    text = study_terminal.to_text([study])
    assert text.count("Not replaced: ") == study_wording.MOST_NOTES
    assert "… and 28 more; --json has all." in text


# ---- methods -------------------------------------------------------------------------------------------------------


def test_the_methods_describe_the_study_with_its_numbers():
    said = paragraph(made.study())
    for part in (
        "elu", "the script's ReLU", "mnist1d_mlp.py --steps 3000", "PyTorch 2.13.0", "1 thread", "at 2 places",
        "0.25, 1 and 4 times", "2 seeds", "10 seeds (0 to 9)", "test_accuracy (more is better)", "the last value",
        "paired t-tests at α = 0.05", "Holm's method over 6 contenders", "within ±1.5",
        "they were reached at 10 seeds", "All 231 runs finished",
    ):  # fmt: skip
        assert part in said, part


def test_the_methods_omit_what_was_not_done():
    study = made.study({"elu": made.TOLD["elu"]})
    trials = tuple(trial for trial in study.trials if trial.key.stage == "confirm" and trial.key.lr_factor == 1)
    study = replace(study, trials=trials, design=replace(study.design, delta=None, factors=(1.0,), at="mean:5"))
    said = paragraph(study)
    assert "All ran at the script's own learning rate" in said
    assert "the mean of the last 5 values" in said
    assert "over 1 contender;" in said
    assert "quivalence" not in said
    assert "the best rate is uncertain" not in said


def test_the_methods_name_the_version_that_made_the_study_or_else_the_reporting_one():
    study = made.study()
    assert "relume 0.1.0" in paragraph(study)
    study = replace(study, subject=replace(study.subject, versions={"python": "3.11.2"}))
    assert f"relume {__version__} did the replacement, tuning and statistics." in paragraph(study)


def test_the_methods_of_a_function_do_not_mention_a_script():
    study = made.study()
    subject = replace(study.subject, script="train", argv=(), settings={"baseline": "relu"})
    study = replace(study, subject=subject, replaces=(), sites=None)
    assert study_wording.sentence(study).startswith("elu is better than relu by 2.46 in test_accuracy")
    assert study_wording.names(study)[0] == "baseline (relu)"
    said = paragraph(study)
    assert "with relu (train): the same function trained with each" in said
    assert "script was run unchanged" not in said
    assert "share initial weights" not in said


def test_repeated_tuning_runs_are_in_the_methods():
    study = made.study()
    assert "were replaced by" not in paragraph(study)
    failed = replace(study.trials[0], key=study.trials[0].key._replace(seed=10_001), status="failed")
    again = replace(study.trials[0], key=study.trials[0].key._replace(seed=10_002))
    said = paragraph(replace(study, trials=(*study.trials, failed, again)))
    assert "Runs that gave no value were replaced by up to 1 further seed." in said


def test_failed_runs_are_counted_in_the_methods():
    assert "diverged; they count as outcomes" in paragraph(made.troubled())
