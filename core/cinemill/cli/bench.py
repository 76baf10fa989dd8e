"""``cinemill bench``: how fast one's own files are decoded and transcoded here, and whether that got worse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Number, examples
from cinemill.errors import UsageError, printable

if TYPE_CHECKING:
    from cinemill.benchmark import Measurement

_COLUMNS = ("file", "operation", "MB/s", "× CharLS encoding")


@click.command(
    epilog=examples(
        "cinemill bench my_cines/*.dcm --json > before.json",
        "cinemill bench my_cines/*.dcm --compare before.json --at-least 0.9",
    )
)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=PATH, help="Default: pydicom's ultrasound cine.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for a later --compare, or pytest-benchmark's own."
)
@click.option("--compare", metavar="OLD.json", type=PATH, help="An earlier run's JSON.")
@click.option(
    "--at-least",
    metavar="RATIO",
    type=Number(min=0),
    default=0.85,
    show_default=True,
    help="Of the earlier speed; below it, exit with 1.",
)
@click.option(
    "--summary",
    metavar="FILE",
    type=PATH,
    envvar="GITHUB_STEP_SUMMARY",
    show_envvar=True,
    help="Append the table to this file, as Markdown.",
)
def bench(
    files: tuple[Path, ...], *, as_json: bool, compare: Path | None, at_least: float, summary: Path | None
) -> None:
    """Measure decoding and transcoding of files, on one thread.

    Speeds are compared as multiples of CharLS encoding the same frames in the same run, so an earlier run may come
    from another machine of the same kind.
    """
    before = [] if compare is None else _read(compare)
    for path in files:
        if not path.exists():
            raise UsageError("no such file; check the path", path=path)
    from pydicom.data import get_testdata_file

    from cinemill.benchmark import measure, slower, summarise, to_document

    bundled = str(get_testdata_file("examples_ybr_color.dcm", download=False))
    now = [each for path in files or (Path(bundled),) for each in measure(path)]
    if as_json:
        click.echo(json.dumps(to_document(now), indent=1))
    else:
        _show(*_compared(now, before))
    worse = list(slower(now, before, at_least))
    if summary is not None:
        summarise(summary, "cinemill: processor time on one thread", *_compared(now, before))
    for each, share in worse:
        line = f"slower: {printable(each.file)} {each.operation}: {share:.2f} of the earlier speed"
        click.echo(line, err=True)
    raise Exit(1 if worse else 0)


def _read(path: Path) -> list[Measurement]:
    from cinemill.benchmark import from_document

    try:
        return from_document(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"not the JSON of an earlier run: {error}", path=path) from None


def _show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in {"file", "operation"} else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _compared(
    measured: list[Measurement], before: list[Measurement]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of a table: what was measured, and how fast it is beside the earlier run."""
    from cinemill.benchmark import slower

    shares = dict(slower(measured, before, float("inf")))
    columns = (*_COLUMNS, "of the earlier speed") if before else _COLUMNS
    rows = [
        (*_cells(each), *([f"{shares[each]:.2f}" if each in shares else "–"] if before else []))
        for each in measured
    ]
    return columns, rows


def _cells(measured: Measurement) -> tuple[str, str, str, str]:
    name = printable(Path(measured.file).name)
    return name, measured.operation, f"{measured.megabytes_per_second:.0f}", f"{measured.ratio:.2f}"
