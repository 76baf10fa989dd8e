"""Our codecs against the libraries, on the same frames in the same rounds."""

import pytest

from comparisons import CODECS


@pytest.mark.parametrize("row", CODECS, ids=str)
def test_codec(row, measure):
    prepared = row.prepare()
    assert measure(prepared.ours, prepared.nbytes, reference=prepared.reference)
