"""What does evil to a service at random moments: to its children, hosts, server, storage and operators."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis import Redis

from cinemill_workers.local.embedded import Server
from tests.support.harness import Service, Worker
from tests.support.hosts import why_no_hosts
from tests.support.shims import COMPILER, STORAGE, compiled

LEASE_SECONDS = 3.0
START_SECONDS = 8.0
MOST_TORN = 20_000
"""Bytes of the append-only file: some dozens of transitions."""


@dataclass
class Boxed(Worker):
    """A worker in a container that is always given the same host name and the same process ids."""

    def start(self) -> None:
        """Start it; a shell that has us in the background has SIGQUIT ignored, which is inherited."""
        box = ["unshare", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        inside = ["sh", "-c", 'hostname container; "$@"; exit $?', "sh"]
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*box, *inside, *self.command],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=lambda: signal.signal(signal.SIGQUIT, signal.SIG_DFL),  # noqa: PLW1509
            )

    def _below(self, parents: set[int]) -> dict[int, str]:
        listing = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        lines = [line.split(maxsplit=2) for line in listing.stdout.splitlines()]
        return {int(line[0]): line[2] for line in lines if len(line) > 2 and int(line[1]) in parents}

    @property
    def main(self) -> int | None:
        """The process id of the worker itself, without a second of its children."""
        shell = set(self._below({self.process.pid}))
        return next(iter(self._below(shell)), None)

    def children(self, *, stewards: bool = False) -> list[int]:
        main = self.main
        found = {} if main is None else self._below({main})
        return [pid for pid, arguments in found.items() if ("steward" in arguments) == stewards]

    def signal(self, number: int) -> None:
        main = self.main
        if main is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, number)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(120)


class Troublemaker:
    """Does something evil, chosen by a seed; a context manager.

    Parameters
    ----------
    root
        The tree that jobs read.
    disk
        The one they write to; a file system of its own if that could be made.
    crashing
        Instances with this in their name kill their process.
    seconds
        Each instance takes so much longer.
    """

    def __init__(
        self,
        service: Service,
        server: Server,
        root: Path,
        disk: Path,
        seed: int,
        *,
        crashing: str,
        seconds: float,
    ) -> None:
        self.service = service
        self.server = server
        self.root = root
        self.disk = disk
        self.random = random.Random(seed)
        self.full = service.folder / "full"
        self.silent = service.folder / "silent"
        self.variables = {
            "FAULTY_SECONDS": str(seconds),
            "FAULTY_CRASH": crashing,
            "FAULTY_FULL": str(self.full),
            "CINEMILL_ATTEMPTS": "5",
        }
        if COMPILER:
            self.variables["LD_PRELOAD"] = compiled(STORAGE, service.folder / "storage.so")
            self.variables["ANSWER_EIO"] = str(self.silent)
        self.jobs: list[str] = []
        self.submitted: tuple[Path | None, int] = (None, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the last worker, whatever happened."""
        if self.service.workers:
            self.worker.kill()

    # the worker

    def start_worker(self) -> None:
        folder = self.service.folder / f"worker{len(self.service.workers)}"
        folder.mkdir()
        kind = Worker if why_no_hosts() else Boxed
        environment = self.service.environment | self.variables
        self.service.workers.append(kind(folder, environment, "tests.support.faulty_worker"))

    @property
    def worker(self) -> Worker:
        return self.service.workers[-1]

    def _let_it_work(self) -> None:
        """Wait until the worker has done something, or for some seconds: one that is starting takes no harm."""
        end = time.monotonic() + START_SECONDS
        while '"message": "item"' not in self.worker.log and time.monotonic() < end:
            time.sleep(0.1)

    def kill_child(self) -> None:
        self._let_it_work()
        children = self.worker.children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(children), signal.SIGKILL)

    def kill_worker(self) -> None:
        """End the worker and all its processes, as a container that is killed; another one has its names."""
        self._let_it_work()
        self.worker.kill()
        self.start_worker()

    def quit_worker(self) -> None:
        """Have the worker stop at once, and start another one."""
        self._let_it_work()
        if isinstance(self.worker, Boxed):
            self.worker.signal(signal.SIGQUIT)
        else:
            self.worker.process.send_signal(signal.SIGQUIT)
        try:
            self.worker.process.wait(10)
        except subprocess.TimeoutExpired:
            print("the worker did not stop at once")
        self.worker.kill()
        self.start_worker()

    def freeze_children(self) -> None:
        """Stop the children for longer than a lease: what they do afterwards is not theirs any more."""
        children = self.worker.children()
        for number, pause in ((signal.SIGSTOP, LEASE_SECONDS + 0.7), (signal.SIGCONT, 0.0)):
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(pause)

    # the server

    def restart_server(self) -> None:
        if self.random.random() < 0.5 and self.server.pid is not None:
            os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()
        time.sleep(self.random.uniform(0, 2))
        self.server.start()

    def lose_writes(self) -> None:
        """Kill the server, tear the end of its append-only file off, and start it: it knows less than it said."""
        if self.server.pid is not None:
            os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()
        file, least = self.submitted
        if file is not None and file.exists():
            size = file.stat().st_size
            os.truncate(file, max(least, size - self.random.randint(1, MOST_TORN)))
        self.server.start()

    def fail_over(self) -> None:
        """Have the server refuse as one does that is a replica from now on, then one that has no replicas."""
        with self._calm() as redis:
            for each in redis.client_list():
                redis.execute_command("CLIENT", "UNBLOCK", each["id"], "ERROR")
            redis.config_set("min-replicas-to-write", 1)
            time.sleep(self.random.uniform(0.5, 1.5))
            redis.config_set("min-replicas-to-write", 0)

    def fill_server(self) -> None:
        """Leave the server no memory for a while."""
        with self._calm() as redis:
            redis.config_set("maxmemory", 1)
            time.sleep(self.random.uniform(0.5, 1.5))
            redis.config_set("maxmemory", 0)

    def repeat_messages(self) -> None:
        self.service.repeat_messages()

    @contextlib.contextmanager
    def _calm(self) -> Any:
        redis = Redis(unix_socket_path=str(self.server.socket))
        try:
            yield redis
        finally:
            redis.close()

    # the storage

    def fill_disk(self) -> None:
        """Leave no byte on a disk of our own; on a shared one, have the worker pretend."""
        if not os.path.ismount(self.disk):
            self.full.touch()
            time.sleep(1)
            self.full.unlink()
            return
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        time.sleep(1)
        ballast.unlink()

    def unmount_root(self) -> None:
        """Leave an empty directory where the sources were, for a while."""
        away = self.root.with_name("away")
        self.root.rename(away)
        self.root.mkdir()
        time.sleep(self.random.uniform(0.3, 2))
        self.root.rmdir()
        away.rename(self.root)

    def answer_eio(self) -> None:
        """Have sources or outputs answer with errors, for a while."""
        chosen = self.random.choice([self.root, self.disk])
        written = self.silent.with_suffix(".new")
        written.write_text(f"{chosen}/")
        written.rename(self.silent)
        time.sleep(self.random.uniform(0.5, 1.5))
        self.silent.unlink()

    # the operators

    def retry(self) -> None:
        self.cinemill("jobs", "retry", self.random.choice(self.jobs))

    def pause(self) -> None:
        job, ledger = self.random.choice(self.jobs), self.service.ledger
        ledger.move(job, from_=["running", "waiting"], to="paused")
        time.sleep(self.random.uniform(0.2, 1))
        ledger.move(job, from_=["paused"], to="running")

    def cinemill(self, *arguments: str, check: bool = True) -> Any:
        """Run a command with ``--json``; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cinemill_workers.cli", *arguments, "--json"],
            env={**os.environ, **self.service.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return json.loads(done.stdout or "null")

    def submit(self, job: str) -> None:
        """Remember a job: no lost write may be older."""
        self.jobs.append(job)
        found = max(
            self.server.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime
        )
        self.submitted = found, found.stat().st_size

    def plan(self) -> list[Callable[[], None]]:
        """Return everything once, in random order."""
        every: list[Callable[[], None]] = [
            self.kill_child,
            self.kill_worker,
            self.quit_worker,
            self.freeze_children,
            self.restart_server,
            self.lose_writes,
            self.fail_over,
            self.fill_server,
            self.repeat_messages,
            self.fill_disk,
            self.unmount_root,
            self.answer_eio,
            self.retry,
            self.pause,
        ]
        self.random.shuffle(every)
        return every
