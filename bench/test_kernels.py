"""Colour kernels against what pydicom users have today."""

import pytest

from comparisons import KERNELS


@pytest.mark.parametrize("row", KERNELS, ids=str)
def test_kernel(row, measure):
    prepared = row.prepare()
    result = measure(prepared.ours, prepared.nbytes, reference=prepared.reference)
    assert result.nbytes == prepared.nbytes
