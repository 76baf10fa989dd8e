"""How many bytes an output will take, from the codestreams of some of its frames."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cinemill.dicom.native import frame_bits
from cinemill.dicom.rewrite import Changes, compose
from cinemill.frames.icons import native_icons

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.transcode.plan import Plan

_ITEM = 8
_PIXEL_DATA = 12


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
    around = len(header.meta) + len(header.before) + len(header.after) + _PIXEL_DATA
    if plan.target.encapsulated:
        even = sum(len(codestream) + len(codestream) % 2 + _ITEM for codestream in codestreams)
        table = _ITEM + 4 * frames
        return around + table + _ITEM + round(even / len(codestreams) * frames)
    native = (frames * frame_bits(plan.written) + 7) // 8
    if not plan.target.deflated:
        return around + native + native % 2
    tried = b"".join(codestreams)
    deflated = len(_deflate(header.before + tried)) - len(_deflate(header.before))
    rest = len(_deflate(header.before)) + len(_deflate(header.after))
    return len(header.meta) + rest + round(deflated / max(1, len(tried)) * native)


def _deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()
