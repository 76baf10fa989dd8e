"""What decoders are known to get wrong: there, they are not asked for a second opinion.

`tests/codecs/test_known_faults.py` shows each; what it can no longer show has been mended, and goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream


class Fault(NamedTuple):
    """One thing that a decoder gets wrong.

    Attributes
    ----------
    decoder, coding
        Name of the codec, and what it decodes.
    what
        What it does instead.
    there : callable or None
        Whether a codestream is concerned; None where only its samples could tell, so that a majority has to.
    """

    decoder: str
    coding: str
    what: str
    there: Callable[[Codestream], bool] | None


FAULTS = (
    Fault(
        "pylibjpeg-libjpeg",
        "jpeg-lossless",
        "predicts as if there were no point transform",
        lambda stream: stream.point_transform > 0,
    ),
    Fault(
        "pylibjpeg-libjpeg",
        "jpeg-lossless",
        "clamps to the precision where T.81 H.1.2.1 adds modulo 2^16",
        None,
    ),
    Fault(
        "imagecodecs-dicomrle",
        "rle",
        "joins segments before it looks at their sizes: it can't read those with a byte too many",
        None,
    ),
    Fault(
        "jxl-oxide",
        "jpeg-xl",
        "widens samples to 8 or 16 bits whatever their precision (which its module takes back)",
        None,
    ),
    Fault(
        "ffmpeg",
        "jpeg-2000",
        "shifts signed samples to unsigned ones (which its module takes back)",
        None,
    ),
)


def known_to_fail(decoder: str, stream: Codestream | None) -> str | None:
    """Say what a decoder gets wrong of such a codestream, None if nothing is known."""
    if stream is None:
        return None
    for fault in FAULTS:
        if (fault.decoder, fault.coding) == (decoder, stream.coding) and fault.there and fault.there(stream):
            return fault.what
    return None
