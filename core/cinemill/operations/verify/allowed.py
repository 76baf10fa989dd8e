"""What the header of an output may say differently than its source's, by the rules of transcoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.dicom.rewrite import OFFSET_TABLES
from cinemill.frames.colour import decoded_interpretation

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.verify.samples import Reader

_SAMPLES = 0x00280002
_PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280004, 0x00280006, 0x00280008
_BITS = 0x00280100, 0x00280101, 0x00280102
_LOSSY, _LOSSY_HISTORY = 0x00282110, (0x00282112, 0x00282114)
_ENCODED_BYTES = 0x7FE00003
_OVERLAY_ELEMENTS = 0x0100, 0x0102, 0x3000, 0x0015, 0x0051


def carried_over(source: Source, output: Source) -> set[int]:
    """Return the tags that may differ where frames are the same bytes.

    They are offset tables, Planar Configuration, and a Number of Frames that was wrong.

    Parameters
    ----------
    source, output
        The open files.
    """
    allowed = {*OFFSET_TABLES, _ENCODED_BYTES, _PLANAR}
    if source.renumbered and output.text(_FRAMES) == str(len(source)):
        allowed.add(_FRAMES)
    return allowed


def coded_anew(before: Reader, after: Reader) -> set[int]:
    """Return the tags that may differ where frames were decoded and compared.

    Parameters
    ----------
    before, after
        The source and the output.
    """
    source, output = before.source, after.source
    allowed = carried_over(source, output)
    if _is_true(after):
        allowed.add(_PHOTOMETRIC)
    if is_collapsed(source, output):
        allowed.update((_PHOTOMETRIC, _SAMPLES))
    if _bits(output) in _depths(before):
        allowed.update(_BITS)
    if before.decoder.lossy or after.decoder.lossy or not source.transfer_syntax.lossless:
        if output.text(_LOSSY) == "01":
            allowed.add(_LOSSY)
        allowed.update(
            tag
            for tag in _LOSSY_HISTORY
            if _values(output, tag)[: len(_values(source, tag))] == _values(source, tag)
        )
    allowed.update(
        group << 16 | element for group in moved_overlays(before, after) for element in _OVERLAY_ELEMENTS
    )
    return allowed


def is_collapsed(source: Source, output: Source) -> bool:
    """Whether colour became grey, which holds the same where every pixel of the source is R = G = B."""
    before, after = source.pixels, output.pixels
    return before.samples == 3 and (after.samples, after.photometric_interpretation) == (1, "MONOCHROME2")


def moved_overlays(before: Reader, after: Reader) -> list[int]:
    """Return the groups of overlays that lay in unused bits and are Overlay Data now, described as such.

    Parameters
    ----------
    before, after
        The source and the output.
    """
    output = after.source
    described = {0x0100: 1, 0x0102: 0}
    return [
        group
        for group in before.overlays
        if output.value(group << 16 | 0x3000) is not None
        and all(output.short(group << 16 | element, -1) == value for element, value in described.items())
    ]


def _is_true(file: Reader) -> bool:
    """Whether a file's label of its colours is not contradicted by its codestreams."""
    pixels = file.source.layout
    return (
        decoded_interpretation(pixels.photometric_interpretation, pixels.samples, file.decoder.stream)[1]
        is None
    )


def _bits(source: Source) -> tuple[int, int, int]:
    return source.pixels.bits_allocated, source.pixels.bits_stored, source.high_bit


def _depths(before: Reader) -> set[tuple[int, int, int]]:
    """Return Bits Allocated, Bits Stored and High Bit as the source's header has them, and as its codestreams may need them."""
    coded = before.decoder.pixels
    _, stored, high = _bits(before.source)
    return {
        _bits(before.source),
        (coded.bits_allocated, stored, high),
        (max(coded.bits_allocated, 8), coded.bits_stored, coded.bits_stored - 1),
    }


def _values(source: Source, tag: int) -> list[str]:
    return [value.strip() for value in source.text(tag).split("\\") if value.strip()]
