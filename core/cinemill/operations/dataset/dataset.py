"""Makes a data set for training, in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from cinemill.errors import Cancelled, CinemillError, InternalError, UsageError
from cinemill.operations.dataset.making import Making, Outcome
from cinemill.operations.dataset.request import MakeClips
from cinemill.operations.dataset.words import Fit, Format, Short, Which
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt, failure
from cinemill.storage.location import each_located, located
from cinemill.storage.tree import Item


def dataset(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str],
    *,
    jobs: int = 1,
    format: Format = "webdataset",  # noqa: A002
    frames: str = "",
    size: str | tuple[int, int] = "224x224",
    fit: Fit = "contain",
    fps: float = 30.0,
    seconds: float = 3.0,
    clips: Which = "all",
    short: Short = "pad",
    regions: Literal["largest", "each"] = "largest",
    no_regions: Literal["skip", "whole"] = "skip",
    untimed: Literal["skip", "as-is"] = "skip",
    colour: Literal["rgb", "grey"] = "rgb",
    fan_mask: bool = False,
    mask_outside_regions: bool = False,
    fan_confidence: float = 0.8,
    no_fan: Literal["keep", "skip"] = "keep",
    deidentified: Literal["required", "off"] = "required",
    split: str = "",
    key: str | os.PathLike[str] = "",
    shard_size: int = 512,
    index: str | os.PathLike[str] = "",
    where: str = "",
    overwrite: bool = False,
) -> Outcome:
    """Make a data set for training: clips of the 2D regions of cines, with a manifest.

    Parameters
    ----------
    sources
        A file or a directory, or several.
    dst
        The directory of the data set, which appears as a whole or not at all.
    jobs
        Number of threads, each of which works on one instance.
    format, frames, size, fit, fps, seconds, clips, short
        See `cinemill.operations.dataset.request.MakeClips`.
    regions, no_regions, untimed, colour
        See there.
    fan_mask, mask_outside_regions, fan_confidence, no_fan
        See there.
    deidentified, split, key, shard_size, index, where, overwrite
        See there.

    Raises
    ------
    CinemillError
        Nothing was published; see `cinemill.errors`.
    """
    request = MakeClips(
        format=format,
        frames=frames,
        size=size,
        fit=fit,
        fps=fps,
        seconds=seconds,
        clips=clips,
        short=short,
        regions=regions,
        no_regions=no_regions,
        untimed=untimed,
        colour=colour,
        fan_mask=fan_mask,
        mask_outside_regions=mask_outside_regions,
        fan_confidence=fan_confidence,
        no_fan=no_fan,
        deidentified=deidentified,
        split=split,
        key=key,
        shard_size=shard_size,
        index=index,
        where=where,
        overwrite=overwrite,
    )
    return Making(request, each_located(sources), located(dst), _here, jobs).make()


def _here(
    items: Iterator[Item], operation: Operation, *, jobs: int, stop: Callable[[], bool]
) -> Iterator[Receipt]:
    """Do an operation to items in this process, on threads."""
    taking = threading.Lock()

    def one(item: Item) -> Receipt | None:
        with taking:
            if stop():
                return None
        try:
            return operation.apply(item.source, item.output, Control(1, stop))
        except (Cancelled, UsageError):
            raise
        except CinemillError as error:
            return failure(item.source, item.output, error)
        except Exception as error:  # noqa: BLE001  # one file must not stop the others
            return failure(item.source, item.output, InternalError.of(error))

    with ThreadPoolExecutor(jobs, thread_name_prefix="cinemill") as executor:
        for receipt in executor.map(one, items):
            if receipt is not None:
                yield receipt
