"""Cleans text: only medical words that name nobody, and short numbers, are left (PS3.15 E.3.5)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_COMMON = 3
"""Concepts that a word must occur in: those of fewer hold the names of people that a sign or a syndrome is called after."""

_VIEW = re.compile(r"[a-z]?\d{1,2}[a-z]{0,2}", re.IGNORECASE)
"""4CH, A4C, 2D, T1, 12: views, modes and short numbers."""

_PLACEHOLDERS = """
    no not none null name names known given unknown unbekannt inconnu desconocido sconosciuto onbekend anon anonym anonymous
    anonyme anonymized anonymised anonymisiert deidentified noname notknown unnamed unidentified undefined unspecified
    unassigned missing empty enter text default dummy removed test tests testing demo patient phantom
    """
_NOBODY = frozenset(_PLACEHOLDERS.split())
"""What stands in place of names and numbers where nobody knows them, or there is nobody."""

_LEAST = 4
"""Letters of a word by which somebody is told."""

_ULTRASOUND_WORDS = """
    a2c a3c a4c a5c plax psax psla pssa lax sax alax ap4 ap3 ap2 apical parasternal subcostal suprasternal echo echocardiogram
    tte tee toe cine loop doppler cw pw cfm tdi tvi mmode bmode color colour flow lv rv la ra ivs lvot rvot ef ao mv av tv pv
    lvef gls strain stress rest peak exercise dobutamine baseline contrast bubble systole diastole es ed mitral aortic
    tricuspid pulmonary valve chamber two three four five long short axis view left right carotid thyroid liver kidney
    abdomen obstetric fetal routine study series exam examination protocol
    """


@cache
def vocabulary() -> frozenset[str]:
    """Return the words that concepts of DICOM, SNOMED and LOINC are named by, in small letters."""
    from pydicom.sr._concepts_dict import concepts

    found: Counter[str] = Counter()
    for keywords in concepts.values():
        for keyword in keywords:
            found.update({word.lower() for word in _CAMEL.findall(keyword)})
    common = {word for word, times in found.items() if times >= _COMMON and word.isalpha() and len(word) > 1}
    return frozenset(common).union(_ULTRASOUND_WORDS.split())


def clean(text: str, names: Collection[str]) -> str:
    """Return what may be left of a text.

    Parameters
    ----------
    text
        Any; values of several, and lines, stay apart.
    names
        Words, in small letters, that are names in this instance, whatever else they mean.
    """
    known = vocabulary()

    def kept(word: str) -> bool:
        small = word.lower()
        return small not in names and (small in known or _VIEW.fullmatch(word) is not None)

    return "\\".join(
        " ".join(word for word in _WORD.findall(value) if kept(word)) for value in text.split("\\")
    )


def words_of(texts: Iterable[str]) -> set[str]:
    """Return the words of names and numbers, in small letters, without those too short to tell anybody by."""
    return {word.lower() for text in texts for word in _WORD.findall(text) if len(word) > 1}


def is_placeholder(word: str) -> bool:
    """Whether a word, in small letters, stands in place of a name or number: NONE, ANONYMOUS, 0000, XX."""
    return word in _NOBODY or len(set(word)) == 1


def is_nobody(text: str) -> bool:
    """Whether all words of a text are placeholders, or it has none."""
    return all(is_placeholder(word.lower()) for word in _WORD.findall(text))


def tells(word: str) -> bool:
    """Whether a word of a name or number, in small letters, tells somebody from others: no short ones, no placeholders."""
    return len(word) >= _LEAST and not is_placeholder(word)
