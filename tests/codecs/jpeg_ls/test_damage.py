"""Damaged, foreign and unusual JPEG-LS codestreams end in exact samples or in a `CodecError`, never elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest

from cinemill.codecs.jpeg_ls.charls import CharLS
from cinemill.codecs.jpeg_ls.codec import JpegLs
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_ls.parameters import BREAK_EVEN
from tests.support.jpegls_images import frame_header, image, pixel_format, preset, scan_header, segment

FRAME = image("sector", (12, 40), 8, np.random.default_rng(1))
PIXELS = pixel_format(FRAME, 8)
(SOUND,) = JpegLs().encode([FRAME], PIXELS)
SOI, EOI = SOUND[:2], SOUND[-2:]
HEADER, SCAN = frame_header(FRAME.shape, 8), scan_header([1])
CODE = SOUND[len(SOI + HEADER + SCAN) : -2]


def decoded(codestream, pixels=PIXELS):
    return JpegLs().decode([codestream], pixels)[0]


def test_the_parts_are_the_whole():
    assert SOI + HEADER + SCAN + CODE + EOI == SOUND


@pytest.mark.parametrize("content", ["noise", "sector", "constant"])
@pytest.mark.parametrize("shape", [(12, 40), (12, 40, 3)], ids=str)
def test_a_codestream_cut_anywhere_fails(shape, content):
    frame = image(content, shape, 8, np.random.default_rng(1))
    pixels = pixel_format(frame, 8)
    (codestream,) = JpegLs().encode([frame], pixels)
    for length in range(len(codestream)):
        for end in (b"", EOI) if length < len(codestream) - 2 else (b"",):
            with pytest.raises(CodecError) as alone:
                decoded(codestream[:length] + end, pixels)
            assert alone.value.offset is not None
            assert alone.value.offset <= length + 2
            with pytest.raises(CodecError) as batch:
                JpegLs().decode([codestream] * BREAK_EVEN + [codestream[:length] + end], pixels)
            assert (batch.value.frame, batch.value.offset) == (BREAK_EVEN, alone.value.offset)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(12, 40), (12, 40, 3)], ids=str)
def test_charls_is_given_no_codestream_that_was_cut_without_an_end(monkeypatch, shape, bits):
    """Where no marker ends the code, it reads zeros for seconds, whatever the size of the frame."""
    frame = image("noise", shape, bits, np.random.default_rng(1))
    pixels = pixel_format(frame, bits)
    (codestream,) = JpegLs().encode([frame], pixels)
    given: list[bytes] = []

    def decode(stream, honest=imagecodecs.jpegls_decode):
        given.append(stream)
        return honest(stream)

    monkeypatch.setattr(imagecodecs, "jpegls_decode", decode)
    for length in range(len(codestream) - 2):
        for end in (b"", EOI, EOI + b"\x12\x34"):
            with pytest.raises(CodecError):
                CharLS().decode([codestream[:length] + end], pixels)
    assert len(given) > len(codestream)
    assert {stream[-2:] for stream in given} == {EOI}
    with pytest.raises(CodecError, match="no EOI: it is truncated") as caught:
        CharLS().decode([codestream, codestream[:300]], pixels)
    assert (caught.value.frame, caught.value.offset) == (1, 300)


@pytest.mark.parametrize(
    ("codestream", "pixels", "message"),
    [
        (
            SOUND,
            PIXELS.with_(rows=13),
            r"expected \(13, 40, 1\) rows, columns and samples, found \(12, 40, 1\)",
        ),
        (SOUND, PIXELS.with_(rows=40, columns=12), "rows, columns"),
        (SOUND, PIXELS.with_(samples=3), "samples"),
        (SOI + frame_header(FRAME.shape, 12) + SCAN + CODE + EOI, PIXELS, "at most 8 bits"),
        (SOI + frame_header(FRAME.shape, 17) + SCAN + CODE + EOI, PIXELS, "precision 17"),
        (SOI + SCAN + CODE + EOI, PIXELS, "without a frame header"),
        (SOI + HEADER + HEADER + SCAN + CODE + EOI, PIXELS, "second frame header"),
        (SOI + HEADER + EOI, PIXELS, "expected 1 coded components, found 0"),
        (SOI + HEADER + scan_header([2]) + CODE + EOI, PIXELS, "component 2 is not in the frame header"),
        (SOI + HEADER + scan_header([1], 200) + CODE + EOI, PIXELS, "NEAR 200 is outside 0..127"),
        (SOI + HEADER + scan_header([1], 0, 3) + CODE + EOI, PIXELS, "interleave mode 3"),
        (SOI + HEADER + preset(300, (3, 7, 21), 64) + SCAN + CODE + EOI, PIXELS, "MAXVAL 300 exceeds 8 bits"),
        (SOI + HEADER + preset(255, (9, 7, 21), 64) + SCAN + CODE + EOI, PIXELS, "thresholds 9, 7, 21"),
        (SOI + HEADER + preset(255, (3, 7, 21), 2) + SCAN + CODE + EOI, PIXELS, "RESET 2"),
        (SOI + HEADER + SCAN.replace(b"\1\1\0", b"\1\1\5") + CODE + EOI, PIXELS, "mapping tables"),
        (SOI + segment(0xC0, HEADER[4:]) + SCAN + CODE + EOI, PIXELS, "JPEG, not JPEG-LS"),
        (SOUND + b"\0" + SOUND, PIXELS, "another codestream follows EOI"),
        (SOI + HEADER + SCAN + CODE + b"\0\0" + EOI, PIXELS, "bytes of code are left"),
        (SOI + HEADER + SCAN + CODE + b"\1" + EOI, PIXELS, "bytes of code are left"),
        (SOI + HEADER + SCAN + CODE + b"\xff\xd0" + EOI, PIXELS, "unexpected marker 0xFFD0"),
        (b"", PIXELS, "truncated"),
        (b"BM" + SOUND, PIXELS, "expected a marker, found byte 0x42"),
    ],
)
def test_what_does_not_fit_is_named(codestream, pixels, message):
    with pytest.raises(CodecError, match=message) as caught:
        decoded(codestream, pixels)
    assert caught.value.offset is not None
    assert caught.value.frame == 0


@pytest.mark.parametrize(
    ("codestream", "message"),
    [
        (SOI + HEADER + segment(0xF8, b"\2\1\1") + SCAN + CODE + EOI, "a mapping table \\(LSE"),
        (SOI + HEADER + segment(0xF8, b"\3\1\1") + SCAN + CODE + EOI, "mapping table continuation"),
        (SOI + segment(0xE8, b"mrfx\1") + HEADER + SCAN + CODE + EOI, "HP's colour transform 01"),
    ],
)
def test_what_dicom_does_not_use_is_refused(codestream, message):
    with pytest.raises(UnsupportedPixelFormat, match=message) as caught:
        decoded(codestream, PIXELS)
    assert caught.value.frame == 0


@pytest.mark.parametrize(
    "codestream",
    [
        SOUND + b"\0",
        SOUND + b"\x20",
        SOUND + bytes(20),
        SOI + HEADER + SCAN + CODE + b"\0" + EOI,
        SOI + HEADER + SCAN + CODE + b"\xff\xff" + EOI,
        SOI + b"\xff\xff" + HEADER + b"\xff" + SCAN + CODE + EOI,
        SOI + segment(0xE8, b"mrfx\0") + HEADER + SCAN + CODE + EOI,
        SOI + segment(0xE8, b"SPIFF\0" + bytes(24)) + segment(0xE8, b"\0\0\0\1") + SOUND[2:],
        SOI + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + segment(0xFE, b"by hand") + SOUND[2:],
        SOI + HEADER + preset(0, (0, 0, 0), 0) + SCAN + CODE + EOI,
        SOI + HEADER + segment(0xDD, b"\0\0") + SCAN + CODE + EOI,
        SOI + HEADER + segment(0xDD, b"\0\0\0\x20") + SCAN + CODE + EOI,
    ],
)
def test_what_others_write_is_read(codestream):
    np.testing.assert_array_equal(decoded(codestream), FRAME)
    np.testing.assert_array_equal(decoded(memoryview(bytearray(codestream))), FRAME)


def test_sixteen_bit_codestreams_of_twelve_bit_samples():
    frame = image("soft", (12, 40), 12, np.random.default_rng(1))
    pixels = pixel_format(frame, 12)
    (codestream,) = JpegLs().encode([frame], pixels.with_(bits_stored=16))
    np.testing.assert_array_equal(decoded(codestream, pixels), frame)


def run(script):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("at_end", [True, False])
def test_guarded_memory_is_fatal_outside(at_end):
    result = run(f"""
import ctypes; from tests.support import guarded_memory
memory = guarded_memory.guarded(100, at_end={at_end})
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.string_at(address, 100) == bytes(100)
ctypes.string_at(address + (100 if {at_end} else -1), 1)
""")
    assert result.returncode < 0, result.stderr


def test_ten_thousand_damaged_codestreams():
    result = run("from tests.fuzz import jpeg_ls; print(jpeg_ls.fuzz(10_000, 7).total())")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 10_000
