"""Makes the header of an output from that of its source: every element is judged, down into sequences, and changed or kept as bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from cinemill.dicom.elements import (
    EXPLICIT_LE,
    UNDEFINED,
    Element,
    Encoding,
    Ends,
    encoding_inside,
    item_content,
    item_encoding,
    items,
    walk,
)
from cinemill.dicom.recode import Recoder, encode_element, encode_item
from cinemill.dicom.rewrite import REWRITTEN_META, Changes
from cinemill.errors import DamagedFile
from cinemill.operations.deidentify.actions import CONTENT_TEXT, Action, action_for, is_classic
from cinemill.operations.deidentify.attributes import columns
from cinemill.operations.deidentify.content import CONTENT_SEQUENCE, is_reference, removed_content
from cinemill.operations.deidentify.identity import (
    ID_TAGS,
    NAME,
    PATIENT_ID,
    Identity,
    dictionary_vr,
    told_vr,
)
from cinemill.operations.deidentify.private import block_of, is_creator, is_safe
from cinemill.operations.deidentify.profile import SAFE_PRIVATE
from cinemill.operations.deidentify.values import decoded, dummy, replaced_uids, shifted
from cinemill.operations.deidentify.words import clean
from cinemill.storage.mapped import pieces

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.deidentify.keys import Key
    from cinemill.operations.deidentify.profile import Profile

_SOP_CLASS, _SOP_INSTANCE, _META_INSTANCE = 0x00080016, 0x00080018, 0x00020003
_MODALITY = 0x00080060
_PIXEL_REPRESENTATION = 0x00280103
_TEXT = frozenset((b"LO", b"SH", b"ST", b"LT", b"UT", b"UC", b"UR"))
_OF_PLANES = 0x0015, 0x0051, 0x0100, 0x0102, 0x3000
"""What transcoding says of an overlay that lay in unused bits of the pixels."""

_OF_TERMS = frozenset((0x0008, 0x0028))
"""Groups whose values of CS are terms of the standard."""

_CODES = frozenset((0x00080100, 0x00080102, 0x00080103, 0x00080104))
"""Code Value, Coding Scheme Designator and Version, and Code Meaning: kinds of things, by their words."""


class _Kept(Enum):
    """Says that an element stays as it is."""

    KEPT = "kept"


KEPT = _Kept.KEPT
_New: TypeAlias = "bytes | Literal[_Kept.KEPT] | None"
"""An element in Explicit VR Little Endian, None where it is left out, or that it is kept."""


class _Where(NamedTuple):
    """In what kind of data set an element stands.

    Attributes
    ----------
    top
        Whether in none of a sequence.
    cleaning
        Whether texts are cleaned, as deep as they stand.
    replacing
        Whether in a sequence that is replaced as a whole: its texts are dummies.
    """

    top: bool = False
    cleaning: bool = False
    replacing: bool = False


_TOP = _Where(top=True)


class Deidentified(NamedTuple):
    """The header of an output.

    Attributes
    ----------
    changes
        What is different in it: see `cinemill.dicom.rewrite.Changes`.
    sop_instance_uid
        Of the output.
    counts
        How many elements were removed, emptied, replaced and so on, by what was done.
    entries
        What replaces what, by kind and original: for the mapping table alone.
    words
        Of the patient's own names and numbers, by which somebody is told.
    """

    changes: Changes
    sop_instance_uid: str
    counts: Counter[str]
    entries: dict[tuple[str, str], str]
    words: frozenset[str]


def deidentified(source: Source, profile: Profile, key: Key) -> Deidentified:
    """Judge the header of an instance.

    Parameters
    ----------
    source
        The open file.
    profile
        The options.
    key
        Makes pseudonyms, UIDs and shifts.

    Raises
    ------
    CinemillError
        A kept element can't be read.
    """
    return _Judge(source, profile, key).header()


class _Judge:
    """Judges the elements of one instance."""

    def __init__(self, source: Source, profile: Profile, key: Key) -> None:
        self._source, self._data = source, source.data
        self._profile, self._key = profile, key
        self._identity = Identity.of(source, key)
        self._signed = source.short(_PIXEL_REPRESENTATION, 0) == 1
        self._classic = is_classic(source.text(_SOP_CLASS), source.text(_MODALITY))
        self._ends: Ends = {}
        self._counts: Counter[str] = Counter()
        self._entries: dict[tuple[str, str], str] = {}

    def header(self) -> Deidentified:
        """Return what the output's header says differently."""
        source = self._source
        judged = self._level(source.elements, source.encoding, _TOP)
        changes: Changes = {element.tag: new for element, new in judged if new is not KEPT}
        for tag in tuple(changes):
            if tag >> 24 == 0x60:
                changes |= dict.fromkeys(tag & 0xFFFF0000 | each for each in _OF_PLANES)
        changes |= {element.tag: None for element in source.meta if element.tag not in REWRITTEN_META}
        uid = self._instance_uid()
        changes[_META_INSTANCE] = encode_element(_META_INSTANCE, b"UI", uid.encode()) if uid else None
        return Deidentified(changes, uid, self._counts, self._entries, self._identity.patient)

    def _instance_uid(self) -> str:
        source = self._source
        told = source.text(_SOP_INSTANCE) or source.meta_text(_META_INSTANCE)
        if (
            not told
            or action_for(_SOP_INSTANCE, "UI", self._profile, classic=True, cleaning=False) is Action.KEEP
        ):
            return told
        return replaced_uids(told.encode("latin-1"), self._key, self._note_uid).decode("latin-1")

    def _level(
        self, elements: Sequence[Element], encoding: Encoding, where: _Where
    ) -> Iterator[tuple[Element, _New]]:
        """Judge the elements of the data set, or of an item."""
        creators, safe = self._private_blocks(elements)
        for element in elements:
            tag = element.tag
            if not tag & 0xFFFF:
                yield element, KEPT if where.top else None
            elif tag >> 16 & 1:
                yield element, self._private(element, encoding, creators, safe)
            else:
                yield element, self._standard(element, encoding, where)

    def _private_blocks(self, elements: Sequence[Element]) -> tuple[dict[int, str], set[int]]:
        """Return the creators of private blocks, and the blocks with an element that is safe to retain."""
        if SAFE_PRIVATE not in self._profile:
            return {}, set()
        creators = {
            block_of(element.tag): self._raw(element).decode("latin-1").strip(" \0")
            for element in elements
            if is_creator(element.tag) and element.length != UNDEFINED
        }
        safe = {
            block_of(element.tag)
            for element in elements
            if element.tag >> 16 & 1
            and not is_creator(element.tag)
            and is_safe(element.tag, creators.get(block_of(element.tag), ""))
        }
        return creators, safe

    def _private(
        self, element: Element, encoding: Encoding, creators: dict[int, str], safe: set[int]
    ) -> _New:
        tag = element.tag
        block = block_of(tag)
        if block in safe and (is_creator(tag) or is_safe(tag, creators[block])):
            sequence = element.vr == b"SQ" or element.length == UNDEFINED
            if sequence and element.vr not in {b"OB", b"OW"}:
                return self._sequence(element, b"SQ", encoding, _Where())
            return self._unless_echo(element, (element.vr or b"UN").decode("latin-1"))
        self._counts["private"] += 1
        return None

    def _standard(self, element: Element, encoding: Encoding, where: _Where) -> _New:
        tag = element.tag
        known = dictionary_vr(tag)
        told = told_vr(element)
        if known is None and (told is None or not columns(tag, told, self._profile).basic):
            self._counts["unknown"] += 1
            return None
        if known is not None and told is not None and (told == "SQ") != (known == "SQ"):
            self._counts["unknown"] += 1
            return None
        vr = known or told or "UN"
        classic = where.top and self._classic
        action = action_for(tag, vr, self._profile, classic=classic, cleaning=where.cleaning)
        if where.replacing and action is Action.KEEP and vr.encode() in _TEXT:
            action = Action.DUMMY
        if tag in ID_TAGS or vr == "PN":
            self._note_identity(element, vr)
        if vr == "SQ":
            return self._of_sequence(element, encoding, action, where)
        return self._of_value(element, vr, action)

    def _of_sequence(self, element: Element, encoding: Encoding, action: Action, where: _Where) -> _New:
        if action is Action.REMOVE:
            return self._done("removed", None)
        if action is Action.EMPTY:
            return self._done("emptied", encode_element(element.tag, b"SQ", b""))
        cleaning = where.cleaning or action is Action.CLEAN
        below = _Where(cleaning=cleaning, replacing=action is Action.DUMMY and not cleaning)
        only_references = element.tag == CONTENT_SEQUENCE and not cleaning
        return self._sequence(element, b"SQ", encoding, below, only_references=only_references)

    def _of_value(self, element: Element, vr: str, action: Action) -> _New:
        if action is Action.KEEP:
            return self._unless_echo(element, vr)
        if action is Action.REMOVE:
            return self._done("removed", None)
        if element.length != UNDEFINED and self._is_blank(element):
            return KEPT
        if action is Action.UID or vr == "UI":
            return self._of_uids(element, vr)
        what, new = self._replaced(element, vr.encode(), action)
        return self._done(what, None if new is None else encode_element(element.tag, vr.encode(), new))

    def _is_blank(self, element: Element) -> bool:
        return not any(bytes(each).strip(b" \0") for each in pieces(self._data, element.value, element.end))

    def _of_uids(self, element: Element, vr: str) -> _New:
        if vr != "UI":  # somebody wrote a UID as text
            return self._done("replaced", encode_element(element.tag, vr.encode(), dummy(vr.encode())))
        value = self._raw(element)
        new = replaced_uids(value, self._key, self._note_uid)
        if new.rstrip(b"\0") == value.rstrip(b"\0"):
            return KEPT
        return self._done("uids", encode_element(element.tag, b"UI", new))

    def _replaced(self, element: Element, vr: bytes, action: Action) -> tuple[str, bytes | None]:
        """Return what was done to a value, and what stands in its place: None where it is left out."""
        tag = element.tag
        pseudonym = self._identity.pseudonym_of(tag)
        if pseudonym:
            return "pseudonyms", pseudonym.encode()
        basic = columns(tag, vr.decode(), self._profile).basic
        if action is Action.SHIFT:
            moved = shifted(self._raw(element), vr, self._identity.days)
            if moved is not None:
                return "dates", moved
            return ("removed", None) if basic.startswith("X") else ("replaced", dummy(vr))
        if action is Action.CLEAN:
            text = clean(decoded(self._raw(element), self._identity.charsets), self._identity.words)
            least = dummy(vr) if "D" in basic or tag in CONTENT_TEXT else b""
            return "cleaned", text.strip(" \\").encode("ascii", "ignore") or least
        return ("emptied", b"") if action is Action.EMPTY else ("replaced", dummy(vr))

    def _unless_echo(self, element: Element, vr: str) -> _New:
        """Keep an element, unless it is a text that repeats the patient's name or number."""
        labels = vr in {"CS", "AE"} and element.tag >> 16 not in _OF_TERMS
        if vr.encode() not in _TEXT and vr != "UN" and not labels:
            return KEPT
        text = decoded(self._raw(element, 65536), self._identity.charsets)
        if self._identity.echoes(text, several=element.tag in _CODES):
            return self._done("echoes", encode_element(element.tag, vr.encode(), dummy(vr.encode())))
        return KEPT

    def _sequence(
        self,
        element: Element,
        vr: bytes,
        encoding: Encoding,
        where: _Where,
        *,
        only_references: bool = False,
    ) -> _New:
        """Judge the items of a sequence; one that can't be read is left out.

        Parameters
        ----------
        element, vr
            The sequence.
        encoding
            Of the data set that it stands in.
        where
            How its items are judged.
        only_references
            Whether only those content items are left that refer to other instances.
        """
        parts, changed, behind = [], False, element.value
        try:
            for item in items(self._data, element, encoding, self._ends):
                start, end = item_content(item)
                behind = item.end
                inner = item_encoding(self._data, item, end, encoding_inside(element.vr, encoding))
                elements = list(walk(self._data, start, end, inner, ends=self._ends))
                if only_references and not is_reference(self._data, elements):
                    changed = True
                    continue
                content, different = self._item(elements, inner, where)
                changed |= different
                parts.append(encode_item(content, undefined=item.length == UNDEFINED))
        except DamagedFile:
            self._counts["unknown"] += 1
            return None
        if not changed and (element.length == UNDEFINED or behind == element.end):
            return KEPT
        if only_references and not parts:
            parts = [removed_content()]
        return self._done("", encode_element(element.tag, vr, b"".join(parts)))

    def _item(self, elements: list[Element], encoding: Encoding, where: _Where) -> tuple[bytes, bool]:
        """Return the content of an item in Explicit VR Little Endian, and whether anything is different."""
        judged = list(self._level(elements, encoding, where))
        recoder = Recoder(self._data, encoding, EXPLICIT_LE, signed=self._signed)
        same = {
            element.start: encoded
            for element, encoded in recoder.encode(element for element, new in judged if new is KEPT)
        }
        parts = [same.get(element.start, b"") if new is KEPT else new or b"" for element, new in judged]
        return b"".join(parts), any(new is not KEPT for _, new in judged)

    def _done(self, what: str, new: bytes | None) -> bytes | None:
        if what:
            self._counts[what] += 1
        return new

    def _note_uid(self, uid: str, new: str) -> None:
        self._entries["uid", uid] = new

    def _note_identity(self, element: Element, vr: str) -> None:
        if element.length == UNDEFINED:
            return
        kind = PATIENT_ID if element.tag == 0x00100020 else NAME if vr == "PN" else "id"
        for text in decoded(self._raw(element), self._identity.charsets).split("\\"):
            if len(text.strip()) > 2:
                self._entries[kind, text.strip()] = self._identity.pseudonym_of(element.tag)

    def _raw(self, element: Element, most: int | None = None) -> bytes:
        end = element.end if most is None else min(element.end, element.value + most)
        return bytes(self._data[element.value : end])
