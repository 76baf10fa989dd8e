"""Colour kernels against what pydicom users have today."""

import pytest

from comparisons import KERNELS, Comparison
from measure import Measure


@pytest.mark.parametrize("row", KERNELS, ids=str)
def test_kernel(row: Comparison, measure: Measure) -> None:
    prepared = row.prepare()
    result = measure(prepared.ours, prepared.nbytes, reference=prepared.reference)
    assert result.nbytes == prepared.nbytes
