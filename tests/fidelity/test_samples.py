"""Sample values are exact: signs, unused bits, overlays, single bits, wide integers, both byte orders."""

from __future__ import annotations

import zlib

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import generate_frames
from rle.utils import decode_pixel_data

import cinemill
from cinemill.codecs.rle import Rle
from cinemill.errors import Refused, UnsupportedPixelFormat, VerificationError
from tests.support import oracle
from tests.support.generate import (
    BIG_ENDIAN,
    DEFLATED,
    DEFLATED_FRAME,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG_2000,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated_element,
    encode,
    header,
    htj2k,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
)

TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit")
CODED = ("jpeg-ls", "jpeg-2000", "htj2k")


def native(frames, syntax=EXPLICIT, vr=b"OW", *, label="MONOCHROME2", **elements):
    samples = 3 if frames.ndim == 4 else 1
    dataset = header(frames, label, samples=samples, **elements)
    big = syntax == BIG_ENDIAN
    data = native_bytes(frames, big_endian=big, words=vr == b"OW")
    return part10(dataset, native_element(data, syntax, vr), syntax)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [2, 7, 8, 9, 10, 12, 13, 15, 16])
def test_every_depth_and_sign(transcode, target, signed, bits):
    frames = noise((3, 9, 11), bits, signed=signed)
    result = transcode(native(frames, bits_stored=bits), target)
    assert np.array_equal(result.reading.frames, frames)
    assert (result.dataset.BitsStored, result.dataset.PixelRepresentation) == (bits, int(signed))
    assert result.receipt.warnings == ()


@pytest.mark.parametrize("target", TARGETS)
def test_eight_bits_in_sixteen(transcode, target):
    frames = noise((3, 9, 11)).astype(np.uint16)
    result = transcode(native(frames, bits_stored=8), target)
    assert np.array_equal(result.reading.frames, frames)
    assert (result.dataset.BitsAllocated, result.dataset.BitsStored, result.dataset.HighBit) == (16, 8, 7)


@pytest.mark.parametrize("target", CODED)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_junk_above_bits_stored_is_cleared_and_reported(transcode, target, signed):
    frames = noise((3, 9, 11), 16, signed=signed)
    result = transcode(native(frames, bits_stored=12), target)
    assert np.array_equal(result.reading.frames, oracle.low_bits(frames, 12, signed=signed))
    assert any("Bits Stored 12" in warning for warning in result.receipt.warnings)
    assert result.dataset.BitsStored == 12


@pytest.mark.parametrize("target", ["rle", "implicit", "deflated"])
def test_junk_above_bits_stored_stays_where_there_is_room(transcode, target):
    frames = noise((3, 9, 11), 16)
    result = transcode(native(frames, bits_stored=12), target)
    assert np.array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("target", CODED)
@pytest.mark.parametrize("frames_number", [1, 3])
@pytest.mark.parametrize("columns", [11, 16])
def test_overlays_in_high_bits_move_to_overlay_data(transcode, target, frames_number, columns):
    """PS3.3 C.9.2, PS3.5 §8.1.2: one bit a pixel, lowest bit first, all frames."""
    samples = noise((frames_number, 9, columns), 12)
    planes = {0x6000: noise(samples.shape, 1, seed=1), 0x6002: noise(samples.shape, 1, seed=2)}
    frames = samples | planes[0x6000].astype(np.uint16) << 12 | planes[0x6002].astype(np.uint16) << 15
    dataset = header(frames, bits_stored=12)
    for group, position in ((0x6000, 12), (0x6002, 15)):
        dataset.add_new((group, 0x0010), "US", 9)
        dataset.add_new((group, 0x0011), "US", columns)
        dataset.add_new((group, 0x0040), "CS", "G")
        dataset.add_new((group, 0x0050), "SS", [1, 1])
        dataset.add_new((group, 0x0100), "US", 16)
        dataset.add_new((group, 0x0102), "US", position)
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), target)
    assert np.array_equal(result.reading.frames, samples)
    for group, plane in planes.items():
        data = result.dataset[group, 0x3000].value
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        assert np.array_equal(bits[: plane.size].reshape(plane.shape), plane)
        assert not bits[plane.size :].any()
        assert len(data) % 2 == 0
        assert (result.dataset[group, 0x0100].value, result.dataset[group, 0x0102].value) == (1, 0)
        if frames_number > 1:
            assert result.dataset[group, 0x0015].value == frames_number
    assert any("6000,3000" in warning and "6002,3000" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize(("stored", "position"), [(12, 5), (12, 16), (16, 12)])
def test_overlay_bits_inside_the_samples_are_samples(transcode, stored, position):
    frames = noise((1, 8, 16), 16) & np.uint16((1 << stored) - 1)
    dataset = header(frames, bits_stored=stored)
    dataset.add_new((0x6000, 0x0010), "US", 8)
    dataset.add_new((0x6000, 0x0011), "US", 16)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", position)
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), "jpeg-ls")
    assert np.array_equal(result.reading.frames, frames)
    assert (0x6000, 0x3000) not in result.dataset
    assert not result.receipt.warnings


def test_overlay_data_of_its_own_is_left_alone(transcode):
    frames = noise((1, 8, 16), 16)
    dataset = header(frames, bits_stored=12)
    dataset.add_new((0x6000, 0x0010), "US", 8)
    dataset.add_new((0x6000, 0x0011), "US", 16)
    dataset.add_new((0x6000, 0x0100), "US", 1)
    dataset.add_new((0x6000, 0x0102), "US", 0)
    dataset.add_new((0x6000, 0x3000), "OW", noise((16,)).tobytes())
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), "jpeg-ls")
    assert result.dataset[0x6000, 0x3000].value == noise((16,)).tobytes()
    assert np.array_equal(result.reading.frames, frames & 0xFFF)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned header", "signed header"])
@pytest.mark.parametrize("target", ["explicit", "jpeg-ls", "htj2k"])
def test_sign_of_jpeg_2000_yields_to_pixel_representation(transcode, signed, target):
    """SIZ says the opposite: the 12 coded bits are read as Pixel Representation says."""
    coded = noise((40, 50), 12, signed=not signed)
    wanted = oracle.low_bits(coded, 12, signed=signed).astype("i2" if signed else "u2")
    dataset = header(wanted[None], bits_stored=12)
    source = part10(dataset, encapsulated_element([[jpeg_2000(coded, bits=12)]]), JPEG_2000)
    result = transcode(source, target)
    assert np.array_equal(result.reading.frames[0], wanted)
    assert any("Pixel Representation" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("coded_bits", [12, 16])
@pytest.mark.parametrize("target", ["explicit", "jpeg-2000", "rle"])
def test_jpeg_ls_has_no_sign_of_its_own(transcode, coded_bits, target):
    """12 signed bits, coded as their two's complement in 12 bits, or extended to 16."""
    frames = noise((1, 40, 50), 12, signed=True)
    stream = jpeg_ls_stream(frames[0].view(np.uint16) & ((1 << coded_bits) - 1), bits=coded_bits)
    result = transcode(
        part10(header(frames, bits_stored=12), encapsulated_element([[stream]]), JPEG_LS), target
    )
    assert np.array_equal(result.reading.frames, frames)
    assert result.dataset.BitsStored == 12


@pytest.mark.parametrize("target", ["explicit", "jpeg-2000"])
def test_signed_samples_masked_inside_a_deeper_codestream(transcode, target):
    """Encoders given masked samples write 12-bit two's complement as 16 bits: bit 11 is still the sign."""
    frames = noise((1, 40, 50), 12, signed=True)
    stream = jpeg_ls_stream(frames[0].view(np.uint16) & 0xFFF, bits=16)
    result = transcode(
        part10(header(frames, bits_stored=12), encapsulated_element([[stream]]), JPEG_LS), target
    )
    assert np.array_equal(oracle.low_bits(result.reading.frames[0], 12, signed=True), frames[0])
    assert result.dataset.BitsStored == 12


@pytest.mark.parametrize("stored", [12, 14, 16])
@pytest.mark.parametrize("encode", [jpeg_lossless, jpeg_ls_stream], ids=["jpeg-lossless", "jpeg-ls"])
def test_a_sign_that_the_codestream_is_too_short_for_is_told(transcode, encode, stored):
    """Other decoders differ here: DCMTK takes no bit for the sign, and pydicom does so in JPEG-LS alone."""
    frames = noise((1, 40, 50), 12, signed=True)
    stream = encode(frames[0].view(np.uint16) & 0xFFF, bits=12)
    syntax = JPEG_LOSSLESS if encode is jpeg_lossless else JPEG_LS
    source = part10(header(frames, bits_stored=stored), encapsulated_element([[stream]]), syntax)
    result = transcode(source, "explicit")
    assert np.array_equal(result.reading.frames, frames)
    assert ("read as the sign" in " ".join(result.receipt.warnings)) == (stored > 12)


@pytest.mark.parametrize("target", TARGETS)
def test_bits_stored_is_raised_where_the_codestream_uses_more(transcode, target):
    frames = noise((1, 40, 50), 12)
    source = part10(
        header(frames, bits_stored=10), encapsulated_element([[jpeg_lossless(frames[0], 12)]]), JPEG_LOSSLESS
    )
    result = transcode(source, target)
    assert np.array_equal(result.reading.frames, frames)
    assert (result.dataset.BitsStored, result.dataset.HighBit) == (12, 11)
    assert any("Bits Stored" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 5, 7), (3, 5, 7), (2, 16, 8), (9, 1, 1)])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
@pytest.mark.parametrize("target", ["rle", "jpeg-2000", "htj2k", "explicit", "implicit", "deflated"])
def test_single_bits_across_byte_borders(transcode, shape, syntax, target):
    """Frames of single bits follow each other without padding (PS3.5 §8.1.1)."""
    frames = noise(shape, 1)
    data = np.packbits(frames, axis=None, bitorder="little").tobytes()
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    result = transcode(part10(dataset, native_element(data, syntax), syntax), target)
    assert np.array_equal(result.reading.frames, frames)
    back = transcode(result.path.read_bytes(), "explicit")
    assert back.dataset.PixelData == data + bytes(len(data) % 2)
    assert back.dataset.BitsAllocated == 1


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (2, 16, 8), (1, 40, 50)])
def test_single_bits_are_a_byte_each_in_rle(transcode, shape):
    """A code that fills no byte is padded with zero bits to one (PS3.5 G.2): so pylibjpeg-rle reads and writes it."""
    frames = noise(shape, 1)
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    data = np.packbits(frames, axis=None, bitorder="little").tobytes()
    result = transcode(part10(dataset, native_element(data, EXPLICIT), EXPLICIT), "rle")
    assert result.dataset.BitsAllocated == 1
    streams = list(generate_frames(result.dataset.PixelData, number_of_frames=shape[0]))
    for stream, frame in zip(streams, frames, strict=True):
        decoded = decode_pixel_data(stream, version=2, rows=shape[1], columns=shape[2], bits_allocated=1)
        assert decoded == frame.tobytes()
    assert not result.receipt.warnings


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 16, 8), (1, 2, 2)])
@pytest.mark.parametrize("target", ["explicit", "jpeg-2000"])
def test_rle_of_packed_bits_is_read_with_a_warning(transcode, tmp_path, shape, target):
    frames = noise(shape, 1)
    packed = np.packbits(frames.reshape(shape[0], -1), axis=1, bitorder="little")
    streams = [[rle_stream(frame[None])] for frame in packed]
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    result = transcode(part10(dataset, encapsulated_element(streams), RLE), target)
    assert np.array_equal(result.reading.frames, frames)
    assert any("eight 1-bit pixels a byte" in warning for warning in result.receipt.warnings)
    receipt = cinemill.extract(tmp_path / "source.dcm", tmp_path / "arrays", format="npy")
    assert np.array_equal([np.load(path) for path in sorted((tmp_path / "arrays").iterdir())], frames)
    assert any("eight 1-bit pixels a byte" in warning for warning in receipt.warnings)


@pytest.mark.parametrize("level", ["full", "independent"])
def test_packed_bits_in_an_output_are_noticed(transcode, monkeypatch, level):
    """The decoders that check what was written take one form only."""
    frames = noise((2, 5, 7), 1)
    data = np.packbits(frames, axis=None, bitorder="little").tobytes()
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    monkeypatch.setattr(
        Rle,
        "encode",
        lambda _, frames, __: [rle_stream(np.packbits(frame, bitorder="little")[None]) for frame in frames],
    )
    with pytest.raises(VerificationError, match="found 5"):
        transcode(part10(dataset, native_element(data, EXPLICIT), EXPLICIT), "rle", verify=level)


def test_single_bits_are_refused_by_jpeg_ls(transcode):
    frames = noise((1, 8, 8), 1)
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    source = part10(dataset, native_element(np.packbits(frames).tobytes(), EXPLICIT), EXPLICIT)
    with pytest.raises(UnsupportedPixelFormat, match="2 to 16 bits"):
        transcode(source, "jpeg-ls")


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_32_bits_go_where_they_fit(transcode, syntax, signed):
    frames = noise((2, 5, 7), 32, signed=signed)
    source = native(frames, syntax)
    for target in ("explicit", "implicit", "deflated", "rle"):
        assert np.array_equal(transcode(source, target).reading.frames, frames)
    for target in CODED:
        with pytest.raises(Refused, match="32"):
            transcode(source, target)


@pytest.mark.parametrize("target", CODED)
def test_few_bits_in_32_are_refused(transcode, target):
    frames = noise((2, 5, 7), 12).astype(np.uint32)
    with pytest.raises(Refused, match="12 .*in 32"):
        transcode(native(frames, EXPLICIT, bits_stored=12), target)


@pytest.mark.parametrize(("tag", "vr", "kind"), [(0x7FE00008, b"OF", "f4"), (0x7FE00009, b"OD", "f8")])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_floating_point_is_recoded_or_refused(source, tmp_path, tag, vr, kind, syntax):
    frames = np.linspace(-1, 1, 2 * 5 * 7).reshape(2, 5, 7).astype(kind)
    dataset = header(frames, BitsStored=None, HighBit=None, PixelRepresentation=None)
    data = frames.astype(f">{kind}" if syntax == BIG_ENDIAN else f"<{kind}").tobytes()
    original = part10(dataset, native_element(data, syntax, vr, tag), syntax)
    for target in ("explicit", "implicit", "deflated"):
        output = tmp_path / target
        cinemill.transcode(source(original), output, to=target)
        element = pydicom.dcmread(output)[tag]
        assert element.VR.encode() == vr
        assert element.value == frames.tobytes()
        output.unlink()
    for target in (*CODED, "rle"):
        with pytest.raises(UnsupportedPixelFormat, match=r"floating point|integer"):
            cinemill.transcode(source(original), tmp_path / target, to=target)


@pytest.mark.parametrize("vr", [b"OB", b"OW"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (2, 4, 4), (2, 3, 3, 3)])
@pytest.mark.parametrize("target", ["jpeg-ls", "rle", "explicit", "implicit"])
def test_big_endian_bytes_may_be_words(transcode, vr, shape, target):
    """8-bit samples in OW are swapped in pairs, and frames of odd size share a word (PS3.5 §8.1.1, D.2)."""
    frames = noise(shape)
    label = "RGB" if len(shape) == 4 else "MONOCHROME2"
    result = transcode(native(frames, BIG_ENDIAN, vr, label=label), target)
    assert np.array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("target", ["jpeg-ls", "rle", "explicit", "implicit"])
def test_big_endian_words(transcode, signed, target):
    frames = noise((3, 5, 7), 12, signed=signed)
    result = transcode(native(frames, BIG_ENDIAN, bits_stored=12), target)
    assert np.array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("target", [*CODED, "rle"])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_high_bit_of_samples_that_fill_their_bits_can_be_no_other(tmp_path, transcode, target, bits):
    frames = noise((2, 5, 7), bits)
    result = transcode(native(frames, bits_stored=bits, HighBit=bits), target)
    assert np.array_equal(result.reading.frames, frames)
    assert result.dataset.HighBit == bits - 1
    assert [w for w in result.receipt.warnings if f"High Bit is {bits}" in w] == [
        f"High Bit is {bits}, but all {bits} bits are stored; the output says {bits - 1}"
    ]
    (tmp_path / "wrong.dcm").write_bytes(native(frames, bits_stored=bits, HighBit=bits))
    assert cinemill.verify(tmp_path / "wrong.dcm", result.path).status == "verified"


@pytest.mark.parametrize("target", [*CODED, "rle"])
def test_left_aligned_samples_are_kept_or_refused(transcode, target):
    frames = noise((1, 5, 7), 12) << 4
    source = native(frames, bits_stored=12, HighBit=15)
    if target == "rle":
        result = transcode(source, target)
        assert np.array_equal(result.reading.frames, frames)
        assert result.dataset.HighBit == 15
    else:
        with pytest.raises(UnsupportedPixelFormat, match="High Bit 15"):
            transcode(source, target)


@pytest.mark.parametrize("bits", [12, 24, 64])
@pytest.mark.parametrize("target", [*CODED, "rle"])
def test_odd_containers_are_refused_by_name(transcode, bits, target):
    frames = noise((1, 8, 8))
    dataset = header(frames, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)
    source = part10(dataset, native_element(bytes(64 * bits // 8), EXPLICIT), EXPLICIT)
    with pytest.raises(UnsupportedPixelFormat, match=str(bits)):
        transcode(source, target)
    assert len(transcode(source, "implicit").dataset.PixelData) == 64 * bits // 8


@pytest.mark.parametrize(
    ("encoder", "syntax"),
    [(jpeg_2000, JPEG_2000), (htj2k, HTJ2K), (rle_stream, RLE), (jpeg_ls_stream, JPEG_LS)],
    ids=["jpeg-2000", "htj2k", "rle", "jpeg-ls"],
)
@pytest.mark.parametrize("shape", [(1, 40, 50), (40, 1, 50), (2, 33, 47, 3)][::2])
def test_streams_of_other_encoders(transcode, encoder, syntax, shape):
    frames = noise(shape, 16)
    samples = 3 if len(shape) == 4 else 1
    options = {"interleave": 2} if encoder is jpeg_ls_stream and samples == 3 else {}
    streams = [[encoder(frame, **options)] for frame in frames]
    source = part10(
        header(frames, "RGB" if samples == 3 else "MONOCHROME2", samples=samples),
        encapsulated_element(streams),
        syntax,
    )
    for target in TARGETS:
        assert np.array_equal(transcode(source, target).reading.frames, frames)


def test_deflated_frames(transcode):
    frames = noise((3, 5, 7), 12)
    streams = []
    for frame in frames:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        streams.append([deflater.compress(frame.tobytes()) + deflater.flush()])
    source = part10(header(frames, bits_stored=12), encapsulated_element(streams), DEFLATED_FRAME)
    for target in TARGETS:
        assert np.array_equal(transcode(source, target).reading.frames, frames)


def test_smallest_and_largest_value_keep_their_sign(transcode):
    """(0028,0106) is US or SS by Pixel Representation: implicit VR must come out as SS."""
    frames = noise((1, 5, 7), 12, signed=True)
    dataset = header(frames, bits_stored=12)
    dataset.add_new(0x00280106, "SS", -2048)
    dataset.add_new(0x00280120, "SS", -2000)
    pixels = native_element(native_bytes(frames), IMPLICIT)
    result = transcode(part10(dataset, pixels, IMPLICIT), "jpeg-ls")
    assert (result.dataset[0x00280106].VR, result.dataset[0x00280106].value) == ("SS", -2048)
    assert (result.dataset[0x00280120].VR, result.dataset[0x00280120].value) == ("SS", -2000)


def test_icon_keeps_its_own_sign(transcode):
    frames = noise((1, 5, 7), 12, signed=True)
    icon = Dataset()
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.Rows = icon.Columns = 2
    icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelRepresentation = 8, 8, 7, 0
    icon.add_new(0x00280106, "US", 60000)
    icon.PixelData = bytes(range(4))
    dataset = header(frames, bits_stored=12)
    dataset.IconImageSequence = [icon]
    assert encode(dataset, IMPLICIT)
    result = transcode(part10(dataset, native_element(native_bytes(frames), IMPLICIT), IMPLICIT), "jpeg-ls")
    copied = result.dataset.IconImageSequence[0]
    assert (copied[0x00280106].VR, copied[0x00280106].value) == ("US", 60000)
    assert copied.PixelData == icon.PixelData


@pytest.mark.parametrize(
    ("bits", "vr", "told"), [(8, b"OW", 0), (16, b"OW", 0), (16, b"OB", 1), (32, b"OW", 1)]
)
def test_big_endian_samples_that_writers_disagree_about_are_reported(transcode, bits, vr, told):
    """pydicom swaps whole samples, DCMTK and GDCM the words of the VR."""
    frames = noise((2, 4, 6), bits)
    data = native_bytes(frames, big_endian=True, words=vr == b"OW")
    result = transcode(part10(header(frames), native_element(data, BIG_ENDIAN, vr), BIG_ENDIAN), "explicit")
    assert np.array_equal(result.reading.frames, frames)
    assert len(result.receipt.warnings) == told
