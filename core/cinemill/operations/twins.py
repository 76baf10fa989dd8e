"""Finds SOP Instance UIDs that more than one instance of a run has; each should identify one instance (PS3.5 §9)."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import xxhash

from cinemill.errors import printable

if TYPE_CHECKING:
    from types import TracebackType

    from cinemill.operations.receipt import Receipt

_IN_MEMORY = 4 << 20
_SHOWN = 10


class Twins:
    """Takes the receipts of a run; those of an instance whose UID was there before get a warning with both paths.

    Memory: about 100 bytes an instance; the paths wait in a temporary file.
    """

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile

        self._paths = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._end = 0
        self._first: dict[int, int] = {}
        self._lines: list[str] = []
        self._count = 0

    @property
    def found(self) -> list[str]:
        """What there is to say of them, the first few by name."""
        more = self._count - len(self._lines)
        return [*self._lines, *([f"… and {more} more; --report names all"] if more else [])]

    def noted(self, receipt: Receipt) -> Receipt:
        """Return a receipt, with a warning where another instance has the same UID."""
        uid = receipt.sop_instance_uid
        if not uid:
            return receipt
        other = self._other(uid, receipt.source)
        if not other or other == receipt.source:
            return receipt
        warning = f"SOP Instance UID {printable(uid)} is that of {printable(other)} too"
        self._count += 1
        if len(self._lines) < _SHOWN:
            self._lines.append(f"note: {printable(receipt.source)}: {warning}")
        return replace(receipt, warnings=(*receipt.warnings, warning))

    def _other(self, uid: str, source: str) -> str:
        """Return the source that this UID was met in first, empty if it is this one; remember it."""
        key = xxhash.xxh3_64_intdigest(uid.encode())
        with suppress(OSError):  # no room to remember them
            if key in self._first:
                self._paths.seek(self._first[key])
                there, path = json.loads(self._paths.readline())
                return str(path) if there == uid else ""
            row = json.dumps((uid, source)).encode() + b"\n"
            self._paths.seek(self._end)
            self._paths.write(row)
            self._first[key], self._end = self._end, self._end + len(row)
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._paths.close()
