"""Overlays that lie in unused bits of the samples: found, and moved to elements of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.elements import tag_name
from cinemill.dicom.recode import encode_element

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Samples

_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


class EmbeddedOverlays:
    """Overlay planes that older files keep in unused bits of Pixel Data (PS3.5 §8.1.2, PS3.3 C.9.2).

    Attributes
    ----------
    bits : dict of int to int
        Overlay Bit Position by group.
    """

    def __init__(self, source: Source, bits: dict[int, int]) -> None:
        self.bits = bits
        self._source = source
        self._planes: dict[int, list[bytes]] = {group: [] for group in bits}

    @classmethod
    def find(cls, source: Source) -> EmbeddedOverlays | None:
        """Return the overlays that have a bit position and no data of their own, None where there are none."""
        bits = {
            group: source.short(group << 16 | 0x0102)
            for group in _OVERLAY_GROUPS
            if source.element(group << 16 | 0x0102) is not None
            and source.pixels.bits_stored
            <= source.short(group << 16 | 0x0102, 0)
            < source.pixels.bits_allocated
            and source.value(group << 16 | 0x0010) is not None
            and source.value(group << 16 | 0x3000) is None
        }
        return cls(source, bits) if bits else None

    def collect(self, frame: Samples) -> None:
        """Take the overlay bits of the next frame."""
        for group, position in self.bits.items():
            self._planes[group].append(np.packbits((frame >> position) & 1, axis=None).tobytes())

    def placeholders(self) -> dict[int, bytes]:
        """Return the elements that describe the moved planes, Overlay Data empty but of its final size."""
        frames = len(self._source)
        changes: dict[int, bytes] = {}
        for group in self.bits:
            tag = group << 16
            changes[tag | 0x0100] = encode_element(tag | 0x0100, b"US", b"\1\0")
            changes[tag | 0x0102] = encode_element(tag | 0x0102, b"US", b"\0\0")
            changes[tag | 0x3000] = encode_element(tag | 0x3000, b"OW", bytes(self._size()))
            if frames > 1:
                changes[tag | 0x0015] = encode_element(tag | 0x0015, b"IS", str(frames).encode())
                changes[tag | 0x0051] = encode_element(tag | 0x0051, b"US", b"\1\0")
        return changes

    def data(self) -> dict[int, bytes]:
        """Return the collected Overlay Data by tag: one bit a pixel, all frames, lowest bit first."""
        pixels = self._source.pixels.rows * self._source.pixels.columns
        found = {}
        for group, planes in self._planes.items():
            bits = [np.unpackbits(np.frombuffer(plane, np.uint8))[:pixels] for plane in planes]
            packed = np.packbits(np.concatenate(bits), bitorder="little").tobytes()
            found[group << 16 | 0x3000] = packed.ljust(self._size(), b"\0")
        return found

    def __str__(self) -> str:
        groups = ", ".join(tag_name(group << 16 | 0x3000) for group in self.bits)
        return f"overlays in the unused bits of Pixel Data were moved to {groups}"

    def _size(self) -> int:
        pixels = self._source.pixels
        size = (pixels.rows * pixels.columns * len(self._source) + 7) // 8
        return size + size % 2
