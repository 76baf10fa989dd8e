"""NumPy and Zarr arrays."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.operations.extract.writers import Clip, FrameFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Samples
    from cinemill.storage.folder import Staging


class Npy(FrameFiles):
    """An array file for each frame: (rows, columns) or (rows, columns, samples)."""

    def encode(self, indices: Sequence[int]) -> None:
        """Write the files of some frames."""
        header = npy_header(self.clip.pixels.shape, self.clip.pixels.dtype)
        for index, frame in zip(indices, self.clip.frames(indices), strict=True):
            self.staging.write(self.paths[index], header, frame.data)


class Npz:
    """All frames in one archive: ``frames`` (frames, rows, columns[, samples]), ``index``, ``time_ms``, and a text.

    That is ``photometric_interpretation``, the colour space of the samples.

    Frames are appended one by one, so that memory does not grow with the cine.
    """

    def __init__(self, clip: Clip, staging: Staging) -> None:
        self._clip = clip
        self._archive = zipfile.ZipFile(staging.open(clip.name()), "w", zipfile.ZIP_STORED)
        self._member = self._archive.open(zipfile.ZipInfo("frames.npy"), "w", force_zip64=True)
        self._member.write(npy_header((len(clip.indices), *clip.pixels.shape), clip.pixels.dtype))

    def encode(self, indices: Sequence[int]) -> list[Samples]:
        """Decode some frames."""
        return self._clip.frames(indices)

    def write(self, encoded: list[Samples]) -> None:
        """Append frames."""
        for frame in encoded:
            self._member.write(frame.tobytes())

    def close(self) -> None:
        """Append the coordinates."""
        with self._archive:
            self._member.close()
            coordinates = {
                "index": np.array(self._clip.indices, np.int64),
                "time_ms": self._clip.times,
                "photometric_interpretation": np.array(self._clip.pixels.photometric_interpretation),
            }
            for name, values in coordinates.items():
                header = npy_header(values.shape, values.dtype)
                self._archive.writestr(zipfile.ZipInfo(f"{name}.npy"), header + values.tobytes())


class Zarr:
    """A Zarr v3 group that xarray opens: ``frames``, a chunk a frame, with ``time`` and ``index`` along its first axis."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        import zarr

        self._clip = clip
        self._at = {index: position for position, index in enumerate(clip.indices)}
        group: Any = zarr.create_group(staging.reserve(clip.name()), zarr_format=3)
        self._frames: Any = group.create_array(
            "frames",
            shape=(len(clip.indices), *clip.pixels.shape),
            chunks=(1, *clip.pixels.shape),
            chunk_key_encoding={"name": "default", "separator": "."},
            dtype=clip.pixels.dtype,
            dimension_names=("frame", "row", "column", "sample")[: 1 + len(clip.pixels.shape)],
            attributes={
                "photometric_interpretation": clip.pixels.photometric_interpretation,
                "coordinates": "time index",
            },
        )
        coordinates = {"time": (clip.times, {"units": "ms"}), "index": (np.array(clip.indices, np.int64), {})}
        for name, (values, attributes) in coordinates.items():
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                dimension_names=("frame",),
                attributes=attributes,
            )
            array[:] = values

    def encode(self, indices: Sequence[int]) -> None:
        """Write the chunks of some frames."""
        for index, frame in zip(indices, self._clip.frames(indices), strict=True):
            self._frames[self._at[index]] = frame

    def write(self, encoded: None) -> None:
        """Do nothing more."""

    def close(self) -> None:
        """Do nothing more."""


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what stands before the samples of an array in a file (NumPy's format 1.0)."""
    header = io.BytesIO()
    description = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        header, {"shape": shape, "fortran_order": False, "descr": description}
    )
    return header.getvalue()
