"""The start of the command, against an interpreter that imports Typer."""

import pytest

from comparisons import START, Comparison
from measure import Measure


@pytest.mark.parametrize("row", START, ids=str)
def test_start_up(row: Comparison, measure: Measure) -> None:
    prepared = row.prepare()
    assert measure(prepared.ours, reference=prepared.reference).returncode == 0
