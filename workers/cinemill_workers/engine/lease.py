"""The claim of a running task on its parcel: renewed in the background, and the one place that says stop."""

from __future__ import annotations

import faulthandler
import logging
import mmap
import os
import struct
import threading
import time
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError

from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Parcel
from cinemill_workers.logs import STDERR

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 0.5
LATE_SECONDS = 5.0
"""So much later a child ends whose lease thread can't run."""

ORPHAN_SECONDS = 10.0


class Shutdown:
    """The moment at which all children must stop, shared between a worker and the children it forks."""

    def __init__(self) -> None:
        self._moment = mmap.mmap(-1, 8)

    def announce(self, seconds: float) -> None:
        """Let running items go on for so many seconds."""
        self._moment[:] = struct.pack("d", time.monotonic() + seconds)

    @property
    def announced(self) -> bool:
        """Whether no new item may be started."""
        return self._read() > 0

    @property
    def due(self) -> bool:
        """Whether running items must stop at the next frame."""
        moment = self._read()
        return 0 < moment <= time.monotonic()

    def _read(self) -> float:
        (moment,) = struct.unpack("d", self._moment[:])
        return float(moment)


shutdown = Shutdown()
"""Made before the children are forked, so that they see what the parent announces."""


class Lease:
    """Keep a parcel while it is worked on; a context manager.

    Parameters
    ----------
    stall_seconds
        After so long without a call of `interrupted`, native code hangs: the process kills itself.
    """

    def __init__(self, ledger: Ledger, parcel: Parcel, worker: str, *, stall_seconds: float) -> None:
        self._ledger = ledger
        self._parcel = parcel
        self._worker = worker
        self._stall_seconds = stall_seconds
        self._parent = os.getppid()
        self._asked = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.state = "running"

    def interrupted(self) -> bool:
        """Whether the work must stop now: called between frames."""
        self._asked = time.monotonic()
        return self.state != "running" or shutdown.due

    def _keep(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            self._set_alarm()
            if time.monotonic() - self._asked > self._stall_seconds:
                logger.critical("no frame for %d s: this child kills itself", self._stall_seconds)
                os.abort()
            if os.getppid() != self._parent:
                self._end_as_orphan()
            try:
                self.state = self._ledger.renew(self._parcel, self._worker)
            except RedisError as error:
                logger.warning("could not renew a lease: %s", type(error).__name__)

    def _set_alarm(self) -> None:
        """Have the process end even if native code keeps every Python thread from running."""
        faulthandler.dump_traceback_later(self._stall_seconds + LATE_SECONDS, exit=True, file=STDERR)

    def _end_as_orphan(self) -> None:
        """Hand the work back if that can be done quickly; the worker that ran this child is gone."""
        self.state = "orphaned"
        if not self._over.wait(ORPHAN_SECONDS):
            os._exit(1)

    def __enter__(self) -> Self:
        self._set_alarm()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
