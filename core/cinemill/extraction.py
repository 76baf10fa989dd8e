"""Extracts frames of one instance: select → decode → render → encode → commit → receipt."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from cinemill import formats, selection
from cinemill.cine import Cine
from cinemill.errors import CinemillError, Refused, UsageError
from cinemill.formats import Clip, Format, Mode, Writer
from cinemill.geometry import Geometry, black, lay_out
from cinemill.pipeline import Pipeline, chunks, pipeline
from cinemill.record import record
from cinemill.sidecar import sidecar
from cinemill.sink import output_error
from cinemill.source import Source
from cinemill.staging import Staging
from cinemill.timing import UNKNOWN_FRAME_TIME, durations

if TYPE_CHECKING:
    from cinemill.batch import Item
    from cinemill.model import PixelFormat, Samples
    from cinemill.receipt import Receipt
    from cinemill.render import Renderer

_DICOM_SUFFIX = re.compile(r"\.(dcm|dicom|dic|ima)$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_STEM = 180


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is extracted from each instance, and as what: plain values, so that a queue can carry it.

    Attributes
    ----------
    format
        See `cinemill.formats.FORMATS`; empty: as the name of the output says, else PNG.
    frames
        Frames by number, counted from 0: ``0,5,10-20,::2``, or a number, numbers or a slice. Empty: all of them.
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
        Write a JSON file that describes the frames.
    overwrite
        Replace outputs that are there.
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
    overwrite: bool = False

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
            if value is not None and value < least:
                raise UsageError(f"--{name} {value:g} is too small; expected {least:g} or more")
        if self.window is not None and not self.window[1] >= 1:
            raise UsageError(f"the window width {self.window[1]:g} is too small; expected 1 or more")
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
        if mode not in row.modes:
            able = ", ".join(other.name for other in formats.FORMATS if mode in other.modes)
            raise UsageError(
                f"{row.name} holds {row.modes[0]} frames only; choose one of {able} for --{mode}"
            )
        if mode == "stored" and any(
            value is not None for value in (self.size, self.scale, self.window, self.voi)
        ):
            raise UsageError("--size, --scale, --window and --voi change samples; use them with --display")

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Yield the instances, each with the directory of its outputs, or the one output's own path.

        Raises
        ------
        UsageError
            The destination names one output, but there are several instances.
        """
        from cinemill.batch import Item, discover

        row, single = named_output(self, destination)
        if single and (len(sources) > 1 or sources[0].is_dir()):
            raise UsageError(
                f"{destination.name} is one {row.name} output; name a directory for several instances"
            )
        self.check(row)
        if after is not None:
            after = Item(after.source, after.output / after.source.name)
        found = discover(sources, destination, after=after)
        return (
            item if item.output == destination else Item(item.source, item.output.parent) for item in found
        )

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
        with Source(src) as source:
            if source.pixel_data is None:
                nothing = "there is no pixel data to extract from"
                return record(
                    source, dst, "skipped", source.transfer_syntax, warnings=(*source.warnings, nothing)
                )
        with Cine(src) as cine:
            try:
                if cine.coding == "video":
                    threads = 1
                job = _Job(cine, self, row, dst if single else None)
                with Staging(dst.parent if single else dst, overwrite=self.overwrite) as staging:
                    new = _guarded(dst, lambda: job.run(staging, threads, cancelled, progress))
            except CinemillError as error:
                raise error.locate(path=src, transfer_syntax=cine.source.transfer_syntax.uid) from None
            return record(
                cine.source,
                dst,
                "extracted" if new else "kept",
                cine.source.transfer_syntax,
                transfer_syntax_after="",
                photometric_interpretation_after=job.clip.pixels.photometric_interpretation,
                frames=len(job.clip.indices),
                bytes_after=job.size,
                pixel_bytes=job.clip.pixels.nbytes * len(job.clip.indices),
                seconds={"total": time.perf_counter() - started},
                warnings=(*cine.warnings, *job.warnings),
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
        Fields of `Extraction`.

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
    if named is None or (output.is_dir() and named != "zarr"):
        return formats.find(request.format or "png"), False
    if request.format not in {"", named}:
        raise UsageError(
            f"--format {request.format} does not fit the name {output.name}; leave one of them out",
            path=output,
        )
    return formats.find(named), True


class _Job:
    """The extraction of one instance, from its options to its outputs."""

    def __init__(self, cine: Cine, request: Extraction, row: Format, single: Path | None) -> None:
        self.cine, self.request, self.row = cine, request, row
        if row.copies and cine.coding == "video":
            raise Refused(
                f"the frames of a video have no codestreams that {row.name} could copy; use another format"
            )
        self.warnings: list[str] = []
        self.mode: Mode = request.mode or row.modes[0]
        self.renderer: Renderer | None = None
        if self.mode == "display":
            self.renderer = cine.renderer(window=request.window, voi=request.voi)
            if cine.pixels.dtype.itemsize > 1 and self.renderer.describe().get("voi") == "none":
                self.warnings.append(
                    f"the header has no window; all {self.renderer.bits} bits are shown, which may look flat: see --window"
                )
        self.geometry = lay_out(cine, request, display=self.mode == "display")
        self.digests: dict[int, str] = {}
        self.size = 0
        indices = _choose(cine, request)
        if single is not None and row.per_frame and len(indices) > 1:
            raise UsageError(
                f"{single.name} holds one frame, {len(indices)} are chosen; name a directory, or choose one by --frames",
                path=single,
            )
        pixels = self._pixels()
        self._black = (0,) * pixels.samples if self.renderer is not None else black(cine.pixels)
        times = cine.frame_times
        self.clip = Clip(
            cine=cine,
            indices=indices,
            times=times[indices],
            durations=self._durations(times, indices),
            pixels=pixels,
            as_coded=self._as_coded(),
            stem=single.stem if single is not None else safe_stem(cine.source.path.name),
            single=None if single is None else single.name,
            frames=self.frames,
        )

    def _pixels(self) -> PixelFormat:
        rows, columns = self.geometry.size
        pixels = self.cine.pixels.with_(rows=rows, columns=columns)
        if self.renderer is None:
            return pixels
        grey = pixels.photometric_interpretation.startswith("MONOCHROME")
        return pixels.with_(
            samples=1 if grey else 3,
            bits_allocated=8,
            bits_stored=8,
            signed=False,
            photometric_interpretation="MONOCHROME2" if grey else "RGB",
        )

    def _as_coded(self) -> bool:
        before = self.cine.pixels
        whole = self.geometry == Geometry(
            (0, 0, before.columns - 1, before.rows - 1), None, (before.rows, before.columns)
        )
        return whole and (self.renderer is None or self.renderer.changes_nothing)

    def _durations(self, times: Any, indices: list[int]) -> Any:
        if np.isfinite(times).all():
            shown = durations(times[indices])
            if len(indices) == 1 and len(times) > 1:
                shown = durations(times)[indices]
            return shown
        if "display" in self.row.modes and not self.row.per_frame:
            self.warnings.append(
                f"the header gives no frame times; each frame is shown for {UNKNOWN_FRAME_TIME:g} ms"
            )
        return np.full(len(indices), UNKNOWN_FRAME_TIME)

    def frames(self, indices: Sequence[int]) -> list[Samples]:
        """Decode and render some frames."""
        done = []
        for index, decoded in zip(indices, self.cine.decode(indices), strict=True):
            rendered: Samples = decoded
            if self.renderer is not None:
                rendered = self.renderer.render(decoded, index)
            frame = self.geometry.apply(rendered, self._black)
            if self.request.sidecar:
                self.digests[index] = (
                    f"xxh3-128:{xxhash.xxh3_128_hexdigest(np.ascontiguousarray(frame).data)}"
                )
            done.append(frame)
        return done

    def run(
        self,
        staging: Staging,
        threads: int,
        cancelled: Callable[[], bool] | None,
        progress: Callable[[int, int], None] | None,
    ) -> bool:
        """Write the outputs; return whether anything is new."""
        writer = self.row.open(self.clip, staging)
        beside = staging.reserve(f"{self.clip.stem}.json") if self.request.sidecar else None
        try:
            with pipeline(threads, cancelled) as pipe:
                self._write(writer, pipe, threads, progress)
        except BaseException:
            with suppress(Exception):
                writer.close()
            raise
        writer.close()
        self.size = staging.size
        if beside is not None:
            suffix = getattr(writer, "suffix", self.row.suffix)
            parts = (self.mode, self.renderer, self.geometry, self.digests, suffix)
            staging.write(beside, sidecar(self.clip, self.row, *parts))
        return staging.commit()

    def _write(
        self, writer: Writer, pipe: Pipeline, threads: int, progress: Callable[[int, int], None] | None
    ) -> None:
        indices, done = self.clip.indices, 0
        cut = chunks(len(indices), self.cine.pixels.nbytes, self.cine.batch, threads)
        parts = (indices[part.start : part.stop] for part in cut)
        for part, encoded in pipe.stage(lambda part: (part, self._encode(writer, part)), parts):
            writer.write(encoded)
            done += len(part)
            if progress is not None:
                progress(done, len(indices))

    def _encode(self, writer: Writer, part: Sequence[int]) -> Any:
        encoded = writer.encode(part)
        if self.request.sidecar and part[0] not in self.digests:
            self.frames(part)
        return encoded


def safe_stem(name: str) -> str:
    """Return what output names begin with: the source's name without a DICOM suffix, in letters, digits and ``._-``."""
    return _UNSAFE.sub("_", _DICOM_SUFFIX.sub("", name))[:_LONGEST_STEM].lstrip(".") or "frame"


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
    if isinstance(frames, int):
        return str(frames)
    if isinstance(frames, slice):
        return ":".join(
            "" if part is None else str(part) for part in (frames.start, frames.stop, frames.step)
        )
    numbers = ",".join(str(index) for index in frames)
    if not numbers:
        raise UsageError("no frame is chosen; name at least one")
    return numbers


def _choose(cine: Cine, request: Extraction) -> list[int]:
    if request.frames:
        return selection.by_number(str(request.frames), len(cine))
    if request.every is not None:
        return selection.by_time(float(request.every), cine.frame_times)
    if request.count is not None:
        return selection.evenly(request.count, len(cine))
    return list(range(len(cine)))
