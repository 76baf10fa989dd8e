"""The HT block decoder against what T.814 states, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinemill.kernels.machine.x86 import available
from tests.support import guarded_memory, naive_htj2k

if not available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

from cinemill.kernels.htj2k import decode_samples
from cinemill.kernels.htj2k.decode_bits import BEYOND, DAMAGED, SOUND, UNUSUAL
from tests.fuzz import htj2k_decode as fuzz


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1, 64), (64, 1), (2, 2), (3, 5), (64, 64), (33, 47), (16, 16)]
)
@pytest.mark.parametrize("bits", [1, 4, 12])
def test_samples_are_those_that_another_encoder_put_in(
    rows: int, columns: int, bits: int, *, wide: bool
) -> None:
    rng = np.random.default_rng(rows * columns + bits)
    for _ in range(8):
        block = fuzz.block(rng, rows, columns, bits)
        status, found = fuzz.by_kernel(np.frombuffer(block.data, np.uint8), columns, rows, wide=wide)
        assert status == SOUND
        np.testing.assert_array_equal(found, block.samples)


def test_naive_decoder_reads_what_another_encoder_wrote() -> None:
    rng = np.random.default_rng(0)
    for rows, columns, bits in ((1, 1, 3), (7, 9, 15), (20, 33, 6)):
        block = fuzz.block(rng, rows, columns, bits)
        found, left_over = naive_htj2k.decode(block.data, columns, rows, 30)
        np.testing.assert_array_equal(found, block.samples)
        assert left_over == 0


@given(
    magsgn=st.binary(min_size=2, max_size=60),
    suffix=st.binary(max_size=40),
    columns=st.integers(1, 18),
    rows=st.integers(1, 18),
    wide=st.booleans(),
)
@settings(deadline=None)
def test_any_bytes_mean_the_same_as_in_the_standard(
    magsgn: bytes, suffix: bytes, columns: int, rows: int, *, wide: bool
) -> None:
    """Random MEL and VLC bits, of a length that is told rightly: most go on until MagSgn ends."""
    length = len(suffix) + 2
    data = magsgn + suffix + bytes([length & 15 | 0xF0, length >> 4])
    fuzz.compare(data, columns, rows, guarded_memory.GuardedMemory(), wide=wide)


def test_damaged_code_blocks_mean_the_same_as_in_the_standard() -> None:
    outcomes = fuzz.run_blocks(600, seed=2)
    assert outcomes["alike"] > 60
    assert outcomes["refused alike"] > 60


def test_what_can_not_be_is_damaged_and_what_nobody_writes_is_unusual() -> None:
    rng = np.random.default_rng(3)
    block = fuzz.block(rng, 16, 16, 8)

    def status(data: bytes) -> int:
        return fuzz.by_kernel(np.frombuffer(data, np.uint8), 16, 16, wide=False)[0]

    assert status(block.data) == SOUND
    assert status(b"") == UNUSUAL
    assert status(block.data[-1:]) == DAMAGED
    assert status(block.data[2:]) == DAMAGED  # fewer bits than samples have
    assert status(b"\xff\x80" + block.data) == DAMAGED  # a stuffed bit that is set
    assert status(block.data[:-1] + b"\xff") == DAMAGED  # MEL and VLC longer than all
    stuffed = bytes.fromhex("ee90b63a082c9514d600acded90afffff1d8b3d6eb1fdd59352401")
    assert status(stuffed) == DAMAGED  # a stuffed bit of VLC that is set
    size = 16 * block.data[-1] + block.data[-2] % 16
    unread = block.data[:-size] + b"\x00\x00" + block.data[-size:]
    assert status(unread) == UNUSUAL


def test_samples_too_large_for_the_lanes_are_told() -> None:
    rng = np.random.default_rng(4)
    blocks = (fuzz.block(rng, 16, 16, 15) for _ in range(50))
    block = next(one for one in blocks if np.abs(one.samples).max() > 1 << decode_samples.MOST_U - 1)
    data = np.frombuffer(block.data, np.uint8)
    assert fuzz.by_kernel(data, 16, 16, wide=False)[0] == BEYOND
    status, found = fuzz.by_kernel(data, 16, 16, wide=True)
    assert status == SOUND
    np.testing.assert_array_equal(found, block.samples)
