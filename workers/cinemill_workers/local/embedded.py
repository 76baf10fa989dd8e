"""A private Redis-compatible server for one machine: on a unix socket, durable, gone with its owner."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from redis import Redis
from redis.exceptions import RedisError

from cinemill.errors import CinemillError, OutputError, UsageError
from cinemill.locks import claim, share
from cinemill.storage.regular import open_regular, read_regular
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.internals import server_binary
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.processes import die_with_parent
from cinemill_workers.settings import Settings

PATIENCE_SECONDS = 5.0
_GLANCE_SECONDS = 0.05

PRIVATE_FILES = ("lock", "readers", "*.log*", "*.aof*", "*.rdb", "appendonlydir", "appendonlydir/*")
"""What a state directory holds: patients' names in paths among it."""


def make_private(folder: Path) -> None:
    """Make a directory that only its owner can enter, or make the one that is there so, with what it holds of ours.

    Raises
    ------
    UsageError
        It is there, and belongs to another user or to all.
    OutputError
        It can't be made or written.
    """
    advice = "set CINEMILL_STATE_DIR to a directory of your own"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid():
            raise UsageError(f"the directory belongs to another user; {advice}", path=folder)
        if found.st_mode & stat.S_ISVTX:
            raise UsageError(f"the directory is shared by all users; {advice}", path=folder)
        if not os.access(folder, os.W_OK):
            raise OutputError(f"the directory can't be written; {advice}", path=folder)
        folder.chmod(0o700)
        for pattern in PRIVATE_FILES:
            for path in folder.glob(pattern):
                _tighten(path)
    except CinemillError:
        raise
    except OSError as error:
        raise OutputError(f"the directory can't be made: {error.strerror}; {advice}", path=folder) from None


def _tighten(path: Path) -> None:
    found = path.lstat()
    if not (path.is_dir() or stat.S_ISREG(found.st_mode)):
        raise UsageError("not a regular file, as ours are; see what made it, and remove it", path=path)
    if not stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid():
        path.chmod(0o700 if stat.S_ISDIR(found.st_mode) else 0o600)


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, which only its owner can read."""
    return os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty, or nothing."""
    try:
        lines = read_regular(log).decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def stored_ledger(chosen: Settings) -> Iterator[Ledger]:
    """Open the ledger to read it; that of a private server that is stopped, by starting it for so long.

    A private server that runs, whoever started it, is not stopped before this is left, or for some seconds.

    Raises
    ------
    CinemillError
        Nothing answers, and nothing is stored here.
    """
    with ExitStack() as held:
        yield _stored_ledger(chosen, held)


def _stored_ledger(chosen: Settings, held: ExitStack) -> Ledger:
    """Open the ledger; whoever holds the directory has started its server or ended it within seconds."""
    readers = held.enter_context(_join_readers(chosen))
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return open_ledger(chosen)
        except CinemillError:
            if not chosen.embedded or not (chosen.state_dir / "appendonlydir").is_dir():
                raise
        try:
            held.enter_context(Server(chosen.state_dir, chosen.socket_path, patience=0.0))
            held.callback(readers.close)
        except InUse:
            if time.monotonic() > end:
                raise
            time.sleep(_GLANCE_SECONDS)


def _join_readers(chosen: Settings) -> ExitStack:
    joined = ExitStack()
    if chosen.embedded:
        with suppress(OSError):
            file = os.fdopen(open_regular(chosen.state_dir / "readers"), "rb")
            share(joined.enter_context(file))
    return joined


def _claimed(file: BinaryIO | int, seconds: float) -> bool:
    """Have a file until it is closed, if those who have it leave it within some seconds."""
    end = time.monotonic() + seconds
    while not claim(file):
        if time.monotonic() > end:
            return False
        time.sleep(_GLANCE_SECONDS)
    return True


class InUse(UsageError):
    """Another server holds the directory."""


class Server:
    """A server process that keeps its data in one directory; a context manager.

    Parameters
    ----------
    directory
        Holds the append-only file, the log and the locks; made if missing, readable by its owner only.
    socket
        Path of the unix socket, below 100 bytes.
    patience
        Seconds for which one that holds the directory is waited for: a command that reads may have started it.
    """

    def __init__(self, directory: Path, socket: Path, *, patience: float = PATIENCE_SECONDS) -> None:
        self.directory = directory
        self._patience = patience
        self.socket = socket
        self._log = directory.absolute() / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def start(self, *, seconds: float = 30.0) -> None:
        """Start the server and wait until it answers.

        Raises
        ------
        InUse
            Another server holds the directory.
        UsageError
            The directory belongs to another user.
        OutputError
            The directory can't be made, or the server did not come up.
        """
        for folder in (self.directory, self.socket.parent):
            make_private(folder)
        self._take_lock()
        os.close(open_regular(self.directory / "readers", os.O_RDWR | os.O_CREAT, 0o600))
        self.socket.unlink(missing_ok=True)
        owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603
            [str(server_binary()), *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, owner),  # noqa: PLW1509
        )
        self._wait_until_ready(seconds)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory.absolute()),
            "logfile": str(self._log),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "databases": "1",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _take_lock(self) -> None:
        self._lock = open_regular(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _claimed(self._lock, self._patience):
                raise BlockingIOError
        except OSError:
            self._drop_lock()
            raise InUse(
                "a cinemill server runs here already: use it, or set CINEMILL_STATE_DIR to another directory",
                path=self.directory,
            ) from None

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _wait_until_ready(self, seconds: float) -> None:
        client = Redis(unix_socket_path=str(self.socket))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                if client.ping():
                    client.close()
                    return
            except RedisError:
                time.sleep(0.02)
        self.stop()
        raise OutputError(
            f"the embedded server did not start: {last_line(self._log) or 'is the disk full?'}",
            path=self.directory,
        )

    def keep(self) -> None:
        """Start the server again if it has died; what it held is on the disk."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()
            self.start()

    def stop(self, *, seconds: float = 10.0) -> None:
        """Stop the server after it has written everything, and others have read; stop the workers first."""
        if self._process is not None:
            runs = self._process.poll() is None
            with self._without_readers(PATIENCE_SECONDS if runs else 0.0):
                self._process.terminate()
                try:
                    self._process.wait(seconds)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process = None
        self._drop_lock()

    @contextmanager
    def _without_readers(self, seconds: float) -> Iterator[None]:
        """Wait for those who read from the server, not for ever; who comes now waits until it is stopped."""
        with ExitStack() as held:
            with suppress(OSError):
                readers = os.fdopen(open_regular(self.directory / "readers"), "rb")
                _claimed(held.enter_context(readers), seconds)
            yield

    @property
    def pid(self) -> int | None:
        """The server's process id, while it runs."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
