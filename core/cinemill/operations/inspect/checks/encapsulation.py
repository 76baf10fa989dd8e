"""Checks of encapsulated pixel data: offset tables, fragments, delimiters (PS3.5 A.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.elements import UNDEFINED
from cinemill.dicom.fragments import DELIMITER
from cinemill.dicom.misdeclared import given_length
from cinemill.operations.inspect.checks.check import Problem, Problems, Subject, check
from cinemill.operations.inspect.model import Severity

if TYPE_CHECKING:
    from cinemill.dicom.fragments import Offsets

_LENGTHS = 0x7FE00002
_BASIC_REACH = 1 << 32
_ONE_FRAGMENT = frozenset(("rle", "encapsulated-uncompressed", "deflated-frame"))
_ANEW = "transcode the file: outputs have a true offset table"


def _starts(subject: Subject) -> Offsets | None:
    """Return where each frame's first item stands, counted from that of the first fragment."""
    if subject.fragments is None or subject.index is None:
        return None
    starts: Offsets = subject.index.starts[:-1] - (subject.fragments.offsets[0] - 8)
    return starts


@check(
    "offsets.basic",
    Severity.WARNING,
    "PS3.5 A.4",
    about="the Basic Offset Table is empty, or has an entry for each frame that points to its first item",
    remedy=_ANEW,
    counted=True,
)
def basic(subject: Subject) -> Problems:
    """Yield where the table is wrong."""
    starts = _starts(subject)
    if subject.fragments is None or not len(subject.fragments.table):
        return
    table = subject.fragments.table
    frames = subject.facts.frames
    if frames is not None and len(table) != frames:
        yield f"the Basic Offset Table has {len(table)} entries for {frames} frame{'' if frames == 1 else 's'}"
    elif starts is not None and (wrong := np.flatnonzero(table != starts % _BASIC_REACH)).size:
        at = int(wrong[0])
        more = f"; so {len(wrong) - 1} others" if len(wrong) > 1 else ""
        yield Problem(
            f"entry {at} of the Basic Offset Table is {table[at]}, frame {at} begins at {starts[at]}{more}",
            at,
        )


@check(
    "offsets.extended",
    Severity.WARNING,
    "PS3.3 C.7.6.3.1.8",
    about="an Extended Offset Table has the offset and the length of each frame, and stands for an empty basic one",
    remedy=_ANEW,
    counted=True,
)
def extended(subject: Subject) -> Problems:
    """Yield where the table is wrong, or where there may be none."""
    table, fragments, starts = subject.extended_table, subject.fragments, _starts(subject)
    if table is None or fragments is None:
        return
    if len(fragments.table):
        yield f"there is an Extended Offset Table, and a Basic Offset Table of {len(fragments.table)} entries"
    if starts is None:
        return
    if len(table) != len(starts):
        yield f"the Extended Offset Table has {len(table)} entries for {len(starts)} frames"
        return
    if (wrong := np.flatnonzero(table != starts)).size:
        at = int(wrong[0])
        yield Problem(
            f"entry {at} of the Extended Offset Table is {table[at]}, frame {at} begins at {starts[at]}", at
        )
    if len(starts) != len(fragments.offsets):
        yield f"there is an Extended Offset Table for {len(starts)} frames in {len(fragments.offsets)} fragments"
        return
    value = subject.source.value(_LENGTHS)
    lengths = None if value is None else np.frombuffer(value[: len(value) // 8 * 8], "<i8")
    if lengths is None or len(lengths) != len(starts):
        found = "absent" if lengths is None else f"{len(lengths)} entries"
        yield f"Extended Offset Table Lengths (7FE0,0002) has {found}, expected {len(starts)}"
    elif (wrong := np.flatnonzero((lengths > fragments.lengths) | (lengths < fragments.lengths - 1))).size:
        at = int(wrong[0])
        yield Problem(
            f"entry {at} of Extended Offset Table Lengths is {lengths[at]}, frame {at} has {fragments.lengths[at]} bytes",
            at,
        )


@check(
    "offsets.missing",
    Severity.NOTICE,
    "PS3.5 A.4",
    about="several frames have an offset table, an extended one beyond 4 GiB",
    remedy=f"{_ANEW}; without one, all of the file is read to find a frame",
    counted=True,
)
def missing(subject: Subject) -> Problems:
    """Yield frames without a table."""
    fragments, frames = subject.fragments, subject.facts.frames
    if fragments is None or frames is None or frames < 2 or subject.extended_table is not None:
        return
    if not len(fragments.table):
        yield f"{frames} frames in {len(fragments.offsets)} fragments have no offset table"
    elif fragments.end - int(fragments.offsets[0]) > _BASIC_REACH:
        yield f"{frames} frames reach beyond 4 GiB, which a Basic Offset Table can't tell"


@check(
    "fragments.odd",
    Severity.WARNING,
    "PS3.5 A.4",
    about="fragments are of even length",
    remedy=_ANEW,
    counted=True,
)
def odd(subject: Subject) -> Problems:
    """Yield how many fragments are not."""
    if subject.fragments is not None and (wrong := np.flatnonzero(subject.fragments.lengths % 2)).size:
        first = int(wrong[0])
        more = f"; so {len(wrong) - 1} others" if len(wrong) > 1 else ""
        yield f"fragment {first} has {subject.fragments.lengths[first]} bytes{more}"


@check(
    "fragments.empty",
    Severity.WARNING,
    "PS3.5 A.4",
    about="no fragment is empty",
    remedy=_ANEW,
    counted=True,
)
def empty(subject: Subject) -> Problems:
    """Yield how many fragments are."""
    if subject.fragments is None:
        return
    hollow = np.flatnonzero(subject.fragments.lengths == 0)
    if hollow.size:
        many = len(subject.fragments.offsets)
        last = ", the last one among them" if hollow[-1] == many - 1 else ""
        yield f"{len(hollow)} of {many} fragments {'is' if len(hollow) == 1 else 'are'} empty{last}"


@check(
    "fragments.delimiter",
    Severity.WARNING,
    "PS3.5 A.4",
    about="a sequence delimiter ends the fragments",
    remedy=_ANEW,
    counted=True,
)
def delimiter(subject: Subject) -> Problems:
    """Yield whether it is missing."""
    source, pixel_data = subject.source, subject.source.pixel_data
    if subject.image and pixel_data is not None and pixel_data.length == UNDEFINED:
        found = bytes(source.data[pixel_data.end - 8 : pixel_data.end])
        if found != DELIMITER:
            yield f"expected {DELIMITER.hex(' ')} behind the last fragment, the pixel data ends with {found.hex(' ')}"


@check(
    "fragments.length",
    Severity.ERROR,
    "PS3.5 A.4",
    about="Pixel Data of fragments has no length of its own",
    remedy="transcode the file; here it is read as found, elsewhere it may not be",
)
def length(subject: Subject) -> Problems:
    """Yield a length."""
    found = given_length(subject.source)
    if found is not None:
        yield f"expected an undefined length, found {found}"


@check(
    "fragments.several",
    Severity.WARNING,
    "PS3.5 A.4.2",
    about="a frame of RLE, or of what is not compressed, is one fragment",
    remedy=_ANEW,
    counted=True,
)
def several(subject: Subject) -> Problems:
    """Yield frames of several fragments."""
    fragments, frames = subject.fragments, subject.facts.frames
    if (
        fragments is None
        or subject.index is None
        or subject.source.transfer_syntax.coding not in _ONE_FRAGMENT
    ):
        return
    filled = int(np.count_nonzero(fragments.lengths))
    if frames is not None and filled > frames:
        yield f"{frames} frame{' is' if frames == 1 else 's are'} cut into {filled} fragments"
