"""Names what is extracted from an instance: safe names, and a place of its own where two instances' names would clash."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_DICOM_SUFFIX = re.compile(r"\.(dcm|dicom|dic|ima)$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.-]")
_LONGEST_NAME = 180


def safe_name(name: str) -> str:
    """Return a file name in letters, digits and ``._-`` that starts with none of ``.-``, and leaves room for a suffix."""
    safe = _UNSAFE.sub("_", name).lstrip(".-")
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore") or "frame"


def safe_stem(name: str) -> str:
    """Return what output names begin with: the source's name without a DICOM suffix, made safe."""
    return safe_name(_DICOM_SUFFIX.sub("", name))


class Places:
    """Finds the directory for each instance's outputs, instances given in the order of their directories.

    That is the directory given; where outputs of two instances would have the same names, those of the second get a
    directory of its own name in it.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._taken: set[str] = set()

    def find(self, name: str, folder: Path) -> Path:
        """Return the directory for the outputs of a source of this name, which belong into this folder."""
        if folder != self._folder:
            self._folder, self._taken = folder, set()
        own, output, number = safe_stem(name), folder, 1
        while own.casefold() in self._taken:
            own = safe_name(name) + (f".{number}" if number > 1 else "")
            output, number = folder / own, number + 1
        self._taken.add(own.casefold())
        return output

    def recall(self, last: Path, folder: Path) -> None:
        """Take the names of the files in a source's directory up to this last one; their outputs belong into `folder`."""
        before: list[str] = []
        with suppress(OSError):
            before = sorted(path.name for path in last.parent.iterdir() if not path.is_dir())
        for name in (*(name for name in before if name < last.name), last.name):
            self.find(name, folder)
