"""``cinemill submit``: have workers transcode or extract, with the options of the commands that do so at once."""

# ruff: noqa: FBT002  options are booleans, given by name

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cinemill.cli.extract import (
    FORMATS,
    Count,
    CropToRegion,
    Display,
    Every,
    Frames,
    MaskOutsideRegions,
    Region,
    Scale,
    Sidecar,
    Size,
    Stored,
    Voi,
    make_extraction,
)
from cinemill.cli.transcode import TARGETS, Colour, ColourOption, Overwrite, Repair, Verify, VerifyOption
from cinemill.errors import UsageError
from cinemill_workers.cli import terminal

if TYPE_CHECKING:
    from cinemill.batch import Options
    from cinemill.operations.extract.extract import Extraction


class Priority(StrEnum):
    """Whose turn it is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


def submit(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and directories.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="A directory (or a file, for one SRC file).")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help=f"Transcode: {TARGETS}; or a UID or keyword.")
    ] = "",
    colour: ColourOption = Colour.AUTO,
    verify: VerifyOption = Verify.FULL,
    repair: Repair = False,
    extract: Annotated[str, typer.Option("--extract", metavar="FORMAT", help=f"Extract: {FORMATS}.")] = "",
    frames: Frames = "",
    every: Every = "",
    count: Count = None,
    stored: Stored = False,
    display: Display = False,
    voi_window: Annotated[
        str,
        typer.Option("--voi-window", metavar="C,W", help="Window centre and width instead of the header's."),
    ] = "",
    voi: Voi = None,
    region: Region = None,
    crop_to_region: CropToRegion = False,
    mask_outside_regions: MaskOutsideRegions = False,
    size: Size = "",
    scale: Scale = None,
    sidecar: Sidecar = False,
    overwrite: Overwrite = False,
    name: Annotated[str, typer.Option(help="A name to recognise the job by; not a patient's.")] = "",
    priority: Annotated[Priority, typer.Option(help="Jobs of a higher priority go first.")] = Priority.NORMAL,
    window: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Work only in this part of the day.")
    ] = "",
    max_rate: Annotated[
        float,
        typer.Option(
            metavar="MB/s", min=0.0, help="Source megabytes a second over all workers; 0: no limit."
        ),
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the work, and store nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the job is over; exit code 1 if an item failed.")
    ] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Have workers transcode files, or extract their frames."""
    from cinemill.batch import Options
    from cinemill.operations.extract.extract import Extraction
    from cinemill_workers.engine import client
    from cinemill_workers.engine.kinds import to_json
    from cinemill_workers.ledger.model import JobSpec

    transcoding = Options(to, colour.value, verify.value, overwrite, repair)
    extraction = make_extraction(
        extract,
        stored=stored,
        display=display,
        window=voi_window,
        size=size,
        frames=frames,
        every=every or None,
        count=count,
        voi=voi,
        region=region,
        crop_to_region=crop_to_region,
        mask_outside_regions=mask_outside_regions,
        scale=scale,
        sidecar=sidecar,
        overwrite=overwrite,
    )
    work = _chosen(transcoding, extraction)
    if isinstance(work, Extraction):
        work = work.aimed_at(sources, destination)
    spec = JobSpec(
        sources=tuple(str(source.absolute()) for source in sources),
        destination=str(destination.absolute()),
        work=to_json(work),
        name=name,
        priority=priority.value,
        window=window,
        max_rate=max_rate * 1e6,
    )
    client.check(spec)
    if dry_run:
        items, total = client.census(spec)
        terminal.say({"items": items, "bytes": total}, f"{items} instances, {total / 1e6:.1f} MB", as_json)
        return
    ledger = client.open_ledger()
    job = ledger.create(spec)
    if wait:
        terminal.follow(ledger, job, as_json)
        return
    hint = "" if ledger.workers() else "; no worker has been seen yet"
    terminal.say({"id": job}, f"submitted {job}; see `cinemill jobs watch {job}`{hint}", as_json)


def _chosen(transcoding: Options, extraction: Extraction) -> Options | Extraction:
    """Return the one kind of work that was asked for, checked.

    Raises
    ------
    UsageError
        None was, or both, or an option belongs to the other one.
    """
    from cinemill import syntaxes
    from cinemill.batch import Options
    from cinemill.operations.extract.extract import Extraction

    if bool(transcoding.to) == bool(extraction.format):
        raise UsageError("expected either --to TARGET or --extract FORMAT")
    if extraction.format:
        if transcoding != Options("", overwrite=transcoding.overwrite):
            raise UsageError("--colour, --verify and --repair go with --to, not with --extract")
        return extraction
    if extraction != Extraction(overwrite=extraction.overwrite):
        raise UsageError("options that choose or change frames go with --extract, not with --to")
    return replace(transcoding, to=syntaxes.target(transcoding.to).uid)
