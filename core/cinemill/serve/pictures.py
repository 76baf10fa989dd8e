"""Frames as pictures that browsers show (PS3.18 8.3.5): windowed, fitted into a viewport, as JPEG or PNG; cines as GIF or MP4."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import imagecodecs

from cinemill.errors import UsageError
from cinemill.frames.geometry import fit, pixel_aspect, resize, square
from cinemill.operations.extract.extract import extract
from cinemill.operations.extract.writers.pictures import encode_png

if TYPE_CHECKING:
    from cinemill.frames.cine import Cine

PICTURES = ("image/jpeg", "image/png")
CINES = ("image/gif", "video/mp4")
THUMBNAIL = 192
"""Pixels that a thumbnail has in each direction, at most."""

_SUFFIXES = {"image/gif": ".gif", "video/mp4": ".mp4"}
_REPRESENTATIVE = 0x00286010
_QUALITY = 90
_LARGEST = 1 << 14
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}


class Shown(NamedTuple):
    """How a picture is to be made.

    Attributes
    ----------
    window
        Centre and width in place of the header's.
    function
        What that window is applied by.
    viewport
        Width and height into which it is fitted.
    quality
        Of JPEG, 1 to 100.
    """

    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    viewport: tuple[int, int] | None = None
    quality: int = _QUALITY


def shown(query: Mapping[str, str]) -> Shown:
    """Read the parameters ``window``, ``viewport`` and ``quality`` (PS3.18 8.3.5.1).

    Raises
    ------
    UsageError
        One of them can't be.
    """
    text, function = query.get("window", ""), "linear"
    if text.count(",") == 2:
        text, _, function = text.rpartition(",")
    if function not in _FUNCTIONS:
        raise UsageError(f"window is {query['window'][:64]!r}; expected one of {', '.join(_FUNCTIONS)}")
    window = _numbers("window", text, 2, "a centre and a width of 1 or more, such as 40,400")
    if window is not None and not (math.isfinite(window[0]) and 1 <= window[1] < math.inf):
        raise UsageError(f"window is {query['window'][:64]!r}; expected a width of 1 or more")
    viewport = _numbers(
        "viewport", query.get("viewport"), 2, "a width and a height, such as 512,512, and no part of it"
    )
    if viewport is not None and not all(1 <= each <= _LARGEST for each in viewport):
        raise UsageError(f"viewport is {query['viewport'][:64]!r}; expected 1 to {_LARGEST} pixels")
    quality = _numbers("quality", query.get("quality"), 1, "1 to 100")
    if quality is not None and not 1 <= quality[0] <= 100:
        raise UsageError(f"quality is {query['quality'][:64]!r}; expected 1 to 100")
    return Shown(
        None if window is None else (window[0], window[1]),
        _FUNCTIONS[function],
        None if viewport is None else (int(viewport[0]), int(viewport[1])),
        _QUALITY if quality is None else int(quality[0]),
    )


def _numbers(name: str, text: str | None, count: int, expected: str) -> list[float] | None:
    """Return so many numbers of a parameter, which others call by that name; None where it has none."""
    if not text:
        return None
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count:
        raise UsageError(f"{name} is {text[:64]!r}; expected {expected}")
    return found


def picture(cine: Cine, number: int, asked: Shown, media: str) -> bytes:
    """Return one frame as a picture with square pixels.

    Parameters
    ----------
    cine, number
        The instance, and the frame, counted from 0.
    asked
        How it is shown; images of more than 8 bits whose header has no window are shown from their least to their greatest value.
    media
        ``image/jpeg`` or ``image/png``.

    Raises
    ------
    CinemillError
        The frame does not decode, or can't be shown.
    """
    deep = cine.pixels.bits_stored > 8 and cine.photometric_interpretation.startswith("MONOCHROME")
    renderer = cine.renderer(window=asked.window or ("auto" if deep else None), function=asked.function)
    rendered = renderer.render(cine[number], number)
    rows, columns = square(rendered.shape, pixel_aspect(cine.source))
    if asked.viewport is not None:
        width, height = asked.viewport
        rows, columns = fit((rows, columns), None, min(width / columns, height / rows))
    rendered = resize(rendered, (rows, columns))
    if media == "image/png":
        return encode_png(rendered)
    return bytes(imagecodecs.jpeg8_encode(rendered, asked.quality))


def representative(cine: Cine) -> int:
    """Return the frame that stands for a cine, counted from 0: Representative Frame Number, or the one in the middle."""
    number = cine.source.integer(_REPRESENTATIVE) or 0
    return number - 1 if 1 <= number <= len(cine) else len(cine) // 2


def write_clip(path: Path, folder: Path, media: str, asked: Shown, cancelled: Callable[[], bool]) -> Path:
    """Write a cine as GIF or MP4, at its own pace, into a folder, and return where.

    Parameters
    ----------
    path, folder
        Of the instance, and of the output.
    media
        ``image/gif`` or ``video/mp4``.
    asked
        How it is shown; its viewport is not heeded.
    cancelled
        Polled; True ends it.

    Raises
    ------
    CinemillError
        A frame does not decode, or the format can't hold it.
    """
    if asked.function != _FUNCTIONS["linear"]:
        raise UsageError(f"{media} is given with linear windows only; single frames with others, too")
    output = folder / f"clip{_SUFFIXES[media]}"
    extract(path, output, window=asked.window, threads=1, cancelled=cancelled)
    return output
