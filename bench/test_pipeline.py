"""Whole transcodings against the bare codec calls they can't do without, and against pydicom's."""

import pytest

from comparisons import MASKS, PEERS, PIPELINES, Comparison
from measure import Measure


@pytest.mark.parametrize("row", [*PIPELINES, *MASKS, *PEERS], ids=str)
def test_transcoding(row: Comparison, measure: Measure) -> None:
    prepared = row.prepare()
    receipt = measure(
        prepared.ours, prepared.nbytes, reference=prepared.reference, rounds=5, before=prepared.before
    )
    assert receipt.status == "transcoded"
    assert receipt.pixel_bytes == prepared.nbytes
