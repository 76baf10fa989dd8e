"""Finds burned-in text by OCR on the projection of a cine: the packaged models of rapidocr, on the processor, offline.

Whatever text there is counts, words of the machine as much as names: nobody can tell them apart for sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, floor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cinemill.errors import CinemillError, NoMask, UsageError
from cinemill.operations.mask.masks import Mask, clipped
from cinemill.operations.mask.projection import projected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Box

_MARGIN, _PART = 2, 0.2
"""Pixels around what was found, and at least this part of its height: what is found ends at the middle of a line's letters."""

_SCALES = 1, 2
"""How often as large pictures are looked at: letters of ultrasound machines are as small as 7 pixels, or as large as 30."""

_LEAST_SCORE = 0.3


class Text(NamedTuple):
    """A line of text in a picture."""

    box: Box
    words: str
    score: float


def detected(source: Source) -> Mask:
    """Return a mask of all text that is ever seen in a cine.

    Raises
    ------
    NoMask
        The cine can't be looked at, or the detector fails.
    UsageError
        rapidocr is not installed.
    """
    pixels = source.pixels
    try:
        picture = projected(source)
    except CinemillError as error:
        raise NoMask(f"text could not be looked for: {error.message}") from None
    return Mask(clipped([text.box for text in read_text(picture)], pixels.rows, pixels.columns), "detected")


def read_text(picture: NDArray[np.uint8]) -> list[Text]:
    """Return the lines of text in a picture, each with a little room around it; the same line may be found twice.

    Parameters
    ----------
    picture
        (rows, columns), or with 3 samples of RGB.

    Raises
    ------
    NoMask
        The detector fails.
    UsageError
        rapidocr is not installed.
    """
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., np.newaxis], 3, axis=-1)
    return [text for scale in _SCALES for text in _read(rgb[..., ::-1], scale)]


def _read(bgr: NDArray[np.uint8], scale: int) -> list[Text]:
    """Return the lines of text in a picture that is looked at so many times as large."""
    try:
        found = _engine()(np.ascontiguousarray(bgr.repeat(scale, axis=0).repeat(scale, axis=1)))
    except CinemillError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the engine raises, there is no mask then
        raise NoMask(f"the detector of text failed: {type(error).__name__}: {error}") from None
    if found.boxes is None:
        return []
    lines = zip(found.boxes, found.txts, found.scores, strict=True)
    return [
        Text(_around(corners, scale), words, float(score))
        for corners, words, score in lines
        if _is_text(words, score)
    ]


def _is_text(words: str, score: float) -> bool:
    """Whether a line is one, and not speckle that looks like a letter."""
    return score >= _LEAST_SCORE and any(letter.isalnum() for letter in words)


def _around(corners: Sequence[Sequence[float]], scale: int) -> Box:
    points = np.asarray(corners, float) / scale
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    margin = max(_MARGIN, _PART * min(bottom - top, right - left))
    return (
        floor(left - margin),
        floor(top - margin),
        ceil(right + margin),
        ceil(bottom + margin),
    )


def check_installed() -> None:
    """Check that text can be looked for.

    Raises
    ------
    UsageError
        It can't be; the message says what to install.
    """
    if find_spec("rapidocr") is None or find_spec("onnxruntime") is None:
        raise UsageError(
            "looking for text in pixels needs the packages rapidocr and onnxruntime; "
            "install them with: pip install 'cinemill[ocr]', in a clone: pip install '.[ocr]'"
        )


def seen_text(source: Source) -> list[str]:
    """Return the lines of text that are ever seen in a cine.

    Raises
    ------
    CinemillError
        The cine can't be looked at, or the detector fails.
    """
    return [text.words for text in read_text(projected(source))]


@lru_cache(maxsize=1)
def _engine() -> Any:
    check_installed()
    from rapidocr import RapidOCR

    return RapidOCR(params={"Global.log_level": "critical"})
