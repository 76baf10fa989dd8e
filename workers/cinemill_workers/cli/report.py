"""Writes a job's receipts to a file, as ``transcode --report`` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cinemill.operations.receipt import Receipt
from cinemill.operations.report import Report


def write(records: Iterable[dict[str, Any]], path: Path) -> int:
    """Write a JSON line, or a CSV row by suffix, for each record; return how many. Rows of other instances stay.

    Raises
    ------
    UsageError
        The suffix is none of a report, or the file can't be written, or is something else.
    """
    count = 0
    with Report(path) as report:
        for record in records:
            report.add(Receipt(**{**record, "warnings": tuple(record["warnings"])}))
            count += 1
    return count
