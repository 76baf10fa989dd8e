"""HTJ2K by cinemill's own kernels: other decoders read the samples that went in, and headers say what the syntaxes ask for."""

from __future__ import annotations

import hashlib
import struct
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import openjpeg
import pydicom
import pytest

from cinemill.codecs import table
from cinemill.codecs.jpeg_2000 import htj2k, htj2k_encode
from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_2000.htj2k_layout import plan
from cinemill.codecs.jpeg_2000.markers import read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.codecs.jpeg_2000.test_codec import native_corpus_files
from tests.fuzz.htj2k import check, run
from tests.support.generate import EXPLICIT, header, native_bytes, native_element, noise, part10
from tests.support.pictures import CONTENTS, picture, pixel_format

if not x86.available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)


@pytest.mark.parametrize("seed", range(3))
def test_generated_images_come_out_of_three_decoders_as_they_went_in(seed):
    counts = run(60, seed)
    assert counts["by OpenJPH"] < counts["images"] // 5
    assert counts["bytes"] <= 1.002 * counts["bytes of OpenJPH"]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("samples", "bits"), [(1, 8), (3, 8), (1, 12), (1, 1)])
def test_ffmpeg_reads_the_same(content, samples, bits):
    """Its HT decoder shares no author with those of OpenJPH and OpenJPEG; samples are in the upper bits of 16."""
    av = pytest.importorskip("av")
    pixels = pixel_format(97, 131, samples, bits)
    frame = picture(pixels, content)
    (stream,) = Htj2k().encode([frame], pixels)
    ffmpeg = av.CodecContext.create("jpeg2000", "r")
    (shown,) = ffmpeg.decode(av.Packet(stream)) + ffmpeg.decode(None)
    np.testing.assert_array_equal(shown.to_ndarray(), frame.astype(int) << 8 * frame.itemsize - bits)


def test_every_small_size():
    for rows, columns in np.ndindex(19, 19):
        pixels = pixel_format(rows + 1, columns + 1, 1 + 2 * ((rows + columns) % 2), 8)
        frame = picture(pixels, "noise", rows)
        check(pixels, frame, Htj2k().encode([frame], pixels)[0])


@pytest.mark.parametrize("rows", [1, 2, 63, 65, 127, 128, 129, 257])
def test_sizes_around_code_blocks_and_strips(rows):
    for columns in (1, 63, 64, 65, 128, 129, 131):
        for samples, bits in ((3, 8), (1, 12)):
            pixels = pixel_format(rows, columns, samples, bits)
            frame = picture(pixels, "smooth", columns)
            check(pixels, frame, Htj2k().encode([frame], pixels)[0])


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("label", ["MONOCHROME2", "RGB", "YBR_FULL"])
def test_any_depth_and_sign_with_and_without_the_colour_transform(bits, signed, label):
    components = 1 if label == "MONOCHROME2" else 3
    for allocated in (8, 16):
        if bits <= allocated:
            pixels = PixelFormat(33, 40, components, allocated, bits, signed, label)
            for content in ("noise", "saturated", "constant"):
                frame = picture(pixels, content, bits)
                check(pixels, frame, Htj2k().encode([frame], pixels)[0])


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 65535), (65535, 1), (40, 33000), (33000, 17), (2100, 2050)]
)
def test_extreme_shapes(rows, columns):
    """Beyond 32768 a resolution has more than one precinct; 2050 columns take 6 decompositions to an LL of 64."""
    pixels = pixel_format(rows, columns, 3 if rows == 40 else 1, 8)
    frame = picture(pixels, "ramp")
    (stream,) = Htj2k().encode([frame], pixels)
    np.testing.assert_array_equal(OpenJpeg().decode([stream], pixels)[0], frame)
    np.testing.assert_array_equal(imagecodecs.htj2k_decode(stream, planar=False).reshape(pixels.shape), frame)


@pytest.mark.parametrize(
    ("rows", "columns", "levels"),
    [(1, 1, 0), (1, 15, 0), (15, 16, 1), (8, 128, 4), (240, 320, 5), (2048, 4096, 5), (2050, 2049, 6)],
)
def test_the_lowest_resolution_is_a_thumbnail(rows, columns, levels):
    """PS3.5 10.18: the width or the height of the base resolution is 64 at most."""
    assert plan(rows, columns, 1, 8, colour_transform=False).layout.levels == levels
    assert min(-(-side // (1 << levels)) for side in (rows, columns)) <= 64


def test_main_header():
    pixels = pixel_format(40, 64, 3, 10, signed=True)
    (stream,) = Htj2k().encode([picture(pixels, "ramp")], pixels)
    size = "0000004000000028" + "00" * 8
    siz = f"ff51002f4000{size}{size}0003" + "890101" * 3
    cap = "ff5000080002000000" + "06"
    cod = "ff52000c00020001010304044001"
    qcd = "ff5c000d4058606068606068606068"
    start = bytes.fromhex(f"ff4f{siz}{cap}{cod}{qcd}")
    length = len(stream) - len(start) - 12 - 2
    tlm = struct.pack(">HHBBHI", 0xFF55, 10, 0, 0x60, 0, length)
    tile_part = struct.pack(">HHHIBBH", 0xFF90, 10, 0, length, 0, 1, 0xFF93)
    assert stream.startswith(start + tlm + tile_part)
    assert stream[-2:] == b"\xff\xd9"


@pytest.mark.parametrize("content", ["smooth", "noise", "ramp"])
@pytest.mark.parametrize(("samples", "bits"), [(1, 8), (3, 8), (1, 12)])
def test_size_is_that_of_openjph(content, samples, bits):
    pixels = pixel_format(480, 640, samples, bits)
    frame = picture(pixels, content)
    (found,), (expected,) = Htj2k().encode([frame], pixels), OpenJph().encode([frame], pixels)
    assert len(found) <= 1.002 * len(expected)


def test_codestreams_do_not_depend_on_frames_before():
    pixels = pixel_format(240, 320, 3)
    frames = [picture(pixels, content, seed) for seed in range(2) for content in CONTENTS]
    together = Htj2k().encode(frames, pixels)
    assert together == [Htj2k().encode([frame], pixels)[0] for frame in reversed(frames)][::-1]
    assert Htj2k().encode([], pixels) == []


def test_threads_do_not_share_memory():
    formats = [
        pixel_format(100 + 30 * n, 333 - 20 * n, samples, 8 + n) for n in range(4) for samples in (1, 3)
    ]
    frames = [picture(pixels, "smooth", seed) for seed, pixels in enumerate(formats)]
    expected = [Htj2k().encode([frame], pixels) for frame, pixels in zip(frames, formats, strict=True)]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda n: Htj2k().encode([frames[n % 8]], formats[n % 8]), range(64))
        assert list(found) == expected * 8


def test_frames_may_be_read_only():
    pixels = pixel_format(30, 40, 3)
    frame = picture(pixels, "ramp")
    frame.flags.writeable = False
    check(pixels, frame, Htj2k().encode([frame], pixels)[0])


GOLDEN = {
    ("noise", 3, 8): "162e5666e6fb5450",
    ("checked", 1, 12): "17777cbba3541361",
    ("sparse", 1, 8): "a5deba2728076626",
    ("ramp", 3, 10): "1876bb0ee6da52f4",
}


@pytest.mark.parametrize(("content", "samples", "bits"), GOLDEN)
def test_bytes_stay_the_same(content, samples, bits):
    pixels = pixel_format(131, 197, samples, bits)
    (stream,) = Htj2k().encode([picture(pixels, content, 1)], pixels)
    assert hashlib.sha256(stream).hexdigest()[:16] == GOLDEN[content, samples, bits]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
def test_what_lanes_of_16_bits_do_not_hold_is_left_to_openjph(samples, signed):
    pixels = pixel_format(50, 60, samples, 16, signed=signed)
    frame = picture(pixels, "saturated")
    (stream,) = Htj2k().encode([frame], pixels)
    assert [stream] == OpenJph().encode([frame], pixels)
    check(pixels, frame, stream)


@pytest.mark.parametrize("contents", ["noise", "saturated"])
@pytest.mark.parametrize("middle", [-7000, 0, 7000])
def test_few_values_of_many_bits_are_encoded_here(contents, middle):
    """As those of CT: 16 bits are stored, 13 hold what varies."""
    narrow, wide = pixel_format(70, 90, 1, 12, signed=True), pixel_format(70, 90, 1, 16, signed=True)
    frame = picture(narrow, contents).astype(np.int16) + np.int16(middle)
    (stream,) = Htj2k().encode([frame], wide)
    assert [stream] != OpenJph().encode([frame], wide)
    check(wide, frame, stream)


@pytest.mark.parametrize(
    ("content", "samples", "bits"), [("smooth", 1, 15), ("noise", 1, 13), ("ramp", 3, 14)]
)
def test_more_bits_take_the_wavelet_of_part_1(content, samples, bits):
    """What does not fit the lanes of its wavelet may still give coefficients of fewer than 16 bits."""
    pixels = pixel_format(140, 150, samples, bits)
    frame = picture(pixels, content)
    (stream,) = Htj2k().encode([frame], pixels)
    assert [stream] != OpenJph().encode([frame], pixels)
    check(pixels, frame, stream)


def test_all_wavelets_give_the_same_bytes(monkeypatch):
    for samples, bits in ((3, 8), (3, 10), (1, 11), (1, 12), (1, 1)):
        pixels = pixel_format(135, 261, samples, bits)
        frames = [picture(pixels, content) for content in CONTENTS]
        expected = Htj2k().encode(frames, pixels)
        for room in (0, 1):
            with monkeypatch.context() as patched:
                patched.setattr(htj2k_encode, "room", lambda *_, room=room: room)
                assert Htj2k().encode(frames, pixels) == expected


def test_lanes_hold_the_worst_sample_values():
    """The largest coefficient is the sum of the absolute weights of the wavelet's filters times the largest sample.

    Each level's rounding moves its LL by less than 2, which the filters of further levels weigh like samples.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import GAIN, LOW_GAIN, ROUNDED

    low, lows, highs = np.eye(2048), [], []
    for _ in range(10):
        odd = low[1::2] - (low[::2] + np.roll(low[::2], -1, 0)) / 2
        even = low[::2] + (odd + np.roll(odd, 1, 0)) / 4
        lows.append(np.abs(even).sum(1).max())
        highs.append(np.abs(odd).sum(1).max())
        low = even
    rounded = 2 * 2  # in columns and in rows; the levels' add up as a geometric series does, at worst
    assert max(lows) ** 2 < LOW_GAIN
    assert max(highs) ** 2 < GAIN
    assert max(highs) ** 2 * rounded < ROUNDED


@pytest.mark.parametrize(("bits", "samples"), [(12, 1), (11, 3), (12, 3)])
def test_patterns_that_the_filters_weigh_most(bits, samples):
    """Samples at either end of their range, as the filters of HH at each level are signed."""
    interpretation = "YBR_FULL" if bits + (samples == 3) > 12 else "RGB" if samples == 3 else "MONOCHROME2"
    pixels = pixel_format(192, 192, samples, bits).with_(photometric_interpretation=interpretation)
    for level in range(1, 5):
        weights = np.eye(192)
        for _ in range(level - 1):
            odd = weights[1::2] - (weights[::2] + np.roll(weights[::2], -1, 0)) / 2
            weights = weights[::2] + (odd + np.roll(odd, 1, 0)) / 4
        odd = weights[1::2] - (weights[::2] + np.roll(weights[::2], -1, 0)) / 2
        row = odd[len(odd) // 2]
        pattern = np.outer(row, row) > 0
        for sign in (pattern, ~pattern):
            frame = np.where(sign, (1 << bits) - 1, 0).astype(pixels.dtype)
            if samples == 3:
                frame = np.stack([frame, (1 << bits) - 1 - frame, frame], -1)
            (stream,) = Htj2k().encode([frame], pixels)
            assert [stream] != OpenJph().encode([frame], pixels)
            check(pixels, frame, stream)


def test_openjph_encodes_where_the_kernels_do_not_run(monkeypatch):
    monkeypatch.delenv("CINEMILL_KERNELS", raising=False)
    assert htj2k.fastest().name == "cinemill-htj2k"
    monkeypatch.setenv("CINEMILL_KERNELS", "portable")
    assert htj2k.fastest().name == "openjph"
    monkeypatch.delenv("CINEMILL_KERNELS")
    monkeypatch.setattr(x86, "available", lambda: False)
    assert htj2k.fastest().name == "openjph"


@pytest.mark.parametrize(
    ("bits", "allocated", "signed", "value"),
    [
        (12, 16, False, 4096),
        (12, 16, True, 2048),
        (12, 16, True, -2049),
        (1, 8, False, 2),
        (8, 16, False, 256),
        (14, 16, False, 16384),
        (4, 8, True, 8),
    ],
)
def test_values_above_bits_stored_are_refused(bits, allocated, signed, value):
    pixels = pixel_format(40, 50, bits=bits, signed=signed).with_(bits_allocated=allocated)
    frames = [picture(pixels, "constant"), picture(pixels, "constant")]
    frames[1][39, 49] = value
    with pytest.raises(UnsupportedPixelFormat, match="mask what lies above BitsStored"):
        Htj2k().encode(frames, pixels)


def test_what_follows_a_row_in_memory_is_not_taken_for_values():
    """A frame of fewer bits than one before, of as many columns, in memory that threads keep."""
    for bits in (12, 4, 12, 2):
        pixels = pixel_format(5, 33, 1, 12).with_(bits_stored=bits)
        frame = picture(pixels, "noise")
        check(pixels, frame, Htj2k().encode([frame], pixels)[0])


@pytest.mark.parametrize("target", ["htj2k", "htj2k-rpcl"])
@pytest.mark.parametrize(("components", "bits"), [(3, 8), (1, 8), (1, 12), (1, 16)])
def test_files_hold_what_other_decoders_read(transcode, target, components, bits):
    frames = noise((2, 70, 80, 3) if components == 3 else (2, 70, 80), bits)
    dataset = header(frames, "RGB" if components == 3 else "MONOCHROME2", samples=components, BitsStored=bits)
    dataset.HighBit = bits - 1
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), target)
    assert result.receipt.encoder.startswith(table.encoder("htj2k").name)
    item = pydicom.encaps.get_frame(result.dataset.PixelData, 0, number_of_frames=2)
    stream = item[: item.rindex(b"\xff\xd9") + 2]
    assert read_main_header(stream).precision == bits
    for read in (
        imagecodecs.htj2k_decode(stream, planar=False),
        openjpeg.decode(stream),
        imagecodecs.jpeg2k_decode(stream),
    ):
        np.testing.assert_array_equal(read, frames[0])


@pytest.mark.corpus
@pytest.mark.skipif(not native_corpus_files(), reason="CINEMILL_CORPUS names no folder of real files")
@pytest.mark.filterwarnings("ignore")
def test_real_frames_survive():
    seen = 0
    for path in native_corpus_files()[::4]:
        try:
            dataset = pydicom.dcmread(path, force=True)
            frame = pydicom.pixels.pixel_array(dataset, raw=True, index=0)
        except Exception:  # noqa: BLE001 - half of the corpus is there because it is damaged
            continue
        samples = frame.shape[2] if frame.ndim == 3 else 1
        if frame.itemsize > 2 or frame.dtype.kind == "f" or samples not in {1, 3}:
            continue
        frame = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("=")))
        bits, signed = int(dataset.BitsStored), frame.dtype.kind == "i"
        lowest = -(1 << bits - 1) if signed else 0
        if frame.min() < lowest or frame.max() >= lowest + (1 << bits):
            bits = 8 * frame.itemsize
        pixels = pixel_format(frame.shape[0], frame.shape[1], samples, bits, signed=signed)
        pixels = pixels.with_(bits_allocated=8 * frame.itemsize)
        (stream,) = Htj2k().encode([frame], pixels)
        np.testing.assert_array_equal(OpenJpeg().decode([stream], pixels)[0], frame)
        np.testing.assert_array_equal(
            imagecodecs.htj2k_decode(stream, planar=False).reshape(frame.shape), frame
        )
        seen += 1
    assert seen > 12
