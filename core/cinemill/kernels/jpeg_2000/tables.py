"""What both JPEG 2000 coders share: the probabilities of the standard, and how the kernels are told the geometry of an image.

The geometry (T.800 B.5 to B.7) is in tables of int64, a row a thing.
"""

from __future__ import annotations

BLOCK = 64
"""Rows and columns of a code-block, at most (COD, A.6.1)."""
READ_AHEAD = 16
"""Coefficients, beside three rows, that may be read after the last one of a code-block."""

LL, HL, LH, HH = range(4)
"""Orientation of a subband: horizontal, then vertical filter."""

START, STRIDE, COLUMNS, ROWS, ORIENTATION = range(5)
"""Columns of the table of code-blocks: where its coefficients begin, and how many lie from one row to the next."""

ACROSS, DOWN, FIRST_BLOCK, BIT_PLANES = range(4)
"""Columns of the table of areas, the parts of subbands within a precinct: code-blocks across and down, and M_b (E.1)."""

FIRST_AREA, AREAS = range(2)
"""Columns of the table of packets, in the order of progression."""

MQ_STATES = (
    (0x5601, 1, 1, 1), (0x3401, 2, 6, 0), (0x1801, 3, 9, 0), (0x0AC1, 4, 12, 0), (0x0521, 5, 29, 0),
    (0x0221, 38, 33, 0), (0x5601, 7, 6, 1), (0x5401, 8, 14, 0), (0x4801, 9, 14, 0), (0x3801, 10, 14, 0),
    (0x3001, 11, 17, 0), (0x2401, 12, 18, 0), (0x1C01, 13, 20, 0), (0x1601, 29, 21, 0), (0x5601, 15, 14, 1),
    (0x5401, 16, 14, 0), (0x5101, 17, 15, 0), (0x4801, 18, 16, 0), (0x3801, 19, 17, 0), (0x3401, 20, 18, 0),
    (0x3001, 21, 19, 0), (0x2801, 22, 19, 0), (0x2401, 23, 20, 0), (0x2201, 24, 21, 0), (0x1C01, 25, 22, 0),
    (0x1801, 26, 23, 0), (0x1601, 27, 24, 0), (0x1401, 28, 25, 0), (0x1201, 29, 26, 0), (0x1101, 30, 27, 0),
    (0x0AC1, 31, 28, 0), (0x09C1, 32, 29, 0), (0x08A1, 33, 30, 0), (0x0521, 34, 31, 0), (0x0441, 35, 32, 0),
    (0x02A1, 36, 33, 0), (0x0221, 37, 34, 0), (0x0141, 38, 35, 0), (0x0111, 39, 36, 0), (0x0085, 40, 37, 0),
    (0x0049, 41, 38, 0), (0x0025, 42, 39, 0), (0x0015, 43, 40, 0), (0x0009, 44, 41, 0), (0x0005, 45, 42, 0),
    (0x0001, 45, 43, 0), (0x5601, 46, 46, 0),
)  # fmt: skip
"""Table C.2: Qe, next state after MPS and after LPS, and whether LPS switches the sense of MPS."""
