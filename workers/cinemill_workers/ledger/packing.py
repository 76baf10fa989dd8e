"""Receipts in small: each compressed against another one of the same job."""

from __future__ import annotations

import json
import zlib
from typing import Any

LONGEST_DICTIONARY = 32_768
"""All that Deflate can look back to."""


def dumps(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def pack(record: dict[str, Any], dictionary: bytes) -> bytes:
    """Compress a receipt against another one of the same job: most of it is the same."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionary)
    return deflate.compress(dumps(record)) + deflate.flush()


def unpack(packed: bytes, dictionary: bytes) -> dict[str, Any]:
    """Undo `pack`."""
    inflate = zlib.decompressobj(-15, zdict=dictionary)
    record: dict[str, Any] = json.loads(inflate.decompress(packed) + inflate.flush())
    return record
