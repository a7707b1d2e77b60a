"""``relume report`` on study folders, made as the lab makes them."""

from __future__ import annotations

import csv
import io
import json
import os

import numpy as np
import pytest
from helpers import commands

from relume.artifacts.study import Study
from relume.artifacts.subject import Subject
from relume.artifacts.trial import BASELINE, Contender, Design, Trial, TrialKey

relume = commands.relume

SEEDS = 6


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("studies") / "first")


def make(folder, *, better=3.0, seeds=SEEDS):
    """A study of elu beside the baseline, at the script's own rate, whose look was not printed yet."""
    rng = np.random.default_rng(1)
    kept = Study.open(folder)
    design = Design((Contender("elu", "elu"),), SEEDS, factors=(1.0,), metric="accuracy", delta=1.0)
    kept.begin(design, Subject("train.py", ("--fast",), {"train.py": "ab"}, {"python": "3.11.2"}))
    for seed in range(seeds):
        for name, mean in ((BASELINE, 60.0), ("elu", 60.0 + better)):
            value = mean + float(rng.normal(0, 0.5))
            key = TrialKey(name, seed, 1.0, "confirm")
            metrics = {"accuracy": ((0.0, 10.0), (1.0, value))}
            kept.save(Trial(key, "finished", metrics, seconds=2.0, weights=f"{name}{seed}", start=f"{seed}", sites=1))
    kept.close()
    return folder


def test_a_study_is_reported_in_a_sentence_and_tables(study, relume):
    status, out, err = relume("report", study)
    assert (status, err) == (0, "")
    first = " ".join(out.splitlines()[:3])
    assert first.startswith("elu is better than the unchanged script by ")
    assert "in accuracy (95 % interval" in first
    assert f"{SEEDS} seeds" in first
    assert "cost" in out
    assert out.splitlines()[-1].startswith("Next: relume report ")


def test_the_next_command_is_one_line_at_any_width(tmp_path, relume):
    folder = make(tmp_path / ("a" * 120))
    out = relume("report", folder)[1]
    assert out.splitlines()[-1] == f"Next: relume report {os.path.relpath(folder)} --html study.html"


def test_a_reported_verdict_is_stored_as_one_look(tmp_path, relume):
    folder = make(tmp_path / "looked")
    assert Study.read(folder).looks == ()
    first = relume("report", folder)
    looks = Study.read(folder).looks
    assert [(look.number, look.seeds, look.activations) for look in looks] == [(1, SEEDS, ("elu",))]
    assert relume("report", folder) == first
    assert Study.read(folder).looks == looks


def test_a_study_that_is_not_complete_has_no_verdict_and_no_look(tmp_path, relume):
    folder = make(tmp_path / "begun", seeds=3)
    status, out, _ = relume("report", folder)
    assert status == 0
    assert out.startswith(f"No verdict before all runs of {SEEDS} seeds have ended")
    assert "better" not in out
    assert Study.read(folder).looks == ()


def test_the_formats_of_a_study(study, relume):
    status, out, _ = relume("report", study, "--json")
    told = json.loads(out)
    assert (status, told["schema"], told["study"]["name"]) == (0, 1, "first")
    assert told["verdicts"][0]["verdict"] == "better"
    assert len(told["trials"]) == 2 * SEEDS
    rows = list(csv.DictReader(io.StringIO(relume("report", study, "--csv")[1])))
    assert [float(row["value"]) for row in rows] == [trial["value"] for trial in told["trials"]]
    assert relume("report", study, "--md")[1].startswith("### relume: `train.py --fast`\n")
    assert r"\begin{tabular}" in relume("report", study, "--latex")[1]
    assert relume("report", study, "--methods")[1].startswith("We compared elu with the unchanged script")


def test_several_studies_are_corrected_together(study, tmp_path, relume):
    other = make(tmp_path / "second", better=0.4)
    alone = {name: json.loads(relume("report", name, "--json")[1])["verdicts"][0] for name in (study, other)}
    both = json.loads(relume("report", study, other, "--json")[1])["studies"]
    assert [each["study"]["name"] for each in both] == ["first", "second"]
    assert [each["study"]["corrected_together"] for each in both] == [2, 2]
    for name, each in zip((study, other), both, strict=True):
        assert each["verdicts"][0]["difference"] == alone[name]["difference"]
        assert each["verdicts"][0]["p_holm"] >= alone[name]["p_holm"]
    assert both[0]["verdicts"][0]["p_holm"] > alone[study]["p_holm"]
    _, out, _ = relume("report", study, other)
    assert "first: train.py" in out
    assert "Corrected together over 2 studies" in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--csv", "--latex"], "cannot be combined"),
        (["--github"], "--github is for recordings"),
        (["--no-source"], "needs --html"),
    ],
)
def test_formats_that_make_no_sense_are_refused(study, relume, options, said):
    status, out, err = relume("report", study, *options)
    assert (status, out) == (4, "")
    assert said in " ".join(err.split())


def test_studies_and_recordings_are_not_mixed(study, tmp_path, relume):
    (tmp_path / "run.relume").write_text("")
    for files in ([study, tmp_path / "run.relume"], [tmp_path / "run.relume"] * 2):
        status, out, err = relume("report", *files)
        assert (status, out) == (4, "")
        assert "Studies and recordings" in err or "Give one recording" in err
    status, _, err = relume("report", tmp_path / "run.relume", "--csv")
    assert status == 4
    assert "--csv is for studies" in err


def test_a_study_that_has_not_begun_is_reported_as_such(tmp_path, relume):
    Study.open(tmp_path / "s")
    status, out, err = relume("report", tmp_path / "s")
    assert (status, out) == (4, "")
    assert "[study-absent]" in err


def test_a_page_to_look_at_has_the_verdict_and_its_difference(study, relume, tmp_path):
    out = tmp_path / "study.html"
    status, told, err = relume("report", study, "--html", out)
    assert (status, told) == (0, "")
    assert err.startswith(f"Wrote {out}, 0.")
    page = out.read_text(encoding="utf-8")
    assert "elu is better than the unchanged script" in page
    one = json.loads(relume("report", study, "--json")[1])["verdicts"][0]
    assert f"{one['difference']:.3g}".replace("-", "−") in page
    assert str(study.parent) not in page
