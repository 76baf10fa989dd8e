"""DICOMweb as a client: QIDO-RS, WADO-RS and STOW-RS, streamed from and to files (PS3.18 §10)."""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cinemill.errors import NodeError, UsageError
from cinemill.network.incoming import Claim
from cinemill.network.instances import Instance
from cinemill.network.multipart import Parts, body_of, boundary_of, length_of
from cinemill.network.outcomes import Outcome, missing_extra
from cinemill.network.query import MOST_ANSWERS, Listed, Study, days_of, halves, span_text
from cinemill.network.store import outcome_of
from cinemill.network.web_answers import check_status, number_of, stored, text_of
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    import httpx

    from cinemill.network.arrivals import Arrivals
    from cinemill.network.nodes import Node, Web

_JSON = "application/dicom+json"
_AS_IT_IS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 1000
_LARGEST_ANSWER = 1 << 26
_PIECE = 1 << 18
_UNTOLD = Claim("", "", "")
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})

_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_STUDY_DATE, _STUDY_INSTANCES, _SYNTAX = "00080020", "00201208", "00083002"


@contextmanager
def client(way: Web) -> Iterator[httpx.Client]:
    """Return what asks a node, for the time of the context; connections are kept between questions.

    Parameters
    ----------
    way
        How the node is reached.

    Raises
    ------
    UsageError
        The extra is not installed, or the secret or the certificates can't be read.
    """
    try:
        import httpx
    except ImportError:
        raise missing_extra("DICOMweb") from None
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    if way.url.startswith("https:"):
        try:
            verify = ssl.create_default_context(cafile=None if way.authority is None else str(way.authority))
        except OSError as error:
            raise UsageError(
                f"no trusted certificates can be read from it: {error}", path=way.authority
            ) from None
    with httpx.Client(
        headers={**way.authorization(), "Accept-Encoding": "identity"},  # pixels are compressed already
        timeout=httpx.Timeout(way.timeout, connect=10.0),
        verify=verify,
        trust_env=False,
    ) as opened:
        yield opened


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
    with client(node.by_web) as http:
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
    with client(node.by_web) as http:
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
    http: httpx.Client, node: Node, path: str, asked: Mapping[str, str]
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


def status_for(http: httpx.Client, method: str, url: str, body: tuple[str, bytes] | None = None) -> int:
    """Return the status that a request gets, whatever it is.

    Parameters
    ----------
    http
        See `client`.
    method, url
        Of the request.
    body
        Its Content-Type and its bytes.

    Raises
    ------
    NodeError
        Nobody answers, or the credentials are not taken.
    """
    kind, content = body or ("", b"")
    fields = {"Accept": _JSON if body else _AS_IT_IS, **({"Content-Type": kind} if body else {})}
    with _explained(url), http.stream(method, url, headers=fields, content=content) as answer:
        if answer.status_code in {401, 403}:
            check_status(answer)
        return answer.status_code


def empty_body() -> tuple[str, bytes]:
    """Return the Content-Type and the bytes of a body without instances."""
    boundary = secrets.token_hex(16)
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return kind, b"".join(body_of([], boundary))


def ask(http: httpx.Client, url: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the answers to one question of QIDO-RS.

    Parameters
    ----------
    http
        See `client`.
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
        if error.outcome != "lost":
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
        Called with the bytes of each piece; may wait, or raise.

    Raises
    ------
    NodeError
        The node can't be asked, or fails; what came before is there.
    """
    missing = [each for each in listed if each.sop_instance not in arrivals.fetched]
    base = f"{node.by_web.url}/studies/{study}"
    urls = [base]
    if listed and not (whole and len(missing) == len(listed)) and all(each.series for each in missing):
        urls = [f"{base}/series/{each.series}/instances/{each.sop_instance}" for each in missing]
    with client(node.by_web) as http:
        for url in urls:
            _retrieve(http, url, arrivals, passed or (lambda _: None))


def _retrieve(http: httpx.Client, url: str, arrivals: Arrivals, passed: Callable[[int], None]) -> None:
    with _explained(url), http.stream("GET", url, headers={"Accept": _AS_IT_IS}) as answer:
        check_status(answer)
        boundary = boundary_of(answer.headers.get("content-type", ""))
        for _, body in Parts(answer.iter_bytes(_PIECE), boundary):
            arrivals.take(_UNTOLD, _counted(body, passed))


def _counted(parts: Iterator[memoryview], passed: Callable[[int], None]) -> Iterator[memoryview]:
    for part in parts:
        yield part
        passed(len(part))


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
        Called with the bytes of each piece; may wait, or raise.
    """
    with client(node.by_web) as http:
        for instance in instances:
            try:
                yield _store(http, f"{node.by_web.url}/studies", instance, passed or (lambda _: None))
            except NodeError as error:
                yield outcome_of(instance, error)


def _store(http: httpx.Client, url: str, instance: Instance, passed: Callable[[int], None]) -> Outcome:
    boundary = secrets.token_hex(16)
    fields = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length_of([instance], boundary)),
        "Accept": _JSON,
    }

    def counted() -> Iterator[bytes]:
        for piece in body_of([instance], boundary):
            yield piece
            passed(len(piece))

    with _explained(url):
        answer = http.post(url, content=counted(), headers=fields)
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


def _answer(http: httpx.Client, url: str, asked: Mapping[str, str]) -> bytes:
    body = bytearray()
    with _explained(url), http.stream("GET", url, params=asked, headers={"Accept": _JSON}) as answer:
        if answer.status_code != 204:
            check_status(answer)
            for piece in answer.iter_bytes(_PIECE):
                body += piece
                if len(body) > _LARGEST_ANSWER:
                    raise NodeError(f"an answer has more than {_LARGEST_ANSWER} bytes", outcome="nonsense")
    return bytes(body)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the HTTP client raises into a named outcome."""
    import httpx

    try:
        yield
    except httpx.ConnectTimeout:
        raise NodeError(f"nobody answers at {url}", outcome="down") from None
    except httpx.TimeoutException:
        raise NodeError(f"{url}: nothing moved for the time that is allowed", outcome="stalled") from None
    except httpx.ConnectError as error:
        name = "tls" if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error) else "down"
        raise NodeError(f"{url} can't be reached: {error}", outcome=name) from None
    except httpx.RemoteProtocolError as error:
        told = str(error)
        if "without sending a response" in told:
            name = "lost"
        else:
            name = "truncated" if "without sending complete" in told or "closed" in told else "nonsense"
        raise NodeError(f"{url}: {error}", outcome=name) from None
    except httpx.TransportError as error:
        raise NodeError(f"{url}: {str(error) or type(error).__name__}", outcome="lost") from None
    except httpx.InvalidURL as error:
        raise NodeError(f"{url} is no address: {error}", outcome="nonsense") from None
