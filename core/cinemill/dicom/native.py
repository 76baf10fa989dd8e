"""Finds and reads the frames of native pixel data by arithmetic (PS3.5 §8.1, §8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import DamagedFile
from cinemill.storage.mapped import fetch, forget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.dicom.elements import Element, Encoding
    from cinemill.pixel_format import Buffer, PixelFormat
    from cinemill.storage.mapped import Bytes


def frame_bits(pixels: PixelFormat) -> int:
    """Return how many bits one native frame takes; 4:2:2 chroma is stored for every second column."""
    if pixels.photometric_interpretation in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        return pixels.rows * ((pixels.columns + 1) // 2) * 4 * pixels.bits_allocated
    return pixels.rows * pixels.columns * pixels.samples * pixels.bits_allocated


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """The frames of one native Pixel Data element.

    Attributes
    ----------
    pixels
        How the samples really lie: a YBR_FULL_422 label over full-size chroma is read as YBR_FULL.
    swap
        Size in bytes of the words to swap: those of big endian data, else 1.
    """

    data: Bytes
    start: int
    length: int
    count: int
    pixels: PixelFormat
    swap: int

    @classmethod
    def find(
        cls,
        data: Bytes,
        element: Element,
        pixels: PixelFormat,
        promised: int | None,
        encoding: Encoding,
        *,
        repair: bool,
        warnings: list[str],
    ) -> NativeFrames:
        """Check that the promised frames fill the element.

        Parameters
        ----------
        data
            The file, or the inflated data set.
        element
            The Pixel Data.
        pixels
            What the header says of them.
        promised
            Number of Frames, None where it is absent.
        encoding
            Of the data set.
        repair
            Count the frames that are there, in place of failing.
        warnings
            Takes a line for what is wrong but does no harm.

        Raises
        ------
        DamagedFile
            They don't: the message has both numbers.
        """
        there = element.end - element.value
        if pixels.photometric_interpretation == "YBR_FULL_422" and fills(
            full := pixels.with_(photometric_interpretation="YBR_FULL"), promised or 1, there
        ):
            warnings.append("YBR_FULL_422 is declared, but the chroma samples are there for every column")
            pixels = full
        if pixels.photometric_interpretation == "YBR_FULL_422" and pixels.planar_configuration:
            warnings.append("Planar Configuration is 1, which YBR_FULL_422 can't have; read as 0")
        bits = frame_bits(pixels)
        count = promised or 1
        wanted = (count * bits + 7) // 8
        padded = wanted + wanted % 2
        if there < wanted or (there > padded and there * 8 >= wanted * 8 + bits):
            complete = there * 8 // bits
            if not (repair and complete):
                raise DamagedFile(
                    f"{count} frame{'s' if count > 1 else ''} of {pixels.rows}×{pixels.columns} take {wanted} bytes, "
                    f"{there} are there, enough for {complete}; the file is truncated or its header is wrong"
                    f"{'; transcode --repair keeps those' if complete else ''}"
                )
            warnings.append(f"Number of Frames {promised or '(absent)'} was corrected to {complete}")
            count, padded = complete, there
        if there > padded:
            warnings.append(f"{there - wanted} bytes follow the last frame; they are not pixels")
        swap = 1
        if not encoding.little_endian:
            word = 2 if element.vr in {None, b"OW"} else 1
            swap = max(pixels.bits_allocated // 8, word)
            if swap > word:
                warnings.append(
                    f"big endian samples of {pixels.bits_allocated} bits in {(element.vr or b'OW').decode()} were swapped as "
                    f"whole samples; some writers swap words of {word} byte{'s' if word > 1 else ''}"
                )
        return cls(data, element.value, there, count, pixels, swap)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Buffer:
        """Return one frame's bytes: samples little endian, bit-packed samples starting at bit 0."""
        bits = frame_bits(self.pixels)
        first, last = index * bits, (index + 1) * bits
        fetch(self.data, self.start + first // 8, self.start + min((last + 7) // 8, self.length))
        covering = self._bytes(first // 8, (last + 7) // 8)
        if first % 8 == last % 8 == 0:
            return covering
        unpacked = np.unpackbits(np.frombuffer(covering, np.uint8), bitorder="little")
        return np.packbits(unpacked[first % 8 :][: last - first], bitorder="little").tobytes()

    def pieces(self, size: int = 8 << 20) -> Iterator[Buffer]:
        """Yield the bytes of the element in order, whatever its frames are."""
        for first in range(0, self.length, size):
            yield self._bytes(first, min(first + size, self.length))
            forget(self.data)

    def _bytes(self, first: int, last: int) -> Buffer:
        if self.swap == 1:
            return memoryview(self.data)[self.start + first : self.start + last]
        start, end = first // self.swap * self.swap, -(-last // self.swap) * self.swap
        words = memoryview(self.data)[self.start + start : self.start + end].tobytes()
        swapped = np.frombuffer(words.ljust(end - start, b"\0"), f">u{self.swap}").astype(f"<u{self.swap}")
        return swapped.tobytes()[first - start : last - start]


def fills(pixels: PixelFormat, frames: int, there: int) -> bool:
    """Whether native frames take exactly so many bytes, padded to an even number or not.

    Parameters
    ----------
    pixels
        What the header says of them.
    frames
        How many there are.
    there
        Bytes of Pixel Data.
    """
    wanted = (frames * frame_bits(pixels) + 7) // 8
    return wanted <= there <= wanted + 1
