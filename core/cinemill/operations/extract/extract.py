"""Extracts frames: what can be asked for, whether it fits together, and what becomes of one instance."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, UsageError
from cinemill.frames import selection
from cinemill.frames.cine import Cine
from cinemill.operations.clock import record
from cinemill.operations.extract import writers as formats
from cinemill.operations.extract.export import Export
from cinemill.operations.extract.writers import Format, Mode
from cinemill.storage.atomic import output_error
from cinemill.storage.folder import Staging
from cinemill.storage.names import Places
from cinemill.storage.tree import Item, discover, mirrored

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is extracted from each instance, and as what: plain values, so that a queue can carry it.

    Attributes
    ----------
    format
        See `cinemill.operations.extract.writers.FORMATS`; empty: as the name of the output says, else PNG.
    frames
        Frames by number, counted from 0: ``0,5,10-20,::2``, or a number, numbers or a slice, where -1 is the last one.
        Empty: all of them.
    every
        Milliseconds between chosen frames, or a text such as ``0.5s``, in place of numbers.
    count
        How many frames, evenly spread, in place of numbers.
    mode
        ``display`` or ``stored``; None: display for pictures and video, stored for arrays.
    window
        Centre and width, in place of the header's.
    voi
        Which of the header's VOI alternatives, counted from 0.
    region
        Crop to this ultrasound region, counted from 0.
    crop_to_region
        Crop to the rectangle around all regions.
    mask_outside_regions
        Blacken everything outside the regions, where names are burned in.
    size
        Width and height of the pictures; a 0 follows from the other.
    scale
        Factor for both, in place of a size.
    sidecar
        Write a JSON file that describes the frames; it also lets the same extraction go on where it was stopped.
    keep_index
        Keep where the frames stand beside the source: see `cinemill.Cine`.
    overwrite
        Replace outputs that are there.
    into_directory
        The output is a directory even where its name ends like a file's.
    """

    format: str = ""
    frames: str | int | slice | Iterable[int] = ""
    every: float | str | None = None
    count: int | None = None
    mode: Mode | None = None
    window: tuple[float, float] | None = None
    voi: int | None = None
    region: int | None = None
    crop_to_region: bool = False
    mask_outside_regions: bool = False
    size: tuple[int, int] | None = None
    scale: float | None = None
    sidecar: bool = False
    keep_index: bool = False
    overwrite: bool = False
    into_directory: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.frames, str):
            object.__setattr__(self, "frames", _written(self.frames))
        if isinstance(self.every, str):
            object.__setattr__(self, "every", selection.milliseconds(self.every))
        for name in ("window", "size"):
            pair = getattr(self, name)
            object.__setattr__(self, name, None if pair is None else tuple(pair))
        self._check_values()
        if self.format:
            self.check(formats.find(self.format))

    def _check_values(self) -> None:
        if self.frames:
            selection.read_numbers(str(self.frames))
        for name, least in (("every", 1e-3), ("count", 1), ("scale", 1e-3)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise UsageError(f"--{name} is {value:g}, expected {least:g} or more")
        if self.window is not None and not (all(map(math.isfinite, self.window)) and self.window[1] >= 1):
            raise UsageError(
                f"--window is {self.window[0]:g},{self.window[1]:g}, expected a width of 1 or more"
            )
        if self.size is not None and (min(self.size) < 0 or max(self.size) == 0):
            raise UsageError("--size needs a width and a height, one of which may be 0")

    def check(self, row: Format) -> None:
        """Check that the options fit each other and a format.

        Raises
        ------
        UsageError
            They don't.
        """
        for names in (
            ("frames", "every", "count"),
            ("region", "crop_to_region"),
            ("size", "scale"),
            ("window", "voi"),
        ):
            values = {f"--{name.replace('_', '-')}": getattr(self, name) for name in names}
            given = [name for name, value in values.items() if value not in {None, ""} and value is not False]
            if len(given) > 1:
                raise UsageError(f"{' and '.join(given)} exclude each other; choose one")
        if row.copies and (self.region is not None or self.crop_to_region or self.mask_outside_regions):
            raise UsageError(
                f"{row.name} copies frames as they are coded; "
                "leave out --region, --crop-to-region and --mask-outside-regions"
            )
        mode = self.mode or row.modes[0]
        if mode not in {"display", "stored"}:
            raise UsageError(f"unknown mode {mode!r}; choose display or stored")
        if mode not in row.modes:
            able = ", ".join(other.name for other in formats.FORMATS if mode in other.modes)
            raise UsageError(
                f"{row.name} holds {row.modes[0]} frames only; choose one of {able} for --{mode}"
            )
        if mode == "stored" and any(
            value is not None for value in (self.size, self.scale, self.window, self.voi)
        ):
            raise UsageError("--size, --scale, --window and --voi change samples; use them with --display")

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Extraction:
        """Return the same for these sources, told whether the destination is one output or a directory.

        Raises
        ------
        UsageError
            The destination names one output, but there are several instances; or options don't fit the format.
        """
        row, single = named_output(self, destination)
        if single and (len(sources) > 1 or sources[0].is_dir()):
            raise UsageError(
                f"{destination.name} is one {row.name} output; name a directory for several instances"
            )
        self.check(row)
        return replace(self, into_directory=not single)

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Yield the instances, each with the directory of its outputs, or the one output's own path."""
        places = Places()
        if after is not None:
            nearby = [
                Item(after.source, folder / after.source.name)
                for folder in (after.output, after.output.parent)
            ]
            after = next((item for item in nearby if mirrored(item, sources, destination)), after)
            places.recall(after.source, after.output.parent)
        for item in discover(sources, destination, after=after):
            single = item.output == destination
            yield item if single else Item(item.source, places.find(item.source.name, item.output.parent))

    def apply(
        self,
        src: Path,
        dst: Path,
        *,
        threads: int | None,
        cancelled: Callable[[], bool] | None,
        progress: Callable[[int, int], None] | None,
    ) -> Receipt:
        """Extract from one instance: see `extract`."""
        started = time.perf_counter()
        row, single = named_output(self, dst)
        self.check(row)
        threads = threads or len(os.sched_getaffinity(0))
        with Source(src, scan=False, keep_index=self.keep_index) as source:
            if source.pixel_data is None:
                nothing = "there is no pixel data to extract from"
                return record(
                    source, dst, "skipped", source.transfer_syntax, warnings=(*source.warnings, nothing)
                )
            cine = Cine(source)
            try:
                export = Export(cine, self, row, dst if single else None)
                directory = dst.parent if single else dst
                if not self.overwrite and export.is_finished(directory):
                    return record(source, dst, "kept", source.transfer_syntax)
                if cine.coding == "video":
                    threads = 1
                with Staging(directory, overwrite=self.overwrite) as staging:
                    new = _guarded(dst, lambda: export.run(staging, threads, cancelled, progress))
            except CinemillError as error:
                raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None
            frames, pixels = len(export.clip.indices), export.clip.pixels
            return record(
                source,
                dst,
                "extracted" if new else "kept",
                source.transfer_syntax,
                transfer_syntax_after="",
                photometric_interpretation_after=pixels.photometric_interpretation,
                frames=frames,
                bytes_after=export.size,
                pixel_bytes=pixels.nbytes * frames,
                seconds={"total": time.perf_counter() - started},
                warnings=(*cine.warnings, *export.warnings),
            )


def extract(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Receipt:
    """Extract frames of one DICOM file; reads only the frames asked for.

    Parameters
    ----------
    src
        Source file, which is never modified.
    dst
        A directory, or the one output by its name (``clip.mp4``), whose suffix then gives the format.
    threads
        Frames under way at once; all cores by default.
    cancelled
        Polled between frames; True stops the work and leaves nothing behind.
    progress
        Called with frames done and frames in all.
    **options
        Fields of `Extraction`: format, frames, every, count, mode, window, voi, region, crop_to_region,
        mask_outside_regions, size, scale, sidecar, keep_index, overwrite, into_directory.

    Returns
    -------
    Receipt
        ``extracted``, ``kept`` where all outputs are there already, or ``skipped`` where there is no pixel data.

    Raises
    ------
    CinemillError
        Nothing was written; see `cinemill.errors`.
    """
    extraction = Extraction(**options)
    return extraction.apply(Path(src), Path(dst), threads=threads, cancelled=cancelled, progress=progress)


def named_output(request: Extraction, output: Path) -> tuple[Format, bool]:
    """Return the format, and whether the path names the one output rather than a directory for several.

    Raises
    ------
    UsageError
        The format is unknown, or is not that of the name.
    """
    named = formats.name_by_suffix(output.suffix)
    if request.into_directory or named is None or (output.is_dir() and named != "zarr"):
        return formats.find(request.format or "png"), False
    if request.format not in {"", named}:
        raise UsageError(
            f"--format {request.format} does not fit the name {output.name}; leave one of them out",
            path=output,
        )
    return formats.find(named), True


def _guarded(output: Path, work: Callable[[], bool]) -> bool:
    """Turn errors of the operating system, met by any library that writes, into ours."""
    try:
        return work()
    except CinemillError:
        raise
    except OSError as error:
        raise output_error(output, error) from None


def _written(frames: int | slice | Iterable[int]) -> str:
    """Write chosen frames as the command line has them."""
    if isinstance(frames, slice):
        return ":".join(
            "" if part is None else str(part) for part in (frames.start, frames.stop, frames.step)
        )
    chosen = [frames] if isinstance(frames, int) else frames
    numbers = ",".join(str(index) if index >= 0 else f"{index}:{index + 1 or ''}" for index in chosen)
    if not numbers:
        raise UsageError("no frame is chosen; name at least one")
    return numbers
