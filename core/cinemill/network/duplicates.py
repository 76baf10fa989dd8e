"""Whether two files hold the same data set in the same transfer syntax, whatever File Meta Information is before it."""

from __future__ import annotations

from pathlib import Path

from cinemill.dicom.part10 import read_meta, text_of
from cinemill.errors import SourceError
from cinemill.storage.digests import same_bytes
from cinemill.storage.mapped import Bytes

_SAID = (0x00020002, 0x00020003, 0x00020010)


def same_data_set(first: Path, second: Path) -> bool:
    """Whether every byte of two data sets is the same, and so are their SOP class, instance and transfer syntax."""
    try:
        ours, said, start = _opened(first)
        theirs, told, there = _opened(second)
    except SourceError:
        return False
    return said == told and same_bytes(ours, theirs, start, there)


def _opened(path: Path) -> tuple[Bytes, tuple[str, ...], int]:
    """Return a file's bytes, what it says it holds, and where the data set begins."""
    file, meta = read_meta(path)
    said = {element.tag: text_of(file, element) for element in meta}
    return file, tuple(said.get(tag, "") for tag in _SAID), meta[-1].end if meta else 0
