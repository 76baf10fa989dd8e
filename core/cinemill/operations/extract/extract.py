"""Extracts the frames of one instance: select → decode → render → encode → commit → receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from cinemill.dicom.given import Given, called, on_disk
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from cinemill.frames.cine import Cine
from cinemill.operations.clock import record
from cinemill.operations.extract.export import Export
from cinemill.operations.extract.formats import Mode
from cinemill.operations.extract.request import Extract, Window, named_output
from cinemill.operations.operation import Control
from cinemill.operations.policy.words import Colour
from cinemill.operations.receipt import Receipt
from cinemill.storage.atomic import output_error
from cinemill.storage.folder import Staging
from cinemill.storage.likeness import Likeness
from cinemill.storage.location import located


def extract(
    src: Given,
    dst: str | os.PathLike[str],
    *,
    format: str = "",  # noqa: A002
    frames: str | int | slice | Iterable[int] = "",
    every: float | str | None = None,
    count: int | None = None,
    mode: Mode | None = None,
    colour: Colour = "auto",
    window: Window | None = None,
    voi: int | None = None,
    region: int | None = None,
    crop_to_region: bool = False,
    mask_outside_regions: bool = False,
    size: tuple[int, int] | None = None,
    scale: float | None = None,
    sidecar: bool = False,
    keep_index: bool = False,
    overwrite: bool = False,
    into_directory: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Extract frames of one DICOM file; only the frames asked for are read.

    Parameters
    ----------
    src
        The source, which is never modified: a path, the bytes of a file, an open binary file or a pydicom data set.
    dst
        A directory for the outputs; or the path of a single output, such as ``clip.mp4``, whose suffix names the format.
    format, frames, every, count, mode, colour, window, voi
        See `cinemill.operations.extract.request.Extract`.
    region, crop_to_region, mask_outside_regions, size, scale
        See there.
    sidecar, keep_index, overwrite, into_directory
        See there.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        Its status is ``extracted``, ``kept`` if all outputs exist already, or ``skipped`` if there is no pixel data.

    Raises
    ------
    CinemillError
        Nothing was written; see `cinemill.errors`.
    """
    request = Extract(
        format=format,
        frames=frames,
        every=every,
        count=count,
        mode=mode,
        colour=colour,
        window=window,
        voi=voi,
        region=region,
        crop_to_region=crop_to_region,
        mask_outside_regions=mask_outside_regions,
        size=size,
        scale=scale,
        sidecar=sidecar,
        keep_index=keep_index,
        overwrite=overwrite,
        into_directory=into_directory,
    )
    with on_disk(src) as path:
        receipt = run(request, path, located(dst), Control(threads, cancelled, progress))
        return replace(receipt, source=called(src, path))


def run(request: Extract, src: Path, dst: Path, control: Control) -> Receipt:
    """Extract from one instance: see `extract`.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source file, and the place of its output.
    control
        Threads, cancellation and progress.
    """
    started = time.perf_counter()
    row, single = named_output(request, dst)
    request.check(row)
    with Source(src, scan=False, keep_index=request.keep_index) as source:
        if source.pixel_data is None:
            nothing = "there is no pixel data to extract from"
            return record(
                source, dst, "skipped", source.transfer_syntax, warnings=(*source.warnings, nothing)
            )
        cine = Cine(source)
        try:
            export = Export(cine, request, row, dst if single else None)
            directory = dst.parent if single else dst
            there = "" if request.overwrite else export.judge(directory)
            if there == "kept":
                return record(source, dst, "kept", source.transfer_syntax)
            if there == "outdated":
                export.warnings.append(
                    "the outputs that stood there were not whole, or made from another state of the source; "
                    "they were made anew"
                )
            if cine.coding == "video":
                control = control._replace(threads=1)
            overwrite = request.overwrite or there == "outdated"
            likeness = Likeness.of(src, preserve=False)
            with Staging(directory, overwrite=overwrite, likeness=likeness) as staging:
                new = _guarded(dst, lambda: export.run(staging, control))
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


def _guarded(output: Path, work: Callable[[], bool]) -> bool:
    """Turn errors of the operating system, met by any library that writes, into ours."""
    try:
        return work()
    except CinemillError:
        raise
    except OSError as error:
        raise output_error(output, error) from None
