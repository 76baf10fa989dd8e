"""Joins calls that several threads make of a codec into one, so that stills of many files share SIMD lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from cinemill import party
from cinemill.codecs.native import Native

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec, Delegating, Encoder
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

Work: TypeAlias = "Callable[[Any, PixelFormat], list[Any]]"
"""`decode` or `encode` of a codec."""


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


def attributed(
    codec: Codec, codestreams: Sequence[Buffer], pixels: PixelFormat
) -> list[tuple[Samples, Codec]]:
    """Do what `decode` does; with each frame comes who decoded it, where a codec leaves some to another.

    Parameters
    ----------
    codec
        Which one.
    codestreams
        Those of this thread's instance.
    pixels
        Their format.
    """
    if hasattr(codec, "attributed"):  # to ask for a protocol takes as long as to read a header
        return _call(codec, cast("Delegating", codec).attributed, codestreams, pixels)
    return [(frame, codec) for frame in decode(codec, codestreams, pixels)]


def encode(codec: Encoder, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
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
    company = party.current()
    if company is None or type(codec) is Native:  # which does less than it takes to ask another thread
        return work(given, pixels)
    if codec.batch == 1 or _alone.get():
        return company.alone(lambda: work(given, pixels))
    return company.call((work, pixels), lambda everything: work(everything, pixels), given)


@contextmanager
def within(nbytes: int) -> Iterator[None]:
    """Work on an instance of so many bytes of samples: in a party, large ones go alone, since each holds much memory."""
    token = _alone.set(nbytes > _SHARED)
    try:
        yield
    finally:
        _alone.reset(token)


_alone: ContextVar[bool] = ContextVar("alone", default=False)

_SHARED = 4 << 20
"""Bytes of samples of an instance that goes with others."""
