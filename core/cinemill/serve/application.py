"""The web application: its addresses, and what is answered to each (PS3.18 clauses 10.4 and 10.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import from_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from cinemill.errors import CinemillError, NotInFile
from cinemill.operations.transcode.transcode import transcode
from cinemill.serve.accept import DICOM, EXPLICIT, JSON, OCTETS, accepted, choose
from cinemill.serve.answers import NotAcceptable, NotFound, Part, alone, failed, in_json, in_parts
from cinemill.serve.catalogue import Catalogue, Found
from cinemill.serve.instances import (
    checked,
    cine_of,
    coding_for,
    frames_of,
    metadata_of,
    pieces_of,
    target_for,
    value_of,
)
from cinemill.serve.page import page
from cinemill.serve.pictures import (
    CINES,
    PICTURES,
    THUMBNAIL,
    Shown,
    picture,
    representative,
    shown,
    write_clip,
)
from cinemill.serve.searches import INSTANCES, SERIES, STUDIES, described, read_search, results
from cinemill.serve.turns import Turns
from cinemill.storage.scratch import scratch

if TYPE_CHECKING:
    from starlette.requests import Request

    from cinemill.frames.cine import Cine

SERVICE = "/dicom-web"
_IN_JSON = (JSON, "application/json")
_PIXEL_DATA = "7FE00010"
_NAMES = ("study", "series", "instance")
_POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' blob:"


class Origin:
    """Answers requests about what a catalogue has.

    Parameters
    ----------
    catalogue
        Of the tree.
    scratch
        A directory for what is made on the way.
    """

    def __init__(self, catalogue: Catalogue, scratch: Path) -> None:
        self._catalogue, self._scratch = catalogue, scratch
        self._turns = Turns()

    def search(self, request: Request, depth: int) -> Response:
        """Search for studies, series or instances."""
        media = _chosen(request, _IN_JSON, f"results are given as {JSON} only")
        search = read_search(depth, _within(request), request.query_params.multi_items())
        found, more = results(self._catalogue, search)
        warnings = [
            f"The {each} parameter is not supported; literal matching was performed"
            for each in search.unheeded
        ]
        if more:
            warnings.append("There are additional results that can be requested")
        attributes = described(self._catalogue, search, found, _base(request))
        return in_json(attributes, warning="; ".join(warnings), media=media)

    def metadata(self, request: Request) -> Response:
        """Give the metadata of instances."""
        media = _chosen(request, _IN_JSON, f"metadata is given as {JSON} only")
        base = _base(request)
        several = (metadata_of(each, each.url(base)) for each in self._instances(request))
        return in_json(several, media=media)

    def retrieve(self, request: Request) -> Response:
        """Give instances as files."""
        ranges = [each for each in accepted(_accept(request)) if each.takes(DICOM)]
        if not ranges:
            raise NotAcceptable(f"instances are given as {DICOM}, alone or in multipart/related parts")
        several, wanted = self._instances(request), [each.transfer_syntax for each in ranges]
        if ranges[0].in_parts is False and len(several) == 1:
            return alone(self._file(several[0], wanted, request), DICOM)
        files = (self._file(each, wanted, request, begun=number > 0) for number, each in enumerate(several))
        return in_parts((Part(DICOM, file) for file in files), DICOM)

    def _file(
        self, found: Found, wanted: Sequence[str | None], request: Request, *, begun: bool = False
    ) -> Iterator[bytes]:
        """Yield the bytes of an instance.

        Parameters
        ----------
        found
            The instance.
        wanted
            Transfer syntaxes: it comes in the first of them that can be.
        request
            Whose client waits for it.
        begun
            Whether others stand before it in the answer.
        """
        target = target_for(found, wanted)
        if target is None:
            yield from pieces_of(found.path)
            return
        with scratch(self._scratch) as folder:
            output, gone = folder / "instance.dcm", partial(_is_gone, request)
            with self._turns.turn(gone, begun=begun):
                transcode(found.path, output, to=target.uid, threads=1, preserve=False, cancelled=gone)
            yield from pieces_of(output)

    def frames(self, request: Request) -> Response:
        """Give frames, as they are coded or decoded."""
        cine = cine_of(self._instance(request))
        return _in_frames(cine, checked(cine, _numbers(request)), _accept(request))

    def bulkdata(self, request: Request) -> Response:
        """Give a large value, or all frames."""
        found, tag = self._instance(request), request.path_params["tag"]
        if tag.upper() == _PIXEL_DATA:
            cine = cine_of(found)
            return _in_frames(cine, range(len(cine)), _accept(request))
        wanted = next((each for each in accepted(_accept(request)) if each.takes(OCTETS)), None)
        if wanted is None:
            raise NotAcceptable(f"values are given as {OCTETS}")
        value = [value_of(found, tag)]
        return in_parts([Part(OCTETS, value)], OCTETS) if wanted.in_parts else alone(value, OCTETS)

    def rendered(self, request: Request) -> Response:
        """Give a picture of a frame, or of an instance; or a cine as one file."""
        found = self._instance(request)
        cine, asked = cine_of(found), shown(request.query_params)
        numbers = checked(cine, _numbers(request)) if "frames" in request.path_params else None
        offered = PICTURES if numbers is not None else PICTURES + CINES
        media = _chosen(request, offered, f"pictures are given as {', '.join(offered)}")
        if media in CINES:
            return alone(self._clip(found, media, asked, request), media)
        if numbers is None:
            numbers = [representative(cine)]
        if len(numbers) == 1:
            return alone([picture(cine, numbers[0], asked, media)], media)
        return in_parts((Part(media, [picture(cine, each, asked, media)]) for each in numbers), media)

    def _clip(self, found: Found, media: str, asked: Shown, request: Request) -> Iterator[bytes]:
        """Yield a cine as GIF or MP4.

        Parameters
        ----------
        found, media, asked
            The instance, and what is made of it: see `cinemill.serve.pictures.write_clip`.
        request
            Whose client waits for it.
        """
        with scratch(self._scratch) as folder:
            gone = partial(_is_gone, request)
            with self._turns.turn(gone):
                output = write_clip(found.path, folder, media, asked, gone)
            yield from pieces_of(output)

    def thumbnail(self, request: Request) -> Response:
        """Give a small picture of a frame, or of what is in the middle of a study, a series or a cine."""
        several, asked = self._instances(request), shown(request.query_params)
        asked = asked._replace(viewport=asked.viewport or (THUMBNAIL, THUMBNAIL))
        middle = len(several) // 2
        cine = _first_cine([*several[middle:], *several[:middle]])
        number = representative(cine)
        if "frames" in request.path_params:
            (number, *_) = checked(cine, _numbers(request))
        return alone([picture(cine, number, asked, PICTURES[0])], PICTURES[0])

    def _instances(self, request: Request) -> list[Found]:
        """Return all instances of what is addressed."""
        within = _within(request)
        found = list(self._catalogue.search(INSTANCES, within))
        if not found:
            raise NotFound(f"there is no {_NAMES[len(within) - 1]} {within[-1]}")
        return found

    def _instance(self, request: Request) -> Found:
        return self._instances(request)[0]


def _is_gone(request: Request) -> bool:
    """Whether a client has hung up; asked in a thread that works for it."""
    return from_thread.run(request.is_disconnected)


def _first_cine(several: Sequence[Found]) -> Cine:
    """Return the first of several instances that has frames."""
    for found in several[:-1]:
        with suppress(NotInFile):
            return cine_of(found)
    return cine_of(several[-1])


def _accept(request: Request) -> str:
    """Return what is accepted: a parameter of the query goes before the header (PS3.18 8.3.3.1)."""
    return request.query_params.get("accept") or request.headers.get("accept", "")


def _chosen(request: Request, offered: Sequence[str], otherwise: str) -> str:
    """Return which of some media types is accepted best.

    Parameters
    ----------
    request, offered
        Who asks, and what there is; the first of these is what is given for any.
    otherwise
        What is said where none is accepted.
    """
    media = choose(_accept(request), offered)
    if media is None:
        raise NotAcceptable(otherwise)
    return media


def _within(request: Request) -> tuple[str, ...]:
    return tuple(request.path_params[name] for name in _NAMES if name in request.path_params)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/") + SERVICE


def _numbers(request: Request) -> list[int]:
    text = request.path_params["frames"]
    found = text.split(",")
    if not all(each.isdecimal() and len(each) < 10 for each in found):
        raise NotFound(f"{text[:64]!r} names no frames; expected numbers from 1 on, such as 1,2,3")
    return [int(each) for each in found]


def _in_frames(cine: Cine, numbers: Sequence[int], accept: str) -> Response:
    coding = coding_for(cine, accepted(accept))
    if coding is None:
        raise NotAcceptable(
            f"frames are given as {OCTETS} in {EXPLICIT}, or as they are coded, in {cine.source.transfer_syntax.uid}",
        )
    frames = frames_of(cine, numbers, coding)
    if len(numbers) == 1 and not coding.in_parts:
        return alone(frames, coding.content_type)
    return in_parts((Part(coding.content_type, [frame]) for frame in frames), coding.media)


def _of_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this address", 405: "only GET is answered: nothing here can be changed"}
    return PlainTextResponse(
        f"{told.get(error.status_code, error.detail)}\n", error.status_code, error.headers
    )


def application(
    catalogue: Path, hosts: Iterable[str] | None = None, origins: Iterable[str] = ()
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    catalogue
        Made by `cinemill.serve.catalogue.make_catalogue`; beside it is room for what is made on the way.
    hosts
        Names by which it may be asked; None for any.
    origins
        Of pages elsewhere that may ask: ``https://viewer.example``, or ``*``.
    """
    origin = Origin(Catalogue(catalogue), catalogue.parent)
    service = Mount(SERVICE, routes=[*_routes(origin)])
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=[*(("*",) if hosts is None else hosts)])]
    if allowed := [*origins]:
        middleware.append(Middleware(CORSMiddleware, allow_origins=allowed, allow_headers=["*"]))
    return Starlette(
        routes=[Route("/", _page), Route("/favicon.ico", _no_icon), service],
        middleware=middleware,
        exception_handlers={HTTPException: _of_http, CinemillError: failed, Exception: failed},
    )


def _routes(origin: Origin) -> Iterator[Route]:
    study = "/studies/{study}"
    series = study + "/series/{series}"
    instance = series + "/instances/{instance}"
    searches: Sequence[tuple[str, int]] = (
        ("/studies", STUDIES),
        ("/series", SERIES),
        ("/instances", INSTANCES),
        (f"{study}/series", SERIES),
        (f"{study}/instances", INSTANCES),
        (f"{series}/instances", INSTANCES),
    )
    for path, depth in searches:
        yield Route(path, partial(origin.search, depth=depth))
    answers: Sequence[tuple[str, Callable[[Request], Response]]] = (
        (f"{instance}/frames/{{frames}}/rendered", origin.rendered),
        (f"{instance}/frames/{{frames}}/thumbnail", origin.thumbnail),
        (f"{instance}/frames/{{frames}}", origin.frames),
        (f"{instance}/rendered", origin.rendered),
        (f"{instance}/bulkdata/{{tag}}", origin.bulkdata),
    )
    for path, answer in answers:
        yield Route(path, answer)
    for level in (study, series, instance):
        yield Route(f"{level}/metadata", origin.metadata)
        yield Route(f"{level}/thumbnail", origin.thumbnail)
        yield Route(level, origin.retrieve)


def _no_icon(_: Request) -> Response:
    return Response(status_code=204)


def _page(_: Request) -> Response:
    return HTMLResponse(
        page(SERVICE), headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY}
    )
