"""Renders stored samples as 8-bit pictures: modality, VOI and palette transformations, MONOCHROME1 last (PS3.4 N.2)."""

from __future__ import annotations

from copy import copy
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cinemill.dicom.values import explained
from cinemill.errors import UnsupportedPixelFormat
from cinemill.frames import colour
from cinemill.frames.transformations import (
    applied,
    lookup_table,
    plain_transformations,
    rescaled,
    told_modality,
    told_voi,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.frames.decode import FrameDecoder
    from cinemill.frames.transformations import Transformations
    from cinemill.frames.video import VideoDecoder
    from cinemill.pixel_format import Samples

    Picture: TypeAlias = NDArray[np.uint8]
    Values: TypeAlias = NDArray[Any]

_TRANSFORMATIONS = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)
_RED_PALETTE_DESCRIPTOR = 0x00281101
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_LARGEST_TABLE_BITS = 16
_NO_DISPLAY = "display transformation can't be applied", "use --stored, or --window"


class Renderer:
    """Renders frames of one instance for display.

    Grey goes through the modality LUT or rescale, then through a VOI LUT or window; the range that these can give
    (without any, that of Bits Stored) is mapped linearly to 0-255 and rounded to the nearest; MONOCHROME1 is
    inverted last. Colour is converted to RGB; 16-bit palettes give their upper 8 bits.

    Parameters
    ----------
    decoder
        Tells the format of the samples.
    window
        Window centre and width (1 or more), in place of what the header says.
    function
        What the window is applied by: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID`` (PS3.3 C.11.2.1.3).
    voi
        Which of the header's alternative VOI LUTs or windows, counted from 0.

    Attributes
    ----------
    pixels : PixelFormat
        Of the samples.
    bits : int
        Bits Stored: their range is what is shown where the header has no VOI transformation.

    Raises
    ------
    UnsupportedPixelFormat
        A window was asked for, but the image is no monochrome one.
    """

    def __init__(
        self,
        decoder: FrameDecoder | VideoDecoder,
        *,
        window: tuple[float, float] | None = None,
        function: str = "LINEAR",
        voi: int | None = None,
    ) -> None:
        self.pixels = decoder.pixels
        if self.pixels.samples == 3:
            self.pixels = self.pixels.with_(signed=False)
        self._source = decoder.source
        self._window, self._function, self._voi = window, function, voi
        self._native = decoder.stream is None and decoder.coding != "video"
        self._monochrome = self.pixels.photometric_interpretation.startswith("MONOCHROME")
        if not self._monochrome and not (window is None and voi is None):
            raise UnsupportedPixelFormat(
                f"windows apply to MONOCHROME1 and MONOCHROME2, this image is {self.pixels.photometric_interpretation}"
            )
        self.bits = max(1, min(self._source.pixels.bits_stored, self.pixels.bits_allocated))
        self._table = lru_cache(maxsize=8)(self._make_table)

    def render(self, frame: Samples, index: int) -> Picture:
        """Render one frame.

        Parameters
        ----------
        frame
            (rows, columns) or (rows, columns, 3), as decoded.
        index
            Which frame it is: functional groups may differ by frame.

        Returns
        -------
        Picture
            Grey (rows, columns), or RGB (rows, columns, 3); the frame itself where nothing had to be changed.

        Raises
        ------
        UnsupportedPixelFormat
            The header's transformations can't be applied.
        NotInFile
            There is no such alternative.
        """
        if self.pixels.samples == 3:
            frame = colour.convert(frame, self.pixels.photometric_interpretation, "RGB").view(
                self.pixels.dtype
            )
        group = self._group_key(index)
        if not self._small:
            return self._transform(frame, group)
        table = self._table(group)
        if table is None:
            return frame.view(np.uint8)
        if table.ndim == 2:
            from cinemill.kernels.palette import apply_palette

            return apply_palette(frame, table)
        return np.take(table, frame.view(f"u{frame.dtype.itemsize}"))

    def modality(self, values: Samples, index: int) -> Values:
        """Return stored values of a frame, of any shape, behind the modality transformation: windows apply to these.

        Raises
        ------
        UnsupportedPixelFormat
            The header's transformations can't be applied.
        """
        with explained(*_NO_DISPLAY):
            return rescaled(values, self._transformations(self._group_key(index)))

    @property
    def changes_nothing(self) -> bool:
        """Whether pictures are the samples themselves, or differ from them in colour space only."""
        if self.pixels.samples == 3:
            return self.pixels.bits_allocated == 8 and self._table(-1) is None
        return self._monochrome and not self.varies and self._small and self._table(-1) is None

    @property
    def _small(self) -> bool:
        return 8 * self.pixels.dtype.itemsize <= _LARGEST_TABLE_BITS

    @property
    def varies(self) -> bool:
        """Whether functional groups give each frame its own transformations."""
        return self._monochrome and bool(self._frame_groups)

    @property
    def warnings(self) -> list[str]:
        """What may be missed in the pictures."""
        found = []
        if self._monochrome and self._source.element(_RED_PALETTE_DESCRIPTOR) is not None:
            found.append(
                "the Supplemental Palette Color Lookup Table is not applied; frames are shown in grey"
            )
        if self.pixels.dtype.itemsize > 1 and self.describe(0).get("voi") == "none":
            found.append(
                f"the header has no window; all {self.bits} bits are shown, which may look flat: see --window auto"
            )
        return found

    def describe(self, index: int) -> dict[str, Any]:
        """Return what is done to the samples of a frame, as JSON-ready values."""
        applied: dict[str, Any] = {"photometric_interpretation": self.pixels.photometric_interpretation}
        if self._monochrome:
            with explained(*_NO_DISPLAY):
                found = self._transformations(self._group_key(index))
                function, windows = told_voi(found, self._voi)
                modality = told_modality(found)
            applied |= {
                "modality": modality,
                "voi": function,
                "window": windows,
                "inverted": self.pixels.photometric_interpretation == "MONOCHROME1",
            }
        return applied

    def _group_key(self, index: int) -> int:
        """Return the frame whose functional groups apply, -1 where none do."""
        return index if self.varies else -1

    @cached_property
    def _frame_groups(self) -> Any:
        """The per-frame functional groups, where they hold transformations."""
        with explained(*_NO_DISPLAY):
            groups = self._header.get("PerFrameFunctionalGroupsSequence") or ()
            return groups if any(name in group for group in groups for name in _GROUPS) else ()

    @cached_property
    def _header(self) -> Dataset | dict[str, Any]:
        """Where transformations are looked for: pydicom reads the header only where they are more than a few numbers."""
        found = plain_transformations(self._source)
        return self._source.brief if found is None else found

    def _transformations(self, frame: int) -> Transformations:
        """Return the transformations of one frame."""
        header = self._header
        found: dict[str, Any] = {}
        shared = header.get("SharedFunctionalGroupsSequence") or ()
        groups = [*shared[:1], *(self._frame_groups[frame : frame + 1] if frame >= 0 else ())]
        items = (item for group in groups for name in _GROUPS for item in (group.get(name) or ())[:1])
        for origin in (header, *items):
            for name in _TRANSFORMATIONS:
                value = origin.get(name)
                if value is not None and value != "":
                    found[name] = value
        if found.get("RescaleSlope") == 0:  # no rescale has that; it would leave nothing to see
            del found["RescaleSlope"]
        for name in ("ModalityLUTSequence", "VOILUTSequence"):
            if not all(item.get("LUTDescriptor") and item.get("LUTData") for item in found.get(name) or ()):
                del found[name]
        if self._window is not None:
            found["WindowCenter"], found["WindowWidth"] = self._window
            found["VOILUTFunction"] = self._function
            found.pop("VOILUTSequence", None)
        return found

    def _make_table(self, group: int) -> Picture | None:
        """Return the picture's value for each stored bit pattern, None where that is the pattern itself."""
        width = 8 * self.pixels.dtype.itemsize
        patterns = np.arange(1 << width, dtype=f"u{width // 8}")
        if self._native:
            shift = width - self.bits
            above = max(0, min(shift, width - 1 - self._source.high_bit))
            patterns = patterns << above
            values = patterns.view(self.pixels.dtype) >> shift
        else:
            values = patterns.view(self.pixels.dtype)
        table = self._transform(values, group)
        identity = table.ndim == 1 and np.array_equal(table, np.arange(1 << width))
        return None if identity and width == 8 else table

    def _transform(self, values: Values, group: int) -> Picture:
        """Return the display values of stored values of any shape."""
        if self.pixels.photometric_interpretation == "PALETTE COLOR":
            with explained("palette can't be applied", "use --stored"):
                return _palette(self._source.brief, self.pixels.dtype)
        if not self._monochrome:
            return _to_8_bits(values, 0, (1 << self.bits) - 1)
        with explained(*_NO_DISPLAY):
            found = self._transformations(group)
            low, high = self._range(found)
            picture = _to_8_bits(applied(values, found, self._voi, low, high), low, high)
        if self.pixels.photometric_interpretation == "MONOCHROME1":
            np.subtract(255, picture, out=picture)
        return picture

    def _range(self, found: Transformations) -> tuple[float, float]:
        """Return the values that become 0 and 255."""
        voi, _ = told_voi(found, self._voi)
        if voi == "lut":
            return 0.0, 2.0 ** found["VOILUTSequence"][self._voi or 0].LUTDescriptor[2] - 1
        if found.get("ModalityLUTSequence"):
            low, high = 0.0, 2.0 ** found["ModalityLUTSequence"][0].LUTDescriptor[2] - 1
        elif self.pixels.signed:
            low, high = -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1
        else:
            low, high = 0.0, 2.0**self.bits - 1
        if "RescaleSlope" in found and "RescaleIntercept" in found:
            slope, intercept = float(found["RescaleSlope"]), float(found["RescaleIntercept"])
            low, high = (intercept + v * slope for v in (low, high))
        if not np.isfinite((low, high)).all():
            raise ValueError(f"values go from {low:g} to {high:g}")
        return (low, high) if voi == "window" else (min(low, high), max(low, high))


def _palette(header: Dataset, index_type: np.dtype[Any]) -> Picture:
    """Return RGB of 8 bits, shape (256 or 65536, 3), for all palette entries (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""
    from cinemill.kernels.palette import palette_table

    if "RedPaletteColorLookupTableDescriptor" not in header:
        raise ValueError("it has none")
    entries, first, _ = header.RedPaletteColorLookupTableDescriptor
    entries = entries & 0xFFFF or 1 << 16
    if header.get("RedPaletteColorLookupTableData"):
        luts = [
            lookup_table(header, f"{name}PaletteColorLookupTable")[1] for name in ("Red", "Green", "Blue")
        ]
    else:
        from pydicom.pixels.processing import apply_color_lut

        palette = copy(header)
        palette.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
        luts = list(apply_color_lut(np.arange(first, first + entries), palette).T[:3])
    rgb = palette_table(*luts, first_mapped=first, index_type=index_type)
    if rgb.max() > 255:
        rgb >>= 8
    picture: Picture = rgb.astype(np.uint8)
    return picture


def _to_8_bits(values: Values, low: float, high: float) -> Picture:
    """Map low-high linearly to 0-255, rounded to the nearest; what lies outside becomes 0 or 255."""
    scaled = (values - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
