"""Finds the files below sources, lazily, each with the place of its output in the mirrored tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cinemill.errors import UsageError
from cinemill.storage.location import size

OURS = ".cinemill"
"""Name of the directory that holds what the service tells of a tree's instances: no instances, and never looked into."""


class Item(NamedTuple):
    """One file and where its output belongs."""

    source: Path
    output: Path


def files_below(sources: Sequence[Path]) -> Iterator[Path]:
    """Yield the files below the sources, for what writes no outputs of theirs: see `discover`."""
    _check(sources, Path("/nonexistent"))
    return chain.from_iterable(_walk(each, None, sources) if each.is_dir() else (each,) for each in sources)


def discover(sources: Sequence[Path], destination: Path, *, after: Item | None = None) -> Iterator[Item]:
    """Yield the files below the sources with their outputs, lazily and in the order of their names.

    One directory is mirrored below the destination; of several, each in a directory of its own name. Symbolic links to
    directories are not followed: one that leads out of the sources is yielded itself, to fail by name, and so is a directory
    that can't be listed.

    Parameters
    ----------
    after
        Begin behind this one, which need not be there any more; directories before it are not read.

    Raises
    ------
    UsageError
        A source is missing, or the destination is one of the sources or lies in one.
    """
    _check(sources, destination)
    return _discover(sources, destination, after)


def measured(items: Iterable[Item]) -> tuple[int, int]:
    """Return how many items there are, and the bytes of their sources."""
    count = total = 0
    for item in items:
        count += 1
        total += size(item.source)
    return count, total


def distinct(outputs: Iterable[Hashable]) -> int:
    """Return how many outputs there are before one that was there already: who writes the same one waits for the other."""
    seen: set[Hashable] = set()
    for output in outputs:
        if output in seen:
            break
        seen.add(output)
    return len(seen)


def unclaimed(sources: Sequence[Path], destination: Path) -> Iterator[Path]:
    """Yield the files below the outputs of directories that are no source's mirrored output.

    Parameters
    ----------
    sources, destination
        What was named on the command line.
    """
    for source, output in _roots(sources, destination):
        if source.is_dir() and output.is_dir():
            there = _discover_tree(output, source, None, [output])
            yield from (item.source for item in there if not item.output.exists())


def mirrored(item: Item, sources: Sequence[Path], destination: Path) -> bool:
    """Whether `discover` gives a file this output.

    Parameters
    ----------
    item
        The file, and the place of its output.
    sources, destination
        What was named on the command line.
    """
    return any(_comes_from(item, source, output) for source, output in _roots(sources, destination))


def _check(sources: Sequence[Path], destination: Path) -> None:
    if not sources:
        raise UsageError("no source was given")
    for source in sources:
        _check_apart(source, destination)
    if (len(sources) > 1 or sources[0].is_dir()) and destination.exists() and not destination.is_dir():
        raise UsageError(
            "the destination of a directory, or of several files, must be a directory; this is a file",
            path=destination,
        )


def _discover(sources: Sequence[Path], destination: Path, after: Item | None) -> Iterator[Item]:
    for source, output in _roots(sources, destination):
        if after is not None and not _comes_from(after, source, output):
            continue
        if source.is_dir():
            yield from _discover_tree(source, output, None if after is None else after.source, sources)
        elif after is None:
            yield Item(source, output)
        after = None


def _roots(sources: Sequence[Path], destination: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each source with the place of its output."""
    for source in sources:
        alone = len(sources) == 1 and (source.is_dir() or not destination.is_dir())
        yield source, destination if alone else destination / source.name


def _comes_from(item: Item, source: Path, output: Path) -> bool:
    return item.source.is_relative_to(source) and item.output == output / item.source.relative_to(source)


def _discover_tree(
    root: Path, destination: Path, after: Path | None, sources: Sequence[Path]
) -> Iterator[Item]:
    return (Item(path, destination / path.relative_to(root)) for path in _walk(root, after, sources))


def _walk(root: Path, after: Path | None, sources: Sequence[Path]) -> Iterator[Path]:
    unlisted: list[Path] = []
    for folder, folders, names in os.walk(root, onerror=lambda error: unlisted.append(Path(error.filename))):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name != OURS)
        names.extend(name for name in folders if _leads_out(here / name, sources))
        names.sort()
        if after is not None and after.is_relative_to(here):
            _drop_before(after, here, folders, names)
        while unlisted:
            yield unlisted.pop()
        yield from filter(_may_be_instance, map(here.joinpath, names))
    yield from unlisted


def _drop_before(after: Path, here: Path, folders: list[str], names: list[str]) -> None:
    """Take out of a directory's sorted entries what comes before a path in it, and that itself: files come first."""
    first, *deeper = after.relative_to(here).parts
    if deeper or (after.is_dir() and not after.is_symlink()):
        names.clear()
        folders[:] = [name for name in folders if name > first or (deeper and name == first)]
    else:
        names[:] = [name for name in names if name > first]


def _leads_out(path: Path, sources: Sequence[Path]) -> bool:
    """Whether a directory is a link to one that none of the sources holds."""
    if not path.is_symlink():
        return False
    target = path.resolve()
    return not any(target.is_relative_to(source.resolve()) for source in sources)


def _may_be_instance(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _check_apart(source: Path, destination: Path) -> None:
    if not source.exists():
        raise UsageError("no such file or directory; check the path", path=source)
    resolved, output = source.resolve(), destination.resolve()
    if resolved == output:
        raise UsageError("source and destination are the same; choose another destination", path=source)
    if source.is_dir() and output.is_relative_to(resolved):
        raise UsageError(
            f"the destination {destination} lies inside this source; choose another", path=source
        )
