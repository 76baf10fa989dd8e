"""Instances that are masked: black inside by the readers of others, and every sample outside as it was."""

from __future__ import annotations

import subprocess
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

import cinemill
from cinemill.codecs.jpeg.blacken import blacken
from cinemill.errors import Refused, VerificationError
from cinemill.operations.mask import jpegs
from cinemill.syntaxes import TARGETS
from tests.support import clips, oracle
from tests.support.files import bundled
from tests.support.generate import (
    EXPLICIT,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    native_element,
    noise,
    part10,
    smooth,
)
from tests.support.masking import mask_file

ULTRASOUND = bundled("examples_ybr_color.dcm")
BOX = (5, 3, 40, 9)
INSIDE = np.s_[3:10, 5:41]


def frames_of(path) -> np.ndarray:
    return np.stack(oracle.read(path).frames)


def outside(frames: np.ndarray) -> np.ndarray:
    blanked = frames.copy()
    blanked[:, *INSIDE] = 0
    return blanked


@pytest.mark.parametrize("target", ["", *(str(row.name) for row in TARGETS if row.lossless)])
def test_lossless_sources_are_black_inside_and_unchanged_outside(tmp_path, target):
    frames = noise((3, 20, 50, 3))
    path = clips.write(tmp_path / "in.dcm", frames, "RGB", sop_class=ULTRASOUND_CINE)
    receipt = mask_file(path, tmp_path / "out.dcm", BOX, to=target)
    found = frames_of(tmp_path / "out.dcm")
    assert not found[:, *INSIDE].any()
    np.testing.assert_array_equal(outside(found), outside(frames))
    assert receipt.mask is not None
    assert receipt.mask["rectangles"] == [[5, 3, 36, 7]]
    assert receipt.mask["value"] == [0, 0, 0]
    assert receipt.mask["outside_before"] == receipt.mask["outside_after"] != ""
    if not target:
        assert receipt.transfer_syntax_after == receipt.transfer_syntax_before


def test_what_is_lossless_stays_in_its_coding_or_becomes_jpeg_ls(tmp_path):
    frames = noise((2, 20, 50), 12)
    for target in ("rle", "jpeg-ls", "jpeg-2000", "htj2k-rpcl", "deflated", "jpeg-xl"):
        given = tmp_path / f"{target}.dcm"
        cinemill.transcode(clips.write(tmp_path / "native.dcm", frames, bits_stored=12), given, to=target)
        receipt = mask_file(given, tmp_path / f"{target}-masked.dcm", BOX)
        assert receipt.transfer_syntax_after == receipt.transfer_syntax_before
    pixels = encapsulated_element([[jpeg_lossless(frame, 12)] for frame in frames])
    source = tmp_path / "sv1.dcm"
    source.write_bytes(part10(header(frames, bits_stored=12), pixels, "1.2.840.10008.1.2.4.70"))
    receipt = mask_file(source, tmp_path / "sv1-masked.dcm", BOX)
    assert receipt.transfer_syntax_after == "1.2.840.10008.1.2.4.80"
    np.testing.assert_array_equal(outside(frames_of(tmp_path / "sv1-masked.dcm")), outside(frames))


@pytest.mark.parametrize("coding", ["", "rle"])
def test_colour_that_stays_in_its_coding_is_not_converted(tmp_path, coding):
    frames = noise((2, 20, 50, 3))
    path = clips.write(tmp_path / "in.dcm", frames, "YBR_FULL", sop_class=ULTRASOUND_CINE)
    if coding:
        cinemill.transcode(path, tmp_path / "rle.dcm", to=coding, colour="keep")
        path = tmp_path / "rle.dcm"
    mask_file(path, tmp_path / "out.dcm", BOX)
    found = frames_of(tmp_path / "out.dcm")
    assert pydicom.dcmread(tmp_path / "out.dcm").PhotometricInterpretation == "YBR_FULL"
    assert (found[:, *INSIDE] == (0, 128, 128)).all()
    np.testing.assert_array_equal(outside(found), outside(frames))


def test_colour_that_is_grey_collapses_where_that_is_asked_for(tmp_path):
    frames = np.repeat(noise((2, 20, 50, 1)), 3, axis=-1)
    path = clips.write(tmp_path / "in.dcm", frames, "RGB", sop_class=ULTRASOUND_CINE)
    mask_file(path, tmp_path / "out.dcm", BOX, to="jpeg-ls", collapse_grey=True)
    found = frames_of(tmp_path / "out.dcm")
    np.testing.assert_array_equal(outside(found), outside(frames[..., 0]))
    assert not found[:, *INSIDE].any()


@pytest.mark.parametrize(
    ("interpretation", "bits", "signed", "more", "expected"),
    [
        ("MONOCHROME2", 12, False, {}, 0),
        ("MONOCHROME1", 12, False, {}, 4095),
        ("MONOCHROME2", 12, True, {}, -2048),
        ("MONOCHROME1", 8, True, {}, 127),
        ("MONOCHROME2", 12, False, {"RescaleSlope": -1, "RescaleIntercept": 7}, 4095),
        ("MONOCHROME2", 12, True, {"WindowCenter": 300, "WindowWidth": 50}, -2048),
    ],
)
def test_black_is_what_is_shown_darkest(tmp_path, interpretation, bits, signed, more, expected):
    frames = noise((2, 20, 50), bits, signed=signed)
    path = clips.write(tmp_path / "in.dcm", frames, interpretation, bits_stored=bits, **more)
    mask_file(path, tmp_path / "out.dcm", BOX, to="jpeg-ls")
    found = frames_of(tmp_path / "out.dcm")
    assert (found[:, *INSIDE] == expected).all()
    np.testing.assert_array_equal(outside(found), outside(frames))
    with cinemill.open(tmp_path / "out.dcm") as cine:
        assert not cine.render(0)[INSIDE].any()


def test_a_palette_is_black_where_its_darkest_entry_is(tmp_path):
    frames = noise((1, 20, 50))
    palette: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        table = np.arange(256, dtype=np.uint8)[::-1] // 2 + 100
        table[77] = 3
        palette[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    path = clips.write(tmp_path / "in.dcm", frames, "PALETTE COLOR", **palette)
    mask_file(path, tmp_path / "out.dcm", BOX, to="rle")
    assert (frames_of(tmp_path / "out.dcm")[:, *INSIDE] == 77).all()


def test_overlays_in_unused_bits_are_masked_too(tmp_path):
    frames = noise((1, 20, 50), 12) | 1 << 13
    dataset = header(frames, bits_stored=12)
    for element, vr, value in (
        (0x0010, "US", 20),
        (0x0011, "US", 50),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", 13),
    ):
        dataset.add_new(0x60000000 | element, vr, value)
    path = tmp_path / "in.dcm"
    path.write_bytes(part10(dataset, native_element(frames.tobytes(), EXPLICIT), EXPLICIT))
    for target in ("explicit", "jpeg-ls"):
        mask_file(path, tmp_path / f"{target}.dcm", BOX, to=target)
        written = pydicom.dcmread(tmp_path / f"{target}.dcm")
        if target == "explicit":
            plane = np.frombuffer(written.PixelData, np.uint16).reshape(20, 50) >> 13 & 1
        else:
            plane = written.overlay_array(0x6000)
        assert not plane[INSIDE].any()
        assert plane.sum() == 1000 - 36 * 7


def test_icons_become_blank(tmp_path):
    frames = noise((1, 20, 50))
    icon = Dataset()
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.Rows = icon.Columns = 16
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.PixelData = noise((16, 16)).tobytes()
    icon["PixelData"].VR = "OB"
    path = clips.write(tmp_path / "in.dcm", frames, IconImageSequence=Sequence([icon]))
    mask_file(path, tmp_path / "out.dcm", BOX, to="jpeg-ls")
    written = pydicom.dcmread(tmp_path / "out.dcm").IconImageSequence[0]
    assert written.PixelData == bytes(256)


def by_libjpeg_turbo(stream: bytes) -> np.ndarray:
    return imagecodecs.jpeg8_decode(stream, colorspace="YCBCR", outcolorspace="YCBCR")


def test_a_jpeg_cine_stays_jpeg(tmp_path):
    receipt = mask_file(ULTRASOUND, tmp_path / "out.dcm", BOX, verify="independent")
    before, after = pydicom.dcmread(ULTRASOUND), pydicom.dcmread(tmp_path / "out.dcm")
    assert receipt.transfer_syntax_after == receipt.transfer_syntax_before == JPEG_BASELINE
    assert after.PhotometricInterpretation == before.PhotometricInterpretation
    assert receipt.mask is not None
    assert receipt.mask["grown"] == [[0, 0, 48, 16]]
    assert receipt.mask["touched"] == [[0, 0, 49, 17]]
    assert receipt.mask["outside_before"] == receipt.mask["outside_after"] != ""
    pairs = zip(
        *(generate_frames(each.PixelData, number_of_frames=30) for each in (before, after)), strict=True
    )
    for old, new in pairs:
        one, other = by_libjpeg_turbo(old), by_libjpeg_turbo(new)
        assert (other[INSIDE] == (0, 128, 128)).all()
        one[:17, :49] = other[:17, :49] = 0
        np.testing.assert_array_equal(one, other)
    assert receipt.bytes_after < receipt.bytes_before + 4096


def test_a_jpeg_that_goes_elsewhere_is_decoded_once(tmp_path):
    mask_file(ULTRASOUND, tmp_path / "out.dcm", BOX, to="jpeg-ls")
    cinemill.transcode(ULTRASOUND, tmp_path / "plain.dcm", to="jpeg-ls")
    found, plain = frames_of(tmp_path / "out.dcm"), frames_of(tmp_path / "plain.dcm")
    np.testing.assert_array_equal(outside(found), outside(plain))
    assert not found[:, *INSIDE].any()


def test_bits_stored_is_raised_where_the_codestream_uses_more_and_that_is_told(tmp_path):
    frames = noise((1, 20, 50), 12)
    stream = encapsulated_element([[jpeg_lossless(frames[0], 12)]])
    source = tmp_path / "in.dcm"
    source.write_bytes(part10(header(frames, bits_stored=10), stream, JPEG_LOSSLESS))
    receipt = mask_file(source, tmp_path / "out.dcm", BOX)
    assert pydicom.dcmread(tmp_path / "out.dcm").BitsStored == 12
    assert any("Bits Stored was raised" in warning for warning in receipt.warnings)
    np.testing.assert_array_equal(outside(frames_of(tmp_path / "out.dcm")), outside(frames))


def test_lossy_jpeg_2000_is_coded_losslessly_and_says_so(tmp_path):
    frames = smooth((20, 50, 3))[np.newaxis]
    pixels = encapsulated_element([[jpeg_2000(frame, level=30)] for frame in frames])
    path = tmp_path / "in.dcm"
    path.write_bytes(part10(header(frames, "YBR_ICT", samples=3), pixels, "1.2.840.10008.1.2.4.91"))
    receipt = mask_file(path, tmp_path / "out.dcm", BOX)
    assert receipt.transfer_syntax_after == "1.2.840.10008.1.2.4.90"
    assert any("encoded losslessly" in warning for warning in receipt.warnings)
    np.testing.assert_array_equal(outside(frames_of(tmp_path / "out.dcm")), outside(frames_of(path)))


def one_jpeg(tmp_path, stream: bytes, frame: np.ndarray):
    samples, label = (3, "YBR_FULL_422") if frame.ndim == 3 else (1, "MONOCHROME2")
    path = tmp_path / "in.dcm"
    path.write_bytes(
        part10(
            header(frame[np.newaxis], label, samples=samples), encapsulated_element([[stream]]), JPEG_BASELINE
        )
    )
    return path


@pytest.mark.parametrize(
    ("options", "to", "message"),
    [
        ({"progressive": True}, "", "JPEG progressive can't be masked in its coefficients.*use --to jpeg-ls"),
        ({}, "jpeg-xl-jpeg", "codes JPEGs as they are; leave out --to"),
    ],
)
def test_what_can_not_be_masked_exactly_is_refused_and_nothing_is_left(tmp_path, options, to, message):
    frame = smooth((40, 50, 3))
    path = one_jpeg(tmp_path, jpeg(frame, **options), frame)
    with pytest.raises(Refused, match=message):
        mask_file(path, tmp_path / "out.dcm", BOX, to=to)
    assert [file.name for file in tmp_path.iterdir()] == ["in.dcm"]


def test_video_is_refused(tmp_path):
    frame = noise((1, 20, 50))
    path = tmp_path / "in.dcm"
    path.write_bytes(
        part10(header(frame), encapsulated_element([[b"\0\0\1\xb3" + bytes(60)]]), "1.2.840.10008.1.2.4.100")
    )
    with pytest.raises(Refused, match="MPEG2MPML can't be masked exactly"):
        mask_file(path, tmp_path / "out.dcm", BOX)


def test_a_rewriter_that_changes_anything_outside_leaves_no_output(tmp_path, monkeypatch):
    frame = smooth((64, 64, 3))
    path = one_jpeg(tmp_path, jpeg(frame), frame)
    monkeypatch.setattr(jpegs, "blacken", lambda *given: blacken(given[0], [(0, 0, 63, 63)], given[2]))
    with pytest.raises(VerificationError, match="samples outside the mask changed"):
        mask_file(path, tmp_path / "out.dcm", BOX)
    monkeypatch.setattr(jpegs, "blacken", lambda *given: bytes(given[0]))
    with pytest.raises(VerificationError, match="inside the mask are not black"):
        mask_file(path, tmp_path / "out.dcm", BOX)
    assert [file.name for file in tmp_path.iterdir()] == ["in.dcm"]


def test_nothing_that_stood_behind_the_end_of_a_jpeg_is_left(tmp_path):
    frame = smooth((64, 64, 3))
    path = one_jpeg(tmp_path, jpeg(frame, comment=b"Doe^Jane") + b"Doe^Jane", frame)
    mask_file(path, tmp_path / "out.dcm", BOX)
    assert b"Doe^Jane" not in (tmp_path / "out.dcm").read_bytes().partition(b"\xff\xd8")[2]


@pytest.mark.tools
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_dcmtk_sees_black_and_nothing_else_changed(tmp_path, dcmtk_frames, subsampling):
    frame = smooth((70, 90, 3))
    path = one_jpeg(tmp_path, jpeg(frame, subsampling=subsampling), frame)
    receipt = mask_file(path, tmp_path / "out.dcm", BOX)
    before, after = dcmtk_frames(path), dcmtk_frames(tmp_path / "out.dcm")
    assert not after[INSIDE].any()
    assert receipt.mask is not None
    left, top, width, height = receipt.mask["touched"][0]
    before[top : top + height, left : left + width] = after[top : top + height, left : left + width] = 0
    np.testing.assert_array_equal(before, after)


@pytest.fixture
def dcmtk_frames(tmp_path):
    """Decode a single colour frame by DCMTK, to RGB."""

    def read(path):
        done = subprocess.run(["dcmj2pnm", "+op", str(path)], capture_output=True, check=True)
        return np.asarray(Image.open(BytesIO(done.stdout))).copy()

    return read
