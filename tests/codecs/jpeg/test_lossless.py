"""JPEG Lossless against libjpeg-turbo, libjpeg (Thomas Richter), a naive coder and real files."""

from __future__ import annotations

import csv

import imagecodecs
import libjpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinemill.codecs import compiling
from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg import lossless
from cinemill.codecs.jpeg.lossless import JpegLossless
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.fuzz import decoders as fuzz_decoders
from tests.fuzz import jpeg_pairs
from tests.support.files import CORPUS
from tests.support.naive_jpeg_lossless import FIVE_BITS, LONG_CODES, SHORT_FIRST, Scan, encode
from tests.support.pictures import format_of

CODEC = JpegLossless()


def pixels_of(frame: np.ndarray, *, signed: bool = False) -> PixelFormat:
    samples = 1 if frame.ndim == 2 else frame.shape[2]
    bits = frame.itemsize * 8
    space = "MONOCHROME2" if samples == 1 else "RGB"
    return PixelFormat(frame.shape[0], frame.shape[1], samples, bits, bits, signed, space)


def decode(codestream: bytes | bytearray, frame: np.ndarray, *, signed: bool = False) -> np.ndarray:
    return CODEC.decode([memoryview(codestream)], pixels_of(frame, signed=signed))[0]


def image(kind: str, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(bits)
    top = (1 << bits) - 1
    samples = {
        "noise": rng.integers(0, top, shape, endpoint=True),
        "gradient": np.add.accumulate(rng.integers(0, 3, shape), axis=1) & top,
        "constant": np.full(shape, top),
        "extremes": rng.integers(0, 2, shape) * top,
    }[kind]
    return samples.astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("selection", range(1, 8))
@pytest.mark.parametrize("bits", [2, 5, 8, 9, 12, 16])
@pytest.mark.parametrize("kind", ["noise", "gradient", "constant", "extremes"])
def test_frames_written_by_libjpeg_turbo(selection, bits, kind):
    for shape in ((1, 1), (1, 9), (9, 1), (31, 45), (20, 33, 3)):
        frame = image(kind, bits, shape)
        codestream = imagecodecs.jpeg8_encode(frame, lossless=True, predictor=selection, bitspersample=bits)
        decoded = decode(codestream, frame)
        assert decoded.dtype == frame.dtype
        np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("shape", [(2, 65535), (65535, 2)])
def test_the_largest_sides(shape):
    frame = image("noise", 16, shape)
    np.testing.assert_array_equal(
        decode(imagecodecs.jpeg8_encode(frame, lossless=True, bitspersample=16), frame), frame
    )


@st.composite
def written(draw):
    precision = draw(st.integers(2, 16))
    rows, columns, samples = draw(st.integers(1, 7)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    point_transform = draw(st.integers(0, min(precision - 1, 3)))
    table = st.sampled_from([FIVE_BITS, SHORT_FIRST, LONG_CODES])
    how = Scan(
        precision,
        selection=draw(st.integers(1, 7)),
        point_transform=point_transform,
        restart_rows=draw(st.integers(0, 3)),
        interleaved=draw(st.booleans()),
        tables=tuple(draw(st.lists(table, min_size=1, max_size=samples))),
    )
    values = draw(st.lists(st.integers(0, (1 << precision) - 1), min_size=1, max_size=20))
    frame = np.resize(np.array(values, np.uint8 if precision <= 8 else np.uint16), (rows, columns, samples))
    return how, frame >> point_transform << point_transform


@given(written())
@settings(max_examples=400, deadline=None)
def test_every_kind_of_scan(case):
    how, frame = case
    codestream = encode(frame, how)
    frame = frame[..., 0] if frame.shape[2] == 1 else frame
    np.testing.assert_array_equal(decode(codestream, frame), frame)


@pytest.mark.parametrize("restart_rows", [0, 1, 2])
@pytest.mark.parametrize("tables", [(FIVE_BITS,), (SHORT_FIRST, LONG_CODES, FIVE_BITS)])
def test_the_naive_coder_agrees_with_libjpeg_turbo(restart_rows, tables):
    frame = image("noise", 8, (23, 31, 3))
    codestream = encode(frame, Scan(8, selection=6, restart_rows=restart_rows, tables=tables))
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(codestream), frame)
    np.testing.assert_array_equal(decode(codestream, frame), frame)


def test_differences_wrap_modulo_65536():
    frame = np.array([[0, 32768, 0, 65535, 32767], [65535, 1, 32769, 0, 32768]], np.uint16)
    for selection in range(1, 8):
        codestream = encode(frame[..., None], Scan(16, selection=selection))
        np.testing.assert_array_equal(decode(codestream, frame), frame)
        np.testing.assert_array_equal(libjpeg.decode(codestream), frame)


def test_samples_beyond_the_precision_keep_their_lowest_bits():
    beyond = np.array([[200, 300, 250], [199, 256, 511]])
    codestream = encode(beyond[..., None], Scan(8))
    expected = (beyond & 255).astype(np.uint8)
    np.testing.assert_array_equal(decode(codestream, expected), expected)
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(codestream), expected)


@pytest.mark.parametrize(("precision", "dtype"), [(7, "i1"), (8, "i1"), (12, "i2"), (16, "i2"), (8, "i2")])
def test_signed_samples(precision, dtype):
    frame = np.arange(-(1 << (precision - 1)), 1 << (precision - 1), (1 << precision) // 32).reshape(4, 8)
    stored = (frame & (1 << precision) - 1)[..., None]
    decoded = decode(encode(stored, Scan(precision)), frame.astype(dtype), signed=True)
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, frame)


def test_eight_bits_in_sixteen_and_memoryviews():
    frame = image("gradient", 8, (6, 7)).astype(np.uint16)
    codestreams = [memoryview(encode(part[..., None], Scan(8))) for part in (frame, frame[::-1])]
    decoded = CODEC.decode(codestreams, pixels_of(frame))
    np.testing.assert_array_equal(decoded, [frame, frame[::-1]])
    assert decoded[0].dtype == np.uint16


def test_every_truncation_is_noticed():
    frame = image("noise", 8, (5, 7, 3))
    codestream = encode(frame, Scan(8, selection=4, restart_rows=2, tables=(SHORT_FIRST, LONG_CODES)))
    for length in range(len(codestream) - 2):
        with pytest.raises(CodecError):
            decode(codestream[:length], frame)
    for length in (len(codestream) - 2, len(codestream) - 1):
        np.testing.assert_array_equal(decode(codestream[:length], frame), frame)


def test_fill_bytes_comments_and_a_zero_before_the_end():
    frame = image("noise", 12, (5, 7))
    codestream = encode(frame[..., None], Scan(12))
    codestream = (
        codestream[:2] + b"\xff\xff\xfe\0\4ab\xff\xe0\0\2" + codestream[2:-2] + b"\0\xff\xff\xff\xd9\0\0"
    )
    np.testing.assert_array_equal(decode(codestream, frame), frame)


MONO = np.zeros((4, 5), np.uint8)
STREAM = encode(MONO[..., None], Scan(8))
COLOUR = encode(np.zeros((4, 5, 3), np.uint8), Scan(8, restart_rows=1))


@pytest.mark.parametrize(
    ("codestream", "expected", "error", "message"),
    [
        (b"", MONO, CodecError, "begins with FF D8"),
        (STREAM, MONO[:3], CodecError, "expected 3 rows, 5 columns and 1 samples, found 4, 5 and 1"),
        (COLOUR, MONO, CodecError, "1 samples, found 4, 5 and 3"),
        (STREAM.replace(b"\xff\xc3", b"\xff\xc0"), MONO, CodecError, "JPEG baseline, not Huffman"),
        (STREAM.replace(b"\xff\xc3", b"\xff\xf7"), MONO, CodecError, "JPEG LS, not Huffman"),
        (encode(MONO[..., None], Scan(9)), MONO, CodecError, "precision of 9 bits does not fit 8 bits"),
        (
            encode(MONO[..., None], Scan(8, restart_rows=2)).replace(b"\0\4\0\x0a", b"\0\4\0\x0b"),
            MONO,
            CodecError,
            "whole rows",
        ),
        (STREAM[:-2] + b"\x55\xff\xd9", MONO, CodecError, "more data after row 3"),
        (STREAM[:-3] + b"\xff\xd9", MONO, CodecError, "the data end in row 3"),
        (STREAM.replace(b"\xf8\0\0", b"\xf8\xfe\xf0"), MONO, CodecError, "a code that no Huffman table has"),
        (COLOUR.replace(b"\xff\xd1", b"\xff\xd2"), MONO, CodecError, "samples"),
        (STREAM.replace(b"\1\1\0\1\0\0", b"\1\1\x30\1\0\0"), MONO, CodecError, "no Huffman table 3"),
        (STREAM.replace(b"\1\1\0\1\0\0", b"\1\1\0\0\0\0"), MONO, CodecError, "predictor 0"),
        (
            STREAM.replace(b"\xff\xfe", b"").replace(b"\x08\0\4\0\5", b"\x08\0\0\0\5"),
            MONO,
            UnsupportedPixelFormat,
            "DNL",
        ),
    ],
)
def test_damage_is_named(codestream, expected, error, message):
    with pytest.raises(error, match=message):
        decode(codestream, expected)


def test_a_wrong_restart_marker_is_named_with_its_frame():
    frame = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(CodecError, match="frame 1: expected a restart marker after row 1") as caught:
        CODEC.decode([COLOUR, COLOUR.replace(b"\xff\xd1", b"\xff\xd2")], pixels_of(frame))
    assert caught.value.offset == COLOUR.index(b"\xff\xd1")


def test_subsampling_and_32_bits_are_refused():
    frame = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(UnsupportedPixelFormat, match="sampling factors"):
        decode(COLOUR.replace(b"\1\x11\0\2\x11", b"\1\x21\0\2\x11"), frame)
    with pytest.raises(UnsupportedPixelFormat, match="16 bits"):
        decode(STREAM, MONO.astype(np.uint32))


def test_mutated_codestreams():
    outcomes = fuzz_decoders.run("jpeg-lossless", 10_000, seed=20)
    assert outcomes["error"] > 1000
    assert outcomes["exact samples"] > 300


@pytest.fixture
def paired(monkeypatch):
    """Note for each two frames whether they were decoded at the same time."""
    found: list[bool] = []
    honest = lossless._two

    def noted(codestreams, pixels):
        frames = honest(codestreams, pixels)
        found.append(bool(frames))
        return frames

    monkeypatch.setattr(lossless, "_two", noted)
    monkeypatch.setattr(compiling, "is_compiled", lambda _: True)
    monkeypatch.setattr(lossless, "_spared", Spared(0, "pairs"))
    return found


@pytest.mark.parametrize("ready", [False, True])
def test_frames_are_decoded_one_by_one_until_that_has_taken_as_long_as_to_compile(monkeypatch, paired, ready):
    frame = image("gradient", 8, (20, 90))
    codestreams = [bytes(imagecodecs.jpeg8_encode(frame, lossless=True))] * 2
    monkeypatch.setattr(compiling, "is_compiled", lambda _: ready)
    monkeypatch.setattr(lossless, "_spared", Spared(3 * frame.nbytes, "pairs"))
    for _ in range(3):
        np.testing.assert_array_equal(CODEC.decode(codestreams, pixels_of(frame)), [frame] * 2)
    assert [each for each in paired if each] == [True] * (3 if ready else 1)


@pytest.mark.parametrize("selection", range(1, 8))
@pytest.mark.parametrize("bits", [7, 8, 12])
def test_two_frames_at_a_time(selection, bits, paired):
    for shape in ((1, 1), (3, 1), (31, 45), (20, 333, 3), (2, 2, 3)):
        first = image("gradient", bits, shape)
        frames = [first, first[::-1], image("constant", bits, shape)]
        codestreams = [
            bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=selection, bitspersample=bits))
            for frame in frames
        ]
        decoded = CODEC.decode(codestreams, pixels_of(first))
        np.testing.assert_array_equal(decoded, frames)
    assert True in paired


def test_of_two_frames_the_one_that_is_damaged_is_named(paired):
    frame = image("gradient", 8, (20, 90))
    sound = bytes(imagecodecs.jpeg8_encode(frame, lossless=True))
    damaged = sound[: len(sound) // 2] + b"\xff\xd9"
    for number, pair in enumerate(([damaged, sound], [sound, damaged])):
        with pytest.raises(CodecError, match="the data end in row") as caught:
            CODEC.decode(pair, pixels_of(frame))
        assert caught.value.frame == number
    assert True not in paired


def test_two_frames_with_tables_of_their_own(paired):
    frames = [image("gradient", 8, (20, 90, 3)), image("gradient", 9, (20, 90, 3)).astype(np.uint8) * 3]
    one, other = (bytes(imagecodecs.jpeg8_encode(frame, lossless=True)) for frame in frames)
    assert one[:60] != other[:60]
    np.testing.assert_array_equal(CODEC.decode([one, other], pixels_of(frames[0])), frames)
    assert paired == [True]


def test_frames_with_other_predictors_or_restart_intervals_are_decoded_one_by_one(paired):
    frame = image("gradient", 8, (20, 90, 3))
    one, other = (bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=n)) for n in (1, 2))
    np.testing.assert_array_equal(CODEC.decode([one, other], pixels_of(frame)), [frame, frame])
    for how in (Scan(8, restart_rows=2), Scan(8, interleaved=False), Scan(8, tables=(LONG_CODES,))):
        stream = encode(frame, how)
        np.testing.assert_array_equal(CODEC.decode([stream, stream], pixels_of(frame)), [frame, frame])
    assert True not in paired


def test_mutated_codestreams_two_at_a_time():
    outcomes = jpeg_pairs.run(1500, seed=3)
    assert outcomes["error"] > 200
    assert outcomes["exact samples"] > 200


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the folder of real files (CINEMILL_CORPUS) is not here")
def test_real_frames():
    import pydicom
    from pydicom.encaps import generate_frames

    with (CORPUS / "MANIFEST.csv").open(encoding="utf-8") as manifest:
        names = [row["file"] for row in csv.DictReader(manifest) if "SOF3" in row["codestream"]]
    checked = 0
    for name in names:
        dataset = pydicom.dcmread(CORPUS / "files" / name)
        pixels = format_of(dataset)
        for codestream in generate_frames(
            dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)
        ):
            decoded = CODEC.decode([codestream], pixels)[0]
            expected = imagecodecs.jpeg8_decode(codestream)
            np.testing.assert_array_equal(decoded, expected.view(decoded.dtype), err_msg=name)
            np.testing.assert_array_equal(
                decoded.view(expected.dtype), libjpeg.decode(codestream), err_msg=name
            )
            checked += 1
    assert checked >= 20
