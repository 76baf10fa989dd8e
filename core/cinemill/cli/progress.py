"""What is shown while a run goes on: nothing for a moment, then a bar on standard error where that is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from cinemill.cli.show import Bar
    from cinemill.operations.receipt import Receipt
    from cinemill.storage.tree import Item

_PATIENCE = 0.5
"""Seconds after which the bar is drawn: to import what draws it takes as long as a small file."""


def say(line: str, lead: str = "", colour: str | None = None) -> None:
    """Print a line on standard error.

    Parameters
    ----------
    line
        Which begins with ``lead``.
    lead
        What has a colour.
    colour
        See `click.style`.
    """
    click.echo(click.style(lead, colour) + line.removeprefix(lead) if colour else line, err=True)


def between_lines(*, as_json: bool) -> bool:
    """Whether a bar would stand between lines of JSON, since both go to the terminal."""
    return as_json and sys.stdout.isatty()


class LateBar:
    """A progress bar that is drawn once a run has taken a moment, and told then what it has missed.

    Parameters
    ----------
    measure
        Counts instances and their bytes, on a thread of its own.
    hidden
        Whether nothing is to be shown.
    """

    def __init__(self, measure: Callable[[], tuple[int, int]], *, hidden: bool = False) -> None:
        self._measure = measure
        self._timer: threading.Timer | None = None
        if not hidden and sys.stderr.isatty():
            self._timer = threading.Timer(_PATIENCE, self._draw)
        self._bar: Bar | None = None
        self._missed: list[tuple[str, tuple[Any, ...]]] = []
        self._lock = threading.RLock()
        self._drawn = ExitStack()
        self._over = False

    def frames(self, item: Item, done: int, frames: int) -> None:
        """Show how far a long instance is."""
        self._tell("frames", item, done, frames)

    def advance(self, receipt: Receipt) -> None:
        """Count a finished instance."""
        self._tell("advance", receipt)

    def compiling(self, kernel: str) -> None:
        """Show which kernel is compiled, which takes seconds; without a terminal, say so once."""
        self._draw()
        self._tell("compiling", kernel)

    def say(self, line: str, lead: str = "", colour: str | None = None) -> None:
        """Print a line above the bar: see `say`."""
        with self._lock:
            if self._bar is None:
                say(line, lead, colour)
            else:
                self._bar.say(line, lead, colour)

    def _tell(self, what: str, *arguments: Any) -> None:
        with self._lock:
            if self._bar is not None:
                getattr(self._bar, what)(*arguments)
            elif self._timer is not None and not self._over:
                self._missed.append((what, arguments))

    def _draw(self) -> None:
        from cinemill.cli.show import bar

        with self._lock:
            if self._bar is not None or self._over:
                return
            self._bar = self._drawn.enter_context(bar())
            for what, arguments in self._missed:
                getattr(self._bar, what)(*arguments)
        if self._timer is not None:
            threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        self._tell("total", *self._measure())

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._over = True
            self._bar, self._missed = None, []
            self._drawn.close()
