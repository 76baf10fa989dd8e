"""What rules ask of an instance: read from its header, and from its codestreams where they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from cinemill.dicom.dictionary import uid_names
from cinemill.errors import CinemillError
from cinemill.operations.policy.lossy import first_codestream, is_lossy

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream
    from cinemill.dicom.source import Source

Value: TypeAlias = "str | float | bool"

PRIVATE = re.compile(r"\(([0-9a-f]{3}[13579bdf]),xx([0-9a-f]{2})\)\s+(\S.*)", re.IGNORECASE)
"""A private element: ``(0019,xx0A) CREATOR``."""

TAG = re.compile(r"\(([0-9a-f]{4}),([0-9a-f]{4})\)", re.IGNORECASE)
"""Any element: ``(0008,0060)``."""


class Facts:
    """What is known of one instance, looked up once.

    Parameters
    ----------
    source
        The open file.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def no_image(self) -> bool:
        """Whether there is no pixel data."""
        return self.source.pixel_data is None

    @cached_property
    def stream(self) -> Codestream | None:
        """What the first codestream says of itself."""
        return first_codestream(self.source)

    @cached_property
    def lossy(self) -> bool:
        """Whether the pixels are coded lossily."""
        return not self.no_image and is_lossy(self.source, self.stream)

    @property
    def recompressible(self) -> bool:
        """Whether JPEG XL can hold the codestreams as they are, in small."""
        return self.stream is not None and self.stream.coding == "jpeg"

    def values(self, key: str) -> list[Value]:
        """Return the values of what a rule asks for: none where it is absent.

        Parameters
        ----------
        key
            One of `KEYS`, a keyword of DICOM, a tag, or a private element.
        """
        if key in KEYS:
            try:
                return list(KEYS[key](self))
            except CinemillError:
                return []
        try:
            return [text for text in map(_text, _several(self._element(key))) if text]
        except (CinemillError, KeyError):
            return []

    def _element(self, key: str) -> Any:
        from pydicom.datadict import tag_for_keyword

        if private := PRIVATE.fullmatch(key):
            group, offset, creator = int(private[1], 16), int(private[2], 16), private[3]
            own = (e.tag for e in self.source.elements if e.tag >> 16 == group)
            block = self.source.part(*(tag for tag in own if tag & 0xFFFF < 0x100 or tag & 0xFF == offset))
            return block.private_block(group, creator)[offset].value
        found = TAG.fullmatch(key)
        tag = int(found[1] + found[2], 16) if found else tag_for_keyword(key) or 0
        return self.source.part(tag)[tag].value

    def texts(self, tag: int) -> list[Value]:
        """Return the values of an element of text."""
        return [text for text in (each.strip() for each in self.source.text(tag).split("\\")) if text]

    @property
    def age(self) -> list[Value]:
        """Days since the study."""
        text = self.source.text(0x00080020).replace(".", "")
        try:
            then = date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:8]}")
        except ValueError:
            return []
        return [float((date.today() - then).days)]  # noqa: DTZ011  # Study Date has no time zone

    @property
    def syntax(self) -> list[Value]:
        """Names of the transfer syntax."""
        row = self.source.transfer_syntax
        return [text for text in (row.uid, row.keyword, row.name, row.coding) if text]


KEYS: Mapping[str, Callable[[Facts], Iterable[Value]]] = MappingProxyType(
    {
        "modality": lambda facts: facts.texts(0x00080060),
        "sop-class": lambda facts: _class(facts.source.text(0x00080016)),
        "syntax": lambda facts: facts.syntax,
        "lossy": lambda facts: [facts.lossy],
        "manufacturer": lambda facts: facts.texts(0x00080070),
        "model": lambda facts: facts.texts(0x00081090),
        "station": lambda facts: facts.texts(0x00081010),
        "age": lambda facts: facts.age,
        "frames": lambda facts: [] if facts.no_image else [float(len(facts.source))],
        "size": lambda facts: [float(len(facts.source.file))],
    }
)
"""What rules may ask for besides elements, and how it is found."""


def _class(uid: str) -> list[Value]:
    name, keyword = uid_names(uid)
    return [text for text in (uid, keyword, name) if text]


def _several(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else (value,)


def _text(value: Any) -> str:
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else str(value).strip()
