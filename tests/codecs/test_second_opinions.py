"""Second opinions: JPEG Lossless of every kind against an oracle and DCMTK, and who is believed where decoders differ."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cinemill
from cinemill.codecs import table
from cinemill.codecs.codestream import read_codestream
from cinemill.codecs.faults import known_to_fail
from cinemill.codecs.jpeg.libjpeg_turbo import LibjpegTurbo
from cinemill.codecs.jpeg.lossless import JpegLossless
from cinemill.codecs.jpeg.pylibjpeg import Pylibjpeg
from cinemill.codecs.jpeg_ls.codec import JpegLs
from cinemill.errors import CodecError
from cinemill.frames.decode import FrameDecoder
from cinemill.pixel_format import PixelFormat
from tests.support.generate import (
    EXPLICIT,
    encapsulated_element,
    header,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
)
from tests.support.naive_jpeg_lossless import Scan, decode, encode

JPEG_LOSSLESS, JPEG_LS = (f"1.2.840.10008.1.2.4.{number}" for number in (57, 80))
TARGETS = ("explicit", "implicit", "deflated", "rle", "jpeg-ls", "jpeg-2000", "htj2k", "htj2k-rpcl")


def pixels_of(shape, precision):
    rows, columns, components = shape
    label = "MONOCHROME2" if components == 1 else "RGB"
    return PixelFormat(rows, columns, components, 8 if precision <= 8 else 16, precision, False, label)  # noqa: FBT003


def naive(stream, pixels):
    """What T.81 says of a codestream."""
    frame = decode(stream, pixels)
    assert frame is not None
    return frame


@st.composite
def scans(draw):
    precision = draw(st.integers(2, 16))
    return Scan(
        precision,
        selection=draw(st.integers(1, 7)),
        point_transform=draw(st.integers(0, precision - 1)),
        restart_rows=draw(st.integers(0, 3)),
        interleaved=draw(st.booleans()),
    )


def samples(how, shape, seed, *, signed):
    """Samples as far apart as can be, of which the point transform drops nothing."""
    rng = np.random.default_rng(seed)
    lowest = -(1 << how.precision - 1) if signed else 0
    extremes = rng.integers(0, 2, shape) * ((1 << how.precision) - 1) + lowest
    anything = rng.integers(lowest, lowest + (1 << how.precision), shape)
    return (
        np.where(rng.integers(0, 2, shape), extremes, anything) >> how.point_transform << how.point_transform
    )


@given(scans(), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 1 << 30))
@settings(max_examples=300, deadline=None)
def test_large_differences_of_every_kind_of_scan(how, components, signed, seed):
    """Sums wrap modulo 2^16; of what is beyond the precision, the lowest bits are the sample."""
    shape = (5, 7, components)
    frame = samples(how, shape, seed, signed=signed)
    stream, pixels = encode(frame, how), pixels_of(shape, how.precision)
    expected = naive(stream, pixels)
    if not signed:
        np.testing.assert_array_equal(expected.reshape(shape), frame)
    for codec in (JpegLossless(), LibjpegTurbo()):
        np.testing.assert_array_equal(codec.decode([stream], pixels)[0], expected)


def lossless(streams, how, shape):
    frames = np.zeros(
        (len(streams), *shape[: 2 if shape[2] == 1 else 3]), np.uint8 if how.precision <= 8 else np.uint16
    )
    dataset = header(
        frames, "MONOCHROME2" if shape[2] == 1 else "RGB", samples=shape[2], BitsStored=how.precision
    )
    dataset.HighBit = how.precision - 1
    return part10(dataset, encapsulated_element([[stream] for stream in streams]), JPEG_LOSSLESS)


HARD = [
    Scan(8, selection=1),
    Scan(8, selection=7, restart_rows=2),
    Scan(12, selection=1, point_transform=1),
    Scan(12, selection=5, point_transform=4, restart_rows=1),
    Scan(14, selection=4),
    Scan(16, selection=1, point_transform=2),
    Scan(16, selection=6, point_transform=15),
    Scan(5, selection=3, point_transform=2),
]


@pytest.mark.parametrize("verify", ["full", "independent"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_wrong_decoder_would_veto_transcodes(transcode, verify, target):
    for number, how in enumerate(HARD):
        shape = (9, 11, 1 + 2 * (number % 2))
        streams = [encode(samples(how, shape, seed, signed=True), how) for seed in range(2)]
        pixels = pixels_of(shape, how.precision)
        result = transcode(lossless(streams, how, shape), target, verify=verify)
        for stream, read in zip(streams, result.reading.frames, strict=True):
            np.testing.assert_array_equal(read, naive(stream, pixels))


@pytest.mark.tools
@pytest.mark.parametrize("selection", range(1, 8))
def test_dcmtk_reads_the_same(tmp_path, selection):
    if not shutil.which("dcmdjpeg"):
        pytest.skip("dcmdjpeg is not installed")
    for precision, point_transform, signed in (
        (8, 0, True),
        (8, 3, False),
        (12, 1, False),
        (16, 2, False),
        (16, 0, True),
    ):
        how = Scan(precision, selection=selection, point_transform=point_transform)
        shape = (12, 13, 1)
        stream = encode(samples(how, shape, selection, signed=signed), how)
        source, plain, ours = (tmp_path / name for name in ("source.dcm", "plain.dcm", "ours.dcm"))
        source.write_bytes(lossless([stream], how, shape))
        subprocess.run(["dcmdjpeg", source, plain], check=True, capture_output=True)
        cinemill.transcode(source, ours, to="explicit", verify="independent", overwrite=True)
        theirs = pydicom.dcmread(plain).pixel_array & (1 << precision) - 1
        np.testing.assert_array_equal(pydicom.dcmread(ours).pixel_array, theirs)


@pytest.mark.tools
@pytest.mark.parametrize("options", [["+e1", "+pt", "3"], ["+el", "+sv", "6", "+pt", "1"], ["+e1"]])
def test_what_dcmtk_writes_with_a_point_transform(tmp_path, options):
    if not shutil.which("dcmcjpeg"):
        pytest.skip("dcmcjpeg is not installed")
    frames = noise((1, 30, 40), 14)
    dataset = header(frames, "MONOCHROME2", BitsStored=14)
    dataset.HighBit = 13
    native, source, plain = (tmp_path / name for name in ("native.dcm", "source.dcm", "plain.dcm"))

    native.write_bytes(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT))
    subprocess.run(["dcmcjpeg", *options, native, source], check=True, capture_output=True)
    subprocess.run(["dcmdjpeg", source, plain], check=True, capture_output=True)
    for target in ("explicit", "jpeg-ls"):
        output = tmp_path / f"{target}.dcm"
        cinemill.transcode(source, output, to=target, verify="independent")
        np.testing.assert_array_equal(pydicom.dcmread(output).pixel_array, pydicom.dcmread(plain).pixel_array)


FRAMES = noise((3, 20, 30))


def jpeg_ls(tmp_path, frames=FRAMES):
    path = tmp_path / "source.dcm"
    element = encapsulated_element([[jpeg_ls_stream(frame)] for frame in frames])
    path.write_bytes(part10(header(frames, "MONOCHROME2"), element, JPEG_LS))
    return path


def saying(name, change):
    """A decoder that changes what the right one says."""

    class Changed(JpegLs):
        def decode(self, codestreams, pixels):
            return [frame + np.uint8(change) for frame in super().decode(codestreams, pixels)]

    codec = Changed()
    codec.name = name
    return codec


@pytest.fixture
def asked(monkeypatch):
    """Replace those who are asked about JPEG-LS."""

    def replace(*codecs):
        monkeypatch.setattr(table, "second_opinions", lambda coding: list(codecs))

    return replace


def test_a_dissenter_is_outvoted_and_recorded(tmp_path, asked):
    asked(saying("wrong", 1), saying("right", 0))
    receipt = cinemill.transcode(jpeg_ls(tmp_path), tmp_path / "o.dcm", to="explicit")
    assert receipt.warnings == (
        "wrong decoded otherwise than cinemill-jpegls and right, whose samples were taken",
    )
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "o.dcm").pixel_array, FRAMES)


def test_one_who_agrees_is_enough(tmp_path, asked):
    asked(saying("right", 0), saying("wrong", 1))
    assert cinemill.transcode(jpeg_ls(tmp_path), tmp_path / "o.dcm", to="explicit").warnings == ()


def test_the_first_decoder_can_be_outvoted_too(tmp_path, asked):
    asked(saying("one", 1), saying("other", 1))
    receipt = cinemill.transcode(jpeg_ls(tmp_path), tmp_path / "o.dcm", to="explicit", verify="independent")
    assert receipt.warnings == (
        "cinemill-jpegls decoded otherwise than one and other, whose samples were taken",
    )
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "o.dcm").pixel_array, FRAMES + np.uint8(1))


def test_an_outvoted_decoder_is_not_believed_elsewhere(tmp_path, asked):
    asked(saying("one", 1), saying("other", 1))
    path = jpeg_ls(tmp_path, noise((4, 20, 30)))
    with cinemill.open(path) as cine:
        decoder = FrameDecoder(cine.source, confirm_every=2)
        decoder.decode([1])
        with pytest.raises(CodecError, match="which decoded other frames alone") as caught:
            decoder.decode([2])
        assert caught.value.frame == 2
        again = FrameDecoder(cine.source, confirm_every=2)
        frames = again.decode([0, 1, 2, 3])
        right = np.array(FrameDecoder(cine.source).decode(range(4)))
    np.testing.assert_array_equal(frames, right + np.uint8(1))


@pytest.mark.parametrize("others", [[1], [1, 2]])
def test_where_no_two_agree_it_fails(tmp_path, asked, others):
    asked(*(saying(f"wrong {change}", change) for change in others))
    with pytest.raises(
        CodecError, match="cinemill-jpegls and wrong 1 decode it differently in 600 of 600 samples"
    ):
        cinemill.transcode(jpeg_ls(tmp_path), tmp_path / "o.dcm", to="explicit")
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize("point_transform", [0, 1, 3])
def test_libjpeg_is_not_asked_about_point_transforms(tmp_path, monkeypatch, point_transform):
    """Known to be wrong: it is left out, whatever it would say."""
    calls = []
    honest = Pylibjpeg.decode

    def counted(self, data, pixels):
        calls.append(1)
        return honest(self, data, pixels)

    monkeypatch.setattr(Pylibjpeg, "decode", counted)
    monkeypatch.setattr(
        LibjpegTurbo, "decode", lambda self, data, pixels: [np.zeros(pixels.shape, pixels.dtype)]
    )
    how = Scan(8, point_transform=point_transform)
    frame = samples(how, (6, 7, 1), 1, signed=False)
    path = tmp_path / "source.dcm"
    path.write_bytes(lossless([encode(frame, how)], how, (6, 7, 1)))
    if point_transform:
        with pytest.raises(
            CodecError, match="cinemill-jpeg-lossless and libjpeg-turbo decode it differently"
        ):
            cinemill.transcode(path, tmp_path / "o.dcm", to="explicit")
    else:
        receipt = cinemill.transcode(path, tmp_path / "o.dcm", to="explicit")
        assert receipt.warnings[0].startswith(
            "libjpeg-turbo decoded otherwise than cinemill-jpeg-lossless and pylib"
        )
    assert bool(calls) is (point_transform == 0)


@pytest.mark.parametrize("point_transform", [1, 2, 7])
@pytest.mark.parametrize("precision", [8, 12, 16])
def test_libjpeg_is_wrong_of_point_transforms(precision, point_transform):
    how = Scan(precision, point_transform=point_transform)
    frame = samples(how, (6, 7, 1), 1, signed=False)
    stream, pixels = encode(frame, how), pixels_of((6, 7, 1), precision)
    assert known_to_fail("pylibjpeg-libjpeg", read_codestream(stream))
    assert not np.array_equal(Pylibjpeg().decode([stream], pixels)[0], frame[..., 0])


def test_libjpeg_clamps_where_sums_wrap():
    how = Scan(8)
    frame = samples(how, (6, 7, 1), 1, signed=True)
    stream, pixels = encode(frame, how), pixels_of((6, 7, 1), 8)
    assert not known_to_fail("pylibjpeg-libjpeg", read_codestream(stream))
    clamped = Pylibjpeg().decode([stream], pixels)[0]
    assert (clamped != (frame[..., 0] & 255)).any()
