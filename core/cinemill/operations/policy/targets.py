"""What is wanted of an output: one target, the best of some, the smallest of all, or the fastest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.operations.policy.readers import readable
from cinemill.syntaxes import TransferSyntax

Best: TypeAlias = Literal["smallest", "fastest"]

_PLAIN = frozenset(("native", "encapsulated-uncompressed"))
"""Codings that compress nothing by themselves."""


class Wanted(NamedTuple):
    """The targets of which one is to be chosen.

    Attributes
    ----------
    targets
        In the order in which they are preferred.
    best
        What decides where there are several.
    every
        Whether no target was named.
    """

    targets: tuple[TransferSyntax, ...]
    best: Best = "smallest"
    every: bool = False

    def __str__(self) -> str:
        """As it is typed, by UIDs."""
        return self.best if self.every else ",".join(row.uid for row in self.targets)

    @property
    def named(self) -> str:
        """In short names."""
        return self.best if self.every else ", ".join(map(str, self.targets))

    def within(self, allowed: Iterable[TransferSyntax]) -> Wanted:
        """Return the same with only those targets that are allowed."""
        kept = frozenset(allowed)
        return self._replace(targets=tuple(row for row in self.targets if row in kept))


def read_wanted(text: str) -> Wanted:
    """Read what is typed behind ``--to``: a target, some with commas between, ``smallest`` or ``fastest``.

    Raises
    ------
    UnknownTarget
        A name is that of nothing that can be written.
    UsageError
        There is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("expected a target")
    if len(names) == 1 and names[0] == "smallest":
        return Wanted(syntaxes.TARGETS, every=True)
    if len(names) == 1 and names[0] == "fastest":
        return Wanted(
            tuple(row for row in syntaxes.TARGETS if row.coding not in _PLAIN), "fastest", every=True
        )
    return Wanted(tuple(dict.fromkeys(map(syntaxes.target, names))))


def recompression(readable_by: str) -> tuple[TransferSyntax, ...]:
    """Return the target for JPEG codestreams in small, if it can be written and these readers read it."""
    allowed = readable(readable_by)
    return tuple(row for row in syntaxes.TARGETS if row.of_jpeg and row in allowed)
