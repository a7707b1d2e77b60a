"""Loss and learning rates as they were: gaps where the loss was NaN, steps where the rates changed."""

from __future__ import annotations

import math

from relume.artifacts.curve import LossCurve
from relume.artifacts.findings import Timeline
from relume.reports.run.html import charts


def clock(losses=(), rates=()):
    curve = LossCurve(0)
    for step, loss in losses:
        curve.add(step, [loss])
    return Timeline(0, "SGD", "optimizer", 100, 100, (), tuple(rates), tuple(curve.points))


def by_title(found):
    return {chart.title: chart for chart in charts.timeline(found, [], {})}


def test_a_rate_that_was_raised_for_a_while_is_drawn_in_steps_and_not_called_constant():
    found = clock(rates=[(0, (0.05,)), (40, (1.5,)), (70, (0.05,))])
    assert charts.constant_rates(found) == ""
    chart = by_title(found)["Learning rate"]
    rows = [(row["step"], row["rate"]) for row in chart.spec["data"]["values"]]
    assert rows == [(0, 0.05), (40, 1.5), (70, 0.05), (100, 0.05)]
    assert chart.spec["layer"][0]["mark"]["interpolate"] == "step-after"


def test_constant_rates_are_given_in_words():
    found = clock(rates=[(0, (0.05, 0.05, 0.1))])
    assert charts.constant_rates(found) == "0.05 and 0.1"
    assert by_title(found) == {}


def test_the_loss_has_every_point_and_a_gap_where_it_was_not_finite():
    losses = [(step, 2.0 - step / 100) for step in range(60)]
    losses[20:25] = [(step, math.nan) for step in range(20, 25)]
    losses[26] = (26, math.inf)
    chart = by_title(clock(losses))["Loss"]
    rows = chart.spec["data"]["values"]
    assert [(row["step"], row["loss"]) for row in rows] == [(s, v) for s, v in losses if math.isfinite(v)]
    pieces = {row["step"]: row["piece"] for row in rows}
    assert pieces[0] == pieces[19] != pieces[25] != pieces[27] == pieces[59]
    alone = chart.spec["layer"][2]["data"]["values"]
    assert [row["step"] for row in alone] == [25]
    assert "first NaN or infinite at step 20" in chart.description
    assert chart.spec["layer"][3]["data"]["values"] == [{"step": 20}]
    assert chart.picture().startswith("<svg")


def test_losses_that_differ_a_thousandfold_have_a_scale_of_logarithms():
    assert "log" in str(by_title(clock([(0, 0.1), (1, 200.0)]))["Loss"].spec)
    assert "log" not in str(by_title(clock([(0, 0.1), (1, 20.0)]))["Loss"].spec)
    assert "log" not in str(by_title(clock([(0, -0.1), (1, 2000.0)]))["Loss"].spec)
