"""The start of the command, against an interpreter that imports Typer."""

import pytest

from comparisons import START


@pytest.mark.parametrize("row", START, ids=str)
def test_start_up(row, measure):
    prepared = row.prepare()
    assert measure(prepared.ours, reference=prepared.reference).returncode == 0
