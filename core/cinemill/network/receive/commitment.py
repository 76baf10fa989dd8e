"""Storage commitment as its SCP (PS3.4 Annex J): which of the instances asked for are here, complete and synced."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, Element, Encoding, item_content, items, walk
from cinemill.dicom.part10 import text_of
from cinemill.dicom.recode import encode_element, encode_item
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, DamagedFile
from cinemill.network import commands
from cinemill.network.classes import COMMITMENT, COMMITMENT_INSTANCE, IMPLICIT
from cinemill.network.commands import Field
from cinemill.network.identity import is_uid
from cinemill.network.receive.inbox import Inbox
from cinemill.storage.tree import OURS

_TRANSACTION, _REFERENCES, _FAILED = 0x00081195, 0x00081199, 0x00081198
_CLASS, _INSTANCE, _REASON = 0x00081150, 0x00081155, 0x00081197
_ALL, _NOT_ALL = 1, 2


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance that is asked for."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its transaction, and the instances."""

    transaction: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What is answered.

    Attributes
    ----------
    transaction
        UID of the request.
    kept
        Instances that are here.
    failed
        Those that are not, with the reason for each (PS3.3 C.14.1.1).
    """

    transaction: str
    kept: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]

    @property
    def event(self) -> int:
        """Type of the event that is reported."""
        return _NOT_ALL if self.failed else _ALL

    def command(self, message: int = 1) -> dict[str, Any]:
        """Return the N-EVENT-REPORT-RQ."""
        return {
            "AffectedSOPClassUID": COMMITMENT,
            "CommandField": Field.EVENT_RQ,
            "MessageID": message,
            "AffectedSOPInstanceUID": COMMITMENT_INSTANCE,
            "EventTypeID": self.event,
        }

    def data_set(self, transfer_syntax: str) -> bytes:
        """Return what is reported."""
        encoding = _encoding(transfer_syntax)
        parts = [encode_element(_TRANSACTION, b"UI", self.transaction.encode(), encoding)]
        failed = [_item(reference, encoding, reason) for reference, reason in self.failed]
        kept = [_item(reference, encoding) for reference in self.kept]
        for tag, encoded in ((_FAILED, failed), (_REFERENCES, kept)):
            if encoded:
                parts.append(encode_element(tag, b"SQ", b"".join(encoded), encoding))
        return b"".join(parts)


def parse(asked: bytes, transfer_syntax: str) -> Asked:
    """Read what is asked for.

    Parameters
    ----------
    asked
        Data set of an N-ACTION.
    transfer_syntax
        In which it is encoded.

    Raises
    ------
    DamagedFile
        It is no such data set.
    """
    encoding = _encoding(transfer_syntax)
    transaction = ""
    references: tuple[Reference, ...] = ()
    try:
        for element in walk(asked, 0, len(asked), encoding):
            if element.tag == _TRANSACTION:
                transaction = text_of(asked, element)
            elif element.tag == _REFERENCES:
                references = tuple(_references(asked, element, encoding))
    except RecursionError:
        raise DamagedFile("sequences are nested too deeply") from None
    if not is_uid(transaction) or not references:
        raise DamagedFile("a request for commitment has no transaction, or asks for nothing")
    return Asked(transaction, references)


def promised(asked: Asked, inbox: Inbox) -> Promise:
    """Look for instances, and read whether they are what is asked for.

    Parameters
    ----------
    asked
        The request.
    inbox
        Where they should be.
    """
    places = _located(inbox, {reference.sop_instance for reference in asked.references})
    kept: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for reference in asked.references:
        reason = _reason(places.get(reference.sop_instance), reference)
        if reason:
            failed.append((reference, reason))
        else:
            kept.append(reference)
    return Promise(asked.transaction, tuple(kept), tuple(failed))


def _references(data: bytes, sequence: Element, encoding: Encoding) -> Iterator[Reference]:
    for item in items(data, sequence, encoding):
        start, end = item_content(item)
        parts = walk(data, start, end, encoding)
        told = {each.tag: text_of(data, each) for each in parts if each.tag in {_CLASS, _INSTANCE}}
        uids = told.get(_CLASS, ""), told.get(_INSTANCE, "")
        if not all(map(is_uid, uids)):
            raise DamagedFile("a request for commitment asks for what has no UID")
        yield Reference(*uids)


def _located(inbox: Inbox, wanted: Iterable[str]) -> dict[str, Path]:
    """Return where instances are: what was received lately is known, for others the directory is walked once."""
    places: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for uid in wanted:
        path = inbox.find(uid)
        if path is not None and path.exists():
            places[uid] = path
        else:
            missing[f"{uid}.dcm"] = uid
    for folder, names in _folders(inbox) if missing else ():
        for name in names:
            if name in missing:
                places[missing.pop(name)] = folder / name
        if not missing:
            break
    return places


def _folders(inbox: Inbox) -> Iterator[tuple[Path, list[str]]]:
    """Yield all directories that may hold instances, with the names in them: those that wait come first."""
    for root in dict.fromkeys((inbox.folder, inbox.root)):
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name != OURS]
            yield Path(folder), names


def _reason(path: Path | None, reference: Reference) -> int:
    """Return why an instance can't be promised, 0 where it can."""
    if path is None:
        return commands.NO_SUCH_INSTANCE
    try:
        with Source(path, scan=False) as source:
            found = source.text(0x00080016), source.text(0x00080018)
    except CinemillError:
        return commands.PROCESSING_FAILURE
    if found != (reference.sop_class, reference.sop_instance):
        return commands.CLASS_INSTANCE_CONFLICT
    return 0


def _item(reference: Reference, encoding: Encoding, reason: int = 0) -> bytes:
    content = encode_element(_CLASS, b"UI", reference.sop_class.encode(), encoding)
    content += encode_element(_INSTANCE, b"UI", reference.sop_instance.encode(), encoding)
    if reason:
        content += encode_element(_REASON, b"US", reason.to_bytes(2, "little"), encoding)
    return encode_item(content)


def _encoding(transfer_syntax: str) -> Encoding:
    return IMPLICIT_LE if transfer_syntax == IMPLICIT else EXPLICIT_LE
