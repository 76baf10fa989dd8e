"""``cinemill extract``: frames of files and trees as pictures, arrays, video, codestreams or single-frame DICOM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cinemill import formats
from cinemill.cli.run import AsJson, Jobs, Quiet, ReportFile, files, run
from cinemill.errors import UsageError

if TYPE_CHECKING:
    from cinemill.batch import Item
    from cinemill.extraction import Extraction
    from cinemill.formats import Mode

FORMATS = ", ".join(row.name for row in formats.FORMATS)


def extract(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Files and directories; - for standard input.")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="A directory, or the one output by its name, e.g. clip.mp4.")
    ],
    name: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"{FORMATS}. Default: png.")
    ] = "",
    frames: Annotated[
        str, typer.Option("--frames", metavar="LIST", help="Frames from 0, e.g. 0,5,10-20,::2. Default: all.")
    ] = "",
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="A frame each 100ms, 0.5s, …; instead of --frames.")
    ] = "",
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="So many frames, evenly spread; instead of --frames.")
    ] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Sample values as stored (default for arrays).")
    ] = False,
    display: Annotated[
        bool, typer.Option("--display", help="8-bit pictures as displayed (default for pictures and video).")
    ] = False,
    window: Annotated[
        str, typer.Option("--window", metavar="C,W", help="Window centre and width instead of the header's.")
    ] = "",
    voi: Annotated[
        int | None, typer.Option("--voi", min=0, help="Which of the header's VOI LUTs or windows, from 0.")
    ] = None,
    region: Annotated[
        int | None, typer.Option("--region", min=0, help="Crop to this ultrasound region, from 0.")
    ] = None,
    crop_to_region: Annotated[
        bool, typer.Option("--crop-to-region", help="Crop to the rectangle around all ultrasound regions.")
    ] = False,
    mask_outside_regions: Annotated[
        bool,
        typer.Option("--mask-outside-regions", help="Blacken everything outside the ultrasound regions."),
    ] = False,
    size: Annotated[
        str,
        typer.Option(
            "--size", metavar="WxH", help="Scale to width and height; 0 for one of them keeps the ratio."
        ),
    ] = "",
    scale: Annotated[float | None, typer.Option("--scale", help="Scale by a factor.")] = None,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write a JSON file with times, regions, UIDs and digests.")
    ] = False,
    keep_index: Annotated[
        bool,
        typer.Option(
            "--index", help="Keep where frames stand in .<name>.frames beside the source, and use it."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")] = False,
    jobs: Jobs = None,
    report: ReportFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Extract frames; reads only those asked for.

    A frame is written to DST/<name>_0017.png, all frames of a cine to DST/<name>.mp4; a directory is mirrored below
    DST. The name is that of the source without .dcm. With --sidecar, the same command goes on where it was stopped.
    """
    from cinemill.extraction import Extraction

    extraction = Extraction(
        format=name,
        frames=frames,
        every=every or None,
        count=count,
        mode=_mode(stored=stored, display=display),
        window=_pair(window, ",", "--window", "40,400"),
        voi=voi,
        region=region,
        crop_to_region=crop_to_region,
        mask_outside_regions=mask_outside_regions,
        size=_size(size),
        scale=scale,
        sidecar=sidecar,
        keep_index=keep_index,
        overwrite=overwrite,
    )
    with files(sources) as found:
        run(
            _with_format(extraction, found, destination),
            lambda: _items(found, destination),
            found,
            jobs=jobs,
            report=report,
            as_json=as_json,
            quiet=quiet,
            advice="the same command goes on from here"
            if sidecar
            else "what is done stays; use --overwrite, or --sidecar next time to go on",
        )


def _items(sources: list[Path], destination: Path) -> Iterator[Item]:
    """Yield the instances, each with the directory of its outputs (or the one output's own path).

    Where outputs of two instances would have the same names, those of the second get a directory of its own name.
    """
    from cinemill.batch import Item, discover
    from cinemill.export import safe_name, safe_stem

    folder, taken = None, set[str]()
    for item in discover(sources, destination):
        if item.output == destination:
            yield item
            continue
        if item.output.parent != folder:
            folder, taken = item.output.parent, set()
        own, number = safe_stem(item.source.name), 1
        output = folder
        while own.casefold() in taken:
            own = safe_name(item.source.name) + (f".{number}" if number > 1 else "")
            output, number = folder / own, number + 1
        taken.add(own.casefold())
        yield Item(item.source, output)


def _with_format(extraction: Extraction, sources: list[Path], destination: Path) -> Extraction:
    """Check before anything is read that the output's name, if it is one, is that of a single instance."""
    from cinemill.extraction import named_output

    row, single = named_output(extraction, destination)
    if single and (len(sources) > 1 or sources[0].is_dir()):
        raise UsageError(
            f"{destination.name} is one {row.name} output; name a directory for several instances"
        )
    extraction.check(row)
    return replace(extraction, into_directory=not single)


def _mode(*, stored: bool, display: bool) -> Mode | None:
    if stored and display:
        raise UsageError("--stored and --display exclude each other; choose one")
    if stored:
        return "stored"
    return "display" if display else None


def _size(text: str) -> tuple[int, int] | None:
    pair = _pair(text, "x", "--size", "640x480")
    if pair is None:
        return None
    width, height = pair
    if not (width.is_integer() and height.is_integer()):
        raise UsageError(f"can't read --size {text!r}; expected e.g. 640x480")
    return int(width), int(height)


def _pair(text: str, separator: str, option: str, example: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        first, second = (float(part) for part in text.lower().split(separator))
    except ValueError:
        raise UsageError(f"can't read {option} {text!r}; expected e.g. {example}") from None
    return first, second
