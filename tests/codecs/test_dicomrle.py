"""imagecodecs' RLE decoder as a second opinion: what it reads, and what it finds wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cinemill.codecs import table
from cinemill.codecs.dicomrle import DicomRle
from cinemill.codecs.rle import Rle
from cinemill.errors import CodecError
from cinemill.pixel_format import PixelFormat
from tests.support.generate import noise, rle_stream


def pixel_format(frame, bits):
    samples = 1 if frame.ndim == 2 else frame.shape[2]
    label = "RGB" if samples == 3 else "MONOCHROME2"
    return PixelFormat(frame.shape[0], frame.shape[1], samples, bits, bits, frame.dtype.kind == "i", label)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (33, 47, 3)])
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
def test_it_reads_what_others_write(shape, bits, signed):
    frame = noise(shape, bits, signed=signed)
    (decoded,) = DicomRle().decode([rle_stream(frame)], pixel_format(frame, bits))
    assert decoded.dtype == frame.dtype
    assert np.array_equal(decoded, frame)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 16)])
def test_single_bits_are_unpacked(shape):
    frame = noise(shape, 1)
    pixels = pixel_format(frame, 1)
    assert np.array_equal(DicomRle().decode(Rle().encode([frame], pixels), pixels), [frame])


def test_frame_of_another_size_is_named():
    frames = noise((33, 47)), noise((32, 47))
    with pytest.raises(CodecError, match="expected 1551 bytes, found 1504") as caught:
        DicomRle().decode([rle_stream(frame) for frame in frames], pixel_format(frames[0], 8))
    assert caught.value.frame == 1


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_short_frame_is_named(cut):
    stream = rle_stream(noise((33, 47)))
    with pytest.raises(CodecError) as caught:
        DicomRle().decode([stream, stream[:-cut]], pixel_format(noise((33, 47)), 8))
    assert caught.value.frame == 1


def test_bytes_that_are_no_frame_are_named():
    with pytest.raises(CodecError, match="imagecodecs"):
        DicomRle().decode([b"\1" * 100], pixel_format(noise((3, 3)), 8))


@pytest.mark.parametrize("coding", ["rle", "jpeg-ls", "htj2k"])
def test_independent_verification_is_by_another_implementation(coding):
    assert table.verifiers(coding)[-1].name != table.encoder(coding).name
