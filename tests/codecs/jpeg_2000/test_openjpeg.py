from __future__ import annotations

import csv
import struct
import warnings

import numpy as np
import openjpeg as pylibjpeg_openjpeg
import pydicom
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from cinemill.codecs.jpeg_2000.markers import read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.support.files import CORPUS
from tests.support.pictures import format_of

GREY = PixelFormat(40, 50, 1, 8, 8, signed=False, photometric_interpretation="MONOCHROME2")


def formats() -> st.SearchStrategy[PixelFormat]:
    return st.builds(
        lambda rows, columns, samples, bits, signed, interpretation: PixelFormat(
            rows, columns, samples, 8 if bits <= 8 else 16, bits, signed, interpretation
        ),
        st.integers(1, 70),
        st.integers(1, 70),
        st.sampled_from([1, 3]),
        st.integers(1, 16),
        st.booleans(),
        st.sampled_from(["RGB", "YBR_FULL"]),
    )


def noise(pixels: PixelFormat, seed: int = 0) -> np.ndarray:
    lowest = -(1 << pixels.bits_stored - 1) if pixels.signed else 0
    values = np.random.default_rng(seed).integers(lowest, lowest + (1 << pixels.bits_stored), pixels.shape)
    return values.astype(pixels.dtype)


def jp2(codestream: bytes) -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", 40, 50, 1, 7, 7, 0, 0)) + box(
        b"colr", b"\x01\x00\x00\x00\x00\x00\x11"
    )
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \x00\x00\x00\x00jp2 ")
        + box(b"jp2h", header)
        + struct.pack(">I4s", 0, b"jp2c")
        + codestream
    )


@given(formats(), st.integers(0, 9))
@example(PixelFormat(64, 64, 3, 8, 1, signed=False, photometric_interpretation="RGB"), 0)
@settings(deadline=None)
def test_round_trip_is_exact(pixels: PixelFormat, seed: int) -> None:
    frames = [noise(pixels, seed), noise(pixels, seed + 1)]
    try:
        codestreams = OpenJpeg().encode(frames, pixels)
    except UnsupportedPixelFormat:
        assume(pixels.bits_stored > 1)  # noise of 1 bit has no room; with more bits this is an error
        raise
    for frame, decoded in zip(frames, OpenJpeg().decode(codestreams, pixels), strict=True):
        assert decoded.shape == pixels.shape
        assert decoded.dtype == pixels.dtype
        assert decoded.flags.c_contiguous
        np.testing.assert_array_equal(decoded, frame)


@given(formats())
@settings(deadline=None)
def test_codestream_declares_what_was_asked_for(pixels: PixelFormat) -> None:
    (codestream,) = OpenJpeg().encode([np.zeros(pixels.shape, pixels.dtype)], pixels)
    header = read_main_header(codestream)
    assert codestream[:4] == b"\xff\x4f\xff\x51"
    assert (header.precision, header.signed, header.tiles) == (pixels.bits_stored, pixels.signed, 1)
    assert header.colour_transform == (pixels.samples == 3 and pixels.photometric_interpretation == "RGB")
    style = codestream[codestream.index(b"\xff\x52\x00\x0c") + 4 :]
    progression, layers, code_block, wavelet = style[1], style[2:4], style[6:8], style[9]
    assert (progression, layers, code_block, wavelet) == (0, b"\x00\x01", b"\x04\x04", 1)


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True), (16, True)])
def test_pylibjpeg_decodes_the_same(bits: int, *, signed: bool) -> None:
    pixels = GREY.with_(bits_allocated=8 if bits == 8 else 16, bits_stored=bits, signed=signed)
    frame = noise(pixels)
    (codestream,) = OpenJpeg().encode([frame], pixels)
    np.testing.assert_array_equal(pylibjpeg_openjpeg.decode(codestream), frame)


@pytest.mark.parametrize(
    ("encoded", "wanted"), [((13, False), (16, True)), ((12, True), (12, False)), ((16, False), (16, True))]
)
def test_sign_of_the_header_wins_over_siz(encoded: tuple[int, bool], wanted: tuple[int, bool]) -> None:
    written, declared = (
        GREY.with_(bits_allocated=16, bits_stored=bits, signed=signed) for bits, signed in (encoded, wanted)
    )
    frame = noise(written)
    (decoded,) = OpenJpeg().decode(OpenJpeg().encode([frame], written), declared)
    precision = encoded[0]
    assert decoded.dtype == declared.dtype
    np.testing.assert_array_equal(
        decoded.astype(int) % (1 << precision), frame.astype(int) % (1 << precision)
    )
    assert declared.signed == (decoded.min() < 0)


def test_jp2_boxes_are_skipped() -> None:
    (codestream,) = OpenJpeg().encode([noise(GREY)], GREY)
    np.testing.assert_array_equal(OpenJpeg().decode([jp2(codestream)], GREY)[0], noise(GREY))


def test_tile_part_of_unknown_length_and_a_padding_byte() -> None:
    (codestream,) = OpenJpeg().encode([noise(GREY)], GREY)
    at = codestream.index(b"\xff\x90\x00\x0a")
    unknown = codestream[: at + 6] + bytes(4) + codestream[at + 10 :]
    for stream in (unknown, unknown + b"\x00", codestream + b"\x00"):
        np.testing.assert_array_equal(OpenJpeg().decode([stream], GREY)[0], noise(GREY))


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 50, "columns": 40},
        {"rows": 41},
        {"samples": 3},
        {"bits_allocated": 16, "samples": 3, "photometric_interpretation": "RGB"},
    ],
)
def test_other_geometry_is_refused(changes: dict[str, int | str]) -> None:
    codestreams = OpenJpeg().encode([noise(GREY)], GREY)
    with pytest.raises(CodecError, match="expected rows, columns, samples") as caught:
        OpenJpeg().decode(codestreams, GREY.with_(**changes))
    assert caught.value.frame == 0


def test_more_bits_than_allocated_are_refused() -> None:
    deep = GREY.with_(bits_allocated=16, bits_stored=12)
    with pytest.raises(CodecError, match="at most 8 bits a sample, found 12"):
        OpenJpeg().decode(OpenJpeg().encode([noise(deep)], deep), GREY)


def test_every_truncation_is_refused() -> None:
    (codestream,) = OpenJpeg().encode([noise(GREY)], GREY)
    whole = OpenJpeg().encode([noise(GREY, 1)], GREY)
    for stream in (codestream, jp2(codestream)):
        for length in range(len(stream)):
            with pytest.raises(CodecError) as caught:
                OpenJpeg().decode([*whole, stream[:length]], GREY)
            assert caught.value.frame == 1


@given(st.data())
@settings(deadline=None)
def test_damage_never_raises_anything_else(data: st.DataObject) -> None:
    (codestream,) = OpenJpeg().encode([noise(GREY)], GREY)
    damaged = bytearray(codestream)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        (decoded,) = OpenJpeg().decode([bytes(damaged)], GREY)
    except CodecError:
        return
    except UnsupportedPixelFormat:  # subsampled components, if the damage says so in XRsiz or YRsiz
        assert damaged[43:45] != codestream[43:45]
        return
    assert decoded.shape == GREY.shape


def test_a_marker_inside_packets_and_a_missing_tile_are_noticed() -> None:
    (codestream,) = OpenJpeg().encode([noise(GREY)], GREY)
    start = codestream.index(b"\xff\x93") + 40
    with pytest.raises(CodecError, match="found marker FFD9"):
        OpenJpeg().decode([codestream[:start] + b"\xff\xd9" + codestream[start + 2 :]], GREY)
    two_tiles = bytearray(codestream)
    two_tiles[22 + 2 : 26 + 2] = struct.pack(">I", 25)
    with pytest.raises(CodecError, match="expected 2 tiles, found 1"):
        OpenJpeg().decode([bytes(two_tiles)], GREY)


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 2},
        {"samples": 4},
        {"bits_allocated": 32, "bits_stored": 32},
        {"bits_allocated": 16, "bits_stored": 17},
        {"rows": 0},
        {"columns": 65536},
    ],
)
def test_what_it_cannot_hold_is_refused_by_name(changes: dict[str, int]) -> None:
    with pytest.raises(UnsupportedPixelFormat, match="JPEG 2000: expected"):
        OpenJpeg().encode([], GREY.with_(**changes))


@pytest.mark.parametrize(("signed", "value"), [(False, 4096), (True, 2048), (True, -2049)])
def test_values_above_bits_stored_are_refused(*, signed: bool, value: int) -> None:
    pixels = GREY.with_(bits_allocated=16, bits_stored=12, signed=signed)
    frame = noise(pixels)
    frame[3, 4] = value
    with pytest.raises(UnsupportedPixelFormat, match="mask what lies above BitsStored"):
        OpenJpeg().encode([frame], pixels)


def corpus_files() -> list[str]:
    try:
        with (CORPUS / "MANIFEST.csv").open() as manifest:
            rows = list(csv.DictReader(manifest))
    except FileNotFoundError:
        return []
    # A tool cut this one's frame at the sequence delimiter that its codestream contains.
    broken = "embedded-sequence-delimiter"
    return [
        row["file"]
        for row in rows
        if row["codestream"].startswith(("J2K", "JP2")) and broken not in row["file"]
    ]


@pytest.mark.corpus
@pytest.mark.skipif(not corpus_files(), reason="CINEMILL_CORPUS names no folder of real files")
@pytest.mark.parametrize("name", corpus_files())
def test_real_files_decode_as_by_pylibjpeg(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(CORPUS / "files" / name, force=True)
        codestream = next(
            generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        )
    expected = pylibjpeg_openjpeg.decode(codestream)
    pixels = format_of(dataset).with_(
        bits_allocated=max(8, dataset.BitsAllocated), signed=expected.dtype.kind == "i"
    )
    np.testing.assert_array_equal(OpenJpeg().decode([codestream], pixels)[0], expected)
