"""Does an operation to one instance: opens the source, times the work, completes receipts and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cinemill.dicom.given import Given, called, on_disk
from cinemill.dicom.source import Source
from cinemill.errors import Cancelled, CinemillError, SourceError, UsageError
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt, failure
from cinemill.storage.location import is_same_file

_DICOMDIR = "1.2.840.10008.1.3.10"
_SOP_CLASS, _DIRECTORY_RECORDS = 0x00020002, 0x00041220


def of_given(operation: Operation, given: Given, output: Path, control: Control) -> Receipt:
    """Do an operation to whatever was given; raise what went wrong, once what is to be done about it was done.

    Parameters
    ----------
    operation
        The options.
    given
        A path, bytes, an open file or a data set.
    output
        Where the output will appear.
    control
        Threads, cancellation and progress.
    """
    with on_disk(given) as source:
        try:
            receipt = operation.apply(source, output, control)
        except (Cancelled, UsageError):
            raise
        except CinemillError as error:
            operation.settle(failure(source, output, error))
            raise
        return replace(receipt, source=called(given, source))


def of_source(src: Path, dst: Path, work: Callable[[Source], Receipt], *, repair: bool = False) -> Receipt:
    """Open a source, do some work with it and time that; errors are told with their place.

    Parameters
    ----------
    src, dst
        The source, and the place of its output.
    work
        Makes a receipt of the open source.
    repair
        See `cinemill.dicom.source.Source`.
    """
    if is_same_file(dst, src):
        raise UsageError("source and output are the same file; choose another output", path=dst)
    started = time.perf_counter()
    with Source(src, repair=repair) as source:
        try:
            receipt = work(source)
        except RecursionError:
            raise SourceError("sequences are nested too deeply", path=src) from None
        except CinemillError as error:
            raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None
    return replace(receipt, seconds={**receipt.seconds, "total": time.perf_counter() - started})


def is_directory(source: Source) -> bool:
    """Whether a file is a DICOMDIR: by its class, or since it has directory records and no pixel data (PS3.3 F.3)."""
    of_media = source.meta_text(_SOP_CLASS) == _DICOMDIR
    return of_media or (source.pixel_data is None and source.element(_DIRECTORY_RECORDS) is not None)
