"""Fills in receipts: what the files themselves tell, and how long each stage took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.operations.receipt import Receipt, Status
from cinemill.storage.location import size

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.storage.file import Sink
    from cinemill.syntaxes import TransferSyntax


def record(source: Source, output: Path, status: Status, target: TransferSyntax, **more: Any) -> Receipt:
    """Return the receipt of an instance that was written, or was there already.

    Parameters
    ----------
    source
        The open file.
    output
        What was written.
    status
        What became of the instance.
    target
        Transfer syntax of the output.
    **more
        Further fields of the receipt.
    """
    known: dict[str, Any] = {}
    if source.pixel_data is not None:
        pixels = source.pixels
        known = {
            "rows": pixels.rows,
            "columns": pixels.columns,
            "samples": pixels.samples,
            "bits_allocated": pixels.bits_allocated,
            "bits_stored": pixels.bits_stored,
            "lossy_history": source.text(0x00282110) == "01",
            "photometric_interpretation_before": pixels.photometric_interpretation,
            "photometric_interpretation_after": pixels.photometric_interpretation,
        }
    return Receipt(
        **{
            "source": str(source.path),
            "output": str(output),
            "status": status,
            "sop_instance_uid": source.text(0x00080018),
            "sop_class_uid": source.text(0x00080016),
            "transfer_syntax_before": source.transfer_syntax.uid,
            "transfer_syntax_after": target.uid,
            "bytes_before": len(source.file),
            "bytes_after": size(output),
            "warnings": tuple(source.warnings),
            **known,
            **more,
        }
    )


class Clock:
    """Adds up seconds by stage over all threads."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what is done within the context."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def commit(self, sink: Sink, receipt: Receipt) -> Receipt:
        """Give a finished output its name; return its receipt, with its size and the time of each stage.

        Raises
        ------
        OutputError
            The output can't get its name.
        """
        with self("commit"):
            sink.commit()
        return replace(receipt, bytes_after=size(sink.path), seconds=dict(self.seconds))
