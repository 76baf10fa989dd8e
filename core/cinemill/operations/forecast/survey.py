"""Reads the headers of all files, or of as many as there is time for, and counts them by stratum."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.forecast.headers import Unread, read_header
from cinemill.operations.forecast.strata import Header, Strata
from cinemill.storage.location import size

if TYPE_CHECKING:
    from cinemill.operations.transcode.request import Transcode

LIMIT = 1_000_000
"""Headers that are read; of more files, so many are chosen evenly."""


@dataclass(slots=True)
class Survey:
    """What all headers tell.

    Attributes
    ----------
    files, bytes
        Found, whether their headers were read or not.
    headers
        How many were read.
    seconds
        That this took, by the clock.
    unread, unread_bytes
        Files that are no DICOM or can't be read, by which of these.
    complete
        Whether all files were found.
    """

    strata: Strata = field(default_factory=Strata)
    files: int = 0
    bytes: int = 0
    headers: int = 0
    header_bytes: int = 0
    seconds: float = 0.0
    unread: Counter[str] = field(default_factory=Counter)
    unread_bytes: Counter[str] = field(default_factory=Counter)
    complete: bool = True

    def add(self, found: Header | tuple[Unread, int]) -> None:
        """Count one header."""
        self.headers += 1
        if isinstance(found, Header):
            self.header_bytes += found.bytes
            self.strata.add(found)
        else:
            kind, bytes_ = found
            self.header_bytes += bytes_
            self.unread[kind] += 1
            self.unread_bytes[kind] += bytes_


def count(paths: Iterable[Path], survey: Survey, late: Callable[[], bool]) -> None:
    """Count files and their bytes, as far as there is time.

    Parameters
    ----------
    paths
        The files.
    survey
        Takes the numbers.
    late
        Asked before each file; True ends it.
    """
    for path in paths:
        if late():
            survey.complete = False
            return
        survey.files += 1
        survey.bytes += size(path)


def read(paths: Iterator[Path], asked: Transcode, survey: Survey, late: Callable[[], bool]) -> Iterator[int]:
    """Read headers into a survey; yield how many were read, now and then.

    Parameters
    ----------
    paths
        The files.
    asked
        Whose policy decides.
    survey
        Takes what is found.
    late
        Asked before each file; True ends it.
    """
    started = time.perf_counter()
    policy, options = asked.rules, asked.options
    for path in paths:
        if late():
            break
        found = read_header(path, policy, options)
        survey.add(found if isinstance(found, Header) else (found, size(path)))
        survey.seconds = time.perf_counter() - started
        yield survey.headers
