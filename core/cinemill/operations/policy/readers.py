"""Which programs read which transfer syntaxes: versions, and where each cell comes from."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.syntaxes import TransferSyntax

TESTED = "tested: what cinemill wrote was read there, and compared sample by sample"
STATED = "not tested; stated by its maker"

_NATIVE = ("implicit", "explicit")
_CLASSIC = (*_NATIVE, "rle", "jpeg-ls", "jpeg-2000")


class Reader(NamedTuple):
    """One program.

    Attributes
    ----------
    name
        As it is typed.
    program
        Name and version.
    targets
        Short names of the targets that it reads.
    source
        Where that comes from.
    note
        What holds besides.
    """

    name: str
    program: str
    targets: tuple[str, ...]
    source: str
    note: str = ""

    def reads(self, target: TransferSyntax) -> bool:
        """Whether it reads a target."""
        return target.name in self.targets


READERS: tuple[Reader, ...] = (
    Reader("dcmtk", "DCMTK 3.6.7", (*_NATIVE, "deflated", "rle", "jpeg-ls"), TESTED),
    Reader("gdcm", "GDCM 3.0.21", _CLASSIC, TESTED),
    Reader(
        "pydicom",
        "pydicom 3.0.2 with its plug-ins",
        (*_CLASSIC, "deflated", "htj2k", "htj2k-rpcl"),
        TESTED,
    ),
    Reader(
        "orthanc",
        "Orthanc 1.10",
        _CLASSIC,
        TESTED,
        "takes all others by STOW-RS, and serves JPEG 2000 as it is only",
    ),
    Reader("ohif", "OHIF 3.13", (*_CLASSIC, "htj2k", "htj2k-rpcl"), TESTED),
    Reader(
        "dcm4che",
        "dcm4che 5.34",
        (*_CLASSIC, "deflated", "htj2k", "htj2k-rpcl", "jpeg-xl", "jpeg-xl-jpeg"),
        f"{STATED} (github.com/dcm4che: dcm4che#1370, dcm4che#1535, dcm4chee-arc-light#4805)",
    ),
    Reader(
        "fo-dicom",
        "fo-dicom 5 with fo-dicom.Codecs",
        (*_CLASSIC, "deflated"),
        f"{STATED} (fo-dicom.github.io: transfer syntaxes; github.com/Efferent-Health/fo-dicom.Codecs)",
    ),
    Reader(
        "aws",
        "AWS HealthImaging",
        (*_CLASSIC, "deflated", "htj2k", "htj2k-rpcl"),
        f"{STATED} (docs.aws.amazon.com/healthimaging: supported transfer syntaxes)",
        "codes all but lossy and native segmentations anew, as HTJ2K or JPEG 2000",
    ),
)


def reader(name: str) -> Reader:
    """Return the row of a reader.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    for row in READERS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in READERS)
    raise UsageError(f"unknown reader {name!r}; choose among {known}")


@cache
def readable(readers: str) -> tuple[TransferSyntax, ...]:
    """Return the targets that all of some readers read; all targets for none.

    Parameters
    ----------
    readers
        Names, separated by commas.

    Raises
    ------
    UsageError
        A name is that of no reader.
    """
    asked = [reader(name.strip()) for name in readers.split(",") if name.strip()]
    return tuple(row for row in syntaxes.TARGETS if all(each.reads(row) for each in asked))


def not_read(wanted: str, readers: str) -> str:
    """Say that some targets are none that all of some readers read."""
    allowed = ", ".join(map(str, readable(readers))) or "nothing in common"
    return f"expected what is read by {readers} ({allowed}), found {wanted}"
