"""What the header of an output has to say differently about its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.dicom.recode import encode_element
from cinemill.dicom.rewrite import Changes, frame_changes

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.transcode.plan import Plan
    from cinemill.pixel_format import PixelFormat

_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ALLOCATED, _STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_LOSSY, _LOSSY_RATIO, _LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
_LOSSY_METHODS = {
    "jpeg": "ISO_10918_1",
    "jpeg-ls": "ISO_14495_1",
    "jpeg-2000": "ISO_15444_1",
    "htj2k": "ISO_15444_15",
    "jpeg-xl": "ISO_18181_1",
}


def pixel_changes(source: Source, decoder: FrameDecoder, plan: Plan) -> Changes:
    """Return what the header has to say differently about transcoded pixels.

    Parameters
    ----------
    source
        The open file.
    decoder
        What decoded its frames.
    plan
        How they are written.
    """
    changes = format_changes(source, plan.written)
    if decoder.lossy:
        changes.update(_lossy_history(source, decoder))
    return changes


def format_changes(source: Source, new: PixelFormat) -> Changes:
    """Return what the header has to say differently of the format of its pixels, and of its frames."""
    old = source.pixels
    changes: Changes = {}
    if new.photometric_interpretation != source.text(_PHOTOMETRIC):
        changes[_PHOTOMETRIC] = encode_element(_PHOTOMETRIC, b"CS", new.photometric_interpretation.encode())
    if new.samples > 1 and source.short(_PLANAR, -1) != new.planar_configuration:
        changes[_PLANAR] = _short(_PLANAR, new.planar_configuration)
    if new.samples != old.samples:
        changes[_SAMPLES] = _short(_SAMPLES, new.samples)
        changes[_PLANAR] = None
    if new.bits_allocated != old.bits_allocated:
        changes[_ALLOCATED] = _short(_ALLOCATED, new.bits_allocated)
    if new.bits_stored != old.bits_stored:
        changes[_STORED] = _short(_STORED, new.bits_stored)
        changes[_HIGH_BIT] = _short(_HIGH_BIT, new.bits_stored - 1)
    elif wrong_high_bit(source):
        changes[_HIGH_BIT] = _short(_HIGH_BIT, source.high_bit)
    changes.update(frame_changes(source))
    return changes


def wrong_high_bit(source: Source) -> list[str]:
    """Say what High Bit is where it can't be so, since all bits are stored."""
    told, true = source.short(_HIGH_BIT, source.high_bit), source.high_bit
    if told == true:
        return []
    return [
        f"High Bit is {told}, but all {source.pixels.bits_stored} bits are stored; the output says {true}"
    ]


def lossy_contradiction(source: Source, decoder: FrameDecoder) -> list[str]:
    """Say where the header and the codestreams tell different things of lossy compression (PS3.3 C.7.6.1.1.5)."""
    told = source.text(_LOSSY)
    if told == "01" and not decoder.lossy:
        return ["Lossy Image Compression is 01: the pixels were lossy before they were coded losslessly here"]
    if told == "00" and decoder.lossy:
        return ["Lossy Image Compression is 00, but the codestreams are lossy; the output says 01"]
    return []


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


def _short(tag: int, value: int) -> bytes:
    return encode_element(tag, b"US", value.to_bytes(2, "little"))
