"""JPEG XL: every format that is written against a decoder of others, and everything that is read."""

import struct
from importlib.util import find_spec
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.codecs import table
from cinemill.codecs.codestream import read_codestream
from cinemill.codecs.jpeg_xl.boxes import bare_codestream, has_boxes
from cinemill.codecs.jpeg_xl.headers import read_header
from cinemill.errors import CinemillError, CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.support import oracle
from tests.support.generate import (
    EXPLICIT,
    JPEG_XL,
    JPEG_XL_JPEG,
    JPEG_XL_LOSSLESS,
    encapsulated_element,
    header,
    jpeg,
    jpeg_xl,
    native_bytes,
    native_element,
    noise,
    part10,
    smooth,
)

independent = pytest.mark.skipif(
    find_spec("micro_reader_codecs") is None, reason="not installed: micro-reader-codecs (jxl-oxide)"
)
FORMATS = [
    (label, bits, signed)
    for label in ("MONOCHROME1", "MONOCHROME2", "RGB")
    for bits in range(1, 17)
    for signed in (False, True)
    if not (signed and (bits == 1 or label == "RGB"))
]


def native(label, bits, *, signed=False):
    samples = 3 if label == "RGB" else 1
    frames = noise((2, 19, 21, 3) if samples == 3 else (2, 19, 21), bits, signed=signed)
    dataset = header(frames, label, samples=samples, bits_stored=bits)
    return frames, part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT)


def encapsulated(streams, frames, syntax, label="MONOCHROME2", **elements):
    samples = 3 if frames.ndim == 4 else 1
    dataset = header(frames, label, samples=samples, **elements)
    return part10(dataset, encapsulated_element([[stream] for stream in streams]), syntax)


@pytest.mark.parametrize(("label", "bits", "signed"), FORMATS)
def test_every_format_that_is_written_holds_its_samples(transcode, label, bits, signed):
    frames, source = native(label, bits, signed=signed)
    result = transcode(source, "jpeg-xl")
    assert result.dataset.file_meta.TransferSyntaxUID == JPEG_XL_LOSSLESS
    assert (result.dataset.PhotometricInterpretation, result.dataset.BitsStored) == (label, bits)
    for stream in pydicom.encaps.generate_frames(result.dataset.PixelData, number_of_frames=2):
        assert stream.startswith(b"\xff\x0a")
        assert read_header(stream).precision == bits
    with cinemill.open(result.path) as cine:
        np.testing.assert_array_equal(cine[:], frames)
    by_libjxl = [
        imagecodecs.jpegxl_decode(stream)
        for stream in pydicom.encaps.generate_frames(result.dataset.PixelData, number_of_frames=2)
    ]
    np.testing.assert_array_equal(oracle.low_bits(np.stack(by_libjxl), bits, signed=signed), frames)


@independent
@pytest.mark.parametrize(("label", "bits", "signed"), FORMATS)
def test_every_format_that_is_written_is_read_alike_by_a_decoder_that_shares_no_code(
    transcode, label, bits, signed
):
    frames, source = native(label, bits, signed=signed)
    result = transcode(source, "jpeg-xl", verify="independent")
    assert "jxl-oxide" in result.receipt.verification
    np.testing.assert_array_equal(result.reading.frames, frames)


def test_a_verification_that_is_not_independent_says_so(transcode, monkeypatch):
    monkeypatch.setattr(table, "_is_installed", lambda name: name != "JxlOxide")
    result = transcode(native("MONOCHROME2", 8)[1], "jpeg-xl", verify="independent")
    assert any(
        "no decoder is installed that shares no code with libjxl" in told for told in result.receipt.warnings
    )
    assert transcode(native("MONOCHROME2", 8)[1], "jpeg-xl").receipt.warnings == ()


@pytest.mark.parametrize(
    "shape",
    [(8, 8), (256, 256), (480, 640), (1, 1), (1, 300), (600, 3), (7, 9), (64, 96), (90, 160), (80, 64)],
)
def test_the_header_says_the_size_however_it_is_coded(shape):
    for stream in (jpeg_xl(noise(shape)), jpeg_xl(noise((*shape, 3)), distance=1)):
        found = read_header(stream)
        assert (found.rows, found.columns) == shape
    assert found.components == 3
    assert found.xyb
    assert not found.lossless


def test_codestreams_are_read_bare_and_in_boxes_but_only_written_bare(transcode):
    frames = noise((3, 40, 50), 16)
    bare = [bytes(bare_codestream(jpeg_xl(frame))) for frame in frames]
    assert all(has_boxes(jpeg_xl(frame, boxes=True)) for frame in frames)
    whole = bare[2]
    parts = b"".join(
        struct.pack(">L4sL", 12 + len(part), b"jxlp", number) + part
        for number, part in ((0, whole[:30]), (1 | 1 << 31, whole[30:]))
    )
    signature = jpeg_xl(frames[2], boxes=True)[:32]
    streams = [bare[0], jpeg_xl(frames[1], boxes=True), signature + parts]
    result = transcode(encapsulated(streams, frames, JPEG_XL_LOSSLESS), "rle")
    np.testing.assert_array_equal(result.reading.frames, frames)
    again = transcode(result.path.read_bytes(), "jpeg-xl")
    written = pydicom.encaps.generate_frames(again.dataset.PixelData, number_of_frames=3)
    assert not any(has_boxes(stream) for stream in written)


def test_several_fragments_without_an_offset_table_are_told_apart_by_their_beginnings():
    frames = noise((3, 60, 70))
    streams = [jpeg_xl(frame, boxes=index == 1) for index, frame in enumerate(frames)]
    element = encapsulated_element([[s[:600], s[600:]] for s in streams], table="empty")
    with cinemill.open(part10(header(frames), element, JPEG_XL_LOSSLESS)) as cine:
        np.testing.assert_array_equal(cine[:], frames)


def test_signed_samples_are_two_s_complement_in_bits_stored(transcode):
    frames = noise((1, 9, 9), 12, signed=True)
    stream = jpeg_xl(frames[0].view("u2") & 0xFFF, bits=12)
    source = encapsulated([stream], frames, JPEG_XL_LOSSLESS, bits_stored=12)
    np.testing.assert_array_equal(transcode(source, "explicit").reading.frames, frames)


@pytest.mark.parametrize("label", ["RGB", "XYB", "YBR_FULL_422"])
@pytest.mark.parametrize("syntax", [JPEG_XL, JPEG_XL_JPEG])
def test_lossy_colour_comes_out_as_rgb_and_is_never_called_lossless(transcode, label, syntax):
    frame = smooth((64, 64, 3))
    source = encapsulated([jpeg_xl(frame, distance=0.5)], frame[None], syntax, label)
    result = transcode(source, "explicit")
    assert result.receipt.lossy_source
    assert result.receipt.warnings == ()
    assert result.dataset.PhotometricInterpretation == "RGB"
    assert np.abs(result.reading.frames[0].astype(int) - frame).mean() < 4
    assert result.dataset.LossyImageCompression == "01"
    assert result.dataset.LossyImageCompressionMethod == "ISO_18181_1"


def test_lossy_grey_is_read(transcode):
    frame = smooth((64, 64))
    result = transcode(encapsulated([jpeg_xl(frame, distance=1)], frame[None], JPEG_XL), "jpeg-ls")
    assert np.abs(result.reading.frames[0].astype(int) - frame).max() < 8
    assert result.receipt.lossy_source


def test_a_lossy_codestream_that_is_declared_lossless_is_named(transcode):
    frame = smooth((64, 64))
    result = transcode(encapsulated([jpeg_xl(frame, distance=1)], frame[None], JPEG_XL_LOSSLESS), "rle")
    assert any("declared, but the codestream is lossy" in warning for warning in result.receipt.warnings)
    assert result.dataset.LossyImageCompression == "01"


def test_a_lossless_codestream_keeps_the_colour_of_its_label(transcode):
    frame = noise((9, 9, 3))
    source = encapsulated([jpeg_xl(frame)], frame[None], JPEG_XL_LOSSLESS, "YBR_FULL")
    result = transcode(source, "jpeg-2000", colour="keep")
    assert result.reading.interpretation == "YBR_FULL"
    np.testing.assert_array_equal(result.reading.frames[0], frame)


def test_a_lossy_history_stays_as_it_was_told(transcode):
    told: dict[str, Any] = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    frame = noise((9, 9))
    source = part10(header(frame[None], **told), native_element(frame.tobytes(), EXPLICIT), EXPLICIT)
    result = transcode(source, "jpeg-xl")
    assert {name: str(result.dataset[name].value) for name in told} == told


@pytest.mark.parametrize("cut", [1, 40, 400, 3000])
def test_a_codestream_that_ends_too_early_fails_with_its_frame(transcode, cut):
    frames = noise((2, 60, 70))
    whole, other = (jpeg_xl(frame) for frame in frames)
    even = (
        (len(other) - cut) // 2 * 2
    )  # the byte that fills a fragment of odd length would stand for the first one that is missing
    with pytest.raises(CodecError) as raised:
        transcode(encapsulated([whole, other[:even]], frames, JPEG_XL_LOSSLESS), "rle")
    assert raised.value.frame == 1


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (lambda: jpeg_xl(noise((9, 8))), "9 rows, 9 columns"),
        (lambda: jpeg_xl(noise((9, 9, 4))), "extra channels"),
        (lambda: bytes(imagecodecs.jpegxl_encode(np.zeros((9, 9), "f4"))), "floating point"),
        (lambda: bytes(32), "found 00 00 00 00"),
        (lambda: b"\xff\x0a", "take at least|ends inside its header"),
    ],
)
def test_what_is_no_frame_of_the_image_is_refused(transcode, stream, message):
    frames = noise((1, 9, 9))
    with pytest.raises((CodecError, UnsupportedPixelFormat), match=message):
        transcode(encapsulated([stream()], frames, JPEG_XL_LOSSLESS), "rle")


def test_no_damaged_header_does_anything_but_raise():
    rng = np.random.default_rng(0)
    whole = [
        jpeg_xl(noise((70, 90, 3))),
        jpeg_xl(smooth((70, 90, 3)), distance=1),
        jpeg_xl(noise((9, 9), 12)),
    ]
    for number in range(3000):
        data = bytearray(whole[number % 3][:60])
        for place in rng.integers(2, len(data), 1 + number % 4):
            data[place] = rng.integers(256)
        try:
            read_codestream(bytes(data[: rng.integers(1, len(data))]))
        except CinemillError:
            continue


def test_a_small_codestream_that_promises_a_huge_frame_is_refused():
    pixels = PixelFormat(60000, 60000, 1, 8, 8, False, "MONOCHROME2")  # noqa: FBT003
    with pytest.raises(CodecError, match="expected 60000 rows"):
        table.decoder("jpeg-xl").decode([jpeg_xl(noise((9, 9)))], pixels)


def test_palettes_and_deep_samples_are_refused_by_name(transcode):
    frames = noise((1, 9, 9), 32)
    source = part10(header(frames), native_element(native_bytes(frames), EXPLICIT), EXPLICIT)
    with pytest.raises(UnsupportedPixelFormat, match="jpeg-xl holds 1 to 16 bits of MONOCHROME2"):
        transcode(source, "jpeg-xl")
    grey = noise((1, 9, 9))
    source = part10(header(grey, "PALETTE COLOR"), native_element(native_bytes(grey), EXPLICIT), EXPLICIT)
    with pytest.raises(UnsupportedPixelFormat, match="can't hold PALETTE COLOR"):
        transcode(source, "jpeg-xl")


def test_ycbcr_becomes_rgb_for_jpeg_xl_has_no_label_for_it(transcode):
    frame = smooth((16, 16, 3))
    source = part10(
        header(frame[None], "YBR_FULL_422", samples=3),
        encapsulated_element([[jpeg(frame)]]),
        "1.2.840.10008.1.2.4.50",
    )
    result = transcode(source, "jpeg-xl")
    assert result.receipt.photometric_interpretation_after == "RGB"
    with pytest.raises(UnsupportedPixelFormat, match="can't hold YBR_FULL"):
        transcode(source, "jpeg-xl", colour="keep")
