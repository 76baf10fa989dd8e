"""Damage is found wherever a codestream lets it be found; what is whole is not called damaged."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import cinemill
from cinemill.errors import CinemillError, CodecError, DamagedFile, UnsupportedPixelFormat
from tests.support.files import pydicom_files
from tests.support.generate import (
    DEFLATED_FRAME,
    ENCAPSULATED_UNCOMPRESSED,
    HTJ2K,
    JPEG_2000,
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
    noise,
    part10,
    rle_stream,
    smooth,
)

FRAME = smooth((40, 50))
NOISE = noise((40, 50))
STREAMS = {
    JPEG_LS: jpeg_ls_stream(NOISE),
    JPEG_LOSSLESS_SV1: jpeg_lossless(NOISE, 8),
    JPEG_BASELINE: jpeg(FRAME),
    JPEG_2000: jpeg_2000(NOISE),
    HTJ2K: htj2k(NOISE),
    RLE: rle_stream(NOISE),
}


def file_of(fragments, syntax, frames=1, **options):
    dataset = header(np.zeros((frames, 40, 50), np.uint8))
    return part10(dataset, encapsulated_element(fragments, **options), syntax)


@pytest.mark.parametrize("syntax", STREAMS)
def test_second_codestream_in_a_frame_is_never_dropped(transcode, syntax):
    """Two frames in one fragment, with Number of Frames 1."""
    stream = STREAMS[syntax]
    twice = stream + bytes(len(stream) % 2) + stream
    for table in ("basic", "empty"):
        with pytest.raises(CodecError, match="follow|found more") as caught:
            transcode(file_of([[twice]], syntax, table=table), "explicit")
        assert caught.value.frame == 0


@pytest.mark.parametrize("syntax", [JPEG_BASELINE, JPEG_LOSSLESS_SV1, JPEG_2000, HTJ2K])
@pytest.mark.parametrize("junk", [b"abc", b"x" * 1000, b"\xff\xd9", bytes(5000)])
def test_junk_behind_a_stream_does_no_harm(transcode, syntax, junk):
    whole = transcode(file_of([[STREAMS[syntax]]], syntax), "explicit").reading
    result = transcode(file_of([[STREAMS[syntax] + junk]], syntax), "explicit")
    assert np.array_equal(result.reading.frames, whole.frames)


@pytest.mark.parametrize("lengths", [b"\0\0", b"\x7f\x7f", b"\x12\x30"])
def test_damaged_htj2k_never_comes_out_by_half(transcode, capfd, lengths):
    """OpenJPH stops at a code-block whose lengths can't be (T.814 7.1), which imagecodecs prints and forgets."""
    damaged = STREAMS[HTJ2K][:-4] + lengths + STREAMS[HTJ2K][-2:]
    with pytest.raises(CodecError) as caught:
        transcode(file_of([[STREAMS[HTJ2K]], [damaged]], HTJ2K, frames=2), "explicit")
    assert caught.value.frame == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("marker", [0xC5, 0xC9, 0xCA, 0xCF])
def test_process_that_is_not_read_is_refused_by_name(transcode, marker):
    stream = STREAMS[JPEG_BASELINE].replace(b"\xff\xc0", bytes((0xFF, marker)), 1)
    with pytest.raises(UnsupportedPixelFormat, match=f"SOF{marker - 0xC0}") as caught:
        transcode(file_of([[STREAMS[JPEG_BASELINE]], [stream]], JPEG_BASELINE, frames=2), "explicit")
    assert caught.value.frame == 1


@pytest.mark.parametrize(
    ("syntax", "streams"),
    [
        (ENCAPSULATED_UNCOMPRESSED, [NOISE.tobytes() + b"ab"]),
        (DEFLATED_FRAME, [zlib.compress(NOISE.tobytes() + b"ab", wbits=-15)]),
    ],
)
def test_more_samples_than_promised_fail(transcode, syntax, streams):
    with pytest.raises(CodecError, match="expected 2000 bytes of samples, found 2002"):
        transcode(file_of([streams], syntax), "explicit")


@pytest.mark.parametrize("syntax", STREAMS)
@pytest.mark.parametrize("table", ["basic", "empty"])
def test_frame_without_a_byte_fails_even_where_nothing_is_decoded(transcode, syntax, table):
    stream = STREAMS[syntax]
    source = file_of([[stream], [b""], [stream]], syntax, frames=3, table=table)
    for target in ("jpeg-ls", "jpeg-2000", "htj2k", "rle"):
        with pytest.raises(DamagedFile, match="1 of 3 frames") as caught:
            transcode(source, target)
        assert caught.value.frame == 1


def test_empty_fragments_in_front_are_no_frame(transcode):
    stream = STREAMS[JPEG_LS]
    source = file_of(
        [[b"", stream[:100], stream[100:]], [b"", b"", stream]], JPEG_LS, frames=2, table="empty"
    )
    assert np.array_equal(transcode(source, "explicit").reading.frames, [NOISE, NOISE])


def test_first_frame_does_not_speak_for_all(transcode):
    """Lossy is lossy from whatever frame on; under the name of a lossless syntax, such a frame fails."""
    streams = [[jpeg_ls_stream(FRAME)], [jpeg_ls_stream(FRAME, near=3)]]
    result = transcode(file_of(streams, JPEG_LS_NEAR, frames=2), "explicit")
    assert result.receipt.lossy_source is True
    assert result.dataset.LossyImageCompressionMethod == "ISO_14495_1"
    with pytest.raises(CodecError, match="lossless codestream like the first frame's") as caught:
        transcode(file_of(streams, JPEG_LS, frames=2), "explicit")
    assert caught.value.frame == 1


def test_decoder_that_cannot_confirm_is_recorded(transcode, monkeypatch):
    def give_up(self, codestreams, pixels):
        raise CodecError("too odd for me", frame=0)

    monkeypatch.setattr("cinemill.codecs.jpeg_ls.charls.CharLS.decode", give_up)
    result = transcode(file_of([[STREAMS[JPEG_LS]]] * 40, JPEG_LS, frames=40), "explicit")
    (warning,) = result.receipt.warnings
    assert warning == "charls can't confirm what cinemill-jpegls decoded (too odd for me)"


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_ends_by_name_and_leaves_nothing(source, tmp_path, seed):
    """Never a traceback, and never an output of a file that failed."""
    random = np.random.default_rng(seed)
    small = [path for path in pydicom_files() if path.stat().st_size < 50_000]
    output = tmp_path / "output.dcm"
    for _ in range(100):
        data = bytearray(small[int(random.integers(len(small)))].read_bytes())
        for _ in range(int(random.integers(1, 5))):
            damage(data, random)
        target = ("jpeg-ls", "rle", "explicit", "implicit")[int(random.integers(4))]
        try:
            cinemill.transcode(source(bytes(data)), output, to=target, threads=1, repair=bool(seed % 2))
        except CinemillError:
            assert [path.name for path in tmp_path.iterdir()] == ["source.dcm"]
        output.unlink(missing_ok=True)


def damage(data, random):
    """Change, remove, insert or cut bytes, mostly of the header."""
    at = int(random.integers(len(data) if random.random() < 0.3 else min(len(data), 3000)))
    kind = int(random.integers(5))
    if kind == 0:
        data[at] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del data[at : at + 2 ** int(random.integers(6))]
    elif kind == 2:
        data[at:at] = random.bytes(2 ** int(random.integers(4)))
    elif kind == 3:
        data[at : at + 4] = int(random.choice([0, 2, 8, 1 << 31, 0xFFFFFFFE, 0xFFFFFFFF])).to_bytes(
            4, "little"
        )
    elif random.random() < 0.2:
        del data[at:]
