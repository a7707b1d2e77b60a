"""The proof: a treated script trains, to the last bit, what a copy trains that was edited by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from helpers import hand_edits

SITES = {
    "modules": 2, "functional": 5, "in_place": 4, "bounded": 3, "one_cycle": 2, "autocast": 2, "gan": 2, "residual": 4,
    "encoder": 1,
}  # fmt: skip
"""How many places of each are replaced; the copies of an encoder's layer are one."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, hand_edits.__file__, folder], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("contender", hand_edits.ACTS)
@pytest.mark.parametrize("script", hand_edits.SCRIPTS)
def test_a_treated_script_trains_the_same_as_a_hand_edited_copy(answers, script, contender):
    treated, edited = answers[script]["runs"][contender]
    assert treated["status"] == edited["status"] == 0
    assert treated["losses"] == edited["losses"]
    assert treated["states"] == edited["states"]
    assert treated["sites"] == (0 if contender == "baseline" else SITES[script])


@pytest.mark.parametrize("script", hand_edits.SCRIPTS)
def test_each_contender_trains_differently(answers, script):
    runs = answers[script]["runs"]
    trained = {contender: tuple(treated["states"]) for contender, (treated, _) in runs.items()}
    del trained["relu6"]  # is ReLU where nothing reaches 6
    trained["plain"] = tuple(answers[script]["plain"]["states"])
    same = [{a, b} for a in trained for b in trained if a < b and trained[a] == trained[b]]
    assert same in ([], [{"relu", "baseline"}], [{"leaky_relu:0.2", "baseline"}])  # what the script has itself


def test_a_hinge_loss_is_not_replaced_and_is_listed(answers):
    treated, _ = answers["functional"]["runs"]["elu"]
    assert treated["not_swapped"] == ["F.relu"]


def test_only_one_kind_is_replaced_on_request(answers):
    treated, _ = answers["gan"]["runs"]["elu"]
    assert treated["not_swapped"] == [
        "nn.ReLU",
        "nn.ReLU",
        "nn.Tanh",
        *["F.softplus"] * 3,
    ]  # the last three are the loss's
