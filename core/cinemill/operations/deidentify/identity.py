"""The identity of a patient in a header: what the pseudonym is derived from, and which words elsewhere would reveal it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cinemill.dicom.elements import (
    ITEM,
    LONG_VRS,
    SHORT_VRS,
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
from cinemill.errors import DamagedFile
from cinemill.operations.deidentify.values import decoded
from cinemill.operations.deidentify.words import is_nobody, tells, vocabulary, words_of
from cinemill.operations.receipt import SHARED_PSEUDONYM

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.dicom.values import Values
    from cinemill.operations.deidentify.keys import Key

NAME, PATIENT_ID = "name", "patient-id"
_PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, _STUDY = 0x00100010, 0x00100020, 0x00100030, 0x0020000D
_CHARSET = 0x00080005
OF_PATIENT = frozenset(
    (_PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, 0x00080050, 0x00101000, 0x00101001, 0x00101005, 0x00101060)
)
"""The patient's own names and numbers."""

ID_TAGS = frozenset(
    (0x00080050, _PATIENT_ID, _BIRTH_DATE, 0x00101000, 0x00101040, 0x00101090, 0x00102154, 0x00380010)
)
"""Numbers, addresses and the birth date, by which somebody could be found."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose instance it is.

    Attributes
    ----------
    pseudonym
        Of the patient.
    days
        By how many the patient's dates are moved back.
    charsets
        Specific Character Set.
    words
        Of all names and numbers in the header, in small letters.
    patient
        Of them those of the patient's own names and numbers by which somebody is told, without words of medicine.
    """

    pseudonym: str
    days: int
    charsets: tuple[str, ...]
    words: frozenset[str]
    patient: frozenset[str]

    @classmethod
    def of(cls, source: Source, key: Key) -> Identity:
        """Find out whose an instance is: by Patient ID, else by name and birth date, else by its study."""
        charsets = tuple(source.text(_CHARSET).split("\\"))
        texts: list[str] = []
        own: list[str] = []
        for tag, value in _named(source):
            text = decoded(value, charsets)
            texts.append(text)
            if tag in OF_PATIENT:
                own.append(text)
        patient = whose(source)
        return cls(
            key.patient(patient),
            key.days(patient),
            charsets,
            frozenset(words_of(texts)),
            frozenset(filter(tells, words_of(own))) - vocabulary(),
        )

    def pseudonym_of(self, tag: int) -> str:
        """Return what stands in Patient's Name and Patient ID; empty for others."""
        return self.pseudonym if tag in {_PATIENT_NAME, _PATIENT_ID} else ""

    def echoes(self, text: str, *, several: bool) -> bool:
        """Whether a text repeats words of the patient's own names and numbers.

        Parameters
        ----------
        text
            Any.
        several
            Take more than one word for a repetition only.
        """
        return len(words_of([text]) & self.patient) > several


def whose(source: Values) -> str:
    """Return by what a patient is told from others: Patient ID, else name and birth date, else the study."""
    name, birth = source.text(_PATIENT_NAME), source.text(_BIRTH_DATE)
    return source.text(_PATIENT_ID) or (f"{name}\n{birth}" if name else f"study {source.text(_STUDY)}")


def shared(source: Values) -> str:
    """Return a warning where what tells a patient from others stands for nobody: NONE, 0000; empty elsewhere."""
    if not is_nobody(whose(source)):
        return ""
    called = "Patient ID" if source.text(_PATIENT_ID) else "the name, where Patient ID should be,"
    return f"{called} is a placeholder, as NONE and 0000 are: {SHARED_PSEUDONYM}"


def dictionary_vr(tag: int) -> str | None:
    """Return the VR that the standard gives an attribute, the first of several; None where it has none."""
    from pydicom.datadict import dictionary_VR

    if tag >> 16 == ITEM >> 16:
        return None
    try:
        return dictionary_VR(tag).split(" ")[0]
    except KeyError:
        return None


def told_vr(element: Element) -> str | None:
    """Return the VR that an element has as encoded; None where it has none, or one that says nothing."""
    known = element.vr in SHORT_VRS or (element.vr in LONG_VRS and element.vr != b"UN")
    return element.vr.decode() if known and element.vr is not None else None


def _named(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield the names of persons, at any depth, and the numbers of the patient."""
    ends: Ends = {}

    def level(elements: Sequence[Element], encoding: Encoding) -> Iterator[tuple[int, bytes]]:
        for element in elements:
            tag = element.tag
            if tag >> 16 & 1:
                continue
            vr = dictionary_vr(tag) or told_vr(element)
            if vr == "SQ":
                yield from inside(element, encoding)
            elif (vr == "PN" or tag in ID_TAGS) and element.length != UNDEFINED:
                yield tag, bytes(source.data[element.value : element.end])

    def inside(sequence: Element, encoding: Encoding) -> Iterator[tuple[int, bytes]]:
        try:
            for item in items(source.data, sequence, encoding, ends):
                start, end = item_content(item)
                inner = item_encoding(source.data, item, end, encoding_inside(sequence.vr, encoding))
                yield from level(list(walk(source.data, start, end, inner, ends=ends)), inner)
        except DamagedFile:
            return

    yield from level(source.elements, source.encoding)
