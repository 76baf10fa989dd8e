"""Colour spaces of 8-bit samples (PS3.3 C.7.6.3.1.2) and the two orders of colour samples (C.7.6.3.1.3).

Every conversion is the standard's equation in single precision with fused multiply-add, rounded once to the
nearest integer (halves upwards) and clamped to 0-255. To RGB, integers give the same for every pixel there is, in half of
the time (`_to_rgb`). Other loops run over flat arrays with constant strides, the form LLVM turns into vector code; over a
(pixels, 3) array they take 2.6 times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.errors import UsageError
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import address
from cinemill.kernels.machine.deferred import intrinsic, numba_types
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.types import float32, int64, uint8, uint16, void

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_READ8 = types.Array(uint8, 1, "C", readonly=True)
_READ16 = types.Array(uint16, 1, "C", readonly=True)
_WRITE8 = uint8[::1]
_WRITE16 = uint16[::1]

_HALF = np.float32(0.5)
_BLACK = np.float32(0)
_WHITE = np.float32(255)

# Y = 0.299 R + 0.587 G + 0.114 B, CB = (B - Y) / 1.772 + 128, CR = (R - Y) / 1.402 + 128
_RED_Y, _GREEN_Y, _BLUE_Y = np.float32(0.299), np.float32(0.587), np.float32(0.114)
_RED_CB, _GREEN_CB = np.float32(-0.299 / 1.772), np.float32(-0.587 / 1.772)
_GREEN_CR, _BLUE_CR = np.float32(-0.587 / 1.402), np.float32(-0.114 / 1.402)
_BLUE_CB, _RED_CR = np.float32(0.886 / 1.772), np.float32(0.701 / 1.402)
_CHROMA_HALF = np.float32(128.5)

_PIXELS = 32
"""How many pixels are converted to RGB at once; LLVM splits them to fit the processor's registers."""


@intrinsic
def _fma(_typing: Any, _factor: Any, _other: Any, _addend: Any) -> tuple[Any, Callable[..., Any]]:
    """Give factor * other + addend in single precision with one rounding, on every processor."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    single = numba_types.float32
    return single(single, single, single), build


@jit(uint8(float32), inline="always")
def _clamp(value: np.float32) -> np.uint8:
    """Drop the fraction of a value to which the rounding half was added, within 0-255."""
    return np.uint8(np.int32(min(_WHITE, max(_BLACK, value))))


def _upper_half(value: Value, factor: int) -> Value:
    """Multiply signed integers of 16 bits, and keep the upper 16 of 32."""
    return (value.extended(32) * factor).shifted_down(16).resized(16)


def _to_rgb(y: Value, cb: Value, cr: Value) -> list[Value]:
    """Give R, G and B of YBR_FULL samples, in integers of 16 bits.

    R = Y + 1.402 (CR - 128), B = Y + 1.772 (CB - 128) and G = Y - 0.344136 (CB - 128) - 0.714136 (CR - 128), rounded as single
    precision does: factors and halves are those with which every one of the 2^24 results is the same.
    """
    red = y + 72 + _upper_half((cr << 2) - (4 * 128 + 204), 22971)
    blue = y - 15 + _upper_half((cb << 2) - (4 * 128 - 35), 29032)
    if y.lanes:
        parts = zip(*(_even_and_odd(sample) for sample in (y, cb, cr)), strict=True)
        even, odd = (_less_green(*part) for part in parts)
        green = y + _joined(even, odd)
    else:
        green = y + _less_green(y.resized(32), cb.resized(32), cr.resized(32)).resized(16)
    return [sample.clamped(0, 255) for sample in (red, green, blue)]


def _less_green(y: Value, cb: Value, cr: Value) -> Value:
    """Give G - Y, in integers of 32 bits.

    At CB 78 and CR 178 the exact G ends in one half, which single precision rounds down for Y below 47: so Y is in the sum.
    """
    return (y - cb * 2886826 - cr * 5990612 + (4194309 + 128 * (2886826 + 5990612))) >> 23


def _even_and_odd(lanes: Value) -> tuple[Value, Value]:
    """Widen unsigned integers to twice their bits: the even ones, and the odd ones. That takes no shuffles."""
    bits = 2 * lanes.bits
    pairs = lanes.recast(bits, lanes.lanes // 2)
    return pairs & ((1 << lanes.bits) - 1), pairs.shifted_down(lanes.bits)


def _joined(even: Value, odd: Value) -> Value:
    """Cut the even and the odd integers to half of their bits."""
    bits = even.bits // 2
    return ((even & ((1 << bits) - 1)) | (odd << bits)).recast(bits, 2 * even.lanes)


@instructions
def _pixel_to_rgb(ybr: Value, rgb: Value) -> None:
    samples = [(ybr + sample).load(8).resized(16) for sample in range(3)]
    for sample, value in enumerate(_to_rgb(*samples)):
        value.resized(8).store(rgb + sample)


@instructions
def _pixels_to_rgb(ybr: Value, rgb: Value) -> None:
    samples = ybr.load(8, 3 * _PIXELS)
    planes = [samples.shuffled(range(sample, 3 * _PIXELS, 3)) for sample in range(3)]
    halves = zip(*(_even_and_odd(plane) for plane in planes), strict=True)
    even, odd = (_to_rgb(*half) for half in halves)
    red, green, blue = (_joined(*both) for both in zip(even, odd, strict=True))
    order = [sample * _PIXELS + pixel for pixel in range(_PIXELS) for sample in range(3)]
    first, last = red.shuffled(range(2 * _PIXELS), green), blue.shuffled(range(2 * _PIXELS))
    first.shuffled(order, last).store(rgb)


@jit(void(_READ8, _WRITE8))
def _ybr_full_to_rgb(ybr: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> None:
    source, target = address(ybr), address(rgb)
    whole = ybr.size // (3 * _PIXELS) * (3 * _PIXELS)
    for at in range(0, whole, 3 * _PIXELS):
        _pixels_to_rgb(source + at, target + at)
    for at in range(whole, ybr.size, 3):
        _pixel_to_rgb(source + at, target + at)


@jit(void(_READ8, _WRITE8), error_model="numpy")
def _rgb_to_ybr_full(rgb: NDArray[np.uint8], ybr: NDArray[np.uint8]) -> None:
    for pixel in range(rgb.size // 3):
        red = np.float32(rgb[3 * pixel])
        green = np.float32(rgb[3 * pixel + 1])
        blue = np.float32(rgb[3 * pixel + 2])
        y = _fma(_BLUE_Y, blue, _fma(_GREEN_Y, green, _RED_Y * red))
        cb = _fma(_BLUE_CB, blue, _fma(_GREEN_CB, green, _RED_CB * red))
        cr = _fma(_BLUE_CR, blue, _fma(_GREEN_CR, green, _RED_CR * red))
        ybr[3 * pixel] = _clamp(y + _HALF)
        ybr[3 * pixel + 1] = _clamp(cb + _CHROMA_HALF)
        ybr[3 * pixel + 2] = _clamp(cr + _CHROMA_HALF)


@jit(void(_READ8, int64, _WRITE8), error_model="numpy")
def _repeat_chrominance(packed: NDArray[np.uint8], columns: int, ybr: NDArray[np.uint8]) -> None:
    pairs = (columns + 1) // 2
    for row in range(ybr.size // (3 * columns)):
        source = packed[4 * pairs * row : 4 * pairs * (row + 1)]
        target = ybr[3 * columns * row : 3 * columns * (row + 1)]
        for pair in range(columns // 2):
            target[6 * pair] = source[4 * pair]
            target[6 * pair + 1] = source[4 * pair + 2]
            target[6 * pair + 2] = source[4 * pair + 3]
            target[6 * pair + 3] = source[4 * pair + 1]
            target[6 * pair + 4] = source[4 * pair + 2]
            target[6 * pair + 5] = source[4 * pair + 3]
        if columns % 2:
            target[3 * columns - 3] = source[4 * pairs - 4]
            target[3 * columns - 2] = source[4 * pairs - 2]
            target[3 * columns - 1] = source[4 * pairs - 1]


@jit([void(_READ8, _WRITE8), void(_READ16, _WRITE16)], error_model="numpy")
def _deinterleave(pixels: NDArray[Any], planes: NDArray[Any]) -> None:
    n = pixels.size // 3
    for pixel in range(n):
        planes[pixel] = pixels[3 * pixel]
        planes[n + pixel] = pixels[3 * pixel + 1]
        planes[2 * n + pixel] = pixels[3 * pixel + 2]


@jit([void(_READ8, _WRITE8), void(_READ16, _WRITE16)], error_model="numpy")
def _interleave(planes: NDArray[Any], pixels: NDArray[Any]) -> None:
    n = planes.size // 3
    for pixel in range(n):
        pixels[3 * pixel] = planes[pixel]
        pixels[3 * pixel + 1] = planes[n + pixel]
        pixels[3 * pixel + 2] = planes[2 * n + pixel]


def ybr_full_to_rgb(ybr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert YBR_FULL, uint8 of any shape that ends in 3, to RGB (PS3.3 C.7.6.3.1.2; its inverse is ITU-T T.871 §7).

    Raises
    ------
    UsageError
        The array is not 8-bit colour.
    """
    return _convert(_ybr_full_to_rgb, ybr)


def rgb_to_ybr_full(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB, uint8 of any shape that ends in 3, to YBR_FULL (PS3.3 C.7.6.3.1.2).

    Raises
    ------
    UsageError
        The array is not 8-bit colour.
    """
    return _convert(_rgb_to_ybr_full, rgb)


def ybr_422_to_ybr_full(packed: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Give both pixels of each pair in native YBR_FULL_422 (or YBR_PARTIAL_422) its chrominance.

    Parameters
    ----------
    packed
        uint8, the bytes Y1 Y2 CB CR of each pair of pixels. Odd columns, which PS3.3 C.7.6.3 forbids here,
        occur in two forms that their length tells apart: each row ends with half a pair (its second Y is
        ignored), or pairs run on across rows.
    rows, columns
        Size of the frame in pixels.

    Returns
    -------
    NDArray[np.uint8]
        (rows, columns, 3).

    Raises
    ------
    UsageError
        `packed` has neither of the possible lengths.
    """
    source = _flat(packed, np.uint8)
    if source.size == rows * ((columns + 1) // 2) * 4:
        row_length = columns
    elif source.size == (rows * columns + 1) // 2 * 4:
        row_length = rows * columns
    else:
        expected = rows * ((columns + 1) // 2) * 4
        raise UsageError(
            f"YBR_FULL_422 of {rows} x {columns} pixels takes {expected} bytes, not {source.size}"
        )
    destination = np.empty((rows, columns, 3), np.uint8)
    if destination.size:
        _repeat_chrominance(source, row_length, destination.reshape(-1))
    return destination


def deinterleave(pixels: NDArray[Any], planes: NDArray[Any]) -> NDArray[Any]:
    """Turn 8- or 16-bit colour by pixel, (rows, columns, 3), into colour by plane, (3, rows, columns); return that.

    Raises
    ------
    UsageError
        The arrays are not of three 8- or 16-bit samples, do not fit each other, or `planes` is not C-contiguous.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(f"colour by pixel has the shape (rows, columns, 3), not {pixels.shape}")
    shape = 3, *pixels.shape[:2]
    if planes.shape != shape or planes.dtype != pixels.dtype or not planes.flags.c_contiguous:
        raise UsageError(f"the destination must be a C-contiguous {shape} array of {pixels.dtype}")
    return _reorder(_deinterleave, pixels, planes)


def interleave(planes: NDArray[Any]) -> NDArray[Any]:
    """Turn 8- or 16-bit colour by plane, (3, rows, columns), into colour by pixel, (rows, columns, 3).

    Raises
    ------
    UsageError
        The array is not of three 8- or 16-bit samples.
    """
    if planes.ndim != 3 or planes.shape[0] != 3:
        raise UsageError(f"colour by plane has the shape (3, rows, columns), not {planes.shape}")
    _, rows, columns = planes.shape
    return _reorder(_interleave, planes, np.empty((rows, columns, 3), planes.dtype))


def _convert(kernel: Callable[..., None], samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if samples.ndim == 0 or samples.shape[-1] != 3:
        raise UsageError(f"colour samples have a shape that ends in 3, not {samples.shape}")
    destination = np.empty(samples.shape, np.uint8)
    kernel(_flat(samples, np.uint8), destination.reshape(-1))
    return destination


def _reorder(kernel: Callable[..., None], samples: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise UsageError(f"colour samples have 8 or 16 bits, not the type {samples.dtype}")
    unsigned = np.dtype(f"u{samples.dtype.itemsize}")
    kernel(_flat(samples, samples.dtype).view(unsigned), target.reshape(-1).view(unsigned))
    return target


def _flat(samples: NDArray[Any], dtype: Any) -> NDArray[Any]:
    if samples.dtype != dtype:
        raise UsageError(f"expected samples of the type {np.dtype(dtype)}, not {samples.dtype}")
    return np.ascontiguousarray(samples).reshape(-1)
