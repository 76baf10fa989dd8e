"""Composes the header of an output: File Meta Information, and the few elements that describe the pixels anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cinemill
from cinemill.codecs import table
from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, PIXEL_DATA, UNDEFINED, Element, walk
from cinemill.dicom.recode import Recoder, encode_element
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, CodecError
from cinemill.storage.file import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.transcode.plan import Plan
    from cinemill.pixel_format import PixelFormat
    from cinemill.storage.file import Sink
    from cinemill.syntaxes import TransferSyntax

Changes = dict[int, bytes | None]
"""By tag: the element encoded in Explicit VR Little Endian, or None where it is left out."""

_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ALLOCATED, _STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_NUMBER_OF_FRAMES = 0x00280008
_SOP_INSTANCE = 0x00080018
_LOSSY, _LOSSY_RATIO, _LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
_LOSSY_METHODS = {
    "jpeg": "ISO_10918_1",
    "jpeg-ls": "ISO_14495_1",
    "jpeg-2000": "ISO_15444_1",
    "htj2k": "ISO_15444_15",
}
OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
_REWRITTEN_META = frozenset(
    (0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
)


@dataclass(frozen=True, slots=True)
class Header:
    """The encoded parts of an output around its pixel data.

    Attributes
    ----------
    meta
        Preamble, prefix and File Meta Information.
    before, after
        Data elements in front of and behind the pixel data.
    with_icons
        Tags of sequences that hold an encapsulated image, made native.
    """

    meta: bytes
    before: bytes
    after: bytes
    with_icons: frozenset[int]


def pixel_changes(source: Source, decoder: FrameDecoder, plan: Plan) -> Changes:
    """Return what the header has to say differently about transcoded pixels."""
    old, new = source.pixels, plan.written
    changes: Changes = {}
    if new.photometric_interpretation != source.text(_PHOTOMETRIC):
        changes[_PHOTOMETRIC] = encode_element(_PHOTOMETRIC, b"CS", new.photometric_interpretation.encode())
    if new.samples > 1 and source.short(_PLANAR, -1) != new.planar_configuration:
        changes[_PLANAR] = _short(_PLANAR, new.planar_configuration)
    if new.bits_allocated != old.bits_allocated:
        changes[_ALLOCATED] = _short(_ALLOCATED, new.bits_allocated)
    if new.bits_stored != old.bits_stored:
        changes[_STORED] = _short(_STORED, new.bits_stored)
        changes[_HIGH_BIT] = _short(_HIGH_BIT, new.bits_stored - 1)
    changes.update(frame_changes(source))
    if decoder.lossy:
        changes.update(_lossy_history(source, decoder))
    return changes


def frame_changes(source: Source) -> Changes:
    """Return a corrected Number of Frames, and drop offset tables, which the writer makes anew."""
    changes: Changes = dict.fromkeys(OFFSET_TABLES)
    if source.renumbered:
        changes[_NUMBER_OF_FRAMES] = encode_element(_NUMBER_OF_FRAMES, b"IS", str(len(source)).encode())
    return changes


def _lossy_history(source: Source, decoder: FrameDecoder) -> Changes:
    """Say that the pixels were lossy before; what is said already stays (PS3.3 C.7.6.1.1.5)."""
    changes: Changes = {}
    if source.text(_LOSSY) != "01":
        changes[_LOSSY] = encode_element(_LOSSY, b"CS", b"01")
    method = _LOSSY_METHODS[decoder.coding]
    methods = [name for name in source.text(_LOSSY_METHOD).split("\\") if name]
    ratios = [value for value in source.text(_LOSSY_RATIO).split("\\") if value.strip()]
    if methods[-1:] != [method]:
        changes[_LOSSY_METHOD] = encode_element(_LOSSY_METHOD, b"CS", "\\".join([*methods, method]).encode())
        if len(ratios) <= len(methods):
            ratio = decoder.pixels.nbytes * len(source) / max(source.encoded_bytes, 1)
            ratios.append(f"{ratio:.4g}")
            changes[_LOSSY_RATIO] = encode_element(_LOSSY_RATIO, b"DS", "\\".join(ratios).encode())
    return changes


def compose(source: Source, target: TransferSyntax, changes: Mapping[int, bytes | None]) -> Header:
    """Encode everything around the pixel data in the target's encoding.

    Raises
    ------
    CinemillError
        An icon can't be decoded.
    """
    encoding = IMPLICIT_LE if target.implicit_vr else EXPLICIT_LE
    icons = _Icons(source, implicit=target.implicit_vr)
    signed = bool(source.short(0x00280103, 0))
    recoder = Recoder(source.data, source.encoding, encoding, signed=signed, change_item=icons.make_native)
    pixels_at = source.pixel_data.start if source.pixel_data else 0
    before: list[tuple[int, bytes]] = []
    after: list[bytes] = []
    with_icons = set()
    for element, encoded in recoder.encode(e for e in source.elements if e.tag not in changes):
        if element.start < pixels_at:
            before.append((element.tag, encoded))
        else:
            after.append(encoded)
        if icons.found_any():
            with_icons.add(element.tag)
    before += [
        (tag, _implicit(new) if target.implicit_vr else new)
        for tag, new in changes.items()
        if new is not None
    ]
    before.sort(key=lambda element: element[0])
    head = b"".join(encoded for _, encoded in before)
    return Header(_file_meta(source, target, changes), head, b"".join(after), frozenset(with_icons))


def patch_values(sink: Sink, start: int, encoded: bytes, values: Mapping[int, bytes]) -> None:
    """Fill in values of elements that were written with placeholders, ``encoded`` at ``start`` of the file."""
    for element in walk(encoded, 0, len(encoded), EXPLICIT_LE):
        if element.tag in values:
            sink.patch(start + element.value, values[element.tag])


def _implicit(encoded: bytes) -> bytes:
    recoder = Recoder(encoded, EXPLICIT_LE, IMPLICIT_LE, signed=False)
    return b"".join(new for _, new in recoder.encode(walk(encoded, 0, len(encoded), EXPLICIT_LE)))


def _short(tag: int, value: int) -> bytes:
    return encode_element(tag, b"US", value.to_bytes(2, "little"))


def _file_meta(source: Source, target: TransferSyntax, changes: Mapping[int, bytes | None]) -> bytes:
    """Return preamble, prefix and group 0002 (PS3.10 §7.1); what others put there stays."""
    instance = (
        _value(changes.get(_SOP_INSTANCE)) or source.text(_SOP_INSTANCE) or source.meta_text(0x00020003)
    )
    told = {e.tag: e for e in source.meta}
    elements = {
        0x00020001: encode_element(0x00020001, b"OB", b"\0\1"),
        0x00020002: _uid(0x00020002, source.text(0x00080016) or source.meta_text(0x00020002)),
        0x00020003: _uid(0x00020003, instance),
        0x00020010: _uid(0x00020010, target.uid),
        0x00020012: _uid(0x00020012, IMPLEMENTATION_CLASS_UID),
        0x00020013: encode_element(0x00020013, b"SH", f"CINEMILL_{cinemill.__version__}".encode()),
    }
    elements = {tag: encoded for tag, encoded in elements.items() if len(encoded) > 8}  # an unknown UID
    for tag in told.keys() - _REWRITTEN_META:
        elements[tag] = source.meta_bytes(told[tag])
    group = b"".join(elements[tag] for tag in sorted(elements))
    length = encode_element(0x00020000, b"UL", len(group).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + group


def _value(encoded: bytes | None) -> str:
    """Return the text of an element with a short explicit VR header."""
    return (encoded or b"")[8:].decode("ascii").strip(" \0")


def _uid(tag: int, uid: str) -> bytes:
    return encode_element(tag, b"UI", uid.encode())


class _Icons:
    """Makes encapsulated images in sequences native: the target's codec need not be theirs."""

    def __init__(self, source: Source, *, implicit: bool) -> None:
        self._source = source
        self._implicit = implicit
        self._found = False

    def found_any(self) -> bool:
        """Tell whether an image was changed since the last call."""
        found, self._found = self._found, False
        return found

    def make_native(self, elements: list[Element]) -> dict[int, bytes]:
        """Return an item's image as native elements, where it is encapsulated."""
        if next(element for element in elements if element.tag == PIXEL_DATA).length != UNDEFINED:
            return {}
        self._found = True
        try:
            pixels, native = self._decode(elements)
        except CinemillError as error:
            raise CodecError(f"an icon (image in a sequence) can't be made native: {error.message}") from None
        changes = {
            PIXEL_DATA: encode_element(PIXEL_DATA, b"OW" if pixels.bits_allocated > 8 else b"OB", native),
            _PHOTOMETRIC: encode_element(_PHOTOMETRIC, b"CS", pixels.photometric_interpretation.encode()),
            _PLANAR: _short(_PLANAR, 0),
        }
        return {tag: _implicit(new) if self._implicit else new for tag, new in changes.items()}

    def _decode(self, elements: list[Element]) -> tuple[PixelFormat, bytes]:
        from cinemill.frames.decode import FrameDecoder

        source = self._source
        encoded = b"".join(bytes(source.data[element.start : element.end]) for element in elements)
        meta = encode_element(0x00020010, b"UI", source.transfer_syntax.uid.encode())
        decoder = FrameDecoder(Source(source.path, data=bytes(128) + b"DICM" + meta + encoded))
        (native,) = table.encoder("native").encode(decoder.decode([0]), decoder.pixels)
        return decoder.pixels, native
