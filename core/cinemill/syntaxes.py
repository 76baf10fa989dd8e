"""The transfer syntaxes, one row each: what they are, and what they can legally hold (PS3.5 §8.2, §10, Annex A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cinemill.errors import UnknownTarget, UnsupportedTransferSyntax

Legal = Mapping[str, range]
"""Photometric interpretation → Bits Stored that a transfer syntax may hold."""


@dataclass(frozen=True, slots=True, eq=False)
class TransferSyntax:
    """One transfer syntax.

    Attributes
    ----------
    uid, keyword
        As registered in PS3.6 Annex A.
    coding
        The family of codestreams: ``native``, ``rle``, ``jpeg``, ``jpeg-lossless``, ``jpeg-ls``, ``jpeg-2000``,
        ``htj2k``, ``deflated-frame``, ``encapsulated-uncompressed``, ``jpeg-xl`` or ``video``.
    name
        Short name as a target, where it can be written.
    lossless
        Whether the syntax by itself promises lossless coding.
    of_jpeg
        Whether it codes JPEGs, which come back byte for byte, and nothing else.
    legal
        What a target may hold; empty where the syntax is never written.
    """

    uid: str
    keyword: str
    coding: str
    name: str | None = None
    lossless: bool = True
    legal: Legal = field(default_factory=dict)
    implicit_vr: bool = False
    little_endian: bool = True
    deflated: bool = False
    of_jpeg: bool = False

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments (PS3.5 §A.4)."""
        return self.coding != "native"

    def __str__(self) -> str:
        return self.name or self.keyword


_ANY = range(1, 65)
_GREY_ANY = {"MONOCHROME1": _ANY, "MONOCHROME2": _ANY}
_NATIVE = {
    **_GREY_ANY,
    "PALETTE COLOR": _ANY,
    "RGB": _ANY,
    "YBR_FULL": range(8, 9),
    "YBR_FULL_422": range(8, 9),
}
_RLE = {**_GREY_ANY, "PALETTE COLOR": range(1, 17), "RGB": range(1, 17), "YBR_FULL": range(8, 9)}
_JPEG_LS = {
    "MONOCHROME1": range(2, 17),
    "MONOCHROME2": range(2, 17),
    "PALETTE COLOR": range(2, 17),
    "RGB": range(2, 17),
    "YBR_FULL": range(2, 9),
}
_JPEG_2000 = {
    "MONOCHROME1": range(1, 39),
    "MONOCHROME2": range(1, 39),
    "PALETTE COLOR": range(1, 17),
    "YBR_RCT": range(1, 39),
    "RGB": range(1, 39),
    "YBR_FULL": range(1, 39),
}
_16 = range(1, 17)
_JPEG_XL = {"MONOCHROME1": _16, "MONOCHROME2": _16, "RGB": _16}
_JPEG_XL_JPEG = {"MONOCHROME2": range(8, 9), "RGB": range(8, 9), "YBR_FULL_422": range(8, 9)}

_4 = "1.2.840.10008.1.2.4."

TRANSFER_SYNTAXES: Mapping[str, TransferSyntax] = MappingProxyType(
    {
        row.uid: row
        for row in (
            TransferSyntax(
                "1.2.840.10008.1.2",
                "ImplicitVRLittleEndian",
                "native",
                "implicit",
                legal=_NATIVE,
                implicit_vr=True,
            ),
            TransferSyntax(
                "1.2.840.10008.1.2.1", "ExplicitVRLittleEndian", "native", "explicit", legal=_NATIVE
            ),
            TransferSyntax(
                "1.2.840.10008.1.2.1.99",
                "DeflatedExplicitVRLittleEndian",
                "native",
                "deflated",
                legal=_NATIVE,
                deflated=True,
            ),
            TransferSyntax("1.2.840.10008.1.2.2", "ExplicitVRBigEndian", "native", little_endian=False),
            TransferSyntax(
                "1.2.840.10008.1.2.1.98",
                "EncapsulatedUncompressedExplicitVRLittleEndian",
                "encapsulated-uncompressed",
                "encapsulated",
                legal=_NATIVE,
            ),
            TransferSyntax(
                "1.2.840.10008.1.2.8.1",
                "DeflatedImageFrameCompression",
                "deflated-frame",
                "deflated-frame",
                legal=_NATIVE,
            ),
            TransferSyntax("1.2.840.10008.1.2.5", "RLELossless", "rle", "rle", legal=_RLE),
            TransferSyntax(_4 + "50", "JPEGBaseline8Bit", "jpeg", lossless=False),
            TransferSyntax(_4 + "51", "JPEGExtended12Bit", "jpeg", lossless=False),
            TransferSyntax(_4 + "53", "JPEGSpectralSelectionNonHierarchical68", "jpeg", lossless=False),
            TransferSyntax(_4 + "55", "JPEGFullProgressionNonHierarchical1012", "jpeg", lossless=False),
            TransferSyntax(_4 + "57", "JPEGLossless", "jpeg-lossless"),
            TransferSyntax(_4 + "70", "JPEGLosslessSV1", "jpeg-lossless"),
            TransferSyntax(_4 + "80", "JPEGLSLossless", "jpeg-ls", "jpeg-ls", legal=_JPEG_LS),
            TransferSyntax(_4 + "81", "JPEGLSNearLossless", "jpeg-ls", lossless=False),
            TransferSyntax(_4 + "90", "JPEG2000Lossless", "jpeg-2000", "jpeg-2000", legal=_JPEG_2000),
            TransferSyntax(_4 + "91", "JPEG2000", "jpeg-2000", lossless=False),
            TransferSyntax(_4 + "92", "JPEG2000MCLossless", "jpeg-2000"),
            TransferSyntax(_4 + "93", "JPEG2000MC", "jpeg-2000", lossless=False),
            TransferSyntax(_4 + "201", "HTJ2KLossless", "htj2k", "htj2k", legal=_JPEG_2000),
            TransferSyntax(_4 + "202", "HTJ2KLosslessRPCL", "htj2k", "htj2k-rpcl", legal=_JPEG_2000),
            TransferSyntax(_4 + "203", "HTJ2K", "htj2k", lossless=False),
            TransferSyntax(_4 + "110", "JPEGXLLossless", "jpeg-xl", "jpeg-xl", legal=_JPEG_XL),
            TransferSyntax(
                _4 + "111",
                "JPEGXLJPEGRecompression",
                "jpeg-xl",
                "jpeg-xl-jpeg",
                lossless=False,
                legal=_JPEG_XL_JPEG,
                of_jpeg=True,
            ),
            TransferSyntax(_4 + "112", "JPEGXL", "jpeg-xl", lossless=False),
            TransferSyntax(_4 + "100", "MPEG2MPML", "video", lossless=False),
            TransferSyntax(_4 + "100.1", "MPEG2MPMLF", "video", lossless=False),
            TransferSyntax(_4 + "101", "MPEG2MPHL", "video", lossless=False),
            TransferSyntax(_4 + "101.1", "MPEG2MPHLF", "video", lossless=False),
            TransferSyntax(_4 + "102", "MPEG4HP41", "video", lossless=False),
            TransferSyntax(_4 + "102.1", "MPEG4HP41F", "video", lossless=False),
            TransferSyntax(_4 + "103", "MPEG4HP41BD", "video", lossless=False),
            TransferSyntax(_4 + "103.1", "MPEG4HP41BDF", "video", lossless=False),
            TransferSyntax(_4 + "104", "MPEG4HP422D", "video", lossless=False),
            TransferSyntax(_4 + "104.1", "MPEG4HP422DF", "video", lossless=False),
            TransferSyntax(_4 + "105", "MPEG4HP423D", "video", lossless=False),
            TransferSyntax(_4 + "105.1", "MPEG4HP423DF", "video", lossless=False),
            TransferSyntax(_4 + "106", "MPEG4HP42STEREO", "video", lossless=False),
            TransferSyntax(_4 + "106.1", "MPEG4HP42STEREOF", "video", lossless=False),
            TransferSyntax(_4 + "107", "HEVCMP51", "video", lossless=False),
            TransferSyntax(_4 + "108", "HEVCM10P51", "video", lossless=False),
        )
    }
)
"""All rows, by UID."""

TARGETS: tuple[TransferSyntax, ...] = tuple(row for row in TRANSFER_SYNTAXES.values() if row.name)
"""The transfer syntaxes that can be written."""


def find(uid: str) -> TransferSyntax:
    """Return the row of a transfer syntax UID.

    Raises
    ------
    UnsupportedTransferSyntax
        The UID is in no row.
    """
    try:
        return TRANSFER_SYNTAXES[uid]
    except KeyError:
        raise UnsupportedTransferSyntax(
            f"unknown transfer syntax {uid[:64] or '(empty)'}; this program reads {len(TRANSFER_SYNTAXES)} others",
            transfer_syntax=uid,
        ) from None


def target(name: str) -> TransferSyntax:
    """Return the row of a target given by short name, UID or keyword.

    Raises
    ------
    UnknownTarget
        Nothing that can be written has that name.
    """
    for row in TARGETS:
        if name in {row.name, row.uid, row.keyword}:
            return row
    known = ", ".join(str(row.name) for row in TARGETS)
    for row in TRANSFER_SYNTAXES.values():
        if name in {row.uid, row.keyword}:
            why = "is video, which is copied and extracted only" if row.coding == "video" else "is read only"
            raise UnknownTarget(f"can't write {name!r}: {row.keyword} {why}; choose one of {known}")
    raise UnknownTarget(f"can't write {name!r}; choose one of {known}")
