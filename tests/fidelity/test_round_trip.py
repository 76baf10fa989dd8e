"""Through every target and back to native: the bytes of the pixels are those of the direct way."""

from __future__ import annotations

from pathlib import Path

import pytest

import cinemill
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from tests.support import oracle
from tests.support.files import corpus_files, pydicom_files

SMALL = [path for path in corpus_files() if path.stat().st_size < 300_000]
WAY = ("jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit")


def native_frames(path: Path) -> list[bytes]:
    with Source(path) as source:
        return [bytes(source.frame(index)) for index in range(len(source))]


def round_trip(path: Path, folder: Path) -> None:
    """Take the way, leaving out targets that can't hold such pixels."""
    try:
        direct = cinemill.transcode(
            path, folder / "direct.dcm", to="explicit", colour="keep", threads=1, verify="none"
        )
    except CinemillError as error:
        pytest.skip(f"not decodable: {error.kind}")
    if direct.frames is None and Source(path).pixel_data is None:
        pytest.skip("no pixel data")
    here, taken = path, 0
    for target in WAY:
        there = folder / f"{target}.dcm"
        try:
            cinemill.transcode(here, there, to=target, colour="keep", threads=1, verify="none")
        except CinemillError as error:
            if error.kind != "UnsupportedPixelFormat":
                raise
            continue
        here, taken = there, taken + 1
    straight, round_ = Source(folder / "direct.dcm"), Source(here)
    if straight.pixels == round_.pixels:
        assert native_frames(folder / "direct.dcm") == native_frames(here)
    else:  # planar, 4:2:2 or deeper than Bits Stored: the samples are the same, their layout is not
        compare_samples(folder / "direct.dcm", here)
    assert straight.text(0x00080018) == round_.text(0x00080018)
    assert taken > 0


def compare_samples(one: Path, other: Path) -> None:
    expected, found = oracle.read(one), oracle.read(other)
    limit = expected.bits_stored if expected.bits_stored == found.bits_stored else None
    assert oracle.difference(expected, found, limit=limit) is None


def test_bundled_image(pydicom_file: Path, tmp_path: Path) -> None:
    round_trip(pydicom_file, tmp_path)


@pytest.mark.corpus
@pytest.mark.parametrize("path", SMALL[::4] or [None], ids=lambda path: getattr(path, "name", "none"))
def test_corpus_file(path: Path | None, tmp_path: Path) -> None:
    if path is None:
        pytest.skip("no corpus: set CINEMILL_CORPUS")
    round_trip(path, tmp_path)


def test_bundled_images_are_there() -> None:
    assert len(pydicom_files()) > 50
