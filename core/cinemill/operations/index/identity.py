"""Names patients, studies, series and instances by keyed digests, and takes their own names out of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from cinemill.operations.deidentify.identity import whose

if TYPE_CHECKING:
    from cinemill.dicom.values import Values
    from cinemill.operations.deidentify.keys import Key

_INSTANCE, _SERIES, _STUDY = 0x00080018, 0x0020000E, 0x0020000D
_STANDARD = "1.2.840.10008."
_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}")
_WORD = re.compile(r"[^\W_]+")
_LEAST = 4
"""Letters of a word by which somebody is told."""

_NAMED = (0x00100010, 0x00100020, 0x00100030, 0x00080050, 0x00101000, 0x00101001, 0x00101005, 0x00101060)
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

    def scrubbed(self, text: str, words: Iterable[str]) -> str:
        """Return a text with names in place of UIDs, and without some words.

        Parameters
        ----------
        text
            Such as a message.
        words
            By which the patient is told, in small letters.
        """
        text = _UID.sub(lambda found: self._called(found[0]), text)
        hidden = frozenset(words)
        if not hidden:
            return text
        return _WORD.sub(lambda found: _HIDDEN if found[0].lower() in hidden else found[0], text)

    def _called(self, uid: str) -> str:
        return uid if uid.startswith(_STANDARD) else self._uid(uid)


def words_of(source: Values) -> frozenset[str]:
    """Return the words and numbers by which an instance's patient is told, in small letters."""
    texts = (source.text(tag) for tag in _NAMED)
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text) if len(word) >= _LEAST)
