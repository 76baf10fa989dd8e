"""Text for terminals: names and paths may hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return one line in which everything is escaped that a terminal would obey, or could not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
