"""DICOMweb as a client: QIDO-RS, WADO-RS and STOW-RS, streamed from and to files (PS3.18 §10)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from cinemill.errors import NodeError
from cinemill.network.incoming import Claim
from cinemill.network.instances import Instance
from cinemill.network.multipart import Parts, body_of, boundary_of, length_of
from cinemill.network.outcomes import OF_THE_NODE, Outcome, of_http
from cinemill.network.query import MOST_ANSWERS, Listed, Study, days_of, halves, span_text
from cinemill.network.store import outcome_of
from cinemill.network.web_answers import LARGEST, check_status, number_of, stored, text_of
from cinemill.network.web_client import Client
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from cinemill.network.arrivals import Arrivals
    from cinemill.network.nodes import Node
    from cinemill.pixel_format import Buffer

_Piece = TypeVar("_Piece", bound="Buffer")

_JSON = "application/dicom+json"
_AS_IT_IS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 1000
_UNTOLD = Claim("", "", "")
_OF_OTHERS = OF_THE_NODE | {"busy"}
"""What would become of other questions at the same time, too."""

_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_STUDY_DATE, _STUDY_INSTANCES, _SYNTAX = "00080020", "00201208", "00083002"


def studies(node: Node, criteria: Mapping[str, str]) -> Iterator[Study]:
    """Yield the studies that match, each once, page by page; days are asked for in parts where a node cuts off its answers.

    Parameters
    ----------
    node
        Reached by DICOMweb.
    criteria
        Values by keyword: see `cinemill.network.query.parse_query`.

    Raises
    ------
    NodeError
        The node can't be asked, or fails.
    """
    known: set[str] = set()
    spans = [days_of(criteria.get("StudyDate", ""))]
    with Client(node.by_web) as http:
        while spans:
            span = spans.pop()
            asked = dict(criteria) if span is None else {**criteria, "StudyDate": span_text(span)}
            found, cut_off = _pages(http, node, "/studies", asked)
            for answer in found:
                study = Study(
                    text_of(answer, _STUDY), text_of(answer, _STUDY_DATE), number_of(answer, _STUDY_INSTANCES)
                )
                if study.uid and study.uid not in known:
                    known.add(study.uid)
                    yield study
            if cut_off:
                spans += reversed(halves(span))


def instances(node: Node, study: str) -> list[Listed]:
    """Return the instances of a study.

    Raises
    ------
    NodeError
        The node can't be asked, or fails; ``no-such`` where it has no such study.
    """
    with Client(node.by_web) as http:
        found, _ = _pages(http, node, f"/studies/{study}/instances", {"includefield": _SYNTAX})
    listed = {}
    for answer in found:
        syntax = text_of(answer, _SYNTAX)
        one = Listed(
            text_of(answer, _INSTANCE),
            text_of(answer, _CLASS),
            text_of(answer, _SERIES),
            syntax if syntax in TRANSFER_SYNTAXES else "",
        )
        if one.sop_instance:
            listed[one.sop_instance] = one
    return list(listed.values())


def _pages(
    http: Client, node: Node, path: str, asked: Mapping[str, str]
) -> tuple[list[dict[str, Any]], bool]:
    """Return the answers to a question, and whether there would be more that the node does not give."""
    found: list[dict[str, Any]] = []
    before: list[Any] = []
    while True:
        page = (
            {**asked, "limit": str(_PAGE), "offset": str(len(found))}
            if found or path == "/studies"
            else asked
        )
        answer = ask(http, node.by_web.url + path, page)
        if answer and answer == before:  # the offset is not heeded: the same page again and again
            return found, False
        found += answer
        before = answer
        if path != "/studies" or not answer:
            return found, False
        if node.limits.answers is not None and len(answer) >= node.limits.answers:
            return found, True
        if len(found) >= MOST_ANSWERS:
            return found, True
        if len(answer) < _PAGE:
            return found, False


def status_for(http: Client, method: str, url: str, body: tuple[str, bytes] | None = None) -> int:
    """Return the status that a request gets, whatever it is, unless any other request would get it, too.

    Parameters
    ----------
    http
        See `cinemill.network.web_client.Client`.
    method, url
        Of the request.
    body
        Its Content-Type and its bytes.

    Raises
    ------
    NodeError
        Nobody answers, the credentials are not taken, or the server is busy or sends elsewhere.
    """
    kind, content = body or ("", b"")
    fields = {"Accept": _JSON if body else _AS_IT_IS, **({"Content-Type": kind} if body else {})}
    with http.ask(method, url, fields, [content], len(content) if body else None) as answer:
        if of_http(answer.code) in _OF_OTHERS:
            check_status(answer)
        return answer.code


def empty_body() -> tuple[str, bytes]:
    """Return the Content-Type and the bytes of a body without instances."""
    boundary = os.urandom(16).hex()
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return kind, b"".join(body_of([], boundary))


def ask(http: Client, url: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the answers to one question of QIDO-RS.

    Parameters
    ----------
    http
        See `cinemill.network.web_client.Client`.
    url
        What is asked for.
    asked
        Values by keyword.

    Raises
    ------
    NodeError
        The node can't be asked, or fails.
    """
    try:
        body = _answer(http, url, asked)
    except NodeError as error:
        if error.outcome not in {"lost", "truncated"}:
            raise
        body = _answer(http, url, asked)  # a node may close a connection just when it is used again
    try:
        found = json.loads(body or b"[]")
    except (ValueError, RecursionError) as error:
        raise NodeError(f"{url} answers with no JSON: {error}", outcome="nonsense") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise NodeError(f"{url} answers with JSON that is no list of data sets", outcome="nonsense")
    return found


def retrieve(
    node: Node,
    study: str,
    arrivals: Arrivals,
    *,
    listed: Sequence[Listed] = (),
    whole: bool = True,
    passed: Callable[[int], None] | None = None,
) -> None:
    """Fetch a study by WADO-RS: all of it in one answer, or those of its instances that have not arrived.

    What fails for one instance, or for all of them in one answer, keeps no other instance away.

    Parameters
    ----------
    node
        Reached by DICOMweb.
    study
        Its UID.
    arrivals
        Where instances go.
    listed
        What is wanted; all of the study without it.
    whole
        Whether that is all of the study, which is then asked for by its UID alone.
    passed
        Called with the bytes of each piece, and with 0 while the node is waited for; may wait, or raise.

    Raises
    ------
    NodeError
        The node can't be asked, or fails; what came before is there.
    """
    base, count = f"{node.by_web.url}/studies/{study}", passed or (lambda _: None)
    one_by_one = bool(listed) and all(each.series for each in _lacking(listed, arrivals))
    with Client(node.by_web, partial(count, 0)) as http:
        if not one_by_one or (whole and len(_lacking(listed, arrivals)) == len(listed)):
            try:
                _retrieve(http, base, arrivals, count)
            except NodeError as error:
                if not one_by_one or error.outcome in _OF_OTHERS:
                    raise
            else:
                return
        for each in sorted(_lacking(listed, arrivals), key=lambda each: each.sop_instance in arrivals.wrong):
            url = f"{base}/series/{each.series}/instances/{each.sop_instance}"
            try:
                _retrieve(http, url, arrivals, count)
            except NodeError as error:
                arrivals.lack(each.sop_instance, each.sop_class, error)
                if error.outcome in _OF_OTHERS or error.outcome == "stalled":
                    raise


def _lacking(listed: Sequence[Listed], arrivals: Arrivals) -> list[Listed]:
    return [each for each in listed if each.sop_instance not in arrivals.fetched]


def _retrieve(http: Client, url: str, arrivals: Arrivals, passed: Callable[[int], None]) -> None:
    with http.ask("GET", url, {"Accept": _AS_IT_IS}) as answer:
        check_status(answer)
        for _, body in Parts(answer.into, boundary_of(answer.field("content-type"))):
            arrivals.take(_UNTOLD, _counted(body, passed))


def _counted(pieces: Iterator[_Piece], passed: Callable[[int], None]) -> Iterator[_Piece]:
    for piece in pieces:
        yield piece
        passed(len(piece))


def store(
    node: Node,
    instances: Sequence[Instance],
    *,
    passed: Callable[[int], None] | None = None,
) -> Iterator[Outcome]:
    """Send instances by STOW-RS, one a request, over one connection; yield what became of each.

    Parameters
    ----------
    node
        Reached by DICOMweb.
    instances
        Read by `cinemill.network.instances.read_instance`.
    passed
        Called with the bytes of each piece, and with 0 while the node is waited for; may wait, or raise.
    """
    count = passed or (lambda _: None)
    with Client(node.by_web, partial(count, 0)) as http:
        for instance in instances:
            try:
                yield _store(http, f"{node.by_web.url}/studies", instance, count)
            except NodeError as error:
                yield outcome_of(instance, error)


def _store(http: Client, url: str, instance: Instance, passed: Callable[[int], None]) -> Outcome:
    boundary = os.urandom(16).hex()
    fields = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": _JSON,
    }

    body = _counted(body_of([instance], boundary), passed)
    with http.ask("POST", url, fields, body, length_of([instance], boundary)) as answer:
        name, detail = stored(answer, instance.sop_instance)
    return Outcome(
        name,
        instance.path,
        instance.sop_class,
        instance.sop_instance,
        instance.transfer_syntax,
        detail,
        instance.end - instance.start,
        study=instance.study,
    )


def _answer(http: Client, url: str, asked: Mapping[str, str]) -> bytes:
    query = urlencode(asked, quote_via=quote)
    with http.ask("GET", f"{url}?{query}" if query else url, {"Accept": _JSON}) as answer:
        if answer.code == 204:
            return b""
        check_status(answer)
        body = answer.whole(LARGEST)
        if not body and not answer.has_known_end:
            raise NodeError(f"{url} answers nothing, and not that it has ended", outcome="truncated")
        return body
