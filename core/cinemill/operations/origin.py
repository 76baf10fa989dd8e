"""What an output was made from: remembered in the output itself, so that a later run knows whether that still holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from cinemill.dicom.part10 import read_meta, text_of
from cinemill.dicom.rewrite import (
    IMPLEMENTATION_CLASS_UID,
    PRIVATE_CREATOR,
    PRIVATE_CREATOR_UID,
    PRIVATE_INFORMATION,
)
from cinemill.errors import DamagedFile, OutputExists, SourceError
from cinemill.operations.clock import record
from cinemill.operations.receipt import Receipt
from cinemill.storage.digests import data_digest, file_digest
from cinemill.storage.file import label_of
from cinemill.storage.location import state
from cinemill.storage.mapped import Bytes, forget

if TYPE_CHECKING:
    from cinemill.dicom.rewrite import Changes
    from cinemill.dicom.source import Source
    from cinemill.dicom.writer import Written
    from cinemill.syntaxes import TransferSyntax

_ROOM = 2048
"""Bytes for what is remembered; source warnings beyond what that holds get more."""

_FOR_WARNINGS = 512
_FOR_A_BOX = 104
"""Bytes of a rectangle: as it was typed, as it is, as it was grown, and as decoders touch it."""

_NOT_REMEMBERED = frozenset(
    ("source", "output", "status", "error", "seconds", "outputs", "sop_instance_uid", "sop_class_uid")
)
_COVERS: Mapping[str, tuple[str, ...]] = {
    "full": ("full", "sample", "none"),
    "independent": ("independent", "none"),
    "sample": ("sample", "none"),
}
"""Levels of verification that each level is enough for."""


class Origin:
    """The source and the options that an output is made from.

    Parameters
    ----------
    source
        The open file.
    options
        Those that decide what the output is, as plain values; ``verify`` may be higher than it is asked for.

    Attributes
    ----------
    changes : dict
        What else the header of the output says differently: see `cinemill.dicom.rewrite.Changes`.
    told : dict
        What else its receipt says.
    boxes : int
        How many rectangles are blackened, which its receipt names.
    """

    def __init__(self, source: Source, options: Mapping[str, Any]) -> None:
        self.source = source
        self.options = dict(options)
        self.changes: Changes = {}
        self.told: dict[str, Any] = {}
        self.boxes = 0

    @cached_property
    def digest(self) -> str:
        """XXH3-128 of the source's bytes."""
        return data_digest(self.source.file)

    @property
    def room(self) -> int:
        """Bytes that the output needs for what it remembers."""
        size = _ROOM + _FOR_A_BOX * self.boxes
        if self.source.warnings:
            size += max(0, len(json.dumps(self.source.warnings)) - _FOR_WARNINGS)
        return size + size % 2

    def check(self) -> None:
        """Check that the source is still what was read.

        Raises
        ------
        DamagedFile
            It was written to, or replaced, meanwhile.
        """
        before, now = self.source.state, state(self.source.path)
        if before is not None and now is not None and before != now:
            raise DamagedFile(
                f"the file changed while it was read: {before.size} bytes before, {now.size} now; run again",
                path=self.source.path,
            )

    def remembered(self, receipt: Receipt) -> Callable[[Written], bytes]:
        """Return what makes the text to be remembered, once it is known how the output was written.

        Raises
        ------
        DamagedFile
            The source changed while it was read.
        """
        self.check()
        return lambda written: self._encoded(receipt, written)

    def _encoded(self, receipt: Receipt, written: Written) -> bytes:
        """Return the text, with as many of the warnings as there is room for."""
        for count in range(len(receipt.warnings), -1, -1):
            more = len(receipt.warnings) - count
            left_out = (f"{more} more warnings were not kept with the output",) if more else ()
            told = {"bytes_after": written.size, "warnings": receipt.warnings[:count] + left_out}
            text = _sealed(
                {
                    "source": {**self._state(), "digest": self.digest},
                    "options": self.options,
                    "output": written._asdict(),
                    "receipt": _brief(receipt, told),
                }
            )
            if len(text) <= self.room:
                return text
        return b""

    def label(self, told: Mapping[str, Any]) -> bytes:
        """Return what is attached to a copy of the source that a trial decided on; nothing in it could say so."""
        return _sealed({"source": self._state(), "options": self.options, "told": dict(told)})

    def believes(self, label: bytes) -> Mapping[str, Any] | None:
        """Return what was told with a label of this source in this state and these options; else None."""
        content = _unsealed(label)
        if content is None or content.get("source") != self._state():
            return None
        try:
            told: Mapping[str, Any] = content["told"]
            return told if self.asks_no_more_than(content["options"]) else None
        except (LookupError, TypeError, AttributeError):
            return None

    def _state(self) -> dict[str, Any]:
        there = self.source.state
        return {"size": len(self.source.file), "modified": None if there is None else there.modified}

    def is_same(self, remembered: Mapping[str, Any]) -> bool:
        """Whether the source is what it was: by size and time, or by its bytes where only the time differs."""
        now = self._state()
        if now["size"] != remembered["size"]:
            return False
        same_time = now["modified"] is not None and now["modified"] == remembered["modified"]
        return same_time or bool(self.digest == remembered["digest"])

    def asks_no_more_than(self, options: Mapping[str, Any]) -> bool:
        """Whether an output made with these options is what is asked for now."""
        level = self.options.get("verify")
        covered = options.get("verify") == level or level in _COVERS.get(options.get("verify", ""), ())
        return covered and {**options, "verify": level} == {**self.options, "verify": level}


class _Output(NamedTuple):
    """What the outside of a file that stands in an output's place tells.

    Attributes
    ----------
    memory
        What it remembers, None if it does not, or not legibly.
    place
        Where it does; empty where that is outside of its bytes.
    """

    file: Bytes
    sop_instance_uid: str
    transfer_syntax: str
    ours: bool
    memory: Mapping[str, Any] | None
    place: range


def finished(
    origin: Origin,
    output: Path,
    targets: Sequence[TransferSyntax],
    *,
    sop_instance_uid: str = "",
    recheck: bool,
) -> Receipt | str | None:
    """Judge an output that is there: its receipt, why it has to be made anew, or None where it is not ours.

    Parameters
    ----------
    origin
        What it should have been made from.
    output
        The file.
    targets
        The transfer syntaxes that it may have.
    sop_instance_uid
        Its own, where that is not the source's.
    recheck
        Read and digest all of it, even if nobody changed it as far as its size and time tell.
    """
    source = origin.source
    there = look_at(output)
    uid = sop_instance_uid or uid_of(source)
    target = next((row for row in targets if there is not None and row.uid == there.transfer_syntax), None)
    if there is None or target is None or not there.ours or there.sop_instance_uid != uid:
        return None
    try:
        found = _judge(origin, output, there, target, recheck=recheck)
    except (LookupError, TypeError, ValueError, AttributeError):  # what is remembered has another form
        found = None
    return found or ("does not say what it was made from" if uid else None)


def _judge(
    origin: Origin, output: Path, there: _Output, target: TransferSyntax, *, recheck: bool
) -> Receipt | str | None:
    memory = there.memory
    if memory is None:
        return None
    if not origin.is_same(memory["source"]):
        return "was made from another state of the source"
    if not origin.asks_no_more_than(memory["options"]):
        return "was made with other options"
    if not _is_whole(there, output, memory["output"], recheck=recheck):
        return "is damaged"
    names = {each.name for each in fields(Receipt)}
    known = {name: value for name, value in memory["receipt"].items() if name in names}
    known["warnings"] = tuple(known.get("warnings", ()))
    return record(origin.source, output, "kept", target, **known)


def foreign(output: Path) -> OutputExists:
    """Return the error for what stands in an output's place and is not of this source."""
    return OutputExists(
        "exists already and is not this source's finished output; use --overwrite to replace it", path=output
    )


def in_another_syntax(output: Path) -> OutputExists:
    """Return the error for what is of this source, and not in the one transfer syntax that was asked for."""
    return OutputExists(
        "exists already, made from this source in another transfer syntax; use --overwrite to replace it",
        path=output,
    )


def again(found: str) -> str:
    """Return the warning that an output was made anew, given what `finished` says of the one that stood there."""
    return f"the output that stood there {found}; it was made anew"


def made_of(origin: Origin, output: Path) -> bool:
    """Whether an output was made of this instance, in any transfer syntax and by any options."""
    there, uid = look_at(output), uid_of(origin.source)
    return there is not None and there.memory is not None and bool(uid) and there.sop_instance_uid == uid


def uid_of(source: Source) -> str:
    """Return the SOP Instance UID that an output of this source has in its File Meta Information."""
    return source.text(0x00080018) or source.meta_text(0x00020003)


def receipt_in(source: Source) -> Mapping[str, Any]:
    """Return the receipt that an open file remembers of its making, empty where it remembers none.

    Raises
    ------
    DamagedFile
        It remembers something that was not written so.
    """
    told = {element.tag: element for element in source.meta}
    if source.meta_text(PRIVATE_CREATOR) != PRIVATE_CREATOR_UID or PRIVATE_INFORMATION not in told:
        return {}
    element = told[PRIVATE_INFORMATION]
    memory = _unsealed(bytes(source.file[element.value : element.end]))
    receipt = None if memory is None else memory.get("receipt")
    if not isinstance(receipt, dict):
        raise DamagedFile(
            "what the file remembers of its making, (0002,0102), is damaged; nothing can be proved by it"
        )
    return receipt


def look_at(output: Path) -> _Output | None:
    """Read the outside of a file, None where it is no Part 10 file."""
    try:
        file, meta = read_meta(output)
    except SourceError:
        return None
    told = {element.tag: element for element in meta}

    def text(tag: int) -> str:
        return text_of(file, told[tag]) if tag in told else ""

    memory, place = None, range(0)
    if text(PRIVATE_CREATOR) == PRIVATE_CREATOR_UID and PRIVATE_INFORMATION in told:
        element = told[PRIVATE_INFORMATION]
        place = range(element.value, element.end)
        memory = _unsealed(bytes(file[element.value : element.end]))
    elif text(PRIVATE_CREATOR):
        memory = _attached(output)
    ours = text(0x00020012) == IMPLEMENTATION_CLASS_UID
    return _Output(file, text(0x00020003), text(0x00020010), ours, memory, place)


def _attached(output: Path) -> Mapping[str, Any] | None:
    """Return what an output remembers outside of its bytes, since another's Private Information stands in them."""
    memory = _unsealed(label_of(output))
    return memory if memory is not None and "receipt" in memory else None


def _is_whole(there: _Output, output: Path, written: Mapping[str, Any], *, recheck: bool) -> bool:
    """Whether a file is what was written: by size and time, or by its bytes where they are to be read."""
    now = state(output)
    if len(there.file) != written["size"] or now is None:
        return False
    if not recheck and now.modified == written["modified"]:
        return True

    def read(start: int, length: int) -> bytes:
        forget(there.file)
        return bytes(there.file[start : start + length])

    return bool(file_digest(read, written["size"], written["body"], there.place) == written["digest"])


def _brief(receipt: Receipt, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a receipt with some changes is neither empty, nor a path, nor in the instance anyway."""
    told = ((name, changes.get(name, getattr(receipt, name)), empty) for name, empty in _remembered_fields())
    return {name: value for name, value, empty in told if value not in (empty, {})}


@cache
def _remembered_fields() -> list[tuple[str, Any]]:
    """Return which fields of a receipt are remembered, each with what it is where there is nothing to say."""
    return [
        (each.name, None if each.default is MISSING else each.default)
        for each in fields(Receipt)
        if each.name not in _NOT_REMEMBERED
    ]


def _sealed(content: Mapping[str, Any]) -> bytes:
    """Encode content with its own digest at the end."""
    text = _dumped(content)
    return text[:-1] + b',"seal":"%s"}' % xxhash.xxh3_64_hexdigest(text).encode()


def _unsealed(text: bytes) -> Mapping[str, Any] | None:
    """Undo `_sealed`; None where the text is not what was written."""
    try:
        content = json.loads(text)
        seal = content.pop("seal")
        whole = seal == xxhash.xxh3_64_hexdigest(_dumped(content))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return content if whole else None


def _dumped(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
