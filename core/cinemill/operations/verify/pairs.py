"""Pairs sources and outputs: by the mirrored path, and what is left over by SOP Instance UID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from cinemill.storage.tree import Item, discover, unclaimed

_SOP_INSTANCE = 0x00080018


def paired(sources: Sequence[Path], destination: Path, *, after: Item | None = None) -> Iterator[Item]:
    """Yield each source with its output, then each file below the destination that is none, as its own source.

    A source whose mirrored output is missing, since another program chose the name, gets the first file of its SOP
    Instance UID that is no other source's mirrored output; else its mirrored path, where nothing is.

    Parameters
    ----------
    sources, destination
        What was named on the command line.
    after
        Begin behind this one, which need not be there any more.
    """
    lonely: list[Item] = []
    for item in discover(sources, destination, after=after):
        if item.output.exists():
            yield item
        else:
            lonely.append(item)
    left = dict.fromkeys(unclaimed(sources, destination))
    by_uid: dict[str, Path] = {}
    for path in left if lonely else ():
        by_uid.setdefault(_instance(path), path)
    by_uid.pop("", None)
    for item in lonely:
        renamed = by_uid.pop(_instance(item.source), None) if by_uid else None
        if renamed is None:
            yield item
        else:
            del left[renamed]
            yield Item(item.source, renamed)
    for path in left:
        yield Item(path, path)


def _instance(path: Path) -> str:
    """Return the SOP Instance UID of a file, empty where it has none that can be read."""
    try:
        with Source(path, scan=False) as source:
            return source.text(_SOP_INSTANCE)
    except CinemillError:
        return ""
