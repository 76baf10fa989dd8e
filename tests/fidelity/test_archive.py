"""An archive run over the corpus: no output larger than its source, and no wrong pixel."""

from __future__ import annotations

import pytest

import cinemill
from cinemill.errors import CinemillError
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill.operations.transcode.transcode import run
from tests.support import oracle

BULK = Transcode(verify="none").in_bulk()


@pytest.mark.corpus
def test_nothing_grows_and_no_pixel_is_wrong(corpus_file, tmp_path):
    """Judged by pydicom and decoders that encode nothing here."""
    output = tmp_path / "out.dcm"
    try:
        done = run(BULK, corpus_file, output, Control(1))
    except CinemillError:
        assert not list(tmp_path.iterdir())
        return
    if done.status == "skipped":
        return
    before = corpus_file.read_bytes()
    assert output.stat().st_size <= len(before)
    if done.status == "copied":
        assert done.reason
        assert output.read_bytes() == before
        return
    assert not done.lossy_source
    try:
        source, found = oracle.read(corpus_file), oracle.read(output)
    except oracle.UnreadableError:
        return
    limit = source.bits_stored if found.bits_stored == source.bits_stored else None
    assert oracle.difference(source, found, limit=limit) is None


SLICE = 8
"""Of the corpus, so many files at even distances are tried to be the smallest."""


@pytest.mark.corpus
def test_smallest_is_not_larger_than_the_best_single_target(corpus, tmp_path):
    files = sorted(path for path in corpus.iterdir() if path.stat().st_size < 400_000)
    sums: dict[str, int] = {}
    for number, path in enumerate(files[:: len(files) // SLICE]):
        for target in ("smallest", "jpeg-ls", "jpeg-2000", "htj2k", "rle", "deflated"):
            try:
                done = cinemill.transcode(path, tmp_path / f"{number}.{target}", to=target, verify="none")
                size = done.bytes_after
            except CinemillError:
                size = path.stat().st_size
            sums[target] = sums.get(target, 0) + size
    assert sums["smallest"] <= min(size for target, size in sums.items() if target != "smallest")
