"""Answers of the server: JSON, parts that are streamed, and errors in one line, with the status that tells their kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from uuid import uuid4

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from cinemill.errors import (
    Cancelled,
    CinemillError,
    InternalError,
    NotInFile,
    OutputError,
    Refused,
    UnsupportedTransferSyntax,
    UsageError,
)
from cinemill.serve.accept import JSON
from cinemill.serve.instances import Gone
from cinemill.serve.turns import Busy

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from cinemill.pixel_format import Buffer
    from cinemill.serve.dicom_json import Attributes

_Piece = TypeVar("_Piece", bytes, str)

log = logging.getLogger("cinemill.serve")
_STATUSES: tuple[tuple[type[CinemillError], int], ...] = (
    (NotInFile, 404),
    (Gone, 404),
    (UnsupportedTransferSyntax, 406),
    (UsageError, 400),
    (Refused, 406),
    (OutputError, 503),
    (Busy, 503),
    (Cancelled, 503),
)
_DAMAGED = 500
_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class NotFound(NotInFile):
    """Nothing of that name is served."""


class NotAcceptable(Refused):
    """There is no way to give it that the request accepts."""


class _Streamed(StreamingResponse):
    """What is made while it is sent; nothing behind the first piece is made where only the header fields were asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            self.body_iterator = iterate_in_threadpool(())
        await super().__call__(scope, receive, send)


class Part(NamedTuple):
    """One part of a body.

    Attributes
    ----------
    content_type
        Of what is in it.
    pieces
        Its bytes.
    """

    content_type: str
    pieces: Iterable[Buffer]


def in_json(several: Iterable[Attributes], *, warning: str = "", media: str = JSON) -> Response:
    """Answer with a list of data sets, written one by one.

    Parameters
    ----------
    several
        The data sets; an error in the first one is an answer of its own.
    warning
        What the client is told besides.
    media
        Type of the answer.
    """
    headers = _PRIVATE | ({"Warning": f'299 cinemill "{warning}"'} if warning else {})
    return _Streamed(_begun(_listed(several)), media_type=media, headers=headers)


def _listed(several: Iterable[Attributes]) -> Iterator[str]:
    before = "["
    for each in several:
        yield before + json.dumps(each, separators=(",", ":"), allow_nan=False)
        before = ","
    yield "[]" if before == "[" else "]"


def in_parts(parts: Iterable[Part], media: str) -> Response:
    """Answer with a multipart body (RFC 2387); what fails in the middle breaks the connection off, so that nobody takes it for whole.

    Parameters
    ----------
    parts
        In their order; an error in the first one is an answer of its own.
    media
        Type of each.
    """
    boundary = uuid4().hex
    content_type = f'multipart/related; type="{media}"; boundary={boundary}'
    return _Streamed(_begun(_joined(parts, boundary)), media_type=content_type, headers=_PRIVATE)


def _joined(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        pieces = iter(part.pieces)
        first = next(pieces, b"")
        yield f"--{boundary}\r\nContent-Type: {part.content_type}\r\n\r\n".encode() + first
        for piece in pieces:
            yield bytes(piece)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def alone(pieces: Iterable[Buffer], media: str) -> Response:
    """Answer with one body."""
    return _Streamed(_begun(map(bytes, pieces)), media_type=media, headers=_PRIVATE)


def _begun(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """Have the first piece made at once, while the status can still tell that it fails; log what fails behind it."""
    first = list(islice(pieces, 1))

    def all_of_them() -> Iterator[_Piece]:
        yield from first
        try:
            yield from pieces
        except CinemillError as error:
            log.warning("%s", error)
            raise

    return all_of_them()


def failed(_: Request, error: Exception) -> Response:
    """Answer with an error, in one line that names no path of this machine."""
    told = error if isinstance(error, CinemillError) else InternalError.of(error)
    status = next((status for kind, status in _STATUSES if isinstance(told, kind)), _DAMAGED)
    if status == _DAMAGED:
        log.warning("%s", told)
    where = "" if told.frame is None else f"frame {told.frame + 1}: "
    return PlainTextResponse(f"{where}{told.message}\n", status, _PRIVATE)
