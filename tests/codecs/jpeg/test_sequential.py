"""JPEG with DCT by cinemill's kernels: sample for sample what libjpeg-turbo decodes, and its errors; confirmed by it now and then."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import cinemill
from cinemill.codecs import memory, table
from cinemill.codecs.codestream import read_codestream
from cinemill.codecs.jpeg import libjpeg_turbo, sequential
from cinemill.codecs.jpeg.libjpeg_turbo import LibjpegTurbo
from cinemill.codecs.jpeg.sequential import SequentialJpeg
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.machine import x86
from cinemill.operations.transcode.verify import heard_twice
from cinemill.pixel_format import PixelFormat
from tests.codecs.jpeg.test_scans import OPTIONS, image, jpeg
from tests.fuzz.decoders import mutated
from tests.fuzz.jpeg_entropy import frames_of
from tests.support import naive_jpeg_dct as naive
from tests.support.files import corpus_files, pydicom_files
from tests.support.generate import JPEG_BASELINE, encapsulated_element, header, part10
from tests.support.guarded_memory import GuardedMemory, guarding

pytestmark = pytest.mark.skipif(not x86.available(), reason="the kernels do not run here")

SHAPES = ((1, 1), (8, 8), (17, 33), (50, 7), (16, 5), (31, 64), (120, 161))


def pixels_of(shape: tuple[int, ...], bits: int = 8) -> PixelFormat:
    samples = shape[2] if len(shape) == 3 else 1
    label = "MONOCHROME2" if samples == 1 else "YBR_FULL"
    return PixelFormat(shape[0], shape[1], samples, 8 if bits == 8 else 16, bits, False, label)  # noqa: FBT003


def decoded(codec, stream, pixels):
    """Samples, or what the error says."""
    try:
        return codec.decode([stream], pixels)[0]
    except (CodecError, UnsupportedPixelFormat) as error:
        return str(error)


def assert_same(stream, pixels):
    ours, theirs = (decoded(codec, stream, pixels) for codec in (SequentialJpeg(), LibjpegTurbo()))
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def alone(monkeypatch):
    """Take libjpeg-turbo away from the kernels, for frames that they have to decode themselves."""
    called = []

    class Counted(LibjpegTurbo):
        def decode(self, codestreams, pixels):
            called.append(len(codestreams))
            return super().decode(codestreams, pixels)

    monkeypatch.setattr(sequential, "LibjpegTurbo", Counted)
    return called


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_all_that_libjpeg_turbo_writes_is_decoded_as_it_does(samples, options, alone):
    for shape in SHAPES:
        frame = image(*shape, samples)
        assert_same(jpeg(frame, **options), pixels_of(frame.shape))
    narrow = [shape for shape in SHAPES if shape[1] <= 4]
    if options.get("progressive"):
        assert len(alone) == len(SHAPES)
    else:
        assert len(alone) <= (len(narrow) if samples == 3 else 0)


@pytest.mark.parametrize("quality", [1, 30, 75, 90, 99, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_every_quality_and_subsampling(quality, subsampling, alone):
    frame = image(97, 203, 3)
    assert_same(jpeg(frame, quality=quality, subsampling=subsampling), pixels_of(frame.shape))
    assert not alone


@pytest.mark.parametrize("seed", range(200))
def test_random_coefficients_of_any_layout(seed):
    """These are no images: sums grow beyond 16 bits, where the decoders have to cut and to saturate alike."""
    rng = np.random.default_rng(seed)
    layout = naive.random_layout(rng)
    stream = naive.write(rng, layout)
    assert_same(stream, pixels_of(shape_of(layout), layout.precision))
    factors = bytes(rng.integers(1, 256, 64, np.uint8))
    scaled = stream.replace(bytes([1] * 64), factors, 1)
    assert_same(scaled, pixels_of(shape_of(layout), layout.precision))


def shape_of(layout: naive.Layout) -> tuple[int, ...]:
    count = len(layout.sampling)
    return (layout.rows, layout.columns, count)[: 2 if count == 1 else 3]


def test_random_coefficients_are_decoded_by_the_kernels(alone):
    rng = np.random.default_rng(1)
    for form in [(1, 1), (2, 1), (2, 2)]:
        layout = naive.Layout(40, 50, [form, (1, 1), (1, 1)], [[0, 1, 2]], restart=3, density=2)
        stream = naive.write(rng, layout)
        assert_same(stream, pixels_of(shape_of(layout)))
    assert not alone


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[5], OPTIONS[8]], ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_damage_is_told_as_without_the_kernels(samples, options):
    rng = np.random.default_rng(7)
    frame = image(40, 50, samples)
    stream = jpeg(frame, **options)
    for _ in range(150):
        assert_same(mutated(rng, stream), pixels_of(frame.shape))
    for length in rng.integers(len(stream) // 2, len(stream) - 2, 20):
        assert_same(stream[:length] + b"\xff\xd9", pixels_of(frame.shape))
    assert_same(stream + stream, pixels_of(frame.shape))
    assert_same(stream + b"\0\0", pixels_of(frame.shape))


def test_the_frame_of_an_error_is_told():
    frame = image(40, 50, 3)
    stream = jpeg(frame)
    with pytest.raises(CodecError) as caught:
        SequentialJpeg().decode([stream, stream[:-60] + b"\xff\xd9"], pixels_of(frame.shape))
    assert caught.value.frame == 1


def test_other_geometry_depth_and_sign_are_left_to_libjpeg_turbo():
    frame = image(40, 50, 3)
    assert_same(jpeg(frame), pixels_of((40, 51, 3)))
    assert_same(jpeg(frame), pixels_of((40, 50)))
    twelve = bytes(imagecodecs.jpeg8_encode(image(40, 50).astype(np.uint16) * 16, bitspersample=12))
    assert_same(twelve, pixels_of((40, 50), 12))
    signed = pixels_of((40, 50)).with_(signed=True)
    assert_same(jpeg(image(40, 50)), signed)
    wide = pixels_of((40, 50)).with_(bits_allocated=16)
    assert_same(jpeg(image(40, 50)), wide)


def test_marker_segments_that_libjpeg_refuses():
    stream = jpeg(image(8, 8))
    for marker in (0x07, 0xC8, 0xDC, 0xE5, 0xF3, 0xFE):
        assert_same(stream[:2] + naive.segment(marker, b"1234") + stream[2:], pixels_of((8, 8)))


@pytest.mark.parametrize("kind", ["all ones", "large symbol"])
def test_huffman_tables_that_libjpeg_refuses(kind):
    counts, symbols = ([2, *[0] * 15], [0, 1]) if kind == "all ones" else ([1, 1, *[0] * 14], [0, 16])
    rng = np.random.default_rng(0)
    layout = naive.Layout(8, 8, [(1, 1)], [[0]])
    stream = naive.write(rng, layout)
    old, new = b"\0" + b"".join(naive.DC), bytes([0, *counts, *symbols])
    assert_same(
        stream.replace(naive.segment(0xC4, old), naive.segment(0xC4, new)), pixels_of(shape_of(layout))
    )


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_kernels_stay_within_their_arrays(samples, subsampling, monkeypatch):
    """Every array of the decoder, and each codestream, lies beside a page that can't be touched, before or behind it."""
    with guarding(sequential, memory):
        for shape in (*SHAPES, *SHAPES):
            monkeypatch.setattr(sequential, "_memory", memory.Memory())
            frame = image(*shape, samples)
            stream = jpeg(frame, subsampling=subsampling, quality=95)
            for length in (len(stream), len(stream) - 3, len(stream) * 2 // 3):
                assert_same(GuardedMemory().copy(stream[:length]).data, pixels_of(frame.shape))


@pytest.mark.parametrize("path", [*pydicom_files(), *corpus_files()], ids=lambda path: path.name)
def test_real_files(path):
    for stream in frames_of(path)[:3]:
        told = read_codestream(stream)
        assert told is not None
        shape = (told.rows, told.columns, told.components)
        assert_same(stream, pixels_of(shape[: 2 if told.components == 1 else 3], told.precision))


@pytest.fixture
def cine(tmp_path):
    frames = np.stack([np.roll(image(24, 30), number) for number in range(18)])
    path = tmp_path / "cine.dcm"
    element = encapsulated_element([[jpeg(frame)] for frame in frames])
    path.write_bytes(part10(header(frames), element, JPEG_BASELINE))
    return path


def counting(monkeypatch):
    """Note how many frames libjpeg-turbo is asked for, call by call."""
    calls: list[int] = []
    honest = LibjpegTurbo.decode

    def counted(self, data, pixels):
        calls.append(len(data))
        return honest(self, data, pixels)

    monkeypatch.setattr(LibjpegTurbo, "decode", counted)
    return calls


@pytest.mark.parametrize(("verify", "asked"), [("full", 2), ("independent", 18), ("sample", 0), ("none", 0)])
def test_libjpeg_turbo_confirms_some_frames_or_every_one(cine, tmp_path, monkeypatch, verify, asked):
    calls = counting(monkeypatch)
    receipt = cinemill.transcode(cine, tmp_path / "o.dcm", to="explicit", verify=verify)
    assert sum(calls) in {asked, 2 * asked}  # native outputs are decoded a second time
    assert receipt.decoder == f"{SequentialJpeg.name} {SequentialJpeg.version}"


def test_libjpeg_turbo_confirms_every_sixteenth_still(tmp_path, monkeypatch):
    calls = counting(monkeypatch)
    frame = image(24, 30)
    for number in range(64):
        path, uid = tmp_path / f"{number}.dcm", f"1.2.3.{number}"
        described = header(frame[None], SOPInstanceUID=uid)
        path.write_bytes(part10(described, encapsulated_element([[jpeg(frame)]]), JPEG_BASELINE))
        before = len(calls)
        cinemill.transcode(path, tmp_path / "out" / path.name, to="jpeg-ls")
        assert len(calls) - before == len(heard_twice(uid, 1))
    assert 0 < len(calls) < 16


def test_a_frame_that_libjpeg_turbo_decodes_otherwise_is_refused(cine, tmp_path, monkeypatch):
    honest = LibjpegTurbo.decode
    monkeypatch.setattr(LibjpegTurbo, "decode", lambda *given: [frame ^ 1 for frame in honest(*given)])
    with pytest.raises(
        CodecError, match="cinemill-jpeg and libjpeg-turbo decode it differently in 720 of 720"
    ):
        cinemill.transcode(cine, tmp_path / "o.dcm", to="jpeg-ls")
    assert not (tmp_path / "o.dcm").exists()


def test_verification_has_libjpeg_turbo_decode_the_source(cine, tmp_path, monkeypatch):
    cinemill.transcode(cine, tmp_path / "o.dcm", to="jpeg-ls")
    monkeypatch.setattr(SequentialJpeg, "decode", lambda *_: pytest.fail("it wrote the output"))
    assert cinemill.verify(cine, tmp_path / "o.dcm").status == "verified"


def test_damage_is_looked_for_by_who_decodes_and_by_who_decodes_in_its_place(monkeypatch):
    stream, pixels = jpeg(image(24, 30)), pixels_of((24, 30))
    shorter = stream[:-20] + b"\xff\xd9"
    for codec in (SequentialJpeg(), LibjpegTurbo(), table.independent("jpeg")):
        with pytest.raises(CodecError, match="MCUs"):
            codec.decode([shorter], pixels)
    monkeypatch.setattr(libjpeg_turbo, "check_entropy_data", lambda _: pytest.fail("it was found sound"))
    (frame,) = next(table.second_opinions("jpeg")).decode([stream], pixels)
    np.testing.assert_array_equal(frame, SequentialJpeg().decode([stream], pixels)[0])


def test_the_table_names_libjpeg_turbo_where_the_kernels_are_not_wanted(monkeypatch):
    assert sequential.fastest().name == "cinemill-jpeg"
    assert next(table.second_opinions("jpeg")).name == "libjpeg-turbo"
    monkeypatch.setenv("CINEMILL_KERNELS", "portable")
    assert sequential.fastest().name == "libjpeg-turbo"
