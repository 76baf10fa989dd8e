"""Serves a tree: one process looks through it again and again, others answer; one of these that dies is replaced."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cinemill.errors import CinemillError, UsageError
from cinemill.operations.index.index import Indexed, index
from cinemill.processes import children_context, share_heap, start
from cinemill.processors import processors
from cinemill.serve.catalogue import make_catalogue
from cinemill.storage.location import Location, each_located, located
from cinemill.storage.scratch import scratch

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

log = logging.getLogger("cinemill.serve")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_SHARE = 20
"""Looking through the tree takes no more than this part of the time."""

_LEAST_PAUSE = 10.0
_POLL = 0.5
_QUICK, _TOO_OFTEN = 5.0, 5
_GRACE = 5


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, and to whom.

    Attributes
    ----------
    sources
        Files and directories.
    host, port
        Where it listens; port 0 takes one that is free.
    kept
        An index with patient data that is kept for the next time; without it, headers are read at each start.
    origins
        Of pages elsewhere that may ask.
    jobs
        Processes that answer; by default one for each core.
    """

    sources: Sequence[Location]
    host: str = "127.0.0.1"
    port: int = 8080
    kept: Location | None = None
    origins: tuple[str, ...] = ()
    jobs: int | None = None


class Server:
    """Listens from the beginning, and answers while it runs.

    Parameters
    ----------
    serving
        What is served, and to whom.
    stop
        Polled; True ends whatever it does.

    Attributes
    ----------
    address
        Its own, as a URL.

    Raises
    ------
    UsageError
        It can't listen there.
    """

    def __init__(self, serving: Serving, stop: Callable[[], bool]) -> None:
        self._serving, self._stop = serving, stop
        self._held = ExitStack()
        self._listening = self._held.enter_context(_listen(serving.host, serving.port))
        self.address = _address(self._listening)
        folder = self._held.enter_context(scratch())
        self._index = folder / "index.sqlite" if serving.kept is None else located(serving.kept)
        self._catalogue = folder / "catalogue.sqlite"
        self._took = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def look(self, progress: Callable[[str, int], None] = lambda _, __: None) -> tuple[Indexed, int]:
        """Look through the tree; return what is there, and how many instances are not served, since they lack a UID or have another's.

        Parameters
        ----------
        progress
            Called with what is being done, and the number of files done so far.

        Raises
        ------
        UsageError
            The index is not one of these sources, or was made without patient data.
        OutputError
            The index can't be written.
        """
        begun = time.monotonic()
        sources, jobs = each_located(self._serving.sources), self._serving.jobs
        found = index(sources, self._index, phi=True, jobs=jobs, stop=self._stop, progress=progress)
        left_out = make_catalogue(self._index, self._catalogue) if found.complete else 0
        self._took = time.monotonic() - begun
        return found, left_out

    def run(self, begun: Callable[[], None] = lambda: None) -> None:
        """Answer, until it is to stop; look through the tree now and then meanwhile.

        Parameters
        ----------
        begun
            Called when there is somebody who answers.

        Raises
        ------
        ChildProcessError
            No process that answers gets as far as that.
        """
        looking = threading.Thread(target=self._look_again, daemon=True)
        with _Crew(self._listening, self._catalogue, self._serving) as crew:
            looking.start()
            begun()
            while not self._stop():
                crew.mend()
        looking.join(_GRACE)

    def _look_again(self) -> None:
        told = ""
        while not self._stop():
            due = time.monotonic() + max(_LEAST_PAUSE, _SHARE * self._took)
            while time.monotonic() < due and not self._stop():
                time.sleep(_POLL)
            try:
                self.look()
                told = ""
            except CinemillError as error:
                if told != str(error):
                    told = str(error)
                    log.warning("the tree can't be looked through: %s", told)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(socket.SOMAXCONN)
        except BaseException:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"can't listen at {host}:{port} ({told}); choose another --host or --port") from None
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Crew:
    """The processes that answer."""

    def __init__(self, listening: socket.socket, catalogue: Path, serving: Serving) -> None:
        self._context = children_context()
        hosts = LOOPBACK if listening.getsockname()[0] in LOOPBACK else None
        self._task = (listening, catalogue, hosts, serving.origins)
        self._count = serving.jobs or processors()
        self._members: list[BaseProcess] = []
        self._deaths: list[float] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._add()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.terminate()
        for member in self._members:
            member.join(_GRACE + 1)
            member.kill()

    def _add(self) -> None:
        member = self._context.Process(target=_answer, args=self._task, daemon=True)
        start(member)
        self._members.append(member)

    def mend(self) -> None:
        """Wait a moment, and put others in the place of those that died; after many deaths in a short time, a little later.

        Raises
        ------
        ChildProcessError
            They end of themselves, one after the other; signals, such as for a file that shrinks while it is read, end others only.
        """
        if not self._members:
            time.sleep(_POLL)
        wait([member.sentinel for member in self._members], _POLL)
        self._deaths = [at for at in self._deaths if time.monotonic() - at < _QUICK]
        for member in [each for each in self._members if not each.is_alive()]:
            self._members.remove(member)
            self._deaths.append(time.monotonic())
            if (member.exitcode or 0) > 0 and len(self._deaths) >= _TOO_OFTEN:
                raise ChildProcessError(
                    f"processes that answer end one after the other, the last one by exit code {member.exitcode}"
                )
            log.warning(
                "a process that answers died by exit code %s; another one takes its place", member.exitcode
            )
        if len(self._deaths) < _TOO_OFTEN:
            for _ in range(self._count - len(self._members)):
                self._add()


def _answer(
    listening: socket.socket, catalogue: Path, hosts: Sequence[str] | None, origins: Sequence[str]
) -> None:
    """Answer requests, in a process of its own, until that is told to end or its parent dies."""
    import uvicorn

    from cinemill.serve.application import application

    share_heap()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        application(catalogue, hosts, origins),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _end_with_parent() -> None:
    parent = parent_process()
    with suppress(OSError):
        if parent is not None:
            parent.join()
    os._exit(1)
