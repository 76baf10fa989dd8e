"""When a job may run: a daily window of local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import Self

from cinemill.errors import UsageError


@dataclass(frozen=True)
class Window:
    """A span of the day, e.g. ``20:00-06:00``; one that ends before it begins goes over midnight."""

    begin: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HH:MM-HH:MM``.

        Raises
        ------
        UsageError
            The text is something else, or the span is empty.
        """
        found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text)
        try:
            begin, end = (time.fromisoformat(part) for part in found.groups()) if found else (time(), time())
        except ValueError:
            begin = end = time()
        if begin == end:
            raise UsageError(f"expected a window such as 20:00-06:00, found {text!r}")
        return cls(begin, end)

    def __contains__(self, moment: time) -> bool:
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end
