"""The start of commands, against an interpreter that imports numpy."""

import pytest

from comparisons import START, Comparison
from measure import Measure


@pytest.mark.parametrize("row", START, ids=str)
def test_start_up(row: Comparison, measure: Measure) -> None:
    prepared = row.prepare()
    assert measure(prepared.ours, reference=prepared.reference, before=prepared.before).returncode == 0
