"""Codestreams as they come: every lossless process exactly, damage by name, small deviations with a record."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import cinemill
from cinemill.codecs.jpeg_2000 import decode
from cinemill.codecs.jpeg_2000 import htj2k as htj2k_codec
from cinemill.errors import CodecError, SourceError, VerificationError
from cinemill.kernels.machine import x86
from tests.support.generate import (
    EXPLICIT,
    HTJ2K,
    JPEG_2000,
    JPEG_2000_LOSSY,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
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

GREY = smooth((40, 50))[None]
NOISE = noise((1, 40, 50))


def encapsulated(streams, syntax, frames=GREY, **elements):
    described = np.repeat(frames, len(streams), axis=0) if len(frames) != len(streams) else frames
    samples = 3 if frames.ndim == 4 else 1
    label = elements.pop("label", "RGB" if samples == 3 else "MONOCHROME2")
    dataset = header(described, label, samples=samples, **elements)
    return part10(dataset, encapsulated_element([[stream] for stream in streams]), syntax)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_differences_of_jpeg_lossless_wrap(transcode, predictor, bits):
    """T.81 H.1.2.1: differences are modulo 2^16; noise with both extremes next to each other wraps everywhere."""
    frames = noise((1, 33, 47), bits)
    frames[0, ::2, ::2] = (1 << bits) - 1
    frames[0, 1::2, ::2] = 0
    source = encapsulated(
        [jpeg_lossless(frames[0], bits, predictor)],
        JPEG_LOSSLESS_SV1 if predictor == 1 else JPEG_LOSSLESS,
        frames,
        bits_stored=bits,
    )
    for target in ("explicit", "jpeg-ls"):
        result = transcode(source, target)
        assert np.array_equal(result.reading.frames, frames)
        assert result.receipt.lossy_source is False


def test_jpeg_lossless_colour(transcode):
    frames = noise((1, 33, 47, 3))
    for label in ("RGB", "YBR_FULL"):
        source = encapsulated([jpeg_lossless(frames[0], 8)], JPEG_LOSSLESS_SV1, frames, label=label)
        result = transcode(source, "explicit", colour="keep")
        assert np.array_equal(result.reading.frames, frames)
        assert result.dataset.PhotometricInterpretation == label


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000])
def test_lossy_jpeg_under_a_lossless_name_is_called_lossy(transcode, progressive, syntax):
    stream = jpeg(GREY[0], progressive=progressive)
    result = transcode(encapsulated([stream], syntax), "htj2k")
    assert np.array_equal(result.reading.frames[0], imagecodecs.jpeg8_decode(stream))
    assert result.receipt.lossy_source is True
    assert result.dataset.LossyImageCompression == "01"
    assert result.dataset.LossyImageCompressionMethod == "ISO_10918_1"
    assert any("SOF" in warning for warning in result.receipt.warnings)


def test_lossless_jpeg_under_a_lossy_name_is_not_called_lossy(transcode):
    result = transcode(encapsulated([jpeg_lossless(NOISE[0], 8)], JPEG_BASELINE, NOISE), "jpeg-ls")
    assert np.array_equal(result.reading.frames, NOISE)
    assert result.receipt.lossy_source is False
    assert "LossyImageCompression" not in result.dataset


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        pytest.param(jpeg_ls_stream(GREY[0]), JPEG_LS, id="jpeg-ls"),
        pytest.param(jpeg_lossless(GREY[0], 8), JPEG_LOSSLESS_SV1, id="jpeg-lossless"),
        pytest.param(jpeg(GREY[0]), JPEG_BASELINE, id="jpeg"),
    ],
)
def test_a_missing_end_marker_does_no_harm_where_all_samples_are_there(transcode, stream, syntax):
    whole = transcode(encapsulated([stream, stream], syntax), "explicit")
    assert not any("EOI" in warning for warning in whole.receipt.warnings)
    result = transcode(encapsulated([stream, stream[:-2]], syntax), "explicit")
    assert np.array_equal(result.reading.frames, whole.reading.frames)
    assert any("EOI" in warning for warning in result.receipt.warnings)
    with pytest.raises(CodecError):
        transcode(encapsulated([stream, stream[:-4]], syntax), "explicit")


@pytest.mark.parametrize("cut", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("ended", [True, False], ids=["with EOI", "without EOI"])
@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        pytest.param(jpeg_ls_stream(GREY[0]), JPEG_LS, id="jpeg-ls"),
        pytest.param(jpeg_lossless(GREY[0], 8), JPEG_LOSSLESS_SV1, id="jpeg-lossless"),
        pytest.param(jpeg(GREY[0]), JPEG_BASELINE, id="jpeg"),
        pytest.param(jpeg_2000(GREY[0]), JPEG_2000, id="jpeg-2000"),
        pytest.param(htj2k(GREY[0]), HTJ2K, id="htj2k"),
        pytest.param(rle_stream(GREY[0]), RLE, id="rle"),
    ],
)
def test_stream_cut_short_fails_the_frame(source, tmp_path, cut, ended, stream, syntax):
    """A JPEG-LS stream cut in half succeeds elsewhere with half of its samples wrong."""
    short = stream[: int(len(stream) * cut)] + (b"\xff\xd9" if ended and syntax != RLE else b"")
    original = encapsulated([stream, short], syntax)
    with pytest.raises(CodecError) as caught:
        cinemill.transcode(source(original), tmp_path / "output.dcm", to="explicit")
    assert caught.value.frame == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.dcm"]


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        pytest.param(jpeg_ls_stream(NOISE[0]), JPEG_LS, id="jpeg-ls"),
        pytest.param(jpeg_lossless(NOISE[0], 8), JPEG_LOSSLESS_SV1, id="jpeg-lossless"),
        pytest.param(jpeg(NOISE[0]), JPEG_BASELINE, id="jpeg"),
        pytest.param(jpeg_2000(NOISE[0]), JPEG_2000, id="jpeg-2000"),
    ],
)
def test_bytes_missing_in_the_middle_fail_the_frame(source, tmp_path, stream, syntax):
    middle = len(stream) // 2
    damaged = stream[: middle - 20] + stream[middle + 20 :]
    with pytest.raises(CodecError):
        cinemill.transcode(source(encapsulated([damaged], syntax)), tmp_path / "output.dcm", to="explicit")


def test_failure_at_frame_186_names_it_and_leaves_nothing(source, tmp_path):
    streams = [jpeg_ls_stream(GREY[0])] * 200
    streams[186] = streams[186][:200] + b"\xff\xd9"
    for target in ("explicit", "htj2k"):
        for threads in (1, 3):
            with pytest.raises(CodecError) as caught:
                cinemill.transcode(
                    source(encapsulated(streams, JPEG_LS)),
                    tmp_path / "output.dcm",
                    to=target,
                    threads=threads,
                )
            assert caught.value.frame == 186
            assert "frame 186" in str(caught.value)
            assert sorted(path.name for path in tmp_path.iterdir()) == ["source.dcm"]


@pytest.mark.parametrize(
    "padding", [b"\0", b"\xff", b"\0" * 100, b"\0\xff\1"], ids=["zero", "ff", "many zeros", "anything"]
)
@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        pytest.param(jpeg_ls_stream(NOISE[0]), JPEG_LS, id="jpeg-ls"),
        pytest.param(jpeg_lossless(NOISE[0], 8), JPEG_LOSSLESS_SV1, id="jpeg-lossless"),
        pytest.param(jpeg_2000(NOISE[0]), JPEG_2000, id="jpeg-2000"),
        pytest.param(htj2k(NOISE[0]), HTJ2K, id="htj2k"),
        pytest.param(rle_stream(NOISE[0]), RLE, id="rle"),
    ],
)
def test_padding_behind_a_stream_does_no_harm(transcode, stream, syntax, padding):
    if syntax == RLE and b"\xff" in padding:
        pytest.skip("in RLE, 0xFF begins a run")
    result = transcode(encapsulated([stream + padding], syntax, NOISE), "explicit")
    assert np.array_equal(result.reading.frames, NOISE)


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        pytest.param(jpeg_ls_stream(NOISE[0]), JPEG_LS, id="jpeg-ls"),
        pytest.param(jpeg_lossless(NOISE[0], 8), JPEG_LOSSLESS_SV1, id="jpeg-lossless"),
    ],
)
def test_zero_byte_before_eoi_is_accepted(transcode, stream, syntax):
    end = stream.rindex(b"\xff\xd9")
    result = transcode(encapsulated([stream[:end] + b"\0" + stream[end:]], syntax, NOISE), "explicit")
    assert np.array_equal(result.reading.frames, NOISE)


def test_zero_byte_before_eoi_of_lossy_jpeg_is_accepted(transcode):
    stream = jpeg(GREY[0])
    end = stream.rindex(b"\xff\xd9")
    result = transcode(encapsulated([stream[:end] + b"\0" + stream[end:]], JPEG_BASELINE), "explicit")
    assert np.array_equal(result.reading.frames[0], imagecodecs.jpeg8_decode(stream))


@pytest.mark.parametrize("extra", [b"\x00\x07", b"\x00\x07\x80"])
def test_one_byte_too_many_in_an_rle_segment_is_accepted(transcode, extra):
    result = transcode(encapsulated([rle_stream(NOISE[0]) + extra], RLE, NOISE), "explicit")
    assert np.array_equal(result.reading.frames, NOISE)


def test_more_bytes_too_many_in_an_rle_segment_fail(transcode):
    with pytest.raises(CodecError, match="expected 2000 bytes"):
        transcode(encapsulated([rle_stream(NOISE[0]) + b"\x02abc"], RLE, NOISE), "explicit")


def test_delimiter_inside_a_codestream_ends_nothing(transcode):
    """PS3.5 §A.4: only item lengths count."""
    comment = b"\xff\xfe\x00\x0a" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    stream = jpeg_ls_stream(NOISE[0])
    stream = stream[:2] + comment + stream[2:]
    result = transcode(encapsulated([stream] * 3, JPEG_LS, NOISE), "explicit")
    assert np.array_equal(result.reading.frames, np.repeat(NOISE, 3, axis=0))


@pytest.mark.parametrize(
    ("stream", "syntax", "method"),
    [
        pytest.param(jpeg(GREY[0]), JPEG_BASELINE, "ISO_10918_1", id="jpeg"),
        pytest.param(jpeg_ls_stream(GREY[0], near=3), JPEG_LS_NEAR, "ISO_14495_1", id="near-lossless"),
        pytest.param(jpeg_2000(GREY[0], level=40), JPEG_2000_LOSSY, "ISO_15444_1", id="jpeg-2000"),
    ],
)
def test_lossy_history_is_written_once_and_kept(transcode, stream, syntax, method):
    result = transcode(encapsulated([stream] * 2, syntax), "explicit")
    ratio = GREY.nbytes * 2 / (2 * (len(stream) + len(stream) % 2))
    assert result.dataset.LossyImageCompression == "01"
    assert result.dataset.LossyImageCompressionMethod == method
    assert float(result.dataset.LossyImageCompressionRatio) == pytest.approx(ratio, rel=1e-3)
    assert result.receipt.lossy_source is True
    assert result.dataset.SOPInstanceUID == "1.2.3.4"
    again = transcode(result.path.read_bytes(), "jpeg-ls")
    for name in ("LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio"):
        assert again.dataset[name] == result.dataset[name]


def test_lossy_htj2k_is_clamped(transcode):
    """OpenJPH lets samples past black and white wrap around: 0 becomes 255."""
    rows, columns = np.indices((64, 64))
    frame = np.where((rows // 4 + columns // 4) % 2, 255, 0).astype(np.uint8)
    colour = np.stack([frame, frame.T, 255 - frame], axis=-1)
    stream = bytes(imagecodecs.htj2k_encode(colour, level=0.05, reversible=False, rgb=True, planar=False))
    result = transcode(
        encapsulated([stream], "1.2.840.10008.1.2.4.203", colour[None], label="YBR_ICT"), "explicit"
    )
    assert np.abs(result.reading.frames[0].astype(int) - colour).max() < 128
    assert result.receipt.lossy_source is True


def test_lossy_history_is_appended_to(transcode):
    source = encapsulated(
        [jpeg(GREY[0])],
        JPEG_BASELINE,
        LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_15444_1",
        LossyImageCompressionRatio="12.5",
    )
    result = transcode(source, "jpeg-ls")
    assert list(result.dataset.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_10918_1"]
    assert len(result.dataset.LossyImageCompressionRatio) == 2
    assert result.dataset.LossyImageCompressionRatio[0] == 12.5


def test_history_of_the_source_itself_is_not_doubled(transcode):
    source = encapsulated(
        [jpeg(GREY[0])],
        JPEG_BASELINE,
        LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_10918_1",
        LossyImageCompressionRatio="7.7",
    )
    result = transcode(source, "jpeg-ls")
    assert result.dataset.LossyImageCompressionMethod == "ISO_10918_1"
    assert result.dataset.LossyImageCompressionRatio == 7.7


def test_receipt_says_which_decoder_made_the_samples(transcode):
    """Decoders of lossy JPEG differ by one: exact means exact against this one."""
    stream = jpeg(GREY[0])
    receipt = transcode(encapsulated([stream], JPEG_BASELINE), "jpeg-ls").receipt
    ours = f"cinemill-jpeg {cinemill.__version__} with " if x86.available() else ""
    assert receipt.decoder == f"{ours}libjpeg-turbo {imagecodecs.jpeg8_version().rpartition(' ')[2]}"


@pytest.mark.parametrize("verify", ["full", "independent", "sample"])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit"])
def test_blank_output_is_noticed(source, tmp_path, monkeypatch, verify, target):
    """Verification compares pixels: an encoder that writes valid blank frames is caught."""
    from cinemill.codecs import table
    from cinemill.syntaxes import target as find

    encoder = type(table.encoder(find(target).coding))
    honest = encoder.encode
    calls = []

    def blank(self, frames, pixels):
        calls.append(len(frames))
        return honest(self, [np.zeros_like(frame) for frame in frames] if len(calls) < 2 else frames, pixels)

    monkeypatch.setattr(encoder, "encode", blank)
    original = encapsulated([jpeg_lossless(NOISE[0], 8)], JPEG_LOSSLESS_SV1, NOISE)
    with pytest.raises(VerificationError):
        cinemill.transcode(source(original), tmp_path / "output.dcm", to=target, verify=verify)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.dcm"]


def test_later_frame_of_another_process_fails(transcode):
    streams = [jpeg_lossless(NOISE[0], 8), jpeg(NOISE[0])]
    with pytest.raises(CodecError, match=r"SOF3.*SOF0") as caught:
        transcode(encapsulated(streams, JPEG_LOSSLESS_SV1, NOISE), "explicit")
    assert caught.value.frame == 1


@pytest.mark.parametrize(
    "stream",
    [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51", b"\0" * 70, b"\xff" * 64],
    ids=["nothing", "SOI", "SOI EOI", "SOC SIZ", "zeros", "ones"],
)
@pytest.mark.parametrize("syntax", [JPEG_BASELINE, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000, HTJ2K, RLE])
def test_no_codestream_at_all_fails_by_name(transcode, stream, syntax):
    with pytest.raises(SourceError):
        transcode(encapsulated([stream], syntax), "explicit")


def test_native_output_is_compared_with_a_second_decode(transcode):
    frames = noise((20, 40, 50))
    receipt = transcode(
        part10(header(frames), native_element(native_bytes(frames), EXPLICIT), EXPLICIT), "rle"
    ).receipt
    assert "every frame" in receipt.verification


@pytest.mark.skipif(not x86.available(), reason="the kernels do not run here")
def test_receipt_says_that_openjpeg_decoded_what_the_kernels_left_to_it(transcode, monkeypatch):
    source = encapsulated([jpeg_2000(NOISE[0])] * 3, JPEG_2000, NOISE)
    openjpeg = f"openjpeg {imagecodecs.jpeg2k_version().rpartition(' ')[2]}"
    monkeypatch.setattr(decode._spared, "worth_compiling", lambda _: True)
    assert transcode(source, "rle").receipt.decoder.startswith("cinemill-jpeg2000 ")
    monkeypatch.setattr(decode._spared, "worth_compiling", lambda _: False)
    assert transcode(source, "rle").receipt.decoder == openjpeg
    monkeypatch.setattr(htj2k_codec._spared, "worth_compiling", lambda _: False)
    assert transcode(source, "htj2k").receipt.verification.startswith(f"every frame by {openjpeg};")
    monkeypatch.setattr(htj2k_codec._spared, "worth_compiling", lambda _: True)
    assert transcode(source, "htj2k").receipt.verification.startswith("every frame by cinemill-htj2k ")
