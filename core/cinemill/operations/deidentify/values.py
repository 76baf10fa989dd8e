"""The replacement of a value: nothing, a dummy of the same value representation, another UID, or a date moved back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from cinemill.dicom.dictionary import uid_names

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

_ROOT = "1.2.840.10008."
"""Below it are the UIDs that DICOM itself registers."""

_TEXTS = frozenset((b"LO", b"SH", b"ST", b"LT", b"UT", b"UC", b"PN", b"CS", b"AE"))
_DUMMY = b"REMOVED"
_DUMMIES = {
    b"DA": b"19000101",
    b"TM": b"000000",
    b"DT": b"19000101000000",
    b"AS": b"000D",
    b"IS": b"0",
    b"DS": b"0",
    b"UR": b"urn:removed",
    b"AT": bytes(4),
    **dict.fromkeys((b"US", b"SS", b"OB", b"OW", b"UN"), bytes(2)),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), bytes(4)),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), bytes(8)),
}
_DELIMITERS = frozenset(b"\\^=\t\n\f\r")
"""Behind them, a text is in the first of its character sets again (PS3.5 §6.1.2.5.3)."""

_DATE = re.compile(r"(\d{4})([.-]?)(\d\d)\2(\d\d)(.*)", re.DOTALL)


def dummy(vr: bytes) -> bytes:
    """Return a value that says nothing, of a representation that is neither a sequence nor a UID."""
    return _DUMMY if vr in _TEXTS else _DUMMIES.get(vr, bytes(2))


def is_registered(uid: str) -> bool:
    """Whether DICOM itself has registered a UID (PS3.6 Annex A), so that it names nothing of a patient's.

    That it stands below DICOM's root is not enough: some devices and libraries make UIDs of instances there.
    """
    return uid.startswith(_ROOT) and uid_names(uid) != (uid, "")


def replaced_uids(value: bytes, key: Key, note: Callable[[str, str], None]) -> bytes:
    """Return UIDs that replace others, each of them the same everywhere.

    Parameters
    ----------
    value
        As encoded; of several, with backslashes.
    key
        Makes them.
    note
        Told each UID and what replaces it.
    """
    replaced = []
    for told in value.decode("latin-1").split("\\"):
        uid = told.strip(" \0")
        new = uid if not uid or is_registered(uid) else key.uid(uid)
        if new != uid:
            note(uid, new)
        replaced.append(new)
    return "\\".join(replaced).encode("latin-1")


def shifted(value: bytes, vr: bytes, days: int) -> bytes | None:
    """Return dates moved back by so many days, times as they are; None where one is no date.

    Parameters
    ----------
    value
        As encoded.
    vr
        DA, DT or TM.
    days
        How many.
    """
    if vr not in {b"DA", b"DT"}:
        return value if vr == b"TM" else None
    moved = [_moved(text, vr, days) for text in value.decode("latin-1").split("\\")]
    return (
        "\\".join(text for text in moved if text is not None).encode("latin-1") if None not in moved else None
    )


def _moved(text: str, vr: bytes, days: int) -> str | None:
    text = text.strip(" \0")
    found = _DATE.fullmatch(text)
    if not text:
        return ""
    if found is None or (found[5] and vr == b"DA"):
        return None
    try:
        then = date(int(found[1]), int(found[3]), int(found[4])) - timedelta(days)
    except (ValueError, OverflowError):
        return None
    return f"{then:%Y%m%d}".rjust(8, "0") + found[5]


def decoded(value: bytes, charsets: Sequence[str]) -> str:
    """Return a text in the instance's own character sets, or in the default one where it is not of them.

    Parameters
    ----------
    value
        As encoded.
    charsets
        Specific Character Set.
    """
    from pydicom.charset import convert_encodings, decode_bytes

    with warnings.catch_warnings(action="ignore"):
        try:
            return decode_bytes(value, convert_encodings(list(charsets)), set(_DELIMITERS)).strip(" \0")
        except (LookupError, ValueError, TypeError):
            return value.decode("latin-1").strip(" \0")
