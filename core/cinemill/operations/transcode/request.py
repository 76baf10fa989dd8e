"""What can be asked of `cinemill.transcode`: its options, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, option, overwriting

Colour: TypeAlias = Literal["auto", "keep", "rgb"]
Level: TypeAlias = Literal["full", "independent", "sample", "none"]

TARGETS = ", ".join(str(target.name) for target in syntaxes.TARGETS)


@dataclass(frozen=True, slots=True)
class Transcode(Operation):
    """What is asked of every instance: see `cinemill.transcode`. The target is kept as its UID."""

    kind: ClassVar[str] = "transcode"
    body: ClassVar[str] = "cinemill.operations.transcode.transcode"
    about: ClassVar[str] = """Transcode DICOM files losslessly and verify every frame.

    Sources are never touched. A directory is mirrored below DST over all cores. Finished outputs are recognised, so
    the same command goes on where it was stopped.
    """
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    to: str = option(metavar="TARGET", help=f"{TARGETS}; or a UID or keyword.")
    colour: Colour = option(
        "auto", help="auto: RGB where the IOD asks for it, and in RLE; keep: as coded; rgb: always RGB."
    )
    verify: Level = option(
        "full",
        help="full: decode every written frame; independent: by another implementation; sample: every 16th frame.",
    )
    overwrite: bool = overwriting()
    repair: bool = option(
        default=False, help="Correct Number of Frames from what is there; drop junk behind the pixel data."
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", syntaxes.target(self.to).uid)
        for what, value, known in (
            ("colour policy", self.colour, get_args(Colour)),
            ("verification", self.verify, get_args(Level)),
        ):
            if value not in known:
                raise UsageError(f"unknown {what} {value!r}; choose one of {', '.join(known)}")

    @property
    def target(self) -> syntaxes.TransferSyntax:
        """The transfer syntax of the outputs."""
        return syntaxes.target(self.to)
