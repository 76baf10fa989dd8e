"""Writes Part 10 files that appear whole or not at all: temporary file, fsync, exclusive link, directory fsync."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from cinemill.disk_space import begin_writing, claim
from cinemill.elements import EXPLICIT_LE, IMPLICIT_LE, ITEM, PIXEL_DATA, SEQUENCE_END, UNDEFINED, Encoding
from cinemill.errors import CinemillError, OutputError, OutputExists, UnsupportedTransferSyntax
from cinemill.model import Buffer, PixelFormat
from cinemill.native import frame_bits
from cinemill.recode import encode_element, encode_header
from cinemill.syntaxes import TransferSyntax

IMPLEMENTATION_CLASS_UID = "2.25.111749976784744153086873693828402029034"
"""Identifies files written by cinemill (PS3.7 §D.3.3.2)."""

_ITEM_HEADER = struct.Struct("<HHL")
_TEMPORARY = ".part"
_AT_ONCE = 8
"""Processes that may write the same output at the same time."""
_PATIENCE = 3.0
_WORTH_WRITING = 16 << 20
"""Bytes at a time that the disk begins with before the end: a twentieth of the time of a long cine on two threads."""


class Sink:
    """One output file in the making. Leaving the context without `commit` removes every trace of it.

    Parameters
    ----------
    path
        Where the output will appear. Missing directories are made.
    overwrite
        Replace what stands there; else `commit` raises OutputExists.

    Raises
    ------
    OutputError
        The directory can't be written, or the disk is full.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.overwrite = overwrite
        self._size = self._begun = 0
        self._deflater: zlib._Compress | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path)
            self.temporary, self._file = _open_temporary(path)
        except OSError as error:
            raise output_error(path, error) from None

    def write(self, *parts: Buffer) -> None:
        """Append bytes, in one go, deflated after `deflate` was called."""
        if self._deflater is not None:
            parts = tuple(map(self._deflater.compress, parts))
        self._append(parts)

    def _append(self, parts: Sequence[Buffer]) -> None:
        try:
            written = os.writev(self._file.fileno(), parts)
            if written < sum(map(len, parts)):  # as where less than 2 GiB are taken at once
                rest = memoryview(b"".join(parts))
                while written < len(rest):
                    written += os.write(self._file.fileno(), rest[written:])
        except OSError as error:
            raise output_error(self.path, error) from None
        self._size += written
        if self._size - self._begun >= _WORTH_WRITING:
            begin_writing(self._file.fileno(), self._begun, self._size)
            self._begun = self._size

    def deflate(self) -> None:
        """Deflate everything from here on (PS3.5 §A.5, RFC 1951)."""
        self._deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)

    def reserve(self, size: int) -> None:
        """Claim disk space for so many bytes to come, where the file system can; `finish` gives back what is left.

        Raises
        ------
        OutputError
            The disk has not as much.
        """
        if self._deflater is not None:
            return
        try:
            claim(self._file.fileno(), size)
        except OSError as error:
            raise output_error(self.path, error) from None

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes written before."""
        try:
            if os.pwrite(self._file.fileno(), data, offset) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise output_error(self.path, error) from None

    def read(self, offset: int, length: int) -> bytes:
        """Read back from the file what was written to it. Thread-safe."""
        return os.pread(self._file.fileno(), length, offset)

    def finish(self) -> None:
        """Bring every byte to the disk; the file has still no name of its own.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        if self._deflater is not None:
            self._append((self._deflater.flush(),))
            self._append((bytes(self._size % 2),))
        try:
            self._file.truncate(self._size)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from None

    def commit(self) -> None:
        """Give the finished file its name, in one step.

        Raises
        ------
        OutputExists
            Something stands there, and overwriting was not asked for.
        OutputError
            The file system refused.
        """
        publish(self.temporary, self.path, overwrite=self.overwrite)
        sync(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)


class EncapsulatedWriter:
    """Writes frames as one fragment each, behind an offset table that is filled in at the end (PS3.5 §A.4).

    The table is a Basic Offset Table, or an Extended Offset Table with an empty basic one where offsets might pass
    32 bits: ``expected_bytes`` decides, since the table's place comes before the frames.

    Attributes
    ----------
    offsets, lengths : list of int
        Where each frame's bytes stand in the file, without padding.
    """

    def __init__(self, sink: Sink, frames: int, expected_bytes: int) -> None:
        self.sink = sink
        self.frames = frames
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.extended = expected_bytes + 8 * frames > 0xFFFFFFFF
        self._table = sink.tell()
        empty = bytes(8 * frames)
        if self.extended:
            sink.write(encode_element(0x7FE00001, b"OV", empty) + encode_element(0x7FE00002, b"OV", empty))
        sink.write(encode_header(PIXEL_DATA, b"OB", UNDEFINED, EXPLICIT_LE))
        if not self.extended:
            self._table = sink.tell()
        sink.write(_item(b"" if self.extended else bytes(4 * frames)))
        self._first = sink.tell()

    def add(self, frame: bytes) -> None:
        """Append the next frame's codestream."""
        padding = len(frame) % 2
        self.offsets.append(self.sink.tell() + _ITEM_HEADER.size)
        self.lengths.append(len(frame))
        self.sink.write(_item_header(len(frame) + padding), frame, bytes(padding))

    def read(self, index: int) -> bytes:
        """Read one frame's codestream back from the file."""
        return self.sink.read(self.offsets[index], self.lengths[index])

    def end(self) -> None:
        """Close the sequence and fill in the table.

        Raises
        ------
        OutputError
            The frames are larger than was expected and the table can't address them.
        """
        self.sink.write(_ITEM_HEADER.pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0))
        items = np.array(self.offsets, np.uint64) - np.uint64(self._first + 8)
        if self.extended:
            lengths = np.array(self.lengths, np.uint64)
            lengths += lengths % 2
            table = encode_element(0x7FE00001, b"OV", items.astype("<u8").tobytes())
            self.sink.patch(
                self._table, table + encode_element(0x7FE00002, b"OV", lengths.astype("<u8").tobytes())
            )
        elif len(items) and items[-1] > 0xFFFFFFFF:
            raise OutputError(
                "the frames grew past what a Basic Offset Table can address", path=self.sink.path
            )
        else:
            self.sink.patch(self._table, _item(items.astype("<u4").tobytes()))


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

    def __init__(self, sink: Sink, frames: int, frame_bits: int, vr: bytes, encoding: Encoding) -> None:
        size = (frames * frame_bits + 7) // 8
        size += size % 2
        if size >= UNDEFINED:
            raise UnsupportedTransferSyntax(
                f"native pixel data holds less than 4 GiB, {size} bytes are needed; choose an encapsulated target"
            )
        self.sink = sink
        self._left = size
        self._frame_bits = frame_bits
        self._bits = np.empty(0, np.uint8)
        sink.reserve(size)
        sink.write(encode_header(PIXEL_DATA, vr, size, encoding))

    def add(self, frame: bytes) -> None:
        """Append the next frame's bytes; a bit-packed one starts at bit 0."""
        if self._frame_bits % 8:
            fresh = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[: self._frame_bits]
            bits = np.concatenate((self._bits, fresh))
            whole = len(bits) // 8 * 8
            frame, self._bits = np.packbits(bits[:whole], bitorder="little").tobytes(), bits[whole:]
        self.sink.write(frame)
        self._left -= len(frame)

    def end(self) -> None:
        """Write what is left of the last byte, and pad to even length."""
        last = np.packbits(self._bits, bitorder="little").tobytes()
        self.sink.write(last.ljust(self._left, b"\0"))


def frame_writer(
    sink: Sink, pixels: PixelFormat, target: TransferSyntax, frames: int, expected_bytes: int
) -> EncapsulatedWriter | NativeWriter:
    """Return the writer of a target's Pixel Data, which has begun the element.

    Parameters
    ----------
    pixels
        How the header describes the frames.
    expected_bytes
        What the encoded frames may take at most.
    """
    if target.encapsulated:
        return EncapsulatedWriter(sink, frames, expected_bytes)
    vr = b"OB" if pixels.bits_allocated <= 8 and not target.implicit_vr else b"OW"
    encoding = IMPLICIT_LE if target.implicit_vr else EXPLICIT_LE
    return NativeWriter(sink, frames, frame_bits(pixels), vr, encoding)


def sweep(path: Path) -> None:
    """Remove temporary files that a killed process left for this output; those in use are locked and stay.

    A process killed while it waits for the disk holds its lock a little longer, so locks are given some time.
    """
    for stale in _temporaries(path):
        with suppress(OSError), stale.open("rb") as file:
            _lock(file, _PATIENCE)
            stale.unlink()


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished file or directory its name, in one step.

    Raises
    ------
    OutputExists
        Something stands there, and overwriting was not asked for.
    OutputError
        The file system refused.
    """
    try:
        if temporary.is_dir():
            temporary.rename(path)
        elif overwrite:
            temporary.replace(path)
        else:
            _link_exclusively(temporary, path)
    except OSError as error:
        taken = temporary.is_dir() and error.errno in {errno.ENOTEMPTY, errno.ENOTDIR}
        if taken or isinstance(error, FileExistsError):
            raise OutputExists("exists already; use --overwrite to replace it", path=path) from None
        raise output_error(path, error) from None


def sync(path: Path) -> None:
    """Bring a file, or a directory's entries, to the disk.

    Raises
    ------
    OutputError
        The file system refused.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise output_error(path, error) from None


def _lock(file: BinaryIO, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def output_error(path: Path, error: OSError) -> CinemillError:
    """Turn an error of the operating system into one that says what to do."""
    advice = {
        errno.ENOSPC: f"the disk is full{_numbers(error)}; free some space and run the same command again",
        errno.EDQUOT: "the quota is exhausted; free some space and run the same command again",
        errno.EFBIG: "the file system can't hold so large a file",
        errno.EACCES: "permission denied; check the directory's owner and mode",
        errno.EPERM: "permission denied; check the directory's owner and mode",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "the name is too long for this file system",
        errno.ENOTDIR: "a part of the path is not a directory",
        errno.EEXIST: "a part of the path is not a directory",
    }
    return OutputError(f"can't be written: {advice.get(error.errno or 0, error.strerror)}", path=path)


def _numbers(error: OSError) -> str:
    """Return what `claim` says of the disk, nothing where the system ran into its end."""
    said = error.strerror or ""
    return "" if said == os.strerror(errno.ENOSPC) else f": {said}"


def _item(value: bytes) -> bytes:
    return _item_header(len(value)) + value


def _item_header(length: int) -> bytes:
    return _ITEM_HEADER.pack(ITEM >> 16, ITEM & 0xFFFF, length)


def _open_temporary(path: Path) -> tuple[Path, FileIO]:
    """Make and lock a temporary file; another process may sweep it away before it is locked."""
    for temporary in _temporaries(path):
        try:
            file = temporary.open("xb+", buffering=0)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks keeps what a killed process leaves
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()
    raise OSError(errno.EBUSY, f"{_AT_ONCE} processes are writing it already")


def _temporaries(path: Path) -> Iterator[Path]:
    """Yield all names that an output has while it is made: few, so that none is searched for in large directories."""
    stem = _stem(path)
    return (path.with_name(f".{stem}.{number}{_TEMPORARY}") for number in range(_AT_ONCE))


def _stem(path: Path) -> str:
    """Return what of a name leaves room for more: file systems limit bytes, not characters."""
    return os.fsdecode(os.fsencode(path.name)[:200])


def _link_exclusively(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
