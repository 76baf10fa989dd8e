"""``cinemill review``: a page on which people say what is to be black in which kinds of instances."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cinemill.cli.options import PATH, examples, sources_argument
from cinemill.cli.run import quiet_option
from cinemill.operations.mask.wanted import REVIEW


@click.command(epilog=examples("cinemill review /archive/2019 -o review.html"))
@sources_argument("Files and directories.")
@click.option(
    "--output",
    "-o",
    metavar="FILE.html",
    type=PATH,
    required=True,
    help="The page; it shows burned-in names.",
)
@click.option(
    "--rules", metavar="FILE", type=PATH, help="Rules that come before those of cinemill, for proposals."
)
@click.option(
    "--text/--no-text",
    default=True,
    show_default=True,
    help="Look for text in the pictures: some seconds each (extra ocr).",
)
@quiet_option
def review(sources: tuple[Path, ...], *, output: Path, rules: Path | None, text: bool, quiet: bool) -> None:
    """Make a page on which people review masks.

    It shows one picture of each kind of instances, and the mask that is proposed. Kinds differ in manufacturer, model, size or
    ultrasound regions. Accepting and correcting ends in a file of rules, to be given to deidentify --mask rules --rules FILE.
    """
    write_page(sources, output, rules, reads=text, quiet=quiet)


def or_review(command: click.Command) -> click.Command:
    """Have a command make the page in place of outputs where ``--mask review`` is asked for."""
    otherwise = command.callback
    assert otherwise is not None

    @wraps(otherwise)
    def carry_out(sources: tuple[Path, ...], destination: Path, **options: Any) -> None:
        if options.get("mask") != REVIEW:
            otherwise(sources, destination, **options)
            return
        from cinemill.storage.atomic import make_folder

        page = destination
        if page.suffix != ".html":
            page = make_folder(page) / "review.html"
        write_page(sources, page, None, reads=True, quiet=options["quiet"])

    command.callback = carry_out
    return command


def write_page(
    sources: Sequence[Path], output: Path, rules: Path | None, *, reads: bool, quiet: bool
) -> None:
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
    from cinemill.errors import UsageError
    from cinemill.operations.mask.page import page, standing
    from cinemill.operations.mask.review import survey
    from cinemill.operations.mask.rules import rules_in, shipped_rules
    from cinemill.operations.pages import check_replaced, publish
    from cinemill.storage.tree import files_below

    if any(output.resolve() == source.resolve() for source in sources) or output.suffix.lower() == ".dcm":
        raise UsageError("the page would replace a source; choose another place", path=output)
    check_replaced(output)
    known = (*(rules_in(rules) if rules else ()), *shipped_rules())
    with phases(hidden=quiet) as shown:
        found = survey(files_below(sources), known, lambda what, done: shown(what, done, None), reads=reads)
    publish(output, [page(found)])
    if not quiet:
        click.echo(f"{standing(found)}; look at {output}")
