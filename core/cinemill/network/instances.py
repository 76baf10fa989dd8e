"""What the network has to know of an instance in a file: its UIDs, its transfer syntax, and where its data set stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cinemill.dicom.elements import Encoding, walk
from cinemill.dicom.part10 import Part10, read_part10, text_of
from cinemill.errors import DamagedFile, NotDicom

SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_WANTED = frozenset((SOP_CLASS, SOP_INSTANCE, STUDY, SERIES))
_BEHIND = range(SERIES + 1, 1 << 32)
_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance in a file.

    Attributes
    ----------
    start, end
        Between which offsets of the file its data set stands.
    """

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    study: str
    series: str
    start: int
    end: int


def read_instance(path: Path) -> Instance:
    """Read what a file says of itself; of its data set, up to the UID of the series.

    Raises
    ------
    NotDicom
        It is a DICOMDIR, or not DICOM at all.
    DamagedFile
        It has no UIDs, or is encoded in another way than its transfer syntax says.
    CinemillError
        It can't be read.
    """
    part10 = read_part10(path, None, [])
    start = part10.meta[-1].end if part10.meta else part10.start
    syntax = part10.transfer_syntax
    declared = Encoding(syntax.implicit_vr, syntax.little_endian)
    found = uids_of(part10)
    if found.get(SOP_CLASS) == _DIRECTORY or (SOP_CLASS not in found and _is_directory(part10)):
        raise NotDicom("a DICOMDIR is a file on media, and no instance that could be sent", path=path)
    if not found.get(SOP_CLASS) or not found.get(SOP_INSTANCE):
        raise DamagedFile(
            "there is no SOP Class UID or SOP Instance UID in it; an instance has both", path=path
        )
    if part10.encoding != declared:
        raise DamagedFile(
            f"{syntax.keyword} is declared, and the data set is encoded in another way, which a receiver could not know; "
            "transcode it first",
            path=path,
        )
    return Instance(
        path,
        found[SOP_CLASS],
        found[SOP_INSTANCE],
        syntax.uid,
        found.get(STUDY, ""),
        found.get(SERIES, ""),
        start,
        len(part10.file),
    )


def _is_directory(part10: Part10) -> bool:
    return any(
        element.tag == 0x00020002 and text_of(part10.file, element) == _DIRECTORY for element in part10.meta
    )


def uids_of(part10: Part10) -> Mapping[int, str]:
    """Return the UIDs of class, instance, study and series that a data set has at its top level."""
    elements = walk(part10.data, part10.start, len(part10.data), part10.encoding, until=_BEHIND)
    return {element.tag: text_of(part10.data, element) for element in elements if element.tag in _WANTED}
