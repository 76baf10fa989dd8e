"""Pictures of an instance: some of its frames as viewers show them, small, and one that is large enough to draw regions over.

Without leave to show the patient, what lies outside the ultrasound regions is black, and where there are no regions, nothing is
shown unless the header says that nothing is burned in.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import CinemillError, printable
from cinemill.frames.cine import Cine
from cinemill.frames.geometry import Geometry, pixel_aspect, resize, square
from cinemill.operations.pages import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cinemill.dicom.source import Source
    from cinemill.frames.render import Renderer
    from cinemill.operations.inspect.model import Inspection
    from cinemill.pixel_format import Box

_FRAMES = 8
"""Frames of a film strip at most."""

_SMALL, _SMALL_ALONE, _LARGE = 200, 480, 720
"""Pixels that a picture is wide, and high, at most."""

_QUALITY = 76
_MOST_SAMPLES = 1 << 26
"""Samples of a frame; larger ones are not decoded."""

_WINDOWED = 64
"""Frames of a cine that are looked at for a window, where the header has none."""

_VIDEO_FRAMES = 250
"""Frames of a video that are decoded at most: to reach one, all before it are."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes
    ----------
    frame
        Its number, counted from 0.
    address
        A data URI; empty where there is none.
    size
        Width and height in pixels.
    problem
        Why there is none.
    """

    frame: int
    address: str
    size: tuple[int, int]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is shown of an instance.

    Attributes
    ----------
    strip
        Frames, evenly spread.
    stage
        The first frame that could be decoded, larger; None where no regions are to be drawn.
    notes
        What is to be said of all of them, or why there are none.
    """

    strip: tuple[Picture, ...] = ()
    stage: Picture | None = None
    notes: tuple[str, ...] = ()


def may_show(inspection: Inspection, *, phi: bool) -> bool:
    """Whether frames of an instance may be shown, if need be with black outside its regions.

    Parameters
    ----------
    inspection
        Of the instance.
    phi
        Whether the patient may be told.
    """
    facts = inspection.facts
    kept = [region.bounds for region in inspection.regions if not region.empty]
    whole = (0, 0, (facts.columns or 0) - 1, (facts.rows or 0) - 1)
    return phi or facts.burned_in_annotation == "NO" or bool(kept and whole not in kept)


def pictures_of(source: Source, inspection: Inspection, *, phi: bool) -> Pictures:
    """Return pictures of an instance; what can't be decoded is a note.

    Parameters
    ----------
    source
        The open file, with pixel data.
    inspection
        What is known of it.
    phi
        Whether the patient may be told.
    """
    if not may_show(inspection, phi=phi):
        why = "cover the whole frame" if inspection.regions else "are not there"
        note = f"No pictures: ultrasound regions {why}, so names may be burned in anywhere; --phi shows them."
        return Pictures(notes=(note,))
    try:
        cine = Cine(source)
        if cine.pixels.rows * cine.pixels.columns * cine.pixels.samples > _MOST_SAMPLES:
            size = f"{cine.pixels.columns} × {cine.pixels.rows}"
            return Pictures(notes=(f"No pictures: frames of {size} pixels are too large to be shown here.",))
        return _pictures(cine, inspection, phi=phi)
    except Exception as error:  # noqa: BLE001  # headers of any value, and what decoders make of damage, raise anything
        return Pictures(notes=(f"No pictures: {reason(error)}",))


def reason(error: Exception) -> str:
    """Return why something could not be had, in one line."""
    if isinstance(error, CinemillError):
        return error.message
    return printable(str(error).partition("\n")[0] or type(error).__name__)


def _pictures(cine: Cine, inspection: Inspection, *, phi: bool) -> Pictures:
    notes = []
    kept = tuple(region.bounds for region in inspection.regions if not region.empty)
    facts = inspection.facts
    if kept and not phi:
        if (cine.pixels.rows, cine.pixels.columns) != (facts.rows, facts.columns):
            return Pictures(
                notes=("No pictures: regions don't fit the frames, so names may be burned in anywhere.",)
            )
        notes.append("Outside the ultrasound regions pictures are black; --phi shows all of them.")
    renderer = _renderer(cine)
    last = len(cine) - 1
    if cine.coding == "video" and last >= _VIDEO_FRAMES:
        last = _VIDEO_FRAMES - 1
        notes.append(f"Of this video only the first {_VIDEO_FRAMES} frames are decoded here.")
    numbers = sorted({round(number) for number in np.linspace(0, last, min(_FRAMES, last + 1))})
    strip, stage = [], None
    for number, shown in _rendered(cine, renderer, numbers, () if phi else kept):
        if isinstance(shown, str):
            strip.append(Picture(number, "", (0, 0), shown))
            continue
        if stage is None and kept:
            stage = _picture(number, shown, cine.source, _LARGE)
        strip.append(_picture(number, shown, cine.source, _SMALL if len(numbers) > 1 else _SMALL_ALONE))
    return Pictures(() if stage and len(strip) == 1 else tuple(strip), stage, tuple(notes))


def _renderer(cine: Cine) -> Renderer:
    """Return what renders frames, with a window for all values where the header has none and they can be looked at."""
    if len(cine) <= _WINDOWED:
        with suppress(CinemillError):
            return cine.renderer(window="auto")
    return cine.renderer()


def _rendered(
    cine: Cine, renderer: Renderer, numbers: list[int], kept: tuple[Box, ...]
) -> Iterator[tuple[int, NDArray[np.uint8] | str]]:
    """Yield frames as viewers show them, or why they can't be shown."""
    for number in numbers:
        try:
            picture = renderer.render(cine[number], number)
        except Exception as error:  # noqa: BLE001  # as above
            yield number, reason(error)
        else:
            if kept:
                rows, columns = picture.shape[:2]
                crop = (0, 0, columns - 1, rows - 1)
                black = (0,) * (picture.shape[2] if picture.ndim == 3 else 1)
                picture = Geometry(crop, kept, (rows, columns)).apply(picture, black)
            yield number, picture


def _picture(number: int, picture: NDArray[np.uint8], source: Source, most: int) -> Picture:
    """Return a rendered frame with square pixels, no larger than it may be."""
    rows, columns = square(picture.shape, pixel_aspect(source))
    scale = min(1.0, most / max(rows, columns))
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    shown = np.ascontiguousarray(resize(np.ascontiguousarray(picture), size))
    return Picture(number, embedded(shown, _QUALITY), (size[1], size[0]))
