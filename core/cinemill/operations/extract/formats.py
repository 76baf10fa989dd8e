"""What frames can be extracted to: the table of formats."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from cinemill.errors import UnsupportedPixelFormat, UsageError, not_installed

if TYPE_CHECKING:
    from cinemill.operations.extract.writers import Clip, Writer
    from cinemill.storage.folder import Staging

Mode: TypeAlias = Literal["display", "stored"]

_CODESTREAM_SUFFIXES = {
    "jpeg": ".jpg",
    "jpeg-lossless": ".jpg",
    "jpeg-ls": ".jls",
    "jpeg-2000": ".j2k",
    "htj2k": ".j2c",
    "jpeg-xl": ".jxl",
    "rle": ".rle",
}
_8, _16 = frozenset(("u1",)), frozenset(("u1", "u2"))
_ANY = frozenset(("u1", "u2", "u4", "i1", "i2", "i4"))


class Format(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    writer
        Module and class.
    suffix
        Of file names; empty where the source decides.
    modes
        What it can be made of: frames rendered for display, stored samples; the first is the default.
    dtypes
        Sample types it holds.
    per_frame
        Whether each frame gets a file of its own.
    copies
        Whether frames are copied as they are coded, and can't be cropped or masked.
    shortest
        Milliseconds below which many viewers don't show a frame as long as they are told.
    needs
        Package and the extra that installs it, where it is optional.
    """

    name: str
    writer: str
    suffix: str
    modes: tuple[Mode, ...]
    dtypes: frozenset[str]
    per_frame: bool = False
    copies: bool = False
    shortest: float = 0
    needs: tuple[str, str] | None = None

    def suffix_for(self, coding: str) -> str:
        """Return the suffix of outputs made from a cine of such codestreams."""
        return self.suffix or _CODESTREAM_SUFFIXES.get(coding, ".raw")

    def open(self, clip: Clip, staging: Staging) -> Writer:
        """Return a writer.

        Raises
        ------
        UnsupportedPixelFormat
            The format can't hold such frames; the message names those that can.
        """
        dtype = clip.pixels.dtype
        if f"{dtype.kind}{dtype.itemsize}" not in self.dtypes:
            able = [row.name for row in FORMATS if f"{dtype.kind}{dtype.itemsize}" in row.dtypes]
            raise UnsupportedPixelFormat(f"{self.name} can't hold {dtype} samples; {', '.join(able)} can")
        module, _, name = self.writer.partition(":")
        return cast(
            "Writer",
            getattr(import_module(f"cinemill.operations.extract.writers.{module}"), name)(clip, staging),
        )


FORMATS = (
    Format("png", "pictures:Png", ".png", ("display", "stored"), _16, per_frame=True),
    Format("jpeg", "pictures:Jpeg", ".jpg", ("display", "stored"), _8, per_frame=True),
    Format("tiff", "tiff:Tiff", ".tif", ("display", "stored"), _ANY),
    Format("npy", "arrays:Npy", ".npy", ("stored", "display"), _ANY, per_frame=True),
    Format("npz", "arrays:Npz", ".npz", ("stored", "display"), _ANY),
    Format("zarr", "arrays:Zarr", ".zarr", ("stored", "display"), _ANY, needs=("zarr", "zarr")),
    Format("mp4", "video:Mp4", ".mp4", ("display",), _8, needs=("av", "video")),
    Format("gif", "animations:Gif", ".gif", ("display",), _8, shortest=20),
    Format("webp", "animations:WebP", ".webp", ("display",), _8),
    Format("dicom", "dicom:SingleFrame", ".dcm", ("stored",), _ANY, per_frame=True, copies=True),
    Format("jpeg-ls", "codestreams:JpegLs", ".jls", ("stored",), _ANY - {"u4", "i4"}, per_frame=True),
    Format("jpeg-2000", "codestreams:Jpeg2000", ".j2k", ("stored",), _ANY - {"u4", "i4"}, per_frame=True),
    Format("raw", "codestreams:Raw", "", ("stored",), _ANY, per_frame=True, copies=True),
)
"""All formats, in the order they are listed to users."""

SUFFIXES = tuple(dict.fromkeys(row.suffix for row in FORMATS if row.suffix))
"""Of names that say the format of the one output."""


def find(name: str) -> Format:
    """Return the row of a format, which has its name, or the suffix of its files: ``jpg``.

    Raises
    ------
    UsageError
        There is no such format, or its package is missing.
    """
    names = {name, name_by_suffix(f".{name}")}
    row = next((row for row in FORMATS if row.name in names), None)
    if row is None:
        raise UsageError(f"unknown format {name!r}; choose one of {', '.join(row.name for row in FORMATS)}")
    if row.needs is not None and find_spec(row.needs[0]) is None:
        package, extra = row.needs
        raise UsageError(not_installed(name, f"the package {package}", extra))
    return row


def name_by_suffix(suffix: str) -> str | None:
    """Return the name of the format whose files end so, None where there is none."""
    known = {".tiff": ".tif", ".jpeg": ".jpg"}.get(suffix.lower(), suffix.lower())
    return next((row.name for row in FORMATS if known and row.suffix == known), None)
