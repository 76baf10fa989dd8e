"""Renders stored samples as 8-bit pictures: modality, VOI and palette transformations, MONOCHROME1 last (PS3.4 N.2)."""

from __future__ import annotations

from copy import copy
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cinemill.dicom.values import explained
from cinemill.errors import NotInFile, UnsupportedPixelFormat
from cinemill.frames import colour

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.frames.decode import FrameDecoder
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
        voi: int | None = None,
    ) -> None:
        self.pixels = decoder.pixels
        self._source = decoder.source
        self._window, self._voi = window, voi
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
            frame = colour.convert(frame, self.pixels.photometric_interpretation, "RGB")
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
            return _rescaled(values, self._transformations(self._group_key(index)))

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
                dataset = self._transformations(self._group_key(index))
                function, windows = _voi(dataset, self._voi)
                modality = _modality(dataset)
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
            groups = self._source.header.get("PerFrameFunctionalGroupsSequence") or ()
            return groups if any(name in group for group in groups for name in _GROUPS) else ()

    def _transformations(self, frame: int) -> Dataset:
        """Return a data set with just the transformations of one frame, and what pydicom wants to know of pixels."""
        from pydicom import Dataset

        header = self._source.header
        found = Dataset()
        shared = header.get("SharedFunctionalGroupsSequence") or ()
        groups = [*shared[:1], *(self._frame_groups[frame : frame + 1] if frame >= 0 else ())]
        items = (item for group in groups for name in _GROUPS for item in (group.get(name) or ())[:1])
        for origin in (header, *items):
            for name in _TRANSFORMATIONS:
                if origin.get(name) is not None and origin.get(name) != "":
                    found[name] = copy(origin[name])
        if found.get("RescaleSlope") == 0:  # no rescale has that; it would leave nothing to see
            del found.RescaleSlope
        for name in ("ModalityLUTSequence", "VOILUTSequence"):
            if not all(item.get("LUTDescriptor") and item.get("LUTData") for item in found.get(name) or ()):
                del found[name]
        if self._window is not None:
            found.WindowCenter, found.WindowWidth = self._window
            found.VOILUTFunction = "LINEAR"
            found.pop("VOILUTSequence", None)
        found.PhotometricInterpretation = "MONOCHROME2"
        found.BitsStored = self.bits
        found.PixelRepresentation = int(self.pixels.signed)
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
                return _palette(self._source.header, self.pixels.dtype)
        if not self._monochrome:
            return _to_8_bits(values, 0, (1 << self.bits) - 1)
        with explained(*_NO_DISPLAY):
            dataset = self._transformations(group)
            low, high = self._range(dataset)
            picture = _to_8_bits(_apply(values, dataset, self._voi), low, high)
        if self.pixels.photometric_interpretation == "MONOCHROME1":
            np.subtract(255, picture, out=picture)
        return picture

    def _range(self, dataset: Dataset) -> tuple[float, float]:
        """Return the values that become 0 and 255."""
        voi, _ = _voi(dataset, self._voi)
        if voi == "lut":
            return 0.0, 2.0 ** dataset.VOILUTSequence[self._voi or 0].LUTDescriptor[2] - 1
        if dataset.get("ModalityLUTSequence"):
            low, high = 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif self.pixels.signed:
            low, high = -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1
        else:
            low, high = 0.0, 2.0**self.bits - 1
        if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
            low, high = (
                float(dataset.RescaleIntercept) + v * float(dataset.RescaleSlope) for v in (low, high)
            )
        if not np.isfinite((low, high)).all():
            raise ValueError(f"values go from {low:g} to {high:g}")
        return (low, high) if voi == "window" else (min(low, high), max(low, high))


def _modality(dataset: Dataset) -> str:
    if dataset.get("ModalityLUTSequence"):
        return "lut"
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        return f"rescale {float(dataset.RescaleSlope):g} {float(dataset.RescaleIntercept):g}"
    return "none"


def _voi(dataset: Dataset, chosen: int | None) -> tuple[str, list[list[float]] | None]:
    """Return ``lut``, ``window`` or ``none``, and the centres and widths of windows.

    Where PS3.3 C.11.2.1 forbids the chosen window, there is none.
    """
    if dataset.get("VOILUTSequence"):
        return "lut", None
    if "WindowCenter" in dataset and "WindowWidth" in dataset:
        elements = dataset["WindowCenter"], dataset["WindowWidth"]
        columns = (element.value if element.VM > 1 else [element.value] for element in elements)
        windows = [[float(centre), float(width)] for centre, width in zip(*columns, strict=False)]
        smallest = 1 if dataset.get("VOILUTFunction", "LINEAR") == "LINEAR" else 1e-9
        usable = all(width >= smallest for _, width in windows[chosen or 0 :][:1])
        if usable and np.isfinite(windows).all():
            return "window", windows
    return "none", None


def _apply(values: Values, dataset: Dataset, voi: int | None) -> Values:
    """Apply modality LUT or rescale, then VOI LUT or window (PS3.3 C.11.1, C.11.2)."""
    from pydicom.pixels.processing import apply_windowing

    function, windows = _voi(dataset, voi)
    if voi is not None:
        there = len(dataset.VOILUTSequence) if function == "lut" else len(windows or ())
        if voi not in range(there):
            held = f"0 to {there - 1}" if there else "none"
            raise NotInFile(f"--voi {voi} is out of range; this image has {held}")
    values = _rescaled(values, dataset)
    if function == "lut":
        return _look_up(np.rint(values), *_lut(dataset.VOILUTSequence[voi or 0], "LUT"))
    return apply_windowing(values, dataset, index=voi or 0) if function == "window" else values


def _rescaled(values: Values, dataset: Dataset) -> Values:
    """Apply modality LUT or rescale (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(values, *_lut(dataset.ModalityLUTSequence[0], "LUT"))
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        return values * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return values


def _palette(header: Dataset, index_type: np.dtype[Any]) -> Picture:
    """Return RGB of 8 bits, shape (256 or 65536, 3), for all palette entries (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""
    from cinemill.kernels.palette import palette_table

    if "RedPaletteColorLookupTableDescriptor" not in header:
        raise ValueError("it has none")
    entries, first, _ = header.RedPaletteColorLookupTableDescriptor
    entries = entries & 0xFFFF or 1 << 16
    if header.get("RedPaletteColorLookupTableData"):
        luts = [_lut(header, f"{name}PaletteColorLookupTable")[1] for name in ("Red", "Green", "Blue")]
    else:
        from pydicom.pixels.processing import apply_color_lut

        palette = copy(header)
        del palette.file_meta  # it may say big endian, which the header is no more
        palette.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
        luts = list(apply_color_lut(np.arange(first, first + entries), palette).T[:3])
    rgb = palette_table(*luts, first_mapped=first, index_type=index_type)
    if rgb.max() > 255:
        rgb >>= 8
    picture: Picture = rgb.astype(np.uint8)
    return picture


def _lut(item: Dataset, name: str) -> tuple[int, Values]:
    """Return the first value that a lookup table maps, and its entries: 8-bit ones may share a word."""
    entries, first, bits = item[f"{name}Descriptor"].value
    data = item[f"{name}Data"].value
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.array(data, "<u2")).tobytes()
    entries = entries & 0xFFFF or 1 << 16
    packed = bits <= 8 and len(data) < 2 * entries
    whole = data if packed else data[: len(data) // 2 * 2]
    table = np.frombuffer(whole, np.uint8 if packed else "<u2")[:entries]
    if len(table) < entries:
        raise ValueError(f"{name} promises {entries} entries, {len(table)} are there")
    return first, table.astype(np.uint16)


def _look_up(values: Values, first: int, table: Values) -> Values:
    """Map values by a table; those before it take its first entry, those behind it the last.

    Where values may be negative, a first one past 32767 is a negative one that was written as unsigned.
    """
    if first > 0x7FFF and values.min() < 0:
        first -= 1 << 16
    mapped: Values = table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]
    return mapped


def _to_8_bits(values: Values, low: float, high: float) -> Picture:
    """Map low-high linearly to 0-255, rounded to the nearest; what lies outside becomes 0 or 255."""
    scaled = (values - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
