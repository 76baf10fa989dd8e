"""Reads the headers of all files, or of as many as there is time for, and counts them by stratum."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cinemill.operations.forecast.headers import Unread, read_header
from cinemill.operations.forecast.strata import Header, Strata, lot_of
from cinemill.operations.reading import read_all
from cinemill.storage.location import size

if TYPE_CHECKING:
    from cinemill.errors import CinemillError
    from cinemill.operations.policy.rules import Policy
    from cinemill.operations.policy.words import Options
    from cinemill.operations.transcode.request import Transcode

LIMIT = 1_000_000
"""Headers that are read; of more files, so many are chosen at random."""

_PARCEL = 64
_FEW = 1024
"""Files for which no processes are started."""

_PILOT = 48
_CAUTION = 0.7
"""Of the headers for which there should be time, how many are chosen."""

_Found: TypeAlias = "Header | tuple[Unread, int]"


class Scale(NamedTuple):
    """How many times more there is than was read.

    Attributes
    ----------
    instances, bytes
        Of these.
    """

    instances: float = 1.0
    bytes: float = 1.0


READ = Scale()
"""Where all headers were read."""


@dataclass(slots=True)
class Survey:
    """What headers tell.

    Attributes
    ----------
    files, bytes
        Found, whether their headers were read or not.
    headers, header_bytes
        Of how many files the header was read, and their bytes.
    seconds
        That this took, by the clock.
    unread, unread_bytes
        Files that are no DICOM or can't be read, by which of these.
    every
        Of so many files one header was to be read, on average.
    complete
        Whether all files were found, and all headers read that were to be.
    """

    strata: Strata = field(default_factory=Strata)
    files: int = 0
    bytes: int = 0
    headers: int = 0
    header_bytes: int = 0
    seconds: float = 0.0
    unread: Counter[str] = field(default_factory=Counter)
    unread_bytes: Counter[str] = field(default_factory=Counter)
    every: int = 1
    complete: bool = True

    def add(self, found: _Found) -> None:
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

    @property
    def scale(self) -> Scale:
        """How many times more there is than was read."""
        return Scale(self.files / max(1, self.headers), self.bytes / max(1, self.header_bytes))


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


def choose_headers(
    paths: Callable[[], Iterator[Path]], asked: Transcode, survey: Survey, seconds: float | None, jobs: int
) -> Iterator[Path]:
    """Return the files whose headers are read: all, or so many that there is time for, at random.

    Parameters
    ----------
    paths
        Begins again with the files.
    asked
        Whose policy decides.
    survey
        Knows how many files there are; is told which are read.
    seconds
        The time that there is.
    jobs
        Processes that share the work.
    """
    wanted = LIMIT
    if seconds is not None:
        started = time.perf_counter()
        some = list(islice(paths(), 0, survey.files, max(1, survey.files // _PILOT)))
        for path in some:
            read_header(path, asked.rules, asked.options)
        each = (time.perf_counter() - started) / max(1, len(some))
        cores = jobs if survey.files > _FEW else 1
        wanted = min(wanted, max(_PILOT, int(_CAUTION * cores * seconds / max(each, 1e-6))))
    survey.every = max(1, -(-survey.files // wanted))
    if survey.every == 1:
        return islice(paths(), survey.files)
    return (path for path in islice(paths(), survey.files) if lot_of(f"header {path}") * survey.every < 1)


def read(
    paths: Iterator[Path], asked: Transcode, survey: Survey, late: Callable[[], bool], jobs: int
) -> Iterator[int]:
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
        Asked now and then; True ends it.
    jobs
        Processes that share the work, where there are many files.
    """
    started = time.perf_counter()
    parcels = iter(lambda: [str(path) for path in islice(paths, _PARCEL)], [])
    several = survey.files > _FEW
    for parcel in read_all(parcels, _Reader(asked), jobs if several else 1):
        for each in parcel:
            survey.add(each)
        survey.seconds = time.perf_counter() - started
        yield survey.headers
        if late():
            survey.complete = survey.headers >= survey.files // survey.every
            break


class _Reader:
    """Reads headers as a run looks at them."""

    def __init__(self, asked: Transcode) -> None:
        self._asked = asked

    @cached_property
    def _judging(self) -> tuple[Policy, Options]:
        return self._asked.rules, self._asked.options

    def read(self, path: str) -> _Found:
        """Read one header."""
        header = read_header(Path(path), *self._judging)
        return header if isinstance(header, Header) else (header, size(path))

    def failed(self, path: str, _: CinemillError) -> _Found:
        """Tell that a process died over a file."""
        return "can't be read", size(path)
