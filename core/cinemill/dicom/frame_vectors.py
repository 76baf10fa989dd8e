"""Attributes that have a value for each frame, or name frames by number: cut to the frames of a part, or refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from struct import iter_unpack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.dicom.derive import integer
from cinemill.dicom.dictionary import find_vr, named
from cinemill.dicom.elements import EXPLICIT_LE, tag_name, walk
from cinemill.dicom.recode import Recoder, encode_element
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from cinemill.dicom.rewrite import Changes
    from cinemill.dicom.source import Source

FRAME_INCREMENT_POINTER, FRAME_DIMENSION_POINTER = 0x00280009, 0x0028000A
FRAME_TIME_VECTOR, GRID_FRAME_OFFSET_VECTOR = 0x00181065, 0x3004000C
_IMAGE_POSITION, _IMAGE_ORIENTATION = 0x00200032, 0x00200037

_VECTORS = frozenset(
    (
        FRAME_TIME_VECTOR,  # C.7.6.5 Cine
        *range(
            0x00182002, 0x00182007
        ),  # C.8.6.4 SC Multi-frame Vector: labels, angles, slice locations, windows
        GRID_FRAME_OFFSET_VECTOR,  # C.8.8.3 RT Dose
        *(0x00181520, 0x00181521),  # C.8.7.5 XA Positioner: angle increments
        *(0x00181135, 0x00181136, 0x00181137),  # C.8.7.4 X-Ray Table: increments
        *range(0x00540010, 0x00540101, 0x10),  # C.8.4.8 NM Multi-frame
    )
)
"""One value a frame, wherever they are there (PS3.3)."""

_NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
_TEXT = frozenset((b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"PN", b"SH", b"TM", b"UC", b"UI"))
_SIZES = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"AT": 4, b"FD": 8, b"UV": 8, b"SV": 8}

_FRAME_NUMBERS = {0x00286040: (), 0x00286020: (0x00286022, 0x00286023)}
"""R Wave Pointer, and Frame Numbers of Interest with what describes each (C.7.6.5, C.7.6.10)."""
_PULLBACK = 0x00183103, 0x00183104
"""IVUS Pullback Start and Stop Frame Number (C.8.7.12)."""
_MASKS = {0x00286100: "Mask Subtraction Sequence", 0x00286030: "Mask Pointers"}
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_LARGEST_EXPONENT = 99
"""Of a decimal string: to write out one of any exponent takes gigabytes."""


class _Encoded(NamedTuple):
    """An element as encoded in Explicit VR Little Endian."""

    vr: bytes
    value: bytes


class _Values(NamedTuple):
    """The values of one element, encoded as in Explicit VR Little Endian."""

    vr: bytes
    values: list[bytes]

    def element(self, tag: int, values: list[bytes]) -> bytes:
        """Encode some of them."""
        return encode_element(tag, self.vr, (b"\\" if self.vr in _TEXT else b"").join(values))


def cut_vectors(source: Source, frames: range, *, without: Collection[int] = ()) -> Changes:
    """Return what an instance of some frames says of them, where the source has a value for each of its frames.

    Attributes that Frame Increment Pointer names are cut too. In a part of an RT Dose, Grid Frame Offset Vector begins
    anew, and Image Position (Patient) is that of the part's first plane (C.8.8.3.2).

    Parameters
    ----------
    source
        The whole.
    frames
        Those of the part, counted from 0.
    without
        Attributes that the part has no use for.

    Raises
    ------
    DamagedFile
        An attribute has another number of values than there are frames, or can't be understood; it is named.
    """
    changes: Changes = {}
    for tag in sorted((_VECTORS | set(named_by_pointers(source))).difference(without)):
        found = _read(source, tag)
        if found is None or not found.values:
            continue
        if len(found.values) != len(source):
            if len(found.values) == 1 and tag not in _VECTORS:
                continue
            raise DamagedFile(
                f"{named(tag)} has {len(found.values)} values for {len(source)} frames; "
                "it can't be cut to some of them"
            )
        changes[tag] = found.element(tag, found.values[frames.start : frames.stop])
        if tag == FRAME_TIME_VECTOR:
            changes[tag] = found.element(tag, [b"0", *found.values[frames.start + 1 : frames.stop]])
        elif tag == GRID_FRAME_OFFSET_VECTOR:
            changes |= _dose_planes(source, found, frames)
    if source.text(0x00080016) == _NUCLEAR and len(frames) < len(source):
        _warn(source, "the numbers of energy windows, detectors, slices and so on are those of the whole")
    return changes


def cut_references(source: Source, frames: range) -> Changes:
    """Return what an instance of some frames says where the source names its frames by number.

    Frames that are not in the part are no longer named; a mask for subtraction is left out, with a warning.
    """
    changes: Changes = {}
    for tag, beside in _FRAME_NUMBERS.items():
        changes |= _frame_numbers(source, tag, beside, frames)
    if any(map(source.text, _PULLBACK)):
        numbers = [source.integer(tag) or 0 for tag in _PULLBACK]
        inside = all(number - 1 in frames for number in numbers)
        for tag, number in zip(_PULLBACK, numbers, strict=True):
            changes[tag] = integer(tag, number - frames.start) if inside else None
    for tag, name in _MASKS.items():
        if source.element(tag) is not None and len(frames) < len(source):
            changes[tag] = None
            _warn(source, f"{name} {tag_name(tag)} names frames of the whole; it was left out")
    return changes


def cut_overlays(source: Source, frames: range) -> Changes:
    """Return the planes of multi-frame overlays that belong to some frames (C.9.2, C.9.3).

    Raises
    ------
    DamagedFile
        Overlay Data is shorter than its planes.
    """
    changes: Changes = {}
    for group in _OVERLAY_GROUPS:
        count_tag, origin_tag, data_tag = (group << 16 | number for number in (0x0015, 0x0051, 0x3000))
        count = source.integer(count_tag)
        if not count:
            continue
        first = source.short(origin_tag, 1) - 1
        begin, end = max(first, frames.start), min(first + count, frames.stop)
        if begin >= end:
            changes |= {e.tag: None for e in source.elements if e.tag >> 16 == group}
            continue
        changes[count_tag] = integer(count_tag, end - begin)
        changes[origin_tag] = encode_element(
            origin_tag, b"US", (begin - frames.start + 1).to_bytes(2, "little")
        )
        if data := _encoded(source, data_tag):
            size = source.short(group << 16 | 0x0010, 0) * source.short(group << 16 | 0x0011, 0)
            planes = _bits(data.value, (begin - first) * size, (end - first) * size, data_tag)
            changes[data_tag] = encode_element(data_tag, b"OW", planes)
    return changes


def named_by_pointers(source: Source) -> Iterator[int]:
    """Yield the tags that Frame Increment Pointer and Frame Dimension Pointer name (C.7.6.6)."""
    for pointer in (FRAME_INCREMENT_POINTER, FRAME_DIMENSION_POINTER):
        if found := _encoded(source, pointer):
            whole = len(found.value) // 4 * 4
            yield from (group << 16 | number for group, number in iter_unpack("<HH", found.value[:whole]))


def _read(source: Source, tag: int) -> _Values | None:
    """Read the values of a top-level element, None where it is absent, a sequence, or bytes without structure."""
    found = _encoded(source, tag)
    if found is None:
        return None
    vr, value = found
    if vr == b"UN":  # as a value is written that is too long for the length field of its VR
        known = find_vr(tag)
        if known is None:
            return None
        vr = known.encode()
    if vr in _TEXT:
        text = value.rstrip(b" \0")
        return _Values(vr, text.split(b"\\") if text else [])
    if size := _SIZES.get(vr):
        return _Values(vr, [value[at : at + size] for at in range(0, len(value) // size * size, size)])
    return None


def _encoded(source: Source, tag: int) -> _Encoded | None:
    """Return a top-level element, None where it is absent or a group length."""
    element = source.element(tag)
    if element is None or not tag & 0xFFFF:
        return None
    recoder = Recoder(source.data, source.encoding, EXPLICIT_LE, signed=source.pixels.signed)
    ((_, encoded),) = recoder.encode([element])
    (found,) = walk(encoded, 0, len(encoded), EXPLICIT_LE)
    return _Encoded(found.vr or b"UN", encoded[found.value : found.end])


def _dose_planes(source: Source, offsets: _Values, frames: range) -> Changes:
    """Let the offsets of a part's planes begin anew, and its position be that of its first plane (C.8.8.3.2).

    The first offset is zero, and the others count from it along the normal of the planes; or it is the third coordinate of
    Image Position (Patient), and all are such coordinates.
    """
    try:
        planes = [_decimal(value.decode()) for value in offsets.values]
        position, orientation = (
            [_decimal(text) for text in source.text(tag).split("\\") if text]
            for tag in (_IMAGE_POSITION, _IMAGE_ORIENTATION)
        )
    except (InvalidOperation, ValueError):
        raise DamagedFile(
            f"{named(GRID_FRAME_OFFSET_VECTOR)}, or the position of the image, is no row of numbers"
        ) from None
    chosen, first = planes[frames.start : frames.stop], planes[frames.start]
    cosines = np.array(orientation, np.float64)
    normal = np.cross(cosines[:3], cosines[3:]) if len(cosines) == 6 else np.array((0.0, 0.0, 1.0))
    axial = bool(np.allclose(np.abs(normal), (0, 0, 1), atol=1e-4))
    changes: Changes = {}
    if planes[0] == 0:
        chosen = [plane - first for plane in chosen]
        moved = [
            Decimal(str(round(float(part), 9))) * first for part in (normal if not axial else np.rint(normal))
        ]
        position = [place + step for place, step in zip(position, moved, strict=False)]
    elif axial and len(position) == 3 and planes[0] == position[2]:
        position[2] = first
    else:
        raise DamagedFile(
            f"{named(GRID_FRAME_OFFSET_VECTOR)} begins with {planes[0]}, expected 0 or the third coordinate of "
            "Image Position (Patient); where the planes of a part lie can't be told"
        )
    changes[GRID_FRAME_OFFSET_VECTOR] = _decimals(GRID_FRAME_OFFSET_VECTOR, chosen)
    if len(position) == 3 and frames.start:
        changes[_IMAGE_POSITION] = _decimals(_IMAGE_POSITION, position)
    return changes


def _decimal(text: str) -> Decimal:
    """Read a decimal string; raise for what is none, or of a size that no place has."""
    number = Decimal(text.strip())
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(text)
    return number


def _decimals(tag: int, numbers: list[Decimal]) -> bytes:
    """Encode decimal strings of at most 16 characters (PS3.5 §6.2)."""
    texts = []
    for number in numbers:
        exact = f"{number:f}"
        shortest = (f"{number:.{digits}g}" for digits in range(16, 5, -1))
        texts.append(exact if len(exact) <= 16 else next(text for text in shortest if len(text) <= 16))
    return encode_element(tag, b"DS", "\\".join(texts).encode())


def _frame_numbers(source: Source, tag: int, beside: tuple[int, ...], frames: range) -> Changes:
    numbers = _read(source, tag)
    if numbers is None or not numbers.values:
        return {}
    named = [int.from_bytes(value, "little") - 1 for value in numbers.values]
    kept = [at for at, frame in enumerate(named) if frame in frames]
    changes: Changes = dict.fromkeys((tag, *beside))
    if not kept:
        return changes
    changes[tag] = numbers.element(tag, [(named[at] - frames.start + 1).to_bytes(2, "little") for at in kept])
    for other in beside:
        texts = _read(source, other)
        if texts is not None and len(texts.values) == len(named):
            changes[other] = texts.element(other, [texts.values[at] for at in kept])
    return changes


def _bits(planes: bytes, begin: int, end: int, tag: int) -> bytes:
    """Return some bits, lowest first, from the beginning of a byte."""
    if end > 8 * len(planes):
        raise DamagedFile(f"{named(tag)} has {8 * len(planes)} bits, its planes take {end} at least")
    covering = np.frombuffer(planes[begin // 8 : -(-end // 8)], np.uint8)
    unpacked = np.unpackbits(covering, bitorder="little")[begin % 8 :][: end - begin]
    return np.packbits(unpacked, bitorder="little").tobytes()


def _warn(source: Source, warning: str) -> None:
    if warning not in source.warnings:
        source.warnings.append(warning)
