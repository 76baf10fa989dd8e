"""The real files that tests read: the corpus, and the images that come with pydicom."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("CINEMILL_CORPUS") or REPOSITORY / "../shared/corpus")
"""A folder ``files`` of real files, and ``MANIFEST.csv``, which says what they are; it need not be there."""

CONFORMANCE = Path(os.environ.get("CINEMILL_CONFORMANCE") or REPOSITORY / "../shared/conformance")
"""A folder of public conformance codestreams, by standard; it need not be there."""


@cache
def conformance_streams(standard: str, suffix: str) -> list[Path]:
    """The codestreams of a standard, or nothing where their folder is not there."""
    return sorted((CONFORMANCE / standard).rglob(f"*{suffix}"))


@cache
def corpus_files() -> list[Path]:
    """The real files, or nothing where their folder is not there."""
    return sorted((CORPUS / "files").glob("*"))


@cache
def pydicom_files() -> list[Path]:
    """The images that come with pydicom."""
    import pydicom.data

    return sorted((Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm"))


def standing(path: Path) -> tuple[int, ...]:
    """What tells a file that nobody wrote since: not the time of the last access, which a reader changes."""
    state = path.lstat()
    return state.st_ino, state.st_size, state.st_mode, state.st_mtime_ns


def bundled(name: str) -> Path:
    """One of the images that come with pydicom."""
    from pydicom.data import get_testdata_file

    return Path(str(get_testdata_file(name)))
