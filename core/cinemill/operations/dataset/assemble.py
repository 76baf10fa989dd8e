"""Puts the clips of all instances together: shards and their index, files, or arrays, by split, in the order of the names of clips."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from cinemill.operations.dataset.pieces import BLOCK
from cinemill.storage.digests import named
from cinemill.storage.location import total_size
from cinemill.storage.mapped import map_file, pieces
from cinemill.storage.workroom import link, put, written

if TYPE_CHECKING:
    from cinemill.operations.dataset.request import MakeClips

_END = bytes(2 * BLOCK)
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Ready:
    """One clip that is made: where it belongs, and where its row and its pieces are.

    Attributes
    ----------
    split, clip, source_digest
        Their order is that of the data set.
    record, at
        The record of its instance, and its place there.
    """

    split: str
    clip: str
    source_digest: str
    record: str
    at: int


class Assembly:
    """Puts clips together in an empty directory.

    Parameters
    ----------
    request
        The options.
    made
        Where records and clips are.
    folder
        Where the data set is made.
    """

    def __init__(self, request: MakeClips, made: Path, folder: Path) -> None:
        self._request, self._made, self._folder = request, made, folder
        self.files: list[dict[str, Any]] = []

    def rows(self, ready: Sequence[Ready]) -> Iterator[dict[str, Any]]:
        """Put clips together, and yield the row of each, which then says where it is.

        Parameters
        ----------
        ready
            In order, each name once.
        """
        for split in dict.fromkeys(name for name, _ in self._request.splits):
            theirs = [each for each in ready if each.split == split]
            if not theirs:
                continue
            match self._request.format:
                case "webdataset":
                    yield from self._shards(split, theirs)
                case "zarr":
                    yield from self._array(split, theirs)
                case _:
                    yield from self._files(split, theirs)

    def _row(self, ready: Ready) -> dict[str, Any]:
        row: dict[str, Any] = json.loads((self._made / ready.record).read_text())["clips"][ready.at]
        return row

    def _shards(self, split: str, ready: Sequence[Ready]) -> Iterator[dict[str, Any]]:
        """Write shards, and their index as `wids` reads it."""
        most = self._request.shard_size * _MEGABYTE
        shards: list[dict[str, Any]] = []
        rows = (self._row(each) for each in ready)
        row = next(rows, None)
        while row is not None:
            name = f"{split}-{len(shards):06}.tar"
            count = size = 0
            digest = xxhash.xxh3_128()
            with written(self._folder / name) as file:
                while row is not None and (not count or size + row["pieces"][".tar"] + len(_END) <= most):
                    for part in pieces(map_file(self._made / f"{row['stem']}.tar")):
                        digest.update(part)
                        size += file.write(part)
                    yield {**row, "file": name, "position": count}
                    count += 1
                    row = next(rows, None)
                digest.update(_END)
                size += file.write(_END)
            shards.append({"url": name, "nsamples": count, "filesize": size})
            self.files.append(
                {"file": name, "split": split, "clips": count, "bytes": size, "digest": named(digest)}
            )
        index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": split, "shardlist": shards}
        write_text(self._folder / f"{split}.json", index)

    def _files(self, split: str, ready: Sequence[Ready]) -> Iterator[dict[str, Any]]:
        folder = self._folder / split
        folder.mkdir()
        size = 0
        for position, each in enumerate(ready):
            row = self._row(each)
            first, *_ = row["pieces"]
            for suffix, length in row["pieces"].items():
                link(self._made / f"{row['stem']}{suffix}", folder / f"{each.clip}{suffix}")
                size += length
            yield {**row, "file": f"{split}/{each.clip}{first}", "position": position}
        self.files.append({"file": split, "split": split, "clips": len(ready), "bytes": size})

    def _array(self, split: str, ready: Sequence[Ready]) -> Iterator[dict[str, Any]]:
        """Write a Zarr v3 group: clips along the first axis of each array."""
        import zarr

        request, name = self._request, f"{split}.zarr"
        columns, rows = request.shape
        shape: tuple[int, ...] = (request.length, rows, columns)
        axes = ["clip", "frame", "row", "column"]
        if request.colour == "rgb":
            shape, axes = (*shape, 3), [*axes, "sample"]
        group: Any = zarr.create_group(self._folder / name, zarr_format=3, attributes={"fps": request.fps})
        count = len(ready)

        def array(what: str, inner: tuple[int, ...], names: Sequence[str], dtype: str, *, each: bool) -> Any:
            return group.create_array(
                what,
                shape=(count, *inner),
                chunks=(1 if each else count, *inner),
                dtype=dtype,
                dimension_names=names,
            )

        frames = array("frames", shape, axes, "uint8", each=True)
        times = array("time_ms", shape[:1], axes[:2], "float64", each=False)
        numbers = array("frame", shape[:1], axes[:2], "int32", each=False)
        scales = array("mm_per_pixel", (), axes[:1], "float64", each=False)
        masks = (
            array("mask", (rows, columns), ["clip", "row", "column"], "uint8", each=True)
            if request.fan_mask
            else None
        )
        taken, chosen, measured = [], [], []
        for position, each in enumerate(ready):
            row = self._row(each)
            with np.load(self._made / f"{row['stem']}.npz") as clip:
                frames[position] = clip["frames"]
                if masks is not None:
                    masks[position] = clip["mask"]
                taken.append(clip["time_ms"])
                chosen.append(clip["frame"])
                measured.append(clip["mm_per_pixel"])
            yield {**row, "file": name, "position": position}
        times[:], numbers[:], scales[:] = np.array(taken), np.array(chosen), np.array(measured)
        size = total_size(self._folder / name)
        self.files.append({"file": name, "split": split, "clips": count, "bytes": size})


def write_text(path: Path, value: Any) -> None:
    """Write JSON."""
    put(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")
