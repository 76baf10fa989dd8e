"""Takes bytes, open files and pydicom data sets wherever a path is taken."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, cast

from cinemill.errors import CinemillError, UsageError
from cinemill.storage.location import located
from cinemill.storage.mapped import Bytes, map_pieces
from cinemill.storage.names import safe_stem
from cinemill.storage.spool import spooled

if TYPE_CHECKING:
    from pydicom import Dataset


class DataSet(Protocol):
    """A pydicom data set, which takes too long to import for a type."""

    def save_as(self, filename: Any, /) -> None:
        """Write it."""


Given: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | DataSet
"""A path; the bytes of a Part 10 file; a file that is open in binary mode, read from where it stands; or a data set."""

_NAME = "instance"
_PIECE = 1 << 20


def taken(given: Given) -> tuple[Path, Bytes | None]:
    """Return the path of what was given, and its bytes, None where they are the file's at that path.

    `bytes` are not copied; an open file is read into an unnamed temporary one, so that its size does not matter.

    Raises
    ------
    UsageError
        It is none of the kinds that are understood.
    """
    if isinstance(given, str | os.PathLike):
        return located(given), None
    if isinstance(given, bytes):
        return Path(_NAME), given
    stream = _stream(given)
    if isinstance(stream, BytesIO) and stream is not given:
        return Path(_name(given)), stream.getvalue()
    try:
        return Path(_name(given)), map_pieces(iter(lambda: stream.read(_PIECE), b""))
    except OSError as error:
        raise UsageError(f"the open file can't be kept in TMPDIR: {error.strerror or error}") from None


@contextmanager
def on_disk(given: Given) -> Iterator[Path]:
    """Keep what was given in a file for the time of the context; a path is its own.

    Raises
    ------
    UsageError
        It is none of the kinds that are understood, or there is no room for it.
    """
    if isinstance(given, str | os.PathLike):
        yield located(given)
        return
    name = _name(given)
    with spooled(_stream(given), name) as spool:
        try:
            yield spool
        except CinemillError as error:
            if error.path == spool:
                error.path = Path(name)
            raise


def called(given: Given, path: Path) -> str:
    """Return what receipts call the source that `on_disk` keeps at a path: a spool's own is gone when they are read."""
    return str(path) if isinstance(given, str | os.PathLike) else path.name


def _stream(given: Given) -> BinaryIO:
    if isinstance(given, bytes | bytearray | memoryview):
        return BytesIO(given)
    if _is_dataset(given):
        return BytesIO(_encoded(cast("Dataset", given)))
    if isinstance(given, TextIOBase):
        raise UsageError("the file is open as text; open it in binary mode: open(path, 'rb')")
    if not hasattr(given, "read"):
        raise UsageError(
            f"expected a path, bytes, a file open in binary mode or a pydicom data set, found {type(given).__name__}"
        )
    return cast("BinaryIO", given)


def _name(given: Given) -> str:
    """Return what outputs and messages call it: an open file's name, a data set's UID."""
    name: object = getattr(given, "name", "")
    if _is_dataset(given):
        name = str(cast("Dataset", given).get("SOPInstanceUID", ""))
    return safe_stem(Path(name).name) if isinstance(name, str) and name else _NAME


def _is_dataset(given: object) -> bool:
    """Whether it is a data set; pydicom takes long to import, and without it there is none."""
    pydicom = sys.modules.get("pydicom")
    return pydicom is not None and isinstance(given, pydicom.Dataset)


def _encoded(dataset: Dataset) -> bytes:
    """Return a data set as a Part 10 file, as pydicom writes it."""
    from pydicom import dcmwrite

    if not getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""):
        raise UsageError(
            "the data set does not say how its pixels are coded; set file_meta.TransferSyntaxUID"
        )
    file = BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):
            dcmwrite(file, dataset, enforce_file_format=True)
    except Exception as error:  # noqa: BLE001  # pydicom has no family of errors
        raise UsageError(f"pydicom can't write the data set: {error}; mend it, or give a file") from None
    return file.getvalue()
