"""One instance that a peer sends: written as it arrives, checked, synced, and named once it is complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from cinemill.dicom.part10 import read_meta, text_of
from cinemill.dicom.recode import encode_element
from cinemill.errors import DamagedFile, NodeError, NoRoom, OutputExists, SourceError
from cinemill.network import commands
from cinemill.network.duplicates import same_data_set
from cinemill.network.identity import Identity, identify, is_uid
from cinemill.network.pdu import IMPLEMENTATION
from cinemill.pixel_format import Buffer
from cinemill.storage.atomic import drop, is_no_room, output_error, publish
from cinemill.storage.disk_space import begin_writing
from cinemill.storage.private import flush
from cinemill.syntaxes import TRANSFER_SYNTAXES

Duplicates: TypeAlias = Literal["keep", "replace", "both"]
What: TypeAlias = Literal["stored", "duplicate", "refused"]

Same: TypeAlias = "Callable[[Path, Path], bool]"

_STEP = 16 << 20
"""Bytes after which room is looked for, and the disk begins to write."""

_ATTEMPTS = 3
"""At a name that others may give and take away meanwhile."""


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
        That of its presentation context; empty where whole files come, which say all of this themselves.
    sender, receiver
        Titles of application entities.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    sender: str = ""
    receiver: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
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


class Home(Protocol):
    """Where instances get their names."""

    @property
    def rules(self) -> Rules:
        """By what instances are taken."""

    def open(self, claim: Claim) -> tuple[Path, FileIO]:
        """Return a new file for an instance, on the file system that it stays on."""

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
        NodeError
            It is not what was asked for.
        OutputExists
            Another instance has the name.
        OutputError
            The file system refused.
        """


class Incoming:
    """An instance that is being sent: written as it comes, refused at its end where something was wrong.

    Parameters
    ----------
    home
        That it goes to.
    claim
        What was said of it.
    """

    def __init__(self, home: Home, claim: Claim) -> None:
        self._home, self._claim, self._rules = home, claim, home.rules
        self._refusal: tuple[int, str] | None = None
        self._temporary = Path()
        self._opened: FileIO | None = None
        self._file = -1
        self._head = self._size = self._begun = 0
        self._looked = -_STEP
        if claim.transfer_syntax and not is_uid(claim.sop_instance):
            self.refuse(commands.INVALID_INSTANCE, "the SOP Instance UID is no UID")
            return
        self._guarded(self._open)

    def write(self, piece: Buffer) -> None:
        """Append bytes of the data set; where the disk is full or the instance refused, nothing is written."""
        self._size += len(piece)
        if self._size > self._rules.most:
            self.refuse(commands.OUT_OF_RESOURCES, f"more than {self._rules.most} bytes, see --max-instance")
        if self._refusal is None:
            self._guarded(lambda: self._append(piece))

    @property
    def endless(self) -> bool:
        """Whether the peer sends twice what it may: there is no point in waiting for the end."""
        return self._size > 2 * self._rules.most

    def finish(self) -> Taken:
        """Look at what came, and have it on the disk under its name; or say why not."""
        done: Taken | None = None
        try:
            if self._refusal is None:
                done = self._guarded(self._settle)
        finally:
            self.discard()
        if done is not None:
            return done
        assert self._refusal is not None
        status, message = self._refusal
        return Taken("refused", status, self._claim, self._size, message=message)

    def discard(self) -> None:
        """Leave nothing of it but what has its name."""
        if self._opened is not None:
            try:
                drop(self._temporary, self._opened)
            finally:
                self._opened.close()
                self._opened = None

    def refuse(self, status: int, message: str) -> None:
        """Note why it is not taken; the first reason counts."""
        if self._refusal is None:
            self._refusal = status, message

    def _guarded(self, act: Callable[[], Taken | None]) -> Taken | None:
        """Do something, and turn what the system says into a refusal."""
        try:
            return act()
        except OSError as error:
            full = is_no_room(error) or isinstance(error, NoRoom)
            status = commands.OUT_OF_RESOURCES if full else commands.PROCESSING_FAILURE
            self.refuse(status, "no room on the disk" if full else output_error(Path(), error).message)
        return None

    def _open(self) -> None:
        self._temporary, self._opened = self._home.open(self._claim)
        self._file = self._opened.fileno()
        if not self._claim.transfer_syntax:
            return
        head = file_head(self._claim)
        self._head = len(head)
        self._append(head)

    def _append(self, piece: Buffer) -> None:
        at = self._size + self._head
        if at - self._looked >= _STEP:
            disk = os.fstatvfs(self._file)
            if disk.f_bavail * disk.f_frsize < self._rules.reserve:
                raise OSError(errno.ENOSPC, "the reserve of the disk is reached")
            if self._looked > 0:
                begin_writing(self._file, self._begun, self._looked)
                self._begun = self._looked
            self._looked = at
        written = os.write(self._file, piece)
        while written < len(piece):
            written += os.write(self._file, memoryview(piece)[written:])

    def _settle(self) -> Taken | None:
        identity = self._checked()
        if identity is None:
            return None
        assert self._opened is not None
        flush(self._opened)
        try:
            what, path = self._home.place(self._temporary, self._claim, identity)
        except OutputExists:
            self.refuse(
                commands.DUPLICATE_INSTANCE, "another instance of this UID is there, see --duplicates"
            )
            return None
        except NodeError as error:
            self.refuse(commands.MISMATCH, error.message)
            return None
        return Taken(what, commands.SUCCESS, self._claim, self._size, path)

    def _checked(self) -> Identity | None:
        try:
            if not self._claim.transfer_syntax:
                self._claim = replace(self._claim, transfer_syntax=_declared(self._temporary))
            found = identify(self._temporary, self._claim.transfer_syntax, most=self._rules.most)
        except SourceError as error:
            self.refuse(commands.NOT_UNDERSTOOD, error.message)
            return None
        if not self._claim.sop_instance:
            self._claim = replace(self._claim, sop_class=found.sop_class, sop_instance=found.sop_instance)
        if found.sop_class != self._claim.sop_class:
            self.refuse(commands.MISMATCH, "the data set is of another SOP class than the command")
        elif found.sop_instance != self._claim.sop_instance:
            self.refuse(commands.MISMATCH, "the data set is another SOP instance than the command")
        elif not is_uid(found.sop_instance):
            self.refuse(commands.INVALID_INSTANCE, "the SOP Instance UID is no UID")
        elif not all(is_uid(uid) for uid in (found.study, found.series) if uid):
            self.refuse(commands.NOT_UNDERSTOOD, "the Study or Series Instance UID is no UID")
        return None if self._refusal else found


def settle(
    temporary: Path, path: Path, duplicates: Duplicates, others: Sequence[tuple[Path, Same]] = ()
) -> What:
    """Give a file its name, unless the same instance has it.

    Parameters
    ----------
    temporary
        The file, synced.
    path
        Its name.
    duplicates
        Whether another instance is replaced.
    others
        Files that an instance may stand in as well, and what tells whether it does.

    Raises
    ------
    OutputExists
        Another instance has the name, and is not to be replaced.
    OutputError
        The file system refused.
    """
    for attempt in range(_ATTEMPTS):
        for there, same in ((path, same_data_set), *others):
            if there.exists():
                if same(temporary, there):
                    return "duplicate"
                if there.exists() and duplicates != "replace":  # else something was made of it: the next
                    raise OutputExists("another instance of this UID is there", path=there)
        try:
            publish(temporary, path, overwrite=duplicates == "replace")
        except OutputExists:  # it came twice at once, and something may be made of the other already
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return "stored"


def _declared(path: Path) -> str:
    """Return the transfer syntax that a file says it has."""
    file, meta = read_meta(path)
    uid = next((text_of(file, element) for element in meta if element.tag == 0x00020010), "")
    if uid not in TRANSFER_SYNTAXES:
        raise DamagedFile(f"the transfer syntax {uid or 'that is not named'} is not known")
    return uid


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
