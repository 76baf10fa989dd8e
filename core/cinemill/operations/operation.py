"""What an operation is: options declared once, the instances it finds, and what it does to one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, field, fields
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from cinemill.errors import Cancelled
from cinemill.processors import processors
from cinemill.storage.names import Places
from cinemill.storage.tree import Item, discover, mirrored

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt

_LIKE_A_FILE = re.compile(r"\.(?=.*[a-z].*[a-z])[a-z0-9]{2,5}", re.IGNORECASE)


class Control(NamedTuple):
    """How one instance is worked on, whatever is done to it.

    Attributes
    ----------
    threads
        Frames under way at once; all cores by default.
    cancelled
        Polled between frames; True stops the work and leaves nothing behind.
    progress
        Called with frames done and frames in all.
    """

    threads: int | None = None
    cancelled: Callable[[], bool] | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def cores(self) -> int:
        """Threads to use."""
        return self.threads or processors()

    def cores_for(self, frames: int) -> int:
        """Threads to use for so many frames: one of them is worked on where it is asked for."""
        return min(self.cores, max(frames, 1))

    def check(self, left: str = "nothing was written") -> None:
        """Raise `Cancelled` where that was asked for, with what is left of the work.

        Raises
        ------
        Cancelled
            It was asked for.
        """
        if self.cancelled is not None and self.cancelled():
            raise Cancelled(f"stopped on request; {left}")

    def advance(self, done: int, frames: int) -> None:
        """Tell whoever wants to know how many frames are done, of how many."""
        if self.progress is not None:
            self.progress(done, frames)


class Option(NamedTuple):
    """How the command line has one option.

    Attributes
    ----------
    help
        What users read.
    names
        Where they are not the field's name: ``--format``, ``-f``.
    metavar
        Stands for the value in the help.
    least
        Smallest value.
    read
        Makes the value of what was typed.
    offered
        Values that shells complete; others may be valid too.
    flags
        A flag for each value, with its help, in place of the option; None is the value where none is given.
    """

    help: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    least: int | None = None
    read: Callable[[str], Any] | None = None
    offered: tuple[str, ...] = ()
    flags: Mapping[str, str] = MappingProxyType({})


def option(default: Any, *, help: str = "", **how: Any) -> Any:  # noqa: A002
    """Declare a field that is an option of the command line.

    Parameters
    ----------
    default
        What it is where the option is not given.
    help
        What users read.
    **how
        See `Option`.
    """
    return field(default=default, metadata={"option": Option(help, **how)})


def overwriting() -> Any:
    """Declare the option to replace outputs."""
    return option(default=False, help="Replace outputs that are there.")


def options_of(operation: type[Operation]) -> dict[str, tuple[Field[Any], Option]]:
    """Return the fields of an operation that the command line has, by name."""
    return {
        each.name: (each, each.metadata["option"])
        for each in fields(operation)  # type: ignore[arg-type]
        if "option" in each.metadata
    }


class Operation:
    """Base of operations: frozen dataclasses of plain values, which processes and queues can carry.

    A field that is made by `option` is a parameter of the command, and of ``submit``.

    Attributes
    ----------
    kind
        Name of the command, and of the job.
    about
        Help of the command.
    examples
        Commands that its help ends with.
    destination
        Help of its last argument.
    body
        The module whose ``run(operation, src, dst, control)`` does it, loaded when there is something to do.
    only_reads
        Whether nothing is ever written to the destination, so that a run that was stopped begins anew.
    mirrors
        Whether every source has one output of its own name.
    into_folders
        Whether the outputs of a source get a directory, of their own where names would clash: see `Places`.
    meets
        Whether small instances are worked on several at a time: see `cinemill.codecs.together`.
    """

    __slots__ = ()

    kind: ClassVar[str]
    about: ClassVar[str]
    examples: ClassVar[tuple[str, ...]] = ()
    destination: ClassVar[str]
    body: ClassVar[str]
    only_reads: ClassVar[bool] = False
    mirrors: ClassVar[bool] = False
    into_folders: ClassVar[bool] = False
    meets: ClassVar[bool] = False

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Self:  # noqa: ARG002
        """Return the same for these sources, told what their destination is.

        Raises
        ------
        UsageError
            The destination can't be one for these sources.
        """
        return self

    def check_here(self) -> None:
        """See that what it needs is on this machine.

        Raises
        ------
        UsageError
            It is not.
        """

    def in_bulk(self) -> Self:
        """Return the same for directories and jobs, where nobody looks at each instance."""
        return self

    def reported(self) -> Self:
        """Return the same for a run whose receipts are read: its report has what is not worth its time elsewhere."""
        return self

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Find the instances, each with the place of its output: see `cinemill.storage.tree.discover`.

        Parameters
        ----------
        sources, destination
            What was named on the command line.
        after
            Begin behind this one, which need not be there any more.
        """
        find = _discover_into_folders if self.into_folders else discover
        return find(sources, destination, after=after)

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """Do it to one instance.

        Parameters
        ----------
        src, dst
            Source file, and the place of its output.
        control
            Threads, cancellation and progress.
        """
        receipt: Receipt = import_module(self.body).run(self, src, dst, control)
        return receipt

    def published(self, receipt: Receipt) -> Receipt:
        """Return a receipt as reports, the queue and callers get it."""
        return receipt

    def settle(self, receipt: Receipt) -> Receipt:
        """Do what is to be done about an instance that was refused, failed or is foreign; return its receipt."""
        return receipt


class CopiesRest(Operation):
    """Base of operations whose option `copy_rest` has the source copied where there is no output."""

    __slots__ = ()

    overwrite: bool
    preserve: bool
    copy_rest: bool

    def settle(self, receipt: Receipt) -> Receipt:
        """Copy the source of an instance that was refused, failed or is not DICOM, if that was asked for."""
        if not self.copy_rest:
            return receipt
        from cinemill.operations.copies import settle

        return settle(receipt, overwrite=self.overwrite, preserve=self.preserve)


class Run(Protocol):
    """Does an operation to items over processes: see `cinemill.batch.run_all`."""

    def __call__(
        self, items: Iterator[Item], operation: Operation, *, jobs: int, stop: Callable[[], bool]
    ) -> Iterator[Receipt]:
        """Yield a receipt for each item."""


def _discover_into_folders(
    sources: Sequence[Path], destination: Path, *, after: Item | None = None
) -> Iterator[Item]:
    """Yield the instances, each with the directory of its outputs, or the destination itself for a single one."""
    places = Places()
    if after is not None:
        nearby = [
            Item(after.source, folder / after.source.name) for folder in (after.output, after.output.parent)
        ]
        after = next((item for item in nearby if mirrored(item, sources, destination)), after)
        places.recall(after.source, after.output.parent)
    for item in discover(sources, destination, after=after):
        single = item.output == destination
        yield item if single else Item(item.source, places.find(item.source.name, item.output.parent))


def looks_like_a_file(destination: Path) -> bool:
    """Whether a path that is no directory yet ends like a file, ``.avi``, and not as ``.2`` or ``.v2``."""
    return _LIKE_A_FILE.fullmatch(destination.suffix) is not None and not destination.is_dir()
