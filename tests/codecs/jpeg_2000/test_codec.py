from __future__ import annotations

import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openjpeg as pylibjpeg_openjpeg
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cinemill.codecs.codec import Encoder
from cinemill.codecs.jpeg_2000 import codec as jpeg2000
from cinemill.codecs.jpeg_2000 import layout
from cinemill.codecs.jpeg_2000.codec import Jpeg2000
from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000 import tables
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.support.files import CORPUS
from tests.support.pictures import CONTENTS, picture, pixel_format

if not x86.available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)


@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    samples=st.sampled_from([1, 3]),
    bits=st.integers(1, 16),
    signed=st.booleans(),
    interpretation=st.sampled_from(["RGB", "YBR_FULL"]),
    contents=st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=5),
)
@example(rows=1, columns=1, samples=1, bits=1, signed=False, interpretation="RGB", contents=["noise"])
@example(
    rows=64,
    columns=64,
    samples=3,
    bits=16,
    signed=True,
    interpretation="RGB",
    contents=["saturated", "checked"],
)
@example(
    rows=65,
    columns=129,
    samples=3,
    bits=8,
    signed=False,
    interpretation="YBR_FULL",
    contents=["constant", "noise"],
)
@settings(deadline=None)
def test_openjpeg_decodes_every_sample(
    rows: int,
    columns: int,
    samples: int,
    bits: int,
    *,
    signed: bool,
    interpretation: str,
    contents: list[str],
) -> None:
    pixels = pixel_format(rows, columns, samples, bits, signed=signed)
    pixels = pixels.with_(photometric_interpretation=interpretation)
    frames = [picture(pixels, content, seed) for seed, content in enumerate(contents)]
    codestreams = Jpeg2000().encode(frames, pixels)
    for decoder in (OpenJpeg(), Jpeg2000()):
        for frame, decoded in zip(frames, decoder.decode(codestreams, pixels), strict=True):
            np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (8, True), (16, True)])
def test_other_decoders_agree(content: str, samples: int, bits: int, *, signed: bool, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    pixels = pixel_format(97, 131, samples, bits, signed=signed)
    frame = picture(pixels, content)
    (codestream,) = Jpeg2000().encode([frame], pixels)

    np.testing.assert_array_equal(pylibjpeg_openjpeg.decode(codestream), frame)

    # FFmpeg gives all samples unsigned, and in the upper bits of 16.
    ffmpeg: Any = av.CodecContext.create("jpeg2000", "r")
    (shown,) = ffmpeg.decode(av.Packet(codestream)) + ffmpeg.decode(None)
    unused = 8 * frame.itemsize - bits
    unsigned = frame.astype(int) + ((1 << bits - 1) if signed else 0)
    np.testing.assert_array_equal(shown.to_ndarray(), unsigned << unused)

    if shutil.which("grk_decompress"):
        (tmp_path / "frame.j2k").write_bytes(codestream)
        command = ["grk_decompress", "-i", str(tmp_path / "frame.j2k"), "-o", str(tmp_path / "frame.pgx")]
        subprocess.run(command, check=True, capture_output=True)
        planes = [read_pgx(path, pixels) for path in sorted(tmp_path.glob("*.pgx"))]
        np.testing.assert_array_equal(np.stack(planes, -1).reshape(frame.shape), frame)


def read_pgx(path: Path, pixels: PixelFormat) -> np.ndarray:
    order: Literal["<", ">"] = ">" if b" ML " in path.read_bytes()[:6] else "<"
    values = np.frombuffer(
        path.read_bytes()[-pixels.rows * pixels.columns * pixels.dtype.itemsize :], np.uint8
    )
    return values.view(pixels.dtype.newbyteorder(order)).reshape(pixels.rows, pixels.columns)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 65535), (65535, 1), (40, 33000), (33000, 17), (2100, 2050), (8, 700)]
)
def test_extreme_shapes(rows: int, columns: int) -> None:
    """Beyond 32768 a resolution has more than one precinct (PPx = PPy = 15)."""
    pixels = pixel_format(rows, columns, bits=12)
    frame = picture(pixels, "smooth")
    codestreams = Jpeg2000().encode([frame], pixels)
    for decoder in (OpenJpeg(), Jpeg2000()):
        np.testing.assert_array_equal(decoder.decode(codestreams, pixels)[0], frame)


def test_codestreams_do_not_depend_on_the_batch() -> None:
    pixels = pixel_format(240, 320, 3)
    frames = [picture(pixels, content, seed) for seed in range(2) for content in CONTENTS]
    together = Jpeg2000().encode(frames, pixels)
    assert together == [Jpeg2000().encode([frame], pixels)[0] for frame in frames]
    assert Jpeg2000().encode([], pixels) == []


def test_all_wavelets_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for rows, samples, bits in (
        (300, 3, 8),
        (135, 3, 10),
        (135, 1, 11),
        (135, 1, 12),
        (135, 1, 1),
        (5, 3, 8),
    ):
        pixels = pixel_format(rows, 161, samples, bits)
        frames = [picture(pixels, content) for content in CONTENTS]
        expected = Jpeg2000().encode(frames, pixels)
        for room in (0, 1):
            with monkeypatch.context() as patched:
                patched.setattr(jpeg2000, "room", lambda *_, room=room: room)
                assert Jpeg2000().encode(frames, pixels) == expected


def test_a_frame_that_needs_more_bits_takes_others_along() -> None:
    """Frames of more than 12 bits fit 16-bit lanes if they vary little; those that are encoded together are transformed alike."""
    pixels = pixel_format(70, 90, bits=16)
    frames = [
        picture(pixels, content) >> down for content, down in (("smooth", 8), ("noise", 0), ("ramp", 9))
    ]
    together = Jpeg2000().encode(frames, pixels)
    assert together == [Jpeg2000().encode([frame], pixels)[0] for frame in frames]
    for frame, decoded in zip(frames, OpenJpeg().decode(together, pixels), strict=True):
        np.testing.assert_array_equal(decoded, frame)


def test_threads_do_not_share_memory() -> None:
    formats = [
        pixel_format(100 + 30 * n, 333 - 20 * n, samples, 8 + 2 * n) for n in range(4) for samples in (1, 3)
    ]
    frames = [picture(pixels, "smooth", seed) for seed, pixels in enumerate(formats)]
    expected = [Jpeg2000().encode([frame], pixels) for frame, pixels in zip(frames, formats, strict=True)]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda n: Jpeg2000().encode([frames[n % 8]], formats[n % 8]), range(64))
        assert list(found) == expected * 8


def test_frames_may_be_read_only() -> None:
    pixels = pixel_format(30, 40, bits=12)
    frame = picture(pixels, "ramp")
    frame.flags.writeable = False
    np.testing.assert_array_equal(OpenJpeg().decode(Jpeg2000().encode([frame], pixels), pixels)[0], frame)


@pytest.mark.parametrize("content", ["smooth", "noise", "ramp"])
@pytest.mark.parametrize(("samples", "bits"), [(1, 8), (3, 8), (1, 12)])
def test_size_is_that_of_openjpeg(content: str, samples: int, bits: int) -> None:
    pixels = pixel_format(480, 640, samples, bits)
    frame = picture(pixels, content)
    (found,), (expected,) = Jpeg2000().encode([frame], pixels), OpenJpeg().encode([frame], pixels)
    assert len(found) <= 1.002 * len(expected)


def test_main_header() -> None:
    pixels = pixel_format(40, 64, 3, 12, signed=True)
    (codestream,) = Jpeg2000().encode([picture(pixels, "ramp")], pixels)
    size = "0000004000000028" + "00" * 8
    siz = f"ff51002f0000{size}{size}0003" + "8b0101" * 3
    cod = "ff52000c00000001010204040001"
    qcd = "ff5c000a4068707078707078"
    header = bytes.fromhex(f"ff4f{siz}{cod}{qcd}")
    tile_part = struct.pack(">HHHIBBH", 0xFF90, 10, 0, len(codestream) - len(header) - 2, 0, 1, 0xFF93)
    assert codestream.startswith(header + tile_part)
    assert codestream[-2:] == b"\xff\xd9"


def test_bit_planes_suffice_for_the_worst_sample_values() -> None:
    """M_b (T.800 E.1) against the largest coefficient any samples can give.

    That is the sum of the absolute weights of the wavelet's filters times the largest sample. Each level's rounding
    moves its LL by less than 2, which the filters of further levels weigh like samples.
    """
    size = 512
    impulses = np.eye(size)
    low, worst = impulses, {}
    for level in range(1, layout.MOST_LEVELS + 1):
        odd = low[1::2] - (low[::2] + np.roll(low[::2], -1, 0)) / 2
        even = low[::2] + (odd + np.roll(odd, 1, 0)) / 4
        worst[level] = np.abs(even).sum(1).max(), np.abs(odd).sum(1).max()
        low = even
    gain_low, gain_high = (max(gains) for gains in zip(*worst.values(), strict=True))
    for orientation, gain in (
        (tables.LL, gain_low**2),
        (tables.HL, gain_low * gain_high),
        (tables.HH, gain_high**2),
    ):
        for bits in range(1, 17):
            for colour_transform in (False, True):
                largest = gain * ((1 << bits - 1 + colour_transform) + 2 * layout.MOST_LEVELS)
                exponent = layout.exponent(bits, orientation, colour_transform=colour_transform)
                assert largest < 1 << layout.GUARD_BITS + exponent - 1


def test_openjpeg_encodes_where_the_kernels_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CINEMILL_KERNELS", raising=False)
    assert jpeg2000.fastest().name == "cinemill-jpeg2000"
    monkeypatch.setenv("CINEMILL_KERNELS", "portable")
    assert jpeg2000.fastest().name == "openjpeg"
    monkeypatch.delenv("CINEMILL_KERNELS")
    monkeypatch.setattr(x86, "available", lambda: False)
    assert jpeg2000.fastest().name == "openjpeg"


@pytest.mark.parametrize("encoder", [Jpeg2000(), Htj2k()], ids=["jpeg-2000", "htj2k"])
def test_arrays_of_another_shape_or_type_are_refused(encoder: Encoder) -> None:
    pixels = pixel_format(40, 50, 3)
    for other in (
        pixels.with_(rows=39),
        pixels.with_(samples=1),
        pixels.with_(bits_allocated=16),
        pixels.with_(signed=True),
    ):
        with pytest.raises(UnsupportedPixelFormat, match="expected uint8 samples"):
            encoder.encode([picture(other, "noise")], pixels)


@pytest.mark.parametrize("encoder", [Jpeg2000(), Htj2k()], ids=["jpeg-2000", "htj2k"])
@pytest.mark.parametrize(
    "changes", [{"samples": 2}, {"bits_allocated": 32, "bits_stored": 32}, {"rows": 0}, {"columns": 65536}]
)
def test_what_it_cannot_hold_is_refused_by_name(encoder: Encoder, changes: dict[str, int]) -> None:
    with pytest.raises(UnsupportedPixelFormat, match="JPEG 2000: expected"):
        encoder.encode([], pixel_format(4, 4).with_(**changes))


@pytest.mark.parametrize(
    ("bits", "signed", "value"), [(12, False, 4096), (12, True, 2048), (12, True, -2049), (1, False, 2)]
)
def test_values_above_bits_stored_are_refused(bits: int, *, signed: bool, value: int) -> None:
    pixels = pixel_format(40, 50, bits=bits, signed=signed)
    frames = [picture(pixels, "noise"), picture(pixels, "noise")]
    frames[1][39, 49] = value
    with pytest.raises(UnsupportedPixelFormat, match="mask what lies above BitsStored"):
        Jpeg2000().encode(frames, pixels)


def native_corpus_files() -> list[Path]:
    files = sorted((CORPUS / "files").glob("*"))
    return [path for path in files if path.stat().st_size < 3_000_000]


@pytest.mark.corpus
@pytest.mark.skipif(not native_corpus_files(), reason="CINEMILL_CORPUS names no folder of real files")
@pytest.mark.filterwarnings("ignore")
def test_real_frames_survive() -> None:
    seen = 0
    for path in native_corpus_files():
        try:
            dataset = pydicom.dcmread(path, force=True)
            frame = pydicom.pixels.pixel_array(dataset, raw=True, index=0)
        except Exception:  # noqa: BLE001 - half of the corpus is there because it is damaged
            continue
        samples = frame.shape[2] if frame.ndim == 3 else 1
        if frame.itemsize > 2 or frame.dtype.kind == "f" or samples not in {1, 3}:
            continue
        frame = frame.astype(frame.dtype.newbyteorder("="))
        rows, columns = frame.shape[:2]
        pixels = pixel_format(rows, columns, samples, 8 * frame.itemsize, signed=frame.dtype.kind == "i")
        (codestream,) = Jpeg2000().encode([np.ascontiguousarray(frame)], pixels)
        np.testing.assert_array_equal(OpenJpeg().decode([codestream], pixels)[0], frame)
        seen += 1
    assert seen > 50
