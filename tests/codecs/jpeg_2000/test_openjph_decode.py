"""OpenJPH's second opinion on HTJ2K: the samples that were encoded, and never those of a frame that it gave up."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import cinemill
from cinemill.codecs import table
from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph_decode import OpenJphOpinion
from cinemill.errors import CodecError
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.support.generate import EXPLICIT, header, native_bytes, native_element, noise, part10

KINDS = [
    (samples, bits, signed, label)
    for samples, label in ((1, "MONOCHROME2"), (3, "RGB"), (3, "YBR_FULL"))
    for bits in (1, 5, 8, 10, 11, 12, 16)
    for signed in (False, True)
]


def pixel_format(rows, columns, samples=1, bits=8, label="MONOCHROME2", *, signed=False):
    return PixelFormat(rows, columns, samples, 8 if bits <= 8 else 16, bits, signed, label)


def frames_of(pixels):
    rng = np.random.default_rng(0)
    lowest = -(1 << pixels.bits_stored - 1) if pixels.signed else 0
    full = rng.integers(0, 1 << pixels.bits_stored, (4, *pixels.shape))
    full[1] >>= pixels.bits_stored // 2
    full[2] = full[2] > full[2].mean()
    full[3] = 0
    return list((full + lowest).astype(pixels.dtype))


@pytest.mark.parametrize(("samples", "bits", "signed", "label"), KINDS)
def test_it_decodes_what_was_encoded(samples, bits, signed, label):
    for rows, columns in ((1, 1), (1, 70), (67, 2), (70, 133)):
        pixels = pixel_format(rows, columns, samples, bits, label, signed=signed)
        frames = frames_of(pixels)
        for frame, found in zip(
            frames, OpenJphOpinion().decode(Htj2k().encode(frames, pixels), pixels), strict=True
        ):
            assert found.dtype == frame.dtype
            np.testing.assert_array_equal(found, frame)


def test_what_openjph_encodes_in_place_of_the_kernels_is_decoded_by_openjpeg(monkeypatch):
    asked: list[int] = []
    decode = imagecodecs.htj2k_decode

    def counted(data, out):
        asked.append(1)
        return decode(data, out=out)

    monkeypatch.setattr(imagecodecs, "htj2k_decode", counted)
    for bits, label, samples, count in (
        (12, "MONOCHROME2", 1, 4),
        (13, "MONOCHROME2", 1, 0),
        (11, "RGB", 3, 4),
        (12, "RGB", 3, 0),
    ):
        pixels = pixel_format(40, 50, samples, bits, label)
        asked.clear()
        OpenJphOpinion().decode(Htj2k().encode(frames_of(pixels), pixels), pixels)
        assert len(asked) == count


def test_what_it_leaves_undecoded_is_not_the_frame_that_lay_in_memory(monkeypatch):
    """A decoder that keeps its errors to itself, and leaves half of the frame as it was."""
    pixels = pixel_format(64, 80)
    frame = noise((1, 64, 80))[0]
    streams = Htj2k().encode([frame], pixels)

    def half(_, out):
        out[:32] = frame[:32]

    monkeypatch.setattr(imagecodecs, "htj2k_decode", half)
    for _ in range(3):
        (found,) = OpenJphOpinion().decode(streams, pixels)
        np.testing.assert_array_equal(found[:32], frame[:32])
        assert (found[32:] == frame[32:]).mean() < 0.05
        found[:] = frame


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damage_makes_other_samples_or_an_error():
    pixels = pixel_format(120, 150)
    frame = noise((1, 120, 150))[0]
    stream = Htj2k().encode([frame], pixels)[0]
    rng = np.random.default_rng(4)
    start = stream.index(b"\xff\x93") + 60
    for _ in range(60):
        data = bytearray(stream)
        at = int(rng.integers(start, len(data) - 100))
        data[at : at + 40] = bytes(40)
        try:
            (found,) = OpenJphOpinion().decode([bytes(data)], pixels)
        except CodecError:
            continue
        assert not np.array_equal(found, frame)


@pytest.mark.skipif(not x86.available(), reason="the kernels don't run here")
def test_every_sixteenth_frame_is_decoded_by_it_and_the_receipt_says_so(tmp_path, monkeypatch):
    samples = noise((33, 24, 40), 8)
    source = tmp_path / "in.dcm"
    source.write_bytes(part10(header(samples), native_element(native_bytes(samples), EXPLICIT), EXPLICIT))
    given: list[int] = []
    decode = OpenJphOpinion.decode

    def counted(self, codestreams, pixels):
        given.append(len(codestreams))
        return decode(self, codestreams, pixels)

    monkeypatch.setattr(OpenJphOpinion, "decode", counted)
    receipt = cinemill.transcode(source, tmp_path / "out.dcm", to="htj2k", threads=1)
    assert sum(given) == 3
    assert f"every 16th by openjph {OpenJphOpinion.version}" in receipt.verification


def test_where_it_may_have_encoded_openjpeg_has_the_second_opinion(monkeypatch):
    monkeypatch.setenv("CINEMILL_KERNELS", "portable")
    table._load.cache_clear()
    try:
        assert {codec.name for codec in table.verifiers("htj2k")} == {OpenJpeg.name}
    finally:
        monkeypatch.undo()
        table._load.cache_clear()
    assert table.independent("htj2k").name == OpenJpeg.name
