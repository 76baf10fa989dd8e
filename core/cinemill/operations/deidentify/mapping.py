"""The mapping table: what replaced what, sealed record by record, appended to by many processes and never held in clear on a disk."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from cinemill.errors import UsageError, not_installed
from cinemill.storage.atomic import output_error, sync
from cinemill.storage.private import flush, open_locked

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

_MAGIC = b"cinemill-map-1 "
_HEAD = len(_MAGIC) + 17
_LENGTH = struct.Struct(">I")
_NONCE = 12
_MOST_KNOWN = 100_000
"""Entries that a process remembers to have written, so that a patient of many instances is not written with each."""


class Entry(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    kind
        ``patient-id``, ``name``, ``id``, ``uid`` or ``file``.
    original, pseudonym
        What was found, and what stands in its place; empty where nothing does.
    """

    kind: str
    original: str
    pseudonym: str


class MapFile:
    """A mapping table in a file of its own: see `opened`.

    Parameters
    ----------
    path
        The file.
    key
        It is encrypted by a key derived from this one (AES-256-GCM).
    """

    def __init__(self, path: Path, key: Key) -> None:
        self.path = path
        self._fingerprint = key.fingerprint.encode()
        self._cipher = _cipher(key.derived("mapping table"))
        self._end = _HEAD
        self._known: set[tuple[str, str]] = set()

    def prepare(self) -> None:
        """Begin the file where there is none, and check that it is of this key where there is one.

        Raises
        ------
        UsageError
            It is of another key, or no mapping table.
        OutputError
            It can't be written.
        """
        try:
            with self._opened() as file:
                self._check(file)
        except OSError as error:
            raise output_error(self.path, error) from None

    def add(self, entries: Mapping[tuple[str, str], str]) -> None:
        """Append entries, and return once they are on the disk.

        Parameters
        ----------
        entries
            Pseudonyms by kind and original.

        Raises
        ------
        OutputError
            They can't be written.
        """
        new = [(*each, pseudonym) for each, pseudonym in entries.items() if each not in self._known]
        if not new:
            return
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, zlib.compress(json.dumps(new).encode()), _MAGIC)
        try:
            with self._opened() as file:
                self._check(file)
                self._to_end(file)
                file.write(_LENGTH.pack(len(sealed)) + sealed)
                flush(file)
                self._end = file.tell()
        except OSError as error:
            raise output_error(self.path, error) from None
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.update(entries)

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, each once, in the order they were first written.

        Raises
        ------
        UsageError
            There is no such file, it is of another key, or somebody changed it.
        """
        from cryptography.exceptions import InvalidTag

        try:
            file = self.path.open("rb")
        except OSError as error:
            raise UsageError(f"the mapping can't be read: {error.strerror}", path=self.path) from None
        seen: set[tuple[str, str, str]] = set()
        with file:
            self._check(file)
            for start, length in _records(file, _HEAD):
                file.seek(start)
                sealed = file.read(length)
                try:
                    plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _MAGIC)
                    rows = [tuple(row) for row in json.loads(zlib.decompress(plain))]
                except (InvalidTag, ValueError, zlib.error):
                    raise UsageError(
                        f"the record at byte {start} of the mapping is damaged", path=self.path
                    ) from None
                for row in rows:
                    if row not in seen:
                        seen.add(row)
                        yield Entry(*row)

    def _opened(self) -> BinaryIO:
        """Open the file for appending, with a lock that ends with it; what is new gets its head."""
        file = open_locked(self.path)
        if os.fstat(file.fileno()).st_size == 0:
            file.write(_MAGIC + self._fingerprint + b"\n")
            flush(file)
            sync(self.path.absolute().parent)
        return file

    def _check(self, file: BinaryIO) -> None:
        file.seek(0)
        head = file.read(_HEAD)
        if not head.startswith(_MAGIC) or not head.endswith(b"\n"):
            raise UsageError("is no mapping table; name another file", path=self.path)
        if head[len(_MAGIC) : -1] != self._fingerprint:
            raise UsageError(
                f"the mapping was made with another key: expected one with the fingerprint "
                f"{head[len(_MAGIC) : -1].decode('ascii', 'replace')}, found {self._fingerprint.decode()}",
                path=self.path,
            )

    def _to_end(self, file: BinaryIO) -> None:
        """Go behind the last whole record; what a killed process left of another is written over."""
        for start, length in _records(file, self._end):
            self._end = start + length
        file.seek(self._end)
        file.truncate()


def _records(file: BinaryIO, start: int) -> Iterator[tuple[int, int]]:
    """Yield where each whole record begins, and its length."""
    size = os.fstat(file.fileno()).st_size
    while start + _LENGTH.size <= size:
        file.seek(start)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        begin = start + _LENGTH.size
        if begin + length > size:
            return
        yield begin, length
        start = begin + length


@lru_cache(maxsize=8)
def opened(path: Path, key: Key) -> MapFile:
    """Return the mapping table in a file, begun or checked: see `MapFile.prepare`."""
    table = MapFile(path, key)
    table.prepare()
    return table


def _cipher(secret: bytes) -> Any:
    if find_spec("cryptography") is None:
        raise UsageError(not_installed("--map", "the package cryptography", "deid"))
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)
