"""The list of studies that a job works through: a text file, a line for each with its UID, date and count of instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.errors import NodeError, UsageError
from cinemill.network.arrivals import checked_uid
from cinemill.network.query import Study
from cinemill.operations.exchange.pull import folder_of
from cinemill.storage.tree import Item
from cinemill.storage.workroom import written

if TYPE_CHECKING:
    from cinemill.operations.exchange.pull import By


def write(path: Path, studies: Iterable[Study]) -> tuple[int, int, list[str]]:
    """Write a list, each study once; return how many there are, their instances, and UIDs that are none.

    Parameters
    ----------
    path
        Of the list.
    studies
        As a node lists them; taken lazily.

    Raises
    ------
    NodeError
        The node can't be asked; there is no list.
    OutputError
        The list can't be written.
    """
    known: set[str] = set()
    instances, wrong = 0, []
    with written(path) as file:
        for study in studies:
            if study.uid in known:
                continue
            try:
                known.add(checked_uid(study.uid))
            except NodeError:
                wrong.append(study.uid)
                continue
            instances += study.instances or 0
            count = "" if study.instances is None else study.instances
            file.write(f"{study.uid}\t{study.date}\t{count}\n".encode())
    return len(known), instances, wrong


def read(path: Path) -> Iterator[Study]:
    """Yield the studies of a list, in its order.

    Raises
    ------
    UsageError
        There is none, or a line of it is none.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _study(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the list of studies can't be read: {error}", path=path) from None


def _study(path: Path, number: int, line: str) -> Study:
    uid, date, count = (*line.rstrip("\n").split("\t"), "", "")[:3]
    try:
        return Study(checked_uid(uid.strip()), date, int(count) if count else None)
    except (NodeError, ValueError):
        raise UsageError(
            f"line {number} of the list: expected a Study Instance UID, with its date and count behind tabs, "
            f"found {line.strip()!r}",
            path=path,
        ) from None


def items(sources: Sequence[Path], destination: Path, by: By, after: Item | None) -> Iterator[Item]:
    """Yield the studies of lists as items: the path of the list with the UID behind it, and the folder of the study.

    Parameters
    ----------
    sources
        The lists.
    destination
        Gets a folder for each study.
    by
        How folders are arranged: see `cinemill.operations.exchange.pull.folder_of`.
    after
        Begin behind this one.
    """
    every = (
        Item(source / study.uid, folder_of(destination, study, by))
        for source in sources
        for study in read(source)
    )
    if after is not None:
        for item in every:
            if item.source == after.source:
                break
    yield from every
