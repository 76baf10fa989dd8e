"""Writes the frames of Pixel Data: encapsulated, one fragment each behind an offset table, or native (PS3.5 §8, §A.4)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, ITEM, PIXEL_DATA, UNDEFINED, Encoding
from cinemill.dicom.fragments import DELIMITER, ITEM_HEADER
from cinemill.dicom.native import frame_bits
from cinemill.dicom.recode import encode_element, encode_header
from cinemill.errors import OutputError, UnsupportedTransferSyntax
from cinemill.pixel_format import PixelFormat
from cinemill.storage.file import OutputFile
from cinemill.syntaxes import TransferSyntax


class EncapsulatedWriter:
    """Writes frames as one fragment each, behind an offset table that is filled in at the end (PS3.5 §A.4).

    The table is a Basic Offset Table, or an Extended Offset Table with an empty basic one where offsets might pass
    32 bits: ``expected_bytes`` decides, since the table's place comes before the frames.

    Attributes
    ----------
    offsets, lengths : list of int
        Where each frame's bytes stand in the file, without padding.
    """

    def __init__(self, file: OutputFile, frames: int, expected_bytes: int) -> None:
        self._file = file
        self.frames = frames
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.extended = expected_bytes + 8 * frames > 0xFFFFFFFF
        self._table = file.tell()
        empty = bytes(8 * frames)
        if self.extended:
            file.write(encode_element(0x7FE00001, b"OV", empty) + encode_element(0x7FE00002, b"OV", empty))
        file.write(encode_header(PIXEL_DATA, b"OB", UNDEFINED, EXPLICIT_LE))
        if not self.extended:
            self._table = file.tell()
        file.write(_item(b"" if self.extended else bytes(4 * frames)))
        self._first = file.tell()

    def add(self, frame: bytes) -> None:
        """Append the next frame's codestream."""
        padding = len(frame) % 2
        self.offsets.append(self._file.tell() + ITEM_HEADER.size)
        self.lengths.append(len(frame))
        self._file.write(_item_header(len(frame) + padding), frame, bytes(padding))

    def read(self, index: int) -> bytes:
        """Read one frame's codestream back from the file."""
        return self._file.read(self.offsets[index], self.lengths[index])

    def end(self) -> None:
        """Close the sequence and fill in the table.

        Raises
        ------
        OutputError
            The frames are larger than was expected and the table can't address them.
        """
        self._file.write(DELIMITER)
        items = np.array(self.offsets, np.uint64) - np.uint64(self._first + 8)
        if self.extended:
            lengths = np.array(self.lengths, np.uint64)
            lengths += lengths % 2
            table = encode_element(0x7FE00001, b"OV", items.astype("<u8").tobytes())
            self._file.patch(
                self._table, table + encode_element(0x7FE00002, b"OV", lengths.astype("<u8").tobytes())
            )
        elif len(items) and items[-1] > 0xFFFFFFFF:
            raise OutputError(
                "the frames grew past what a Basic Offset Table can address", path=self._file.path
            )
        else:
            self._file.patch(self._table, _item(items.astype("<u4").tobytes()))


class NativeWriter:
    """Writes frames one after the other into a Pixel Data element of known length (PS3.5 §8.1).

    Parameters
    ----------
    frame_bits
        Bits of one frame; frames of single bits follow each other without padding.

    Raises
    ------
    UnsupportedTransferSyntax
        The frames take more than the 32-bit length of the element can say.
    """

    def __init__(self, file: OutputFile, frames: int, frame_bits: int, vr: bytes, encoding: Encoding) -> None:
        size = (frames * frame_bits + 7) // 8
        size += size % 2
        if size >= UNDEFINED:
            raise UnsupportedTransferSyntax(
                f"native pixel data holds less than 4 GiB, {size} bytes are needed; choose an encapsulated target"
            )
        self._file = file
        self._left = size
        self._frame_bits = frame_bits
        self._bits = np.empty(0, np.uint8)
        file.reserve(size)
        file.write(encode_header(PIXEL_DATA, vr, size, encoding))

    def add(self, frame: bytes) -> None:
        """Append the next frame's bytes; a bit-packed one starts at bit 0."""
        if self._frame_bits % 8:
            fresh = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[: self._frame_bits]
            bits = np.concatenate((self._bits, fresh))
            whole = len(bits) // 8 * 8
            frame, self._bits = np.packbits(bits[:whole], bitorder="little").tobytes(), bits[whole:]
        self._file.write(frame)
        self._left -= len(frame)

    def end(self) -> None:
        """Write what is left of the last byte, and pad to even length."""
        last = np.packbits(self._bits, bitorder="little").tobytes()
        self._file.write(last.ljust(self._left, b"\0"))


FrameWriter: TypeAlias = EncapsulatedWriter | NativeWriter


def frame_writer(
    file: OutputFile, pixels: PixelFormat, target: TransferSyntax, frames: int, expected_bytes: int
) -> FrameWriter:
    """Return the writer of a target's Pixel Data, which has begun the element.

    Parameters
    ----------
    pixels
        How the header describes the frames.
    expected_bytes
        What the encoded frames may take at most.
    """
    if target.encapsulated:
        return EncapsulatedWriter(file, frames, expected_bytes)
    vr = b"OB" if pixels.bits_allocated <= 8 and not target.implicit_vr else b"OW"
    encoding = IMPLICIT_LE if target.implicit_vr else EXPLICIT_LE
    return NativeWriter(file, frames, frame_bits(pixels), vr, encoding)


def _item(value: bytes) -> bytes:
    return _item_header(len(value)) + value


def _item_header(length: int) -> bytes:
    return ITEM_HEADER.pack(ITEM >> 16, ITEM & 0xFFFF, length)
