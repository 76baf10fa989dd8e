"""JPEG 2000 as T.800 states it, one coefficient at a time: what the kernels are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

RUN_LENGTH, UNIFORM = 17, 18
LL, HL, LH, HH = range(4)

# Table C.2
QE = [
    0x5601, 0x3401, 0x1801, 0x0AC1, 0x0521, 0x0221, 0x5601, 0x5401, 0x4801, 0x3801, 0x3001, 0x2401, 0x1C01, 0x1601,
    0x5601, 0x5401, 0x5101, 0x4801, 0x3801, 0x3401, 0x3001, 0x2801, 0x2401, 0x2201, 0x1C01, 0x1801, 0x1601, 0x1401,
    0x1201, 0x1101, 0x0AC1, 0x09C1, 0x08A1, 0x0521, 0x0441, 0x02A1, 0x0221, 0x0141, 0x0111, 0x0085, 0x0049, 0x0025,
    0x0015, 0x0009, 0x0005, 0x0001, 0x5601,
]  # fmt: skip
NMPS = [1, 2, 3, 4, 5, 38, 7, 8, 9, 10, 11, 12, 13, 29, *range(15, 46), 45, 46]
NLPS = [1, 6, 9, 12, 29, 33, 6, 14, 14, 14, 17, 18, 20, 21, 14, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 23, 24, 25, 26,
        27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 46]  # fmt: skip
SWITCH = {0, 6, 14}


class Encoder:
    """The MQ encoder (C.2), which leaves carries in stuffed bits."""

    def __init__(self) -> None:
        self.data = bytearray(1)  # the byte before the first
        self.states = {context: [0, 0] for context in range(19)}
        self.states[0][0], self.states[RUN_LENGTH][0], self.states[UNIFORM][0] = 4, 3, 46
        self.a, self.c, self.ct = 0x8000, 0, 12

    def encode(self, context: int, decision: int) -> None:
        state, mps = self.states[context]
        qe = QE[state]
        self.a -= qe
        if (decision == mps) == (self.a < qe):
            self.a = qe
        else:
            self.c += qe
        if decision == mps:
            if self.a & 0x8000:
                return
            self.states[context][0] = NMPS[state]
        else:
            self.states[context] = [NLPS[state], 1 - mps if state in SWITCH else mps]
        while self.a < 0x8000:
            self.a <<= 1
            self.c <<= 1
            self.ct -= 1
            if self.ct == 0:
                self._byte_out()

    def _byte_out(self) -> None:
        if self.data[-1] != 0xFF and self.c >= 0x8000000:
            self.data[-1] += 1
            self.c &= 0x7FFFFFF
        self.ct = 7 if self.data[-1] == 0xFF else 8
        shift = 27 - self.ct
        self.data.append(self.c >> shift)
        self.c &= (1 << shift) - 1

    def flush(self) -> bytes:
        top = self.c + self.a
        self.c |= 0xFFFF
        if self.c >= top:
            self.c -= 0x8000
        for _ in range(2):
            self.c <<= self.ct
            self._byte_out()
        return bytes(self.data[1:]).removesuffix(b"\xff")


class Decoder:
    """The MQ decoder (C.3); after the end of its data it reads ones."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.states = {context: [0, 0] for context in range(19)}
        self.states[0][0], self.states[RUN_LENGTH][0], self.states[UNIFORM][0] = 4, 3, 46
        self.c = self._byte(0) << 16
        self._byte_in()
        self.c <<= 7
        self.ct -= 7
        self.a = 0x8000

    def _byte(self, at: int) -> int:
        return self.data[at] if at < len(self.data) else 0xFF

    def _byte_in(self) -> None:
        if self._byte(self.position) == 0xFF:
            if self._byte(self.position + 1) > 0x8F:
                self.c += 0xFF00
                self.ct = 8
            else:
                self.position += 1
                self.c += self._byte(self.position) << 9
                self.ct = 7
        else:
            self.position += 1
            self.c += self._byte(self.position) << 8
            self.ct = 8

    def decode(self, context: int) -> int:
        state, mps = self.states[context]
        qe = QE[state]
        self.a -= qe
        if self.c >> 16 < qe:
            mps_coded = self.a < qe
            self.a = qe
        else:
            self.c -= qe << 16
            if self.a & 0x8000:
                return mps
            mps_coded = self.a >= qe
        return self._renormalise(context, mps_coded=mps_coded)

    def _renormalise(self, context: int, *, mps_coded: bool) -> int:
        state, mps = self.states[context]
        if mps_coded:
            decision = mps
            self.states[context][0] = NMPS[state]
        else:
            decision = 1 - mps
            if state in SWITCH:
                self.states[context][1] = decision
            self.states[context][0] = NLPS[state]
        while self.a < 0x8000:
            if self.ct == 0:
                self._byte_in()
            self.a <<= 1
            self.c <<= 1
            self.ct -= 1
        return decision


def zero_coding_label(h: int, v: int, d: int, orientation: int) -> int:
    """Table D.1."""
    if orientation == HH:
        if d >= 3:
            return 8
        if d == 2:
            return 7 if h + v else 6
        return (3 if d else 0) + min(h + v, 2)
    if orientation == HL:
        h, v = v, h
    if h == 2:
        return 8
    if h == 1:
        return 7 if v else 6 if d else 5
    if v:
        return 2 + v
    return min(d, 2)


def sign_coding(h: int, v: int) -> tuple[int, int]:
    """Table D.3: label and XOR bit."""
    labels = {(1, 1): 13, (1, 0): 12, (1, -1): 11, (0, 1): 10, (0, 0): 9}
    return (labels[h, v], 0) if (h, v) in labels else (labels[-h, -v], 1)


class CodeBlock:
    """The coding passes of one code-block (Annex D), as (CX, D) pairs."""

    def __init__(self, coefficients: np.ndarray, orientation: int) -> None:
        self.rows, self.columns = coefficients.shape
        self.orientation = orientation
        self.negative = np.pad(coefficients < 0, 1)
        self.magnitude = np.pad(np.abs(coefficients), 1)
        self.significant = np.zeros(self.magnitude.shape, bool)
        self.refined = self.significant.copy()

    def symbols(self) -> list[tuple[int, int]]:
        return [symbol for symbols in self.passes() for symbol in symbols]

    def passes(self) -> list[list[tuple[int, int]]]:
        highest = int(self.magnitude.max()).bit_length() - 1
        coded: list[list[tuple[int, int]]] = []
        for plane in range(highest, -1, -1):
            self.bits = self.magnitude >> plane & 1
            self.visited = np.zeros(self.magnitude.shape, bool)
            if plane < highest:
                coded += [[*self._significance_propagation()], [*self._refinement()]]
            coded.append([*self._clean_up()])
        return coded

    def _scan(self) -> Iterator[tuple[int, int]]:
        for top in range(1, self.rows + 1, 4):
            for x in range(1, self.columns + 1):
                for y in range(top, min(top + 4, self.rows + 1)):
                    yield y, x

    def _around(self, y: int, x: int) -> tuple[int, int, int]:
        s = self.significant
        d = int(s[y - 1, x - 1]) + s[y - 1, x + 1] + s[y + 1, x - 1] + s[y + 1, x + 1]
        return int(s[y, x - 1]) + s[y, x + 1], int(s[y - 1, x]) + s[y + 1, x], d

    def _zero_coding(self, y: int, x: int) -> list[tuple[int, int]]:
        self.visited[y, x] = True
        label = zero_coding_label(*self._around(y, x), self.orientation)
        decision = int(self.bits[y, x])
        return [(label, decision), *(self._sign(y, x) if decision else [])]

    def _sign(self, y: int, x: int) -> list[tuple[int, int]]:
        def contribution(*neighbours: tuple[int, int]) -> int:
            total = sum((1 - 2 * int(self.negative[n])) * int(self.significant[n]) for n in neighbours)
            return max(-1, min(1, total))

        label, flip = sign_coding(contribution((y, x - 1), (y, x + 1)), contribution((y - 1, x), (y + 1, x)))
        self.significant[y, x] = self.visited[y, x] = True
        return [(label, int(self.negative[y, x]) ^ flip)]

    def _significance_propagation(self) -> Iterator[tuple[int, int]]:
        self.before = self.significant.copy()
        for y, x in self._scan():
            if not self.significant[y, x] and any(self._around(y, x)):
                yield from self._zero_coding(y, x)

    def _refinement(self) -> Iterator[tuple[int, int]]:
        for y, x in self._scan():
            if self.before[y, x]:
                label = 16 if self.refined[y, x] else 15 if any(self._around(y, x)) else 14
                self.refined[y, x] = True
                yield label, int(self.bits[y, x])

    def _clean_up(self) -> Iterator[tuple[int, int]]:
        for top in range(1, self.rows + 1, 4):
            for x in range(1, self.columns + 1):
                column = [(y, x) for y in range(top, min(top + 4, self.rows + 1))]
                free = all(
                    not self.significant[c] and not self.visited[c] and not any(self._around(*c))
                    for c in column
                )
                if len(column) == 4 and free:
                    ones = [at for at, c in enumerate(column) if self.bits[c]]
                    yield RUN_LENGTH, int(bool(ones))
                    if not ones:
                        continue
                    yield UNIFORM, ones[0] >> 1
                    yield UNIFORM, ones[0] & 1
                    yield from self._sign(*column[ones[0]])
                    column = column[ones[0] + 1 :]
                for c in column:
                    if not self.significant[c] and not self.visited[c]:
                        yield from self._zero_coding(*c)


def analyse(samples: np.ndarray, levels: int) -> np.ndarray:
    """The reversible 5-3 decomposition (F.4), subbands in their places."""
    result = samples.astype(np.int64)
    rows, columns = samples.shape
    for _ in range(levels):
        result[:rows, :columns] = _split(_split(result[:rows, :columns]).T).T
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    return result


def _split(lines: np.ndarray) -> np.ndarray:
    """Split each column into its low and its high half."""
    size = len(lines)
    if size == 1:
        return lines
    x = lines.copy()

    def mirrored(at: int) -> int:
        return -at if at < 0 else 2 * (size - 1) - at if at >= size else at

    for at in range(1, size, 2):
        x[at] -= (x[at - 1] + x[mirrored(at + 1)]) >> 1
    for at in range(0, size, 2):
        x[at] += (x[mirrored(at - 1)] + x[mirrored(at + 1)] + 2) >> 2
    return np.concatenate([x[::2], x[1::2]])


def without_passes(coefficients: np.ndarray, orientation: int, missing: int) -> np.ndarray:
    """What a decoder finds when the last of up to three passes of the lowest bit-plane are left out (E.1.1.2)."""
    magnitude = np.abs(coefficients)
    coder = CodeBlock(coefficients, orientation)
    coder.significant = coder.magnitude > 1
    coder.bits, coder.visited = coder.magnitude & 1, np.zeros(coder.magnitude.shape, bool)
    if missing < 3:
        list(coder._significance_propagation())
    propagated = coder.visited[1:-1, 1:-1]
    refined = magnitude | (missing >= 2)
    cleaned_up = magnitude * (missing < 1)
    known = np.where(magnitude > 1, refined, np.where(propagated, magnitude, cleaned_up))
    return np.sign(coefficients) * known


def packets(
    rows: int,
    columns: int,
    samples: int,
    levels: int,
    progression: int,
    precincts: tuple[tuple[int, int], ...],
) -> list[tuple[int, list[int]]]:
    """The packets of one layer in the order of the loops of B.12.1.

    Each as its resolution, and where the coefficients of each subband begin: -1 if it has none of them.
    """

    def ceil(side: int, level: int) -> int:
        return -(-side // 2**level)

    def starts(resolution: int, component: int, x: int, y: int) -> list[int]:
        level = levels - max(resolution - 1, 0)
        bands = [(0, 0)] if resolution == 0 else [(1, 0), (0, 1), (1, 1)]
        across, down = (2 ** (exponent - (resolution > 0)) for exponent in precincts[resolution])
        found = []
        for right, lower in bands:
            wide, high = (
                (ceil(side, level - 1) - ceil(side, level)) if high_pass else ceil(side, level)
                for side, high_pass in ((columns, right), (rows, lower))
            )
            left, top = ceil(columns, level) * right, ceil(rows, level) * lower
            inside = x * across < wide and y * down < high
            start = (component * rows + top + y * down) * columns + left + x * across
            found.append(start if inside else -1)
        return found

    def at(resolution: int, component: int, x: int, y: int) -> Iterator[tuple[int, list[int]]]:
        across, down = (2 ** (exponent + levels - resolution) for exponent in precincts[resolution])
        if x % across == 0 and y % down == 0:
            yield resolution, starts(resolution, component, x // across, y // down)

    def raster(resolution: int, component: int) -> Iterator[tuple[int, list[int]]]:
        for y in range(rows):
            for x in range(columns):
                yield from at(resolution, component, x, y)

    every_resolution, every_component = range(levels + 1), range(samples)
    places = [(x, y) for y in range(rows) for x in range(columns)]
    if progression < 2:
        return [p for r in every_resolution for c in every_component for p in raster(r, c)]
    if progression == 2:
        return [
            p for r in every_resolution for x, y in places for c in every_component for p in at(r, c, x, y)
        ]
    if progression == 3:
        return [
            p for x, y in places for c in every_component for r in every_resolution for p in at(r, c, x, y)
        ]
    return [p for c in every_component for x, y in places for r in every_resolution for p in at(r, c, x, y)]
