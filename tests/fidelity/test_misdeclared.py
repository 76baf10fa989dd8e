"""Pixel data that is not as its transfer syntax says: read where nobody can mistake it, with a warning, else refused."""

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.dicom.header_only import HeaderOnly
from cinemill.errors import DamagedFile
from tests.support.generate import (
    EXPLICIT,
    JPEG_LS,
    JPEG_LS_NEAR,
    encapsulated_element,
    header,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    with_length,
)

FRAMES = noise((3, 20, 26), bits=12)
COLOUR = noise((2, 20, 26, 3))
STREAMS = [[jpeg_ls_stream(frame, bits=12)] for frame in FRAMES]
NATIVE = native_element(native_bytes(FRAMES), EXPLICIT)
BEHIND = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0" + bytes(4)


def enclosed(*, delimiter=True, behind=b"", more=0):
    """Encapsulated pixel data of a defined length, with another element behind it."""
    whole = part10(
        header(FRAMES, bits_stored=12), encapsulated_element(STREAMS, delimiter=delimiter), JPEG_LS
    )
    return with_length(whole, len(whole) + more) + behind


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "rle", "explicit"])
@pytest.mark.parametrize("delimiter", [True, False])
@pytest.mark.parametrize("behind", [b"", BEHIND])
def test_fragments_that_fill_a_defined_length_are_fragments(transcode, target, delimiter, behind):
    """Old anonymisers put a length around the items; GDCM reads them."""
    result = transcode(enclosed(delimiter=delimiter, behind=behind), target)
    assert np.array_equal(result.reading.frames, FRAMES)
    assert "the pixel data is encapsulated, but has a length; its items fill it" in result.receipt.warnings
    if target != "explicit":
        assert result.dataset["PixelData"].is_undefined_length


@pytest.mark.parametrize("target", ["jpeg-2000", "rle", "explicit", "deflated"])
def test_native_samples_of_exactly_their_size_are_native_whatever_the_label(transcode, target):
    """Some archives decompress and keep the label; GDCM, and DCMTK where it is told to, read them."""
    result = transcode(part10(header(FRAMES, bits_stored=12), NATIVE, JPEG_LS), target)
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("JPEGLSLossless is declared, but Pixel Data is as long" in w for w in result.receipt.warnings)
    assert result.receipt.transfer_syntax_before == EXPLICIT
    assert result.dataset.file_meta.TransferSyntaxUID != JPEG_LS


@pytest.mark.parametrize(
    "whole",
    [
        enclosed(more=4, behind=b"\0\0\0\0"),
        part10(header(FRAMES, bits_stored=12), native_element(bytes(3000), EXPLICIT), JPEG_LS),
        part10(
            header(COLOUR, "YBR_FULL", samples=3),
            native_element(native_bytes(COLOUR), EXPLICIT),
            JPEG_LS,
        ),
        part10(header(FRAMES, bits_stored=12), NATIVE, JPEG_LS_NEAR),
    ],
    ids=["items and more", "of another size", "may be RGB", "may be lossy"],
)
def test_what_could_be_something_else_is_refused(tmp_path, whole):
    (tmp_path / "a.dcm").write_bytes(whole)
    with pytest.raises(DamagedFile, match="the pixel data is not encapsulated, which contradicts"):
        cinemill.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to="explicit")
    assert not (tmp_path / "b.dcm").exists()


def test_headers_alone_and_single_frames_are_read_alike(tmp_path):
    for name, whole in {
        "enclosed": enclosed(),
        "native": part10(header(FRAMES, bits_stored=12), NATIVE, JPEG_LS),
    }.items():
        path = tmp_path / name
        path.write_bytes(whole)
        with HeaderOnly(path) as head:
            assert head.native == (name == "native") != head.transfer_syntax.encapsulated
        with cinemill.open(path) as cine:
            assert np.array_equal(cine[2], FRAMES[2])


def test_a_part_of_such_a_cine_is_well_formed(tmp_path):
    (tmp_path / "a.dcm").write_bytes(enclosed())
    cinemill.split(tmp_path / "a.dcm", tmp_path / "parts", frames_per_instance=2)
    first = pydicom.dcmread(min((tmp_path / "parts").iterdir()))
    assert first["PixelData"].is_undefined_length
    assert np.array_equal(first.pixel_array, FRAMES[:2])
