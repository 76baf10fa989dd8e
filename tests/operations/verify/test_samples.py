"""What `cinemill.verify` says of samples: equal in every coding, and told where one of them is not."""

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_fragments

import cinemill
from cinemill.codecs import table
from cinemill.errors import Cancelled, CodecError, DamagedFile, VerificationError
from cinemill.syntaxes import TARGETS
from tests.support.files import bundled
from tests.support.generate import (
    BIG_ENDIAN,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSY,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    RLE,
    encapsulated_element,
    header,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
    smooth,
)

CINE = bundled("examples_ybr_color.dcm")
NAMES = [row.name for row in TARGETS if row.lossless]
STREAMS = {
    JPEG_LOSSLESS_SV1: lambda frame: jpeg_lossless(frame, 8 * frame.dtype.itemsize),
    JPEG_LS: jpeg_ls_stream,
    JPEG_2000: jpeg_2000,
    HTJ2K: htj2k,
    RLE: rle_stream,
}


@pytest.fixture
def pair(tmp_path):
    """Write two files and verify the second against the first."""

    def prove(before, after, **options):
        paths = tmp_path / "before.dcm", tmp_path / "after.dcm"
        for path, data in zip(paths, (before, after), strict=True):
            path.write_bytes(data)
        return cinemill.verify(*paths, **options)

    return prove


def native(frames, syntax=EXPLICIT, interpretation="MONOCHROME2", *, planar=False, **elements):
    samples = 1 if frames.ndim == 3 else frames.shape[3]
    if planar:
        elements["PlanarConfiguration"] = 1
    vr = b"OW" if frames.dtype.itemsize > 1 else b"OB"
    data = native_bytes(frames, planar=planar, big_endian=syntax == BIG_ENDIAN)
    described = header(frames, interpretation, samples=samples, **elements)
    return part10(described, native_element(data, syntax, vr), syntax)


def encoded(frames, syntax, stream=None, interpretation="MONOCHROME2", **elements):
    samples = 1 if frames.ndim == 3 else frames.shape[3]
    streams = [[(stream or STREAMS[syntax])(frame)] for frame in frames]
    described = header(frames, interpretation, samples=samples, **elements)
    return part10(described, encapsulated_element(streams), syntax)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "CT_small.dcm", "SC_rgb_rle_2frame.dcm"])
def test_what_was_transcoded_is_verified_with_the_digest_of_its_receipt(tmp_path, name, target, threads):
    source, output = bundled(name), tmp_path / "out.dcm"
    written = cinemill.transcode(source, output, to=target)
    receipt = cinemill.verify(source, output, threads=threads)
    assert receipt.status == "verified"
    assert receipt.transfer_syntax_after == written.transfer_syntax_after
    assert (receipt.verification == "every byte") == (written.status == "copied")
    assert receipt.digest in {written.digest, ""}


@pytest.mark.parametrize("syntax", STREAMS)
@pytest.mark.parametrize("shape", [(3, 20, 30), (2, 16, 24, 3)])
def test_codestreams_of_others_are_the_same_samples(pair, syntax, shape):
    frames, interpretation = noise(shape), "MONOCHROME2" if len(shape) == 3 else "RGB"
    receipt = pair(
        native(frames, interpretation=interpretation),
        encoded(frames, syntax, interpretation=interpretation),
    )
    assert (receipt.status, receipt.frames) == ("verified", shape[0])


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize(("bits", "signed"), [(8, True), (10, False), (12, True), (16, False), (16, True)])
def test_any_sign_and_depth_is_verified_in_any_target(tmp_path, target, bits, signed):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(native(noise((2, 9, 7), bits, signed=signed), bits_stored=bits))
    cinemill.transcode(source, output, to=target)
    assert cinemill.verify(source, output).status == "verified"


@pytest.mark.parametrize("target", NAMES)
def test_bits_above_bits_stored_are_no_part_of_the_sample(tmp_path, target):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frames = noise((2, 9, 7), 12) | np.uint16(0xA000)
    source.write_bytes(native(frames, bits_stored=12))
    written = cinemill.transcode(source, output, to=target)
    receipt = cinemill.verify(source, output)
    assert (receipt.status, receipt.digest) == ("verified", written.digest)
    if target not in {"explicit", "implicit", "deflated"}:
        assert any("bits above Bits Stored 12" in warning for warning in receipt.warnings)


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("bits", [8, 16])
def test_byte_order_vr_and_the_order_of_colours_are_no_difference(pair, syntax, bits):
    frames = noise((2, 8, 6, 3), bits)
    receipt = pair(
        native(frames, interpretation="RGB"), native(frames, syntax, interpretation="RGB", planar=True)
    )
    assert receipt.status == "verified"


@pytest.mark.parametrize("syntax", [EXPLICIT, *STREAMS])
def test_one_changed_sample_is_found_and_named(pair, syntax):
    frames = noise((5, 20, 30))
    changed = frames.copy()
    changed[3, 11, 17] ^= 4
    after = native(changed) if syntax == EXPLICIT else encoded(changed, syntax)
    expected, found = frames[3, 11, 17], changed[3, 11, 17]
    with pytest.raises(VerificationError) as error:
        pair(native(frames), after)
    assert error.value.frame == 3
    assert error.value.message == (
        "1 of 5 frames differ, 1 of 3000 samples by up to 4, "
        f"first at row 11, column 17 of frame 3: expected {expected}, found {found}"
    )


def test_a_changed_sample_of_a_lossy_source_is_found(tmp_path):
    output = tmp_path / "out.dcm"
    cinemill.transcode(CINE, output, to="explicit")
    data = bytearray(output.read_bytes())
    data[-1000] ^= 1
    output.write_bytes(data)
    with pytest.raises(
        VerificationError, match=r"1 of 30 frames differ, 1 of 6912000 samples by up to 1, .* frame 29"
    ):
        cinemill.verify(CINE, output)


def test_frames_in_another_order_are_told_as_such(pair):
    frames = noise((4, 20, 30))
    with pytest.raises(VerificationError, match="in another order: frame 1 is the source's frame 2") as error:
        pair(native(frames), encoded(frames[[0, 2, 1, 3]], JPEG_LS))
    assert error.value.frame == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frames: frames[:-1], "expected frames 3, found 2"),
        (lambda frames: frames[:, :-1], "expected rows 20, found 19"),
        (lambda frames: frames[:, :, :-1], "expected columns 30, found 29"),
        (lambda frames: frames.view("i1"), "expected Pixel Representation 0, found 1"),
        (lambda frames: np.stack([frames] * 3, axis=-1), "expected samples per pixel 1, found 3"),
    ],
)
def test_other_geometry_is_told_by_name(pair, change, said):
    frames = noise((3, 20, 30))
    other = change(frames)
    after = native(other, interpretation="RGB" if other.ndim == 4 else "MONOCHROME2")
    with pytest.raises(VerificationError, match=said):
        pair(native(frames), after)


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEG_BASELINE, jpeg),
        (JPEG_LS_NEAR, lambda frame: jpeg_ls_stream(frame, near=2)),
        (JPEG_2000_LOSSY, lambda frame: jpeg_2000(frame, level=30)),
    ],
)
def test_a_lossy_output_is_told_as_such(pair, syntax, stream):
    frames = smooth((32, 48))[None] ^ noise((2, 32, 48), 8) % 16
    with pytest.raises(
        VerificationError,
        match=r"the output is lossy: 2 of 2 frames differ, \d+ of 3072 samples by up to \d+",
    ):
        pair(native(frames), encoded(frames, syntax, stream))


def test_inverted_grey_is_no_conversion(pair):
    frames = noise((1, 8, 8))
    with pytest.raises(
        VerificationError, match="expected samples in MONOCHROME2 as in the source, found MONOCHROME1"
    ):
        pair(native(frames), native(255 - frames, interpretation="MONOCHROME1"))


def test_a_label_of_another_colour_space_is_found(pair):
    frames = noise((1, 8, 8, 3))
    with pytest.raises(VerificationError, match="1 of 1 frames differ"):
        pair(native(frames, interpretation="RGB"), native(frames, interpretation="YBR_FULL"))


def test_a_label_that_the_codestream_contradicts_is_told_though_the_samples_are_right(pair):
    frames = noise((1, 16, 16, 3))
    with pytest.raises(VerificationError) as error:
        pair(native(frames, interpretation="RGB"), encoded(frames, JPEG_2000, interpretation="YBR_FULL"))
    assert error.value.message == (
        "1 element differs: (0028,0004) PhotometricInterpretation: expected 'RGB', found 'YBR_FULL'"
    )


@pytest.mark.parametrize("target", ["rle", "explicit", "implicit", "deflated"])
def test_samples_that_are_not_in_the_lowest_bits_are_compared_whole(tmp_path, target):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frames = noise((2, 9, 7), 12) << np.uint16(4)
    source.write_bytes(native(frames, bits_stored=12, HighBit=15))
    cinemill.transcode(source, output, to=target)
    assert cinemill.verify(source, output).status == "verified"
    frames[1, 2, 3] ^= 1 << 15
    output.write_bytes(native(frames, bits_stored=12, HighBit=15))
    with pytest.raises(VerificationError, match="1 of 2 frames differ, 1 of 126 samples by up to 32768"):
        cinemill.verify(source, output)


def test_more_bits_stored_are_a_difference_unless_the_codestream_needs_them(pair):
    frames = noise((1, 9, 7), 10)
    with pytest.raises(
        VerificationError, match="BitsStored: expected 12, found 16; .*HighBit: expected 11, found 15"
    ):
        pair(native(frames, bits_stored=12), native(frames, bits_stored=16))
    deep = noise((1, 9, 7), 16)
    before = encoded(deep, JPEG_LS, bits_stored=12)
    assert pair(before, native(deep, bits_stored=16)).status == "verified"


def test_fewer_bits_stored_lose_samples(pair):
    frames = noise((1, 9, 7), 12)
    with pytest.raises(VerificationError, match="1 of 1 frames differ"):
        pair(native(frames, bits_stored=12), encoded(frames & 0x3FF, JPEG_LS, bits_stored=10))


def test_a_decoder_that_is_wrong_is_outvoted(pair, monkeypatch):
    class Wrong:
        name, version, batch = "wrong", "1", 4

        def decode(self, codestreams, pixels):
            return [np.zeros(pixels.shape, pixels.dtype) for _ in codestreams]

    class Failing(Wrong):
        def decode(self, codestreams, pixels):
            raise CodecError("no idea", frame=0)

    frames = noise((3, 20, 30))
    for decoder in (Wrong(), Failing()):
        monkeypatch.setattr(table, "independent", lambda coding, decoder=decoder: decoder)
        assert pair(native(frames), encoded(frames, JPEG_LS)).status == "verified"


def test_the_decoders_share_no_code_with_the_encoders(pair):
    frames = noise((1, 20, 30))
    for syntax, name in (
        (JPEG_LS, "charls"),
        (RLE, "dicomrle"),
        (JPEG_2000, "openjpeg"),
        (HTJ2K, "openjpeg"),
    ):
        receipt = pair(native(frames), encoded(frames, syntax))
        assert name in receipt.decoder
        assert receipt.decoder in receipt.verification


def test_damage_in_the_output_is_told_with_its_path(tmp_path):
    output = tmp_path / "out.dcm"
    cinemill.transcode(CINE, output, to="jpeg-ls")
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile) as error:
        cinemill.verify(CINE, output)
    assert error.value.path == output
    read = pydicom.dcmread(tmp_path / "out.dcm", force=True, stop_before_pixels=True)
    assert read.NumberOfFrames == 30
    output.write_bytes(b"")
    with pytest.raises(VerificationError, match="is no instance: the file is empty"):
        cinemill.verify(CINE, output)


def test_damage_in_one_codestream_is_told_with_its_frame(tmp_path):
    output = tmp_path / "out.dcm"
    cinemill.transcode(CINE, output, to="rle")
    read = pydicom.dcmread(output)
    frames = list(generate_fragments(read.PixelData))[1:]
    frames[7] = frames[7][:64] + bytes(len(frames[7]) - 64)
    read.PixelData = encapsulate(frames)
    read.save_as(output)
    with pytest.raises((VerificationError, CodecError)) as error:
        cinemill.verify(CINE, output)
    assert error.value.frame == 7


def test_an_offset_table_that_is_wrong_is_told_though_the_frames_are_right(pair):
    frames = noise((3, 20, 30))
    streams = [[rle_stream(frame)] for frame in frames]
    right, wrong = (
        part10(header(frames), encapsulated_element(streams, entries=entries), RLE)
        for entries in (None, [0, 8, 16])
    )
    with pytest.raises(
        VerificationError, match="the Basic Offset Table .* does not point to the starts of 3 frames"
    ):
        pair(native(frames), wrong)
    with pytest.raises(VerificationError, match="Basic Offset Table"):
        pair(right, wrong)
    assert pair(wrong, right).status == "verified"


def test_videos_are_compared_as_bytes(pair):
    stream = bytes(range(200)) * 5
    described = header(smooth((8, 8))[None], NumberOfFrames=3)
    video = "1.2.840.10008.1.2.4.102"
    before = part10(described, encapsulated_element([[stream]]), video)
    cut = part10(described, encapsulated_element([[stream[:400], stream[400:]]]), video)
    assert pair(before, cut).verification.startswith("every frame's bytes")
    other = part10(described, encapsulated_element([[stream[:400] + b"?" + stream[401:]]]), video)
    with pytest.raises(VerificationError, match="the bytes of the pixel data differ"):
        pair(before, other)


def test_the_work_stops_on_request(tmp_path):
    output = tmp_path / "out.dcm"
    cinemill.transcode(CINE, output, to="rle")
    shutil.copy(CINE, tmp_path / "same.dcm")
    for path in (output, tmp_path / "same.dcm"):
        with pytest.raises(Cancelled):
            cinemill.verify(CINE, path, cancelled=lambda: True)
