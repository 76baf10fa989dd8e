"""Masks one file as the command does it, without anything else that deidentifying does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cinemill import syntaxes
from cinemill.operations.instance import of_source
from cinemill.operations.mask.masks import Mask
from cinemill.operations.mask.write import write_masked
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.request import Transcode


def mask_file(
    src: Path, dst: Path, *boxes: tuple[int, int, int, int], to: str = "", **options: Any
) -> Receipt:
    """Blacken rectangles, given as left, top, right and bottom."""
    request = Transcode(
        colour=options.pop("colour", "auto"),
        verify=options.pop("verify", "full"),
        collapse_grey=options.pop("collapse_grey", False),
    )
    target = syntaxes.target(to) if to else None
    control = Control(threads=options.pop("threads", 2))
    return of_source(
        src,
        dst,
        lambda source: write_masked(
            Origin(source, {}), dst, request, control, Mask(boxes, "rect"), target=target, **options
        ),
    )
