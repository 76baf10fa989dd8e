"""Colour that is grey throughout: found in every sample of every frame, and then written with one sample a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import CinemillError, VerificationError
from cinemill.pipeline import chunks, pipeline

if TYPE_CHECKING:
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.operation import Control
    from cinemill.operations.transcode.plan import Plan
    from cinemill.operations.transcode.request import Transcode
    from cinemill.pixel_format import Samples

TOLD = "every sample of every frame is R = G = B; written as MONOCHROME2"
_COLOUR_PRESENT = 0x00280014


def may_collapse(decoder: FrameDecoder) -> bool:
    """Whether colour has no meaning by the header: none that the machine speaks of, and no region of colour flow."""
    source = decoder.source
    pixels = decoder.pixels
    if pixels.samples != 3 or pixels.photometric_interpretation not in {"RGB", "YBR_FULL"}:
        return False
    if source.short(_COLOUR_PRESENT, 0):
        return False
    try:
        from cinemill.frames.regions import SEQUENCE, read_regions

        regions = read_regions(source.part(SEQUENCE), pixels.rows, pixels.columns)
    except CinemillError:
        return False
    return all(region.data_type != "colour flow" for region in regions)


def becomes_grey(decoder: FrameDecoder, request: Transcode, control: Control) -> bool:
    """Whether grey for colour was asked for, and every sample of every frame is R = G = B; the first that is not ends the search.

    Parameters
    ----------
    decoder
        Of the frames.
    request
        The options.
    control
        Threads and cancellation.

    Raises
    ------
    CinemillError
        A frame can't be decoded.
    """
    if not (request.collapse_grey and may_collapse(decoder)):
        return False
    cut = chunks(len(decoder.source), decoder.pixels.nbytes, decoder.batch, control.cores)
    with pipeline(control.cores_for(len(decoder.source)), control.cancelled) as pipe:
        return all(pipe.stage(lambda indices: all(map(is_grey, decoder.decode(indices, "RGB"))), cut))


def is_grey(frame: Samples) -> bool:
    """Whether all pixels of a frame in RGB are grey: few rows tell nearly all that are not, at little cost."""
    return all(
        np.array_equal(frame[rows, :, 0], frame[rows, :, other])
        for rows in (slice(len(frame) // 2, len(frame) // 2 + 1), slice(0, None, 16), slice(None))
        for other in (1, 2)
    )


def collapsed(plan: Plan) -> Plan:
    """Return the same with one sample a pixel.

    Raises
    ------
    UnsupportedPixelFormat
        The target can't hold that.
    """
    grey = {"samples": 1, "photometric_interpretation": "MONOCHROME2", "planar_configuration": 0}
    return plan._replace(
        encoded=plan.encoded.with_(**grey),
        written=plan.written.with_(**grey),
        decoded_as="RGB",
        grey=True,
    )


def one_sample(frame: Samples, index: int) -> Samples:
    """Return a frame in RGB with one sample a pixel.

    Raises
    ------
    VerificationError
        It is not grey.
    """
    if not is_grey(frame):
        raise VerificationError("a pixel is not grey; nothing was kept", frame=index)
    return np.ascontiguousarray(frame[..., 0])
