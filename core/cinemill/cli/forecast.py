"""``cinemill forecast``: what a run of ``transcode`` would take and save."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cinemill.cli.options import accepting, made
from cinemill.cli.run import AsJson, Jobs, Quiet, interruption
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    from cinemill.operations.forecast.estimate import Estimate

_NOT_HERE = ("overwrite", "recheck", "preserve", "copy_rest", "repair")
Trees = Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and directories.")]


@accepting(Transcode, without=_NOT_HERE)
def forecast(
    sources: Trees,
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Instances that are tried at most.")] = 500,
    jobs: Jobs = None,
    **options: Any,
) -> None:
    """Tell what transcode would take and save, before it is run; nothing is written."""
    from cinemill.batch import run_all
    from cinemill.operations.forecast.estimate import estimate
    from cinemill.operations.forecast.probe import Probe
    from cinemill.operations.forecast.sampling import Sampler
    from cinemill.operations.forecast.survey import Survey, count, read
    from cinemill.storage.tree import discover

    asked = made(Transcode, options).in_bulk()
    survey = Survey()
    paths = lambda: (item.source for item in discover(sources, Path("/nonexistent")))
    with interruption() as stopping:
        count(paths(), survey, stopping.is_set)
        for _ in read(paths(), asked, survey, stopping.is_set):
            pass
        survey.strata.merge(max(8, sample // 2))
        with _scratch() as scratch:
            sampler = Sampler(list(survey.strata), sample, scratch)
            for receipt in run_all(sampler.items(), Probe((asked,)), jobs=jobs, stop=stopping.is_set):
                sampler.add(receipt)
    show(survey, estimate(sampler.tried))


def show(survey: Any, found: Estimate) -> None:
    for row in [*found.rows, found.total]:
        print(row.key and (row.key.syntax[-6:], row.key.geometry, row.key.reason), row.instances, row.tried, row.bytes, int(row.after.value), int(row.after.half_width), round(row.seconds.value,3), round(row.seconds.half_width,3), dict(row.errors))
    print(found.loading, survey.files, survey.seconds, dict(survey.unread), {k: round(v) for k, v in found.total.done.items()})


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a directory for outputs that are removed at once: in memory, where that is a place."""
    memory = Path("/dev/shm")
    place = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cinemill-", dir=place) as folder:
        yield Path(folder)
