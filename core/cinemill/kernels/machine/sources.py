"""Which kernel modules a module imports, and a hash of them all, told from their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import xxhash


@cache
def sources_hash(source: Path) -> str:
    """Hash a module and all kernel modules it imports: numba alone does not notice a change in these."""
    found, left = {source}, [source]
    while left:
        new = set(imported_kernels(left.pop())) - found
        found |= new
        left += new
    digests = sorted((path.name, xxhash.xxh3_128_hexdigest(_text(path))) for path in found)
    return xxhash.xxh3_64_hexdigest(repr(digests).encode())


KERNELS = Path(__file__).parents[1]
_NAME = b" cinemill.kernels"
_IMPORT = re.compile(rb"[ \t]*(?:from|import) cinemill\.kernels([.\w]*)(?: import (\([^)]*\)|.*))?")


def imports(source: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield which kernel modules a module imports, and what of them; to look for lines and not for the name takes ten times as long."""
    text, end = _text(source), 0
    while (at := text.find(_NAME, end)) >= 0:
        end = at + len(_NAME)
        if found := _IMPORT.match(text, text.rfind(b"\n", 0, at) + 1):
            end = found.end()
            yield found[1], found[2] or b""


@cache
def imported_kernels(source: Path) -> list[Path]:
    """Find the kernel modules that a module imports, at its start or in a function; to parse it would take too long."""
    imported = []
    for module, names in imports(source):
        place = KERNELS.joinpath(*module.decode().split("."))
        many = place.is_dir()
        imported += [place / name.decode() for name in re.findall(rb"\w+", names)] if many else [place]
    files = (place.with_suffix(".py") for place in imported)
    return [file for file in files if file.is_file()]


@cache
def _text(source: Path) -> bytes:
    return source.read_bytes()
