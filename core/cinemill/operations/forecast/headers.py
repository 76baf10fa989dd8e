"""Reads the header of one file: the stratum that it belongs to, and what its policy makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, NotDicom
from cinemill.operations.forecast.strata import Header, Key
from cinemill.operations.instance import is_directory
from cinemill.operations.policy.decide import decide
from cinemill.operations.policy.facts import Facts

if TYPE_CHECKING:
    from cinemill.operations.policy.rules import Policy
    from cinemill.operations.policy.words import Options

Unread: TypeAlias = Literal["not DICOM", "can't be read"]
_LONGEST = 64


def read_header(path: Path, policy: Policy, options: Options) -> Header | Unread:
    """Read the header of one file.

    Parameters
    ----------
    path
        The file.
    policy
        Whose rules decide.
    options
        Where a rule does not say otherwise.
    """
    try:
        with Source(path, scan=False) as source:
            return _header(source, policy, options)
    except NotDicom:
        return "not DICOM"
    except (CinemillError, RecursionError, OSError):
        return "can't be read"


def _header(source: Source, policy: Policy, options: Options) -> Header:
    decision = decide(source, policy, options)
    reason = "skipped" if is_directory(source) else decision.reason or ""
    frames = pixel_bytes = 0
    geometry, lossy = "", False
    if source.pixel_data is not None:
        pixels = source.pixels
        frames = len(source)
        pixel_bytes = pixels.nbytes * frames
        colour = f" × {pixels.samples}" if pixels.samples > 1 else ""
        geometry = f"{pixels.columns} × {pixels.rows}{colour}, {pixels.bits_stored} bits"
        lossy = Facts(source).lossy
    size = len(source.file)
    key = Key(
        decision.rule,
        reason,
        source.transfer_syntax.uid,
        lossy,
        max(0, size.bit_length() - 1) // 2,
        geometry,
        source.text(0x00080016),
        source.text(0x00080070)[:_LONGEST],
        source.text(0x00081090)[:_LONGEST],
    )
    return Header(key, str(source.path), size, frames, pixel_bytes)
