"""The study's folder: what is recorded stays, whoever dies, and what is not ours or not whole is said."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from relume.artifacts.study import Study, in_shard, read_all
from relume.artifacts.subject import Subject, without_folder
from relume.artifacts.trial import Contender, Design, InterimAnalysis, Trial, TrialKey
from relume.errors import StudyError

DESIGN = Design(
    (
        Contender("leaky_relu:0.2", "leaky_relu", {"negative_slope": 0.2}),
        Contender("prelu:channel", "prelu", {"weight": 0.25}, "channel"),
        Contender("mypkg.act:Mine", target="mypkg.act:Mine"),
    ),
    seeds=4,
    metric="accuracy",
    delta=0.5,
)
KEY = TrialKey("leaky_relu:0.2", 3, 0.25, "confirm")


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("import model\n")
    (folder / "model.py").write_text("width = 3\n")
    return folder


def subject(folder, *argv, **facts):
    facts = {"versions": {"torch": "2.13.0"}, "local": ["model.py"], **facts}
    return Subject.of("train.py", argv or ("--epochs", "2"), folder, **facts)


def begun(tmp_path, project, design=DESIGN):
    study = Study.open(tmp_path / "study")
    study.begin(design, subject(project))
    return study


def full_trial(key=KEY):
    """A trial in which every field has a value of its own."""
    return Trial(
        key,
        "diverged",
        {"loss": ((0.0, 0.1), (1.0, math.inf), (2.0, math.nan)), "accuracy": ((1.5, 1 / 3), (2.0, -math.inf))},
        "nan",
        math.inf,
        2.5,
        123456789,
        42,
        0.125,
        "ab12",
        "cd34",
        3,
    )


def test_a_trial_is_read_back_as_it_was(tmp_path, project):
    study = begun(tmp_path, project)
    study.save(full_trial())
    (back,) = Study.read(tmp_path / "study").trials()
    assert repr(back) == repr(full_trial())  # nan is not equal to itself
    text = next((tmp_path / "study" / "trials").glob("*.json")).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_design_and_the_subject_are_read_back_as_they_were(tmp_path, project):
    begun(tmp_path, project)
    study = Study.read(tmp_path / "study")
    assert study.design == DESIGN
    assert study.subject == subject(project)
    assert (study.generation, study.looks, study.trials()) == (1, (), ())


def test_a_recorded_trial_is_never_written_again(tmp_path, project):
    study = begun(tmp_path, project)
    study.save(full_trial())
    study.save(replace(full_trial(), status="failed"))
    assert [trial.status for trial in study.trials()] == ["diverged"]


def test_trials_that_differ_in_one_part_of_the_key_have_separate_files(tmp_path, project):
    study = begun(tmp_path, project)
    keys = {
        TrialKey(activation, seed, factor, stage)
        for activation in ("elu", "elu:0.5", "elu-0.5", "a/b", "a b", "é", "x" * 200, "x" * 201)
        for seed in (0, 1)
        for factor in (0.25, 1.0, 1.0000001)
        for stage in ("tune", "confirm")
    }
    for key in keys:
        study.save(Trial(key, "finished"))
    assert {trial.key for trial in study.trials()} == keys


# ---- generations ---------------------------------------------------------------------------------------------------


def test_the_same_command_resumes(tmp_path, project):
    assert Study.open(tmp_path / "study").begin(DESIGN, subject(project)).how == "new"
    study = Study.open(tmp_path / "study")
    more = replace(DESIGN, contenders=(*DESIGN.contenders, Contender("gelu", "gelu")), seeds=8, factors=(0.5, 1.0))
    assert study.begin(more, subject(project)) == ("resumed", ())
    assert study.generation == 1
    assert Study.read(tmp_path / "study").design == more


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p / "train.py").write_text("import model  # 2\n"), "train.py"),
        (lambda p: (p / "model.py").write_text("width = 4\n"), "model.py"),
        (lambda p: (p / "model.py").unlink(), "model.py"),
    ],
)
def test_a_changed_source_begins_a_generation_and_the_old_source_resumes_the_old_one(tmp_path, project, change, said):
    before = {path.name: path.read_text() for path in project.iterdir()}
    study = begun(tmp_path, project)
    study.save(full_trial())
    change(project)
    study = Study.open(tmp_path / "study")
    assert study.begin(DESIGN, subject(project)) == ("changed", (said,))
    assert study.trials() == ()
    assert KEY not in study
    assert [t.key for t in study.trials(generation=1)] == [KEY]
    study.save(Trial(KEY, "finished"))
    for name, text in before.items():
        (project / name).write_text(text)
    study = Study.open(tmp_path / "study")
    assert study.begin(DESIGN, subject(project)).how == "resumed"
    assert [t.status for t in study.trials()] == ["diverged"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"versions": {"torch": "2.14.0"}}, "version of torch"),
        ({"threads": 2}, "threads"),
        ({"settings": {"only": "relu"}}, "setting only"),
    ],
)
def test_any_other_change_that_affects_a_trials_numbers_begins_a_generation(tmp_path, project, other, said):
    begun(tmp_path, project)
    assert Study.open(tmp_path / "study").begin(DESIGN, subject(project, **other)) == ("changed", (said,))


def test_arguments_are_compared_with_their_folders_but_stored_without(tmp_path, project):
    study = begun(tmp_path, project)
    one, other = subject(project, "--data=/secret/one/train"), subject(project, "--data=/secret/two/train")
    study.begin(DESIGN, one)
    assert study.begin(DESIGN, other) == ("changed", ("arguments",))
    assert study.subject.argv == ("--data=train",)
    assert "secret" not in (tmp_path / "study" / "study.json").read_text()
    assert without_folder("/a/b.csv") == "b.csv"


def test_the_modules_of_the_last_survey_are_known_before_the_next(tmp_path, project):
    study = begun(tmp_path, project)
    assert study.local_modules("train.py") == ("model.py",)
    assert study.local_modules("other.py") == ()


# ---- looks ---------------------------------------------------------------------------------------------------------


def test_looks_are_stored_by_generation(tmp_path, project):
    study = begun(tmp_path, project)
    study.add_look(InterimAnalysis(1, 4))
    Study.open(tmp_path / "study").add_look(InterimAnalysis(2, 8))  # another process
    assert Study.read(tmp_path / "study").looks == (InterimAnalysis(1, 4), InterimAnalysis(2, 8))
    (project / "train.py").write_text("pass\n")
    study.begin(DESIGN, subject(project))
    assert study.looks == ()


@pytest.mark.parametrize("other", [{"metric": "loss"}, {"at": "best"}, {"delta": 1.0}, {"alpha": 0.1}])
def test_the_question_is_fixed_once_a_verdict_was_printed(tmp_path, project, other):
    study = begun(tmp_path, project)
    study.begin(replace(DESIGN, **other), subject(project))
    study.begin(DESIGN, subject(project))
    study.add_look(InterimAnalysis(1, 4))
    with pytest.raises(StudyError, match=rf"{next(iter(other))} .*cannot be repeated with.*\[study-question-fixed\]"):
        Study.open(tmp_path / "study").begin(replace(DESIGN, **other), subject(project))
    more = replace(DESIGN, contenders=(*DESIGN.contenders, Contender("gelu", "gelu")))
    assert Study.open(tmp_path / "study").begin(more, subject(project)).how == "resumed"


# ---- several processes ---------------------------------------------------------------------------------------------

CLAIM = """
import os, sys
from relume.artifacts.study import Study
from relume.artifacts.trial import TrialKey
study = Study.read(sys.argv[1])
print(study.claim(TrialKey("leaky_relu:0.2", 3, 0.25, "confirm")), flush=True)
sys.stdin.read()
"""


def other_process(study, code=CLAIM):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(study.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_trial_is_claimed_by_one_process_until_that_is_dead(tmp_path, project):
    study = begun(tmp_path, project)
    with other_process(study) as other:
        assert other.stdout.readline() == "True\n"
        assert not study.claim(KEY)
        assert study.claim(KEY._replace(seed=4))
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert study.claim(KEY)
        with other_process(study) as third:
            assert third.communicate("")[0] == "False\n"
        study.save(full_trial())
        assert not study.claim(KEY)  # recorded
        study.release(KEY._replace(seed=4))
    assert list((study.folder / "locks").iterdir()) == []


RACE = """
import sys
from relume.artifacts.study import Study
from relume.artifacts.trial import Trial, TrialKey
study = Study.read(sys.argv[1])
sys.stdin.readline()
mine = 0
for seed in range(150):
    key = TrialKey("elu", seed, 1.0, "confirm")
    if study.claim(key):
        mine += 1
        study.save(Trial(key, "finished"))
print(mine)
"""


def test_processes_that_race_run_each_trial_once(tmp_path, project):
    study = begun(tmp_path, project)
    racing = [other_process(study, RACE) for _ in range(3)]
    for process in racing:
        process.stdin.write("\n")
        process.stdin.flush()
    counts = [int(process.communicate()[0]) for process in racing]
    assert sum(counts) == 150
    assert len(study.trials()) == 150


SAVE = """
import itertools, sys
from relume.artifacts.study import Study
from relume.artifacts.trial import Trial, TrialKey
study = Study.read(sys.argv[1])
first = len(study.trials())
for seed in itertools.count(first):
    key = TrialKey("elu", seed, 1.0, "confirm")
    assert study.claim(key)
    study.save(Trial(key, "finished", {"loss": tuple((float(i), i / 7) for i in range(3000))}))
    print(seed, flush=True)
"""


@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_records_of_a_killed_process_are_complete(tmp_path, project, times):
    study = begun(tmp_path, project)
    draw = random.Random(times)
    for _ in range(times):
        with other_process(study, SAVE) as other:
            said = other.stdout.readline()  # it is at work
            time.sleep(draw.random() * 0.02)
            other.send_signal(signal.SIGKILL)
            said += other.stdout.read()
        recorded = {trial.key.seed for trial in study.trials()}  # raises where one is not whole
        assert {int(line) for line in said.split()} <= recorded
        assert recorded == set(range(len(recorded)))
    assert {len(trial.metrics["loss"]) for trial in study.trials()} == {3000}


def test_half_written_files_of_a_killed_process_are_removed_in_time(tmp_path, project):
    study = begun(tmp_path, project)
    for age in (0, 4000):
        left = study.folder / "trials" / f".x.json.{age}.tmp"
        left.write_text("{")
        os.utime(left, (time.time() - age,) * 2)
    assert study.trials() == ()
    Study.open(study.folder)
    assert [path.name for path in (study.folder / "trials").iterdir()] == [".x.json.0.tmp"]


def test_shards_split_all_trials_between_them():
    keys = [TrialKey(a, s, 1.0, "confirm") for a in ("elu", "gelu", "relu6") for s in range(40)]
    shards = [{key for key in keys if in_shard(key, shard, 4)} for shard in (1, 2, 3, 4)]
    assert sorted(key for shard in shards for key in shard) == sorted(keys)
    assert min(map(len, shards)) > 15


def test_several_studies_are_read_together_each_once(tmp_path, project):
    begun(tmp_path, project)
    other = Study.open(tmp_path / "other")
    other.begin(DESIGN, subject(project))
    assert len(read_all([tmp_path / "study", tmp_path / "other", tmp_path / "study"])) == 2


# ---- what is not as it should be -----------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path, project):
    study = begun(tmp_path, project)
    study.save(full_trial())
    assert study.claim(KEY._replace(seed=9))
    long = replace(full_trial(KEY._replace(seed=9)), metrics={"loss": tuple((float(i), 0.1) for i in range(10_000))})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(StudyError, match=r"Earlier trials are intact.*\[study-unwritable\]"):
            study.save(long)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert [repr(t) for t in study.trials()] == [repr(full_trial())]
    assert [path.suffix for path in (study.folder / "trials").iterdir()] == [".json"]  # nothing half written is left
    assert study.claim(long.key)  # it goes on from there
    study.save(long)
    assert len(study.trials()) == 2


@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"\xff\xfe", b'{"schema":1,"is":"trial","generation":1}'])
def test_a_damaged_trial_is_named_with_what_to_do(tmp_path, project, content):
    study = begun(tmp_path, project)
    study.save(full_trial())
    study.save(Trial(KEY._replace(seed=1), "finished"))
    path = study.folder / "trials" / f"{study.stem(KEY)}.json"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"{path.name} is damaged.*[Dd]elete.*runs again.*\[study-damaged\]"):
        Study.read(study.folder).trials()
    path.unlink()
    assert [trial.key.seed for trial in Study.read(study.folder).trials()] == [1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.pop("design"),
        lambda told: told.update(generation=2),
        lambda told: told.update(generations=[]),
        lambda told: told.update(looks=[{"number": 1}]),
        lambda told: told["design"].update(contenders=3),
    ],
)
def test_a_damaged_study_is_refused_and_not_altered(tmp_path, project, damage):
    study = begun(tmp_path, project)
    file = study.folder / "study.json"
    told = json.loads(file.read_text())
    damage(told)
    file.write_text(json.dumps(told))
    before = file.read_bytes()
    for way in (Study.read, Study.open):
        with pytest.raises(StudyError, match=r"study.json is damaged.*in trials/ are not affected.*\[study-damaged\]"):
            way(study.folder)
    assert file.read_bytes() == before


def test_a_study_of_a_newer_relume_is_refused(tmp_path, project):
    study = begun(tmp_path, project)
    study.save(full_trial())
    for path in (*(study.folder / "trials").iterdir(), study.folder / "study.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
        with pytest.raises(StudyError, match=r"schema 2, but this relume reads up to 1.*\[study-newer\]"):
            Study.read(study.folder).trials()


def test_a_key_that_a_later_relume_adds_within_the_schema_is_skipped(tmp_path, project):
    study = begun(tmp_path, project)
    study.save(full_trial())
    for path in (*(study.folder / "trials").iterdir(), study.folder / "study.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"added": 1}))
    assert len(Study.read(study.folder).trials()) == 1


def test_a_folder_that_is_not_a_study_is_not_changed(tmp_path):
    (tmp_path / "trials").mkdir()
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StudyError, match=r"is not empty and is not a study.*\[study-foreign\]"):
        Study.open(tmp_path)
    with pytest.raises(StudyError, match=r"thesis.tex is not empty.*\[study-foreign\]"):
        Study.open(tmp_path / "thesis.tex")
    (tmp_path / "study.json").write_text('{"title": "mine"}')
    for way in (Study.read, Study.open):
        with pytest.raises(StudyError, match=r"was not written by relume.*\[study-foreign\]"):
            way(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["study.json", "thesis.tex", "trials"]


def test_an_absent_study_is_an_error_that_names_the_command_to_make_one(tmp_path):
    with pytest.raises(StudyError, match=r"There is no study in .*relume compare --study.*\[study-absent\]"):
        Study.read(tmp_path / "nowhere")


def test_a_first_start_that_was_killed_is_resumed(tmp_path, project):
    Study.open(tmp_path / "study")  # the folders, and no study.json yet
    assert begun(tmp_path, project).generation == 1


def test_a_study_that_another_process_is_just_creating_is_recognized(tmp_path, project, monkeypatch):
    """It has its folders, and perhaps a file under way; its study.json may come while one looks."""
    theirs = (begun(tmp_path / "theirs", project).folder / "study.json").read_text()
    folder = tmp_path / "study"
    Study.open(folder)
    (folder / ".study.json.4711.tmp").write_text("{")
    Study.open(folder)
    listed = Path.iterdir

    def after_it_has_come(path):
        (folder / "study.json").write_text(theirs)
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", after_it_has_come)
    assert Study.open(folder).generations
