"""Makes a data set of real cines, and tells how fast clips are loaded from it, next to decoding the same cines by pydicom and OpenCV.

    python bench/dataset.py [FOLDER] [--rounds 3] [--sheet FILE]

takes the ultrasound cines in FOLDER (default: those of the folder named by CINEMILL_CORPUS), makes clips of 3 s at 30 frames a
second in each format, and prints clips a second, by the clock and by processor time, of one process: reading webdataset's shards,
npz, Zarr and MP4, and decoding the DICOM files by pydicom, with regions cropped and frames resized by OpenCV. All are measured in
turns in one run; files are in the cache of the system. ``--sheet``: a picture of the middle frame of every clip, with the outline
of its mask.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import cinemill

SIDE, FPS, SECONDS = 224, 30, 3
FORMATS = ("webdataset", "npz", "zarr", "mp4")
_TILE, _TITLE, _ACROSS = 224, 28, 6

Frames = NDArray[np.uint8]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--sheet", type=Path)
    asked = arguments.parse_args()
    folder = asked.folder or Path(os.environ["CINEMILL_CORPUS"]) / "files"
    with tempfile.TemporaryDirectory(prefix="cinemill-bench-") as scratch:
        cines = list(ultrasound(folder))
        sets = {form: Path(scratch) / form for form in FORMATS}
        for form, place in sets.items():
            started, processor = time.perf_counter(), time.process_time()
            outcome = make(cines, place, form)
            print(
                f"made {form}: {sum(outcome.clips.values())} clips of {len(cines)} cines in "
                f"{time.perf_counter() - started:.1f} s ({time.process_time() - processor:.1f} s of processor time)"
            )
        if asked.sheet is not None:
            sheet(sets["npz"]).save(asked.sheet)
        loaders: dict[str, Callable[[], int]] = {
            "webdataset package": lambda: by_webdataset(sets["webdataset"]),
            "shards by tarfile": lambda: by_tarfile(sets["webdataset"]),
            "npz": lambda: by_numpy(sets["npz"]),
            "zarr": lambda: by_zarr(sets["zarr"]),
            "mp4 by OpenCV": lambda: by_video(sets["mp4"]),
            "pydicom + OpenCV": lambda: by_pydicom(cines),
        }
        compare(loaders, asked.rounds)


def ultrasound(folder: Path) -> Iterator[Path]:
    """Yield files that hold ultrasound cines."""
    for path in sorted(folder.iterdir()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError):
            continue
        if (
            header.get("Modality") == "US"
            and header.get("NumberOfFrames", 1) > 1
            and header.get("Rows", 0) > 64
        ):
            yield path


def make(cines: list[Path], place: Path, form: Any) -> Any:
    return cinemill.dataset(
        list(map(str, cines)),
        place,
        format=form,
        size=(SIDE, SIDE),
        fps=FPS,
        seconds=SECONDS,
        clips="first",
        no_regions="whole",
        untimed="as-is",
        fan_mask=True,
        mask_outside_regions=True,
        deidentified="off",
    )


def compare(loaders: dict[str, Callable[[], int]], rounds: int) -> None:
    """Measure all loaders in turns; print the best round of each."""
    best: dict[str, tuple[float, float, int]] = {}
    for _ in range(rounds):
        for name, load in loaders.items():
            started, processor = time.perf_counter(), time.process_time()
            count = load()
            taken = time.perf_counter() - started, time.process_time() - processor
            if name not in best or taken[1] < best[name][1]:
                best[name] = (*taken, count)
    base = best["pydicom + OpenCV"]
    print(f"\n{'loader':<20} {'clips':>6} {'clips/s':>9} {'clips/s of processor':>21} {'ratio':>7}")
    for name, (clock, processor_time, count) in best.items():
        ratio = (count / processor_time) / (base[2] / base[1])
        print(f"{name:<20} {count:>6} {count / clock:>9.1f} {count / processor_time:>21.1f} {ratio:>7.1f}")


def by_webdataset(place: Path) -> int:
    import webdataset

    shards = [str(path) for path in sorted(place.glob("*.tar"))]
    return sum(
        _seen(frames)
        for (frames,) in webdataset.WebDataset(shards, shardshuffle=False).decode().to_tuple("npy")
    )


def by_tarfile(place: Path) -> int:
    count = 0
    for path in sorted(place.glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                if member.name.endswith(".npy") and not member.name.endswith(".mask.npy"):
                    data = shard.extractfile(member)
                    assert data is not None
                    count += _seen(np.load(io.BytesIO(data.read())))
    return count


def by_numpy(place: Path) -> int:
    count = 0
    for path in sorted((place / "all").glob("*.npz")):
        with np.load(path) as clip:
            count += _seen(clip["frames"])
    return count


def by_zarr(place: Path) -> int:
    import zarr

    group: Any = zarr.open_group(place / "all.zarr", mode="r")
    return sum(_seen(group["frames"][at]) for at in range(group["frames"].shape[0]))


def by_video(place: Path) -> int:
    count = 0
    for path in sorted((place / "all").glob("*.mp4")):
        video, frames = cv2.VideoCapture(str(path)), []
        while (read := video.read())[0]:
            frames.append(read[1])
        count += _seen(np.array(frames))
    return count


def by_pydicom(cines: list[Path]) -> int:
    """Decode whole cines, as scripts do: the first region, frames at even distances, resized."""
    count = 0
    for path in cines:
        dataset = pydicom.dcmread(path)
        try:
            frames = dataset.pixel_array
        except (NotImplementedError, RuntimeError):
            continue  # pydicom has no decoder for it
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            frames = (pydicom.pixels.apply_color_lut(frames, dataset) >> 8).astype(np.uint8)
        step = float(dataset.get("FrameTime") or 1000 / FPS)
        wanted = np.clip(
            np.rint(np.arange(FPS * SECONDS) * 1000 / FPS / step).astype(int), 0, len(frames) - 1
        )
        regions = dataset.get("SequenceOfUltrasoundRegions") or ()
        if regions:
            box = regions[0]
            frames = frames[
                :,
                box.RegionLocationMinY0 : box.RegionLocationMaxY1 + 1,
                box.RegionLocationMinX0 : box.RegionLocationMaxX1 + 1,
            ]
        clip = [cv2.resize(frames[at], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for at in wanted]
        count += _seen(np.array(clip))
    return count


def _seen(frames: Frames) -> int:
    """Touch every byte of a clip, as a copy to another device would; return 1."""
    return int(frames.sum(dtype=np.uint64) >= 0)


def sheet(place: Path) -> Image.Image:
    """Draw the middle frame of every clip, with the outline of its mask and what the manifest says of its fan."""
    rows = pq.read_table(place / "manifest.parquet").to_pylist()
    lines = math.ceil(len(rows) / _ACROSS)
    picture = Image.new("RGB", (_ACROSS * _TILE, lines * (_TILE + _TITLE)))
    draw = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        with np.load(place / row["file"]) as clip:
            frame, mask = clip["frames"][row["true_frames"] // 2].copy(), clip["mask"].astype(bool)
        inner = mask.copy()
        for axis in (0, 1):
            for shift in (-1, 1):
                inner &= np.roll(mask, shift, axis)
        frame[mask & ~inner] = (0, 255, 0)
        left, top = number % _ACROSS * _TILE, number // _ACROSS * (_TILE + _TITLE)
        picture.paste(Image.fromarray(frame), (left, top + _TITLE))
        mm = "?" if row["mm_per_pixel"] is None else f"{row['mm_per_pixel']:.3f}"
        draw.text(
            (left + 2, top + 1),
            f"{number} {row['clip'][:8]} {row['fan_kind']} {row['fan_confidence']}",
            fill="white",
        )
        draw.text(
            (left + 2, top + 14), f"{mm} mm, {row['true_frames']} frames, {row['masked']}", fill="white"
        )
    return picture


if __name__ == "__main__":
    main()
