"""Every activation × every framework × every dtype × every input, against the oracle in ulp."""

from __future__ import annotations

import adapters
import cases
import checks
import pytest

ADAPTERS = adapters.load()
CASES = [pytest.param(name, p, id="-".join(filter(None, (name, cases.written(p))))) for name, p in cases.CASES]


@pytest.mark.parametrize("part", ["value", "gradient", "forward_gradient"])
@pytest.mark.parametrize(("activation", "parameters"), CASES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_result_equals_the_oracle(adapter, activation, parameters, part):
    if not hasattr(adapter, part):
        assert part == "forward_gradient" or adapter.inference, f"{adapter.name} has no {part}"
        return
    for dtype in adapter.dtypes:
        checks.check(adapter, activation, parameters, dtype, part)


@pytest.mark.parametrize(("shape", "weight", "axis"), cases.PRELU_SHAPES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_prelu_lays_its_slopes_along_the_axes_named(adapter, shape, weight, axis):
    for part in ("value", "gradient", "forward_gradient"):
        if hasattr(adapter, part):
            for dtype in adapter.lays:
                checks.check_prelu_shape(adapter, shape, weight, axis, dtype, part)
    if hasattr(adapter, "weight_gradient") and "float64" in adapter.lays:
        checks.check_prelu_weight(adapter, shape, weight, axis)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_bad_input_is_refused_in_the_same_words_everywhere(adapter):
    for activation, x, parameters, says in cases.REFUSED:
        if activation == "prelu" and adapter.inference:  # a model leaves the sizes free: its runtime refuses them
            continue
        checks.check_refused(adapter, activation, x, parameters, says)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_random_slopes_are_uniform_independent_and_the_gradients_own(adapter):
    if hasattr(adapter, "drawn"):
        for dtype in adapter.dtypes:
            checks.check_drawn(adapter, dtype)


def test_every_adapter_fulfils_the_protocol_and_every_dtype_is_met():
    found = adapters.installed()
    assert all(isinstance(adapter, adapters.Adapter) for adapter in found if not adapter.inference)
    assert len({adapter.name for adapter in found}) == len(found)
    assert {dtype for adapter in found for dtype in adapter.dtypes} == set(cases.DTYPES)


def test_every_row_of_the_tolerances_is_of_an_adapter_and_an_activation():
    names = {adapter.name for adapter in adapters.installed()} | {"*"}
    assert set(checks.TOLERANCES) <= names
    rows = [key for table in checks.TOLERANCES.values() for key in table]
    assert set(rows) <= {*cases.FAMILY, *cases.DTYPES, "ulp"}
