"""Does an operation to many instances over processes, so that a crash in a native decoder costs one item and not the run."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self, cast

from cinemill import party
from cinemill.errors import Cancelled, CinemillError, DecoderCrashed, InternalError, NoRoom, UsageError
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt, failure
from cinemill.processes import children_context, collect_seldom, ended, share_heap, sharing, start
from cinemill.processors import processors
from cinemill.storage import atomic
from cinemill.storage.location import size
from cinemill.storage.tree import Item, distinct

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext

_ATTEMPTS = 3
_PROGRESS_INTERVAL = 0.1
_OPEN_FILES = 64
"""Those of a process with a party of small instances, and some more."""

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

    Raises
    ------
    UsageError
        A process may not have as many files open as it would have.
    """
    jobs = jobs or processors()
    waiting = iter(items)
    first = list(islice(waiting, jobs))
    if not first:
        return
    with _Pool(len(first), max(1, jobs // len(first)), operation, progress, compiling) as pool:
        yield from pool.run(chain(first, waiting), stop)


@contextmanager
def staying(
    operation: Operation,
    *,
    jobs: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    compiling: Callable[[str], None] | None = None,
) -> Iterator[Callable[[Sequence[Item]], Iterator[Receipt]]]:
    """Yield what does an operation to items as `run_all` does, over processes that stay from call to call; one call at a time.

    Parameters
    ----------
    operation
        What is done to each item.
    jobs
        Cores to keep busy, all by default: a lone item gets several threads.
    stop
        Polled; True cancels what is under way between two frames, and ends every call.
    compiling
        Called with the name of each kernel that a process has to compile.
    """
    jobs = jobs or processors()
    progress: Progress | None = None if compiling is None else lambda *_: None
    with ExitStack() as stack:

        @cache
        def pool(size: int) -> _Pool:
            return stack.enter_context(_Pool(size, jobs // size, operation, progress, compiling))

        yield lambda items: pool(jobs if len(items) > 1 else 1).run(iter(items), stop)


def _check_open_files(least: int) -> None:
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < least:
        raise UsageError(
            f"a process may have {most} files open, expected {least} or more; raise it by ulimit -n {least}"
        )


class _Pool:
    """Child processes that work on one item at a time or on a party of small ones, and are replaced when they die."""

    def __init__(
        self,
        size: int,
        threads: int,
        operation: Operation,
        progress: Progress | None,
        compiling: Callable[[str], None] | None,
    ) -> None:
        _check_open_files(max(_OPEN_FILES, 16 + 3 * size))
        self._context = children_context()
        self._context.set_forkserver_preload([__name__, operation.body])
        with sharing():
            # Has no lock, which a dying child would keep.
            self._stopping = self._context.RawValue(ctypes.c_bool)
        self._arguments = (operation, threads, self._stopping, progress is not None)
        self._progress, self._compiling = progress, compiling
        self._children = [_Child(self._context, self._arguments) for _ in range(size)]
        self._again: deque[tuple[Item, int]] = deque()
        self._operation = operation
        self._full = False

    def run(self, items: Iterator[Item], stop: Callable[[], bool]) -> Iterator[Receipt]:
        """Yield receipts until no item is left, or those under way have been cancelled."""
        from multiprocessing import connection

        self._full = False
        while True:
            if not self._stopping.value:
                self._feed(items)
            busy = {child.connection: child for child in self._children if child.items}
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
            if not child.items and not self._full:
                if self._again:
                    item, attempt = self._again.popleft()
                    child.start([item], attempt)
                elif some := self._next(items, min(child.done + 1, party.MOST)):
                    child.start(some, 1)
                else:
                    return

    def _next(self, items: Iterator[Item], most: int) -> list[Item]:
        """Take the next items: one, or small ones up to the first that is not, but no more than the child has done before."""
        some: list[Item] = []
        for item in islice(items, most if self._operation.meets else 1):
            some.append(item)
            if not party.is_small(size(item.source)):
                break
        return some

    def _serve(self, child: _Child) -> Receipt | None:
        """Take one message of a child: a kernel, progress, a receipt, None for a cancelled item, or its death."""
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            return self._bury(child)
        if isinstance(message, str):
            if self._compiling is not None:
                self._compiling(message)
            return None
        number, told = message
        if isinstance(told, tuple):
            if self._progress is not None:
                self._progress(child.items[number], *told)
            return None
        child.finish(number)
        receipt: Receipt | None = told
        return receipt

    def _bury(self, child: _Child) -> Receipt | None:
        """Replace a dead child; what it worked on is tried again, each on its own, up to a limit."""
        end = child.end()
        self._children[self._children.index(child)] = _Child(self._context, self._arguments)
        if child.attempt < _ATTEMPTS:
            self._again.extend((item, child.attempt + 1) for item in child.items.values())
            return None
        (item,) = child.items.values()
        crash = DecoderCrashed(f"in each of {_ATTEMPTS} attempts, the process ended with {end}")
        from cinemill.storage.folder import clear

        clear(item.source, item.output)
        return _settled(self._operation, item, crash)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.value = True
        for child in self._children:
            child.end()


class _Child:
    """One child process, what it works on by number, and how many items it has done."""

    def __init__(
        self, context: ForkServerContext | SpawnContext, arguments: tuple[Operation, int, ctypes.c_bool, bool]
    ) -> None:
        self.connection, theirs = context.Pipe()
        self.items: dict[int, Item] = {}
        self.attempt = 1
        self.done = 0
        self._process = context.Process(target=_work, args=(theirs, *arguments), daemon=True)
        start(self._process)
        theirs.close()

    def start(self, items: Sequence[Item], attempt: int) -> None:
        """Hand the child its next items."""
        self.items, self.attempt = dict(enumerate(items)), attempt
        with suppress(OSError):  # a dead child is noticed when its answer is awaited
            self.connection.send(list(items))

    def finish(self, number: int) -> None:
        """Note that one of its items is done."""
        del self.items[number]
        self.done += 1

    def end(self) -> str:
        """Tell the child to end, wait for it, and return how it ended."""
        with suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        return ended(self._process)


def _work(
    jobs: Connection,
    operation: Operation,
    threads: int,
    stopping: ctypes.c_bool,
    announce: bool,  # noqa: FBT001
) -> None:
    """Serve one connection: items in until None; kernels, progress and receipts out, None for a cancelled item."""
    from cinemill.warmup import announcing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_heap()
    collect_seldom()
    sending = threading.Lock()

    def send(message: Any) -> None:
        with sending:  # any thread has something to say
            jobs.send(message)

    def one(numbered: tuple[int, Item]) -> None:
        number, item = numbered
        progress = _throttled(lambda done: send((number, done)))
        send((number, _told(item, operation, Control(threads, lambda: stopping.value, progress))))

    with announcing(send if announce else None), party.Host() as host, suppress(OSError):
        while items := _received(jobs):
            left = list(enumerate(items))
            while left:
                some = distinct(item.output for _, item in left)
                host.together(one, left[:some])
                left = left[some:]


def _received(jobs: Connection) -> Sequence[Item] | None:
    """Return the next items, None at the end."""
    try:
        items: Sequence[Item] | None = jobs.recv()
    except EOFError:
        return None
    return items


def _told(item: Item, operation: Operation, control: Control) -> Receipt | None:
    """Return the receipt of an item, None where it was cancelled."""
    try:
        return attempt(item, operation, control)
    except Cancelled:
        return None
    except UsageError as error:
        return failure(item.source, item.output, error)


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
    return InternalError.of(error)


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
