"""Kinds of instances whose burned-in annotation lies in the same places: manufacturer, model, size and region layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cinemill.frames.regions import SEQUENCE, read_regions

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.frames.regions import Region

_MANUFACTURER, _MODEL = 0x00080070, 0x00081090


@dataclass(frozen=True, slots=True)
class Kind:
    """What instances have in common.

    Attributes
    ----------
    manufacturer, model
        As the header says.
    rows, columns
        Of a frame.
    regions
        The ultrasound regions, each as ``2D tissue 52,24,590,460``: what it shows, and left, top, right and bottom pixel.
        Waveforms, which end where the recording does, have no place: ``waveform ECG trace``.
    """

    manufacturer: str
    model: str
    rows: int
    columns: int
    regions: tuple[str, ...]


def kind_of(source: Source) -> Kind:
    """Return the kind of an open file.

    Raises
    ------
    CinemillError
        Its header can't be read.
    """
    pixels = source.pixels
    return Kind(
        source.text(_MANUFACTURER),
        source.text(_MODEL),
        pixels.rows,
        pixels.columns,
        layout(read_regions(source.part(SEQUENCE), pixels.rows, pixels.columns)),
    )


def layout(regions: Sequence[Region]) -> tuple[str, ...]:
    """Return the layout of ultrasound regions, in an order of its own."""
    return tuple(sorted(map(_told, regions)))


def _told(region: Region) -> str:
    shown = f"{region.spatial_format} {region.data_type}"
    return shown if region.spatial_format == "waveform" else f"{shown} {','.join(map(str, region.bounds))}"
