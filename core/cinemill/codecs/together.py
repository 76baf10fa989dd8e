"""Makes one call of those that several threads make of a codec at the same time, so that stills of many files share SIMD lanes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

Work: TypeAlias = "Callable[[Any, PixelFormat], list[Any]]"
"""`decode` or `encode` of a `cinemill.codecs.codec.Codec`."""


class Party:
    """Threads, each at work on an instance of its own, that meet at the codecs.

    A call waits until every thread of the party waits in one or has left. Then all are made, those of the same codec and
    format as one; where that fails, each on its own, so that an error is that of its own frames. No two calls are made at
    the same time: a party keeps one core busy.

    Parameters
    ----------
    size
        How many threads there are: each has to join once.
    """

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition()
        self._core = threading.Lock()
        self._at_work = size
        self._waiting: list[_Call] = []

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Belong to the party until the context is left."""
        token = _party.set(self)
        try:
            yield
        finally:
            _party.reset(token)
            with self._changed:
                self._one_less()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make calls without the others, which make none, until the context is left."""
        with self._core:
            token = _party.set(None)
            try:
                yield
            finally:
                _party.reset(token)

    def call(self, work: Work, given: Sequence[Any], pixels: PixelFormat) -> list[Any]:
        """Make a call with those of the others.

        Parameters
        ----------
        work
            `decode` or `encode` of a codec.
        given
            Codestreams or frames.
        pixels
            Their format.
        """
        call = _Call(work, given, pixels)
        with self._changed:
            self._waiting.append(call)
            self._one_less()
            self._changed.wait_for(lambda: call.made is not None or call.error is not None)
        if call.error is not None:
            raise call.error
        assert call.made is not None
        return call.made

    def _one_less(self) -> None:
        """Note that a thread waits or leaves; the last one makes all calls, while nobody else has anything to do."""
        self._at_work -= 1
        if self._at_work or not self._waiting:
            return
        calls, self._waiting = self._waiting, []
        alike: dict[object, list[_Call]] = {}
        for call in calls:
            alike.setdefault((call.work, call.pixels), []).append(call)
        for some in alike.values():
            _make(some)
        self._at_work = len(calls)
        self._changed.notify_all()


class _Call:
    """A call of a codec, and what came of it."""

    def __init__(self, work: Work, given: Sequence[Any], pixels: PixelFormat) -> None:
        self.work, self.given, self.pixels = work, given, pixels
        self.made: list[Any] | None = None
        self.error: BaseException | None = None

    def make(self) -> None:
        """Make it; its thread raises what goes wrong."""
        try:
            self.made = self.work(self.given, self.pixels)
        except BaseException as error:  # noqa: BLE001
            self.error = error


def _make(calls: Sequence[_Call]) -> None:
    """Make calls that are alike."""
    first = calls[0]
    whole = _Call(first.work, [each for call in calls for each in call.given], first.pixels)
    if len(calls) > 1:
        whole.make()
    if whole.made is None:
        for call in calls:
            call.make()
        return
    made = iter(whole.made)
    for call in calls:
        call.made = [next(made) for _ in call.given]


_party: ContextVar[Party | None] = ContextVar("party", default=None)


def decode(codec: Codec, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
    """Have a codec decode; in a party, together with what the others have for it.

    Parameters
    ----------
    codec
        Which one.
    codestreams
        Those of this thread's instance.
    pixels
        Their format.
    """
    return _call(codec, codec.decode, codestreams, pixels)


def encode(codec: Codec, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
    """Have a codec encode; in a party, together with what the others have for it.

    Parameters
    ----------
    codec
        Which one.
    frames
        Those of this thread's instance.
    pixels
        Their format.
    """
    return _call(codec, codec.encode, frames, pixels)


def _call(codec: Codec, work: Work, given: Sequence[Any], pixels: PixelFormat) -> list[Any]:
    """Make a call, without waiting for others where the codec gains nothing by that."""
    party = _party.get()
    if party is None:
        return work(given, pixels)
    if codec.batch > 1:
        return party.call(work, given, pixels)
    with party.alone():
        return work(given, pixels)


@contextmanager
def within(nbytes: int) -> Iterator[None]:
    """Work on an instance of so many bytes of samples: in a party, large ones take turns, since each holds much memory."""
    party = _party.get()
    if party is None or nbytes <= _SHARED:
        yield
        return
    with party.alone():
        yield


_SHARED = 4 << 20
"""Bytes of samples of an instance that goes with others."""
