"""Names patients, studies, series and instances by keyed digests, and takes their own names out of texts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cinemill.operations.deidentify.identity import OF_PATIENT, whose
from cinemill.operations.deidentify.values import is_registered
from cinemill.operations.deidentify.words import tells, words_of

if TYPE_CHECKING:
    from cinemill.dicom.values import Values
    from cinemill.operations.deidentify.keys import Key

_INSTANCE, _SERIES, _STUDY = 0x00080018, 0x0020000E, 0x0020000D
_IN_META = 0x00020003
_ANY_UID = frozenset(("",))
"""Stands among what a text tells where UIDs may be in it."""

_TOKEN = re.compile(r"[\w.-]{4,}")
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_WORD = re.compile(r"[^\W_]+")
_HIDDEN = "…"


class Pseudonyms:
    """What patients, studies, series and instances are called: the same as in outputs of ``deidentify`` with the same key.

    Parameters
    ----------
    key
        The secret.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._uid = lru_cache(maxsize=4096)(key.uid)
        self._patient = lru_cache(maxsize=4096)(key.patient)

    def __reduce__(self) -> tuple[type[Pseudonyms], tuple[Key]]:
        return Pseudonyms, (self._key,)

    def of(self, source: Values) -> tuple[str | None, ...]:
        """Return the names of an instance's patient, study and series, and its own; None where the header has no UID."""
        uids = (source.text(tag) for tag in (_STUDY, _SERIES, _INSTANCE))
        return self._patient(whose(source)), *(self._uid(uid) if uid else None for uid in uids)

    def uid(self, uid: str) -> str:
        """Return what an instance is called."""
        return self._uid(uid)

    def scrubbed(self, text: str, words: Words) -> str:
        """Return a text with names in place of UIDs, and without the patient's own words.

        Parameters
        ----------
        text
            Such as a message.
        words
            By which patient and instance are told.
        """
        if _said_in(text).isdisjoint(words.patient | words.uids | _ANY_UID):
            return text
        return _TOKEN.sub(lambda found: self._called(found[0], words), text)

    def _called(self, token: str, words: Words) -> str:
        bare = token.strip(".-")
        if is_registered(bare):
            return token
        if bare in words.uids or _UID.fullmatch(bare):
            return token.replace(bare, self._uid(bare))
        return _WORD.sub(lambda found: _HIDDEN if found[0].lower() in words.patient else found[0], token)


@lru_cache(maxsize=4096)
def _said_in(text: str) -> frozenset[str]:
    """Return what a text may tell: its words in small letters, what stands between spaces, and whether that looks like UIDs."""
    tokens = [token.strip(".-") for token in _TOKEN.findall(text)]
    uids = _ANY_UID if any(map(_UID.fullmatch, tokens)) else frozenset()
    return frozenset((*tokens, *(word.lower() for word in _WORD.findall(text)))) | uids


class Words(NamedTuple):
    """By what an instance is told.

    Attributes
    ----------
    uids
        Its own, its series' and its study's.
    patient
        Words and numbers of the patient's own, in small letters.
    """

    uids: frozenset[str]
    patient: frozenset[str]

    @classmethod
    def of(cls, source: Values) -> Words:
        """Find them in a header."""
        uids = (source.meta_text(_IN_META), *map(source.text, (_INSTANCE, _SERIES, _STUDY)))
        told = words_of(map(source.text, OF_PATIENT))
        return cls(frozenset(filter(None, uids)), frozenset(filter(tells, told)))


NOTHING = Words(frozenset(), frozenset())
"""Where no header could be read."""
