"""Checks of a file as such: preamble, File Meta Information, encoding, order of elements, size."""

from __future__ import annotations

from itertools import pairwise

from cinemill.dicom.dictionary import find_name
from cinemill.dicom.elements import LONG_VRS, UNDEFINED, tag_name
from cinemill.dicom.file_meta import other_uids, wrong_encoding, wrong_length
from cinemill.operations.inspect.checks.check import Problem, Problems, Subject, check
from cinemill.operations.inspect.model import Severity

_META = (0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012)
_FRAME_TIME_VECTOR = 0x00181065
_SHORT_VALUE = 0xFFFE
_GIB = 1 << 30


@check(
    "file.preamble",
    Severity.WARNING,
    "PS3.10 7.1",
    about="a preamble, DICM and File Meta Information begin the file",
    remedy="transcode the file: outputs have all three",
)
def preamble(subject: Subject) -> Problems:
    """Yield what is missing at the start."""
    source = subject.source
    if bytes(source.file[128:132]) != b"DICM":
        yield "expected 128 bytes and DICM at the start of the file, found none"
    if not source.meta:
        yield "expected File Meta Information (group 0002), found none"


@check(
    "file.meta",
    Severity.WARNING,
    "PS3.10 7.1",
    about="File Meta Information is complete, in Explicit VR Little Endian, and of the length that it says",
    remedy="transcode the file: outputs have it anew",
)
def meta(subject: Subject) -> Problems:
    """Yield what is wrong with File Meta Information."""
    source = subject.source
    if not source.meta:
        return
    yield from wrong_encoding(source)
    yield from wrong_length(source)
    values = {element.tag: element.end - element.value for element in source.meta}
    for tag in _META:
        if not values.get(tag):
            yield f"{find_name(tag)} {tag_name(tag)} is {'empty' if tag in values else 'absent'}, expected a value"


@check(
    "file.uids",
    Severity.WARNING,
    "PS3.10 7.1",
    about="SOP Class UID and SOP Instance UID of File Meta Information are those of the data set",
    remedy="transcode the file: outputs say what the data set says",
)
def uids(subject: Subject) -> Problems:
    """Yield UIDs that differ."""
    if subject.source.meta and not subject.directory:
        for fault in other_uids(subject.source):
            yield fault.partition(";")[0]


@check(
    "file.encoding",
    Severity.ERROR,
    "PS3.5 10",
    about="the data set is encoded as the transfer syntax says",
    remedy="transcode the file; here it is read as found, elsewhere it may not be",
)
def encoding(subject: Subject) -> Problems:
    """Yield another encoding than that declared."""
    source = subject.source
    syntax, found = source.transfer_syntax, source.encoding
    if found.implicit_vr != syntax.implicit_vr:
        kinds = "explicit", "implicit"
        yield (
            f"{syntax.keyword} has {kinds[syntax.implicit_vr]} VR, "
            f"the data set is encoded with {kinds[found.implicit_vr]} VR"
        )


@check(
    "file.order",
    Severity.WARNING,
    "PS3.5 7.1",
    about="elements stand in the order of their tags, each once",
    remedy="write the file anew, e.g. by dcmconv of DCMTK",
)
def order(subject: Subject) -> Problems:
    """Yield the first element that stands out of order."""
    for before, after in pairwise(subject.source.elements):
        if after.tag <= before.tag:
            yield f"{tag_name(after.tag)} stands behind {tag_name(before.tag)}"
            return


@check(
    "file.odd-length",
    Severity.WARNING,
    "PS3.5 7.1.1",
    about="values are of even length",
    remedy="write the file anew, e.g. by dcmconv of DCMTK",
)
def odd_length(subject: Subject) -> Problems:
    """Yield elements of odd length."""
    source = subject.source
    elements = [*source.elements, *([source.pixel_data] if source.pixel_data else [])]
    odd = [each for each in elements if each.length != UNDEFINED and each.length % 2]
    if odd:
        more = f"; so {len(odd) - 1} more" if len(odd) > 1 else ""
        yield f"{tag_name(odd[0].tag)} has {odd[0].length} bytes{more}"


@check(
    "file.trailing",
    Severity.NOTICE,
    "PS3.10 7.2",
    about="nothing follows the last element",
    remedy="transcode the file: outputs end with the last element",
)
def trailing(subject: Subject) -> Problems:
    """Yield how many bytes follow."""
    source = subject.source
    if subject.whole and source.elements and not source.repair:
        ends = [source.elements[-1].end, *([source.pixel_data.end] if source.pixel_data else [])]
        left = len(source.data) - max(ends)
        if left > 0 and not (source.transfer_syntax.deflated and left == 1):
            yield f"{left} byte{'' if left == 1 else 's'} follow the last element"


@check(
    "file.items",
    Severity.ERROR,
    "PS3.5 7.5",
    about="items stand in sequences",
    remedy="have the file exported anew; transcode --repair leaves out what such an item holds",
)
def stray_items(subject: Subject) -> Problems:
    """Yield what stands in an item outside any sequence."""
    if subject.source.unheld:
        yield subject.source.unheld


@check(
    "file.size",
    Severity.NOTICE,
    "PS3.5 7.1.2",
    about="sizes are such that all programs take them: 2 GiB a file, 64 KiB a value with a short header",
    remedy="split the cine (cinemill split), or keep it encapsulated: native Pixel Data ends at 4 GiB",
    pixels=True,
)
def size(subject: Subject) -> Problems:
    """Yield what is too large for some programs, or for Explicit VR."""
    source = subject.source
    if len(source.file) > 2 * _GIB:
        yield f"the file has {len(source.file) / _GIB:.1f} GiB; many programs end at 2 GiB"
    shape = subject.facts.rows, subject.facts.columns, subject.facts.samples_per_pixel, subject.facts.frames
    if subject.image and all(shape) and source.transfer_syntax.encapsulated:
        bits = subject.facts.bits_allocated or 0
        native = (shape[0] or 0) * (shape[1] or 0) * (shape[2] or 0) * (shape[3] or 0) * bits // 8
        if native >= 4 * _GIB:
            yield f"uncompressed frames take {native / _GIB:.1f} GiB; native Pixel Data holds less than 4 GiB"
    vector = source.element(_FRAME_TIME_VECTOR)
    if vector is not None and vector.end - vector.value > _SHORT_VALUE:
        kept = vector.vr is None or vector.vr in LONG_VRS
        yield Problem(
            f"Frame Time Vector has {vector.end - vector.value} bytes; in Explicit VR, DS holds {_SHORT_VALUE}"
            f"{'' if kept else ', so its length is wrong'}",
            remedy="split the cine (cinemill split), or name a Frame Time",
        )
