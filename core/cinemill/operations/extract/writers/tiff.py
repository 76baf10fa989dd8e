"""Multi-page TIFF: a page for each frame, losslessly deflated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from cinemill.operations.extract.writers import Clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import PixelFormat
    from cinemill.storage.folder import Staging

_REFERENCE_BLACK_WHITE, _RATIONAL = 532, 5
_LARGEST_CLASSIC = 0xF000_0000


class Tiff:
    """TIFF, BigTIFF where offsets might pass 32 bits. Each page's ImageDescription gives its frame and time as JSON."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        import tifffile

        self._clip = clip
        large = clip.pixels.nbytes * len(clip.indices) > _LARGEST_CLASSIC
        self._file = tifffile.TiffWriter(staging.open(clip.name()), bigtiff=large)
        self._position = 0

    def encode(self, indices: Sequence[int]) -> list[bytes]:
        """Deflate some frames, a strip each."""
        little_endian = self._clip.pixels.dtype.newbyteorder("<")
        return [
            bytes(imagecodecs.deflate_encode(frame.astype(little_endian, copy=False).tobytes(), 1))
            for frame in self._clip.frames(indices)
        ]

    def write(self, encoded: list[bytes]) -> None:
        """Append pages."""
        pixels = self._clip.pixels
        for strip in encoded:
            self._file.write(
                iter([strip]),
                shape=pixels.shape,
                dtype=pixels.dtype,
                **_colour_space(pixels),
                compression="adobe_deflate",
                rowsperstrip=pixels.rows,
                description=json.dumps(self._description()),
                metadata=None,
                software=False,
            )
            self._position += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _description(self) -> dict[str, float | None]:
        time = self._clip.times[self._position]
        return {
            "frame": self._clip.indices[self._position],
            "time_ms": None if np.isnan(time) else round(float(time), 6),
        }


def _colour_space(pixels: PixelFormat) -> dict[str, Any]:
    """Return how TIFF says the colour space: of YBR_FULL also the range of its samples (TIFF 6.0, section 20)."""
    match pixels.photometric_interpretation:
        case "MONOCHROME1":
            return {"photometric": "miniswhite"}
        case "YBR_FULL":
            largest, neutral = (1 << pixels.bits_stored) - 1, 1 << pixels.bits_stored - 1
            limits = (0, 1, largest, 1, neutral, 1, largest, 1, neutral, 1, largest, 1)
            range_tag = (_REFERENCE_BLACK_WHITE, _RATIONAL, 6, limits, True)
            return {"photometric": "ycbcr", "subsampling": (1, 1), "extratags": [range_tag]}
        case _:
            return {"photometric": "rgb" if pixels.samples == 3 else "minisblack"}
