"""How the JPEG 2000 kernels are told the geometry of an image (T.800 B.5 to B.7): tables of int64, a row a thing."""

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
