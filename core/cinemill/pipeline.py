"""Runs work over frames on threads: in order, with few frames in flight, and stopping at the first failure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cinemill.errors import Cancelled

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Given = TypeVar("Given")
Made = TypeVar("Made")
Told = TypeVar("Told")

_KEPT = 31 << 20
_SMALL_CHUNK = 2 << 20
_LARGE_CHUNK = 40 << 20
_FEW, _MANY = 4, 16
"""Frames that go one after the other at a codec that likes many, and frames that fill its SIMD lanes: those between cost as much."""

_LARGE_CHUNK_OF_MANY = 20 << 20
"""Beyond full lanes, the memory of several chunks under way counts."""


class Pipeline:
    """Stages over frames, all on the same threads.

    Parameters
    ----------
    executor
        Where stages run; None runs them in the calling thread.
    threads
        How many calls of one stage may be under way, beside one that waits to be consumed.
    cancelled
        Asked between chunks of frames; True stops everything.
    """

    def __init__(
        self, executor: ThreadPoolExecutor | None, threads: int, cancelled: Callable[[], bool] | None
    ) -> None:
        self._executor = executor
        self._threads = threads
        self._cancelled = cancelled or (lambda: False)

    def stage(self, work: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Yield ``work(item)`` for each item, in order; items are drawn only as results are taken.

        Raises
        ------
        Cancelled
            On request.
        Exception
            The first failure in the order of items; what was not begun is dropped.
        """
        if self._executor is None:
            for item in given:
                self._check()
                yield work(item)
                del item  # may be large
            return
        pending: deque[Future[Made]] = deque()
        try:
            for item in given:
                self._check()
                pending.append(self._executor.submit(work, item))
                del item
                if len(pending) > self._threads:
                    yield pending.popleft().result()
            while pending:
                self._check()
                yield pending.popleft().result()
        finally:
            _drop(pending)

    def written(
        self,
        make: Callable[[Given], Made],
        write: Callable[[Made], Made],
        check: Callable[[Made], Told],
        given: Iterable[Given],
        *,
        large: bool = False,
    ) -> Iterator[Told]:
        """Make something of each item, write it in order, then check it; yield what the checks tell, in order.

        Each item is let go once it is checked.

        Parameters
        ----------
        make, check
            Called on the threads.
        write
            Called in this one.
        given
            Drawn only as items are done.
        large
            Have no more items under way than threads; otherwise one more, so that no thread waits for the writing.

        Raises
        ------
        Cancelled
            On request.
        Exception
            The first failure that is met; what was not begun is dropped.
        """
        if self._executor is None:
            for each in given:
                self._check()
                yield check(write(make(each)))
            return
        from concurrent.futures import FIRST_COMPLETED, wait

        making: deque[Future[Made]] = deque()
        checking: deque[Future[Told]] = deque()
        waiting, more = iter(given), True
        most = self._threads if large else self._threads + 1
        oldest: list[Future[Any]] = []
        item: Given | None
        try:
            while more or making or checking:
                if more and len(making) + len(checking) < most:
                    self._check()
                    item = next(waiting, None)
                    more = item is not None
                    if item is not None:
                        making.append(self._executor.submit(make, item))
                    continue
                oldest[:] = [*list(making)[:1], *list(checking)[:1]]
                wait(oldest, return_when=FIRST_COMPLETED)
                if checking and checking[0].done():
                    yield checking.popleft().result()
                elif making[0].done():
                    checking.append(self._executor.submit(check, write(making.popleft().result())))
        finally:
            _drop(making)
            _drop(checking)
            oldest.clear()

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled("stopped on request; nothing was written")


def _drop(futures: deque[Future[Any]]) -> None:
    """Cancel what was not begun, and forget all: a failure, which knows who waited for it, would stay with all frames under way."""
    for future in futures:
        future.cancel()
    futures.clear()


@contextmanager
def pipeline(threads: int, cancelled: Callable[[], bool] | None = None) -> Iterator[Pipeline]:
    """Open a pipeline on so many threads; leaving waits only for calls under way."""
    _keep_freed_memory()
    if threads == 1:
        yield Pipeline(None, 1, cancelled)
        return
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(threads, thread_name_prefix="cinemill")
    try:
        yield Pipeline(executor, threads, cancelled)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@cache
def _keep_freed_memory() -> None:
    """Have freed frames serve the next ones, from here on.

    The C library of Linux gives memory back to the system above twice the largest block that was ever freed, and new pages are
    cleared and mapped one by one: an eighth of the time of decoding RLE or JPEG. Blocks of 32 MiB and more don't count.
    """
    np.empty(_KEPT, np.uint8)


def chunks(
    frames: int, frame_bytes: int, batch: int, threads: int, *, lanes_first: bool = False
) -> Iterator[range]:
    """Cut a cine into chunks of frames worth a call: a codec's batch, halved until it fits, or two megabytes.

    What is left when all threads have had as many is shared among them.

    Parameters
    ----------
    frames
        How many there are.
    frame_bytes
        Of one frame's samples.
    batch
        Frames that a codec likes best in one call.
    threads
        That share the work.
    lanes_first
        Whether SIMD lanes are filled before all threads have work: right where next to nothing is done but coding.
    """
    size = max(batch, _SMALL_CHUNK // max(frame_bytes, 1), 1)
    while size > 1 and size * frame_bytes > (_LARGE_CHUNK_OF_MANY if size > _MANY else _LARGE_CHUNK):
        size = (size + 1) // 2
    in_lanes = lanes_first and batch > _MANY
    size = min(size, _share(frames, threads, in_lanes=in_lanes))
    shared = frames - frames % (size * threads)
    for start in range(0, shared, size):
        yield range(start, start + size)
    share = min(size, _share(frames - shared, threads, in_lanes=in_lanes))
    for start in range(shared, frames, share):
        yield range(start, min(start + share, frames))


def _share(frames: int, threads: int, *, in_lanes: bool) -> int:
    """Return how many frames a thread is given."""
    parts = min(threads, -(-frames // _MANY)) if in_lanes and frames > _FEW else threads
    return max(1, -(-frames // parts))
