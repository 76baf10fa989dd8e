"""How many bytes an output will take, from the codestreams of some of its frames."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from cinemill.dicom.native import frame_bits
from cinemill.dicom.rewrite import Changes, compose, pieces_of
from cinemill.frames.icons import native_icons

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.transcode.plan import Plan
    from cinemill.pixel_format import Buffer
    from cinemill.syntaxes import TransferSyntax

_ITEM = 8
_PIXEL_DATA = 12
_META = 512
_DEFLATED = 16 << 20
"""Bytes of native pixels that are deflated to know what all of them take."""


def output_bytes(
    source: Source, plan: Plan, changes: Changes, codestreams: Sequence[bytes], room: int
) -> int:
    """Return the size of a whole output, in which all frames are as large as some are on average.

    Parameters
    ----------
    source
        The open file.
    plan
        How it is written.
    changes
        Elements that are not the source's.
    codestreams
        Of some frames.
    room
        Bytes that the output takes for what it remembers.
    """
    frames = len(source)
    header = compose(source, plan.target, changes, native_icons(source), room)
    elements = sum(len(part) for _, part in (*header.before, *header.after))
    around = len(header.meta) + elements + _PIXEL_DATA
    if plan.target.encapsulated:
        even = sum(len(codestream) + len(codestream) % 2 + _ITEM for codestream in codestreams)
        table = _ITEM + 4 * frames
        return around + table + _ITEM + round(even / len(codestreams) * frames)
    native = (frames * frame_bits(plan.written) + 7) // 8
    if not plan.target.deflated:
        return around + native + native % 2
    tried = b"".join(codestreams)
    before = _deflated(pieces_of(source, header.before))
    deflated = _deflated(chain(pieces_of(source, header.before), [tried])) - before
    rest = before + _deflated(pieces_of(source, header.after))
    return len(header.meta) + rest + round(deflated / max(1, len(tried)) * native)


def recoded_bytes(source: Source, target: TransferSyntax, room: int) -> int:
    """Return the size of an output in which native pixels are carried over, or all is deflated anew.

    Parameters
    ----------
    source
        The open file.
    target
        Transfer syntax of the output.
    room
        Bytes that the output takes for what it remembers.
    """
    plain = len(source.data) + room + (0 if source.data is source.file else _META)
    if not target.deflated or not source.native:
        return plain
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    taken = made = 0
    for piece in source.native_bytes():
        part = bytes(piece[: _DEFLATED - taken])
        taken += len(part)
        made += len(deflater.compress(part))
        if taken >= _DEFLATED:
            break
    made += len(deflater.flush())
    pixels = source.encoded_bytes
    header = _deflated([bytes(source.data[: min(len(source.data) - pixels, _DEFLATED)])])
    return room + _META + header + round(made / max(1, taken) * pixels)


def _deflated(pieces: Iterable[Buffer]) -> int:
    """Return how many bytes they deflate to."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return sum(len(deflater.compress(piece)) for piece in pieces) + len(deflater.flush())
