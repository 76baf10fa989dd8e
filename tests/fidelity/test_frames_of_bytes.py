"""Frames that are wrapped or deflated one by one: any depth, single bits too, against readers of others."""

import struct
import zlib

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.support.generate import (
    EXPLICIT,
    encapsulated_element,
    header,
    native_bytes,
    native_element,
    noise,
    part10,
)

UIDS = {"encapsulated": "1.2.840.10008.1.2.1.98", "deflated-frame": "1.2.840.10008.1.2.8.1"}
FORMATS = [
    (label, bits, signed)
    for label in ("MONOCHROME1", "PALETTE COLOR", "RGB")
    for bits, signed in ((8, False), (8, True), (12, False), (16, True), (24, False), (32, False), (32, True))
]


def bare(target, stream):
    """Undo what a target does to the bytes of a frame, by zlib's own inflation."""
    return stream if target == "encapsulated" else zlib.decompress(stream, -zlib.MAX_WBITS)


@pytest.mark.parametrize("target", UIDS)
@pytest.mark.parametrize(("label", "bits", "signed"), [*FORMATS, ("YBR_FULL", 8, False)])
def test_frames_of_any_depth_hold_their_samples(transcode, target, label, bits, signed):
    samples = 3 if label in {"RGB", "YBR_FULL"} else 1
    shape = (3, 5, 7, 3) if samples == 3 else (3, 5, 7)
    frames = noise(shape, bits, signed=signed)
    dataset = header(frames, label, samples=samples, bits_stored=bits)
    source = part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT)
    result = transcode(source, target, colour="keep")
    assert result.dataset.file_meta.TransferSyntaxUID == UIDS[target]
    assert result.dataset.BitsStored == bits
    np.testing.assert_array_equal(result.reading.frames, frames)
    back = transcode(result.path.read_bytes(), "explicit", colour="keep")
    np.testing.assert_array_equal(back.reading.frames, frames)


@pytest.mark.parametrize("target", UIDS)
def test_each_frame_of_single_bits_begins_at_a_byte_of_its_own_fragment(transcode, target):
    frames = np.random.default_rng(1).integers(0, 2, (4, 5, 7), np.uint8)
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    result = transcode(part10(dataset, native_element(packed, EXPLICIT), EXPLICIT), target)
    streams = list(pydicom.encaps.generate_frames(result.dataset.PixelData, number_of_frames=4))
    for frame, stream in zip(frames, streams, strict=True):
        bits = np.unpackbits(np.frombuffer(bare(target, stream), np.uint8), bitorder="little")
        np.testing.assert_array_equal(bits[:35].reshape(5, 7), frame)
    back = transcode(result.path.read_bytes(), "explicit")
    np.testing.assert_array_equal(back.reading.frames, frames)


@pytest.mark.parametrize("target", UIDS)
def test_fragments_are_even_and_in_a_basic_offset_table(transcode, target):
    frames = noise((3, 5, 7))
    result = transcode(part10(header(frames), native_element(frames.tobytes(), EXPLICIT), EXPLICIT), target)
    offsets = pydicom.encaps.parse_basic_offsets(result.dataset.PixelData)
    assert len(offsets) == 3
    data = result.dataset.PixelData
    first = 8 + 4 * 3
    for offset, frame in zip(offsets, frames, strict=True):
        length = struct.unpack_from("<L", data, first + offset + 4)[0]
        assert length % 2 == 0
        stream = data[first + offset + 8 : first + offset + 8 + length]
        assert bare(target, stream)[:35] == frame.tobytes()


@pytest.mark.parametrize("target", UIDS)
def test_planes_become_pixels(transcode, target):
    frames = noise((2, 4, 6, 3))
    dataset = header(frames, "RGB", samples=3, PlanarConfiguration=1)
    element = native_element(native_bytes(frames, planar=True), EXPLICIT)
    result = transcode(part10(dataset, element, EXPLICIT), target)
    assert result.dataset.PlanarConfiguration == 0
    np.testing.assert_array_equal(result.reading.frames, frames)


def test_big_endian_samples_become_little_endian(transcode):
    frames = noise((2, 4, 6), 16)
    big = "1.2.840.10008.1.2.2"
    element = native_element(native_bytes(frames, big_endian=True), big)
    for target in UIDS:
        result = transcode(part10(header(frames), element, big), target)
        np.testing.assert_array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("target", UIDS)
def test_floating_point_pixels_are_refused(transcode, target):
    frames = np.ones((1, 4, 4), np.float32)
    dataset = header(frames.view(np.uint32))
    element = native_element(frames.tobytes(), EXPLICIT, vr=b"OF", tag=0x7FE00008)
    with pytest.raises(UnsupportedPixelFormat, match="floating point"):
        transcode(part10(dataset, element, EXPLICIT), target)


def test_a_deflated_frame_that_is_cut_short_fails_with_its_index():
    frames = noise((2, 40, 40))
    streams = [zlib.compress(frame.tobytes(), wbits=-15) for frame in frames]
    element = encapsulated_element([[streams[0]], [streams[1][:-40]]])
    with cinemill.open(part10(header(frames), element, UIDS["deflated-frame"])) as cine:
        np.testing.assert_array_equal(cine[0], frames[0])
        with pytest.raises(CodecError, match="ends too early") as raised:
            cine[1]
    assert raised.value.frame == 1
