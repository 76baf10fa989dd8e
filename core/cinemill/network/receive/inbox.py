"""The directory that received instances are written to: named by their UIDs, and synced before they are acknowledged."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Self

from cinemill.errors import OutputError, OutputExists, UsageError
from cinemill.locks import occupy
from cinemill.network.identity import Identity
from cinemill.network.incoming import Claim, Incoming, Rules, Same, What, settle
from cinemill.network.receive.outbox import Outbox
from cinemill.storage.atomic import make_folder, output_error, sync
from cinemill.storage.tree import OURS

_REMEMBERED = 4_000
_TRIES = 4
"""At a name in a directory that is removed whenever nothing waits in it."""

_NO_STUDY, _NO_SERIES = "no-study", "no-series"


class Inbox:
    """A directory that instances are received into, by study and series: locked, so that no other receiver clears it.

    Parameters
    ----------
    root
        The directory, made where there is none.
    rules
        By what instances are taken.
    made_of
        Where instances wait in a hidden directory below it, for somebody to make of them what belongs into the directory:
        tells whether a file there was made of one that has just come.
    outbox
        Whether instances are noted there, to be forwarded.

    Attributes
    ----------
    root, folder
        The directory, and that into which instances go.
    outbox
        What is to be forwarded, None where nothing is.

    Raises
    ------
    UsageError
        Another receiver has it.
    OutputError
        It can't be written.
    """

    def __init__(
        self, root: Path, rules: Rules, *, made_of: Same | None = None, outbox: bool = False
    ) -> None:
        self.root, self.rules, self._made_of = root.absolute(), rules, made_of
        self.folder = self.root if made_of is None else self.root / OURS / "received"
        self._incoming = self.root / OURS / "receiving"
        self._numbers = itertools.count()
        self._making = threading.Lock()
        self._places: OrderedDict[str, str] = OrderedDict()
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            self._lock = (self._incoming / "lock").open("wb")
        except OSError as error:
            raise output_error(self.root, error) from None
        if not occupy(self._lock):
            self._lock.close()
            raise UsageError("another receiver writes here; choose another directory", path=root)
        self.outbox = Outbox(self.root, self.folder) if outbox else None
        for left in self._incoming.glob("*.part"):
            left.unlink(missing_ok=True)

    def begin(self, claim: Claim) -> Incoming:
        """Return the file for an instance that is going to be sent."""
        if self._made_of is not None:  # what is made of an instance does not depend on who sent it
            claim = replace(claim, sender="", receiver="")
        return Incoming(self, claim)

    def open(self, claim: Claim) -> tuple[Path, FileIO]:  # noqa: ARG002
        """Return a new file for an instance."""
        temporary = self._incoming / f"{next(self._numbers)}.part"
        return temporary, temporary.open("xb", buffering=0)

    def find(self, sop_instance: str) -> Path | None:
        """Return where an instance is that was received lately, None where that is not known."""
        with self._making:
            found = self._places.get(sop_instance)
        return None if found is None else Path(found)

    def place(self, temporary: Path, claim: Claim, identity: Identity) -> tuple[What, Path]:
        """Give a synced file its name for good: see `cinemill.network.incoming.Home`.

        Parameters
        ----------
        temporary
            The file, synced.
        claim, identity
            What its sender said that it is, and what its data set says.
        """
        number = tries = 1
        while True:
            folder = make_folder(
                self.folder / (identity.study or _NO_STUDY) / (identity.series or _NO_SERIES)
            )
            path = folder / f"{claim.sop_instance}{f'.{number}' if number > 1 else ''}.dcm"
            made = self.root / path.relative_to(self.folder)
            others = () if self._made_of is None else ((made, self._made_of),)
            try:
                if self.outbox is not None:
                    self.outbox.note(path.relative_to(self.folder))
                what = settle(temporary, path, self.rules.duplicates, others)
            except OutputExists:
                if self.rules.duplicates == "keep":
                    raise
                number += 1
            except OutputError:
                if tries == _TRIES:
                    raise
                tries += 1  # nothing waited in the directory any more, so it was removed
            else:
                break
        if what == "duplicate":
            return what, path
        try:
            sync(folder)
        except OutputError:
            if path.exists():
                raise  # else something was made of it already, and is on the disk
        with self._making:
            self._places[claim.sop_instance] = str(path)
            while len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
        return what, path

    def close(self) -> None:
        """Let others have the directory."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
