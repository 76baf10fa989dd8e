"""Writes one instance with rectangles blackened: JPEG as JPEG, everything else between decoding and encoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cinemill import syntaxes
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import UnsupportedPixelFormat, UnsupportedTransferSyntax
from cinemill.frames.decode import FrameDecoder
from cinemill.operations.mask.icons import blank_icons
from cinemill.operations.mask.jpegs import blacken_jpegs, can_blacken
from cinemill.operations.mask.samples import Blackened, as_stored, darkest
from cinemill.operations.transcode.grey import becomes_grey, collapsed
from cinemill.operations.transcode.plan import Plan, make_plan
from cinemill.operations.transcode.stages import as_deep_as_needed, transcode_frames
from cinemill.operations.transcode.verify import decoder_of

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.mask.masks import Mask
    from cinemill.operations.operation import Control
    from cinemill.operations.origin import Origin
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.request import Transcode
    from cinemill.syntaxes import TransferSyntax

_LIKE = {"jpeg": "jpeg-ls", "jpeg-lossless": "jpeg-ls", "native": "explicit"}
"""Where frames are coded in a way that is read only: how they are coded then."""

_LOSSY = "the source's codestreams are lossy and can't be masked as they are; they were decoded, masked, and encoded losslessly"


def write_masked(
    origin: Origin,
    output: Path,
    request: Transcode,
    control: Control,
    mask: Mask,
    *,
    target: TransferSyntax | None = None,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> Receipt:
    """Write one instance with the rectangles of a mask blackened in every frame, and prove that nothing else changed.

    Parameters
    ----------
    origin
        What the output is made from.
    output
        Where the instance will appear.
    request
        The options of transcoding: colour, verification, overwriting, preserving.
    control
        Threads, cancellation and progress.
    mask
        What is to be black.
    target
        Transfer syntax of the output. By default JPEG with DCT stays as it is outside the mask, and what is lossless
        stays in its coding, or becomes JPEG-LS where that is only read.
    told
        What the receipt says besides.

    Raises
    ------
    Refused
        There is no exact way; the message says what to do.
    """
    source, origin.boxes = origin.source, len(mask.boxes)
    if source.transfer_syntax.coding == "video":
        raise UnsupportedTransferSyntax(
            f"{source.transfer_syntax.keyword} can't be masked exactly: no frame of a video stands alone, and encoding it "
            "again would lose more; extract its frames as pictures (cinemill extract --mask-outside-regions)"
        )
    if target is not None and target.of_jpeg:
        raise UnsupportedTransferSyntax(
            f"{target} codes JPEGs as they are; leave out --to, and recompress the masked output afterwards"
        )
    if source.pixel_data is not None and source.pixel_data.tag != PIXEL_DATA:
        raise UnsupportedPixelFormat("floating point pixels can't be masked: no value of them is black")
    decoder = decoder_of(source, request.verify)
    if can_blacken(decoder) and target in {None, source.transfer_syntax}:
        return blacken_jpegs(origin, output, request, control, mask, told)
    if decoder.lossy and target is None:
        decoder.warnings.append(_LOSSY)
    chosen = target or own_target(source, decoder)
    stays = target is None and chosen.coding == decoder.coding and request.colour == "auto"
    grey = becomes_grey(decoder, request, control)

    def written(*, keep_coded_depth: bool) -> Receipt:
        colour = "keep" if stays else request.colour
        plan = make_plan(decoder, chosen, colour, keep_coded_depth=keep_coded_depth)
        plan = collapsed(plan) if grey else plan
        return transcode_frames(
            decoder,
            masked_plan(plan, decoder, mask),
            origin,
            output,
            request,
            control,
            told,
            change_item=blank_icons(source),
        )

    return as_deep_as_needed(decoder, written)


def own_target(source: Source, decoder: FrameDecoder) -> TransferSyntax:
    """Return the transfer syntax that keeps frames coded as they are, or JPEG-LS where that is only read."""
    own = source.transfer_syntax
    if own in syntaxes.TARGETS and own.lossless and own.coding in {decoder.coding, "native"}:
        return own
    return syntaxes.target(_LIKE.get(decoder.coding, decoder.coding))


def masked_plan(plan: Plan, decoder: FrameDecoder, mask: Mask) -> Plan:
    """Return a plan by which the rectangles of a mask are blackened before frames are encoded.

    Parameters
    ----------
    plan
        How the instance is transcoded.
    decoder
        Of its frames.
    mask
        What becomes black.
    """
    value = (0,) if plan.grey else darkest(decoder, plan.interpretation)
    return plan._replace(transform=Blackened(mask, as_stored(decoder, value), plan.decoded))
