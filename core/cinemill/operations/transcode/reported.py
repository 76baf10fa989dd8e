"""Transcodes one instance for a report, which has what is wrong with the pixels of its source, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.inspect.pixels import found_in
from cinemill.operations.instance import of_source
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.request import Transcode
from cinemill.operations.transcode.transcode import transcode_source

if TYPE_CHECKING:
    from cinemill.dicom.source import Source


def run(request: Transcode, src: Path, dst: Path, control: Control) -> Receipt:
    """Transcode one instance: see `cinemill.transcode`.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source file, and the place of its output.
    control
        Threads, cancellation and progress.
    """

    def work(source: Source) -> Receipt:
        receipt = transcode_source(source, dst, request, control)
        return receipt if receipt.status == "kept" else replace(receipt, findings=found_in(source))

    return of_source(src, dst, work, repair=request.repair)
