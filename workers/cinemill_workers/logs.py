"""Structured logs: one JSON line an event, one event an item, no paths and no patient data."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from traceback import format_tb
from typing import Any

items = logging.getLogger("cinemill.items")

STDERR = 2

_POOL = "multiprocessing"
"""The logger of Celery's pool, which passes nothing on to the root."""


class JsonLines(logging.Formatter):
    """Format a record, with the fields given as ``extra={"fields": {...}}``, as one JSON object.

    Of an exception it tells the kind and the place, not the message, which may quote a header.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = "".join(format_tb(record.exc_info[2]))
        return json.dumps(line)


def configure(level: int | str = logging.INFO) -> None:
    """Send everything to standard error as JSON lines; Celery's own line for each task is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("cinemill").setLevel(logging.INFO)
    for chatty in ("celery.worker.strategy", "celery.app.trace", "kombu", "amqp", _POOL):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger(_POOL).handlers[:] = [handler]


def say(message: str) -> None:
    """Print a line at once, past all buffers and locks: a signal may have come while they were in use."""
    record = logging.makeLogRecord({"name": "cinemill", "levelname": "INFO", "msg": message.strip()})
    os.write(STDERR, f"{JsonLines().format(record)}\n".encode())
