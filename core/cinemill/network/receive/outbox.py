"""Notes of instances still to be forwarded: written before they are acknowledged, removed once another node has them; a kill loses none."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cinemill.errors import CinemillError
from cinemill.storage.atomic import make_folder, output_error, sync
from cinemill.storage.tree import OURS

_BETWEEN = "+"
"""Stands in a note's name for what separates directories; no UID has it."""


class Outbox:
    """Notes of one receiver: empty files in a hidden directory, named by where their instances are.

    Parameters
    ----------
    root
        Where instances, or what was made of them, are to be found.
    folder
        Where instances wait for something to be made of them; the same directory where nothing is.

    Raises
    ------
    OutputError
        Notes can't be written.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._notes = make_folder(root / OURS / "forwarding")
        self._lock = threading.Lock()
        for path in list(self._noted()):
            if not self._root.joinpath(path).exists() and not self._folder.joinpath(path).exists():
                self._note(path).unlink(missing_ok=True)  # it was never acknowledged

    def note(self, path: Path) -> None:
        """Note an instance, which may not be there yet, by its path below the root; the note is on the disk afterwards.

        Raises
        ------
        OutputError
            The file system refused.
        """
        note = self._note(path)
        with self._lock:
            try:
                note.touch()
                moment = time.time_ns()  # the file system's own clock tells the times of a tick not apart
                os.utime(note, ns=(moment, moment))
            except OSError as error:
                raise output_error(note, error) from None
        sync(self._notes)

    def ready(self) -> Iterator[tuple[Path, int]]:
        """Yield instances that may be forwarded, and when each was noted last."""
        for path in self._noted():
            found = self._root / path
            if found.exists() and (self._root == self._folder or not (self._folder / path).exists()):
                with suppress(FileNotFoundError):
                    yield found, self._note(path).stat().st_mtime_ns

    def left(self) -> list[Path]:
        """Return where all are that are still to be forwarded, those included of which nothing was made."""
        places = ((self._root / path, self._folder / path) for path in self._noted())
        found = (next((each for each in pair if each.exists()), None) for pair in places)
        return [each for each in found if each is not None]

    def cross_out(self, path: Path, noted: int) -> None:
        """Forget an instance that another node has, unless it was noted anew meanwhile."""
        note = self._note(path.relative_to(self._root))
        with self._lock, suppress(CinemillError, FileNotFoundError):
            if note.stat().st_mtime_ns == noted:
                note.unlink()

    def _note(self, path: Path) -> Path:
        return self._notes / _BETWEEN.join(path.parts)

    def _noted(self) -> Iterator[Path]:
        for note in sorted(self._notes.iterdir()):
            yield Path(*note.name.split(_BETWEEN))
