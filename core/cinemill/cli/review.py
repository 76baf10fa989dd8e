"""``cinemill review``: a page on which people say what is to be black in which kinds of instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cinemill.cli.run import Quiet
from cinemill.operations.mask.wanted import REVIEW

Trees = Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and directories.")]


def review(
    sources: Trees,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page; it shows burned-in names.")
    ],
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules", metavar="FILE", help="Rules that come before those of cinemill, for proposals."
        ),
    ] = None,
    text: Annotated[
        bool,
        typer.Option(
            "--text/--no-text", help="Look for text in the pictures: some seconds each (extra ocr)."
        ),
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Make a page on which people review masks.

    It shows one picture of each kind of instances, and the mask that is proposed. Kinds differ in manufacturer, model, size or
    ultrasound regions. Accepting and correcting ends in a file of rules, to be given to deidentify --mask rules --rules FILE.
    """
    write_page(sources, output, rules, reads=text, quiet=quiet)


def or_review(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that makes the page in place of outputs where ``--mask review`` is asked for."""

    @wraps(command)
    def carry_out(sources: list[Path], destination: Path, **options: Any) -> None:
        if options.get("mask") != REVIEW:
            command(sources, destination, **options)
            return
        page = destination
        if page.suffix != ".html":
            page.mkdir(parents=True, exist_ok=True)
            page /= "review.html"
        write_page(sources, page, None, reads=True, quiet=options["quiet"])

    return carry_out


def write_page(sources: list[Path], output: Path, rules: Path | None, *, reads: bool, quiet: bool) -> None:
    """Write the page.

    Parameters
    ----------
    sources, output
        What is looked at, and where the page is written.
    rules
        A file with rules that come first.
    reads
        Whether text is looked for.
    quiet
        Whether nothing is printed.
    """
    from cinemill.cli.forecast import phases
    from cinemill.errors import OutputError, UsageError
    from cinemill.operations.mask.page import page
    from cinemill.operations.mask.review import survey
    from cinemill.operations.mask.rules import rules_in, shipped_rules

    if any(output.resolve() == source.resolve() for source in sources) or output.suffix.lower() == ".dcm":
        raise UsageError("the page would replace a source; choose another place", path=output)
    known = (*(rules_in(rules) if rules else ()), *shipped_rules())
    with phases(hidden=quiet) as shown:
        found = survey(_files(sources), known, lambda what, done: shown(what, done, None), reads=reads)
    try:
        output.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the page can't be written: {error.strerror}", path=output) from None
    if not quiet:
        instances = sum(group.instances for group in found.groups)
        typer.echo(f"{len(found.groups)} kinds of instances stand for {instances:,}; look at {output}")


def _files(sources: list[Path]) -> Iterator[Path]:
    from cinemill.storage.tree import discover

    return (item.source for item in discover(sources, Path("/nonexistent")))
