"""The shared look in a browser: theme, charts and tables, on a page of their own."""

from __future__ import annotations

import pytest

from relume.theme import Chart, altair, color, environment, vega

TEMPLATE = """{% extends "base.html" %}
{% import "parts.html" as parts with context %}
{% block title %}A look{% endblock %}
{% block main %}<h1>A look</h1>
{{ parts.figure(chart) }}
{{ parts.table("Sizes", ["name", "size"], [["b", 10], ["a", 9], ["c <b>", 100]], name="sizes") }}
{% endblock %}
{% block scripts %}<script>{{ vega|safe }}</script><script>{{ asset("charts.js") }}</script>
<script>{{ asset("tables.js") }}</script><script>relume.charts.mountAll().then(() => { relume.ready = true; });</script>
{% endblock %}"""


def chart(**keywords):
    alt = altair()
    rows = [{"x": x, "y": x * x, "curve": "a"} for x in range(5)]
    scale = alt.Scale(domain=["a"], range=[color(1)])
    drawing = alt.Chart(alt.Data(values=rows, name="rows")).mark_line()
    drawing = drawing.encode(x="x:Q", y="y:Q", color=alt.Color("curve:N", scale=scale, legend=None))
    table = {"columns": ["x", "y"], "rows": [[row["x"], row["y"]] for row in rows]}
    return Chart("square", "Square", "It rises.", drawing.to_dict(), **table, **keywords)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("look") / "look.html"
    template = environment("relume.theme").from_string(TEMPLATE)
    path.write_text(template.render(chart=chart(), vega=vega()), encoding="utf-8")
    return path


@pytest.fixture
def ready(opened, page):
    def open_ready(**keywords):
        shown = opened(page, **keywords)
        shown.wait_for_function("relume.ready")
        return shown

    return open_ready


def test_a_chart_is_a_picture_without_scripts_and_vegas_drawing_with_them(opened, page, ready):
    still = opened(page, scripts=False)
    assert still.locator(".drawing > svg").count() == 1
    assert still.locator("button.theme").is_hidden()
    live = ready()
    assert live.locator(".drawing > svg").count() == 0
    assert live.locator(".drawing .live svg").count() == 1
    assert live.told.errors == []
    assert live.told.requests == []


def test_a_chart_takes_new_rows(ready):
    shown = ready()
    before = shown.locator(".drawing path[stroke^='var(--c1']").first.get_attribute("d")
    shown.evaluate("relume.charts.update('square', 'rows', [{x: 0, y: 3, curve: 'a'}, {x: 4, y: 1, curve: 'a'}])")
    assert shown.locator(".drawing path[stroke^='var(--c1']").first.get_attribute("d") != before


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_remembered(ready):
    shown = ready(scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = shown.evaluate(ground)
    assert shown.locator("button.theme").get_attribute("aria-pressed") == "true"
    shown.locator("button.theme").click()
    light = shown.evaluate(ground)
    assert light == "rgb(255, 255, 255)" != dark
    shown.reload()
    shown.wait_for_function("relume.ready")
    assert shown.evaluate(ground) == light
    assert shown.locator("button.theme").get_attribute("aria-pressed") == "false"


def test_the_lines_of_a_chart_change_with_the_theme(ready):
    line = "getComputedStyle(document.querySelector(\".drawing path[stroke^='var(--c1']\")).stroke"
    assert ready(scheme="light").evaluate(line) == "rgb(201, 87, 0)"
    assert ready(scheme="dark").evaluate(line) == "rgb(255, 138, 61)"


def test_a_table_sorts_numbers_by_size_and_words_by_the_alphabet(ready):
    shown = ready()
    column = "[...document.querySelectorAll('#sizes tbody tr')].map((row) => row.cells[0].textContent)"
    size = shown.locator("#sizes th button", has_text="size")
    size.click()
    assert shown.evaluate(column) == ["a", "b", "c <b>"]
    size.click()
    assert shown.evaluate(column) == ["c <b>", "b", "a"]
    assert size.locator("..").get_attribute("aria-sort") == "descending"
    shown.locator("#sizes th button", has_text="name").press("Enter")
    assert shown.evaluate(column) == ["a", "b", "c <b>"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_and_nothing_overflows(ready, violations, misplaced, scheme):
    shown = ready(scheme=scheme, width=390)
    assert violations(shown) == []
    assert misplaced(shown) == []
