"""Multipart bodies of DICOMweb, read and written by pieces: no more is in memory than a piece, whatever a part's size (RFC 2046)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from cinemill.errors import NodeError
from cinemill.network.instances import Instance
from cinemill.storage.regular import open_regular

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
    """Reads a multipart body part by part.

    Parameters
    ----------
    pieces
        Of the body, as they come.
    boundary
        Between parts.
    """

    def __init__(self, pieces: Iterator[bytes], boundary: str) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._held = b"\r\n"
        self._at_end = False

    def __iter__(self) -> Iterator[tuple[Mapping[str, str], Iterator[memoryview]]]:
        """Yield the fields and the bytes of each part; what is not read of it is passed over.

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
            found = self._held.find(self._delimiter)
            if found >= 0:
                if found:
                    yield memoryview(self._held)[:found]
                self._held = self._held[found + len(self._delimiter) :]
                return
            if len(self._held) > keep:
                yield memoryview(self._held)[: len(self._held) - keep]
                self._held = self._held[-keep:]
            self._more()

    def _begins(self) -> bool:
        """Whether another part begins behind the delimiter that was passed."""
        while len(self._held) < 2:
            self._more()
        return self._held[:2] != b"--"

    def _fields(self) -> dict[str, str]:
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _LARGEST_HEAD:
                raise NodeError(f"a part's head has more than {_LARGEST_HEAD} bytes", outcome="nonsense")
            self._more()
        lines = self._held[:end].decode("latin-1").split("\r\n")
        self._held = self._held[end + 4 :]
        pairs = (line.partition(":") for line in lines if ":" in line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _more(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise NodeError("the answer ended before the last delimiter of its parts", outcome="truncated")
        self._held += piece


def body_of(instances: Sequence[Instance], boundary: str) -> Iterator[bytes]:
    """Yield the body that holds the files of instances, each as it is, by pieces.

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


def _file(instance: Instance) -> Iterator[bytes]:
    try:
        with os.fdopen(open_regular(instance.path), "rb", buffering=0) as file:
            left = instance.end
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise NodeError(
                        f"{instance.end} bytes were expected, {left} are not there", outcome="damaged"
                    )
                left -= len(piece)
                yield piece
    except OSError as error:
        raise NodeError(f"can't be read: {error.strerror}", outcome="damaged") from None
