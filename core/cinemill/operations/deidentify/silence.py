"""What reports may say of a run: receipts, notes and errors without values and paths of the sources."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.receipt import Receipt

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_OF_TWINS = "SOP Instance UID "
_LEFT_OUT = "a note that repeats values of the source was left out"
_UNEXPECTED = "InternalError"


def quiet(notes: Iterable[str], originals: Collection[str]) -> list[str]:
    """Return notes without values of the source; those that repeat an original are left out.

    Parameters
    ----------
    notes
        What was found.
    originals
        What must not be told.
    """
    told = [_LEFT_OUT if any(each in note for each in originals) else scrubbed(note) for note in notes]
    return list(dict.fromkeys(told))


def scrubbed(text: str) -> str:
    """Return a sentence of ours without the values that it quotes, and without UIDs."""
    return _UID.sub("…", _QUOTED.sub("…", text))


def published(receipt: Receipt, key: Key) -> Receipt:
    """Return a receipt that tells nothing of whose instance it was.

    Parameters
    ----------
    receipt
        With the path of the source.
    key
        Makes the digest that stands in its place.
    """
    error = receipt.error
    if error is not None:
        unexpected = error["kind"] == _UNEXPECTED
        message = str(error["message"]).replace(receipt.source, "…")
        error = {**error, "message": message.partition(":")[0] if unexpected else scrubbed(message)}
    return replace(
        receipt,
        source=path_digest(Path(receipt.source), key) if receipt.source else "",
        error=error,
        warnings=tuple(scrubbed(each) for each in receipt.warnings if not each.startswith(_OF_TWINS)),
    )


def path_digest(source: Path, key: Key) -> str:
    """Return what stands in place of a source's path: `cinemill map show` knows which one it is."""
    if str(source).startswith("hmac-sha256:"):
        return str(source)
    return key.digest("path", os.fsencode(source.absolute()))
