"""Notes of instances still to be forwarded: written before they are acknowledged, removed once another node has them; a kill loses none."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cinemill.storage.atomic import make_folder, output_error, sync
from cinemill.storage.tree import OURS

_BETWEEN = "+"
"""Stands in a note's name for what separates directories; no UID has it."""


class Outbox:
    """Notes of one receiver: empty files in a hidden directory, named by where their instances are.

    Memory: about 500 bytes a note; the directory is listed at the start only.

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
        self._numbers = itertools.count()
        self._waiting: dict[Path, int] = {}
        for name in sorted(each.name for each in self._notes.iterdir()):
            path = Path(*name.split(_BETWEEN))
            if not (root / path).exists() and not (folder / path).exists():
                self._note(path).unlink(missing_ok=True)  # it was never acknowledged
            else:
                self._waiting[root / path] = next(self._numbers)

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
            except OSError as error:
                raise output_error(note, error) from None
            self._waiting[self._root / path] = next(self._numbers)
        sync(self._notes)

    def ready(self, wanted: Callable[[Path, int], bool] = lambda _, __: True) -> Iterator[tuple[Path, int]]:
        """Yield instances that may be forwarded, and the number of their last note; only those are looked for that are wanted."""
        with self._lock:
            waiting = list(self._waiting.items())
        for path, number in waiting:
            if wanted(path, number) and path.exists() and not self._is_to_be_made(path):
                yield path, number

    def left(self) -> list[Path]:
        """Return where all are that are still to be forwarded, those included of which nothing was made."""
        with self._lock:
            places = [(path, self._source_of(path)) for path in sorted(self._waiting)]
        found = (next((each for each in pair if each.exists()), None) for pair in places)
        return [each for each in found if each is not None]

    def cross_out(self, path: Path, number: int) -> None:
        """Forget an instance that another node has, unless it was noted anew meanwhile."""
        with self._lock:
            if self._waiting.get(path) == number:
                self._note(path.relative_to(self._root)).unlink(missing_ok=True)
                del self._waiting[path]

    def _source_of(self, path: Path) -> Path:
        """Return where an instance waits for something to be made of it."""
        return self._folder / path.relative_to(self._root)

    def _is_to_be_made(self, path: Path) -> bool:
        return self._root != self._folder and self._source_of(path).exists()

    def _note(self, path: Path) -> Path:
        return self._notes / _BETWEEN.join(path.parts)
