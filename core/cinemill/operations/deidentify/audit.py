"""Searches outputs for what should be gone: originals of the run, what the profile forbids, names and dates in any text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cinemill.dicom.elements import (
    UNDEFINED,
    Element,
    Encoding,
    Ends,
    encoding_inside,
    item_content,
    item_encoding,
    items,
    tag_name,
    walk,
)
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, DamagedFile
from cinemill.operations.deidentify.actions import Action, action_for, is_classic
from cinemill.operations.deidentify.identity import dictionary_vr, told_vr
from cinemill.operations.deidentify.mapping import Entry
from cinemill.operations.deidentify.marks import methods_of
from cinemill.operations.deidentify.pixels import printable
from cinemill.operations.deidentify.profile import CODES, SAFE_PRIVATE, UIDS, Profile
from cinemill.operations.deidentify.values import decoded, dummy, is_registered
from cinemill.operations.deidentify.words import is_placeholder, tells, vocabulary

_REMOVED, _CHARSET, _SOP_CLASS, _MODALITY = 0x00120062, 0x00080005, 0x00080016, 0x00080060
_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "PN", "CS", "AE", "UR"))
_FREE = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "PN"))
_WITH_NUMBERS = frozenset((0x00181020, 0x00120063, 0x00080103, 0x00080106, 0x00181000))
"""Versions and serial numbers, in which eight digits need be no date."""

_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)|(?<!\d)\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d(?!\d)"
)
_NUMBERS = re.compile(r"\b\d+\b")
"""In codes, such as the values of Image Type, they are nobody's."""
_WORD = re.compile(r"[^\W_]+")
_NOBODY = re.compile("(?:[A-Z2-7]{16}|REMOVED)?")
"""What stands in place of a name: a pseudonym, a dummy or nothing."""

_HEAD = 1 << 16
"""Bytes of a value that are searched."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should be gone, without its value.

    Attributes
    ----------
    file
        The output.
    where
        The element, down through sequences, or ``file name``, ``codestream``, ``file``.
    what
        ``original``, ``name``, ``date``, ``uid``, ``private``, ``element``, ``unmarked``, ``unreadable`` or ``text``.
    """

    file: str
    where: str
    what: str


Look = Callable[[Source], Iterable[str]]
"""Reads the pixels of an open file, and names what it finds: text that is burned in."""


class Originals:
    """The originals of a run, by their words, so that a text is looked up and not searched for each of them.

    Parameters
    ----------
    entries
        Of the mapping table.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._uids: set[str] = set()
        self._several: dict[str, list[frozenset[str]]] = {}
        self._single: set[str] = set()
        known = vocabulary()
        for entry in entries:
            if entry.kind == "uid":
                if tells(entry.original):
                    self._uids.add(entry.original)
            elif entry.kind != "file":
                self._add(_words(entry.original), known, named=entry.kind == "name")

    def _add(self, words: list[str], known: frozenset[str], *, named: bool) -> None:
        long = [word for word in words if tells(word) and word not in known]
        if named:
            self._single.update(word for word in long if not word.isdigit())
        if len(words) == 1:
            self._single.update(long)
        elif not all(map(is_placeholder, words)):
            self._several.setdefault(min(words), []).append(frozenset(words))

    def is_uid(self, uid: str) -> bool:
        """Whether a UID was replaced in the run."""
        return uid in self._uids

    def stands_in(self, text: str) -> bool:
        """Whether the name or number of somebody stands in a text."""
        words = set(_words(text))
        return not words.isdisjoint(self._single) or any(
            each <= words for word in words for each in self._several.get(word, ())
        )


def audit(path: Path, originals: Originals, look: Look | None = None) -> list[Finding]:
    """Search one output.

    Parameters
    ----------
    path
        The file.
    originals
        Of the run, as far as they are known.
    look
        Reads what is burned into the pixels.
    """
    found = [("file name", "original")] if originals.stands_in(path.stem) else []
    try:
        with Source(path) as source:
            found += _Audit(source, originals).findings()
            if look is not None and source.pixel_data is not None:
                found += [("pixels", what) for what in look(source)]
    except (CinemillError, RecursionError):
        found.append(("file", "unreadable"))
    return [Finding(str(path), where, what) for where, what in dict.fromkeys(found)]


class _Audit:
    """The audit of one open file."""

    def __init__(self, source: Source, originals: Originals) -> None:
        self._source, self._originals = source, originals
        self._profile = _profile_of(source)
        self._classic = is_classic(source.text(_SOP_CLASS), source.text(_MODALITY))
        self._charsets = tuple(source.text(_CHARSET).split("\\"))
        self._ends: Ends = {}

    def findings(self) -> Iterator[tuple[str, str]]:
        """Yield where something stands, and what it is."""
        source = self._source
        if source.text(_REMOVED) != "YES":
            yield tag_name(_REMOVED), "unmarked"
        for element in source.meta:
            if element.tag not in _META:
                yield tag_name(element.tag), "element"
            elif element.tag == 0x00020003:
                uid, replaced = source.meta_text(element.tag), UIDS not in self._profile
                if self._is_foreign(uid, replaced=replaced):
                    yield tag_name(element.tag), "uid"
        yield from self._level(source.elements, source.encoding, "", top=True)
        if source.pixel_data is not None and not source.native and source.transfer_syntax.coding != "video":
            for frame in {0, len(source) - 1}:
                if any(map(self._originals.stands_in, printable(source, frame))):
                    yield f"codestream of frame {frame}", "original"

    def _level(
        self, elements: Sequence[Element], encoding: Encoding, above: str, *, top: bool
    ) -> Iterator[tuple[str, str]]:
        for element in elements:
            where = above + tag_name(element.tag)
            vr = dictionary_vr(element.tag) or told_vr(element) or "UN"
            if element.tag >> 16 & 1:
                if SAFE_PRIVATE not in self._profile:
                    yield where, "private"
            elif element.tag & 0xFFFF:
                yield from self._element(element, vr, where, top=top)
            if vr == "SQ":
                yield from self._sequence(element, encoding, where)

    def _sequence(self, element: Element, encoding: Encoding, where: str) -> Iterator[tuple[str, str]]:
        data = self._source.data
        try:
            for item in items(data, element, encoding, self._ends):
                start, end = item_content(item)
                inner = item_encoding(data, item, end, encoding_inside(element.vr, encoding))
                elements = list(walk(data, start, end, inner, ends=self._ends))
                yield from self._level(elements, inner, where + " ", top=False)
        except DamagedFile:
            yield where, "unreadable"

    def _element(self, element: Element, vr: str, where: str, *, top: bool) -> Iterator[tuple[str, str]]:
        if element.length == UNDEFINED or element.end == element.value:
            return
        tag = element.tag
        action = action_for(tag, vr, self._profile, classic=top and self._classic, cleaning=False)
        if action is Action.REMOVE:
            yield where, "element"
            return
        value = bytes(self._source.data[element.value : min(element.end, element.value + _HEAD)])
        if vr == "UI":
            uids = value.decode("latin-1").split("\\")
            if any(self._is_foreign(uid.strip(" \0"), replaced=action is Action.UID) for uid in uids):
                yield where, "uid"
        blank = value.strip(b" \0") in {b"", dummy(vr.encode())}
        if vr in {"DA", "DT"} and action in {Action.DUMMY, Action.EMPTY} and not blank:
            yield where, "date"
        if vr in _TEXT:
            yield from self._text(tag, vr, decoded(value, self._charsets), where)

    def _text(self, tag: int, vr: str, text: str, where: str) -> Iterator[tuple[str, str]]:
        if self._originals.stands_in(_NUMBERS.sub("", text) if vr == "CS" else text):
            yield where, "original"
        elif vr == "PN" and not _NOBODY.fullmatch(text.strip("^= ")):
            yield where, "name"
        elif vr in _FREE and tag not in _WITH_NUMBERS and _DATE.search(text):
            yield where, "date"

    def _is_foreign(self, uid: str, *, replaced: bool = True) -> bool:
        """Whether a UID is none of ours, or one that was replaced elsewhere."""
        ours = not uid or uid.startswith("2.25.") or is_registered(uid)
        return self._originals.is_uid(uid) or (replaced and not ours)


_META = frozenset(range(0x00020000, 0x00020004)) | {
    0x00020010,
    0x00020012,
    0x00020013,
    0x00020100,
    0x00020102,
}


def _profile_of(source: Source) -> Profile:
    """Return the profile that an output says it was made by."""
    applied = frozenset(methods_of(source))
    return Profile(frozenset(name for name, (value, _) in CODES.items() if value in applied))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text) if len(word) > 1]
