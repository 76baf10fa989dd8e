"""Does an operation to many instances over processes, so that a crash in a native decoder costs one item and not the run."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self, cast

from cinemill.errors import Cancelled, CinemillError, DecoderCrashed, InternalError, NoRoom, UsageError
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt, failure
from cinemill.processes import safe_path
from cinemill.storage import atomic
from cinemill.storage.tree import Item
from cinemill.warmup import announcing

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext

_ATTEMPTS = 3
_PROGRESS_INTERVAL = 0.1

Progress = Callable[[Item, int, int], None]
"""Called with an item, its frames done, and its frames in all."""


def run_all(
    items: Iterable[Item],
    operation: Operation,
    *,
    jobs: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    compiling: Callable[[str], None] | None = None,
) -> Iterator[Receipt]:
    """Do an operation to items over processes; yield a receipt for each, in the order they end.

    Nothing stops at a bad file. Where there is no room for an output, no further item is taken from `items`.

    Parameters
    ----------
    jobs
        Cores to keep busy, all by default: with fewer items than cores, each item gets several threads.
    stop
        Polled; True cancels what is under way between two frames, and ends the iteration.
    progress
        Called while items are under way.
    compiling
        With `progress`: called with the name of each kernel that a process has to compile.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    waiting = iter(items)
    first = list(islice(waiting, jobs))
    if not first:
        return
    with _Pool(len(first), max(1, jobs // len(first)), operation, progress, compiling) as pool:
        yield from pool.run(chain(first, waiting), stop)


class _Pool:
    """Child processes that work on one item at a time, and are replaced when they die."""

    def __init__(
        self,
        size: int,
        threads: int,
        operation: Operation,
        progress: Progress | None,
        compiling: Callable[[str], None] | None,
    ) -> None:
        self._context = _context()
        self._context.set_forkserver_preload([__name__, operation.body])
        self._stopping = self._context.RawValue(ctypes.c_bool)  # has no lock, which a dying child would keep
        self._arguments = (operation, threads, self._stopping, progress is not None)
        self._progress, self._compiling = progress, compiling
        self._children = [_Child(self._context, self._arguments) for _ in range(size)]
        self._again: deque[tuple[Item, int]] = deque()
        self._operation = operation
        self._full = False

    def run(self, items: Iterator[Item], stop: Callable[[], bool]) -> Iterator[Receipt]:
        """Yield receipts until no item is left, or those under way have been cancelled."""
        from multiprocessing import connection

        while True:
            if not self._stopping.value:
                self._feed(items)
            busy = {child.connection: child for child in self._children if child.item is not None}
            if not busy:
                return
            for ready in connection.wait(list(busy), timeout=0.2):
                receipt = self._serve(busy[cast("Connection", ready)])
                if receipt is not None:
                    self._full |= is_no_room(receipt)
                    yield receipt
            if stop():
                self._stopping.value = True

    def _feed(self, items: Iterator[Item]) -> None:
        for child in self._children:
            if child.item is None and not self._full:
                item, attempt = self._again.popleft() if self._again else (next(items, None), 1)
                if item is None:
                    return
                child.start(item, attempt)

    def _serve(self, child: _Child) -> Receipt | None:
        """Take one message of a child: a kernel, progress, a receipt, None for a cancelled item, or its death."""
        item = child.item
        assert item is not None
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            return self._bury(child, item)
        if isinstance(message, str):
            if self._compiling is not None:
                self._compiling(message)
            return None
        if isinstance(message, tuple):
            if self._progress is not None:
                self._progress(item, *message)
            return None
        child.item = None
        receipt: Receipt | None = message
        return receipt

    def _bury(self, child: _Child, item: Item) -> Receipt | None:
        """Replace a dead child; its item is tried again, up to a limit."""
        end = child.end()
        self._children[self._children.index(child)] = _Child(self._context, self._arguments)
        if child.attempt < _ATTEMPTS:
            self._again.append((item, child.attempt + 1))
            return None
        crash = DecoderCrashed(
            f"the process ended with {end} in each of {_ATTEMPTS} attempts; set the file aside and report it"
        )
        return _settled(self._operation, item, crash)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.value = True
        for child in self._children:
            child.end()


class _Child:
    """One child process and the item it works on."""

    def __init__(
        self, context: ForkServerContext | SpawnContext, arguments: tuple[Operation, int, ctypes.c_bool, bool]
    ) -> None:
        self.connection, theirs = context.Pipe()
        self.item: Item | None = None
        self.attempt = 1
        self._process = context.Process(target=_work, args=(theirs, *arguments), daemon=True)
        with safe_path():
            self._process.start()
        theirs.close()

    def start(self, item: Item, attempt: int) -> None:
        """Hand the child its next item."""
        self.item, self.attempt = item, attempt
        with suppress(OSError):  # a dead child is noticed when its answer is awaited
            self.connection.send(item)

    def end(self) -> str:
        """Tell the child to end, wait for it, and return how it ended."""
        with suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _context() -> ForkServerContext | SpawnContext:
    import multiprocessing

    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    return multiprocessing.get_context("forkserver")


def _work(
    jobs: Connection,
    operation: Operation,
    threads: int,
    stopping: ctypes.c_bool,
    announce: bool,  # noqa: FBT001
) -> None:
    """Serve one connection: items in until None; kernels, progress and receipts out, None for a cancelled item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sending = threading.Lock()

    def send(message: Any) -> None:
        with sending:  # kernels are compiled by any thread
            jobs.send(message)

    with announcing(send if announce else None):
        _serve_items(jobs, operation, Control(threads, lambda: stopping.value, _throttled(send)), send)


def _serve_items(
    jobs: Connection, operation: Operation, control: Control, send: Callable[[Any], None]
) -> None:
    while True:
        try:
            item: Item | None = jobs.recv()
        except (EOFError, OSError):
            return
        if item is None:
            return
        try:
            receipt = attempt(item, operation, control)
        except Cancelled:
            receipt = None
        except UsageError as error:
            receipt = failure(item.source, item.output, error)
        try:
            send(receipt)
        except OSError:
            return


def attempt(item: Item, operation: Operation, control: Control) -> Receipt:
    """Do an operation to one item in this process; whatever goes wrong with it becomes its receipt.

    Parameters
    ----------
    item
        The file, and the place of its output.
    operation
        What is done to it.
    control
        Threads, cancellation and progress.

    Raises
    ------
    Cancelled
        On request.
    UsageError
        The options can't be carried out for any item.
    """
    try:
        return operation.apply(item.source, item.output, control)
    except (Cancelled, UsageError):
        raise
    except Exception as error:  # noqa: BLE001  # one file must not stop an archive
        return _settled(operation, item, _explained(error))


def _settled(operation: Operation, item: Item, error: CinemillError) -> Receipt:
    """Return the receipt of an item that failed, once what is to be done about that was done."""
    try:
        return operation.settle(failure(item.source, item.output, error))
    except NoRoom as full:
        return failure(item.source, item.output, full)


def _explained(error: Exception) -> CinemillError:
    if isinstance(error, CinemillError):
        return error
    if isinstance(error, OSError) and atomic.is_no_room(error):
        import tempfile

        where = error.filename or tempfile.gettempdir()
        return NoRoom(f"no room for temporary files: {error.strerror}; free some space there", path=where)
    return InternalError(f"unexpected {type(error).__name__}: {error}; please report it with this file")


def is_no_room(receipt: Receipt) -> bool:
    """Whether an instance failed because nothing fits on the disk any more."""
    return receipt.error is not None and receipt.error["kind"] == NoRoom.__name__


def _throttled(send: Callable[[Any], None]) -> Callable[[int, int], None]:
    last = time.monotonic()

    def progress(done: int, frames: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_INTERVAL:
            last = now
            send((done, frames))

    return progress
