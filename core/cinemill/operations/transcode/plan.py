"""Decides what becomes of an instance: copied, recoded, transcoded or refused, and what its header says after.

Pure rules, nothing is decoded: PS3.5 §8.2 and Annex A say what a transfer syntax may hold, PS3.3 which colour spaces an IOD
has in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from cinemill import syntaxes
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.dicom.file_meta import is_part10
from cinemill.dicom.misdeclared import is_misdeclared
from cinemill.dicom.sop_classes import RGB_IODS, ULTRASOUND
from cinemill.errors import UnsupportedPixelFormat, UnsupportedTransferSyntax
from cinemill.operations.transcode.transform import FrameTransform, Identity

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.policy.words import Colour
    from cinemill.pixel_format import PixelFormat
    from cinemill.syntaxes import TransferSyntax

Action: TypeAlias = Literal["copy", "recode", "transcode"]

_RGB_FOR_ALL = frozenset(("rle", "jpeg-xl"))
"""Codings whose YBR_FULL viewers take for colour by pixel, or that can't hold it; every IOD that has colour has RGB in them."""
_UNCOMPRESSED = frozenset(("native", "encapsulated-uncompressed", "deflated-frame"))
_RGB_WHERE_ASKED = _RGB_FOR_ALL | _UNCOMPRESSED | {"jpeg-ls", "jpeg-2000", "htj2k"}
_WHOLE_CONTAINER = _UNCOMPRESSED | {"rle"}
"""Codings that hold every allocated bit, so that nothing needs masking."""


class Plan(NamedTuple):
    """How the frames of one instance are transcoded.

    Attributes
    ----------
    decoded
        Format of the decoded samples.
    encoded
        Format handed to the encoder: its photometric interpretation is the colour space of the samples.
    written
        What the header of the output says.
    limit
        Bits that samples may use; None where the encoder keeps the whole container.
    masked
        Whether bits above the limit are junk or overlays to be removed, and not samples.
    transform
        What is done to decoded samples before they are encoded.
    decoded_as
        Colour space of decoded frames, that of `encoded` where it is empty.
    grey
        Whether one sample of three that are equal is kept.
    """

    target: TransferSyntax
    decoded: PixelFormat
    encoded: PixelFormat
    written: PixelFormat
    limit: int | None
    masked: bool
    transform: FrameTransform = Identity()
    decoded_as: str = ""
    grey: bool = False

    @property
    def interpretation(self) -> str:
        """Colour space that frames are decoded to."""
        return self.decoded_as or self.encoded.photometric_interpretation


def choose_action(source: Source, target: TransferSyntax, colour: Colour) -> Action:
    """Say whether an instance is copied byte for byte, re-encoded around its pixels, or transcoded.

    Parameters
    ----------
    source
        The open file.
    target
        Transfer syntax of the output.
    colour
        ``auto``, ``keep`` or ``rgb``.

    Raises
    ------
    UnsupportedTransferSyntax
        Pixel data of an unknown kind.
    """
    syntax = source.transfer_syntax
    proper = is_part10(source) and source.encoding.implicit_vr == syntax.implicit_vr
    if source.pixel_data is None:
        return "copy" if proper else "recode"
    if syntax.coding == "video":
        return "copy"
    if (
        colour == "rgb"
        and not target.of_jpeg
        and source.pixels.samples == 3
        and source.pixels.photometric_interpretation.startswith("YBR_FULL")
    ):
        return "transcode"
    if syntax is target:
        return "copy" if proper and not (source.repaired or is_misdeclared(source)) else "recode"
    if syntax.coding == target.coding == "native" or (syntax.name, target.name) == ("htj2k-rpcl", "htj2k"):
        return "recode"
    return "transcode"


def written_syntax(source: Source, action: Action, target: TransferSyntax) -> TransferSyntax:
    """Return the transfer syntax of the output: what has no pixel data keeps its own, but for big endian.

    Parameters
    ----------
    source
        The open file.
    action
        What becomes of it.
    target
        What was asked for.
    """
    own = source.transfer_syntax
    if action == "copy" or (source.pixel_data is None and own.little_endian):
        return own
    return syntaxes.target("explicit") if source.pixel_data is None else target


def mended_syntax(source: Source) -> TransferSyntax | None:
    """Return the transfer syntax of what is written in place of a copy that would be as wrong as its source; None where one will do.

    Parameters
    ----------
    source
        The open file: `Source.repaired` says whether anything was wrong.
    """
    own = source.transfer_syntax
    if source.pixel_data is None or own.coding == "video" or not source.repaired:
        return None
    return own if own.little_endian else syntaxes.target("explicit")


def make_plan(
    decoder: FrameDecoder, target: TransferSyntax, colour: Colour, *, keep_coded_depth: bool = False
) -> Plan:
    """Decide how the frames of an instance are decoded, encoded and described.

    Parameters
    ----------
    decoder
        Of the source's frames.
    target
        Transfer syntax of the output.
    colour
        ``auto``, ``keep`` or ``rgb``.
    keep_coded_depth
        Raise Bits Stored to the codestream's precision, because its samples need it.

    Raises
    ------
    UnsupportedPixelFormat
        The target can't hold such pixels; the message names what can.
    """
    source, decoded = decoder.source, decoder.pixels
    header = source.pixels
    if source.pixel_data is None or source.pixel_data.tag != PIXEL_DATA:
        raise UnsupportedPixelFormat(
            f"{target} holds integer pixels only; use explicit, implicit or deflated"
        )
    interpretation = _colour_space(decoder, target, colour)
    whole = target.coding in _WHOLE_CONTAINER
    depth = decoder.depth
    stored = decoded.bits_stored if keep_coded_depth else depth.stored
    if not depth.aligned and not whole:
        raise UnsupportedPixelFormat(
            f"High Bit {source.high_bit} with Bits Stored {header.bits_stored}: {target} holds right-aligned "
            "samples only; use rle, explicit, implicit or deflated"
        )
    allocated = max(decoded.bits_allocated, 8) if keep_coded_depth else decoded.bits_allocated
    encoded = decoded.with_(
        photometric_interpretation=interpretation, bits_allocated=allocated, bits_stored=stored
    )
    written = encoded.with_(
        photometric_interpretation=_label(interpretation, target),
        planar_configuration=_planar_configuration(source, interpretation, target),
    )
    check_legal(written, target)
    as_they_lie = decoder.stream is None or depth.overlays
    keeps_unused_bits = whole and as_they_lie and allocated > 1
    return Plan(
        target=target,
        decoded=decoded,
        encoded=encoded,
        written=written,
        limit=None if keeps_unused_bits or stored == 8 * decoded.dtype.itemsize else stored,
        masked=depth.masked,
    )


def _colour_space(decoder: FrameDecoder, target: TransferSyntax, colour: Colour) -> str:
    found = decoder.pixels.photometric_interpretation
    if found != "YBR_FULL" or colour == "keep":
        return found
    sop_class = decoder.source.text(0x00080016)
    wants_rgb = target.coding in (_RGB_WHERE_ASKED if sop_class in RGB_IODS else _RGB_FOR_ALL)
    converts = decoder.depth.stored == 8  # the equations are those of 8 bits (PS3.3 C.7.6.3.1.2)
    return "RGB" if colour == "rgb" or (wants_rgb and converts) else found


def _label(interpretation: str, target: TransferSyntax) -> str:
    """RGB is coded with the reversible component transform in both JPEG 2000 parts (PS3.5 §8.2.4)."""
    if interpretation == "RGB" and target.coding in {"jpeg-2000", "htj2k"}:
        return "YBR_RCT"
    return interpretation


def _planar_configuration(source: Source, interpretation: str, target: TransferSyntax) -> int:
    """Ultrasound has YBR_FULL by plane (PS3.3 C.8.5.6), as RLE has all colour; else it is by pixel."""
    ultrasound = source.text(0x00080016) in ULTRASOUND
    return int(ultrasound and interpretation == "YBR_FULL" and target.coding == "rle")


def check_legal(written: PixelFormat, target: TransferSyntax) -> None:
    """Check that a target may hold such pixels.

    Raises
    ------
    UnsupportedPixelFormat
        It may not; the message names what it may hold.
    """
    bits = target.legal.get(written.photometric_interpretation)
    if bits is None:
        raise UnsupportedPixelFormat(
            f"{target} can't hold {written.photometric_interpretation} (PS3.5 §8.2); "
            f"it holds {', '.join(target.legal)}"
        )
    if written.bits_stored not in bits:
        held = str(bits.start) if len(bits) == 1 else f"{bits.start} to {bits.stop - 1}"
        advice = "" if target.coding in _UNCOMPRESSED else "; use explicit, implicit or deflated"
        raise UnsupportedPixelFormat(
            f"{target} holds {held} bits of {written.photometric_interpretation} (PS3.5 §8.2), "
            f"found {written.bits_stored}{advice}"
        )


def check_recodable(source: Source, target: TransferSyntax) -> None:
    """Check that pixel bytes can be carried over as they are.

    Raises
    ------
    UnsupportedTransferSyntax
        Native Pixel Data past 4 GiB has no length field that could say so.
    """
    element = source.pixel_data
    if element is not None and target.coding == "native" and element.end - element.value > 0xFFFFFFFE:
        raise UnsupportedTransferSyntax(
            f"{target} can't hold more than 4 GiB of pixel data; use an encapsulated syntax"
        )
