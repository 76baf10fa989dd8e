"""``cinemill demo`` through the queue: a private server and worker, one job for each target, and what came of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinemill.cli.options import PATH
from cinemill.errors import printable

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt
    from cinemill.syntaxes import TransferSyntax
    from cinemill_workers.ledger.ledger import Ledger

_DECODERS = re.compile(r"([a-z][a-z0-9-]+) [0-9]+\.")
"""Names of decoders in what a receipt says of its verification, where their versions follow."""


@click.command()
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=PATH,
    default="cinemill-demo",
    show_default=True,
    help="Where the files go.",
)
def demo(folder: Path) -> None:
    """Transcode pydicom's ultrasound cine to every target.

    A private worker does it and verifies every frame; frame 0 is written as PNG.
    """
    from pydicom.data import get_testdata_file

    from cinemill.cli.show import console
    from cinemill.storage.atomic import make_folder
    from cinemill.warmup import compiled
    from cinemill_workers.engine.client import open_ledger
    from cinemill_workers.local.up import Service
    from cinemill_workers.settings import settings

    source = Path(str(get_testdata_file("examples_ybr_color.dcm", download=False)))
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix="cinemill-demo-") as state:
        chosen = settings().model_copy(update={"state_dir": Path(state)})
        with console.status("starting a server and a worker") as status, Service(chosen) as service:

            def keep(_: object) -> None:
                service.keep()
                ready, there = compiled()
                if ready < there:
                    status.update(f"compiling kernels for this processor, once: {ready} of {there}")
                else:
                    status.update("transcoding to every target")

            receipts = _migrate(open_ledger(chosen), keep, source, folder.absolute())
    picture = folder / "frame_0000.png"
    _write_picture(source, picture)
    _show(source, receipts)
    click.echo(_in_an_archive(source))
    place = printable(str(folder.resolve()))
    click.echo(f"\nevery frame was read back and compared; the files and {picture.name} are in {place}")


def _migrate(
    ledger: Ledger, keep: Callable[[object], None], source: Path, folder: Path
) -> list[tuple[TransferSyntax, Receipt]]:
    """Submit a job for each target, watch them all, and return their receipts."""
    from cinemill import syntaxes
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.request import Transcode
    from cinemill_workers.engine.client import wait
    from cinemill_workers.engine.journal import Records, receipts
    from cinemill_workers.engine.kinds import to_json
    from cinemill_workers.ledger.model import JobSpec

    jobs = []
    for target in syntaxes.TARGETS:
        output = folder / f"{source.stem}.{target}.dcm"
        work = to_json(Transcode(target.uid, overwrite=True))
        spec = JobSpec((str(source),), str(output), work, name=str(target))
        jobs.append((target, ledger.create(spec)))
    for _, job in jobs:
        wait(ledger, job, show=keep)
    return [
        (target, Receipt(**record))
        for target, job in jobs
        for record in receipts([Records.of_job(ledger, ledger.job(job))])
    ]


def _write_picture(source: Path, picture: Path) -> None:
    import imagecodecs

    from cinemill.frames.cine import Cine
    from cinemill.frames.colour import convert

    with Cine(source) as cine:
        frame = convert(cine[0], cine.pixels.photometric_interpretation, "RGB")
    picture.write_bytes(imagecodecs.png_encode(frame))


def _show(source: Path, receipts: list[tuple[TransferSyntax, Receipt]]) -> None:
    from rich.console import Console
    from rich.table import Table

    first = receipts[0][1]
    table = Table(
        title=f"{source.name}: {first.frames} frames of {first.columns}×{first.rows}, "
        f"{first.bytes_before / 1e6:.2f} MB of JPEG, {first.pixel_bytes / 1e6:.1f} MB of pixels",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("target", "MB", "ratio", "to JPEG", "colour", "s", "read back by"):
        table.add_column(
            name, justify="left" if name in {"target", "colour", "read back by"} else "right", overflow="fold"
        )
    for target, receipt in receipts:
        table.add_row(
            str(target),
            f"{receipt.bytes_after / 1e6:.2f}",
            f"{receipt.pixel_bytes / receipt.bytes_after:.1f}:1",
            f"× {receipt.bytes_after / receipt.bytes_before:.1f}",
            receipt.photometric_interpretation_after,
            f"{receipt.seconds['total']:.2f}",
            "\n".join(dict.fromkeys(_DECODERS.findall(receipt.verification))),
        )
    Console().print(table)


def _in_an_archive(source: Path) -> str:
    """Say what a run without a target would do with the file."""
    from cinemill.dicom.source import Source
    from cinemill.operations.policy.decide import decide
    from cinemill.operations.transcode.request import Transcode

    asked = Transcode().in_bulk()
    with Source(source) as opened:
        kept = decide(opened, asked.rules, asked.options).reason == "lossy-source"
    if not kept:
        return "without --to, a directory run writes what is smaller, and copies the rest"
    return (
        "this cine is lossy already: without --to, and over a directory with it, cinemill keeps such files as they are, "
        "for all of the above but jpeg-xl-jpeg hold the same pixels in more bytes"
    )
