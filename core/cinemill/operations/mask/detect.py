"""Finds burned-in text by OCR on the projection of a cine: the packaged models of rapidocr, on the processor, offline.

Whatever text there is counts, words of the machine as much as names: nobody can tell them apart for sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cinemill.errors import CinemillError, NoMask, UsageError
from cinemill.operations.mask.masks import Mask, clipped
from cinemill.operations.mask.projection import projected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Box

_MARGIN = 2
"""Pixels around what was found."""

_SCALE = 2
"""Letters of ultrasound machines are as small as 7 pixels, which is less than the models were made for."""

_LEAST_SCORE = 0.5
_LEAST_LETTERS = 2


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
    """Return the lines of text in a picture, each with a little room around it.

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
    enlarged = np.ascontiguousarray(rgb[..., ::-1].repeat(_SCALE, axis=0).repeat(_SCALE, axis=1))
    try:
        found = _engine()(enlarged)
    except CinemillError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the engine raises, there is no mask then
        raise NoMask(f"the detector of text failed: {type(error).__name__}: {error}") from None
    if found.boxes is None:
        return []
    lines = zip(found.boxes, found.txts, found.scores, strict=True)
    return [
        Text(_around(corners), words, float(score))
        for corners, words, score in lines
        if _is_text(words, score)
    ]


def _is_text(words: str, score: float) -> bool:
    """Whether a line is one, and not speckle that looks like a letter."""
    letters = sum(letter.isalnum() for letter in words)
    return score >= _LEAST_SCORE and letters >= _LEAST_LETTERS


def _around(corners: Sequence[Sequence[float]]) -> Box:
    points = np.asarray(corners, float) / _SCALE
    left, top = np.floor(points.min(axis=0)).astype(int) - _MARGIN
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + _MARGIN
    return int(left), int(top), int(right), int(bottom)


def check_installed() -> None:
    """Check that text can be looked for.

    Raises
    ------
    UsageError
        It can't be; the message says what to install.
    """
    if find_spec("rapidocr") is None or find_spec("onnxruntime") is None:
        raise UsageError(
            "looking for text in pixels needs rapidocr and onnxruntime: pip install 'cinemill[ocr]'"
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
