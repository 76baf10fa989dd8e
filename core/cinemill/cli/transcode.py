"""``cinemill transcode``: files and trees, with progress, a table at the end, and a report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cinemill import syntaxes
from cinemill.cli.run import AsJson, Jobs, Quiet, ReportFile, files, run

TARGETS = ", ".join(str(target.name) for target in syntaxes.TARGETS)


class Colour(StrEnum):
    """What happens to colour spaces."""

    AUTO = "auto"
    KEEP = "keep"
    RGB = "rgb"


class Verify(StrEnum):
    """How much of the output is decoded and compared before it gets its name."""

    FULL = "full"
    INDEPENDENT = "independent"
    SAMPLE = "sample"
    NONE = "none"


To = Annotated[str, typer.Option("--to", metavar="TARGET", help=f"{TARGETS}; or a UID or keyword.")]
ColourOption = Annotated[
    Colour,
    typer.Option("--colour", help="auto: RGB where the IOD asks for it; keep: as coded; rgb: always RGB."),
]
VerifyOption = Annotated[
    Verify,
    typer.Option(
        "--verify",
        help="full: decode every written frame; independent: by another implementation; sample: every 16th frame.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair", help="Correct Number of Frames from what is there; drop junk behind the pixel data."
    ),
]


def transcode(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Files and directories; - for standard input.")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="A file (for one SRC file), or a directory.")
    ],
    to: To,
    colour: ColourOption = Colour.AUTO,
    verify: VerifyOption = Verify.FULL,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    repair: Repair = False,
    report: ReportFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Transcode DICOM files losslessly and verify every frame.

    Sources are never touched. A directory is mirrored below DST over all cores. Finished outputs are recognised, so
    the same command goes on where it was stopped.
    """
    from cinemill.batch import Options

    options = Options(syntaxes.target(to).uid, colour.value, verify.value, overwrite, repair)
    with files(sources) as found:
        run(options, found, destination, jobs=jobs, report=report, as_json=as_json, quiet=quiet)
