"""The paths of outputs, from their new UIDs: names of files and directories identify patients as headers do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.dicom.elements import walk
from cinemill.dicom.part10 import read_part10, text_of
from cinemill.errors import CinemillError
from cinemill.operations.deidentify.values import is_registered
from cinemill.storage.tree import Item, discover, mirrored

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

_INSTANCE, _STUDY, _SERIES = 0x00080018, 0x0020000D, 0x0020000E
_LEVELS = _STUDY, _SERIES, _INSTANCE
_LONGEST = 64


def placed(
    sources: Sequence[Path], destination: Path, key: Key, *, retained: bool, after: Item | None
) -> Iterator[Item]:
    """Yield the instances, each with its output: DST/study/series/instance.dcm, or the one file that was named.

    Parameters
    ----------
    sources, destination
        What was named on the command line.
    key
        Makes the UIDs.
    retained
        Whether they are the sources'.
    after
        Begin behind this one, which need not be there any more.
    """
    if after is not None:
        after = _as_discovered(after, sources, destination)
    for item in discover(sources, destination, after=after):
        if item.output == destination and not destination.is_dir():
            yield item
        else:
            yield Item(item.source, destination / name_of(item.source, key, retained=retained))


def _as_discovered(after: Item, sources: Sequence[Path], destination: Path) -> Item:
    """Return an item as the tree has it, with an output of its own name."""
    for source in sources:
        if after.source.is_relative_to(source):
            below = after.source.relative_to(source)
            for root in (destination, destination / source.name):
                item = Item(after.source, root / below)
                if mirrored(item, sources, destination):
                    return item
    return after


def name_of(source: Path, key: Key, *, retained: bool) -> Path:
    """Return the place of an output below its destination; what has no UIDs is named by a keyed digest of its path.

    Parameters
    ----------
    source
        The file.
    key
        Makes the UIDs.
    retained
        Whether they are the source's.
    """
    try:
        uids = [_safe(uid) and (uid if retained else _replaced(uid, key)) for uid in _uids(source)]
    except CinemillError:
        uids = []
    if not uids or not all(uids):
        digest = key.digest("path", os.fsencode(source)).partition(":")[2]
        return Path("unnamed") / f"{digest}.dcm"
    study, series, instance = uids
    return Path(study) / series / f"{instance}.dcm"


def _uids(source: Path) -> list[str]:
    """Return Study, Series and SOP Instance UID; the rest of the file is not read."""
    opened = read_part10(source, None, [])
    found = dict.fromkeys(_LEVELS, "")
    for element in walk(opened.data, opened.start, len(opened.data), opened.encoding):
        if element.tag in found:
            found[element.tag] = text_of(opened.data, element)
        if element.tag >= _SERIES:
            break
    return list(found.values())


def _replaced(uid: str, key: Key) -> str:
    return uid if is_registered(uid) else key.uid(uid)


def _safe(uid: str) -> str:
    """Return a UID that can be a name, else nothing."""
    return uid if uid and len(uid) <= _LONGEST and set(uid) <= set("0123456789.") and uid.strip(".") else ""
