"""What can be asked of `cinemill.transcode`: its options, each declared once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, option, overwriting

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt

Colour: TypeAlias = Literal["auto", "keep", "rgb"]
Level: TypeAlias = Literal["full", "independent", "sample", "none"]

NAMES = tuple(str(target.name) for target in syntaxes.TARGETS)
TARGETS = ", ".join(NAMES)

_NOT_THE_SOURCES = frozenset(("UsageError", "NoRoom", "OutputError", "OutputExists"))
"""Kinds of errors that a copy would meet as well."""


@dataclass(frozen=True, slots=True)
class Transcode(Operation):
    """What is asked of every instance: see `cinemill.transcode`. The target is kept as its UID."""

    kind: ClassVar[str] = "transcode"
    body: ClassVar[str] = "cinemill.operations.transcode.transcode"
    mirrors: ClassVar[bool] = True
    about: ClassVar[str] = """Transcode DICOM files losslessly and verify every frame.

    Sources are never touched. A directory is mirrored below DST over all cores. Finished outputs are recognised, so
    the same command goes on where it was stopped; those of sources that changed since are made anew.
    """
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    to: str = option(metavar="TARGET", help=f"{TARGETS}; or a UID or keyword.", offered=NAMES)
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

    recheck: bool = option(
        default=False, help="Read finished outputs that are there, and make damaged ones anew."
    )
    preserve: bool = option(default=True, help="Keep the mode and time of sources.")
    copy_rest: bool = option(
        default=False, help="Copy what is refused, fails or is not DICOM unchanged, beside its error."
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

    def settle(self, receipt: Receipt) -> Receipt:
        """Copy the source of an instance that was refused, failed or is not DICOM, if that was asked for."""
        if not self.copy_rest or receipt.error is None or receipt.error["kind"] in _NOT_THE_SOURCES:
            return receipt
        from cinemill.operations.copies import copy_rest

        told = copy_rest(receipt, overwrite=self.overwrite, preserve=self.preserve)
        return replace(receipt, warnings=(*receipt.warnings, told))
