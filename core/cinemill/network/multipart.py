"""Multipart bodies of DICOMweb, read and written by pieces: no more is in memory than a piece, whatever a part's size (RFC 2046)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cinemill.errors import NodeError
from cinemill.network.instances import Instance
from cinemill.storage.regular import open_regular

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

_PIECE = 1 << 18
_LARGEST_HEAD = 1 << 16
_TYPE = b"Content-Type: application/dicom"


def boundary_of(content_type: str) -> str:
    """Return the boundary that a Content-Type names.

    Raises
    ------
    NodeError
        The body is no multipart.
    """
    found = re.search(r'boundary="?([^";,]+)"?', content_type)
    if "multipart/" not in content_type or found is None:
        raise NodeError(
            f"expected multipart/related with a boundary, found {content_type[:100] or 'no Content-Type'}",
            outcome="nonsense",
        )
    return found[1].strip()


class Parts:
    """Reads a multipart body part by part, within one buffer.

    Parameters
    ----------
    into
        Reads bytes of the body into memory, and returns how many; 0 at its end.
    boundary
        Between parts.
    """

    def __init__(self, into: Callable[[memoryview], int], boundary: str) -> None:
        self._into = into
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._buffer = bytearray(_PIECE)
        self._view = memoryview(self._buffer)
        self._buffer[:2] = b"\r\n"  # so that the first delimiter is one like the others
        self._start, self._end = 0, 2

    def __iter__(self) -> Iterator[tuple[Mapping[str, str], Iterator[memoryview]]]:
        """Yield the fields and the bytes of each part, by pieces that are gone when the next one is asked for.

        What is not read of a part is passed over.

        Raises
        ------
        NodeError
            The body ends before its last delimiter, or is no multipart.
        """
        preamble = 0
        for piece in self._until_delimiter():
            preamble += len(piece)
            if preamble > _LARGEST_HEAD:
                raise NodeError(
                    f"more than {_LARGEST_HEAD} bytes stand before the first part", outcome="nonsense"
                )
        while self._begins():
            body = self._until_delimiter()
            yield self._fields(), body
            for _ in body:
                pass

    def _until_delimiter(self) -> Iterator[memoryview]:
        """Yield what stands before the next delimiter, and stop behind that."""
        keep = len(self._delimiter) - 1
        while True:
            start = self._start
            found = self._buffer.find(self._delimiter, start, self._end)
            if found >= 0:
                self._start = found + len(self._delimiter)
                if found > start:
                    yield self._view[start:found]
                return
            self._start = max(self._end - keep, start)
            if self._start > start:
                yield self._view[start : self._start]
            self._more()

    def _begins(self) -> bool:
        """Whether another part begins behind the delimiter that was passed."""
        while self._end - self._start < 2:
            self._more()
        return not self._buffer.startswith(b"--", self._start)

    def _fields(self) -> dict[str, str]:
        while (end := self._buffer.find(b"\r\n\r\n", self._start, self._end)) < 0:
            if self._end - self._start > _LARGEST_HEAD:
                raise NodeError(f"a part's head has more than {_LARGEST_HEAD} bytes", outcome="nonsense")
            self._more()
        lines = self._buffer[self._start : end].decode("latin-1").split("\r\n")
        self._start = end + 4
        pairs = (line.partition(":") for line in lines if ":" in line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _more(self) -> None:
        """Read on behind what is not used yet, which is moved to the beginning."""
        left = self._end - self._start
        self._view[:left] = self._buffer[self._start : self._end]
        self._start, self._end = 0, left
        got = self._into(self._view[left:])
        if not got:
            raise NodeError("the answer ended before the last delimiter of its parts", outcome="truncated")
        self._end += got


def body_of(instances: Sequence[Instance], boundary: str) -> Iterator[Buffer]:
    """Yield the body that holds the files of instances, each as it is, by pieces that are gone when the next one is asked for.

    Parameters
    ----------
    instances
        Whose files are sent.
    boundary
        Between them.

    Raises
    ------
    NodeError
        A file changed its size, or can't be read.
    """
    for instance in instances:
        yield _head(boundary)
        yield from _file(instance)
        yield b"\r\n"
    yield _tail(boundary)


def length_of(instances: Sequence[Instance], boundary: str) -> int:
    """Return the bytes that `body_of` yields."""
    return sum(len(_head(boundary)) + each.end + 2 for each in instances) + len(_tail(boundary))


def _head(boundary: str) -> bytes:
    return b"--" + boundary.encode() + b"\r\n" + _TYPE + b"\r\n\r\n"


def _tail(boundary: str) -> bytes:
    return b"--" + boundary.encode() + b"--\r\n"


def _file(instance: Instance) -> Iterator[memoryview]:
    piece = memoryview(bytearray(_PIECE))
    try:
        with os.fdopen(open_regular(instance.path), "rb", buffering=0) as file:
            left = instance.end
            while left:
                got = file.readinto(piece[:left])
                if not got:
                    raise NodeError(
                        f"{instance.end} bytes were expected, {left} are not there", outcome="damaged"
                    )
                left -= got
                yield piece[:got]
    except OSError as error:
        raise NodeError(f"can't be read: {error.strerror}", outcome="damaged") from None
