"""What can be asked of `cinemill.dataset`: its options, each declared once, and whether they fit together."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from cinemill._version import __version__
from cinemill.errors import UsageError
from cinemill.operations.dataset.splits import Splits, read_splits
from cinemill.operations.dataset.words import Fit, Format, Short, Which
from cinemill.operations.operation import Operation, looks_like_a_file, option, overwriting

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

_LARGEST = 4096
_LONGEST = 10_000
_ELSEWHERE = ("key", "index", "where", "overwrite", "shard_size")
"""Options on which a clip does not depend; the key counts by its fingerprint."""


def _read_size(text: str) -> tuple[int, int]:
    columns, cross, rows = text.lower().partition("x")
    if not (cross and columns.isdecimal() and rows.isdecimal()):
        raise UsageError(f"can't read --size {text!r}; expected e.g. 224x224")
    return int(columns), int(rows)


@dataclass(frozen=True, slots=True)
class MakeClips(Operation):
    """What clips are made of each instance, and how: plain values, which processes can carry.

    Attributes
    ----------
    format
        ``webdataset``: tar files (shards) of many clips; ``npz`` and ``mp4``: one file for each clip; ``zarr``: one array
        for each split.
    frames
        Frames of each cine that may be used, in the notation of `cinemill.extract`; empty: all.
    size
        Columns and rows of a clip.
    fit
        ``contain``: all of the region, with black beside it; ``cover``: its middle, which fills the clip.
    fps
        Frames per second of a clip: those of the cine that are nearest in true time.
    seconds
        Length of a clip.
    clips
        Which of the clips that fit into a cine one after the other: ``all``, the ``first``, or the one in the ``middle``.
    short
        For a cine that is shorter than a clip: ``pad`` with black frames, ``loop`` it, or ``skip`` it.
    regions
        Which 2D regions: the ``largest``, or ``each`` that does not lie in a larger one.
    no_regions
        For an image without regions: ``skip`` it, or take the ``whole`` image.
    untimed
        For a cine without frame times: ``skip`` it, or take its frames one after the other, ``as-is``.
    colour
        ``rgb``, or ``grey`` by the weights of ITU-R BT.601.
    fan_mask
        Find the fan, and write a mask of it with each clip.
    mask_outside_regions
        Blacken what lies outside the fan, or outside the region if no fan is found.
    fan_confidence
        A fan found with less confidence, 0 to 1, counts as not found.
    no_fan
        If no fan is found: ``keep`` the clip, with all of the region as its mask, or ``skip`` it.
    deidentified
        ``required``: only instances whose Patient Identity Removed is YES; ``off``: all.
    split
        Such as ``patient:0.8,0.1,0.1``: shares of training, validation and test, divided by patient.
    key
        File with the key from which pseudonyms of patients are derived; `split` needs it.
    shard_size
        Maximum size of a shard in megabytes; a larger clip gets a shard of its own.
    index, where
        An index made by `cinemill.index`, and an SQL condition on its columns that selects the instances.
    overwrite
        Replace a data set that exists.
    """

    kind: ClassVar[str] = "dataset"
    body: ClassVar[str] = "cinemill.operations.dataset.clips"
    about: ClassVar[str] = """Make a data set for training: clips of regions that hold 2D.

    Frames are chosen by their true times, scaled alike in both directions, and written with a manifest that says where
    each comes from and what a pixel measures. DST appears as a whole or not at all; the same command goes on where it was
    stopped, and gives the same bytes again.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill dataset /research clips --fan-mask --mask-outside-regions",
        "cinemill dataset /research clips --split patient:0.8,0.1,0.1 --key study.key",
    )
    destination: ClassVar[str] = "The directory of the data set."

    format: Format = option("webdataset", names=("--format", "-f"), help="How clips are written.")
    frames: str = option(
        "", metavar="LIST", help="Frames of each cine that may be used, e.g. 10:; default: all."
    )
    size: str | tuple[int, int] = option(
        "224x224", metavar="WxH", read=_read_size, help="Width and height; default: 224x224."
    )
    fit: Fit = option("contain", help="contain: all of a region, black beside it; cover: its middle.")
    fps: float = option(30.0, least=0, metavar="RATE", help="Frames a second; default: 30.")
    seconds: float = option(3.0, least=0, metavar="SECONDS", help="Length of a clip; default: 3.")
    clips: Which = option("all", help="Which of the clips that fit into a cine, one after the other.")
    short: Short = option("pad", help="A cine shorter than a clip: black frames, begin anew, or none.")
    regions: Literal["largest", "each"] = option("largest", help="Which regions that hold 2D.")
    no_regions: Literal["skip", "whole"] = option(
        "skip", help="An image without regions: none, or all of it."
    )
    untimed: Literal["skip", "as-is"] = option("skip", help="A cine without frame times: none, or as it is.")
    colour: Literal["rgb", "grey"] = option("rgb", help="Colour space of clips.")
    fan_mask: bool = option(default=False, help="Find the fan, and write a mask of it.")
    mask_outside_regions: bool = option(
        default=False, help="Blacken what lies outside the fan; outside the region where none is found."
    )
    fan_confidence: float = option(0.8, least=0, metavar="SHARE", help="Least of a fan; default: 0.8.")
    no_fan: Literal["keep", "skip"] = option(
        "keep", help="Where no fan is found: the region is its mask, or none."
    )
    deidentified: Literal["required", "off"] = option(
        "required", help="required: take only what says Patient Identity Removed."
    )
    split: str = option("", metavar="SPLIT", help="patient:0.8,0.1,0.1 for training, validation and test.")
    key: str | os.PathLike[str] = option("", metavar="FILE", help="The key; `cinemill key new` makes one.")
    shard_size: int = option(512, least=1, metavar="MB", help="Most megabytes of a shard; default: 512.")
    index: str | os.PathLike[str] = option(
        "", metavar="FILE", help="Take instances from this index: .parquet, .csv or .sqlite."
    )
    where: str = option("", metavar="SQL", help="Condition on the columns of the index.")
    overwrite: bool = overwriting()

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "size", _read_size(self.size) if isinstance(self.size, str) else tuple(self.size)
        )
        for name in ("key", "index"):
            path = getattr(self, name)
            object.__setattr__(self, name, str(Path(path).absolute()) if path else "")
        for name in ("fps", "seconds", "fan_confidence"):
            object.__setattr__(self, name, float(getattr(self, name)))
        self._check_choices()
        columns, rows = self.shape
        if not (min(columns, rows) >= 1 and max(columns, rows) <= _LARGEST):
            raise UsageError(f"--size is {columns}x{rows}, expected 1 to {_LARGEST} pixels")
        for name in ("fps", "seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"--{name} is {value:g}, expected more than 0")
        if not 1 <= self.length <= _LONGEST:
            raise UsageError(
                f"--fps {self.fps:g} for --seconds {self.seconds:g} are {self.length} frames, expected 1 to {_LONGEST}"
            )
        if not 0 <= self.fan_confidence <= 1:
            raise UsageError(f"--fan-confidence is {self.fan_confidence:g}, expected 0 to 1")
        if self.frames:
            from cinemill.frames.selection import read_numbers

            read_numbers(self.frames)
        if self.split and not self.key:
            raise UsageError("--split needs a key: name one with --key; `cinemill key new FILE` makes one")
        if self.where and not self.index:
            raise UsageError("--where is a condition on an index; name one with --index")
        read_splits(self.split)

    def _check_choices(self) -> None:
        hints = get_type_hints(type(self))
        for each in fields(self):
            choices = get_args(hints[each.name])
            if get_origin(hints[each.name]) is Literal and getattr(self, each.name) not in choices:
                typed = each.name.replace("_", "-")
                raise UsageError(
                    f"unknown --{typed} {getattr(self, each.name)!r}; choose one of {', '.join(choices)}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of a clip."""
        return _read_size(self.size) if isinstance(self.size, str) else self.size

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return round(self.fps * self.seconds)

    @property
    def looks_for_fans(self) -> bool:
        """Whether anything depends on the fan."""
        return self.fan_mask or self.mask_outside_regions or self.no_fan == "skip"

    @property
    def splits(self) -> Splits:
        """What clips are divided into."""
        return read_splits(self.split)

    def secret(self) -> Key | None:
        """Return the key, None where none was named."""
        from cinemill.operations.deidentify.keys import read_key

        return read_key(self.key) if self.key else None

    def told(self) -> dict[str, Any]:
        """Return what clips depend on, as JSON-ready values: the options, and versions of what makes them."""
        import numpy as np
        from PIL import __version__ as pillow

        options = {name: value for name, value in asdict(self).items() if name not in _ELSEWHERE}
        secret = self.secret()
        return {
            "cinemill": __version__,
            "numpy": np.__version__,
            "pillow": pillow,
            "key": None if secret is None else secret.fingerprint,
            "options": {**options, "size": list(self.shape)},
        }

    def digest(self) -> str:
        """Return a digest of what clips depend on."""
        import xxhash

        return xxhash.xxh3_128_hexdigest(json.dumps(self.told(), sort_keys=True).encode())

    def check_destination(self, destination: Path) -> None:
        """Check that a data set can stand there.

        Raises
        ------
        UsageError
            It has the name of a file, or is one.
        """
        if looks_like_a_file(destination) or destination.is_file():
            raise UsageError("a data set is a directory; name one", path=destination)
