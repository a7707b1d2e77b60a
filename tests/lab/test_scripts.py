"""What is settled before anything is compared: the survey of real scripts."""

from __future__ import annotations

import textwrap

import pytest
import trials

from relume.artifacts.swap_plan import IN_A_CHILD
from relume.artifacts.trial import Contender, Design
from relume.errors import NothingToCompare, StudyError
from relume.lab.scripts import Request, make_survey, settle
from relume.lab.trials.spec import Script

TRAINS = """
import os, torch
first = len(open("state").read()) if os.path.exists("state") else 0
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
for step in range(first, 3):
    net(torch.ones(1, 2)).sum().backward()
    print("loss:", step)
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    top = tmp_path_factory.mktemp("out")
    with trials.executor(top, body="relume.lab.trials.child:run_trial", preload=("torch",)) as executor:
        yield executor


@pytest.fixture
def survey(executor, tmp_path):
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    (folder / "state").write_text("abc")

    def survey(text):
        (folder / "train.py").write_text(textwrap.dedent(text))
        request = Request(Script("train.py", (), False, str(folder)), Design((Contender("elu", "elu"),)))
        return make_survey(request, executor)

    return survey


def test_a_script_that_resumes_from_its_output_is_surveyed_from_the_start(survey):
    found = survey(f"{TRAINS}open('state', 'w').write('abc')\n")
    assert (found.resumed, found.written, found.remarks) == (("state",), ("state",), ())
    assert found.sources == {"stdout": {"loss": ((0, 0), (1, 1), (2, 2))}}
    assert len(found.plan.sites) == 1


def test_a_script_gets_a_file_that_it_changes_in_each_trial(survey):
    text = "kept = open('state').read()\nopen('state', 'w').write(kept[1:])\nopen('new', 'w').close()\n"
    found = survey(f"{text}{TRAINS}")
    assert (found.resumed, found.written) == ((), ("new",))
    assert found.remarks == (
        "The script changes its own inputs (state): each trial begins with these files as they are now.",
    )
    assert found.sources == {"stdout": {"loss": ((0, 2),)}}


def test_activations_in_child_processes_are_listed_as_not_replaced(survey):
    found = survey(f"{TRAINS}\nif os.fork() == 0:\n    os._exit(0)\nos.wait()\n")
    (child,) = found.plan.not_swapped
    assert (child.what, child.where) == ("a process that it forks", "train.py:9")
    assert child.why.startswith(IN_A_CHILD)


def test_a_script_that_fails_is_reported_with_its_error(survey):
    with pytest.raises(NothingToCompare, match=r"failed on its own \(ValueError: no\).*\[script-failed\]"):
        survey("import torch\nraise ValueError('no')\n")


def test_an_option_that_the_script_does_not_know_names_the_place_of_relumes_options(executor, tmp_path):
    (tmp_path / "train.py").write_text("import argparse\nargparse.ArgumentParser().parse_args()\n")
    script = Script("train.py", ("--seeds", "4"), False, str(tmp_path))
    with pytest.raises(NothingToCompare) as caught:
        make_survey(Request(script, Design(())), executor)
    assert "(exit status 2: train.py: error: unrecognized arguments: --seeds 4)" in str(caught.value)
    assert "relume's own options go before SCRIPT" in str(caught.value)


ANEW = TRAINS.replace('os.path.exists("state")', "False")


def settled(survey, text, args=(), **options):
    found = survey(text)
    script = Script("train.py", args, False, ".")
    design = Design((Contender("elu", "elu"),), **options.pop("design", {}))
    return settle(Request(script, design, metric="loss", **options), found)


def test_a_rate_that_cannot_be_changed_is_refused_before_any_trial(survey):
    with pytest.raises(NothingToCompare, match=r"\{lr:0\.1\}.*--lr-factors 1\. \[no-learning-rate\]"):
        settled(survey, ANEW)
    assert settled(survey, ANEW, design={"factors": (1.0,)})[1].name == "loss"
    assert settled(survey, ANEW, args=("{lr:0.1}",))[1].name == "loss"
    steps = "optimizer = torch.optim.SGD(net.parameters(), 0.1)\noptimizer.step()\n"
    assert settled(survey, f"{ANEW}{steps}")[1].name == "loss"


def test_a_seed_to_keep_must_exist(survey):
    text = f"{ANEW}torch.manual_seed(3)\n"
    at_own_rate = {"factors": (1.0,)}
    with pytest.raises(StudyError, match=r"train\.py:3: .*torch\.manual_seed\(3\) at train\.py:8\. \[no-such-seed\]"):
        settled(survey, text, design=at_own_rate, keep_seeds=("train.py:3",))
    assert settled(survey, text, design=at_own_rate, keep_seeds=("train.py:8",))[1].name == "loss"
