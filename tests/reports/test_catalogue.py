"""The family as a table, and entries in full, as text."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pytest
from rich.console import Console

from relume.activations import ACTIVATIONS
from relume.doctor.rules import RULES
from relume.errors import UnknownName
from relume.reports.family import braille, catalogue


@dataclass(frozen=True)
class Page:
    code: str = "RLM901"
    name: str = "a_rule"
    page: str = "# RLM901\n\nIt says [red]this[/red] and :smile:.\n"


def text_of(renderable, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, emoji=False, highlight=False)
    console.print(renderable)
    return console.file.getvalue()


def squeezed(text):
    return "".join(text.split())


@pytest.mark.parametrize("width", [80, 100, 200])
def test_family_fits_the_terminal_and_shows_every_fact(width):
    text = text_of(catalogue.family(width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.replace("−1 … 1", "")
    for activation in ACTIVATIONS.values():
        assert activation.title in text
    columns = ("Formula", "Range", "Learns", "Advantages", "Disadvantages", "When to use")
    assert all(column in text for column in columns)


def test_family_in_a_wide_terminal_is_one_table():
    assert "Which to use" in text_of(catalogue.family(100))
    wide = text_of(catalogue.family(240), 240)
    assert "Which to use" not in wide
    for activation in ACTIVATIONS.values():
        assert any(activation.title in line and activation.formula[:12] in line for line in wide.splitlines())


def test_only_prelu_is_called_learnable():
    lines = [line for line in text_of(catalogue.family(240), 240).splitlines() if " yes " in line]
    assert [line.split()[0] for line in lines] == ["PReLU"]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_entry_says_all_that_the_definition_knows(name, width):
    activation = ACTIVATIONS[name]
    text = text_of(catalogue.entry(activation, width), width)
    assert max(map(len, text.splitlines())) <= width
    said = squeezed(text)
    for fact in (
        activation.formula,
        activation.when_to_use,
        activation.can_die,
        activation.saturates,
        activation.gain_note,
        *activation.hazards,
        *(s.link for s in activation.sources),
        *(s.citation for s in activation.sources),
        *(p.meaning for p in activation.parameters),
        *(p.interval for p in activation.parameters),
    ):
        assert squeezed(fact) in said
    has_curve = any("\u2800" < character <= "\u28ff" for character in text)
    assert has_curve == activation.elementwise


def test_entry_shows_each_frameworks_default_and_slope():
    rows = [line.split() for line in text_of(catalogue.entry(ACTIVATIONS["leaky_relu"], 120), 120).splitlines()]
    assert [
        "Name",
        "Values",
        "PyTorch",
        "Keras",
        "layer",
        "keras.activations",
        "TensorFlow",
        "JAX",
        "ONNX",
    ] in rows
    assert ["negative_slope", "(−∞,", "∞)", "0.01", "0.3", "0.2", "0.2", "0.01", "0.01"] in rows
    assert ["0", "negative_slope", "as", "its", "backend", "negative_slope", "1"] in rows


def test_entry_of_a_rule_is_its_page_without_markup():
    text = text_of(catalogue.entry(Page(), 100))
    assert "It says [red]this[/red] and :smile:." in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_has_a_page(rule):
    text = text_of(catalogue.entry(rule, 100))
    assert rule.code in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("spelled", ["RLM901", "rlm901", "a_rule", "A-Rule"])
def test_find_takes_a_rule_by_code_or_name(spelled):
    assert catalogue.find(spelled, [Page()]).code == "RLM901"


def test_find_takes_an_activation_by_any_spelling():
    assert catalogue.find("Leaky-ReLU", RULES) is ACTIVATIONS["leaky_relu"]


@pytest.mark.parametrize(("got", "nearest"), [("RLM9O1", "RLM901"), ("eluu", "elu"), ("a_rul", "a_rule")])
def test_find_of_an_unknown_name_lists_the_nearest_and_all_names(got, nearest):
    with pytest.raises(UnknownName) as caught:
        catalogue.find(got, [Page()])
    text = str(caught.value)
    assert text.startswith(f"There is no activation or rule '{got}'. Did you mean '{nearest}'?")
    assert all(name in text for name in ACTIVATIONS)
    assert "RLM901 a_rule" in text
    assert text.endswith("[unknown-entry]")


def test_find_of_something_far_from_all_makes_no_guess():
    with pytest.raises(UnknownName, match=r"rule 'qqqq'\. Activations:"):
        catalogue.find("qqqq", [])


def test_json_is_strict_and_complete():
    data = json.loads(json.dumps(catalogue.family_dict(), allow_nan=False))
    assert data["schema"] == 1
    assert [a["name"] for a in data["activations"]] == list(ACTIVATIONS)
    by_name = {a["name"]: a for a in data["activations"]}
    assert by_name["relu6"]["flat"] == [None, 6.0]
    assert by_name["softmax"]["gain"] is None
    assert by_name["tanh"]["fires_above"] is None
    assert by_name["prelu"]["parameters"][0]["defaults"] == {"torch": 0.25, "keras": 0.0}
    assert catalogue.entry_dict(ACTIVATIONS["elu"])["activation"] == by_name["elu"]
    assert catalogue.entry_dict(Page())["rule"]["code"] == "RLM901"


def test_braille_panel_puts_the_curve_in_the_right_cells():
    lines = [line.plain for line in braille.panel(lambda x: x - 1, (-2.0, 2.0), braille.LABEL + 8, 4, "cyan")]
    body = [line[braille.LABEL :] for line in lines[:4]]
    columns = [[i for i, c in enumerate(row) if 0x2800 < ord(c) <= 0x28FF] for row in body]
    assert [min(found) for found in columns] == [6, 4, 2, 0]
    assert [max(found) for found in columns] == [7, 5, 3, 1]
    assert [line[: braille.LABEL].strip() for line in lines[:4]] == ["1", "0", "", "−3"]
    assert lines[4].split() == ["−2", "0", "2"]
