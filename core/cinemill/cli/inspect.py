"""`cinemill inspect`: what each file is, and whether it is sound."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Place, examples, sources_argument
from cinemill.cli.run import files

if TYPE_CHECKING:
    from rich.console import Console

    from cinemill.operations.inspect.checks.unresolved import References
    from cinemill.operations.inspect.documents.table import MeasurementTable
    from cinemill.operations.inspect.model import Finding, Inspection
    from cinemill.operations.inspect.page.page import InspectionPage

_STYLES = {"error": "bold red", "warning": "yellow", "notice": "cyan"}
_LEAD = 10
"""Characters before facts and findings."""

_NARROWEST, _WIDTH = 20, 240
"""Characters of a line at least, and where that is not shown on a terminal."""

_UNRESOLVED = 20
"""Instances whose references are told."""


@click.command(
    epilog=examples("cinemill inspect echo.dcm", "cinemill inspect /archive/2019 --html 2019.html")
)
@sources_argument("Files and directories; - for standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each instance.")
@click.option(
    "--expect-model", metavar="NAME", help="Manufacturer's Model Name that all instances should have."
)
@click.option(
    "--phi", is_flag=True, help="Tell patient and study, too: name, ID, birth date, sex, study, institution."
)
@click.option(
    "--measurements",
    type=Place(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a row for each numeric value of structured reports: .csv or .parquet.",
)
@click.option(
    "--html", type=PATH, metavar="FILE", help="Write a page: findings, frames, times, regions, measurements."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier page or table.")
def inspect(
    sources: tuple[Path, ...],
    *,
    as_json: bool,
    expect_model: str | None,
    phi: bool,
    measurements: Path | None,
    html: Path | None,
    overwrite: bool,
) -> None:
    """Tell what files are, and what is wrong with them.

    Nothing is decoded, but for the pictures of a page. Each finding has an id, the section of the standard, what was found,
    and how to mend it. The exit code is 1 where one of them is an error.
    """
    from cinemill.operations.inspect.checks.unresolved import References
    from cinemill.operations.inspect.trees import inspect_all

    with (
        files(sources) as (found, called),
        References() as references,
        _table(measurements, overwrite=overwrite) as table,
        _page(html, found, called, overwrite=overwrite, phi=phi) as page,
    ):
        wrong = False
        others: list[Path] = []
        inspections = inspect_all(
            found,
            expect_model=expect_model,
            phi=phi,
            references=references,
            left_out=others.append,
            called=called,
        )
        for inspection in _show(found, inspections, references, others, as_json=as_json):
            wrong |= any(each.severity == "error" for each in inspection.findings)
            if table is not None:
                table.add(inspection.facts, inspection.measurements)
            if page is not None:
                page.add(inspection)
        if page is not None:
            page.add_findings(references.findings())
    raise Exit(1 if wrong else 0)


def _table(path: Path | None, *, overwrite: bool) -> MeasurementTable | nullcontext[None]:
    """Open the table of measurements that was asked for."""
    if path is None:
        return nullcontext()
    from cinemill.operations.inspect.documents.table import MeasurementTable

    return MeasurementTable(path, overwrite=overwrite)


def _page(
    path: Path | None, sources: list[Path], called: Mapping[Path, Path], *, overwrite: bool, phi: bool
) -> InspectionPage | nullcontext[None]:
    """Begin the page that was asked for: see `InspectionPage`."""
    if path is None:
        return nullcontext()
    from cinemill.operations.inspect.page.page import InspectionPage

    return InspectionPage(path, sources, called=called, overwrite=overwrite, phi=phi)


def _show(
    sources: list[Path],
    inspections: Iterator[Inspection],
    references: References,
    others: list[Path],
    *,
    as_json: bool,
) -> Iterator[Inspection]:
    """Print inspections, and yield each; then what is wrong with references between them."""
    if as_json:
        yield from _show_records(inspections, references)
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH
    if len(sources) == 1 and not sources[0].is_dir():
        for each in inspections:
            _show_one(console, each)
            yield each
    else:
        yield from _show_tree(console, inspections, references, others)


def _show_records(inspections: Iterator[Inspection], references: References) -> Iterator[Inspection]:
    """Print a JSON line for each instance, then one for each whose references lead nowhere: its path and these findings."""
    from cinemill.operations.inspect.inspect import to_record

    for each in inspections:
        click.echo(json.dumps(to_record(each)))
        yield each
    for path, found in groupby(references.findings(), lambda located: located[0]):
        click.echo(json.dumps({"path": str(path), "findings": [asdict(finding) for _, finding in found]}))


def _show_one(console: Console, inspection: Inspection) -> None:
    from cinemill.operations.inspect.words import counts, sections

    _say(console, str(inspection.facts.path), "bold")
    for heading, lines in sections(inspection):
        for number, line in enumerate(lines):
            _say_beside(console, heading if number == 0 else "", line, "dim")
    console.print()
    for finding in inspection.findings:
        _show_finding(console, finding)
    _say(console, counts(inspection.findings) or "no findings", "bold")


def _show_finding(console: Console, finding: Finding) -> None:
    frame = "" if finding.frame is None else f", frame {finding.frame}"
    _say_beside(
        console, finding.severity, f"{finding.check} ({finding.section}{frame})", _STYLES[finding.severity]
    )
    _say_beside(console, "", finding.found)
    _say_beside(console, "", f"→ {finding.remedy}")
    console.print()


def _show_tree(
    console: Console, inspections: Iterator[Inspection], references: References, others: list[Path]
) -> Iterator[Inspection]:
    """Print a line for each instance, then references that lead nowhere, and how often each check found something."""
    from cinemill.operations.inspect.words import counts, line

    instances: Counter[str] = Counter()
    kinds: dict[str, Finding] = {}
    number = 0
    for study, in_study in groupby(inspections, lambda each: each.facts.study_instance_uid):
        first = True
        for series, in_series in groupby(in_study, lambda each: each.facts.series_instance_uid):
            for position, each in enumerate(in_series):
                if first:
                    _say(console, _study(each, study), "bold")
                if position == 0:
                    device = ", ".join(filter(None, (each.facts.manufacturer, each.facts.model)))
                    _say(console, f"  series {series or '(no UID)'}  {device}")
                first = False
                found = counts(each.findings)
                _say(
                    console,
                    f"    {each.facts.path.name}  {line(each.facts)}" + (f"  {found}" if found else ""),
                )
                instances.update({finding.check for finding in each.findings})
                kinds |= {finding.check: finding for finding in each.findings}
                number += 1
                yield each
    for findings in _show_unresolved(console, references):
        instances.update({finding.check for finding in findings})
        kinds |= {finding.check: finding for finding in findings}
    _show_counts(console, number, instances, kinds, others)


def _show_unresolved(console: Console, references: References) -> Iterator[list[Finding]]:
    """Print what is wrong with references of the first few instances, and yield the findings of each one."""
    told = 0
    for path, in_file in groupby(references.findings(), lambda located: located[0]):
        findings = [finding for _, finding in in_file]
        told += 1
        if told <= _UNRESOLVED:
            _say(console, f"{path.name} refers to what is not so", "bold")
            for finding in findings:
                _show_finding(console, finding)
        yield findings
    if told > _UNRESOLVED:
        _say(console, f"{told - _UNRESOLVED} more instances do; --json tells all", "bold")


def _study(inspection: Inspection, study: str | None) -> str:
    return "  ".join([f"study {study or '(no UID)'}", *inspection.patient.values()])


def _show_counts(
    console: Console, number: int, instances: Counter[str], kinds: dict[str, Finding], others: list[Path]
) -> None:
    from rich.table import Table
    from rich.text import Text

    from cinemill.operations.inspect.checks.documented import about
    from cinemill.operations.inspect.checks.table import in_order

    table = Table(box=None, pad_edge=False)
    for name in ("finding", "severity", "instances", "what should be"):
        table.add_column(name, justify="right" if name == "instances" else "left")
    often = sorted(kinds.values(), key=lambda finding: (-instances[finding.check], finding.check))
    for finding in in_order(often):
        severity = Text(finding.severity, _STYLES[finding.severity])
        table.add_row(finding.check, severity, str(instances[finding.check]), about(finding.check))
    console.print()
    if kinds:
        console.print(table)
        console.print()
    if others:
        told = "1 file is" if len(others) == 1 else f"{len(others):,} files are"
        _say(console, f"{told} not DICOM, such as {others[0]}")
    sound = "" if kinds else ", no findings"
    _say(console, f"{number} instance{'' if number == 1 else 's'}{sound}", "bold")


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line, however long it is."""
    from rich.text import Text

    from cinemill.errors import printable

    console.print(Text(printable(line), style), soft_wrap=True)


def _say_beside(console: Console, lead: str, line: str, style: str = "") -> None:
    """Print a line beside its lead, whose style is given; on a terminal it is wrapped."""
    from rich.text import Text

    from cinemill.errors import printable

    line, pieces = printable(line), []
    if console.is_terminal:
        room = max(console.width - _LEAD, _NARROWEST)
        pieces = textwrap.wrap(line, room, break_on_hyphens=False)
    for piece in pieces or [line]:
        console.print(Text.assemble((lead.ljust(_LEAD), style), piece), soft_wrap=True)
        lead = ""
