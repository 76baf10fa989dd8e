"""Any frame of a cine: opening, and reaching the last frame, against decoding that frame's codestream."""

import pytest

import cinemill
from cinemill.codecs import table
from cinemill.dicom.source import Source
from cines import RGB
from comparisons import source
from measure import Measure

_FRAMES = 100


@pytest.mark.parametrize("coding", ["native", "rle", "jpeg", "jpeg-lossless"])
def test_open(coding: str, measure: Measure) -> None:
    path = source(coding, RGB, _FRAMES)

    def opened() -> int:
        with cinemill.open(path) as cine:
            return len(cine)

    assert measure(opened) == _FRAMES


@pytest.mark.parametrize("coding", ["native", "rle", "jpeg", "jpeg-lossless"])
def test_last_frame(coding: str, measure: Measure) -> None:
    path = source(coding, RGB, _FRAMES)
    with Source(path) as file, cinemill.open(path) as cine:
        codestream, codec, pixels = bytes(file.frame(_FRAMES - 1)), table.decoder(coding), cine.pixels
        frame = measure(
            lambda: cine[-1], pixels.nbytes, reference=lambda: codec.decode([codestream], pixels), rounds=20
        )
    assert frame.shape == pixels.shape
