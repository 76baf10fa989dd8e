"""A worker whose work misbehaves as the environment says: for tests only, run with ``celery -A tests.support.faulty_worker``.

``FAULTY_SECONDS``: each instance takes so much longer, stopping when asked to. ``FAULTY_CRASH``: instances with this
in their name kill their process. ``FAULTY_HANG``: instances with this in their name never end; ``FAULTY_BLOCK``: nor
do they let any other Python code run. ``FAULTY_FULL``: while this file exists, there is no room for any output.
``FAULTY_GATE``: until this file exists, instances behind the first twenty of an archive wait, stopping when asked to.
``FAULTY_READY``: until this file exists, the worker, whose children have been started, is not ready.
``FAULTY_LAYOUT``: the layout of the ledger that it takes for its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery.signals import worker_ready

from cinemill.errors import Cancelled, OutputError
from cinemill.operations.operation import Control
from cinemill_workers.engine.app import app
from cinemill_workers.engine.kinds import KINDS
from cinemill_workers.ledger import jobs, model
from cinemill_workers.ledger.model import LAYOUT

__all__ = ["app"]

FREE = 20
"""Instances of an archive that pass a gate."""


@worker_ready.connect  # type: ignore[untyped-decorator]
def await_leave(**_: Any) -> None:
    ready = os.environ.get("FAULTY_READY")
    while ready and not Path(ready).exists():
        time.sleep(0.02)


def faulty(apply: Callable[..., Any]) -> Callable[..., Any]:
    def misbehave(operation: Any, source: Path, output: Path, control: Control) -> Any:
        crash, hanging, blocking, full = (
            os.environ.get(f"FAULTY_{what}") for what in ("CRASH", "HANG", "BLOCK", "FULL")
        )
        if crash and crash in source.name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if full and Path(full).exists():
            raise OutputError("no room", path=output) from OSError(errno.ENOSPC, "No space left on device")
        if hanging and hanging in source.name:
            time.sleep(600)
        if blocking and blocking in source.name:
            ctypes.PyDLL(None).sleep(600)
        gate = os.environ.get("FAULTY_GATE") if source.stem >= f"{FREE:05}" else None
        end = time.monotonic() + float(os.environ.get("FAULTY_SECONDS", "0"))
        while time.monotonic() < end or (gate and not Path(gate).exists()):
            if control.cancelled is not None and control.cancelled():
                raise Cancelled("stopped", path=source)
            time.sleep(0.02)
        return apply(operation, source, output, control)

    return misbehave


for module in (jobs, model):
    vars(module)["LAYOUT"] = int(os.environ.get("FAULTY_LAYOUT", LAYOUT))

for kind in KINDS.values():
    kind.apply = faulty(kind.apply)  # type: ignore[method-assign]
