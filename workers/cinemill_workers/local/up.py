"""One-machine mode: the embedded server and a worker, started and stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from cinemill.errors import CinemillError
from cinemill_workers import processes
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.engine.preflight import check
from cinemill_workers.local.embedded import Server, last_line, make_private, open_log
from cinemill_workers.settings import Settings

SHORTEST_LIFE_SECONDS = 30.0
"""A worker that ends sooner has a fault that another start does not cure, unless somebody killed it."""

MOST_EARLY_KILLS = 3
"""So often in a row it is started again; whatever kills it is no accident then."""


class Worker:
    """A worker process of this machine, started again when it is lost; a context manager.

    Parameters
    ----------
    settings
        Name the directory of its log.
    concurrency
        Child processes; one for each core by default.
    """

    def __init__(self, settings: Settings, concurrency: int | None = None) -> None:
        self.log = settings.state_dir / "worker.log"
        self._settings = settings
        chosen = [str(concurrency)] if concurrency else []
        self._command = processes.command("cinemill_workers.engine.worker", *chosen)
        self._early_kills = 0

    def start(self) -> None:
        """Start the process; it ends with this one."""
        owner = os.getpid()
        with open_log(self.log) as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                env=processes.environment(CINEMILL_STATE_DIR=str(self._settings.state_dir)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: processes.die_with_parent(signal.SIGKILL, owner),  # noqa: PLW1509
            )
        self._started = time.monotonic()

    def keep(self) -> None:
        """Start the process again if it was lost.

        Raises
        ------
        CinemillError
            It gave up, or ended so early that another start would hardly help.
        """
        if self._process.poll() is not None:
            code, early = self._process.returncode, time.monotonic() - self._started < SHORTEST_LIFE_SECONDS
            self._early_kills = self._early_kills + 1 if early else 0
            if code == os.EX_CONFIG or (early and (code >= 0 or self._early_kills >= MOST_EARLY_KILLS)):
                raise CinemillError(
                    f"the worker ended with code {code}; "
                    f"the last line of {self.log} is: {last_line(self.log)}"
                )
            self.start()

    def stop(self) -> None:
        """Have the process finish or hand back what it holds, and end."""
        self._process.terminate()
        try:
            self._process.wait(self._settings.grace_seconds + 30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Service:
    """A worker, and the embedded server unless a broker is configured; a context manager.

    On leaving, the worker hands back or finishes what it holds, then the server stops.
    """

    def __init__(self, settings: Settings, *, concurrency: int | None = None) -> None:
        self.settings = settings
        self.worker = Worker(settings, concurrency)
        self._server = Server(settings.state_dir, settings.socket_path) if settings.embedded else None

    def keep(self) -> None:
        """Start again what was lost."""
        if self._server is not None:
            self._server.keep()
        self.worker.keep()

    def __enter__(self) -> Self:
        check(self.settings)
        make_private(self.settings.state_dir)
        with ExitStack() as stack:
            if self._server is not None:
                stack.enter_context(self._server)
            open_ledger(self.settings)
            stack.enter_context(self.worker)
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()
