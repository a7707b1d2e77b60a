"""Bars of units and sparklines on a terminal."""

from __future__ import annotations

import pytest
from helpers import made_runs as made
from hypothesis import given
from hypothesis import strategies as st

from relume.reports.run.unit_bars import bar, legend, shared, sparkline


@given(st.lists(st.integers(0, 10_000), min_size=6, max_size=6), st.integers(6, 40))
def test_a_bar_is_full_and_shows_every_state(counts, cells):
    given_out = shared(counts, cells)
    assert sum(given_out) == (cells if any(counts) else 0)
    assert [bool(number) for number in given_out] == [bool(count) for count in counts]


def test_shares_follow_the_counts():
    assert shared([0, 50, 0, 25, 0, 25], 20) == [0, 10, 0, 5, 0, 5]
    assert bar([0, 50, 0, 25, 0, 25], 8).plain == "████▒▒░░"


def test_the_legend_has_only_the_states_that_occur():
    assert legend(made.small().sites).plain == "█ dead  ▒ rare  ━ always on  ░ healthy"


@pytest.mark.parametrize(
    ("events", "drawn"),
    [
        ([(unit, 10 * unit + 5, "died") for unit in range(8)], "▂▃▄▅▆▇██"),
        ([(0, 70, "died"), (1, 70, "died")], "▁▁▁▁▁▁▃▃"),
        ([(0, 10, "died"), (0, 50, "revived"), (0, 75, "died")], "▂▂▂▂▁▁▁▂"),
        ([], ""),
    ],
)
def test_a_sparkline_shows_how_many_were_dead(events, drawn):
    dead = {unit for unit, _, what in events if what == "died"}
    findings = made.run(made.site(units=8, dead=len(dead), rare=0, on=0, events=events))
    assert sparkline(findings.sites[0], 80) == drawn
