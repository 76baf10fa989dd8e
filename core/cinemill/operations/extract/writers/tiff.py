"""Multi-page TIFF: a page for each frame, losslessly deflated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.operations.extract.writers import Clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.storage.folder import Staging

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
        grey = "miniswhite" if pixels.photometric_interpretation == "MONOCHROME1" else "minisblack"
        for strip in encoded:
            self._file.write(
                iter([strip]),
                shape=pixels.shape,
                dtype=pixels.dtype,
                photometric="rgb" if pixels.samples == 3 else grey,
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
