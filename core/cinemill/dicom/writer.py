"""Writes one instance, for every operation that makes one: header, pixel data, what stands behind it; then reads it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from cinemill.dicom.compare import compare_elements, ends_with_delimiter
from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, PIXEL_DATA, UNDEFINED
from cinemill.dicom.fragments import DELIMITER
from cinemill.dicom.pixel_writers import FrameWriter, frame_writer
from cinemill.dicom.read_back import ReadBack
from cinemill.dicom.recode import ItemChange, encode_header
from cinemill.dicom.rewrite import Changes, Parts, compose, patch_values, pieces_of
from cinemill.dicom.source import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, Source
from cinemill.errors import VerificationError
from cinemill.storage.mapped import pieces

if TYPE_CHECKING:
    from cinemill.pixel_format import PixelFormat
    from cinemill.storage.file import OutputFile
    from cinemill.syntaxes import TransferSyntax

_IMPLICIT_VRS = {PIXEL_DATA: b"OW", FLOAT_PIXEL_DATA: b"OF", DOUBLE_FLOAT_PIXEL_DATA: b"OD"}
"""VRs of pixel data that was encoded with implicit VR (PS3.5 §A.1)."""


class Written(NamedTuple):
    """How a file is known to be whole and unchanged.

    Attributes
    ----------
    size
        In bytes.
    modified
        Time of its last modification in ns, None where that is any time.
    body, digest
        See `cinemill.storage.digests.file_digest`.
    """

    size: int
    modified: int | None
    body: int
    digest: str


class InstanceWriter:
    """One instance in the making, in an output file whose context is the caller's.

    The header is written at once; then come the frames (`begin_frames`, or
    `carry_native` or `carry_encapsulated`), `end`, and `read_back`.

    Parameters
    ----------
    file
        Where it is written.
    source
        The instance that it is made from.
    target
        Transfer syntax of the output, little endian.
    changes
        Elements that are not the source's: see `cinemill.dicom.rewrite.Changes`.
    change_item
        Changes images in sequences: see `cinemill.dicom.rewrite.compose`.
    private
        Bytes of Private Information to leave room for.

    Raises
    ------
    CinemillError
        The header can't be encoded, or the output can't be written.
    """

    def __init__(
        self,
        file: OutputFile,
        source: Source,
        target: TransferSyntax,
        changes: Changes,
        change_item: ItemChange,
        private: int = 0,
    ) -> None:
        self._file, self._source, self._target = file, source, target
        self._header = compose(source, target, changes, change_item, private)
        self._changed, self._change_item = changes.keys(), change_item
        self._frames = 0
        file.write(self._header.meta)
        if target.deflated:
            file.deflate()
        self._write(self._header.before)

    def _write(self, parts: Parts) -> None:
        for piece in pieces_of(self._source, parts):
            self._file.write(piece)

    def begin_frames(self, pixels: PixelFormat, frames: int, expected_bytes: int) -> FrameWriter:
        """Return what takes the encoded frames, one by one; its ``end`` closes the Pixel Data.

        Parameters
        ----------
        pixels
            How the header describes the frames.
        frames
            How many there will be.
        expected_bytes
            What the encoded frames may take at most.
        """
        self._frames = frames
        writer = frame_writer(self._file, pixels, self._target, frames, expected_bytes)
        self._file.begin_body()
        return writer

    def carry_native(self) -> None:
        """Write the source's native pixel data, of whatever kind, as it is but for its byte order."""
        element = self._source.pixel_data
        assert element is not None
        self._frames = len(self._source)
        vr = element.vr or _IMPLICIT_VRS[element.tag]
        encoding = IMPLICIT_LE if self._target.implicit_vr else EXPLICIT_LE
        size = element.end - element.value
        self._file.reserve(size)
        self._file.write(encode_header(element.tag, vr, size + size % 2, encoding))
        self._file.begin_body()
        for piece in self._source.native_bytes():
            self._file.write(piece)
        self._file.write(bytes(size % 2))

    def carry_encapsulated(self) -> None:
        """Write the source's encapsulated pixel data as it stands: its fragments, its offset table, frames or a video."""
        element = self._source.pixel_data
        assert element is not None
        self._frames = len(self._source)
        self._file.reserve(element.end - element.value)
        self._file.write(encode_header(element.tag, element.vr or b"OB", UNDEFINED, EXPLICIT_LE))
        self._file.begin_body()
        for piece in pieces(self._source.data, element.value, element.end):
            self._file.write(piece)
        if not ends_with_delimiter(self._source):
            self._file.write(DELIMITER)

    def end(
        self,
        values: Mapping[int, bytes] | None = None,
        private: Callable[[Written], bytes] | None = None,
    ) -> None:
        """Write what stands behind the pixel data, and bring all to the disk.

        Parameters
        ----------
        values
            Values of changed elements that were not known before the frames, as long as what was written for them.
        private
            Makes the Private Information, of text and no longer than was said; it is attached to the file where another's
            stands in its place.
        """
        self._write(self._header.after)
        if values:
            patch_values(self._file, len(self._header.meta), self._header.before, values)
        self._file.end()
        place = self._header.private
        if private is not None:
            body, digest = self._file.digest(place)
            text = private(Written(self._file.tell(), self._file.stamp(), body, digest))
            if place:
                self._file.patch(place.start, text.ljust(len(place)))
            else:
                self._file.label(text)
        self._file.finish()

    @contextmanager
    def read_back(self) -> Iterator[Source]:
        """Open what was written, after it was found to be whole and all other elements to be the source's.

        Raises
        ------
        VerificationError
            Frames are missing, or an element is lost, new or different.
        """
        with ReadBack(self._file.temporary, self._source) as written:
            if self._source.pixel_data is not None:
                self._check_frames(written)
            compare_elements(
                self._source,
                written,
                self._changed,
                change_item=self._change_item,
                repeated=written.repeated,
            )
            yield written

    def _check_frames(self, written: Source) -> None:
        written.check()
        if len(written) != self._frames:
            raise VerificationError(f"{self._frames} frames were encoded, {len(written)} are in the output")
