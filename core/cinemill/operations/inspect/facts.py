"""Reads what an instance is: facts of its header, and of the items of its pixel data where they are counted."""

from __future__ import annotations

import math
import struct
import warnings
from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.dictionary import find_keyword, uid_names
from cinemill.dicom.elements import UNDEFINED, encoding_inside, item_content, item_encoding, items, walk
from cinemill.dicom.fragments import ITEM_HEADER
from cinemill.dicom.values import explained
from cinemill.errors import CinemillError, DamagedFile
from cinemill.frames.regions import Region, read_regions, region_items
from cinemill.frames.timing import Timing, durations, read_timing
from cinemill.operations.inspect.model import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cinemill.dicom.source import Source

_REGIONS, _ICON, _EXTENDED_OFFSET_TABLE = 0x00186011, 0x00880200, 0x7FE00001
_SHARED_GROUPS, _PER_FRAME_GROUPS = 0x52009229, 0x52009230
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_PATIENT = (0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00080020, 0x00081030, 0x00080050, 0x00080080)
_INTEGERS = 1 << 31
_ONLY_LOSSY = frozenset(("jpeg", "video"))
_ESCAPE = "\x1b"
"""Begins what changes the character set within a value (ISO 2022)."""


def facts_of(source: Source, *, counted: bool, regions: Sequence[Region] | None = None) -> Facts:
    """Return what an instance is.

    Parameters
    ----------
    source
        The open file.
    counted
        Look at all items of encapsulated pixel data, to count its fragments; else the header alone is read.
    regions
        Its ultrasound regions, where they are known already.
    """
    sop_class = text(source, 0x00080016) or source.meta_text(0x00020002) or None
    frames = frames_of(source)
    stored = None if source.pixel_data is None else source.pixel_data.end - source.pixel_data.value
    there = stored is not None and 1 < (frames or 0) <= stored
    with np.errstate(all="ignore"):
        timing = read_timing(source, frames) if frames is not None and there else Timing(np.empty(0), None)
        times = timing.times
        timed = len(times) > 1 and bool(np.isfinite(times).all()) and times[-1] > times[0]
        seconds = float(durations(times).sum()) / 1000 if timed else None
    shape = [short(source, tag) for tag in (0x00280010, 0x00280011, 0x00280002, 0x00280100)]
    uncompressed = math.prod(number or 0 for number in shape) * (frames or 0) // 8
    regions = regions_of(source) if regions is None else regions
    return Facts(
        path=source.path,
        file_bytes=len(source.file),
        sop_instance_uid=text(source, 0x00080018),
        series_instance_uid=text(source, 0x0020000E),
        study_instance_uid=text(source, 0x0020000D),
        sop_class=_name(sop_class or ""),
        sop_class_uid=sop_class,
        transfer_syntax=_name(source.transfer_syntax.uid),
        transfer_syntax_uid=source.transfer_syntax.uid,
        modality=text(source, 0x00080060),
        manufacturer=text(source, 0x00080070),
        model=text(source, 0x00081090),
        software=text(source, 0x00181020),
        body_part=text(source, 0x00180015),
        patient_position=text(source, 0x00185100),
        photometric_interpretation=text(source, 0x00280004),
        samples_per_pixel=shape[2],
        rows=shape[0],
        columns=shape[1],
        bits_allocated=shape[3],
        bits_stored=short(source, 0x00280101),
        signed=None if (sign := short(source, 0x00280103)) is None else sign == 1,
        frames=frames,
        frame_rate=(len(times) - 1) * 1000 / float(times[-1] - times[0]) if timed else None,
        frame_rate_source=timing.attribute if timed else None,
        duration=seconds,
        regions=len(regions),
        calibrated_regions=sum(map(is_calibrated, regions)),
        offset_table=None if source.pixel_data is None else _offset_table(source),
        fragments=len(source.fragments.offsets) if counted and source.fragments is not None else None,
        pixel_bytes=stored,
        frame_bytes=stored / frames if stored is not None and frames else None,
        ratio=uncompressed / stored if stored and uncompressed else None,
        lossy=None if source.pixel_data is None else _lossy(source),
        lossy_methods=tuple(each.strip() for each in source.text(0x00282114).split("\\") if each.strip()),
        lossy_ratios=tuple(numbers(source, 0x00282112)),
        overlays=len(_overlays(source)),
        icon=bool(source.value(_ICON)),
        private_creators=tuple(dict.fromkeys(_private_creators(source))),
        burned_in_annotation=text(source, 0x00280301),
        functional_groups=_functional_groups(source),
        series_number=_integer(source, 0x00200011),
        instance_number=_integer(source, 0x00200013),
    )


def patient_of(source: Source) -> dict[str, str]:
    """Return what names the patient and the study, by keyword."""
    found = {find_keyword(tag): text(source, tag) for tag in _PATIENT}
    return {keyword: value for keyword, value in found.items() if value}


def frames_of(source: Source) -> int | None:
    """Return the promised number of frames, 1 where an image has none; None where it is no number, or there is no image."""
    try:
        promised = source.promised_frames
    except CinemillError:
        return None
    return promised or (None if source.pixel_data is None else 1)


def regions_of(source: Source) -> tuple[Region, ...]:
    """Return the ultrasound regions of an instance; none where they can't be read."""
    if not source.value(_REGIONS):
        return ()
    rows, columns = short(source, 0x00280010), short(source, 0x00280011)
    try:
        found = {"SequenceOfUltrasoundRegions": region_items(source)}
        return tuple(read_regions(found, rows or 0, columns or 0))
    except (CinemillError, RecursionError):
        return ()


def is_calibrated(region: Region) -> bool:
    """Whether a region has a physical size in both directions."""
    units = all(unit not in {"", "none"} for unit in region.units)
    return units and all(delta for delta in region.deltas)


def text(source: Source, tag: int) -> str | None:
    """Return the text of a top-level element in its character set, None where it is absent or empty."""
    value = source.value(tag)
    if not value:
        return None
    plain = value.decode("latin-1").strip(" \0")
    if plain.isascii() and _ESCAPE not in plain:
        return plain or None
    try:
        with (
            explained("text can't be read", "its character set is wrong", DamagedFile),
            warnings.catch_warnings(action="ignore"),
        ):
            decoded = source.part(tag).get(find_keyword(tag))
            several = (
                decoded if isinstance(decoded, list | tuple) or hasattr(decoded, "append") else [decoded]
            )
            return "\\".join(str(each) for each in several).strip(" \0") or None
    except DamagedFile:
        return plain


def short(source: Source, tag: int) -> int | None:
    """Return the first value of an element of VR US, None where it is absent or empty."""
    element = source.element(tag)
    return None if element is None or element.end < element.value + 2 else source.short(tag)


def numbers(source: Source, tag: int) -> list[float]:
    """Return the finite values of an element of VR DS or IS; those that are none are left out."""
    found = []
    for each in source.text(tag).split("\\"):
        try:
            number = float(each)
        except ValueError:
            continue
        if math.isfinite(number):
            found.append(number)
    return found


def _integer(source: Source, tag: int) -> int | None:
    number = next(iter(numbers(source, tag)), None)
    return int(number) if number is not None and abs(number) < _INTEGERS else None


def _name(uid: str) -> str | None:
    return uid_names(uid)[0] if uid else None


def _offset_table(source: Source) -> str:
    assert source.pixel_data is not None
    if source.pixel_data.length != UNDEFINED:
        return "none"
    if source.value(_EXTENDED_OFFSET_TABLE):
        return "extended"
    try:
        _, _, length = ITEM_HEADER.unpack_from(source.data, source.pixel_data.value)
    except struct.error:
        return "empty"
    return "basic" if length else "empty"


def _lossy(source: Source) -> bool | None:
    syntax, flag = source.transfer_syntax, source.text(0x00282110)
    if flag == "01" or syntax.coding in _ONLY_LOSSY or syntax.of_jpeg:
        return True
    return False if flag == "00" or syntax.lossless else None


def _overlays(source: Source) -> set[int]:
    return {each.tag >> 16 for each in source.elements if each.tag >> 16 in _OVERLAY_GROUPS}


def _private_creators(source: Source) -> Iterator[str]:
    for element in source.elements:
        if element.tag >> 16 & 1 and 0x10 <= element.tag & 0xFFFF <= 0xFF:
            creator = text(source, element.tag)
            if creator:
                yield creator


def _functional_groups(source: Source) -> tuple[str, ...]:
    if source.value(_SHARED_GROUPS) is None and source.value(_PER_FRAME_GROUPS) is None:
        return ()
    found: dict[int, None] = {}
    try:
        for group in (_SHARED_GROUPS, _PER_FRAME_GROUPS):
            if (sequence := source.element(group)) is not None:
                for item in items(source.data, sequence, source.encoding):
                    inside = encoding_inside(sequence.vr, source.encoding)
                    encoding = item_encoding(source.data, item, item.end, inside)
                    elements = walk(source.data, *item_content(item), encoding)
                    found |= dict.fromkeys(element.tag for element in elements)
    except (DamagedFile, RecursionError):
        pass
    return tuple(filter(None, map(find_keyword, found)))
