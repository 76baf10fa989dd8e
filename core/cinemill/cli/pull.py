"""`cinemill pull`: studies of a node into a folder, by C-GET, C-MOVE or DICOMweb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from click.exceptions import Exit

from cinemill.cli.exchange import (
    Shown,
    limited,
    limits_options,
    report_file,
    studies_options,
    telling_options,
)
from cinemill.cli.options import accepting, destination_argument, examples
from cinemill.cli.run import interruption, quiet_option
from cinemill.operations.exchange.request import Pull

if TYPE_CHECKING:
    from cinemill.network.nodes import Node
    from cinemill.network.query import Study
    from cinemill.operations.exchange.pull import By


@click.command("pull", epilog=examples("cinemill pull pacs 2019/ --query StudyDate=20190101-20191231"))
@click.argument("node", metavar="NODE", help="A node of the nodes file.")
@destination_argument("A directory; it gets one for each study.")
@studies_options
@accepting(Pull, without=("node",))
@telling_options
@limits_options
@quiet_option
def pull(
    node: str,
    destination: Path,
    *,
    uids: tuple[str, ...],
    query: str | None,
    by: str,
    associations: int | None,
    report: Path | None,
    as_json: bool,
    max_rate: float | None,
    hours: str | None,
    quiet: bool,
) -> None:
    """Fetch studies from a node, and say what is missing.

    Instances that are there already are not fetched again. Only whole files get their names, DST/STUDY/INSTANCE.dcm. What
    the node counts and lists is compared with what is there: exit code 1 if anything is missing, and it is said by name.
    """
    from cinemill.network import archive
    from cinemill.network.nodes import node_named
    from cinemill.network.pace import Pace
    from cinemill.operations.exchange.pull import pull as fetch

    found = limited(node_named(node), max_rate, hours, associations)
    studies = studies_asked(found, uids, query)
    archive.check(found)
    with interruption() as stopping, report_file(report) as file:
        pace = Pace(found.limits.rate, found.limits.window, stopping)
        wanted = studies(pace.rest)
        shown = Shown(pace, file, as_json=as_json, quiet=quiet)
        with shown.until_stopped("the same command goes on from here"):
            for study in fetch(found, destination, wanted, by=cast("By", by), pace=pace, told=shown.add_good):
                shown.keep(study.kept)
                for outcome in study.missing:
                    shown.add(outcome)
    raise Exit(0 if shown.well else 1)


def studies_asked(
    node: Node, uids: tuple[str, ...], query: str | None
) -> Callable[[Callable[[float], None]], Iterator[Study]]:
    """Return what yields the studies that were named, or that a query finds, once it is told how to wait between attempts.

    Parameters
    ----------
    node
        Is asked.
    uids, query
        As they were typed; one of them.

    Raises
    ------
    UsageError
        Both were typed or none, or the query can't be read.
    """
    from cinemill.errors import UsageError
    from cinemill.network import archive
    from cinemill.network.query import parse_query
    from cinemill.operations.exchange.pull import study_of

    if bool(uids) == bool(query):
        raise UsageError("give --study or --query, and not both")
    if query:
        criteria = parse_query(query)
        return lambda rest: archive.studies(node, criteria, rest)
    return lambda rest: (study_of(node, uid, rest) for uid in dict.fromkeys(uids))
