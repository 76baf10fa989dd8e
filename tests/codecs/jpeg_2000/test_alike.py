"""HTJ2K of a cine is decoded by the headers of its first frame; what says something else is read for what it says."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from cinemill.codecs.jpeg_2000 import htj2k_decode
from cinemill.codecs.jpeg_2000.alike import packets_alike, pattern
from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, check_codestream
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.codecs.jpeg_2000.parameters import read_packets_header
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.machine import x86
from cinemill.pixel_format import Buffer, PixelFormat

if not x86.available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

PIXELS = PixelFormat(70, 90, 1, 8, 8, False, "MONOCHROME2")  # noqa: FBT003


def frames(count, pixels=PIXELS):
    rng = np.random.default_rng(0)
    return list((rng.integers(0, 1 << pixels.bits_stored, (count, *pixels.shape)) >> 3).astype(pixels.dtype))


def known(stream):
    codestream, header = check_codestream(stream, PIXELS, 0)
    packets = read_packets_header(codestream, header, high_throughput=True)
    assert packets is not None
    return pattern(codestream, header, packets, PIXELS), packets


@pytest.fixture(autouse=True)
def forgetful():
    htj2k_decode._last.pattern = None


@pytest.mark.parametrize("count", [1, 2, 9, 20])
def test_frames_of_a_cine_are_what_openjpeg_decodes(count, monkeypatch):
    given = frames(count)
    streams = Htj2k().encode(given, PIXELS)
    alone: list[int] = []
    decode = htj2k_decode._decode_alone

    def counted(data, pixels, number):
        alone.append(number)
        return decode(data, pixels, number)

    monkeypatch.setattr(htj2k_decode, "_decode_alone", counted)
    for _ in range(2):
        found = Htj2k().decode(streams, PIXELS)
        for one, other, frame in zip(found, OpenJpeg().decode(streams, PIXELS), given, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, frame)
    assert alone == [0]


def test_what_has_other_headers_is_read_by_them():
    """Streams of two encoders, other depths and levels, memory of other kinds, and one that only OpenJPEG decodes, mixed."""
    given = frames(12)
    narrow = PIXELS.with_(bits_stored=6)
    streams: list[Buffer] = []
    for number, frame in enumerate(given):
        low = frame >> 2
        streams += [
            Htj2k().encode([frame], PIXELS)[0],
            OpenJph().encode([frame], PIXELS)[0],
            bytes(imagecodecs.htj2k_encode(frame, reversible=True, resolutions=1 + number % 4)),
            Htj2k().encode([low], narrow)[0],
            bytes(imagecodecs.htj2k_encode(frame, reversible=True, tile=(64, 64))),
            memoryview(Htj2k().encode([frame], PIXELS)[0] + b"\0"),
        ]
    expected = OpenJpeg().decode(streams, PIXELS)
    for order in (range(len(streams)), sorted(range(len(streams)), key=lambda at: at % 6)):
        found = Htj2k().decode([streams[at] for at in order], PIXELS)
        for one, at in zip(found, order, strict=True):
            np.testing.assert_array_equal(one, expected[at])


def test_frames_that_do_not_fit_the_lanes_are_decoded_among_others():
    pixels = PIXELS.with_(bits_allocated=16, bits_stored=16)
    rng = np.random.default_rng(1)
    quiet = [(frame & 255) + 3000 for frame in frames(6, pixels)]
    loud = [rng.integers(0, 1 << 16, pixels.shape).astype(np.uint16) for _ in range(6)]
    given = [frame for pair in zip(quiet, loud, strict=True) for frame in pair]
    for frame, found in zip(given, Htj2k().decode(OpenJph().encode(given, pixels), pixels), strict=True):
        np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("number", [0, 1, 7, 8, 10])
def test_damage_is_told_of_the_frame_that_has_it(number):
    streams = Htj2k().encode(frames(11), PIXELS)
    start = streams[number].index(b"\xff\x93") + 2
    for damaged in (
        streams[number][:-40],
        streams[number][: start + 80] + b"\xff\xff" + streams[number][start + 82 :],
        streams[number][:start] + bytes(300) + streams[number][start + 300 :],
        streams[number] + streams[number],
    ):
        streams[number] = damaged
        with pytest.raises(CodecError) as caught:
            Htj2k().decode(streams, PIXELS)
        assert caught.value.frame == number


def test_any_change_of_a_header_is_seen():
    """Each bit of what stands before the packets: the same samples as OpenJPEG's, or refused, or another decoder's matter."""
    first, second = Htj2k().encode(frames(2), PIXELS)
    found, packets = known(first)
    start = packets.start
    assert packets_alike(second, found) == known(second)[1][:2]
    tlm = second.index(b"\xff\x55")
    for at in range(start):
        for bit in range(8):
            changed = bytearray(second)
            changed[at] ^= 1 << bit
            told = packets_alike(bytes(changed), found)
            assert told is None or tlm + 4 <= at < tlm + 12


@pytest.mark.parametrize("ending", [b"", b"\xff\xd9\0\0", b"\xff\xd8", b"\0\xff\xd9"])
def test_what_does_not_end_where_it_says_is_looked_at_more_closely(ending):
    first, second = Htj2k().encode(frames(2), PIXELS)
    found, packets = known(first)
    assert packets_alike(second[:-2] + ending, found) is None
    assert packets_alike(second[: packets.start - 3], found) is None


def test_another_format_of_pixels_is_another_matter():
    streams = Htj2k().encode(frames(3), PIXELS)
    Htj2k().decode(streams, PIXELS)
    with pytest.raises(CodecError, match="expected rows, columns, samples"):
        Htj2k().decode(streams, PIXELS.with_(rows=71))
    signed = Htj2k().decode(streams, PIXELS.with_(signed=True))
    np.testing.assert_array_equal(
        signed[2].view(np.uint8), OpenJpeg().decode(streams, PIXELS.with_(signed=True))[2].view(np.uint8)
    )
    with pytest.raises((CodecError, UnsupportedPixelFormat)):
        Htj2k().decode(streams, PIXELS.with_(samples=3))
