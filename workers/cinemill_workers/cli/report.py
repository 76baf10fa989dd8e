"""Writes a job's receipts to a file, as ``transcode --report`` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cinemill.errors import UsageError
from cinemill.operations.receipt import Receipt, Report


def write(records: Iterable[dict[str, Any]], path: Path) -> int:
    """Write a JSON line, or a CSV row by suffix, for each record; return how many.

    Raises
    ------
    UsageError
        The suffix is none of a report, or the file can't be written.
    """
    try:
        report = Report(path)
    except OSError as error:
        raise UsageError(f"the report can't be written: {error.strerror}", path=path) from None
    count = 0
    with report:
        for record in records:
            report.add(Receipt(**{**record, "warnings": tuple(record["warnings"])}))
            count += 1
    return count
