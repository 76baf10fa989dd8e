"""MP4 with H.264 video, by PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.errors import UnsupportedPixelFormat
from cinemill.operations.extract.writers import Clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.storage.folder import Staging

_TICKS_PER_MS = 90
_TIME_BASE = Fraction(1, 1000 * _TICKS_PER_MS)
_LARGEST = 16384
"""Pixels that x264 takes in each direction."""
_MOST = 1 << 27
"""Pixels that FFmpeg takes, with room to spare."""

_LONGEST = (1 << 31) - 1
"""Ticks that MP4's 32-bit durations hold with room to spare."""

_BT709, _LIMITED_RANGE = 1, 1
_OPTIONS = {"crf": "16", "preset": "fast", "bf": "0", "mbtree": "0"}
"""Without macroblock trees: by x264's vector code they are others from time to time, and so would be the bytes of a clip."""


class Mp4:
    """H.264 High, 4:2:0, each frame shown for its own time; odd sizes repeat the last row or column."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        import av

        rows, columns = clip.pixels.rows, clip.pixels.columns
        if max(rows, columns) > _LARGEST or rows * columns > _MOST:
            raise UnsupportedPixelFormat(
                f"mp4 holds up to {_LARGEST} pixels in each direction and {_MOST} in all, "
                f"found {columns}x{rows}; use --scale"
            )
        self._clip = clip
        starts = np.concatenate(([0.0], np.cumsum(clip.durations)))
        ticks = np.rint(starts * _TICKS_PER_MS).astype(np.int64)
        shown = np.clip(np.diff(ticks), 1, _LONGEST)
        self._ticks = np.concatenate(([0], np.cumsum(shown))).tolist()
        self._ends = dict(zip(self._ticks, self._ticks[1:], strict=False))
        self._position = 0
        self._container: Any = av.open(
            str(staging.reserve(clip.name())), "w", format="mp4", options={"movflags": "faststart"}
        )
        rate = Fraction(1000 / float(np.mean(clip.durations))).limit_denominator(1001)
        stream: Any = self._container.add_stream("libx264", rate=rate, options=_OPTIONS)
        stream.width, stream.height = columns + columns % 2, rows + rows % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = _TIME_BASE
        for name in ("color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, name, _BT709)
        stream.codec_context.color_range = _LIMITED_RANGE
        self._stream = stream

    def encode(self, indices: Sequence[int]) -> list[Any]:
        """Convert some frames to YCbCr 4:2:0."""
        from av import VideoFrame

        images = []
        for frame in self._clip.frames(indices):
            rows, columns = frame.shape[:2]
            even = ((0, rows % 2), (0, columns % 2), (0, 0))[: frame.ndim]
            padded = np.pad(frame, even, mode="edge") if rows % 2 or columns % 2 else frame
            image = VideoFrame.from_ndarray(padded, format="gray" if frame.ndim == 2 else "rgb24")
            images.append(image.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"))
        return images

    def write(self, encoded: list[Any]) -> None:
        """Encode frames."""
        for image in encoded:
            image.pts = self._ticks[self._position]
            image.time_base = _TIME_BASE
            self._position += 1
            self._mux(self._stream.encode(image))

    def close(self) -> None:
        """Encode what the encoder still holds and finish the file."""
        self._mux(self._stream.encode(None))
        self._container.close()

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._ends[packet.pts] - packet.pts
            self._container.mux(packet)
