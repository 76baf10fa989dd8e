"""What can be asked of `cinemill.extract`: its options, each declared once, and whether they fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

from cinemill.errors import UsageError
from cinemill.operations.extract import formats
from cinemill.operations.extract.formats import Format, Mode
from cinemill.operations.operation import Operation, looks_like_a_file, option, overwriting
from cinemill.operations.policy.words import Colour

Window: TypeAlias = tuple[float, float] | Literal["auto"]
"""Centre and width, or ``auto``: the header's where it has one, else from the least to the greatest value of the cine."""

NAMES = tuple(row.name for row in formats.FORMATS)
FORMATS = ", ".join(NAMES)


def _pair(text: str, separator: str, what: str, example: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.lower().split(separator))
    except ValueError:
        raise UsageError(f"can't read {what} {text!r}; expected e.g. {example}") from None
    return first, second


def _read_window(text: str) -> Window:
    return "auto" if text == "auto" else _pair(text, ",", "the window", "40,400")


def _read_size(text: str) -> tuple[int, int]:
    width, height = _pair(text, "x", "--size", "640x480")
    if not (width.is_integer() and height.is_integer()):
        raise UsageError(f"can't read --size {text!r}; expected e.g. 640x480")
    return int(width), int(height)


def _read_duration(text: str) -> float:
    """Return milliseconds."""
    from cinemill.frames.selection import milliseconds

    value = milliseconds(text)
    if not text.strip().endswith("s"):
        raise UsageError(f"--every {text} has no unit; write {text}ms or {text}s")
    return value


@dataclass(frozen=True, slots=True)
class Extract(Operation):
    """What is extracted from each instance, and as what: plain values, so that a queue can carry it.

    Attributes
    ----------
    format
        Name or suffix of a row of `cinemill.operations.extract.formats.FORMATS`; empty: that of the output's name, else PNG.
    frames
        Frames by number, counted from 0: ``0,5,10-20,::2``, or a number, numbers or a slice, where -1 is the last one.
        Empty: all of them.
    every
        Instead of `frames`: time between chosen frames, in milliseconds or as text with a unit, such as ``0.5s``.
    count
        Instead of `frames`: how many, evenly spread over the cine.
    mode
        ``display``: 8-bit pictures as viewers show them; ``stored``: sample values as stored. None: ``display`` for pictures
        and video, ``stored`` for arrays.
    colour
        ``rgb`` converts YCbCr samples of arrays and codestreams to RGB, and changes nothing else: grey stays grey.
        ``auto`` and ``keep`` leave stored samples in the colour space that is coded. Pictures and video are RGB.
    window
        Window centre and width, instead of the header's. ``auto``: the header's where it has a window, else from the least
        to the greatest value of all frames of the cine, without Pixel Padding Value.
    voi
        Which of the VOI LUTs or windows of the header, counted from 0.
    region
        Crop to this ultrasound region, counted from 0.
    crop_to_region
        Crop to the rectangle around all regions.
    mask_outside_regions
        Blacken everything outside the regions, where names are burned in.
    size
        Width and height of the pictures in pixels; 0 for one of them keeps the aspect ratio.
    scale
        Instead of `size`: a factor for both directions.
    sidecar
        Write a JSON file that describes the frames; with it, the same extraction keeps finished outputs without decoding.
    keep_index
        Keep the offsets of the frames in a file beside the source: see `cinemill.Cine`.
    overwrite
        Replace outputs that exist.
    into_directory
        Take the output for a directory even if its name ends like that of a file.
    """

    kind: ClassVar[str] = "extract"
    body: ClassVar[str] = "cinemill.operations.extract.extract"
    into_folders: ClassVar[bool] = True
    about: ClassVar[str] = """Extract frames; only those asked for are read.

    A frame is written to DST/<name>_0017.png, all frames of a cine to DST/<name>.mp4; a directory is mirrored below
    DST. The name is that of the source without .dcm. Outputs that are there already are kept if they are the same;
    with --sidecar, that is seen without decoding anything again.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill extract echo.dcm frames/ --frames 0,5,10-20",
        "cinemill extract echo.dcm clip.mp4",
        "cinemill extract /archive /arrays --format npy --every 100ms --sidecar",
    )
    destination: ClassVar[str] = "A directory, or the one output by its name, e.g. clip.mp4."

    format: str = option(
        "",
        names=("--format", "-f"),
        metavar="FORMAT",
        help=f"{FORMATS}; default: png, or by the name of DST.",
        offered=NAMES,
    )
    frames: str | int | slice | Iterable[int] = option(
        "", metavar="LIST", help="Frames from 0, e.g. 0,5,10-20,::2; default: all."
    )
    every: float | str | None = option(
        None, metavar="TIME", help="A frame each 100ms, 0.5s, …; instead of --frames."
    )
    count: int | None = option(None, least=1, help="So many frames, evenly spread; instead of --frames.")
    mode: Mode | None = option(
        None,
        flags={
            "stored": "Sample values as stored (default for arrays).",
            "display": "8-bit pictures as displayed (default for pictures and video).",
        },
    )
    colour: Colour = option(
        "auto", help="rgb: stored samples in RGB too; auto, keep: as coded. Pictures are RGB."
    )
    window: Window | None = option(
        None,
        metavar="C,W",
        read=_read_window,
        help="Window centre and width instead of the header's; auto: least to greatest value where it has none.",
    )
    voi: int | None = option(None, least=0, help="Which of the header's VOI LUTs or windows, from 0.")
    region: int | None = option(None, least=0, help="Crop to this ultrasound region, from 0.")
    crop_to_region: bool = option(default=False, help="Crop to the rectangle around all ultrasound regions.")
    mask_outside_regions: bool = option(
        default=False, help="Blacken everything outside the ultrasound regions."
    )
    size: tuple[int, int] | None = option(
        None,
        metavar="WxH",
        read=_read_size,
        help="Scale to width and height; 0 for one of them keeps the ratio.",
    )
    scale: float | None = option(None, metavar="FACTOR", help="Scale by a factor.")
    sidecar: bool = option(default=False, help="Write a JSON file with times, regions, UIDs and digests.")
    keep_index: bool = option(
        default=False,
        names=("--index",),
        help="Keep where frames stand in .<name>.frames beside the source, and use it.",
    )
    overwrite: bool = overwriting()
    into_directory: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.frames, str):
            object.__setattr__(self, "frames", _written(self.frames))
        if isinstance(self.every, str):
            object.__setattr__(self, "every", _read_duration(self.every))
        for name in ("window", "size"):
            pair = getattr(self, name)
            object.__setattr__(self, name, pair if pair is None or isinstance(pair, str) else tuple(pair))
        self._check_values()
        if self.format:
            row = formats.find(self.format)
            object.__setattr__(self, "format", row.name)
            self.check(row)

    def _check_values(self) -> None:
        if self.frames:
            from cinemill.frames import selection

            selection.read_numbers(str(self.frames))
        for name, least in (("every", 1e-3), ("count", 1), ("scale", 1e-3)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise UsageError(f"--{name} is {value:g}, expected {least:g} or more")
        self._check_window()
        if self.colour not in get_args(Colour):
            raise UsageError(f"unknown --colour {self.colour!r}; choose one of {', '.join(get_args(Colour))}")
        if self.size is not None and (min(self.size) < 0 or max(self.size) == 0):
            raise UsageError("--size needs a width and a height, one of which may be 0")

    def _check_window(self) -> None:
        if isinstance(self.window, str):
            if self.window != "auto":
                raise UsageError(f"unknown --window {self.window!r}; expected a centre and a width, or auto")
        elif self.window is not None and not (all(map(math.isfinite, self.window)) and self.window[1] >= 1):
            raise UsageError(
                f"--window is {self.window[0]:g},{self.window[1]:g}, expected a width of 1 or more"
            )

    def check(self, row: Format) -> None:
        """Check that the options fit each other and a format.

        Raises
        ------
        UsageError
            They don't.
        """
        for names in (
            ("frames", "every", "count"),
            ("region", "crop_to_region"),
            ("size", "scale"),
            ("window", "voi"),
        ):
            values = {f"--{name.replace('_', '-')}": getattr(self, name) for name in names}
            given = [name for name, value in values.items() if value not in {None, ""} and value is not False]
            if len(given) > 1:
                raise UsageError(f"{' and '.join(given)} exclude each other; choose one")
        if row.copies and (self.region is not None or self.crop_to_region or self.mask_outside_regions):
            raise UsageError(
                f"{row.name} copies frames as they are coded; "
                "leave out --region, --crop-to-region and --mask-outside-regions"
            )
        if row.copies and self.colour == "rgb":
            raise UsageError(f"{row.name} copies frames as they are coded; leave out --colour rgb")
        mode = self.mode or row.modes[0]
        if mode not in {"display", "stored"}:
            raise UsageError(f"unknown mode {mode!r}; choose display or stored")
        if mode not in row.modes:
            able = ", ".join(other.name for other in formats.FORMATS if mode in other.modes)
            raise UsageError(
                f"{row.name} holds {row.modes[0]} frames only; choose one of {able} for --{mode}"
            )
        if mode == "stored" and any(
            value is not None for value in (self.size, self.scale, self.window, self.voi)
        ):
            raise UsageError("--size, --scale, --window and --voi change samples; use them with --display")

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Extract:
        """Return the same for these sources, told whether the destination is one output or a directory.

        Raises
        ------
        UsageError
            The destination names one output, but there are several instances; or options don't fit the format.
        """
        row, single = named_output(self, destination)
        if single and (len(sources) > 1 or sources[0].is_dir()):
            raise UsageError(
                f"{destination.name} is one {row.name} output; name a directory for several instances"
            )
        self.check(row)
        return replace(self, into_directory=not single)


def named_output(request: Extract, output: Path) -> tuple[Format, bool]:
    """Return the format, and whether the path names the one output rather than a directory for several.

    Raises
    ------
    UsageError
        The format is unknown, or is not that of the name; or the name is a file's of no format.
    """
    named = formats.name_by_suffix(output.suffix)
    if named is None and looks_like_a_file(output) and not request.into_directory:
        raise UsageError(
            f"there is no format for the suffix {output.suffix}; known are {', '.join(formats.SUFFIXES)}; "
            "if this is to be a directory, make it first",
            path=output,
        )
    if request.into_directory or named is None or (output.is_dir() and named != "zarr"):
        return formats.find(request.format or "png"), False
    if request.format not in {"", named}:
        raise UsageError(
            f"--format {request.format} does not fit the name {output.name}; leave one of them out",
            path=output,
        )
    return formats.find(named), True


def _written(frames: int | slice | Iterable[int]) -> str:
    """Write chosen frames as the command line has them."""
    if isinstance(frames, slice):
        return ":".join(
            "" if part is None else str(part) for part in (frames.start, frames.stop, frames.step)
        )
    chosen = [frames] if isinstance(frames, int) else frames
    numbers = ",".join(str(index) if index >= 0 else f"{index}:{index + 1 or ''}" for index in chosen)
    if not numbers:
        raise UsageError("no frame is chosen; name at least one")
    return numbers
