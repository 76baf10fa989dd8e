"""``cinemill extract``: frames of files and trees as pictures, arrays, video, codestreams or single-frame DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cinemill.cli.run import AsJson, Jobs, Quiet, ReportFile, files, run
from cinemill.errors import UsageError
from cinemill.operations.extract import writers as formats

if TYPE_CHECKING:
    from cinemill.operations.extract.extract import Extraction
    from cinemill.operations.extract.writers import Mode

FORMATS = ", ".join(row.name for row in formats.FORMATS)

Frames = Annotated[
    str, typer.Option("--frames", metavar="LIST", help="Frames from 0, e.g. 0,5,10-20,::2. Default: all.")
]
Every = Annotated[
    str, typer.Option("--every", metavar="TIME", help="A frame each 100ms, 0.5s, …; instead of --frames.")
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="So many frames, evenly spread; instead of --frames.")
]
Stored = Annotated[bool, typer.Option("--stored", help="Sample values as stored (default for arrays).")]
Display = Annotated[
    bool, typer.Option("--display", help="8-bit pictures as displayed (default for pictures and video).")
]
Voi = Annotated[
    int | None, typer.Option("--voi", min=0, help="Which of the header's VOI LUTs or windows, from 0.")
]
Region = Annotated[
    int | None, typer.Option("--region", min=0, help="Crop to this ultrasound region, from 0.")
]
CropToRegion = Annotated[
    bool, typer.Option("--crop-to-region", help="Crop to the rectangle around all ultrasound regions.")
]
MaskOutsideRegions = Annotated[
    bool, typer.Option("--mask-outside-regions", help="Blacken everything outside the ultrasound regions.")
]
Size = Annotated[
    str,
    typer.Option(
        "--size", metavar="WxH", help="Scale to width and height; 0 for one of them keeps the ratio."
    ),
]
Scale = Annotated[float | None, typer.Option("--scale", help="Scale by a factor.")]
Sidecar = Annotated[
    bool, typer.Option("--sidecar", help="Write a JSON file with times, regions, UIDs and digests.")
]
KeepIndex = Annotated[
    bool,
    typer.Option("--index", help="Keep where frames stand in .<name>.frames beside the source, and use it."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")]


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
    frames: Frames = "",
    every: Every = "",
    count: Count = None,
    stored: Stored = False,
    display: Display = False,
    window: Annotated[
        str, typer.Option("--window", metavar="C,W", help="Window centre and width instead of the header's.")
    ] = "",
    voi: Voi = None,
    region: Region = None,
    crop_to_region: CropToRegion = False,
    mask_outside_regions: MaskOutsideRegions = False,
    size: Size = "",
    scale: Scale = None,
    sidecar: Sidecar = False,
    keep_index: KeepIndex = False,
    overwrite: Overwrite = False,
    jobs: Jobs = None,
    report: ReportFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Extract frames; reads only those asked for.

    A frame is written to DST/<name>_0017.png, all frames of a cine to DST/<name>.mp4; a directory is mirrored below
    DST. The name is that of the source without .dcm. Outputs that are there already are kept if they are the same;
    with --sidecar, that is seen without decoding anything again.
    """
    extraction = make_extraction(
        name,
        stored=stored,
        display=display,
        window=window,
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
        keep_index=keep_index,
        overwrite=overwrite,
    )
    with files(sources) as found:
        run(
            extraction.aimed_at(found, destination),
            found,
            destination,
            jobs=jobs,
            report=report,
            as_json=as_json,
            quiet=quiet,
        )


def make_extraction(
    name: str, *, stored: bool, display: bool, window: str, size: str, **values: Any
) -> Extraction:
    """Return what the options of a command line ask for.

    Parameters
    ----------
    name
        Of the format.
    window, size
        As written: ``40,400`` and ``640x480``.
    **values
        Fields of `Extraction`.

    Raises
    ------
    UsageError
        An option can't be read, or some exclude each other.
    """
    from cinemill.operations.extract.extract import Extraction

    return Extraction(
        format=name,
        mode=_mode(stored=stored, display=display),
        window=_pair(window, ",", "the window", "40,400"),
        size=_size(size),
        **values,
    )


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
