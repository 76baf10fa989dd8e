"""Colour kernels against pydicom and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import expand_ybr422

from cinemill.errors import UsageError
from cinemill.kernels import colour


@pytest.fixture(scope="module")
def every_triplet() -> np.ndarray:
    code = np.arange(1 << 24, dtype=np.uint32)
    return np.stack([code >> 16, code >> 8 & 255, code & 255], axis=1).astype(np.uint8).reshape(4096, 4096, 3)


@pytest.mark.parametrize(
    ("convert", "source", "target"),
    [(colour.ybr_full_to_rgb, "YBR_FULL", "RGB"), (colour.rgb_to_ybr_full, "RGB", "YBR_FULL")],
)
def test_every_triplet_as_pydicom(every_triplet, convert, source, target):
    np.testing.assert_array_equal(convert(every_triplet), convert_color_space(every_triplet, source, target))


def test_pixels_at_the_end_are_converted_as_all_others(every_triplet):
    """Most are converted 32 at once; the last few one by one."""
    pixels = every_triplet.reshape(-1, 3)[5::4099]
    expected = colour.ybr_full_to_rgb(pixels)
    for count in range(100):
        np.testing.assert_array_equal(colour.ybr_full_to_rgb(pixels[:count]), expected[:count])
    tie = every_triplet.reshape(256, 256, 256, 3)[:, 78, 178]
    for some in (pixels, tie):
        alone = np.concatenate([colour.ybr_full_to_rgb(some[at : at + 31]) for at in range(0, len(some), 31)])
        np.testing.assert_array_equal(alone, convert_color_space(some[None], "YBR_FULL", "RGB")[0])


def test_the_printed_matrix(every_triplet):
    """The standard prints four decimals: the result is within one of them, and mostly the same."""
    pixels = every_triplet.reshape(-1, 3)[::101]
    matrix = np.transpose([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    exact = pixels.astype(float) @ matrix + (0, 128, 128)
    difference = np.abs(colour.rgb_to_ybr_full(pixels).astype(int) - np.clip(np.floor(exact + 0.5), 0, 255))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.97


def test_grey_stays_grey():
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 3)
    neutral = grey.copy()
    neutral[..., 1:] = 128
    np.testing.assert_array_equal(colour.ybr_full_to_rgb(neutral), grey)
    np.testing.assert_array_equal(colour.rgb_to_ybr_full(grey), neutral)


def test_read_only_strided_and_in_place():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (9, 22, 3), dtype=np.uint8)
    expected = colour.ybr_full_to_rgb(frame)
    frame.flags.writeable = False
    np.testing.assert_array_equal(colour.ybr_full_to_rgb(frame), expected)
    np.testing.assert_array_equal(colour.ybr_full_to_rgb(frame[::2, ::-3]), expected[::2, ::-3])


@pytest.mark.parametrize("shape", [(0, 0), (1, 2), (3, 8), (7, 130)])
def test_422_as_pydicom(shape):
    rng = np.random.default_rng(2)
    packed = rng.integers(0, 256, shape[0] * shape[1] * 2, dtype=np.uint8)
    expected = np.frombuffer(expand_ybr422(packed.tobytes(), 8), np.uint8).reshape(*shape, 3)
    np.testing.assert_array_equal(colour.ybr_422_to_ybr_full(packed, *shape), expected)


def test_422_with_odd_columns():
    row = [10, 11, 20, 30, 12, 99, 21, 31]
    expected: Any = [[10, 20, 30], [11, 20, 30], [12, 21, 31]]
    packed = np.array([row, row], np.uint8)
    np.testing.assert_array_equal(colour.ybr_422_to_ybr_full(packed, 2, 3), [expected, expected])
    running_on = np.array([10, 11, 20, 30, 12, 13, 21, 31, 14, 15, 22, 32], np.uint8)
    expected = [[[10, 20, 30], [11, 20, 30], [12, 21, 31]], [[13, 21, 31], [14, 22, 32], [15, 22, 32]]]
    np.testing.assert_array_equal(colour.ybr_422_to_ybr_full(running_on, 2, 3), expected)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 67, 3), (0, 4, 3)])
def test_sample_order(dtype, shape):
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(3).integers(info.min, info.max, shape, dtype, endpoint=True)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(colour.deinterleave(pixels, np.empty_like(planes)), planes)
    np.testing.assert_array_equal(colour.interleave(planes), pixels)
    np.testing.assert_array_equal(colour.interleave(pixels.transpose(2, 0, 1)), pixels)


@pytest.mark.parametrize(
    "call",
    [
        lambda: colour.ybr_full_to_rgb(np.zeros((2, 4), np.uint8)),
        lambda: colour.ybr_full_to_rgb(np.zeros((2, 3), np.uint16)),
        lambda: colour.ybr_422_to_ybr_full(np.zeros(11, np.uint8), 2, 3),
        lambda: colour.interleave(np.zeros((2, 2, 3), np.uint8)),
        lambda: colour.interleave(np.zeros((3, 2, 2), np.uint32)),
        lambda: colour.deinterleave(np.zeros((2, 2, 4), np.uint8), np.zeros((4, 2, 2), np.uint8)),
        lambda: colour.deinterleave(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 1), np.uint8)),
        lambda: colour.deinterleave(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 2), np.uint16)),
        lambda: colour.deinterleave(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 4), np.uint8)[..., ::2]),
    ],
)
def test_wrong_arrays_are_named(call):
    with pytest.raises(UsageError, match=r"shape|type|destination|takes"):
        call()
