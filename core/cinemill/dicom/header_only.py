"""Opens a DICOM file as far as its pixel data begins: none of its frames, fragments and offset tables is touched."""

from __future__ import annotations

import os

from cinemill.dicom.elements import UNDEFINED, Element, bounded, read_header, walk
from cinemill.dicom.misdeclared import is_enclosed
from cinemill.dicom.source import PIXEL_TAGS, Source
from cinemill.errors import DamagedFile
from cinemill.storage.mapped import Bytes, fetch, map_file

_BEGINNING = 1 << 15
"""Bytes that are read in one go: most headers are shorter."""


class HeaderOnly(Source):
    """One open file of which only the header is read; elements behind the pixel data are not looked for.

    Encapsulated pixel data counts as if it reached to the end of the file, and has as many frames as are promised.

    Parameters
    ----------
    path
        A regular file.

    Attributes
    ----------
    damage : DamagedFile or None
        Why the header can't be read to its end, or native pixel data is not all there; what stands before that is known.

    Raises
    ------
    NotDicom
        Neither a Part 10 file nor a data set without a preamble.
    DamagedFile
        Nothing of the header can be read.
    UnsupportedTransferSyntax
        The transfer syntax is unknown.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.damage: DamagedFile | None = None
        super().__init__(path, scan=False)

    def _open(self, given: Bytes | None) -> None:
        file = map_file(self.path) if given is None else given
        fetch(file, 0, min(_BEGINNING, len(file)))
        super()._open(file)

    def _read_before(self, start: int, size: int) -> list[Element]:
        found: list[Element] = []
        try:
            found.extend(bounded(walk(self.data, start, size, self.encoding, until=PIXEL_TAGS)))
        except (DamagedFile, RecursionError) as error:
            if not found:
                raise
            deep = DamagedFile("sequences are nested too deeply", path=self.path)
            self.damage = error if isinstance(error, DamagedFile) else deep
            self.data = bytes(self.data[: found[-1].end])
        return found

    def _read_pixel_element(self, offset: int, size: int) -> Element:
        element = read_header(self.data, offset, size, self.encoding)
        if self.transfer_syntax.encapsulated and is_enclosed(self.data, element):
            return element._replace(length=UNDEFINED, end=element.value + element.length)
        end = size if element.length == UNDEFINED else element.value + element.length
        if end > size:
            self.damage = DamagedFile(
                f"the pixel data promises {element.length} bytes, {size - element.value} are there; "
                "the file is truncated",
                path=self.path,
            )
            end = size
        return Element(element.tag, element.vr, offset, element.value, end, element.length)

    def _read_behind(self, start: int, size: int) -> list[Element]:  # noqa: ARG002
        return []

    @property
    def native(self) -> bool:
        """Whether the pixel data as found is not encapsulated."""
        return self.pixel_data is None or self.pixel_data.length != UNDEFINED

    def __len__(self) -> int:
        """Return the promised number of frames."""
        return self.promised_frames or 1
