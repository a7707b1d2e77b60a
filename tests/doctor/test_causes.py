"""A cause is claimed only where the factors that were kept are those of the death."""

from __future__ import annotations

import numpy as np
import pytest

from relume.artifacts.recording import Count, Death, Site, SiteRecord
from relume.doctor.causes import causes, explain

DEATH = Death(
    unit=1, before=40, after=44, top_first=2.0, top_before=1.0, top_after=-1.0, by_weight=-1.9, by_bias=-0.1,
    by_input=0.0, by_rest=0.0, half=0.1, update=6.0, usual=1.0, shrinking=0.0, weight_first=1.0, weight_after=1.0,
    bias_first=0.0, bias_after=-0.1, bias_falls=0.5, input_before=1.0, input_after=1.0, offset_before=1.0,
    offset_after=1.0, rate_before=0.1, rate_after=0.1, decay=0.0, kind="linear", trained=True, upstream=-1,
)  # fmt: skip


def record(death, *, first=0, last=43):
    zero = np.zeros(3, np.int64)
    made = SiteRecord.new(Site("net.1@x.py:8", "Net", "1", "nn.ReLU", "x.py", 8, "relu", {}, "0", 1, 3, False, 0))
    made.total = Count(50, 500, 500, zero, zero, np.zeros(3))
    made.first_fired, made.last_fired = np.full(3, first), np.full(3, last)
    made.deaths = {} if death is None else {1: death}
    return made


@pytest.mark.parametrize(
    ("death", "seen", "kind"),
    [
        (DEATH, {}, "large update"),
        (None, {}, "unknown"),
        (DEATH, {"last": 44}, "unknown"),  # a look that kept no factors saw it fire again
        (DEATH, {"last": 60}, "unknown"),
        (DEATH._replace(before=-1), {}, "unknown"),  # as it did before the first look that kept them
        (DEATH._replace(before=-1), {"first": -1, "last": -1}, "born dead"),
        (DEATH._replace(top_before=float("inf")), {}, "non-finite"),
        (DEATH._replace(weight_after=float("nan")), {}, "non-finite"),
    ],
)
def test_only_what_the_factors_saw_is_claimed(death, seen, kind):
    site = record(death, **seen)
    (cause,) = causes(site, [1], [site]).values()
    assert cause.kind == kind
    assert cause.says


def test_a_change_that_is_not_the_largest_update_is_no_large_one():
    assert explain(changed(update=4.9)).kind == "weight drift"
    assert explain(changed(update=5.1)).kind == "large update"
    assert explain(changed(by_weight=0.0, by_input=-1.9)).kind == "input change"
    assert explain(changed(by_weight=0.0, by_rest=-1.9)).kind == "unknown"


def changed(**numbers):
    return DEATH._replace(**numbers)
