"""RLE Lossless against the standard's rules, pydicom, pylibjpeg-rle and a naive decoder."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rle import rle as pylibjpeg_rle

from cinemill.codecs.rle import Rle
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.rle import pack, packed_size, unpack
from cinemill.pixel_format import PixelFormat
from tests.fuzz import decoders as fuzz_decoders
from tests.support import naive_rle
from tests.support.files import CORPUS
from tests.support.guarded_memory import GuardedMemory
from tests.support.pictures import format_of

NATIVE_TWIN = {
    "pydicom_pydicom-data__liver_rle.dcm": "Enet4_dicom-test-files__liver.dcm",
    "pydicom_pydicom-data__liver_nonbyte_aligned_rle.dcm": "pydicom_pydicom-data__liver_nonbyte_aligned.dcm",
}


def pixels_of(frame: np.ndarray, bits: int | None = None) -> PixelFormat:
    samples = 1 if frame.ndim == 2 else frame.shape[2]
    bits = bits or frame.itemsize * 8
    space = "MONOCHROME2" if samples == 1 else "RGB"
    return PixelFormat(frame.shape[0], frame.shape[1], samples, bits, bits, frame.dtype.kind == "i", space)


def codestream_of(*segments: bytes) -> bytes:
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments)])[:-1]
    return header.tobytes() + b"".join(segments)


def decode(codestream: bytes, pixels: PixelFormat) -> np.ndarray:
    return Rle().decode([codestream], pixels)[0]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]),
    st.tuples(st.integers(1, 12), st.integers(1, 400), st.sampled_from([1, 3])),
    st.integers(1, 1 << 20),
)
@settings(max_examples=300, deadline=None)
def test_round_trip(seed, dtype, shape, variety):
    rows, columns, samples = shape
    rng = np.random.default_rng(seed)
    values = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, variety % 50 + 1, dtype, endpoint=True)
    frame = np.repeat(rng.choice(values, rows * columns * samples), variety % 7 + 1)[
        : rows * columns * samples
    ]
    frame = frame.reshape((rows, columns) if samples == 1 else (rows, columns, samples))
    pixels = pixels_of(frame)
    codestream = Rle().encode([frame], pixels)[0]
    decoded = decode(codestream, pixels)
    assert decoded.dtype == frame.dtype
    np.testing.assert_array_equal(decoded, frame)
    planes = pylibjpeg_rle.decode_frame(codestream, rows * columns, pixels.bits_allocated, "<")
    by_plane = frame if samples == 1 else np.ascontiguousarray(frame.transpose(2, 0, 1))
    assert bytes(planes) == by_plane.astype(by_plane.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("columns", [1, 2, 127, 128, 129, 130, 255, 256, 257, 300])
@pytest.mark.parametrize("pattern", [[7], [1, 2], [1, 2, 3], [5, 5, 9], [5, 5, 5, 9], [0, 0, 1, 1, 1]])
def test_a_row_is_packed_by_itself_within_the_bound(columns, pattern):
    """PS3.5 G.3.1: each row separately, three-byte repeats as replicate runs, even length."""
    frame = np.resize(np.array(pattern, np.uint8), (3, columns))
    segment = np.full(packed_size(3, columns), 0xAA, np.uint8)
    length = pack(frame, segment)
    rows = b"".join(bytes(pylibjpeg_rle.encode_row(row.tobytes())) for row in frame)
    assert length % 2 == 0
    assert length <= 3 * (columns + (columns + 127) // 128) + 1
    assert length <= len(rows) + 3 + 1
    assert naive_rle.plane_of(segment[:length].tobytes(), frame.size) == frame.tobytes()
    position, decoded = 0, 0
    while decoded < frame.size:
        control = int(segment[position])
        packet = control + 1 if control < 128 else 257 - control
        assert decoded // columns == (decoded + packet - 1) // columns
        if control < 128:
            literal = segment[position + 1 : position + 1 + packet].astype(int)
            assert not ((np.diff(literal)[:-1] == 0) & (np.diff(literal)[1:] == 0)).any()
        decoded += packet
        position += 1 + packet if control < 128 else 2


def test_the_output_buffer_of_pack_is_checked():
    frame = np.zeros((2, 10), np.uint8)
    assert pack(frame, np.empty(packed_size(2, 10) - 1, np.uint8)) == -1


def test_nothing_is_touched_outside_the_buffers():
    rng = np.random.default_rng(7)
    plane_memory, segment_memory = GuardedMemory(), GuardedMemory()
    for _ in range(3000):
        rows, columns = (int(size) for size in rng.integers(1, 300, 2) // rng.integers(1, 60, 2) + 1)
        plane = plane_memory.array(rows * columns)
        plane[:] = np.repeat(rng.integers(0, 256, plane.size, np.uint8), int(rng.integers(1, 9)))[
            : plane.size
        ]
        expected = plane.copy()
        capacity = packed_size(rows, columns)
        length = pack(plane.reshape(rows, columns), segment_memory.array(capacity))
        segment = segment_memory.copy(segment_memory.array(capacity)[:length].tobytes())
        plane[:] = 0
        assert unpack(segment, 0, length, plane)[1] == plane.size
        np.testing.assert_array_equal(plane, expected)
        segment[:] = rng.integers(0, 256, length, np.uint8)
        position, written, _ = unpack(segment, 0, length, plane)
        assert 0 <= position <= length
        assert 0 <= written <= plane.size


def test_golden_bytes():
    frame = np.array([[1, 1, 1, 1, 2, 3], [4, 4, 5, 6, 6, 6]], np.uint8)
    expected = codestream_of(bytes.fromhex("fd01010203 02040405 fe06".replace(" ", "")) + b"\0")
    assert Rle().encode([frame], pixels_of(frame)) == [expected]
    wide = np.array([[0x0102, 0x0104]], np.uint16)
    assert Rle().encode([wide], pixels_of(wide)) == [codestream_of(b"\xff\x01", b"\x01\x02\x04\x00")]


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 1, 4), (2, 3, 2), (2, 3, 3)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_frames_do_not_share_memory(shape, dtype):
    if np.dtype(dtype).itemsize * np.prod(shape[2:]) > 15:
        pytest.skip("more than 15 segments")
    frames = [np.full(shape, value, dtype) for value in (1, 2, 3)]
    pixels = pixels_of(frames[0])
    decoded = Rle().decode(Rle().encode(frames, pixels), pixels)
    np.testing.assert_array_equal(decoded, frames)


def test_every_fragment_of_a_call_and_its_frame_number():
    frame = np.arange(12, dtype=np.uint8).reshape(3, 4)
    pixels = pixels_of(frame)
    codestreams = Rle().encode([frame, frame + 1], pixels)
    np.testing.assert_array_equal(
        Rle().decode([memoryview(stream) for stream in codestreams], pixels), [frame, frame + 1]
    )
    with pytest.raises(
        CodecError, match=r"frame 1: RLE segment 1 of 1: expected 12 bytes, found 11 \(at byte 78\)"
    ):
        Rle().decode([codestreams[0], codestreams[1][:-2]], pixels)


@pytest.mark.parametrize("padding", [b"", b"\0", b"\x80", b"\0\0\0\0", b"\x00\x07", b"\x80\x80"])
def test_padding_and_one_byte_too_many_are_accepted(padding):
    pixels = PixelFormat(2, 3, 1, 8, 8, signed=False, photometric_interpretation="MONOCHROME2")
    np.testing.assert_array_equal(decode(codestream_of(b"\xfb\x09" + padding), pixels), np.full((2, 3), 9))
    np.testing.assert_array_equal(
        decode(codestream_of(b"\xfa\x09" + padding[:1]), pixels), np.full((2, 3), 9)
    )


@pytest.mark.parametrize(
    ("codestream", "message"),
    [
        (b"\1" * 63, "64 bytes, found 63"),
        (codestream_of(b"\xfb\x09", b"\xfb\x09"), "expected 1 RLE segments, found 2"),
        (codestream_of(b"\xfb\x09")[:4] + b"\x41\0\0\x7f" + bytes(56) + b"\xfb\x09", "said to lie at"),
        (codestream_of(b"\xfc\x09"), "expected 6 bytes, found 5"),
        (codestream_of(b"\xfd\x09\x05\x01"), "expected 6 bytes, found 5"),
        (codestream_of(b"\xfd\x09\xff"), "expected 6 bytes, found 4"),
        (codestream_of(b"\xf9\x09"), "expected 6 bytes, found more"),
        (codestream_of(b"\xfb\x09\xff\x01"), "expected 6 bytes, found more"),
    ],
)
def test_damage_is_named(codestream, message):
    pixels = PixelFormat(2, 3, 1, 8, 8, signed=False, photometric_interpretation="MONOCHROME2")
    with pytest.raises(CodecError, match=message):
        decode(codestream, pixels)


@pytest.mark.parametrize("columns", [13, 16])
def test_one_bit_frames_are_read_packed_and_a_byte_a_pixel(columns):
    rng = np.random.default_rng(4)
    frame = (rng.random((5, columns)) < 0.3).astype(np.uint8)
    pixels = pixels_of(frame, bits=1)
    np.testing.assert_array_equal(decode(Rle().encode([frame], pixels)[0], pixels), frame)
    by_byte = pylibjpeg_rle.encode_frame(frame.tobytes(), *frame.shape, 1, 1, "<")
    np.testing.assert_array_equal(decode(bytes(by_byte), pixels), frame)
    packed = np.packbits(frame, bitorder="little").tobytes()
    np.testing.assert_array_equal(decode(codestream_of(bytes([len(packed) - 1]) + packed), pixels), frame)
    with pytest.raises(CodecError, match="neither 0 nor 1"):
        decode(codestream_of(bytes([frame.size - 1, 2]) + bytes(frame.size - 1)), pixels)


@pytest.mark.parametrize(("samples", "bits"), [(1, 12), (1, 64), (4, 32), (16, 8), (3, 1)])
def test_what_the_format_cannot_hold(samples, bits):
    pixels = PixelFormat(2, 2, samples, bits, 1, signed=False, photometric_interpretation="RGB")
    with pytest.raises(UnsupportedPixelFormat, match="RLE Lossless holds"):
        Rle().encode([np.zeros(pixels.shape, np.uint8)], pixels)


def test_mutated_codestreams():
    outcomes = fuzz_decoders.run("rle", 10_000, seed=20)
    assert outcomes["error"] > 1000
    assert outcomes["exact samples"] > 1000


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the folder of real files (CINEMILL_CORPUS) is not here")
def test_real_frames_as_pydicom():
    import pydicom
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders import RLELosslessDecoder

    checked = 0
    with (CORPUS / "MANIFEST.csv").open(encoding="utf-8") as manifest:
        names = [row["file"] for row in csv.DictReader(manifest) if row["ts_name"] == "RLE Lossless"]
    for path in (CORPUS / "files" / name for name in names):
        dataset = pydicom.dcmread(path)
        frames = int(dataset.get("NumberOfFrames") or 1)
        pixels = format_of(dataset)
        codestreams = list(generate_frames(dataset.PixelData, number_of_frames=frames))
        decoded = Rle().decode(codestreams, pixels)
        if pixels.bits_allocated > 1:
            expected, _ = RLELosslessDecoder.as_array(dataset, raw=True, decoding_plugin="pydicom")
        else:
            native = path.with_name(NATIVE_TWIN[path.name])
            expected = pydicom.dcmread(native).pixel_array
        np.testing.assert_array_equal(np.reshape(decoded, expected.shape), expected, err_msg=path.name)
        assert len(decoded) == frames
        again = Rle().decode(Rle().encode(decoded, pixels), pixels)
        np.testing.assert_array_equal(again, decoded)
        checked += frames
    assert checked >= 40
