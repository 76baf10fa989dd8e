"""Reads the coefficients of sequential JPEG with DCT, one bit after the other, as ITU-T T.81 Annexes B and F say."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np

from tests.support.naive_jpeg_dct import code_words_of


@dataclass
class Component:
    """One component: `coefficients` is (block rows, block columns, 64) in zigzag order, quantised; blocks of whole MCUs."""

    across: int
    down: int
    coefficients: np.ndarray = field(default_factory=lambda: np.zeros(0))


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        assert self.at <= len(self.bits)
        return int(self.bits[self.at - count : self.at] or "0", 2)

    def symbol(self, words: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 17):
            code = code << 1 | self.take(1)
            if (length, code) in words:
                return words[length, code]
        raise AssertionError("no such code")

    def value(self, size: int) -> int:
        value = self.take(size)
        return value if not size or value >> (size - 1) else value - (1 << size) + 1


def read(stream: bytes) -> list[Component]:
    """Return the components of a codestream, in the order of its frame header."""
    tables: dict[int, dict[tuple[int, int], int]] = {}
    parts: dict[int, Component] = {}
    rows = columns = restart = 0
    position = 2
    while stream[position + 1] != 0xD9:
        marker = stream[position + 1]
        if stream[position] != 0xFF or marker in {0xFF, 0, *range(0xD0, 0xD8)}:
            position += 1
            continue
        size = int.from_bytes(stream[position + 2 : position + 4], "big")
        content = stream[position + 4 : position + 2 + size]
        position += 2 + size
        if marker == 0xC4:
            while content:
                count = sum(content[1:17])
                tables[content[0]] = code_words_of((content[1:17], content[17 : 17 + count]))
                content = content[17 + count :]
        elif marker in {0xC0, 0xC1}:
            rows, columns = (int.from_bytes(content[at : at + 2], "big") for at in (1, 3))
            for number, factors in zip(content[6::3], content[7::3], strict=True):
                parts[number] = Component(factors >> 4, factors & 15)
            _allocate(list(parts.values()), rows, columns)
        elif marker == 0xDD:
            restart = int.from_bytes(content, "big")
        elif marker == 0xDA:
            scanned = [
                (parts[number], tables[selector >> 4], tables[0x10 | selector & 15])
                for number, selector in zip(content[1:-3:2], content[2:-3:2], strict=True)
            ]
            position = _scan(stream, position, scanned, list(parts.values()), (rows, columns), restart)
    return list(parts.values())


def _allocate(parts: list[Component], rows: int, columns: int) -> None:
    across, down = max(part.across for part in parts), max(part.down for part in parts)
    for part in parts:
        shape = -(-rows // (8 * down)) * part.down, -(-columns // (8 * across)) * part.across
        part.coefficients = np.zeros((*shape, 64), int)


def _scan(stream, position, scanned, parts, size, restart) -> int:
    across, down = max(part.across for part in parts), max(part.down for part in parts)
    if len(scanned) == 1:
        part = scanned[0][0]
        columns = ceil(ceil(size[1] * part.across / across) / 8)
        rows = ceil(ceil(size[0] * part.down / down) / 8)
    else:
        columns, rows = -(-size[1] // (8 * across)), -(-size[0] // (8 * down))
    bits = _Bits(b"")
    before: dict[int, int] = {}
    for number in range(rows * columns):
        if number % (restart or rows * columns) == 0:
            if number:
                while stream[position + 1] == 0xFF:
                    position += 1
                assert stream[position : position + 2] == bytes([0xFF, 0xD0 + (number // restart - 1) % 8])
                position += 2
            end = position
            while stream[end] != 0xFF or stream[end + 1] == 0:
                end += 1
            bits, before = _Bits(stream[position:end].replace(b"\xff\0", b"\xff")), {}
            position = end
        y, x = divmod(number, columns)
        for part, dc, ac in scanned:
            alone = len(scanned) == 1
            for row in range(1 if alone else part.down):
                for column in range(1 if alone else part.across):
                    at = (y, x) if alone else (y * part.down + row, x * part.across + column)
                    block = part.coefficients[at]
                    before[id(part)] = block[0] = before.get(id(part), 0) + bits.value(bits.symbol(dc))
                    _ac(bits, ac, block)
    return position


def _ac(bits: _Bits, words, block: np.ndarray) -> None:
    k = 1
    while k < 64:
        symbol = bits.symbol(words)
        if symbol == 0:
            return
        k += symbol >> 4
        block[k] = bits.value(symbol & 15)
        k += 1
