"""What can be asked of `cinemill.split`: its options, each declared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, looks_like_a_file, option


@dataclass(frozen=True, slots=True)
class Split(Operation):
    """How long the parts of every instance may be: see `cinemill.split`."""

    kind: ClassVar[str] = "split"
    body: ClassVar[str] = "cinemill.operations.split.split"
    into_folders: ClassVar[bool] = True
    about: ClassVar[str] = """Cut long cines into several instances, decoding nothing.

    The parts of a cine are written to DST/<name>_0001.dcm …; a directory is mirrored below DST. The name is that of the
    source without .dcm. Parts that are there already are kept.
    """
    examples: ClassVar[tuple[str, ...]] = ("cinemill split echo.dcm parts/ --frames-per-instance 100",)
    destination: ClassVar[str] = "The directory for the parts."

    frames_per_instance: int | None = option(None, least=1, metavar="N", help="Most frames of a part.")
    max_bytes: int | None = option(
        None, least=1, help="Most bytes of a part's encoded frames; a larger frame is a part of its own."
    )

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.frames_per_instance, self.max_bytes) if limit is not None]
        if len(limits) != 1 or limits[0] < 1:
            raise UsageError(
                "give either the frames or the bytes per instance, at least 1: --frames-per-instance or --max-bytes"
            )

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Self:  # noqa: ARG002
        """Return the same, for parts get a directory.

        Raises
        ------
        UsageError
            The destination has the name of a file.
        """
        if looks_like_a_file(destination):
            raise UsageError(
                "the parts of a cine get a directory; name one, or make one of this name first",
                path=destination,
            )
        return self
