"""The window of an image whose header has none: from the least to the greatest value of all its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.frames.render import Renderer

if TYPE_CHECKING:
    from cinemill.frames.decode import FrameDecoder
    from cinemill.frames.video import VideoDecoder
    from cinemill.pixel_format import Samples

_PADDING, _PADDING_LIMIT = "PixelPaddingValue", "PixelPaddingRangeLimit"


def full_window(decoder: FrameDecoder | VideoDecoder) -> tuple[float, float] | None:
    """Return the centre and width that show all values of a cine, None where its header has windows, or it is colour.

    One window for all frames: they stay comparable, and a clip does not flicker. Every frame is decoded for it.
    Padding pixels don't count (PS3.3 C.7.5.1.1.2).
    """
    renderer, frames = Renderer(decoder), len(decoder.source)
    shown = range(frames if renderer.varies else 1)
    if any(renderer.describe(index).get("voi") != "none" for index in shown):
        return None
    low, high = np.inf, -np.inf
    header = decoder.source.brief
    padding = header.get(_PADDING)
    limits = sorted((padding, header.get(_PADDING_LIMIT, padding))) if padding is not None else ()
    for start in range(0, frames, decoder.batch):
        indices = range(start, min(start + decoder.batch, frames))
        for index, frame in zip(indices, decoder.samples(indices), strict=True):
            values = renderer.modality(_without(frame, *limits), index)
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not np.isfinite((low, high)).all():
        return None
    return (low + high) / 2 + 0.5, high - low + 1


def _without(frame: Samples, *padding: int) -> Samples:
    """Return the samples of a frame, flat, without those between two padding values."""
    if not padding:
        return frame.reshape(-1)
    first, last = padding
    return frame[(frame < first) | (frame > last)]
