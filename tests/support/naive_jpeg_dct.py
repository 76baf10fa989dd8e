"""Writes sequential JPEG with DCT as random symbols in the order of ITU-T T.81 Annex F: no image, any layout of scans."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DC = (bytes([0, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
DC_LONG = (bytes([1] * 16), bytes(range(16)))
SIZES = range(1, 11)
_SYMBOLS = [0, 0xF0, *(run << 4 | size for size in SIZES for run in range(16))]
AC = (bytes([0, 2, 1, 2, 2, 2, 3, 6, 10, 20, 30, 40, 20, 10, 10, 4]), bytes(_SYMBOLS))
"""Codes of up to 16 bits for all 162 symbols."""


@dataclass
class Layout:
    """Geometry and scans: `sampling` as (across, down), `scans` as lists of components."""

    rows: int
    columns: int
    sampling: list[tuple[int, int]]
    scans: list[list[int]]
    restart: int = 0
    precision: int = 8
    density: int = 5
    dc: tuple[bytes, bytes] = field(default=DC)


def random_layout(rng: np.random.Generator) -> Layout:
    count = int(rng.choice([1, 1, 3, 4]))
    sampling = [(int(across), int(down)) for across, down in rng.integers(1, 3, (count, 2))]
    whole = sum(across * down for across, down in sampling) <= 10
    scans = [list(range(count))] if whole and rng.integers(0, 2) else [[number] for number in range(count)]
    precision = int(rng.choice([8, 12]))
    rows, columns = (int(size) for size in rng.integers(1, 50, 2))
    return Layout(
        rows,
        columns,
        sampling,
        scans,
        int(rng.choice([0, 0, 1, 2, 5])),
        precision,
        int(rng.choice([1, 5, 40])),
        DC_LONG if precision == 12 else DC,
    )


def write(rng: np.random.Generator, layout: Layout) -> bytes:
    """Write a codestream with random symbols; about `density` of them in each block."""
    count = len(layout.sampling)
    header = bytes([layout.precision]) + layout.rows.to_bytes(2, "big") + layout.columns.to_bytes(2, "big")
    parts = b"".join(bytes([number + 1, a << 4 | d, 0]) for number, (a, d) in enumerate(layout.sampling))
    stream = (
        b"\xff\xd8" + segment(0xDB, b"\0" + bytes([1] * 64)) + segment(0xC1, header + bytes([count]) + parts)
    )
    stream += segment(0xC4, b"\0" + b"".join(layout.dc)) + segment(0xC4, b"\x10" + b"".join(AC))
    if layout.restart:
        stream += segment(0xDD, layout.restart.to_bytes(2, "big"))
    for scan in layout.scans:
        names = b"".join(bytes([number + 1, 0]) for number in scan)
        stream += segment(0xDA, bytes([len(scan)]) + names + b"\0\x3f\0")
        mcus, blocks = mcus_of(layout, scan)
        step = layout.restart or mcus
        for number, first in enumerate(range(0, mcus, step)):
            if number:
                stream += bytes([0xFF, 0xD0 + (number - 1) % 8])
            stream += entropy_coded(rng, layout, min(step, mcus - first) * blocks)
    return stream + b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def mcus_of(layout: Layout, scan: list[int]) -> tuple[int, int]:
    """MCUs of a scan, and blocks of an MCU (A.2)."""
    most_across = max(across for across, _ in layout.sampling)
    most_down = max(down for _, down in layout.sampling)
    if len(scan) > 1:
        across, down = np.ceil(layout.columns / 8 / most_across), np.ceil(layout.rows / 8 / most_down)
        return int(across * down), sum(
            layout.sampling[number][0] * layout.sampling[number][1] for number in scan
        )
    across, down = layout.sampling[scan[0]]
    columns = np.ceil(np.ceil(layout.columns * across / most_across) / 8)
    rows = np.ceil(np.ceil(layout.rows * down / most_down) / 8)
    return int(columns * rows), 1


def entropy_coded(rng: np.random.Generator, layout: Layout, blocks: int) -> bytes:
    dc = {symbol: f"{code:0{length}b}" for (length, code), symbol in code_words_of(layout.dc).items()}
    ac = {symbol: f"{code:0{length}b}" for (length, code), symbol in code_words_of(AC).items()}
    text = ""
    for _ in range(blocks):
        category = int(rng.choice(list(dc)))
        text += dc[category] + random_bits(rng, category)
        k = 1
        while k < 64 and rng.integers(0, layout.density + 1):
            run, size = int(rng.integers(0, 16) * rng.integers(0, 2)), int(rng.choice(SIZES))
            if k + run > 63:
                break
            text += ac[run << 4 | size] + random_bits(rng, size)
            k += run + 1
            if k < 48 and rng.integers(0, 20) == 0:
                text += ac[0xF0]
                k += 16
        if k < 64:
            text += ac[0]
    text += str(int(rng.integers(0, 2))) * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:].replace(b"\xff", b"\xff\0")


def random_bits(rng: np.random.Generator, count: int) -> str:
    return "".join(map(str, rng.integers(0, 2, count)))


def code_words_of(table: tuple[bytes, bytes]) -> dict[tuple[int, int], int]:
    """Map (length, code) to symbol (Annex C)."""
    words, code, values = {}, 0, iter(table[1])
    for length, count in enumerate(table[0], 1):
        for _ in range(count):
            words[length, code] = next(values)
            code += 1
        assert code <= 1 << length
        code *= 2
    return words
