"""The inverse wavelet in 16-bit lanes against what T.800 states, a coefficient at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cinemill.kernels.machine.x86 import available
from tests.support import naive_jpeg2000 as naive

if not available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

from cinemill.codecs.jpeg_2000.parameters import Parameters
from cinemill.codecs.jpeg_2000.subbands import UNCODED_BIT, place
from cinemill.kernels.jpeg_2000 import decode_rows
from cinemill.kernels.jpeg_2000.decode_rows import BYTES, RCT, RGB, SUMS_FIT, WORDS
from cinemill.kernels.jpeg_2000.tables import COLUMNS, ROWS, START, STRIDE


def parameters(rows: int, columns: int, samples: int, levels: int) -> Parameters:
    return Parameters(
        rows,
        columns,
        samples,
        colour_transform=False,
        progression=0,
        levels=levels,
        block_exponents=(6, 6),
        precinct_exponents=((15, 15),) * (levels + 1),
        bit_planes=(1,) * (3 * levels + 1),
    )


def restored(
    planes: np.ndarray, levels: int, kind: int, bits: int, back: int, *, narrow: bool = False
) -> tuple[np.ndarray, int]:
    """Pixels of planes that were decomposed, strip by strip, and the bits that they had."""
    samples, rows, columns = planes.shape
    places = place(parameters(rows, columns, samples, levels))
    assert places is not None
    analysed = np.stack([naive.analyse(plane, levels) for plane in planes]).reshape(-1)
    plain = place_in_planes(rows, columns, samples, levels)
    coefficients = np.full(places.size, 77, np.int16)

    def fill(strip: int) -> None:
        for block, source, number in zip(places.blocks, plain, places.alike >> UNCODED_BIT + 17, strict=True):
            for row in range(block[ROWS] if number == strip else 0):
                at, origin = block[START] + row * block[STRIDE], source[START] + row * source[STRIDE]
                coefficients[at : at + block[COLUMNS]] = analysed[origin : origin + block[COLUMNS]]

    pixels = np.zeros((rows, columns, samples), np.uint16 if kind == WORDS else np.uint8)
    ring = np.zeros(decode_rows.ring_room(columns, samples), np.int16)
    strips = len(places.strips) - 2
    fill(strips)
    largest = np.full((samples, levels, 4), 100 if narrow else 5000)
    assert decode_rows.synthesise_low(coefficients, rows, columns, places.bands, largest)
    low = np.stack([naive.analyse(plane, 1)[: (rows + 1) // 2, : (columns + 1) // 2] for plane in planes])
    assert levels == 1 or (largest[:, 0, 0] == np.abs(low).max((1, 2))).all()
    seen = 0
    for strip in range(strips):
        fill(strip)
        start, stop = 128 * strip, 128 * (strip + 1) if strip + 1 < strips else rows + 2
        seen = decode_rows.synthesise_rows(
            coefficients,
            kind | (SUMS_FIT if narrow else 0),
            rows,
            columns,
            1 << bits - 1,
            back,
            places.bands,
            start,
            ring,
            pixels.reshape(-1).view(np.uint8),
            start,
            stop,
        )
    return pixels, seen


def place_in_planes(rows: int, columns: int, samples: int, levels: int) -> np.ndarray:
    from cinemill.codecs.jpeg_2000.precincts import lay_out_packets

    tables = lay_out_packets(parameters(rows, columns, samples, levels))
    assert tables is not None
    return tables.blocks


@given(
    rows=st.integers(1, 140),
    columns=st.integers(32, 150),
    levels=st.integers(1, 9),
    bits=st.sampled_from([8, 12]),
    seed=st.integers(0, 99),
    signed=st.booleans(),
)
@example(rows=1, columns=32, levels=1, bits=8, seed=0, signed=False)
@example(rows=257, columns=33, levels=5, bits=8, seed=0, signed=False)
@example(rows=128, columns=64, levels=2, bits=12, seed=0, signed=True)
@settings(deadline=None, max_examples=40)
def test_one_component(rows: int, columns: int, levels: int, bits: int, seed: int, *, signed: bool) -> None:
    half = 1 << bits - 1
    plane = np.random.default_rng(seed).integers(-half, half, (1, rows, columns)) >> seed % 6
    kind, back = BYTES if bits == 8 else WORDS, half if signed else 0
    pixels, seen = restored(plane, levels, kind, bits, back, narrow=bool(seed & 1))
    np.testing.assert_array_equal(pixels[..., 0], (plane[0] + half - back).astype(pixels.dtype))
    assert seen == np.bitwise_or.reduce(plane + half, axis=None)


@given(
    rows=st.integers(1, 140),
    columns=st.integers(32, 100),
    levels=st.integers(1, 6),
    seed=st.integers(0, 99),
    transformed=st.booleans(),
)
@settings(deadline=None, max_examples=30)
def test_colour(rows: int, columns: int, levels: int, seed: int, *, transformed: bool) -> None:
    values = np.random.default_rng(seed).integers(-128, 128, (3, rows, columns)) >> seed % 6
    red, green, blue = values
    planes = np.stack([(red + 2 * green + blue) >> 2, blue - green, red - green]) if transformed else values
    pixels, seen = restored(planes, levels, RCT if transformed else RGB, 8, 0, narrow=bool(seed & 1))
    np.testing.assert_array_equal(pixels, np.moveaxis(values + 128, 0, 2))
    assert seen <= 255


@pytest.mark.parametrize("place_of_it", [(0, 0), (69, 70), (30, 64)])
@pytest.mark.parametrize("beyond", [-129, 128])
def test_a_sample_out_of_range_is_seen_wherever_it_is(place_of_it: tuple[int, int], beyond: int) -> None:
    plane = np.zeros((1, 70, 71), int)
    plane[0][place_of_it] = beyond
    assert restored(plane, 2, BYTES, 8, 0)[1] > 255


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_nothing_reaches_farther_than_is_told(seed: int) -> None:
    rng = np.random.default_rng(seed)
    largest = rng.integers(0, 200, 4)
    ll, hl, lh, hh = rng.choice([-1, 1], (4, 3, 3)) * largest[:, None, None]
    found = synthesised(np.block([[ll, hl], [lh, hh]]))
    assert np.abs(found).max() <= decode_rows.reach(largest.astype(np.int64))


def synthesised(coefficients: np.ndarray) -> np.ndarray:
    from cinemill.kernels.jpeg_2000 import decode_wavelet

    found, scratch = np.zeros(coefficients.shape, np.int32), np.zeros((2, 8), np.int32)
    source = np.ascontiguousarray(coefficients, np.int32)
    decode_wavelet.synthesise(source, 1, np.zeros_like(found), scratch, found)
    return found


def test_lanes_are_told_to_be_too_narrow_before_they_are() -> None:
    largest = np.zeros((3, 2, 4), np.int64)
    largest[:, 0, 0] = 8000
    assert decode_rows.fits_lanes(largest, RGB, 128) == SUMS_FIT
    assert decode_rows.fits_lanes(largest, RCT, 128) == 1
    largest[1, 0, 3] = 3000
    assert decode_rows.fits_lanes(largest, RGB, 128)
    assert not decode_rows.fits_lanes(largest, RCT, 128)
    largest[0, 0, 0] = 32767
    assert not decode_rows.fits_lanes(largest, RGB, 128)
    places = place(parameters(40, 40, 1, 2))
    assert places is not None
    coefficients = np.zeros(places.size, np.int16)
    for most, fits in ((32764, True), (32766, False)):
        largest = np.array([[[0, 0, 0, 0], [most, 0, 0, 0]]])
        assert decode_rows.synthesise_low(coefficients, 40, 40, places.bands, largest) == fits
