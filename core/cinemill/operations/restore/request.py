"""What can be asked of `cinemill.restore`: its options, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cinemill.operations.operation import CopiesRest, option, overwriting


@dataclass(frozen=True, slots=True)
class Restore(CopiesRest):
    """How the JPEGs of every instance are given back: see `cinemill.restore`."""

    kind: ClassVar[str] = "restore"
    body: ClassVar[str] = "cinemill.operations.restore.restore"
    mirrors: ClassVar[bool] = True
    about: ClassVar[str] = """Give recompressed JPEGs back, byte for byte, and prove them.

    They are those of transcode --lossy-source jpeg-xl, or --to jpeg-xl-jpeg. All are compared with the digest that was
    recorded of them; what differs is not written. Files in other transfer syntaxes are copied unchanged, so that a
    restored directory is complete.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill transcode /archive/2019 /archive/2019-jxl --lossy-source jpeg-xl",
        "cinemill restore /archive/2019-jxl /archive/2019-again",
    )
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    overwrite: bool = overwriting()
    recheck: bool = option(
        default=False, help="Read finished outputs that are there, and make damaged ones anew."
    )
    preserve: bool = option(default=True, help="Keep the mode and time of sources.")
    copy_rest: bool = option(
        default=False, help="Copy what is refused, fails or is not DICOM unchanged, beside its error."
    )
