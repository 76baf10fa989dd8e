"""Reads the image header of a JPEG XL codestream, and the beginning of its first frame's (ISO/IEC 18181-1 Annexes D, F)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cinemill.codecs.jpeg_xl.boxes import CODESTREAM, bare_codestream
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

_HEADER_BYTES = 4096
"""No image header without an ICC profile is longer."""

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZES = ((1, 9), (1, 13), (1, 18), (1, 30))
_GREY, _XYB = 1, 2
_CUSTOM = 2
"""White point or primaries that are spelled out."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a JPEG XL codestream holds.

    Attributes
    ----------
    components
        1 or 3.
    precision
        Bits of a sample.
    xyb
        Whether colours are coded as XYB, and rounded therefore.
    modular
        Whether the first frame is coded without DCT; None where an ICC profile hides it.
    ycbcr
        Whether the first frame is coded as YCbCr, as JPEGs are; decoders return RGB.
    orientation
        As in Exif: 1 is the image as it is coded.
    """

    rows: int
    columns: int
    components: int
    precision: int
    xyb: bool
    modular: bool | None
    ycbcr: bool
    orientation: int = 1

    @property
    def lossless(self) -> bool:
        """Whether the coding is reversible, as far as its header tells."""
        return not self.xyb and self.modular is not False


class _Bits:
    """Reads fields of a header, least significant bit first (Annex B)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._size = 8 * len(data)
        self._position = 0

    def u(self, count: int) -> int:
        """Read an unsigned integer of so many bits."""
        if self._position + count > self._size:
            raise CodecError("JPEG XL: the codestream ends inside its header", offset=self._size // 8)
        value = self._value >> self._position & ((1 << count) - 1)
        self._position += count
        return value

    def flag(self) -> bool:
        """Read one bit."""
        return bool(self.u(1))

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read two bits that choose an offset and a number of bits to be added to it."""
        offset, bits = choices[self.u(2)]
        return offset + self.u(bits)

    def u64(self) -> int:
        """Read an integer of up to 64 bits (B.2.5)."""
        chosen = self.u(2)
        if chosen < 3:
            offset, bits = ((0, 0), (1, 4), (17, 8))[chosen]
            return offset + self.u(bits)
        value, shift = self.u(12), 12
        while shift < 60 and self.flag():
            value |= self.u(8) << shift
            shift += 8
        return value | self.u(4) << 60 if shift == 60 and self.flag() else value

    def enum(self) -> int:
        """Read the number of a named value (B.2.4)."""
        return self.u32((0, 0), (1, 0), (2, 4), (18, 6))

    def align(self) -> None:
        """Go to the next byte."""
        self._position += -self._position % 8


def read_header(data: Buffer) -> ImageHeader:
    """Read the header of a codestream, bare or in boxes.

    Raises
    ------
    CodecError
        It is damaged.
    UnsupportedPixelFormat
        It holds something that no DICOM image is: alpha, floating point samples, animation.
    """
    stream = bytes(bare_codestream(data)[:_HEADER_BYTES])
    if stream[:2] != CODESTREAM:
        raise CodecError("a JPEG XL codestream begins with FF 0A", offset=0)
    bits = _Bits(stream[2:])
    rows, columns = _size(bits)
    found = _Metadata() if bits.flag() else _metadata(bits)
    if not bits.flag():
        raise UnsupportedPixelFormat("JPEG XL with a colour transform of its own is not read")
    modular, ycbcr = (None, False) if found.profile else _frame(bits, xyb=found.xyb)
    return ImageHeader(
        rows, columns, found.components, found.precision, found.xyb, modular, ycbcr, found.orientation
    )


class _Metadata(NamedTuple):
    """What the image metadata says (D.3), and whether there is an ICC profile."""

    precision: int = 8
    components: int = 3
    xyb: bool = True
    profile: bool = False
    orientation: int = 1


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()
    rows = 8 * (1 + bits.u(5)) if small else bits.u32(*_SIZES)
    ratio = bits.u(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return rows, rows * across // down
    return rows, 8 * (1 + bits.u(5)) if small else bits.u32(*_SIZES)


def _metadata(bits: _Bits) -> _Metadata:
    extra = bits.flag()
    orientation = _extras(bits) if extra else 1
    if bits.flag():
        raise UnsupportedPixelFormat(
            "JPEG XL of floating point samples is not read; DICOM has integers in it"
        )
    precision = bits.u32((8, 0), (10, 0), (12, 0), (1, 6))
    bits.flag()
    if bits.u32((0, 0), (1, 0), (2, 4), (1, 12)):
        raise UnsupportedPixelFormat("JPEG XL with extra channels (alpha, depth) is not read; DICOM has none")
    xyb = bits.flag()
    space, profile = _colours(bits)
    if extra and not bits.flag():
        raise UnsupportedPixelFormat("JPEG XL with tone mapping is not read; DICOM has its own windows")
    if bits.u64():
        raise UnsupportedPixelFormat("JPEG XL with extensions of its header is not read")
    return _Metadata(precision, 1 if space == _GREY else 3, xyb, profile, orientation)


def _extras(bits: _Bits) -> int:
    """Return the orientation."""
    orientation = 1 + bits.u(3)
    if bits.flag():
        _size(bits)
    if bits.flag() or bits.flag():
        raise UnsupportedPixelFormat("JPEG XL with a preview or an animation is not read; DICOM has frames")
    return orientation


def _colours(bits: _Bits) -> tuple[int, bool]:
    """Read the colour encoding (E.2); return the colour space, and whether there is an ICC profile."""
    if bits.flag():
        return 0, False
    profile = bits.flag()
    space = bits.enum()
    if profile:
        return space, True
    if space != _XYB:
        if bits.enum() == _CUSTOM:
            _chromaticity(bits)
        if space != _GREY and bits.enum() == _CUSTOM:
            for _ in range(3):
                _chromaticity(bits)
        if bits.flag():
            bits.u(24)
        else:
            bits.enum()
    bits.enum()
    return space, False


def _chromaticity(bits: _Bits) -> None:
    for _ in range(2):
        bits.u32((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


def _frame(bits: _Bits, *, xyb: bool) -> tuple[bool, bool]:
    """Return of the first frame whether it is modular, and whether it is YCbCr (F.2)."""
    bits.align()
    if bits.flag():
        return False, False
    bits.u(2)
    modular = bits.flag()
    bits.u64()
    return modular, not xyb and bits.flag()
