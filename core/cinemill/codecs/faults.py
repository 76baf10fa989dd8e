"""What decoders are known to get wrong: there, they are not asked for a second opinion.

Where only samples could tell, a majority has to: libjpeg of pylibjpeg clamps sums of JPEG Lossless to the precision, where T.81
H.1.2.1 adds modulo 2^16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream


def known_to_fail(decoder: str, stream: Codestream | None) -> bool:
    """Whether a decoder, told by its name, is wrong of such a codestream: libjpeg predicts as if there were no point transform."""
    return stream is not None and decoder == "pylibjpeg-libjpeg" and stream.point_transform > 0
