"""`cinemill migrate`: what a node holds, in another transfer syntax, there or at another node."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

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
from cinemill.cli.options import PATH, accepting, examples, made
from cinemill.cli.progress import say
from cinemill.cli.pull import studies_asked
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.operations.exchange.request import Migrate

if TYPE_CHECKING:
    from cinemill.network.nodes import Node
    from cinemill.network.query import Study
    from cinemill.operations.exchange.ledger import Entry
    from cinemill.operations.exchange.migrate import Migrated, Migration

_MEGABYTE = 1_000_000


@click.command(
    "migrate",
    epilog=examples(
        "cinemill migrate pacs --query StudyDate=20190101-20191231 --to jpeg-ls",
        "cinemill migrate pacs --status",
    ),
)
@click.argument("node", metavar="NODE", help="A node of the nodes file.")
@click.argument("target", metavar="[NODE2]", required=False, help="Where they go; default: back to NODE.")
@studies_options
@accepting(Migrate, without=("node", "target"))
@click.option(
    "--spool", metavar="DIR", type=PATH, help="Ledger, and files on their way; default: ./NODE.migration."
)
@jobs_option
@click.option("--dry-run", is_flag=True, help="Count what matches, by transfer syntax, and fetch nothing.")
@click.option("--status", is_flag=True, help="Say how far a migration is, from the ledger alone.")
@telling_options
@limits_options
@quiet_option
def migrate(
    node: str,
    target: str | None,
    *,
    uids: tuple[str, ...],
    query: str | None,
    spool: Path | None,
    associations: int | None,
    jobs: int | None,
    dry_run: bool,
    status: bool,
    report: Path | None,
    as_json: bool,
    max_rate: float | None,
    hours: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Transcode what a node holds, there or to another node.

    Instances are fetched, transcoded with every frame verified, sent, and asked for again: one counts as replaced once the
    node gives it back in the new transfer syntax with the same pixels. Nothing is deleted at a node. A ledger in the
    spool knows how far each instance is, so the same command goes on where it was stopped, however that was.
    Without --to, the built-in policy archive decides. Exit code 1 if anything is left.
    """
    from cinemill.network.nodes import node_named
    from cinemill.operations.exchange.migrate import ask

    source = other = limited(node_named(node), max_rate, hours, associations)
    if target not in {None, node}:
        other = limited(node_named(target or ""), max_rate, hours, associations)
    folder = spool or Path(f"{node}.migration" if other is source else f"{node}-{target}.migration")
    if status:
        _show_status(folder)
        return
    studies = studies_asked(source, uids, query)
    if dry_run:
        _show_forecast(source, studies(time.sleep))
        return
    planned = made(Migrate, options).between(source, other, folder)
    ask(planned)
    with interruption() as stopping, report_file(report) as file:
        migration = replace(planned, stopping=stopping)
        shown = Moved(migration, file, as_json=as_json, quiet=quiet)
        _run(migration, studies(migration.paces[0].rest), shown, jobs)
    raise Exit(0 if shown.well else 1)


def _run(migration: Migration, studies: Iterator[Study], shown: Moved, jobs: int | None) -> None:
    from cinemill.batch import staying
    from cinemill.operations.exchange.ledger import Ledger
    from cinemill.operations.exchange.migrate import migrate as carry_out

    with (
        shown.until_stopped("the same command goes on from here"),
        Ledger(migration.spool, migration.settings) as ledger,
        staying(migration.wanted, jobs=jobs, stop=migration.stopping, compiling=shown.compiling) as work,
    ):
        for study in carry_out(migration, ledger, studies, work, shown.moved):
            shown.end(study)


class Moved(Shown):
    """Counts instances by what became of them, and studies; shows both.

    Parameters
    ----------
    migration
        Whose instances are counted.
    report
        Takes a JSON line for each instance.
    as_json
        Print such a line on standard output as well.
    quiet
        Print errors only.
    """

    def __init__(self, migration: Migration, report: TextIO | None, *, as_json: bool, quiet: bool) -> None:
        super().__init__(migration.paces[0], report, as_json=as_json, quiet=quiet)
        self._same = migration.source.name == migration.target.name
        self._paces = dict.fromkeys(migration.paces)
        self._studies = self._left = self._earlier = 0
        self._sizes = Sizes()
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._compiled = False

    def moved(self, entry: Entry) -> None:
        """Count an instance that is finished; what failed may yet be mended."""
        if entry.finished:
            with self._lock:
                self._tell(entry)
                self._told.add((entry.study, entry.sop_instance))

    def end(self, study: Migrated) -> None:
        """Count a study, with what is left of it, and what earlier runs had finished."""
        self._studies += 1
        self._left += not study.well
        left: dict[tuple[str, str], list[str]] = {}
        with self._lock:
            for entry in study.entries:
                key = (entry.study, entry.sop_instance)
                if not entry.finished:
                    if key in self._told:
                        self._take_back(entry)
                    left.setdefault((self._tell(entry), entry.detail), []).append(entry.sop_instance)
                elif key not in self._told:
                    self._earlier += 1
                self._told.discard(key)
        for (name, detail), uids in left.items():
            more = f" and {len(uids) - 1} more of study {study.uid}" if len(uids) > 1 else ""
            self.wrong(name, f"{uids[0]}{more}: {detail}")
        if not study.well and all(each.finished for each in study.entries):
            name, _, detail = study.detail.partition(": ")
            self.wrong(name, f"study {study.uid}: {detail}")

    def _take_back(self, entry: Entry) -> None:
        """Count an instance no more that was finished, and is missing since."""
        from cinemill.operations.exchange.migrate import outcome_of

        before = outcome_of(replace(entry, failure=""), same=self._same)
        self._sizes.add(before, -1, -entry.bytes_before, -entry.bytes_after)

    def compiling(self, _: str) -> None:
        """Say once that kernels are compiled, which takes a minute."""
        if not (self._compiled or self._quiet):
            self._compiled = True
            self.say("compiling kernels for this processor, once; `cinemill warmup` does it beforehand")

    def _tell(self, entry: Entry) -> str:
        from cinemill.operations.exchange.migrate import outcome_of

        name = outcome_of(entry, same=self._same)
        self._sizes.add(name, 1, entry.bytes_before, entry.bytes_after)
        self.write({"outcome": name, **entry.to_dict()})
        return name

    @property
    def line(self) -> str:
        """What the bar says."""
        seconds = max(time.perf_counter() - self._started, 1e-3)
        moved = sum(pace.bytes for pace in self._paces) / _MEGABYTE
        counted = ", ".join(f"{count} {name}" for name, count in self._sizes.instances.items())
        earlier = [f"{self._earlier} finished earlier"] if self._earlier else []
        waits = sorted({pace.waits for pace in self._paces})
        rate = f"{moved / seconds:.0f} MB/s"
        return "; ".join(filter(None, [_studies(self._studies), counted, *earlier, rate, *waits]))

    def table(self) -> None:
        """Print how many instances came to what, and what is left."""
        if self._quiet:
            return
        self._sizes.show()
        earlier = f"; {self._earlier} instances were finished by earlier runs" if self._earlier else ""
        left = f", {self._left} of them with something left" if self._left else ""
        say(f"{_studies(self._studies)}{left}{earlier}; {time.perf_counter() - self._started:.1f} s")


def _studies(count: int) -> str:
    return f"{count} {'study' if count == 1 else 'studies'}"


class Sizes:
    """Instances and their bytes before and after, by what became of them."""

    def __init__(self) -> None:
        self.instances: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()

    def add(self, name: str, instances: int, before: int, after: int) -> None:
        """Count some.

        Parameters
        ----------
        name
            What became of them.
        instances, before, after
            How many, and their bytes.
        """
        self.instances[name] += instances
        self._before[name] += before
        self._after[name] += after

    def show(self) -> None:
        """Print a table."""
        from rich.table import Table
        from rich.text import Text

        from cinemill.cli.show import console
        from cinemill.network.outcomes import OUTCOMES

        if not any(self.instances.values()):
            return
        table = Table(box=None, pad_edge=False)
        for name in ("instances", "", "MB before", "MB after", ""):
            table.add_column(name, justify="left" if not name else "right")
        for name in sorted(+self.instances, key=[*OUTCOMES].index):
            kind = OUTCOMES[name]
            table.add_row(
                str(self.instances[name]),
                Text(name, "green" if kind.well else "red"),
                *(
                    f"{size[name] / _MEGABYTE:.1f}" if size[name] else ""
                    for size in (self._before, self._after)
                ),
                Text(kind.meaning),
            )
        console.print(table, soft_wrap=True)


def _show_status(spool: Path) -> None:
    """Print what the ledger knows, of a migration that may be under way."""
    from cinemill.operations.exchange.ledger import STATES, Ledger

    with Ledger(spool, only_reads=True) as ledger:
        studies, settled, rows = ledger.totals()
        nodes = dict.fromkeys(ledger.setting(name) for name in ("node", "to node"))
    click.echo(
        f"{' to '.join(nodes)}: {settled} of {_studies(studies)} {'is' if studies == 1 else 'are'} settled"
    )
    for state in STATES:
        for found, failure, count, before, after in rows:
            if found == state:
                failed = f", then {failure}" if failure else ""
                sizes = f"{before / _MEGABYTE:.1f} MB before, {after / _MEGABYTE:.1f} MB after"
                click.echo(f"{count:>9} {state}{failed}: {sizes}")


def _show_forecast(source: Node, studies: Iterable[Study]) -> None:
    """Print what matches."""
    from cinemill.operations.exchange.migrate import forecast
    from cinemill.syntaxes import TRANSFER_SYNTAXES

    count, found = forecast(source, studies)
    click.echo(f"{_studies(count)}, {found.total()} instances")
    for uid, instances in found.most_common():
        told = str(TRANSFER_SYNTAXES[uid]) if uid else f"{source.name} does not say in which transfer syntax"
        click.echo(f"{instances:>9} {told}")
