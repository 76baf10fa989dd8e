"""Reads the values of a file's elements: as bytes, text, numbers, or all of them as pydicom does."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.dicom.dictionary import find_vr, named
from cinemill.dicom.elements import EXPLICIT_LE, SHORT_VRS, UNDEFINED, Element, Encoding
from cinemill.dicom.file_meta import meta_encoding
from cinemill.dicom.part10 import text_of
from cinemill.dicom.recode import Recoder
from cinemill.errors import CinemillError, DamagedFile, UnsupportedPixelFormat
from cinemill.storage.mapped import Bytes

if TYPE_CHECKING:
    from pydicom import Dataset

_CHARACTER_SET = 0x00080005
_LONGEST_INTEGER = 12
_LONG_INTEGERS = frozenset((b"UL", b"SL"))
_NO_INTEGERS = SHORT_VRS - _LONG_INTEGERS - {b"US", b"SS"}
_LARGE = 1 << 20


@contextmanager
def explained(what: str, advice: str, kind: type[CinemillError] = UnsupportedPixelFormat) -> Iterator[None]:
    """Turn what pydicom and NumPy raise on wrong values into one line of ours.

    Parameters
    ----------
    what
        Of the header is read, as a sentence that lacks its reason.
    advice
        What to do.
    kind
        Of the error that is raised.
    """
    try:
        yield
    except CinemillError:
        raise
    except Exception as error:  # noqa: BLE001  # pydicom has no family of errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise kind(f"the header's {what} ({reason}); {advice}") from None


class Values:
    """The elements of an open file, without its pixel data.

    Attributes
    ----------
    path : Path
    encoding : Encoding
        Of the data set, as found.
    file : bytes-like
        The whole file.
    data : bytes-like
        The file, or the inflated data set of a deflated one; offsets of elements count from its start.
    meta : list of Element
        File Meta Information (group 0002).
    meta_faults : list of str
        What is wrong with it: see `cinemill.dicom.file_meta.meta_faults`.
    elements : list of Element
        All other top-level elements, in order.
    """

    path: Path
    encoding: Encoding
    file: Bytes
    data: Bytes
    meta: list[Element]
    meta_faults: list[str]
    elements: list[Element]
    _spans: dict[int, Element]

    @cached_property
    def header(self) -> Dataset:
        """All elements but the pixel data, with ``file_meta``, as pydicom reads them; big endian ones in little endian."""
        from pydicom.dataset import FileMetaDataset

        data = memoryview(self.data)
        with _readable():
            header = self._parsed(self.elements, [data[e.start : e.end] for e in self.elements])
            header.file_meta = FileMetaDataset(_parsed(map(self.meta_bytes, self.meta)))
        return header

    @cached_property
    def brief(self) -> Dataset:
        """What `header` has, without private elements, and without values from a megabyte on that are no sequences."""
        return self.part(*(element.tag for element in self.elements if _is_brief(element)))

    def part(self, *tags: int) -> Dataset:
        """Return some top-level elements, and the character set, as `header` has them; the others are not read.

        Raises
        ------
        DamagedFile
            They can't be read.
        """
        found = (self._spans.get(tag) for tag in sorted({_CHARACTER_SET, *tags}))
        elements = [element for element in found if element is not None]
        with _readable():
            return self._parsed(elements, [each for element in elements for each in self._bounded(element)])

    def _bounded(self, element: Element) -> Iterator[memoryview | bytes]:
        """Yield an element's bytes, a sequence with its length: pydicom reads the items of such a one when it is asked for them."""
        data, (tag, vr, start, value, end, length) = memoryview(self.data), element
        if length != UNDEFINED or (vr or (find_vr(tag) or "").encode()) != b"SQ" or end - value > UNDEFINED:
            yield data[start:end]
            return
        yield from (data[start : value - 4], struct.pack("<L", end - 8 - value), data[value : end - 8])

    def _parsed(self, elements: list[Element], encoded: Iterable[memoryview | bytes]) -> Dataset:
        if self.encoding.little_endian:
            return _parsed(encoded, self.encoding)
        recoder = Recoder(self.data, self.encoding, EXPLICIT_LE, signed=self.short(0x00280103, 0) == 1)
        return _parsed(encoded for _, encoded in recoder.encode(elements))

    def element(self, tag: int) -> Element | None:
        """Return where a top-level element stands, None where it is absent."""
        return self._spans.get(tag)

    def value(self, tag: int) -> bytes | None:
        """Return the encoded value of a top-level element, None where it is absent."""
        element = self._spans.get(tag)
        return None if element is None else bytes(self.data[element.value : element.end])

    def text(self, tag: int) -> str:
        """Return a value of the default repertoire, padding stripped; empty where absent."""
        return (self.value(tag) or b"").decode("latin-1").strip(" \0")

    def meta_text(self, tag: int) -> str:
        """Return a value of the File Meta Information, padding stripped; empty where absent."""
        return next((text_of(self.file, element) for element in self.meta if element.tag == tag), "")

    def meta_bytes(self, element: Element) -> bytes:
        """Return one element of the File Meta Information, in Explicit VR Little Endian."""
        found = meta_encoding(self.file, element.start) or EXPLICIT_LE
        if found == EXPLICIT_LE:
            return bytes(self.file[element.start : element.end])
        recoder = Recoder(self.file, found, EXPLICIT_LE, signed=False)
        return b"".join(encoded for _, encoded in recoder.encode([element]))

    def integer(self, tag: int) -> int | None:
        """Return a value of VR IS from 0 on, None where it is absent, or anything but up to twelve digits (PS3.5 §6.2)."""
        text = self.text(tag).removeprefix("+")
        return int(text) if text.isdecimal() and len(text) <= _LONGEST_INTEGER else None

    def short(self, tag: int, default: int | None = None) -> int:
        """Return the first value of an element of VR US, or of what else is a binary integer.

        Raises
        ------
        DamagedFile
            It is absent or empty, and there is no default; or its VR is that of no binary integer.
        """
        element, value = self._spans.get(tag), self.value(tag)
        vr = b"US" if element is None else element.vr
        if vr in _NO_INTEGERS:
            raise DamagedFile(f"{named(tag)} has the VR {vr.decode()}, expected US", path=self.path)
        form = "L" if vr in _LONG_INTEGERS else "H"
        if value is None or len(value) < struct.calcsize("=" + form):
            if default is not None:
                return default
            raise DamagedFile(
                f"{named(tag)} is {'absent' if value is None else 'empty'}; the pixels can't be described",
                path=self.path,
            )
        number: int = struct.unpack_from(self.encoding.order + form, value)[0]
        return number


def _is_brief(element: Element) -> bool:
    tag = element.tag
    small = element.end - element.start < _LARGE or b"SQ" in {element.vr, (find_vr(tag) or "").encode()}
    return small and not tag >> 16 & 1


@contextmanager
def _readable() -> Iterator[None]:
    with (
        explained("elements can't be read", "the file is damaged", DamagedFile),
        warnings.catch_warnings(action="ignore"),
    ):
        yield


def _parsed(encoded: Iterable[bytes | memoryview], encoding: Encoding = EXPLICIT_LE) -> Dataset:
    from pydicom.filereader import read_dataset

    return read_dataset(BytesIO(b"".join(encoded)), encoding.implicit_vr, is_little_endian=True)
