"""What can be asked of `cinemill.verify`: its options, each declared once, and which output belongs to which source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, option
from cinemill.storage.tree import Item


@dataclass(frozen=True, slots=True)
class Verify(Operation):
    """What is asked of every pair: see `cinemill.verify`."""

    kind: ClassVar[str] = "verify"
    body: ClassVar[str] = "cinemill.operations.verify.verify"
    only_reads: ClassVar[bool] = True
    about: ClassVar[str] = """Prove that outputs hold what their sources hold.

    Nothing is written. Every source has its output, of the same path below DST or else of the same SOP Instance UID; samples,
    frame by frame, and all other elements are equal, but for what transcoding changes by rule; no instance is too much. The
    outputs may be those of other programs. Exit code 1 if anything is wrong.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill verify /archive/2019 /archive/2019-small --report proof.jsonl",
        "cinemill verify echo.dcm echo.jls.dcm",
    )
    destination: ClassVar[str] = "The output (of one SRC file), or the directory of the outputs."

    repair: bool = option(default=False, help="Read sources as transcode --repair does.")

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Self:
        """Return the same, for there are outputs.

        Raises
        ------
        UsageError
            The directory of the outputs is missing.
        """
        if not destination.is_dir() and (len(sources) > 1 or any(source.is_dir() for source in sources)):
            raise UsageError("no such directory, so there are no outputs; check the path", path=destination)
        return self

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Yield sources with their outputs, then sources without, then outputs without, each of which is its own source.

        Parameters
        ----------
        sources, destination
            What was named on the command line.
        after
            Begin behind this one, which need not be there any more.
        """
        from cinemill.operations.verify.pairs import paired

        return paired(sources, destination, after=after)
