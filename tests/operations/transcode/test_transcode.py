"""The ultrasound cine that ships with pydicom, to every target and through every option."""

import os
import shutil

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels import convert_color_space, get_decoder

import cinemill
from cinemill.codecs import table
from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_ls.codec import JpegLs
from cinemill.errors import (
    Cancelled,
    DamagedFile,
    MissingFile,
    NotDicom,
    OutputExists,
    UnsupportedPixelFormat,
    UnsupportedTransferSyntax,
    UsageError,
)
from cinemill.syntaxes import TARGETS
from tests.support import oracle
from tests.support.files import bundled, standing
from tests.support.generate import (
    BIG_ENDIAN,
    EXPLICIT,
    JPEG_BASELINE,
    encapsulated_element,
    header,
    jpeg,
    native_bytes,
    native_element,
    noise,
    part10,
)

ULTRASOUND = bundled("examples_ybr_color.dcm")
PLUGINS = {"jpeg-ls": "pyjpegls", "jpeg-2000": "pylibjpeg", "htj2k": "pylibjpeg", "htj2k-rpcl": "pylibjpeg"}


@pytest.fixture(scope="module")
def ycbcr():
    header = pydicom.dcmread(ULTRASOUND)
    frames = generate_frames(header.PixelData, number_of_frames=30)
    return np.stack(
        [imagecodecs.jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="YCBCR") for frame in frames]
    )


@pytest.fixture(scope="module")
def rgb(ycbcr):
    return convert_color_space(ycbcr, "YBR_FULL", "RGB")


@pytest.mark.parametrize("junk", [b"", b"\xff" * 99], ids=["sound", "junk"])
@pytest.mark.parametrize("number", ["2", "4"])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, JPEG_BASELINE])
def test_what_is_repaired_is_no_copy_even_if_nothing_is_gained(tmp_path, syntax, number, junk):
    """Noise that would grow, and lossy JPEGs, which are carried over: once, whatever runs come again."""
    frames = noise((3, 4, 8))
    dataset = header(frames, NumberOfFrames=number)
    pixels = encapsulated_element([[jpeg(frame)] for frame in frames])
    if syntax != JPEG_BASELINE:
        pixels = native_element(native_bytes(frames, big_endian=syntax == BIG_ENDIAN, words=True), syntax)
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(part10(dataset, pixels, syntax) + junk)
    with pytest.raises(DamagedFile, match="--repair"):
        cinemill.transcode(source, output)
    receipts = [
        cinemill.transcode(source, output, repair=True, recheck=recheck) for recheck in (False, False, True)
    ]
    assert [receipt.status for receipt in receipts] == ["transcoded", "kept", "kept"]
    written = pydicom.dcmread(output)
    assert written.NumberOfFrames == 3
    assert written.file_meta.TransferSyntaxUID == (EXPLICIT if syntax == BIG_ENDIAN else syntax)
    assert not output.read_bytes().endswith(junk or b"junk")
    assert cinemill.verify(source, output, repair=True).status == "verified"


def independent_frames(path, target):
    """Decode by pydicom with a decoder that cinemill does not use, without colour conversion."""
    if target in {"jpeg-xl", "encapsulated", "deflated-frame"}:
        return np.stack(oracle.read(path).frames)
    header = pydicom.dcmread(path)
    decoder = get_decoder(header.file_meta.TransferSyntaxUID)
    plugin = PLUGINS.get(target, "")
    return np.stack([frame for frame, _ in decoder.iter_array(header, raw=True, decoding_plugin=plugin)])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("target", [row.name for row in TARGETS if row.lossless])
def test_every_target_holds_exactly_the_samples_that_went_in(tmp_path, target, threads, ycbcr, rgb):
    output = tmp_path / "out.dcm"
    receipt = cinemill.transcode(ULTRASOUND, output, to=target, threads=threads)
    assert receipt.status == "transcoded"
    assert receipt.frames == 30
    assert receipt.lossy_source
    assert np.array_equal(independent_frames(output, target), rgb)


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit"])
def test_keep_leaves_the_colour_space_alone(tmp_path, target, ycbcr):
    output = tmp_path / "out.dcm"
    receipt = cinemill.transcode(ULTRASOUND, output, to=target, colour="keep")
    assert receipt.photometric_interpretation_after == "YBR_FULL"
    assert np.array_equal(independent_frames(output, target), ycbcr)


@pytest.mark.parametrize("level", ["independent", "sample", "none"])
def test_verification_can_be_turned_down_but_not_silently(tmp_path, level):
    outputs = [tmp_path / name for name in ("full.dcm", "other.dcm")]
    full = cinemill.transcode(ULTRASOUND, outputs[0], to="jpeg-ls")
    other = cinemill.transcode(ULTRASOUND, outputs[1], to="jpeg-ls", verify=level)
    remembered = [pydicom.dcmread(output).file_meta.PrivateInformation for output in outputs]
    assert remembered[0] != remembered[1]
    assert outputs[0].read_bytes() == outputs[1].read_bytes().replace(remembered[1], remembered[0])
    assert full.digest == other.digest
    assert full.verification != other.verification


def test_the_header_says_what_the_bytes_are(tmp_path):
    before = pydicom.dcmread(ULTRASOUND)
    cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to="jpeg-2000")
    after = pydicom.dcmread(tmp_path / "out.dcm")
    assert after.SOPInstanceUID == before.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert after.PhotometricInterpretation == "YBR_RCT"
    assert after.LossyImageCompression == "01"
    changed = {
        elem.tag
        for elem in before
        if elem.tag not in after or (after[elem.tag] != elem and elem.keyword != "PixelData")
    }
    assert {pydicom.datadict.keyword_for_tag(tag) for tag in changed} <= {
        "PhotometricInterpretation",
        "LossyImageCompressionMethod",
        "LossyImageCompressionRatio",
    }


def test_the_source_is_never_touched(tmp_path):
    source = tmp_path / "in.dcm"
    shutil.copy(ULTRASOUND, source)
    source.chmod(0o400)
    before = source.read_bytes(), source.stat().st_mtime_ns
    cinemill.transcode(source, tmp_path / "out.dcm", to="rle")
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before


def test_a_finished_output_is_kept_and_anything_else_is_not_replaced(tmp_path):
    output = tmp_path / "out.dcm"
    assert cinemill.transcode(ULTRASOUND, output, to="rle").status == "transcoded"
    written = standing(output)
    assert cinemill.transcode(ULTRASOUND, output, to="rle").status == "kept"
    with pytest.raises(
        OutputExists, match="made from this source in another transfer syntax; use --overwrite"
    ):
        cinemill.transcode(ULTRASOUND, output, to="jpeg-ls")
    assert standing(output) == written
    assert cinemill.transcode(ULTRASOUND, output, to="jpeg-ls", overwrite=True).status == "transcoded"


def test_what_is_in_the_target_syntax_or_no_image_is_copied_byte_for_byte(tmp_path):
    cinemill.transcode(ULTRASOUND, tmp_path / "a.dcm", to="jpeg-ls")
    assert cinemill.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to="jpeg-ls").status == "copied"
    report = bundled("reportsi.dcm")
    assert cinemill.transcode(report, tmp_path / "c.dcm", to="jpeg-ls").status == "copied"
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert (tmp_path / "c.dcm").read_bytes() == report.read_bytes()


def test_a_copy_is_kept_by_the_next_run(tmp_path):
    report = bundled("reportsi.dcm")
    for expected in ("copied", "kept"):
        assert cinemill.transcode(report, tmp_path / "c.dcm", to="jpeg-ls").status == expected


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, MissingFile, "no such file"),
        (b"", NotDicom, "empty"),
        (b"not dicom" * 100, NotDicom, "not a DICOM file"),
        (ULTRASOUND.read_bytes()[:100_000], DamagedFile, "promises .* bytes, .* are there"),
        (ULTRASOUND.read_bytes()[:800], DamagedFile, "truncated|ends inside"),
    ],
    ids=["missing", "empty", "text", "truncated pixels", "truncated header"],
)
def test_bad_input_fails_by_name_and_leaves_nothing(tmp_path, content, error, words):
    source = tmp_path / "in.dcm"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        cinemill.transcode(source, tmp_path / "out" / "out.dcm", to="jpeg-ls")
    assert caught.value.path == source
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["in.dcm"] * (content is not None)


def test_wrong_usage_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UnsupportedTransferSyntax):
        cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to="jpeg")
    with pytest.raises(UsageError, match="colour"):
        cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to="rle", colour="green")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="verification"):
        cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to="rle", verify="maybe")  # type: ignore[arg-type]
    source = tmp_path / "in.dcm"
    shutil.copy(ULTRASOUND, source)
    with pytest.raises(UsageError, match="same file"):
        cinemill.transcode(source, source, to="rle", overwrite=True)
    assert os.listdir(tmp_path) == ["in.dcm"]


def test_a_target_that_cannot_hold_the_pixels_says_what_it_holds(tmp_path):
    bits = bundled("liver_1frame.dcm")
    with pytest.raises(UnsupportedPixelFormat, match="2 to 16 bits"):
        cinemill.transcode(bits, tmp_path / "out.dcm", to="jpeg-ls")


def test_a_frozen_loop_is_encoded_once_and_every_other_frame_for_itself(tmp_path, monkeypatch):
    first, *_ = frozen = noise((7, 33, 40))
    frozen[1:4] = first
    frozen[4:] = frozen[4]
    frozen[6, 17, 39] ^= 1
    source = tmp_path / "in.dcm"
    source.write_bytes(part10(header(frozen), native_element(frozen.tobytes(), EXPLICIT), EXPLICIT))
    encoder = table.encoder("jpeg-ls")
    counts = []
    plain = encoder.encode

    def counted(frames, pixels):
        counts.append(len(frames))
        return plain(frames, pixels)

    monkeypatch.setattr(encoder, "encode", counted)
    cinemill.transcode(source, tmp_path / "out.dcm", to="jpeg-ls", threads=1)
    assert counts == [3]
    assert np.array_equal(independent_frames(tmp_path / "out.dcm", "jpeg-ls"), frozen)


@pytest.mark.parametrize("threads", [1, 2])
def test_cancelling_leaves_nothing(tmp_path, threads):
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        cinemill.transcode(
            ULTRASOUND, tmp_path / "out.dcm", to="rle", threads=threads, cancelled=lambda: next(asked, True)
        )
    assert os.listdir(tmp_path) == []


def test_progress_counts_every_frame(tmp_path):
    seen = []
    cinemill.transcode(ULTRASOUND, tmp_path / "o.dcm", to="rle", progress=lambda *done: seen.append(done))
    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)


def test_each_codec_has_as_many_frames_at_a_time_as_it_likes(tmp_path, monkeypatch):
    """Written by a codec that takes single frames, or few, those of JPEG-LS are decoded in lanes all the same."""
    asked = []

    def counted(codec, name):
        honest = getattr(codec, name)

        def called(self, codestreams, pixels):
            asked.append((codec.name, len(codestreams)))
            return honest(self, codestreams, pixels)

        monkeypatch.setattr(codec, name, called)

    cinemill.transcode(ULTRASOUND, tmp_path / "jls.dcm", to="jpeg-ls")
    counted(JpegLs, "decode")
    counted(Htj2k, "attributed")
    cinemill.transcode(tmp_path / "jls.dcm", tmp_path / "native.dcm", to="explicit", threads=1)
    assert asked == [("cinemill-jpegls", 30)] * 2
    asked.clear()
    cinemill.transcode(tmp_path / "jls.dcm", tmp_path / "htj2k.dcm", to="htj2k", threads=1)
    assert asked == [("cinemill-jpegls", 30), *[("cinemill-htj2k", 4)] * 7, ("cinemill-htj2k", 2)]
