"""JPEG Lossless written and read one bit at a time, as ITU-T T.81 describes it: the oracle of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.pixel_format import PixelFormat

FIVE_BITS = (bytes([0, 0, 0, 0, 17, *[0] * 11]), bytes(range(17)))
"""A table with codes of five bits, whatever the category."""

SHORT_FIRST = (bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]).ljust(16, b"\0"), bytes(range(17)))
"""A table for small differences; the category 16 has a code of 14 bits."""

LONG_CODES = (
    bytes([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]),
    bytes([15, 14, 0, 1, *range(2, 14), 16]),
)
"""A table with a code of each length up to 16 bits."""

Table = tuple[bytes, bytes]


def prediction(selection: int, a: int, b: int, c: int) -> int:
    """Table H.1."""
    return (0, a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)[selection]


def code_words(table: Table) -> dict[tuple[int, int], int]:
    """Map (length, code) to category (T.81 Annex C); ValueError for too many codes, or categories above 16."""
    counts, categories = table
    words = {}
    code = 0
    values = iter(categories)
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            words[length, code] = next(values)
            code += 1
        if code > 1 << length:
            raise ValueError(length)
        code *= 2
    if not words or max(words.values()) > 16:
        raise ValueError(categories)
    return words


@dataclass
class Scan:
    """How a codestream is written; `tables` has one table, or one for each component."""

    precision: int = 8
    selection: int = 1
    point_transform: int = 0
    restart_rows: int = 0
    interleaved: bool = True
    tables: tuple[Table, ...] = (FIVE_BITS,)


def encode(frame: np.ndarray, how: Scan) -> bytes:
    """Write (rows, columns, components) samples, of which the point transform drops the lowest bits."""
    rows, columns, components = frame.shape
    header = (
        bytes([how.precision]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + bytes([components])
    )
    stream = b"\xff\xd8" + _segment(
        0xC3, header + b"".join(bytes([c + 1, 0x11, 0]) for c in range(components))
    )
    stream += b"".join(_segment(0xC4, bytes([n]) + b"".join(table)) for n, table in enumerate(how.tables))
    if how.restart_rows:
        stream += _segment(0xDD, (how.restart_rows * columns).to_bytes(2, "big"))
    for group in [range(components)] if how.interleaved else [[c] for c in range(components)]:
        names = b"".join(bytes([c + 1, (c % len(how.tables)) << 4]) for c in group)
        stream += _segment(0xDA, bytes([len(group)]) + names + bytes([how.selection, 0, how.point_transform]))
        tables = [{v: k for k, v in code_words(how.tables[c % len(how.tables)]).items()} for c in group]
        step = how.restart_rows or rows
        for number, first in enumerate(range(0, rows, step)):
            part = frame[first : first + step, :, list(group)].astype(int) >> how.point_transform
            if number:
                stream += bytes([0xFF, 0xD0 + (number - 1) % 8])
            stream += _entropy_coded(part, how, tables)
    return stream + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _neighbours(part: np.ndarray, y: int, x: int, c: int) -> tuple[int, int, int]:
    return int(part[y, x - 1, c]), int(part[y - 1, x, c]), int(part[y - 1, x - 1, c])


def _predicted(part: np.ndarray, where: tuple[int, int, int], selection: int, neutral: int) -> int:
    y, x, c = where
    if y == 0 and x == 0:
        return neutral
    if y == 0 or x == 0:
        return int(part[0, x - 1, c] if y == 0 else part[y - 1, 0, c])
    return prediction(selection, *_neighbours(part, y, x, c))


def _entropy_coded(part: np.ndarray, how: Scan, tables: list[dict[int, tuple[int, int]]]) -> bytes:
    bits = []
    for where in np.ndindex(*part.shape):
        predicted = _predicted(part, where, how.selection, 1 << (how.precision - how.point_transform - 1))
        difference = (int(part[where]) - predicted + 32767) % 65536 - 32767
        category = abs(difference).bit_length()
        length, code = tables[where[2]][category]
        bits.append(f"{code:0{length}b}")
        if 0 < category < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:].replace(b"\xff", b"\xff\0")


class DamagedError(Exception):
    """The codestream does not decode."""


def decode(stream: bytes, pixels: PixelFormat) -> np.ndarray | None:
    """Decode one frame; None if it is damaged or uses what T.81 has but DICOM's encoders don't."""
    try:
        return _decode(stream, pixels)
    except (DamagedError, ValueError, IndexError):
        return None


def _require(condition: object) -> None:
    if not condition:
        raise DamagedError


def _decode(stream: bytes, pixels: PixelFormat) -> np.ndarray:
    _require(stream[:2] == b"\xff\xd8")
    position, precision, names, restart = 2, 0, b"", 0
    tables: dict[int, Table] = {}
    frame = np.zeros((pixels.rows, pixels.columns, pixels.samples), np.int64)
    done: list[int] = []
    while not names or len(done) < len(names):
        _require(stream[position] == 0xFF)
        while stream[position] == 0xFF:
            position += 1
        marker = stream[position]
        position += 1
        if marker == 1 or 0xD0 <= marker <= 0xD7:
            continue
        _require(
            marker not in {0, 0xD9, 0xDC, 0xF7}
            and not (0xC0 <= marker <= 0xCF and marker not in {0xC3, 0xC4, 0xC8, 0xCC})
        )
        size = int.from_bytes(stream[position : position + 2], "big")
        segment = stream[position + 2 : position + size]
        _require(size >= 2 and len(segment) == size - 2)
        position += size
        if marker == 0xC3:
            _require(not names and len(segment) == 6 + 3 * segment[5])
            precision, names = segment[0], segment[6::3]
            geometry = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"), segment[5]
            _require(geometry == frame.shape and 2 <= precision <= 8 * pixels.dtype.itemsize)
            _require(len(set(names)) == len(names) and (len(names) == 1 or set(segment[7::3]) == {0x11}))
        elif marker == 0xC4:
            while segment:
                count = sum(segment[1:17])
                _require(segment[0] in {0, 1, 2, 3, 16, 17, 18, 19} and len(segment) >= 17 + count)
                tables[segment[0]] = segment[1:17], segment[17 : 17 + count]
                segment = segment[17 + count :]
        elif marker == 0xDD:
            _require(len(segment) == 2)
            restart = int.from_bytes(segment, "big")
        elif marker == 0xDA:
            _require(names and len(segment) >= 6 and len(segment) == 4 + 2 * segment[0])
            group = [names.index(name) for name in segment[1:-3:2]]
            _require(len({*group, *done}) == len(group) + len(done))
            selection, point_transform = segment[-3], segment[-1] & 15
            _require(1 <= selection <= 7 and point_transform < precision and restart % pixels.columns == 0)
            used = [
                code_words(tables[selector >> 4]) if selector >> 4 in tables else None
                for selector in segment[2:-3:2]
            ]
            _require(None not in used)
            position = _read_scan(
                stream,
                position,
                frame,
                group,
                used,
                restart // pixels.columns,
                selection,
                precision,
                point_transform,
            )
            done += group
    _require(b"\xff\xd8\xff" not in stream[position:])
    samples = frame & (1 << precision) - 1
    if pixels.signed:
        samples -= (samples >> (precision - 1)) << precision
    return samples.astype(pixels.dtype).reshape(pixels.shape)


def _read_scan(stream, position, frame, group, tables, restart_rows, selection, precision, point_transform):
    rows = frame.shape[0]
    step = restart_rows or rows
    for number, first in enumerate(range(0, rows, step)):
        if number:
            while stream[position + 1] == 0xFF:
                position += 1
            _require(stream[position : position + 2] == bytes([0xFF, 0xD0 + (number - 1) % 8]))
            position += 2
        end = position
        while end < len(stream) and (stream[end] != 0xFF or stream[end + 1 : end + 2] == b"\0"):
            end += 2 if stream[end] == 0xFF else 1
        bits = _Bits(stream[position:end].replace(b"\xff\0", b"\xff"))
        position = end
        part = np.zeros((min(step, rows - first), frame.shape[1], len(group)), np.int64)
        for where in np.ndindex(*part.shape):
            predicted = _predicted(part, where, selection, 1 << (precision - point_transform - 1))
            part[where] = (predicted + bits.difference(tables[where[2]])) % 65536
        _require(not bits.rest().strip(b"\0\xff"))
        frame[first : first + step, :, group] = part << point_transform
    return position


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bits: Iterator[int] = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())
        self.taken = 0

    def next(self) -> int:
        self.taken += 1
        bit = next(self.bits, -1)
        _require(bit >= 0)
        return bit

    def difference(self, words: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 17):
            code = code * 2 + self.next()
            category = words.get((length, code))
            if category is not None:
                break
        else:
            raise DamagedError
        if category in {0, 16}:
            return category * 2048
        extra = 0
        for _ in range(category):
            extra = extra * 2 + self.next()
        return extra if extra >> (category - 1) else extra - (1 << category) + 1

    def rest(self) -> bytes:
        return self.data[(self.taken + 7) // 8 :]
