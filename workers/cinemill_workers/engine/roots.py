"""The directories of a job: which it may read and write, and whether they are still there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cinemill_workers.engine.outcomes import OutsideRoots
from cinemill_workers.ledger.model import JobSpec


def confine(path: Path, roots: Sequence[Path]) -> None:
    """Refuse a path that leads out of all roots, by ``..`` or by a symbolic link.

    Parameters
    ----------
    path
        A source, or an output that need not exist yet.
    roots
        The allowed directories; none allows everything.

    Raises
    ------
    OutsideRoots
        The path, with every symbolic link followed, lies in none of them.
    """
    if roots and not any(path.resolve().is_relative_to(root.resolve()) for root in roots):
        raise OutsideRoots(
            "the path leads out of CINEMILL_ROOTS: move the files or extend the roots", path=path
        )


def inodes(spec: JobSpec) -> dict[str, int]:
    """Return what tells the directories of a job from others at the same place: an unmounted share leaves an empty one.

    Inodes alone: the number of a device differs between the hosts that mount a share, and after it is mounted again.
    A destination that is not there yet is told by the directory that it will be made in.
    """
    destination = Path(spec.destination)
    while not destination.is_dir() and destination != destination.parent:
        destination = destination.parent
    directories = [path for path in map(Path, spec.sources) if path.is_dir()]
    return {os.fspath(path): path.stat().st_ino for path in (*directories, destination)}


def trouble(known: Mapping[str, int]) -> str:
    """Say which of these directories is not what it was; nothing if all are.

    Parameters
    ----------
    known
        What `inodes` found at first.
    """
    for path, inode in known.items():
        try:
            found = Path(path).stat().st_ino
        except OSError as error:
            return f"{path} has gone ({error.strerror})"
        if found != inode:
            return f"{path} is not the directory that it was"
    return ""


def withdraw(outputs: Sequence[Path], destination: Path) -> None:
    """Remove outputs from a directory that is not the destination any more, and what was made above them."""
    for output in outputs:
        with suppress(OSError):
            output.unlink()
        for folder in output.parents:
            if folder == destination or not folder.is_relative_to(destination):
                break
            with suppress(OSError):
                folder.rmdir()


def empty_sources(spec: JobSpec) -> tuple[str, ...]:
    """Return the sources of a job that are directories and hold nothing."""
    found = []
    for source in filter(os.path.isdir, spec.sources):
        with suppress(OSError):
            if _holds_nothing(source):
                found.append(source)
    return tuple(found)


def _holds_nothing(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def emptied(spec: JobSpec) -> str:
    """Say which source of a job is a directory that holds nothing any more, or can't be listed; those of a standing job may."""
    filled = [source for source in spec.sources if source not in spec.empty and Path(source).is_dir()]
    for source in () if spec.standing else filled:
        try:
            if _holds_nothing(source):
                return f"{source} is empty"
        except OSError as error:
            return f"{source} can't be listed ({error.strerror})"
    return ""
