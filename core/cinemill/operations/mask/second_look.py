"""A second look at outputs: what of the text that is still seen in their pixels should not be there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cinemill.operations.mask.detect import seen_text

if TYPE_CHECKING:
    from cinemill.dicom.source import Source

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    rf"(?<!\d)(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])|\d{{1,2}}[-./]\d{{1,2}}[-./](?:\d\d){{1,2}}"
    rf"|\d{{1,2}}[- .]?(?:{_MONTHS})[a-z]*[- .]?(?:\d\d){{1,2}})(?!\d)",
    re.IGNORECASE,
)


def look_for(stands_in: Callable[[str], bool]) -> Callable[[Source], Iterator[str]]:
    """Return what reads the text in an output's pixels, and tells the kinds of what it finds: ``original`` and ``date``.

    Parameters
    ----------
    stands_in
        Whether the name or number of somebody stands in a text.
    """

    def look(source: Source) -> Iterator[str]:
        for text in seen_text(source):
            if stands_in(text):
                yield "original"
            elif _DATE.search(text):
                yield "date"

    return look
