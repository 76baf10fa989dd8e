"""What can be asked of `cinemill.restore`: its options, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cinemill.operations.operation import Operation, option, overwriting


@dataclass(frozen=True, slots=True)
class Restore(Operation):
    """How the JPEGs of every instance are given back: see `cinemill.restore`."""

    kind: ClassVar[str] = "restore"
    body: ClassVar[str] = "cinemill.operations.restore.restore"
    mirrors: ClassVar[bool] = True
    about: ClassVar[
        str
    ] = """Give back the JPEGs that transcode --to jpeg-xl-jpeg recompressed, byte for byte.

    Each is compared with the digest that was recorded of it; what differs is not written. Files in other transfer
    syntaxes are copied unchanged, so that a restored directory is complete.
    """
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    overwrite: bool = overwriting()
    recheck: bool = option(
        default=False, help="Read finished outputs that are there, and make damaged ones anew."
    )
    preserve: bool = option(default=True, help="Keep the mode and time of sources.")
