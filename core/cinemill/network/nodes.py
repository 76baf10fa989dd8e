"""The nodes file (TOML): which nodes there are, how each is reached, and the limits that spare it."""

from __future__ import annotations

import base64
import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from cinemill.errors import UsageError
from cinemill.network.identity import TITLE, is_title
from cinemill.network.pace import Window
from cinemill.network.tls import Tls
from cinemill.processes import expanded

Pull: TypeAlias = Literal["get", "move", "web"]
Push: TypeAlias = Literal["dimse", "web"]

_ENVIRONMENT = "CINEMILL_NODES"
_DEFAULT = "~/.config/cinemill/nodes.toml"
_LAST_PORT = 65535
_ALIKE = 0.8
"""Of 1: how much a key is like another that is missing, and for which it may have been meant; calling-aet is no called-aet."""
_EXAMPLE = (
    'node.pacs = { pull = "get", dimse = { host = "pacs.example.org", port = 104, called-aet = "PACS" } }'
)


@dataclass(frozen=True, slots=True)
class Dimse:
    """How a node is reached by DIMSE.

    Attributes
    ----------
    called, calling
        AE titles: the node's, and one's own.
    listen
        Port at which C-MOVE brings instances to us, and commitments come; the node knows it for the calling AE title.
    timeout
        Seconds in which something has to move.
    """

    host: str
    port: int
    called: str
    calling: str = "CINEMILL"
    listen: int | None = None
    timeout: float = 30.0
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Web:
    """How a node is reached by DICOMweb.

    Attributes
    ----------
    url
        Below which ``studies`` stands.
    user
        For basic authentication, with the secret as the password; without one the secret is a bearer token.
    secret_variable, secret_file
        Where the secret stands.
    authority
        Certificates that are trusted, PEM; those of the system by default.
    timeout
        Seconds in which something has to move.
    """

    url: str
    user: str | None = None
    secret_variable: str | None = None
    secret_file: Path | None = None
    authority: Path | None = None
    timeout: float = 30.0

    def authorization(self) -> dict[str, str]:
        """Return the header that says who asks, empty for nobody.

        Raises
        ------
        UsageError
            The secret is not where the nodes file says, or is none.
        """
        if self.secret_variable is None and self.secret_file is None:
            return {}
        secret = self._secret()
        if self.user is None:
            if not (secret.isascii() and secret.isprintable()):
                where = self.secret_file or f"the environment variable {self.secret_variable}"
                raise UsageError(f"{where} holds no bearer token: expected one line of ASCII")
            return {"Authorization": f"Bearer {secret}"}
        return {"Authorization": "Basic " + base64.b64encode(f"{self.user}:{secret}".encode()).decode()}

    def _secret(self) -> str:
        if self.secret_file is not None:
            try:
                return self.secret_file.read_text().strip()
            except OSError as error:
                raise UsageError(
                    f"the secret can't be read: {error.strerror}", path=self.secret_file
                ) from None
        secret = os.environ.get(self.secret_variable or "", "")
        if not secret:
            raise UsageError(
                f"the environment variable {self.secret_variable} is not set; it holds the secret"
            )
        return secret


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node is to be spared.

    Attributes
    ----------
    associations
        At the same time, or requests.
    rate
        MB/s; None for any.
    window
        When it may be asked for or sent instances.
    answers
        That it gives to a question at most, without saying that there are more; None where it has no such limit.
    """

    associations: int = 1
    rate: float | None = None
    window: Window | None = None
    answers: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of the nodes file.

    Attributes
    ----------
    pull
        How instances are fetched.
    readable_by
        Readers that are behind it: see `cinemill.operations.policy.readers`.
    commitment
        Whether it is asked to answer for what it was sent.
    """

    name: str
    pull: Pull
    dimse: Dimse | None = None
    web: Web | None = None
    limits: Limits = field(default_factory=Limits)
    readable_by: str = ""
    commitment: bool = False

    @property
    def by_dimse(self) -> Dimse:
        """How it is reached by DIMSE.

        Raises
        ------
        UsageError
            The entry does not say.
        """
        if self.dimse is None:
            raise UsageError(f"node {self.name} has no [node.{self.name}.dimse]; add it to the nodes file")
        return self.dimse

    @property
    def by_web(self) -> Web:
        """How it is reached by DICOMweb.

        Raises
        ------
        UsageError
            The entry does not say.
        """
        if self.web is None:
            raise UsageError(f"node {self.name} has no [node.{self.name}.web]; add it to the nodes file")
        return self.web

    @property
    def push(self) -> Push:
        """How instances are sent where nobody says."""
        return "web" if self.dimse is None else "dimse"


def nodes_file() -> Path:
    """Return where the nodes file is, or should be."""
    return expanded(os.environ.get(_ENVIRONMENT) or _DEFAULT)


def read_nodes(path: Path | None = None) -> dict[str, Node]:
    """Read the nodes file.

    Raises
    ------
    UsageError
        It can't be read, or something in it is wrong: the message names the key.
    """
    path = path or nodes_file()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"there is no nodes file; write one, or name it in {_ENVIRONMENT}, e.g. {_EXAMPLE}", path=path
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"the nodes file can't be read: {told}", path=path) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"the nodes file is no TOML: {error}", path=path) from None
    top = _Table(path, "", content)
    entries = top.table("node")
    top.end()
    nodes = {name: _node(name, entries.table(name)) for name in list(entries.content)}
    if not nodes:
        raise UsageError(f"no node is in it; an entry looks like {_EXAMPLE}", path=path)
    return nodes


def node_named(name: str) -> Node:
    """Return the node of a name.

    Raises
    ------
    UsageError
        There is none, or the nodes file is wrong.
    """
    nodes = read_nodes()
    if name not in nodes:
        near = difflib.get_close_matches(name, nodes, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"no node is called {name!r}; there are {', '.join(nodes)}{meant}", path=nodes_file()
        )
    return nodes[name]


def _node(name: str, entry: _Table) -> Node:
    dimse = _dimse(entry.table("dimse")) if entry.has("dimse") else None
    web = _web(entry.table("web")) if entry.has("web") else None
    limits = _limits(entry.table("limits")) if entry.has("limits") else Limits()
    if dimse is None and web is None:
        raise entry.wrong("dimse", "a table dimse or a table web, or both", None)
    pull = cast("Pull", entry.choice("pull", ("get", "move", "web"), "web" if dimse is None else "get"))
    needed = "web" if pull == "web" else "dimse"
    if (web if pull == "web" else dimse) is None:
        raise entry.wrong("pull", f"a way that has its table; add [node.{name}.{needed}]", pull)
    if pull == "move" and dimse is not None and dimse.listen is None:
        raise entry.wrong("dimse.listen", "the port at which C-MOVE brings instances to us", None)
    readable_by = entry.text("readable-by", "")
    commitment = entry.flag("commitment", default=False)
    if commitment and dimse is None:
        raise entry.wrong("commitment", f"[node.{name}.dimse], by which it is asked for", None)
    entry.end()
    return Node(name, pull, dimse, web, limits, readable_by, commitment)


def _dimse(entry: _Table) -> Dimse:
    found = Dimse(
        entry.text("host"),
        entry.whole("port", _LAST_PORT),
        entry.title("called-aet"),
        entry.title("calling-aet", "CINEMILL"),
        entry.whole("listen", _LAST_PORT) if entry.has("listen") else None,
        entry.number("timeout", 30.0),
        _tls(entry.table("tls")) if entry.has("tls") else None,
    )
    entry.end()
    return found


def _tls(entry: _Table) -> Tls:
    authority = entry.file("authority")
    certificate, key = (entry.file(name) if entry.has(name) else None for name in ("certificate", "key"))
    if key is not None and certificate is None:
        raise entry.wrong("certificate", "a file, since there is a key", None)
    found = Tls(authority, certificate, key, entry.flag("check-host", default=True))
    entry.end()
    return found


def _web(entry: _Table) -> Web:
    url = entry.text("url").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise entry.wrong("url", "an address such as https://pacs.example.org/dicom-web", url)
    if parts.username or parts.password:
        raise entry.wrong(
            "url", "an address without user and password, which stand in user and secret-file", "one with"
        )
    found = Web(
        url,
        entry.text("user", "") or None,
        entry.text("secret-variable", "") or None,
        entry.file("secret-file") if entry.has("secret-file") else None,
        entry.file("authority") if entry.has("authority") else None,
        entry.number("timeout", 30.0),
    )
    if found.user and found.secret_variable is None and found.secret_file is None:
        raise entry.wrong(
            "secret-file", "a file, or secret-variable, which hold the password of the user", None
        )
    entry.end()
    return found


def _limits(entry: _Table) -> Limits:
    associations = entry.whole("associations", 64, 1)
    answers = entry.whole("answers", 1_000_000) if entry.has("answers") else None
    rate = entry.number("rate", 0.0) if entry.has("rate") else None
    text = entry.text("window", "")
    try:
        window = Window.parse(text) if text else None
    except UsageError:
        raise entry.wrong("window", 'a span of the day such as "20:00-06:00"', text) from None
    entry.end()
    return Limits(associations, rate, window, answers)


class _Table:
    """One table of the file, whose keys are taken one by one: what is left at the end is unknown."""

    def __init__(self, path: Path, where: str, content: Mapping[str, Any]) -> None:
        self._path, self._where, self.content = path, where, content
        self._known: dict[str, None] = {}

    def table(self, key: str) -> _Table:
        found = self._take(key, {})
        if not isinstance(found, dict):
            raise self.wrong(key, "a table", found)
        return _Table(self._path, f"{self._where}.{key}".lstrip("."), found)

    def text(self, key: str, default: str | None = None) -> str:
        found = self._take(key, default)
        if not isinstance(found, str) or not (found or default == ""):
            raise self.wrong(key, "a text", found)
        return found

    def title(self, key: str, default: str | None = None) -> str:
        found = self.text(key, default)
        if not is_title(found):
            raise self.wrong(key, TITLE, found)
        return found

    def choice(self, key: str, words: tuple[str, ...], default: str) -> str:
        found = self.text(key, default)
        if found not in words:
            raise self.wrong(key, f"one of {', '.join(words)}", found)
        return found

    def number(self, key: str, default: float) -> float:
        found = self._take(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e9:
            raise self.wrong(key, "a number above 0", found)
        return float(found)

    def flag(self, key: str, *, default: bool) -> bool:
        found = self._take(key, default)
        if not isinstance(found, bool):
            raise self.wrong(key, "true or false", found)
        return found

    def whole(self, key: str, most: int, default: int | None = None) -> int:
        found = self._take(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
            raise self.wrong(key, f"a whole number from 1 to {most}", found)
        return found

    def file(self, key: str) -> Path:
        found = expanded(self.text(key))
        return found if found.is_absolute() else self._path.parent / found

    def wrong(self, key: str, expected: str, found: object) -> UsageError:
        near = difflib.get_close_matches(key, self.content.keys() - self._known.keys(), 1, _ALIKE)
        shown = repr(found) if found is not None else ", but ".join(["nothing", *map(repr, near)])
        return UsageError(f"[{self._where}] {key}: expected {expected}, found {shown}", path=self._path)

    def end(self) -> None:
        for key in self.content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self._known)}"
                where = f"[{self._where}] " if self._where else ""
                raise UsageError(f"{where}unknown key {key!r}{meant}", path=self._path)

    def has(self, key: str) -> bool:
        self._known[key] = None
        return key in self.content

    def _take(self, key: str, default: object) -> object:
        self._known[key] = None
        return self.content.get(key, default)
