"""Our codecs against the libraries, on the same frames in the same rounds."""

import pytest

from comparisons import CODECS, Comparison
from measure import Measure


@pytest.mark.parametrize("row", CODECS, ids=str)
def test_codec(row: Comparison, measure: Measure) -> None:
    prepared = row.prepare()
    assert measure(prepared.ours, prepared.nbytes, reference=prepared.reference)
