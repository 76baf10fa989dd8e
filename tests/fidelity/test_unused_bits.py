"""What lies above Bits Stored is no part of a sample (PS3.5 §8.1.1): not in arrays, pictures or codestreams, whatever the source."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
import pytest
import tifffile
import zarr

import cinemill
from cinemill.errors import UnsupportedPixelFormat
from tests.support import oracle
from tests.support.generate import (
    BIG_ENDIAN,
    EXPLICIT,
    HTJ2K,
    JPEG_2000,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    RLE,
    encapsulated_element,
    header,
    htj2k,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
)

SHAPE = 3, 8, 20
ENCODERS = {
    JPEG_LOSSLESS_SV1: lambda frame: jpeg_lossless(frame, 16),
    JPEG_LS: jpeg_ls_stream,
    JPEG_2000: jpeg_2000,
    HTJ2K: htj2k,
    RLE: rle_stream,
}
"""Encoders that are given whole words, whatever their unused bits hold."""


def overlay_in_bit(position):
    """Elements of an overlay that lies in Pixel Data (PS3.3 C.9.2)."""
    dataset = pydicom.Dataset()
    for tag, vr, value in (
        (0x0010, "US", SHAPE[1]),
        (0x0011, "US", SHAPE[2]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", position),
    ):
        dataset.add_new((0x6000, tag), vr, value)
    return dataset


def file_of(frames, syntax=EXPLICIT, *, overlay=None, **elements):
    dataset = header(frames, bits_stored=12, **elements)
    if overlay is not None:
        dataset.update(overlay_in_bit(overlay))
    if syntax in ENCODERS:
        words = frames.view(np.uint16)
        return part10(dataset, encapsulated_element([[ENCODERS[syntax](frame)] for frame in words]), syntax)
    return part10(
        dataset, native_element(native_bytes(frames, big_endian=syntax == BIG_ENDIAN), syntax), syntax
    )


def frames_of(kind):
    """Words of 16 bits whose upper four are no part of the samples, and the samples."""
    if kind == "overlay":
        samples = noise(SHAPE, 12)
        return samples | noise(SHAPE, 1, seed=1).astype(np.uint16) << 12, samples
    if kind == "junk":
        return noise(SHAPE, 16), noise(SHAPE, 16) & np.uint16(0xFFF)
    samples = noise(SHAPE, 12, signed=True)
    return (samples & np.int16(0xFFF), samples) if kind == "unextended sign" else (samples ^ 0x6000, samples)


def extracted(source, folder, name):
    """Frames by a reader that is not cinemill."""
    cinemill.extract(source, folder, format=name, mode="stored", threads=1)
    paths = sorted(folder.iterdir())
    if name == "npy":
        return np.stack([np.load(path) for path in paths])
    if name == "npz":
        with np.load(paths[0]) as archive:
            return archive["frames"]
    if name == "zarr":
        return np.asarray(zarr.open_group(paths[0], mode="r")["frames"])
    if name == "tiff":
        return tifffile.imread(paths[0])
    if name == "png":
        return np.stack([imagecodecs.png_decode(path.read_bytes()) for path in paths])
    if name == "jpeg-2000":
        return np.stack([imagecodecs.jpeg2k_decode(path.read_bytes()) for path in paths])
    return np.stack([jpeg_ls.decode(np.frombuffer(path.read_bytes(), np.uint8)) for path in paths])


FORMATS = ("npy", "npz", "zarr", "tiff", "png", "jpeg-ls", "jpeg-2000")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG_LOSSLESS_SV1, JPEG_LS])
@pytest.mark.parametrize("kind", ["overlay", "junk"])
def test_every_stored_format_has_the_samples_alone(source, tmp_path, kind, syntax, name):
    frames, samples = frames_of(kind)
    path = source(file_of(frames, syntax, overlay=12 if kind == "overlay" else None))
    assert np.array_equal(extracted(path, tmp_path / "out", name), samples)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, *ENCODERS])
@pytest.mark.parametrize("kind", ["overlay", "junk", "unextended sign", "wrong sign"])
def test_arrays_are_those_of_pydicom_and_of_the_transcoded_file(transcode, source, kind, syntax):
    frames, samples = frames_of(kind)
    data = file_of(frames, syntax, overlay=12 if kind == "overlay" else None)
    with cinemill.open(source(data)) as cine:
        assert np.array_equal(cine[1], samples[1])
        assert np.array_equal(cine[:], samples)
        assert np.array_equal(list(cine), samples)
        assert np.array_equal(cine.decode([2, 0]), samples[[2, 0]])
        assert any("Bits Stored 12" in warning for warning in cine.warnings)
        assert cine.pixels.bits_stored == 12
    result = transcode(data, "jpeg-ls" if syntax != JPEG_LS else "jpeg-2000")
    assert np.array_equal(result.reading.frames, samples)
    assert result.dataset.BitsStored == 12
    assert np.array_equal(result.dataset.pixel_array, samples)


@pytest.mark.parametrize("kind", ["overlay", "junk"])
def test_pictures_show_the_samples_alone(source, tmp_path, kind):
    frames, samples = frames_of(kind)
    for name, words, overlay in (
        ("with", frames, 12 if kind == "overlay" else None),
        ("without", samples, None),
    ):
        for syntax in (EXPLICIT, JPEG_LOSSLESS_SV1):
            path = source(file_of(words, syntax, overlay=overlay, WindowCenter=2000, WindowWidth=4000))
            cinemill.extract(path, tmp_path / name / syntax, format="png", mode="display")
    for syntax in (EXPLICIT, JPEG_LOSSLESS_SV1):
        shown, expected = (sorted((tmp_path / name / syntax).iterdir()) for name in ("with", "without"))
        assert [path.read_bytes() for path in shown] == [path.read_bytes() for path in expected]


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit"])
@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000, HTJ2K])
@pytest.mark.parametrize("kind", ["junk", "overlay data of its own"])
def test_junk_in_a_lossless_codestream_is_cleared_as_in_native_pixels(transcode, kind, syntax, target):
    """gdcmconv moves overlays to Overlay Data, and leaves their bits in the codestream."""
    frames, samples = frames_of("junk")
    dataset = header(frames, bits_stored=12)
    if kind != "junk":
        dataset.update(overlay_in_bit(0))
        dataset[0x6000, 0x0100].value = 1
        dataset.add_new((0x6000, 0x3000), "OW", bytes(20))
    streams = [[ENCODERS[syntax](frame)] for frame in frames]
    result = transcode(part10(dataset, encapsulated_element(streams), syntax), target)
    if result.receipt.status == "copied":
        assert any("above Bits Stored 12, and stay" in warning for warning in result.receipt.warnings)
        return
    assert np.array_equal(result.reading.frames, samples)
    assert (result.dataset.BitsStored, result.dataset.HighBit) == (12, 11)
    assert any("Bits Stored 12" in warning for warning in result.receipt.warnings)


def test_overlay_bits_in_a_lossless_codestream_become_overlay_data(transcode):
    frames, samples = frames_of("overlay")
    from_native = transcode(file_of(frames, overlay=12), "jpeg-2000")
    for syntax in (JPEG_LOSSLESS_SV1, JPEG_LS, HTJ2K, RLE):
        result = transcode(file_of(frames, syntax, overlay=12), "jpeg-2000")
        assert np.array_equal(result.reading.frames, samples)
        assert result.dataset[0x6000, 0x3000].value == from_native.dataset[0x6000, 0x3000].value
        assert any("6000,3000" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("target", ["jpeg-ls", "htj2k", "explicit"])
@pytest.mark.parametrize("wavelet", ["9-7", "5-3"])
def test_what_a_lossy_codestream_overshoots_is_not_wrapped(transcode, source, target, wavelet):
    """Lossy coding may pass the range of its samples; to keep their low bits would turn white to black."""
    frames = np.full((1, 64, 64), 4095, np.uint16)
    frames[0, ::2, ::3] = 3000
    stream = jpeg_2000(frames[0], level=25, wavelet=wavelet)
    decoded = imagecodecs.jpeg2k_decode(stream)
    assert decoded.max() > 4095
    dataset = header(frames, bits_stored=12, LossyImageCompression="01")
    data = part10(dataset, encapsulated_element([[stream]]), "1.2.840.10008.1.2.4.91")
    result = transcode(data, target)
    assert np.array_equal(result.reading.frames[0], decoded)
    assert result.dataset.BitsStored == 16
    with cinemill.open(source(data)) as cine:
        assert np.array_equal(cine[0], decoded)


@pytest.mark.parametrize("name", ["npy", "tiff"])
def test_left_aligned_samples_are_given_as_they_lie_with_a_warning(source, tmp_path, name):
    frames = noise(SHAPE, 12) << 4
    path = source(file_of(frames, HighBit=15))
    assert np.array_equal(extracted(path, tmp_path / "out", name), frames)
    receipt = cinemill.extract(path, tmp_path / "again", format=name)
    assert any("High Bit is 15" in warning for warning in receipt.warnings)


@pytest.mark.parametrize("name", ["jpeg-ls", "jpeg-2000"])
def test_codestreams_of_left_aligned_samples_are_refused_as_by_transcoding(source, tmp_path, name):
    path = source(file_of(noise(SHAPE, 12) << 4, HighBit=15))
    with pytest.raises(UnsupportedPixelFormat, match="High Bit 15"):
        cinemill.extract(path, tmp_path / "out", format=name)


def test_frames_with_nothing_above_are_views_of_the_file(source):
    with cinemill.open(source(file_of(noise(SHAPE, 12)))) as cine:
        assert not cine[1].flags.owndata
        assert not cine[1].flags.writeable
        assert not cine.warnings


@pytest.mark.tools
@pytest.mark.parametrize("option", ["--jpeg", "--jpegls", "--j2k", "--rle"])
@pytest.mark.parametrize("kind", ["overlay", "junk"])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "rle", "explicit"])
def test_what_gdcmconv_coded_gives_what_the_native_file_gives(source, tmp_path, kind, option, target):
    frames, samples = frames_of(kind)
    native = source(file_of(frames[:1], overlay=12 if kind == "overlay" else None))
    coded = tmp_path / "coded.dcm"
    subprocess.run(["gdcmconv", option, native, coded], check=True, capture_output=True)
    with cinemill.open(coded) as cine:
        assert np.array_equal(cine[0], samples[0])
    cinemill.transcode(coded, tmp_path / "out.dcm", to=target)
    assert np.array_equal(reading(tmp_path / "out.dcm"), samples[0])
    if kind == "overlay":
        assert _overlay(tmp_path / "out.dcm") == np.packbits(frames[0] >> 12, bitorder="little").tobytes()


def reading(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        (frame,) = oracle.read(path).frames
    assert dataset.BitsStored == 12
    return oracle.low_bits(frame, 12, signed=False)


def _overlay(path: Path) -> bytes:
    element = pydicom.dcmread(path)[0x6000, 0x3000]
    return bytes(element.value)[: -(-SHAPE[1] * SHAPE[2] // 8)]
