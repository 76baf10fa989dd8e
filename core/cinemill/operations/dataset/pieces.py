"""Writes one clip in its format: members of a tar, an archive of arrays, or a video with a text file beside it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.operations.extract.writers.arrays import npy_header
from cinemill.storage.workroom import put

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cinemill.frames.cine import Cine
    from cinemill.operations.dataset.fan import Shape
    from cinemill.pixel_format import Buffer

BLOCK = 512
"""Bytes of a tar's blocks."""


@dataclass(frozen=True, slots=True)
class Made:
    """One clip.

    Attributes
    ----------
    name
        Of the clip, in the data set.
    frames
        (frames, rows, columns) or (frames, rows, columns, 3).
    mask
        (rows, columns), None where none was asked for.
    told
        What the format says of it beside the frames, as JSON-ready values.
    fps
        Frames a second.
    cine
        Where it comes from.
    """

    name: str
    frames: NDArray[np.uint8]
    mask: Shape | None
    told: dict[str, Any]
    fps: float
    cine: Cine


Write = Callable[[Made, "Path", str], Sequence[str]]
"""Writes a clip into a directory, under names that begin so; returns what they end with."""


def _tar(made: Made, folder: Path, stem: str) -> Sequence[str]:
    members: list[tuple[str, list[Buffer]]] = [
        ("npy", [npy_header(made.frames.shape, made.frames.dtype), made.frames.data.cast("B")]),
        ("json", [_text(made.told)]),
    ]
    if made.mask is not None:
        mask = made.mask.view(np.uint8)
        members.insert(
            1, ("mask.npy", [npy_header(mask.shape, mask.dtype), np.ascontiguousarray(mask).data.cast("B")])
        )
    parts: list[Buffer] = []
    for suffix, data in members:
        size = sum(map(len, data))
        parts += [tar_header(f"{made.name}.{suffix}", size), *data, bytes(-size % BLOCK)]
    put(folder / f"{stem}.tar", *parts)
    return [".tar"]


def _npz(made: Made, folder: Path, stem: str) -> Sequence[str]:
    told = made.told
    arrays: dict[str, NDArray[Any]] = {
        "frames": made.frames,
        "time_ms": np.array([np.nan if time is None else time for time in told["time_ms"]], np.float64),
        "frame": np.array(told["frame"], np.int32),
        "true_frames": np.array(told["true_frames"], np.int32),
        "mm_per_pixel": np.array(
            np.nan if told["mm_per_pixel"] is None else told["mm_per_pixel"], np.float64
        ),
    }
    if made.mask is not None:
        arrays["mask"] = made.mask.view(np.uint8)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, array in arrays.items():
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                member.write(npy_header(array.shape, array.dtype))
                member.write(np.ascontiguousarray(array).data)
        file.writestr(zipfile.ZipInfo("clip.json"), _text(told))
    put(folder / f"{stem}.npz", archive.getbuffer())
    return [".npz"]


def _mp4(made: Made, folder: Path, stem: str) -> Sequence[str]:
    from cinemill.operations.extract.writers import Clip
    from cinemill.operations.extract.writers.video import Mp4
    from cinemill.storage.folder import Staging

    count, rows, columns = made.frames.shape[:3]
    grey = made.frames.ndim == 3
    pixels = made.cine.pixels.with_(
        rows=rows,
        columns=columns,
        samples=1 if grey else 3,
        bits_allocated=8,
        bits_stored=8,
        signed=False,
        photometric_interpretation="MONOCHROME2" if grey else "RGB",
    )
    clip = Clip(
        cine=made.cine,
        indices=range(count),
        times=np.arange(count) * 1000 / made.fps,
        durations=np.full(count, 1000 / made.fps),
        pixels=pixels,
        as_coded=False,
        stem=stem,
        suffix=".mp4",
        single=f"{stem}.mp4",
        frames=lambda indices: [made.frames[index] for index in indices],
    )
    with Staging(folder, overwrite=True) as staging:
        video = Mp4(clip, staging)
        for index in range(count):
            video.write(video.encode([index]))
        video.close()
        staging.commit()
    put(folder / f"{stem}.json", _text(made.told))
    if made.mask is None:
        return [".mp4", ".json"]
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(made.mask.view(np.uint8) * np.uint8(255)).save(png, "png")
    put(folder / f"{stem}.mask.png", png.getbuffer())
    return [".mp4", ".json", ".mask.png"]


WRITERS: Mapping[str, Write] = MappingProxyType({"webdataset": _tar, "zarr": _npz, "npz": _npz, "mp4": _mp4})
"""How each format writes a clip; Zarr's arrays are filled from archives."""


def tar_header(name: str, size: int) -> bytes:
    """Return the header of a member (POSIX ustar) that tells neither time nor owner."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.USTAR_FORMAT)


def _text(told: dict[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, allow_nan=False).encode()
