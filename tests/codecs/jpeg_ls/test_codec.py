"""JPEG-LS against CharLS, the standard's example, and a naive encoder."""

from __future__ import annotations

from itertools import pairwise

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cinemill.codecs.jpeg_ls.codec as codec_module
from cinemill.codecs.jpeg_ls.charls import CharLS
from cinemill.codecs.jpeg_ls.codec import JpegLs, Transient
from cinemill.codecs.table import verifiers
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_ls import decode_lanes, encode_lanes, lanes
from cinemill.kernels.jpeg_ls.parameters import BREAK_EVEN, LANES, default_thresholds
from cinemill.pixel_format import PixelFormat
from tests.support import guarded_memory
from tests.support.files import CORPUS
from tests.support.jpegls_images import (
    CONTENTS,
    charls,
    frame_header,
    image,
    pixel_format,
    preset,
    scan_header,
    segment,
)
from tests.support.naive_jpegls import NaiveScan
from tests.support.pictures import format_of

SHAPES = [(1, 1), (1, 2), (2, 1), (1, 32), (1, 33), (65, 1), (3, 31), (40, 90), (1, 1, 3), (23, 50, 3)]


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_codecs_agree_in_both_directions(shape, bits):
    rng = np.random.default_rng(bits)
    for content in CONTENTS:
        frame = image(content, shape, bits, rng)
        pixels = pixel_format(frame, bits)
        (ours,), (theirs,) = JpegLs().encode([frame], pixels), CharLS().encode([frame], pixels)
        for codec in (JpegLs(), CharLS()):
            for decoded in codec.decode([ours, theirs], pixels):
                assert decoded.dtype == pixels.dtype
                np.testing.assert_array_equal(decoded, frame, content)


@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 13, 16])
@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 3)], ids=str)
def test_codestreams_are_byte_for_byte_those_of_charls(shape, bits):
    rng = np.random.default_rng(bits)
    for content in CONTENTS:
        frame = image(content, shape, bits, rng)
        assert JpegLs().encode([frame], pixel_format(frame, bits)) == [charls(frame, bits, interleave=1)]


@pytest.mark.parametrize(
    "count", [BREAK_EVEN - 1, BREAK_EVEN, LANES, LANES + 1, 2 * LANES - 1, 2 * LANES, 2 * LANES + BREAK_EVEN]
)
@pytest.mark.parametrize("bits", [2, 5, 8, 12, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_batch_is_coded_like_its_frames(shape, bits, count):
    rng = np.random.default_rng(count)
    frames = [image(CONTENTS[n % len(CONTENTS)], shape, bits, rng) for n in range(count)]
    pixels = pixel_format(frames[0], bits)
    codestreams = JpegLs().encode(frames, pixels)
    assert codestreams == [JpegLs().encode([frame], pixels)[0] for frame in frames]
    for decoded, frame in zip(JpegLs().decode(codestreams, pixels), frames, strict=True):
        np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("shape", [(1, 65535), (65535, 1), (2, 65535, 3)], ids=str)
@pytest.mark.parametrize("content", ["noise", "constant", "sparse"])
def test_longest_rows_and_columns(shape, content):
    rng = np.random.default_rng(0)
    frames = [image(content, shape, 8, rng) for _ in range(BREAK_EVEN)]
    pixels = pixel_format(frames[0], 8)
    codestreams = JpegLs().encode(frames, pixels)
    for codec, batch in ((JpegLs(), BREAK_EVEN), (JpegLs(), 1), (CharLS(), 1)):
        for decoded, frame in zip(codec.decode(codestreams[:batch], pixels), frames, strict=False):
            np.testing.assert_array_equal(decoded, frame)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bits=st.integers(2, 16), colour=st.booleans())
def test_any_samples_survive(data, bits, colour):
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    shape = (rows, columns, 3) if colour else (rows, columns)
    samples = hnp.arrays("u1" if bits <= 8 else "u2", shape, elements=st.integers(0, (1 << bits) - 1))
    frames = data.draw(st.lists(samples, min_size=1, max_size=BREAK_EVEN + 1))
    pixels = pixel_format(frames[0], bits)
    codestreams = JpegLs().encode(frames, pixels)
    for codec in (JpegLs(), CharLS()):
        for decoded, frame in zip(codec.decode(codestreams, pixels), frames, strict=True):
            np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("count", [1, BREAK_EVEN])
@pytest.mark.parametrize("bits", [2, 8, 12, 15, 16])
def test_sign_comes_from_the_pixel_format(bits, count):
    rng = np.random.default_rng(bits)
    most = 1 << (bits - 1)
    frames = [rng.integers(-most, most, (20, 30)).astype("i2") for _ in range(count)]
    pixels = pixel_format(frames[0], bits)
    codestreams = JpegLs().encode(frames, pixels)
    for codec in (JpegLs(), CharLS()):
        for decoded, frame in zip(codec.decode(codestreams, pixels), frames, strict=True):
            assert decoded.dtype == np.int16
            np.testing.assert_array_equal(decoded, frame)


def test_bits_above_those_stored_are_dropped():
    frame = np.arange(4096, dtype="u2").reshape(64, 64) | 0xF000
    pixels = pixel_format(frame, 12)
    for count in (1, 4):
        codestreams = JpegLs().encode([frame] * count, pixels)
        np.testing.assert_array_equal(JpegLs().decode(codestreams, pixels)[0], frame & 0xFFF)


@pytest.mark.parametrize(
    "shape", [(3, 1), (3, 15), (3, 16), (3, 33), (3, 5, 3), (3, 16, 3), (3, 27, 3)], ids=str
)
def test_a_batch_of_bytes_is_read_to_its_last_sample_and_no_further(shape):
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 256, (LANES - 1, *shape), "u1")
    guards = [np.frombuffer(guarded_memory.guarded(frame.size), "u1").reshape(shape) for frame in samples]
    for guard, frame in zip(guards, samples, strict=True):
        guard[...] = frame
    for bits in (8, 5):
        pixels = pixel_format(samples[0], bits)
        kernels = encode_lanes, decode_lanes, lanes, codec_module
        with guarded_memory.guarding(*kernels):
            codestreams = JpegLs().encode(guards, pixels)
            decoded = JpegLs().decode(codestreams, pixels)
        np.testing.assert_array_equal(decoded, samples & ((1 << bits) - 1))
        np.testing.assert_array_equal(CharLS().decode(codestreams, pixels), decoded)


def test_frames_may_be_views_and_read_only():
    frame = np.arange(6000, dtype="u1").reshape(50, 40, 3)[:, ::-1].transpose(1, 0, 2)
    frame.flags.writeable = False
    pixels = pixel_format(frame, 8)
    (decoded,) = JpegLs().decode(JpegLs().encode([frame], pixels), pixels)
    np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("near", [0, 1, 3, 20])
@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 3)], ids=str)
@pytest.mark.parametrize("bits", [6, 8, 12, 16])
def test_every_mode_of_charls_decodes(bits, shape, interleave, near):
    rng = np.random.default_rng(near)
    for content in CONTENTS:
        frame = image(content, shape, bits, rng)
        if len(shape) == 3 and shape[2] == 4 and interleave == 1 and near:
            continue
        codestream = charls(frame, bits, near, interleave)
        pixels = pixel_format(frame, bits)
        for count in (1, 4):
            decoded = JpegLs().decode([codestream] * count, pixels)[-1]
            assert abs(decoded.astype(int) - frame.astype(int)).max() <= near
            if interleave or len(shape) == 2:
                np.testing.assert_array_equal(decoded, imagecodecs.jpegls_decode(codestream).reshape(shape))


def naive(frame, bits, *, interleave=0, restart=0, **parameters):
    """Encode by the naive encoder, with LSE and, for a restart interval, DRI."""
    planes = [frame] if frame.ndim == 2 else list(np.moveaxis(frame, 2, 0))
    max_value, reset = parameters["max_value"], parameters.get("reset", 64)
    near, thresholds = parameters.get("near", 0), parameters["thresholds"]
    parts = [b"\xff\xd8", frame_header(frame.shape, bits), preset(max_value, thresholds, reset)]
    if restart:
        parts.append(segment(0xDD, restart.to_bytes(2, "big")))
    groups = [[c] for c in range(len(planes))] if interleave == 0 else [list(range(len(planes)))]
    for group in groups:
        parts.append(scan_header([c + 1 for c in group], near, interleave))
        step = restart or len(frame)
        for number, top in enumerate(range(0, len(frame), step)):
            if number:
                parts.append(bytes((0xFF, 0xD0 + (number - 1) % 8)))
            rows = [planes[c][top : top + step].tolist() for c in group]
            parts.append(NaiveScan(rows, interleave=interleave, **parameters).stuffed())
    return b"".join((*parts, b"\xff\xd9"))


def bounded(content, shape, bits, max_value, rng):
    return np.minimum(image(content, shape, bits, rng), max_value).astype("u1" if bits <= 8 else "u2")


@pytest.mark.parametrize(
    ("bits", "max_value", "near", "thresholds", "reset"),
    [
        (8, 255, 0, None, 64),
        (8, 255, 0, (5, 9, 30), 64),
        (8, 255, 0, None, 31),
        (8, 255, 0, None, 255),
        (8, 200, 0, None, 64),
        (8, 100, 2, None, 64),
        (4, 10, 1, None, 20),
        (12, 4095, 0, (20, 80, 300), 64),
        (12, 3000, 5, None, 100),
        (16, 65535, 0, None, 64),
        (16, 40000, 0, None, 3),
    ],
)
@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_preset_parameters(bits, max_value, near, thresholds, reset, interleave):
    thresholds = thresholds or default_thresholds(max_value, near)
    rng = np.random.default_rng(max_value)
    for content in CONTENTS:
        frame = bounded(content, (9, 26, 3) if interleave else (13, 33), bits, max_value, rng)
        codestream = naive(
            frame,
            bits,
            interleave=interleave,
            max_value=max_value,
            near=near,
            thresholds=thresholds,
            reset=reset,
        )
        pixels = pixel_format(frame, bits)
        for count in (1, 4):
            decoded = JpegLs().decode([codestream] * count, pixels)[-1]
            assert abs(decoded.astype(int) - frame.astype(int)).max() <= near, content
        # CharLS takes no other MAXVAL into account, and no other RESET with interleave sample.
        if max_value == (1 << bits) - 1 and (interleave < 2 or reset == 64):
            np.testing.assert_array_equal(decoded, CharLS().decode([codestream], pixels)[0], content)


@pytest.mark.parametrize(("low", "high"), [(32766, 32767), (32767, 32768), (32768, 65535), (1, 65535)])
def test_frames_side_by_side_with_thresholds_of_half_the_range(low, high):
    rng = np.random.default_rng(high)
    for content in CONTENTS:
        frame = bounded(content, (9, 26), 16, 65535, rng)
        codestream = naive(frame, 16, max_value=65535, thresholds=(low, low, high))
        pixels = pixel_format(frame, 16)
        for decoded in JpegLs().decode([codestream] * LANES, pixels):
            np.testing.assert_array_equal(decoded, frame, content)


def test_codes_that_are_far_apart_in_memory_are_moved(monkeypatch):
    rng = np.random.default_rng(5)
    frames = [image("soft", (20, 33, 3), 8, rng) for _ in range(LANES + BREAK_EVEN)]
    pixels = pixel_format(frames[0], 8)
    monkeypatch.setattr("cinemill.kernels.jpeg_ls.lanes.REACH", 1)
    decoded = JpegLs().decode(JpegLs().encode(frames, pixels), pixels)
    np.testing.assert_array_equal(decoded, frames)


def test_a_frame_that_begins_as_the_one_before_is_looked_at_to_its_end():
    frame = image("soft", (20, 33), 8, np.random.default_rng(6))
    pixels = pixel_format(frame, 8)
    (codestream,) = JpegLs().encode([frame], pixels)
    for faulty in (codestream + codestream, codestream[:-2], codestream[:-2] + b"\xff\xd0\xff\xd9"):
        with pytest.raises(CodecError) as alone:
            JpegLs().decode([faulty], pixels)
        with pytest.raises(CodecError) as second:
            JpegLs().decode([codestream, faulty], pixels)
        assert (second.value.message, second.value.frame) == (alone.value.message, 1)


@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize(("samples", "near"), [(2, 0), (2, 2), (4, 0), (4, 3)])
def test_two_and_four_components(samples, near, interleave):
    thresholds = default_thresholds(255, near)
    rng = np.random.default_rng(samples)
    for content in CONTENTS:
        frame = image(content, (9, 26, samples), 8, rng)
        codestream = naive(frame, 8, interleave=interleave, max_value=255, near=near, thresholds=thresholds)
        decoded = JpegLs().decode([codestream] * 4, pixel_format(frame, 8))[-1]
        assert abs(decoded.astype(int) - frame.astype(int)).max() <= near, content


@pytest.mark.parametrize("restart", [1, 3, 8, 13, 40])
@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_restart_intervals(restart, interleave):
    rng = np.random.default_rng(restart)
    frame = image("soft", (13, 20, 3), 8, rng)
    codestream = naive(
        frame, 8, interleave=interleave, restart=restart, max_value=255, thresholds=default_thresholds(255)
    )
    pixels = pixel_format(frame, 8)
    np.testing.assert_array_equal(JpegLs().decode([codestream], pixels)[0], frame)
    if interleave:
        np.testing.assert_array_equal(CharLS().decode([codestream], pixels)[0], frame)


def test_the_example_of_the_standard():
    """T.87 H.3."""
    frame = np.array(
        [[0, 0, 90, 74], [68, 50, 43, 205], [64, 145, 145, 145], [100, 145, 145, 145]], dtype=np.uint8
    )
    codestream = bytes.fromhex(
        "FFD8FFF7000B08000400040101110 0FFDA0008010100000000C000006C80208E01C00000574000006EE6000001BC18000005D80000"
        "9160FFD9".replace(" ", "")
    )
    pixels = pixel_format(frame, 8)
    assert JpegLs().encode([frame], pixels) == [codestream]
    np.testing.assert_array_equal(JpegLs().decode([codestream], pixels)[0], frame)


@pytest.mark.parametrize(
    ("columns", "samples", "allocated", "stored"),
    [(0, 1, 8, 8), (65536, 1, 8, 8), (4, 2, 8, 8), (4, 4, 8, 8), (4, 1, 32, 32), (4, 1, 8, 1)],
)
def test_frames_that_have_no_room_in_jpegls_are_refused(columns, samples, allocated, stored):
    pixels = PixelFormat(
        3, columns, samples, allocated, stored, signed=False, photometric_interpretation="RGB"
    )
    frame = np.zeros(pixels.shape, pixels.dtype)
    with pytest.raises(UnsupportedPixelFormat, match="JPEG-LS"):
        JpegLs().encode([frame], pixels)


@pytest.mark.parametrize("codec", [JpegLs(), CharLS()], ids=lambda codec: codec.name)
def test_a_frame_unlike_its_description_is_refused(codec):
    frame = np.zeros((4, 5), np.uint8)
    for other in (frame.T, frame.astype("u2"), frame.astype("i1")):
        with pytest.raises(UnsupportedPixelFormat, match="expected a frame of"):
            codec.encode([other], pixel_format(frame, 8))


def test_no_frames_are_no_codestreams():
    pixels = pixel_format(np.zeros((4, 5), np.uint8), 8)
    assert JpegLs().encode([], pixels) == []
    assert JpegLs().decode([], pixels) == []


def corpus_files():
    folder = CORPUS / "files"
    if not folder.is_dir():
        return []
    import pydicom

    found = []
    for path in sorted(folder.iterdir()):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            syntax = dataset.file_meta.TransferSyntaxUID
        except Exception:  # noqa: BLE001 - the corpus holds files that are not DICOM
            continue
        if syntax in ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"):
            found.append(path)
    return found


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="CINEMILL_CORPUS names no folder")
def test_corpus_frames_decode_alike():
    import pydicom
    from pydicom.encaps import generate_frames

    files = corpus_files()
    assert len(files) > 30
    for path in files:
        dataset = pydicom.dcmread(path, force=True)
        pixels = format_of(dataset)
        count = int(dataset.get("NumberOfFrames") or 1)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=count))
        for ours, theirs in zip(
            JpegLs().decode(frames, pixels), CharLS().decode(frames, pixels), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs, path.name)


@pytest.mark.parametrize("codec", [JpegLs(), CharLS()], ids=lambda codec: codec.name)
def test_errors_name_the_frame(codec):
    frame = image("soft", (30, 40), 8, np.random.default_rng(0))
    pixels = pixel_format(frame, 8)
    (good,) = codec.encode([frame], pixels)
    with pytest.raises(CodecError) as caught:
        codec.decode([good, good[:-5]], pixels)
    assert caught.value.frame == 1


@pytest.mark.parametrize("bits", [8, 12])
def test_transient_frames_are_the_same_and_make_room_for_the_next_ones(bits):
    rng = np.random.default_rng(bits)
    frames = [image("noise", (23, 50, 3), bits, rng) for _ in range(2 * LANES)]
    pixels = pixel_format(frames[0], bits)
    codestreams = JpegLs().encode(frames, pixels)
    codec = Transient()
    decoded = codec.decode(codestreams, pixels)
    for ours, frame in zip(decoded, frames, strict=True):
        np.testing.assert_array_equal(ours, frame)
    assert not any(np.shares_memory(one, other) for one, other in pairwise(decoded))
    assert np.shares_memory(decoded[0], codec.decode(codestreams, pixels)[0])


def test_only_where_frames_are_compared_at_once_are_they_transient():
    kinds = [type(verifiers("jpeg-ls", transient=transient)[0]) for transient in (False, True)]
    assert kinds == [JpegLs, Transient]
    assert [each.name for each in verifiers("jpeg-ls", transient=True)] == ["cinemill-jpegls", "charls"]
