"""The sums for each unit of one tensor, against PyTorch's own sums in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relume.torch.watching.counts.tables import DeviceTable, table_of

SHAPES = [((9,), 0), ((3, 5), 0), ((64, 512), 1), ((70_000, 3), 1), ((2, 3, 4, 5), 2), ((8, 64, 56, 56), 1)]
LAYOUTS = {
    "contiguous": lambda x: x,
    "units innermost": lambda x: (
        x.to(memory_format=torch.channels_last) if x.ndim == 4 else x.movedim(0, -1).contiguous().movedim(-1, 0)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_sums_equal_those_of_pytorch(shape, axis, dtype, layout):
    torch.manual_seed(0)
    x = LAYOUTS[layout](torch.randn(shape).to(dtype))
    rows = x.double().movedim(axis, 0).reshape(x.shape[axis], -1)
    for table in (table_of(x, axis), DeviceTable(x, axis)):  # of the host, and the same on a device
        assert np.array_equal(table.sums(np.greater, 0.125)[0], (rows > 0.125).sum(1))
        assert np.array_equal(table.sums(np.less, 0.125)[0], (rows < 0.125).sum(1))
        assert np.array_equal(table.sums(np.greater_equal, 0.5)[0], (rows >= 0.5).sum(1))
        np.testing.assert_allclose(table.sums(np.abs)[0], rows.abs().sum(1), rtol=1e-4)
        np.testing.assert_allclose(table_of(x.abs(), axis).sums(None)[0], rows.abs().sum(1), rtol=1e-4)
