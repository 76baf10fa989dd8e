"""JPEG 2000 as OpenJPEG 1.x wrote it: code-blocks end with FF, and what follows makes markers of them."""

import imagecodecs
import numpy as np
import pytest

import cinemill
from cinemill.codecs.jpeg_2000 import codec as jpeg2000
from cinemill.codecs.jpeg_2000.ffmpeg import Ffmpeg, available
from cinemill.codecs.jpeg_2000.irregular import ByFfmpeg, ByKernels, ByOpenJpeg, stray_marker
from cinemill.codecs.jpeg_2000.markers import markers_in_packets, read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.errors import CodecError
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.support.generate import encapsulated_element, header, jpeg_2000, noise, part10, smooth

JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
kernels = pytest.mark.skipif(not x86.available(), reason="the kernels do not run here")
ffmpeg = pytest.mark.skipif(not available(), reason="PyAV is not installed")


def pixels_of(frame, bits=8, *, signed=False):
    samples = frame.shape[2] if frame.ndim == 3 else 1
    label = "RGB" if samples == 3 else "MONOCHROME2"
    rows, columns = frame.shape[:2]
    return PixelFormat(rows, columns, samples, 8 * frame.itemsize, bits, signed, label)


def irregular(frame, monkeypatch, pixels=None):
    """Encode a frame with an FF behind the bytes of each code-block, as the flush of OpenJPEG 1.x left it."""
    honest = jpeg2000._codestream

    def careless(pixels, layout, planes, starts, lengths, data):
        parts = [data[a : a + n].tobytes() + b"\xff" * bool(n) for a, n in zip(starts, lengths, strict=True)]
        longer = np.array([len(part) for part in parts])
        begins = np.cumsum(longer) - longer
        return honest(pixels, layout, planes, begins, longer, np.frombuffer(b"".join(parts), np.uint8).copy())

    with monkeypatch.context() as patch:
        patch.setattr(jpeg2000, "_codestream", careless)
        (stream,) = jpeg2000.Jpeg2000().encode([frame], pixels or pixels_of(frame))
    return stream


def source(streams, frames, syntax=JPEG_2000, label="MONOCHROME2"):
    samples = frames.shape[3] if frames.ndim == 4 else 1
    return part10(
        header(frames, label, samples=samples), encapsulated_element([[s] for s in streams]), syntax
    )


GREY = noise((3, 300, 400))
COLOUR = np.stack([smooth((300, 400)), smooth((300, 400), 1), smooth((300, 400), 2)], axis=-1)[None]


@kernels
@pytest.mark.parametrize(
    ("syntax", "target"),
    [
        *((JPEG_2000, target) for target in ("explicit", "jpeg-ls", "htj2k", "rle")),
        (JPEG_2000_LOSSY, "jpeg-2000"),
    ],
)
def test_markers_behind_code_blocks_are_read_with_a_warning(transcode, monkeypatch, target, syntax):
    streams = [irregular(frame, monkeypatch) for frame in GREY]
    for stream, frame in zip(streams, GREY, strict=True):
        assert list(markers_in_packets(stream, read_main_header(stream)))
        np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(stream), frame)
    result = transcode(source(streams, GREY, syntax), target)
    np.testing.assert_array_equal(np.array(result.reading.frames), GREY)
    (warning,) = result.receipt.warnings
    assert "markers in their packets" in warning
    assert warning.endswith("read alike by cinemill-jpeg2000 and openjpeg")


@kernels
def test_colour_with_regular_frames_among_them(transcode, monkeypatch):
    frames = np.concatenate([COLOUR, COLOUR[:, ::-1]])
    streams = [irregular(frames[0], monkeypatch), jpeg_2000(frames[1])]
    result = transcode(source(streams, frames, label="YBR_RCT"), "explicit", verify="independent")
    np.testing.assert_array_equal(np.array(result.reading.frames), frames)


@kernels
@ffmpeg
@pytest.mark.parametrize("bits", [4, 8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_three_decoders_read_the_same(monkeypatch, bits, signed):
    frame = noise((1, 200, 300), bits, signed=signed)[0]
    pixels = pixels_of(frame, bits, signed=signed)
    stream = irregular(frame, monkeypatch, pixels)
    assert stray_marker(stream, pixels)
    for codec in (ByKernels(), ByOpenJpeg(), ByFfmpeg()):
        np.testing.assert_array_equal(codec.decode([stream], pixels)[0], frame)
    for strict in (OpenJpeg(), Ffmpeg()):
        with pytest.raises(CodecError, match="found marker FF"):
            strict.decode([stream], pixels)


@kernels
@pytest.mark.parametrize("signed", [False, True])
def test_the_header_decides_about_the_sign(monkeypatch, signed):
    frame = noise((1, 200, 300), 8, signed=signed)[0]
    stream = irregular(frame, monkeypatch, pixels_of(frame, signed=signed))
    told = pixels_of(frame, signed=not signed)
    for codec in (ByKernels(), ByOpenJpeg()):
        (decoded,) = codec.decode([stream], told)
        np.testing.assert_array_equal(decoded, frame.view(told.dtype))


@kernels
def test_gdcm_says_of_each_component_what_it_says_of_all(monkeypatch):
    """COC and QCC in the tile-part header, as OpenJPEG 1.x wrote them."""
    stream = irregular(COLOUR[0], monkeypatch)
    tile_part = read_main_header(stream).length
    cod, qcd = (stream[stream.index(marker) :] for marker in (b"\xff\x52", b"\xff\x5c"))
    style, steps = cod[4 : 2 + cod[3]], qcd[4 : 2 + qcd[3]]
    own = b"".join(
        b"\xff\x53\0\x09"
        + bytes([c])
        + style[:1]
        + style[5:]
        + b"\xff\x5d"
        + bytes([0, 3 + len(steps), c])
        + steps
        for c in (1, 2)
    )
    size = int.from_bytes(stream[tile_part + 6 : tile_part + 10], "big") + len(own)
    stream = (
        stream[: tile_part + 6]
        + size.to_bytes(4, "big")
        + stream[tile_part + 10 : tile_part + 12]
        + own
        + stream[tile_part + 12 :]
    )
    pixels = pixels_of(COLOUR[0])
    for codec in (ByKernels(), ByOpenJpeg()):
        np.testing.assert_array_equal(codec.decode([stream], pixels)[0], COLOUR[0])


@kernels
@pytest.mark.parametrize("code", [b"\xff\x93", b"\xff\xd9", b"\xff\xff"])
def test_markers_within_code_blocks_are_damage(source_of, monkeypatch, code):
    stream = irregular(GREY[0], monkeypatch)
    middle = len(stream) // 2
    damaged = stream[:middle] + code + stream[middle + 2 :]
    with (
        cinemill.open(source_of([damaged], GREY[:1])) as cine,
        pytest.raises(CodecError, match="in a code-block"),
    ):
        cine[0]


def test_what_only_one_decoder_reads_is_refused(source_of, monkeypatch):
    if not x86.available():
        pytest.skip("the kernels do not run here")
    stream = irregular(GREY[0], monkeypatch)
    monkeypatch.setattr("cinemill.codecs.table._IRREGULAR", ("jpeg_2000.irregular:ByOpenJpeg",))
    with (
        cinemill.open(source_of([stream], GREY[:1])) as cine,
        pytest.raises(CodecError, match="no two decoders"),
    ):
        cine[0]


def test_what_only_one_decoder_reads_of_a_lossy_codestream_of_few_bits_is_refused(source_of, monkeypatch):
    stream = bytes(imagecodecs.jpeg2k_encode(GREY[0], level=30, codecformat="j2k", reversible=False))
    middle = len(stream) // 2
    damaged = stream[:middle] + b"\xff\x93" + stream[middle + 2 :]
    monkeypatch.setattr("cinemill.codecs.table._IRREGULAR", ("jpeg_2000.irregular:ByOpenJpeg",))
    with (
        cinemill.open(source_of([damaged], GREY[:1], JPEG_2000_LOSSY)) as cine,
        pytest.raises(CodecError, match="no two decoders"),
    ):
        cine[0]


@pytest.mark.parametrize("padding", [b"", b"\0"])
@pytest.mark.parametrize("target", ["explicit", "htj2k"])
def test_a_missing_end_is_no_loss_where_lengths_show_the_tile_whole(transcode, padding, target):
    streams = [jpeg_2000(frame)[:-2] + padding for frame in GREY]
    result = transcode(source(streams, GREY), target)
    np.testing.assert_array_equal(np.array(result.reading.frames), GREY)
    assert result.receipt.warnings == (
        "codestreams lack their end marker (EOC); all their samples are there",
    )


@pytest.mark.parametrize("missing", [3, 40, 2000])
def test_a_tile_that_is_cut_short_is_refused(source_of, missing):
    stream = jpeg_2000(GREY[0])[:-missing]
    with cinemill.open(source_of([stream], GREY[:1])) as cine, pytest.raises(CodecError, match="expected"):
        cine[0]


@pytest.fixture
def source_of(tmp_path):
    def write(streams, frames, syntax=JPEG_2000):
        path = tmp_path / "source.dcm"
        path.write_bytes(source(streams, frames, syntax))
        return path

    return write
