"""When trouble spread: rows of the sites of a clock, from events that are known."""

from __future__ import annotations

from dataclasses import replace

from helpers import made_runs as made

from relume.reports.run.html.spread import SHADES, spread


def rows(*sites):
    findings = made.run(*sites, windows=made.windows())
    return findings, spread(findings.timelines[0], findings.sites)


def test_each_site_is_a_row_of_the_shares_of_its_dead_units():
    one = made.site(0, events=[(0, 20, "died"), (1, 60, "died")])
    two = made.site(1, events=[(0, 40, "died"), (0, 50, "revived"), (0, 90, "died"), (1, 90, "died")])
    _, (first, second) = rows(one, made.site(2), two)
    assert [(s.start, s.length, s.opacity) for s in first.stretches] == [(20, 40, 1 / SHADES), (60, 40, 2 / SHADES)]
    assert [(s.start, s.length, s.opacity) for s in second.stretches] == [(40, 10, 1 / SHADES), (90, 10, 2 / SHADES)]
    assert first.says == "2 of 8 dead, the first at step 20"
    assert (first.place, second.place) == (0, 2)


def test_a_site_that_broke_stays_broken_and_shows_its_earlier_deaths():
    findings, _ = rows(made.site(0, events=[(0, 20, "died")]), made.site(1, events=[(0, 30, "died")]))
    one, two = findings.sites
    broken = replace(one, non_finite_since={3: 50, 4: 70}, dead=(), mortal=(False,) * 8)
    first, _ = spread(findings.timelines[0], (broken, two))
    assert [(s.state, s.start, s.length) for s in first.stretches] == [("dead", 20, 30), ("broken", 50, 50)]
    assert first.says == "NaN or infinite since step 50"


def test_a_single_site_has_no_rows():
    assert rows(made.site(0, events=[(0, 20, "died")]), made.site(1))[1] == ()
