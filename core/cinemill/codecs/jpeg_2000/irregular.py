"""Decoders of JPEG 2000 as OpenJPEG 1.x wrote it: its packets hold bytes that look like markers (FF90 to FFFF).

Its code-blocks end with FF, which T.800 D.4.1 has dropped, and whatever follows makes a marker of it. Decoders that go by
lengths read the same samples. Such bytes elsewhere are damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs.jpeg_2000 import decode as kernels
from cinemill.codecs.jpeg_2000.codec import Jpeg2000
from cinemill.codecs.jpeg_2000.ffmpeg import Ffmpeg
from cinemill.codecs.jpeg_2000.markers import markers_in_packets
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, check_codestream
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


def stray_marker(data: Buffer, pixels: PixelFormat) -> str | None:
    """Return the first marker code in the packets of a codestream in which nothing else is wrong, else None."""
    try:
        codestream, header = check_codestream(data, pixels, 0, tolerant=True)
    except CodecError:
        return None
    _, code = next(markers_in_packets(codestream, header), (0, None))
    return code


class ByKernels(Jpeg2000):
    """cinemill's kernels, without OpenJPEG to stand in for them.

    Raises `UnsupportedPixelFormat` for what they don't decode, `CodecError` for marker codes elsewhere than at the end of a
    code-block.
    """

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames one by one."""
        return [kernels.decode_irregular(data, pixels, frame) for frame, data in enumerate(codestreams)]


class ByOpenJpeg(OpenJpeg):
    """OpenJPEG."""

    tolerant = True


class ByFfmpeg(Ffmpeg):
    """FFmpeg."""

    tolerant = True
