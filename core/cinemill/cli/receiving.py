"""What `cinemill receive` shows and writes down while it runs, and how it transcodes what arrived."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from cinemill.cli.exchange import appending
from cinemill.errors import CinemillError, UsageError, printable
from cinemill.operations.receipt import Receipt
from cinemill.storage.atomic import output_error

if TYPE_CHECKING:
    from cinemill.network.incoming import Taken
    from cinemill.network.outcomes import Outcome
    from cinemill.network.receive.inbox import Inbox
    from cinemill.network.receive.peers import Peer
    from cinemill.operations.transcode.request import Transcode

_TICK = 0.5
_LINE_SECONDS = 60.0
"""Without a terminal, what was received is said so often."""

_ROOM_SECONDS = 30.0
"""Where there was no room for an output, it is tried again after so long."""

_DONE = frozenset(("transcoded", "copied", "kept"))
"""Statuses of outputs that hold what was received, so that it need not wait any longer."""


class Log:
    """A file with a JSON line for each instance.

    Parameters
    ----------
    path
        The file, None for none.
    folder
        Where instances go, which it may not lie in.

    Raises
    ------
    UsageError
        It would lie among instances.
    OutputError
        It can't be written.
    """

    def __init__(self, path: Path | None, folder: Path) -> None:
        if path is not None and path.resolve().is_relative_to(folder.resolve()):
            raise UsageError("the report would lie among the instances; choose another place", path=path)
        try:
            self._file = None if path is None else appending(path)
        except OSError as error:
            assert path is not None
            raise output_error(path, error) from None

    def add(self, **row: Any) -> None:
        """Write a line."""
        if self._file is not None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            with suppress(OSError):  # a full disk is told by instances that are refused
                self._file.write(json.dumps({"time": now, **row}) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


class Board:
    """Counts what arrives and says what goes wrong: a line on the terminal that changes, or one now and then.

    Parameters
    ----------
    log
        Takes what became of each instance.
    hidden
        Whether only errors are to be shown.
    """

    def __init__(self, log: Log, *, hidden: bool) -> None:
        self._log, self._hidden = log, hidden
        self._live = sys.stderr.isatty() and not hidden
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._arrived = threading.Event()
        self._said: tuple[int, ...] = ()
        self._begun = False
        self._next = time.monotonic() + _LINE_SECONDS
        self._samples: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def begin(self, title: str, host: str, port: int, folder: Path, *, secure: bool) -> None:
        """Say where instances are taken, and how that is tried."""
        self._begun = True
        if self._hidden:
            return
        where = host or "this host, all addresses"
        self._print(
            f"{title} listens at port {port} ({where}{', TLS' if secure else ''}) and writes into {folder}"
        )
        if not secure:
            there = host or "localhost"
            self._print(
                f"try it: echoscu -aec {title} {there} {port}; storescu -aec {title} {there} {port} FILE.dcm"
            )
        self._print("Ctrl-C ends it, once instances under way are done")

    def stored(self, peer: Peer, outcome: Taken, seconds: float) -> None:
        """Count an instance, and say why it was refused."""
        claim = outcome.claim
        self._log.add(
            peer=str(peer),
            outcome=outcome.what,
            status=f"0x{outcome.status:04X}",
            path=None if outcome.path is None else str(outcome.path),
            sop_class=claim.sop_class,
            transfer_syntax=claim.transfer_syntax,
            bytes=outcome.size,
            seconds=round(seconds, 4),
            message=outcome.message,
        )
        with self._lock:
            self._counts[outcome.what] += 1
            if outcome.what == "stored":
                self._bytes += outcome.size
        if outcome.what == "stored":
            self._arrived.set()
        if outcome.what == "refused":
            self._print(f"refused: an instance from {peer}: 0x{outcome.status:04X}, {outcome.message}", "red")

    def told(self, peer: Peer, message: str) -> None:
        """Say what else happened."""
        self._log.add(peer=str(peer), outcome="told", message=message)
        if not self._hidden:
            self._print(f"{peer}: {message}", "yellow")

    def transcoded(self, receipt: Receipt) -> None:
        """Count an instance that was transcoded, and say why it was not."""
        with self._lock:
            self._counts[receipt.done] += 1
        self._log.add(
            outcome=receipt.done, path=receipt.output, message=(receipt.error or {}).get("message", "")
        )
        if receipt.error is not None:
            self._print(f"{receipt.done}: {receipt.source}: {receipt.error['message']}", "red")

    def interrupted(self, what: str, error: CinemillError | OSError) -> None:
        """Say that something is not done for a moment, and why."""
        told = str(error) if isinstance(error, CinemillError) else error.strerror
        self._print(f"{what} is interrupted, and tried again: {told}", "red")

    def forwarded(self, outcome: Outcome) -> None:
        """Count an instance that was forwarded, and say why it was not."""
        what = "forwarded" if outcome.kind.well else "not forwarded"
        with self._lock:
            self._counts[what] += 1
        self._log.add(outcome=what, path=str(outcome.source), message=f"{outcome.name}: {outcome.detail}")
        if not outcome.kind.well:
            told = outcome.detail or outcome.kind.meaning
            self._print(f"{what}: {outcome.source}: {outcome.name}: {told}", "red")

    def delayed(self, count: int, outcome: Outcome) -> None:
        """Say that instances are forwarded later, and why, by the outcome of the first."""
        if not self._hidden:
            told = outcome.detail or outcome.kind.meaning
            self._print(f"{count} not forwarded yet: {outcome.name}: {told}", "yellow")

    def wait(self, associations: int) -> None:
        """Show how much has arrived, and wait a moment."""
        now = time.monotonic()
        with self._lock:
            state = (*self._counts.values(), associations)
            line = self._line(now, associations)
        if self._live:
            room = shutil.get_terminal_size().columns - 1  # a line that wraps could not be drawn over
            click.echo(f"\r\x1b[2K{line[:room]}", err=True, nl=False)
        elif not self._hidden and now >= self._next and state != self._said:
            self._print(line)
            self._next, self._said = now + _LINE_SECONDS, state
        time.sleep(_TICK)

    def await_arrivals(self) -> bool:
        """Wait a moment for an instance; whether one has come."""
        come = self._arrived.wait(_TICK)
        self._arrived.clear()
        return come

    def _line(self, now: float, associations: int) -> str:
        self._samples = [*self._samples[-10:], (now, self._bytes)]
        (before, size), (after, sum_size) = self._samples[0], self._samples[-1]
        rate = (sum_size - size) / max(after - before, _TICK) / 1e6
        counts = ", ".join(f"{count} {what}" for what, count in self._counts.items()) or "nothing yet"
        plural = "" if associations == 1 else "s"
        return f"{counts}; {self._bytes / 1e6:.1f} MB, {rate:.0f} MB/s; {associations} association{plural}"

    def _print(self, line: str, colour: str | None = None) -> None:
        with self._lock:
            lead = "\r\x1b[2K" if self._live else ""
            with suppress(OSError):  # what is said may go to the disk that is full
                click.echo(lead + click.style(printable(line), colour), err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun and not self._hidden:
            self._print(self._line(time.monotonic(), 0))


def made_of(source: Path, output: Path) -> bool:
    """Whether an output was made of this instance, or is a copy of it."""
    from cinemill.network.duplicates import same_data_set
    from cinemill.operations.origin import look_at
    from cinemill.storage.digests import data_digest
    from cinemill.storage.mapped import map_file

    there = look_at(output)
    remembered = None if there is None or there.memory is None else there.memory.get("source")
    if isinstance(remembered, dict):
        return bool(remembered.get("digest") == data_digest(map_file(source)))
    return same_data_set(source, output)


def transcode_arrivals(
    operation: Transcode, inbox: Inbox, jobs: int | None, board: Board, stopping: Callable[[], bool]
) -> None:
    """Transcode what waits in an inbox, and what arrives, until it is stopped; what is finished waits no more.

    Parameters
    ----------
    operation
        What is done.
    inbox
        Where instances wait; outputs go into its root.
    jobs
        Cores to use.
    board
        Says when something arrives, and takes what became of it.
    stopping
        Whether to stop.
    """
    settled: set[Path] = set()
    again = 0.0
    while not stopping():
        if board.await_arrivals() or 0.0 <= again <= time.monotonic():
            try:
                done = _transcode_waiting(operation, inbox, jobs, board, stopping, settled)
            except (CinemillError, OSError) as error:
                board.interrupted("transcoding", error)
                done = False
            again = -1.0 if done else time.monotonic() + _ROOM_SECONDS


def _transcode_waiting(
    operation: Transcode,
    inbox: Inbox,
    jobs: int | None,
    board: Board,
    stopping: Callable[[], bool],
    settled: set[Path],
) -> bool:
    """Transcode what waits; False where that has to be tried again, since there was no room for an output."""
    from cinemill.batch import is_no_room, run_all
    from cinemill.storage.tree import discover

    full = False
    waiting = (item for item in discover([inbox.folder], inbox.root) if item.source not in settled)
    for receipt in run_all(waiting, operation, jobs=jobs, stop=stopping):
        board.transcoded(receipt)
        source = Path(receipt.source)
        if receipt.status in _DONE and Path(receipt.output).exists():
            source.unlink(missing_ok=True)
            _prune(source.parent, inbox.folder)
        elif is_no_room(receipt):
            full = True
        else:
            settled.add(source)
    return not full


def _prune(folder: Path, root: Path) -> None:
    """Remove directories in which nothing waits any more."""
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
