"""Rectangles blackened in the coefficients of JPEG: black inside for every decoder, and nothing changed outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cinemill.codecs.jpeg import blacken as module
from cinemill.codecs.jpeg.blacken import blacken, frame_header, grown, touched
from cinemill.codecs.jpeg.extend import extended
from cinemill.codecs.jpeg.scans import check_entropy_data
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg import blacken as kernel
from tests.fuzz import jpeg_blacken as fuzz
from tests.support import naive_jpeg_coefficients as naive
from tests.support import naive_jpeg_dct
from tests.support.guarded_memory import guarding

YCBCR, RGB, GREY = (0, 128, 128), (0, 0, 0), (0,)


def image(rows: int, columns: int, samples: int = 1) -> np.ndarray:
    """Noise, a gradient and white."""
    rng = np.random.default_rng(rows)
    y, x = np.indices((rows, columns))
    frame = np.stack([(x * 2 + y * (band + 1)) % 256 for band in range(samples)], axis=-1).astype(np.uint8)
    frame[: rows // 3] = rng.integers(0, 256, frame[: rows // 3].shape, np.uint8)
    frame[rows // 2 :, columns // 3 :] = 255
    return frame[..., 0] if samples == 1 else frame


def jpeg(frame: np.ndarray, **options) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", **{"quality": 85, **options})
    return buffer.getvalue()


def by_libjpeg_turbo(stream: bytes) -> np.ndarray:
    samples = frame_header(stream).components
    space = "GRAYSCALE" if len(samples) == 1 else "YCBCR"
    return imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=space)


def by_libjpeg(stream: bytes) -> np.ndarray:
    import libjpeg

    return libjpeg.decode(stream, 0)


DECODERS = [by_libjpeg_turbo, by_libjpeg]


def inside(shape: tuple[int, ...], boxes) -> np.ndarray:
    chosen = np.zeros(shape[:2], bool)
    for left, top, right, bottom in boxes:
        chosen[top : bottom + 1, left : right + 1] = True
    return chosen


def check(stream: bytes, boxes, values) -> bytes:
    """Blacken, and compare coefficients and samples with the source's; return the result."""
    written = blacken(memoryview(stream), boxes, values)
    check_entropy_data(written)
    check_coefficients(stream, written, boxes)
    header = frame_header(stream)
    for decode in DECODERS:
        before, after = decode(stream), decode(written)
        left_alone = ~inside(before.shape, touched(header, boxes))
        np.testing.assert_array_equal(before[left_alone], after[left_alone])
        assert (after[inside(before.shape, boxes)] == (values if after.ndim == 3 else values[0])).all()
    return written


def check_coefficients(stream: bytes, written: bytes, boxes) -> None:
    header = frame_header(stream)
    before, after = naive.read(stream), naive.read(written)
    alone = len(before) == 1
    across = 8 if alone else 8 * max(part.across for part in header.components)
    down = 8 if alone else 8 * max(part.down for part in header.components)
    for old, new in zip(before, after, strict=True):
        rows, columns, _ = old.coefficients.shape
        masked = np.zeros((rows, columns), bool)
        for left, top, right, bottom in grown(header, boxes):
            high, wide = (1, 1) if alone else (old.down, old.across)
            masked[
                top // down * high : (bottom // down + 1) * high,
                left // across * wide : (right // across + 1) * wide,
            ] = True
        np.testing.assert_array_equal(old.coefficients[~masked], new.coefficients[~masked])
        assert not new.coefficients[masked][:, 1:].any()
        assert len({*new.coefficients[masked][:, 0].tolist(), 0}) <= 2  # blocks that only pad are 0


BOXES = [[(3, 2, 20, 11)], [(0, 0, 30, 15), (15, 20, 17, 36)], [(20, 17, 46, 38)]]


@pytest.mark.parametrize("boxes", BOXES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 5},
        {"quality": 100, "subsampling": 0},
        {"optimize": True},
        {"subsampling": 0, "restart_marker_blocks": 3},
        {"subsampling": 1, "restart_marker_rows": 1},
        {"subsampling": 2, "restart_marker_blocks": 1},
    ],
    ids=str,
)
def test_colour_is_black_inside_and_unchanged_outside(options, boxes):
    check(jpeg(image(39, 47, 3), **options), boxes, YCBCR)


@pytest.mark.parametrize("boxes", BOXES, ids=str)
@pytest.mark.parametrize("options", [{}, {"quality": 100}, {"optimize": True, "restart_marker_blocks": 2}])
def test_grey_is_black_or_white_inside_and_unchanged_outside(options, boxes):
    stream = jpeg(image(39, 47), **options)
    check(stream, boxes, (0,))
    check(stream, boxes, (255,))
    check(stream, boxes, (128,))


def test_rgb_that_is_coded_as_it_is():
    stream = bytes(
        imagecodecs.jpeg8_encode(image(50, 61, 3), level=90, colorspace="RGB", outcolorspace="RGB")
    )
    written = check(stream, [(9, 9, 33, 20)], RGB)
    assert not imagecodecs.jpeg8_decode(written)[9:21, 9:34].any()


@pytest.mark.parametrize("level", [60, 98])
def test_twelve_bits(level):
    stream = bytes(
        imagecodecs.jpeg8_encode(image(70, 90).astype(np.uint16) * 16 + 7, level=level, bitspersample=12)
    )
    check(stream, [(8, 8, 50, 20)], (0,))
    check(stream, [(8, 8, 50, 20)], (4095,))


@pytest.mark.parametrize("seed", range(24))
def test_any_layout_of_scans(seed):
    """Factors of 1 and 2, scans of one and of all components, restarts, 8 and 12 bits: coefficients by a naive reader."""
    rng = np.random.default_rng(seed)
    layout = naive_jpeg_dct.random_layout(rng)
    stream = naive_jpeg_dct.write(rng, layout)
    left, right = sorted(int(at) for at in rng.integers(0, layout.columns, 2))
    top, bottom = sorted(int(at) for at in rng.integers(0, layout.rows, 2))
    middle = 1 << layout.precision - 1
    values = [int(rng.choice([0, middle, 2 * middle - 1])) for _ in layout.sampling]
    try:
        written = blacken(stream, [(left, top, right, bottom)], values)
    except CodecError as error:
        assert "DC coefficient out of range" in error.message  # noqa: PT017  # random differences run away
        return
    check_entropy_data(written)
    check_coefficients(stream, written, [(left, top, right, bottom)])


def test_without_rectangles_every_coefficient_stays():
    stream = jpeg(image(67, 97, 3), restart_marker_blocks=2)
    assert blacken(stream, [], YCBCR) == stream


def test_tables_that_lack_a_symbol_get_it():
    """An optimised table of a flat picture knows no difference but 0."""
    stream = jpeg(np.full((64, 64, 3), 128, np.uint8), optimize=True, subsampling=0)
    written = check(stream, [(16, 16, 40, 40)], YCBCR)
    assert len(written) > len(stream)
    picture = image(64, 64, 3)
    check(jpeg(picture // 8 + 100, optimize=True, quality=40), [(16, 16, 40, 40)], YCBCR)


def test_extended_tables_are_prefix_free_and_leave_all_ones_alone():
    rng = np.random.default_rng(3)
    for _ in range(200):
        count = int(rng.integers(1, 163))
        counts = dict(
            zip(rng.permutation(256)[:count].tolist(), rng.integers(1, 1 << 16, count).tolist(), strict=True)
        )
        first = extended(bytes(16), tuple(counts))
        table = extended(first, tuple(int(symbol) for symbol in rng.integers(0, 256, 12)))
        words = naive_jpeg_dct.code_words_of((table[:16], table[16:]))
        assert set(counts) <= set(words.values())
        assert len(set(table[16:])) == len(table) - 16 == sum(table[:16])
        assert sum(2.0**-length for length, _ in words) < 1
        assert all(code != (1 << length) - 1 for length, code in words)


def test_fill_bytes_padding_and_what_stands_behind_the_end():
    stream = jpeg(image(64, 64, 3), restart_marker_rows=1)
    boxes = [(5, 20, 30, 30)]
    plain = blacken(stream, boxes, YCBCR)
    assert blacken(stream.replace(b"\xff\xd2", b"\xff\xff\xff\xd2"), boxes, YCBCR) == plain
    assert blacken(stream[:-2] + b"\xff\xff" + stream[-2:], boxes, YCBCR) == plain
    assert blacken(stream + b"\0\xffJohn Doe", boxes, YCBCR) == plain


def test_comments_and_thumbnails_are_left_out_and_colour_markers_stay():
    stream = jpeg(image(64, 64, 3), comment=b"John Doe", dpi=(72, 72), icc_profile=b"profile" * 30)
    jfif = stream.index(b"JFIF\0")
    thumbnail = (
        stream[: jfif - 2]
        + (16 + 12).to_bytes(2, "big")
        + stream[jfif : jfif + 12]
        + b"\2\2"
        + b"JohnDoeJohn!"
    )
    exif = b"\xff\xe1\0\x0eExif\0\0John D"
    written = blacken(thumbnail + exif + stream[jfif + 14 :], [(0, 0, 7, 7)], YCBCR)
    assert b"John" not in written
    assert b"Exif" not in written
    assert b"profile" * 30 in written
    assert b"JFIF\0" in written
    np.testing.assert_array_equal(
        by_libjpeg_turbo(written), by_libjpeg_turbo(blacken(stream, [(0, 0, 7, 7)], YCBCR))
    )
    adobe = bytes(imagecodecs.jpeg8_encode(image(50, 61, 3), colorspace="RGB", outcolorspace="RGB"))
    assert (b"Adobe" in adobe) == (b"Adobe" in blacken(adobe, [(0, 0, 7, 7)], RGB))


@pytest.mark.parametrize(
    ("stream", "error", "message"),
    [
        (jpeg(image(16, 16), progressive=True), UnsupportedPixelFormat, "JPEG progressive can't be masked"),
        (
            bytes(imagecodecs.jpeg8_encode(image(16, 16), lossless=True, predictor=1)),
            UnsupportedPixelFormat,
            "JPEG lossless can't be masked",
        ),
        (
            jpeg(image(16, 16)).replace(b"\xff\xc0", b"\xff\xc9"),
            UnsupportedPixelFormat,
            "with arithmetic coding",
        ),
        (jpeg(image(64, 64))[:-40] + b"\xff\xd9", CodecError, "expected 64 MCUs, found"),
    ],
)
def test_what_can_not_be_masked_exactly_is_refused_by_name(stream, error, message):
    with pytest.raises(error, match=message):
        blacken(stream, [(0, 0, 7, 7)], GREY)


def test_values_that_no_dc_coefficient_gives_are_refused():
    with pytest.raises(UnsupportedPixelFormat, match="can't be set to 17 exactly"):
        blacken(jpeg(image(16, 16)), [(0, 0, 7, 7)], (17,))


def test_grown_rectangles_end_at_mcus_or_with_the_frame():
    colour = frame_header(jpeg(image(67, 97, 3), subsampling=2))
    assert grown(colour, [(17, 14, 30, 16), (90, 60, 96, 66)]) == ((16, 0, 31, 31), (80, 48, 96, 66))
    assert touched(colour, [(17, 14, 30, 16)]) == ((15, 0, 32, 32),)
    assert grown(colour, [(16, 14, 31, 15)]) == ((0, 0, 47, 31),)
    grey = frame_header(jpeg(image(67, 97)))
    assert grown(grey, [(17, 15, 31, 16)]) == touched(grey, [(17, 15, 31, 16)]) == ((16, 8, 31, 23),)


def test_the_kernel_stays_within_its_arrays():
    rng = np.random.default_rng(8)
    with guarding(kernel, module):
        for seed in range(20):
            stream = naive_jpeg_dct.write(rng, naive_jpeg_dct.random_layout(np.random.default_rng(seed)))
            try:
                blacken(stream, [(0, 0, 0, 0)], [0] * 4)
            except CodecError:
                continue


def test_many_threads_at_once_give_what_one_gives():
    streams = [jpeg(image(120 + number, 161, 3), subsampling=number % 3) for number in range(12)]
    alone = [blacken(stream, [(20, 20, 80, 60)], YCBCR) for stream in streams]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(12):
            assert [*threads.map(lambda stream: blacken(stream, [(20, 20, 80, 60)], YCBCR), streams)] == alone


def test_mutated_codestreams():
    """Nothing but an error of ours may happen, whatever the bytes are; the kernel is also asked without the check before."""
    outcomes = fuzz.run(1000, seed=5)
    assert outcomes["error"] > 400
    assert outcomes["written"] > 40
