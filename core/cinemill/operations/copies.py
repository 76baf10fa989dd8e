"""Copies files byte for byte, verifies them, and recognises such copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from cinemill.errors import CinemillError, NoRoom, NotDicom, OutputExists, VerificationError
from cinemill.operations.clock import Clock, record
from cinemill.operations.origin import look_at
from cinemill.operations.receipt import NOT_COPIED, is_not_copied
from cinemill.storage.digests import equal, named, same_bytes
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness
from cinemill.storage.location import is_same_file, state
from cinemill.storage.mapped import Bytes, map_file, pieces

if TYPE_CHECKING:
    from cinemill.operations.origin import Origin
    from cinemill.operations.receipt import Reason, Receipt

_NOT_THE_SOURCES = frozenset(("UsageError", "NoRoom", "OutputError", "OutputExists"))
"""Kinds of errors that a copy would meet as well."""

_TAKEN = f"{NOT_COPIED} something else stands there already; use --overwrite to replace it"


def copy(
    data: Bytes,
    output: Path,
    clock: Clock,
    *,
    likeness: Likeness | None,
    overwrite: bool,
    verify: bool = True,
    check: Callable[[], None] = lambda: None,
    label: bytes = b"",
) -> str:
    """Write bytes to a file, compare what was written, and return their digest.

    Parameters
    ----------
    data
        What is copied.
    output
        Where it will appear.
    clock
        Takes the time of each stage.
    likeness
        Mode and time of the output.
    overwrite
        Replace what stands there.
    verify
        Compare every byte.
    check
        Called before the output gets its name; may raise.
    label
        Attached to the output, beside its bytes.

    Raises
    ------
    CinemillError
        Nothing was written.
    """
    digest = xxhash.xxh3_128()
    with Sink(output, overwrite=overwrite, likeness=likeness) as sink:
        with clock("write"):
            sink.reserve(len(data))
            for piece in pieces(data):
                sink.write(piece)
                digest.update(piece)
        with clock("verify"):
            start = 0
            for piece in pieces(data) if verify else ():
                if not equal(sink.read(start, len(piece)), piece):
                    raise VerificationError(f"the copy differs near byte {start}")
                start += len(piece)
        with clock("commit"):
            sink.finish()
            check()
            if label:
                sink.label(label)
            sink.commit()
    return named(digest)


def copy_source(
    origin: Origin,
    output: Path,
    *,
    overwrite: bool,
    preserve: bool,
    verify: bool = True,
    label: bytes = b"",
    **told: Any,
) -> Receipt:
    """Copy an open source byte for byte, and compare what was written; return the receipt.

    Parameters
    ----------
    origin
        What is copied.
    output
        Where the copy will appear.
    overwrite, verify, label
        See `copy`.
    preserve
        Keep the source's mode and time.
    **told
        What the receipt says besides.
    """
    source, clock = origin.source, Clock()
    digest = copy(
        source.file,
        output,
        clock,
        likeness=Likeness.of(source.path, preserve=preserve),
        overwrite=overwrite,
        verify=verify,
        check=origin.check,
        label=label,
    )
    return record(
        source,
        output,
        "copied",
        source.transfer_syntax,
        seconds=dict(clock.seconds),
        verification="every byte" if verify else "none",
        source_digest=digest,
        **told,
    )


def is_copy(source: Path, data: Bytes, output: Path, *, read: bool) -> bool:
    """Whether a file is a copy of the source: by size and time, or by its bytes where times differ.

    Parameters
    ----------
    source, data
        The source, and its bytes.
    output
        The file that may be its copy.
    read
        Compare the bytes in any case.
    """
    here, there = state(source), state(output)
    if there is None or not output.is_file() or there.size != len(data):
        return False
    if not read and here is not None and here.modified == there.modified:
        return True
    return len(data) == 0 or _same_bytes(data, output)


def _same_bytes(data: Bytes, output: Path) -> bool:
    try:
        other = map_file(output)
    except CinemillError:
        return False
    return same_bytes(data, other)


def settle(receipt: Receipt, *, overwrite: bool, preserve: bool) -> Receipt:
    """Copy the source of an instance that was refused, failed or is not DICOM; return its receipt, which says so.

    Parameters
    ----------
    receipt
        Of that instance; one without an error, or with one that a copy would meet as well, stays as it is.
    overwrite
        Replace what stands there.
    preserve
        Keep the source's mode and time.
    """
    if receipt.error is None or receipt.error["kind"] in _NOT_THE_SOURCES:
        return receipt
    told = copy_rest(receipt, overwrite=overwrite, preserve=preserve)
    reason: Reason | None = None if is_not_copied(told) else "rest"
    return replace(receipt, warnings=(*receipt.warnings, told), reason=reason or "")


def copy_rest(receipt: Receipt, *, overwrite: bool, preserve: bool) -> str:
    """Copy the source of a failed, refused or foreign instance unchanged, and say what came of it.

    What this program made of the source once, and whatever is newer than the source, stays.

    Parameters
    ----------
    receipt
        Of that instance.
    overwrite
        Replace what stands there.
    preserve
        Keep the source's mode and time.

    Raises
    ------
    NoRoom
        No other copy would fit either.
    """
    source, output = Path(receipt.source), Path(receipt.output)
    try:
        data = _bytes(source)
        if is_same_file(source, output):
            return f"{NOT_COPIED} source and output are the same file"
        if output.exists() and not overwrite:
            if is_copy(source, data, output, read=False):
                return "an unchanged copy of the source stands in the output tree"
            there = look_at(output)
            ours = there is not None and there.memory is not None
            if ours or not output.is_file() or not is_older(output, source):
                return _TAKEN
            overwrite = True
        copy(data, output, Clock(), likeness=Likeness.of(source, preserve=preserve), overwrite=overwrite)
    except NoRoom:
        raise
    except OutputExists:
        return _TAKEN
    except CinemillError as error:
        return f"{NOT_COPIED} {error.message}"
    return "copied unchanged to the output tree"


def is_older(one: Path, other: Path) -> bool:
    """Whether a file was last modified before another one."""
    first, second = state(one), state(other)
    return first is not None and second is not None and first.modified < second.modified


def _bytes(path: Path) -> Bytes:
    try:
        return map_file(path)
    except NotDicom:
        return b""
