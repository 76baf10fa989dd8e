"""What an output was made from, remembered in it as keyed digests, which reveal neither the time nor the bytes of its source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cinemill.operations.deidentify.silence import path_digest
from cinemill.operations.origin import Origin
from cinemill.storage.digests import data_digest

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.deidentify.keys import Key


class KeyedOrigin(Origin):
    """The source of an output that nobody is to trace back without the key.

    Parameters
    ----------
    source
        The open file.
    options
        See `Origin`.
    key
        Makes the digests.
    """

    def __init__(self, source: Source, options: Mapping[str, Any], key: Key) -> None:
        super().__init__(source, options)
        self._key = key

    @cached_property
    def digest(self) -> str:
        """Keyed digest of the source's bytes."""
        return self._key.digest("source", data_digest(self.source.file).encode())

    def is_another(self, remembered: Mapping[str, Any]) -> bool:
        """Whether an output was made from another file with other content, and not from this one in another state."""
        return remembered.get("place") not in (None, self._state()["place"]) and not self.is_same(remembered)

    def _state(self) -> dict[str, Any]:
        there = self.source.state
        modified = "" if there is None else str(there.modified)
        return {
            "size": self._key.digest("size", str(len(self.source.file)).encode()),
            "modified": self._key.digest("modified", modified.encode()) if modified else None,
            "place": path_digest(self.source.path, self._key),
        }
