"""Where received instances become files: whole, on the disk, and named by their UIDs, before anybody is told that they are."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias

from cinemill.dicom.recode import encode_element
from cinemill.errors import CinemillError, NoRoom, OutputError, OutputExists, SourceError, UsageError
from cinemill.network import commands
from cinemill.network.pdu import IMPLEMENTATION
from cinemill.network.receive.duplicates import same_data_set
from cinemill.network.receive.identity import Identity, identify, is_uid
from cinemill.pixel_format import Buffer
from cinemill.storage.atomic import is_no_room, output_error, publish, sync
from cinemill.storage.disk_space import begin_writing
from cinemill.storage.tree import OURS
from cinemill.syntaxes import TRANSFER_SYNTAXES

Duplicates: TypeAlias = Literal["keep", "replace", "both"]
What: TypeAlias = Literal["stored", "duplicate", "refused"]

_STEP = 16 << 20
"""Bytes after which room is looked for, and the disk begins to write."""

_REMEMBERED = 4_000
_NO_STUDY, _NO_SERIES = "no-study", "no-series"


@dataclass(frozen=True, slots=True)
class Rules:
    """By what instances are taken.

    Attributes
    ----------
    duplicates
        What becomes of a different instance of the same UIDs: ``keep`` the first and refuse it, ``replace`` the first, or
        keep ``both``. The same one once more is a success, and nothing is written.
    reserve
        Bytes of the disk that stay free.
    most
        Bytes that an instance may have.
    """

    duplicates: Duplicates = "keep"
    reserve: int = 256 << 20
    most: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Claim:
    """What a C-STORE-RQ says of the data set that follows.

    Attributes
    ----------
    sop_class, sop_instance
        UIDs of the command.
    transfer_syntax
        That of its presentation context.
    sender, receiver
        Titles of application entities.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    sender: str = ""
    receiver: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an instance.

    Attributes
    ----------
    status
        As it is answered.
    size
        Bytes of the data set.
    path
        Where it is now; None where it was refused.
    message
        Why.
    """

    what: What
    status: int
    claim: Claim
    size: int
    path: Path | None = None
    message: str = ""


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

    Attributes
    ----------
    root, folder
        The directory, and that into which instances go.

    Raises
    ------
    UsageError
        Another receiver has it.
    OutputError
        It can't be written.
    """

    def __init__(
        self, root: Path, rules: Rules, *, made_of: Callable[[Path, Path], bool] | None = None
    ) -> None:
        self.root, self.rules, self._made_of = root.absolute(), rules, made_of
        self.folder = self.root if made_of is None else self.root / OURS / "received"
        self._incoming = self.root / OURS / "receiving"
        self._numbers = itertools.count()
        self._making = threading.Lock()
        self._places: OrderedDict[str, Path] = OrderedDict()
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            self._lock = (self._incoming / "lock").open("wb")
        except OSError as error:
            raise output_error(self.root, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UsageError("another receiver writes here; choose another directory", path=root) from None
        except OSError:
            pass  # a file system without locks
        for left in self._incoming.glob("*.part"):
            left.unlink(missing_ok=True)

    def begin(self, claim: Claim) -> Incoming:
        """Return the file for an instance that is going to be sent."""
        if self._made_of is not None:  # what is made of an instance does not depend on who sent it
            claim = replace(claim, sender="", receiver="")
        return Incoming(self, claim, self._incoming / f"{next(self._numbers)}.part")

    def find(self, sop_instance: str) -> Path | None:
        """Return where an instance is that was received lately, None where that is not known."""
        with self._making:
            return self._places.get(sop_instance)

    def place(self, temporary: Path, claim: Claim, identity: Identity) -> tuple[What, Path]:
        """Give a synced file its name for good, by the rule for duplicates.

        Parameters
        ----------
        temporary
            The file.
        claim, identity
            What was said of it, and what it holds.

        Raises
        ------
        OutputExists
            Another instance has the name.
        OutputError
            The file system refused.
        """
        number = 1
        while True:
            folder = self._folder(identity)
            path = folder / f"{claim.sop_instance}{f'.{number}' if number > 1 else ''}.dcm"
            try:
                if self._stands(temporary, path):
                    return "duplicate", path
                publish(temporary, path, overwrite=self.rules.duplicates == "replace")
            except OutputExists:
                if self.rules.duplicates == "keep":
                    raise
                number += 1
            except OutputError:
                if folder.exists():
                    raise
                continue  # nothing waited in the directory any more, so it was removed
            else:
                break
        sync(folder)
        with self._making:
            self._places[claim.sop_instance] = path
            while len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
        return "stored", path

    def _stands(self, temporary: Path, path: Path) -> bool:
        """Whether the same instance is there already, under this name.

        Raises
        ------
        OutputExists
            Another one is, which is not to be replaced.
        """
        places: list[tuple[Path, Callable[[Path, Path], bool]]] = [(path, same_data_set)]
        if self._made_of is not None:
            places.append((self.root / path.relative_to(self.folder), self._made_of))
        for there, same in places:
            if there.exists():
                if same(temporary, there):
                    return True
                if self.rules.duplicates != "replace":
                    raise OutputExists("another instance of this UID is there", path=there)
        return False

    def _folder(self, identity: Identity) -> Path:
        """Return the directory of a series, which is on the disk when it is returned."""
        study = identity.study or _NO_STUDY
        series = identity.series or _NO_SERIES
        with self._making:  # nobody believes a directory that another thread made and did not sync
            for folder in (self.folder / study, self.folder / study / series):
                try:
                    folder.mkdir()
                except FileExistsError:
                    continue
                except OSError as error:
                    raise output_error(folder, error) from None
                sync(folder.parent)
        return self.folder / study / series

    def close(self) -> None:
        """Let others have the directory."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Incoming:
    """An instance that is being sent: written as it comes, refused at its end where something was wrong.

    Parameters
    ----------
    inbox
        That it goes into.
    claim
        What was said of it.
    temporary
        Its file until it has its name.
    """

    def __init__(self, inbox: Inbox, claim: Claim, temporary: Path) -> None:
        self._inbox, self._claim, self._temporary = inbox, claim, temporary
        self._refusal: tuple[int, str] | None = None
        self._file = -1
        self._head = self._size = self._begun = 0
        self._looked = -_STEP
        if not is_uid(claim.sop_instance):
            self.refuse(commands.INVALID_INSTANCE, "the SOP Instance UID is no UID")
            return
        self._guarded(self._open)

    def write(self, piece: Buffer) -> None:
        """Append bytes of the data set; where the disk is full or the instance refused, nothing is written."""
        self._size += len(piece)
        if self._size > self._inbox.rules.most:
            self.refuse(
                commands.OUT_OF_RESOURCES, f"more than {self._inbox.rules.most} bytes, see --max-instance"
            )
        if self._refusal is None:
            self._guarded(lambda: self._append(piece))

    @property
    def endless(self) -> bool:
        """Whether the peer sends twice what it may: there is no point in waiting for the end."""
        return self._size > 2 * self._inbox.rules.most

    def finish(self) -> Outcome:
        """Look at what came, and have it on the disk under its name; or say why not."""
        done: Outcome | None = None
        try:
            if self._refusal is None:
                done = self._guarded(self._settle)
        finally:
            self.discard()
        if done is not None:
            return done
        assert self._refusal is not None
        status, message = self._refusal
        return Outcome("refused", status, self._claim, self._size, message=message)

    def discard(self) -> None:
        """Leave nothing of it but what has its name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._temporary.unlink(missing_ok=True)

    def refuse(self, status: int, message: str) -> None:
        """Note why it is not taken; the first reason counts."""
        if self._refusal is None:
            self._refusal = status, message

    def _guarded(self, act: Callable[[], Outcome | None]) -> Outcome | None:
        """Do something, and turn what the system says into a refusal."""
        try:
            return act()
        except OSError as error:
            full = is_no_room(error) or isinstance(error, NoRoom)
            status = commands.OUT_OF_RESOURCES if full else commands.PROCESSING_FAILURE
            told = error.message if isinstance(error, CinemillError) else error.strerror
            self.refuse(status, "no room on the disk" if full else f"can't be written: {told}")
        return None

    def _open(self) -> None:
        self._file = os.open(
            self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        head = file_head(self._claim)
        self._head = len(head)
        self._append(head)

    def _append(self, piece: Buffer) -> None:
        at = self._size + self._head
        if at - self._looked >= _STEP:
            disk = os.fstatvfs(self._file)
            if disk.f_bavail * disk.f_frsize < self._inbox.rules.reserve:
                raise OSError(errno.ENOSPC, "the reserve of the disk is reached")
            if self._looked > 0:
                begin_writing(self._file, self._begun, self._looked)
                self._begun = self._looked
            self._looked = at
        written = os.write(self._file, piece)
        while written < len(piece):
            written += os.write(self._file, memoryview(piece)[written:])

    def _settle(self) -> Outcome | None:
        identity = self._checked()
        if identity is None:
            return None
        os.fsync(self._file)
        try:
            what, path = self._inbox.place(self._temporary, self._claim, identity)
        except OutputExists:
            self.refuse(
                commands.DUPLICATE_INSTANCE, "another instance of this UID is there, see --duplicates"
            )
            return None
        return Outcome(what, commands.SUCCESS, self._claim, self._size, path)

    def _checked(self) -> Identity | None:
        deflated = TRANSFER_SYNTAXES[self._claim.transfer_syntax].deflated
        try:
            found = identify(self._temporary, deflated=deflated, most=self._inbox.rules.most)
        except SourceError as error:
            self.refuse(commands.NOT_UNDERSTOOD, error.message)
            return None
        if found.sop_class != self._claim.sop_class:
            self.refuse(commands.MISMATCH, "the data set is of another SOP class than the command")
        elif found.sop_instance != self._claim.sop_instance:
            self.refuse(commands.MISMATCH, "the data set is another SOP instance than the command")
        elif not all(is_uid(uid) for uid in (found.study, found.series) if uid):
            self.refuse(commands.NOT_UNDERSTOOD, "the Study or Series Instance UID is no UID")
        return None if self._refusal else found


def file_head(claim: Claim) -> bytes:
    """Return preamble, prefix and File Meta Information for a data set (PS3.10 §7.1)."""
    texts = {
        (0x00020002, b"UI"): claim.sop_class,
        (0x00020003, b"UI"): claim.sop_instance,
        (0x00020010, b"UI"): claim.transfer_syntax,
        (0x00020012, b"UI"): IMPLEMENTATION[0],
        (0x00020013, b"SH"): IMPLEMENTATION[1],
        (0x00020016, b"AE"): claim.sender,
        (0x00020018, b"AE"): claim.receiver,
    }
    group = encode_element(0x00020001, b"OB", b"\0\1") + b"".join(
        encode_element(tag, vr, text.encode("ascii", "replace")) for (tag, vr), text in texts.items() if text
    )
    return bytes(128) + b"DICM" + encode_element(0x00020000, b"UL", len(group).to_bytes(4, "little")) + group
