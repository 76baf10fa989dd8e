"""Each part of the JPEG 2000 decoder against what T.800 states, coefficient by coefficient and bit by bit."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cinemill.kernels.machine.x86 import available
from tests.support import guarded_memory
from tests.support import naive_jpeg2000 as naive

if not available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

from cinemill.codecs import memory
from cinemill.codecs.jpeg_2000 import decode as jpeg2000_decode
from cinemill.codecs.jpeg_2000 import precincts as jpeg2000_precincts
from cinemill.codecs.jpeg_2000.codec import Jpeg2000
from cinemill.codecs.jpeg_2000.parameters import Parameters
from cinemill.kernels.jpeg_2000 import decode_blocks as blocks
from cinemill.kernels.jpeg_2000 import decode_mq as mq
from cinemill.kernels.jpeg_2000 import decode_wavelet as wavelet
from cinemill.kernels.jpeg_2000.tables import BIT_PLANES, COLUMNS, FIRST_AREA, FIRST_BLOCK, ROWS, START
from tests.fuzz import decoders as fuzz_decoders

H_2 = bytes.fromhex("84C73BFCE1A1430402200000410DBB86F4317FFF88FF37471ADB6ADFFFAC")
"""The test sequence of T.88 H.2, with a carry in a stuffed bit."""


def naive_unstuff(data: bytes) -> tuple[int, int]:
    """The code as one number, and how many bits it has (C.3.4)."""
    number = bits = 0
    for before, byte in zip(b"\0" + data, data, strict=False):
        if before == 0xFF and byte > 0x8F:
            break
        width = 7 if before == 0xFF else 8
        number, bits = (number << width) + byte, bits + width
    return number, bits


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=3))
@example(H_2, b"\xff")
@example(b"\x00\xff\x80" * 9, b"\x01")
@example(b"\xff\x8f", b"\x02")
def test_unstuffed_bytes_are_one_number(data: bytes, more: bytes) -> None:
    data = data.replace(more, b"\xff")
    out = np.full(len(data) + 20, 0x55, np.uint8)
    ones = mq.unstuff(np.frombuffer(b"\0\0" + data + b"\0", np.uint8), 2, len(data), out, 3)
    number, bits = naive_unstuff(data)
    padding = 8 * (ones - 3) - 1 - bits
    assert 1 <= padding <= 8
    assert int.from_bytes(out[3:ones].tobytes(), "big") == (number + 1 << padding) - 1
    assert (out[ones : ones + 8] == 0xFF).all()
    assert (out[:3] == 0x55).all()
    assert (out[len(data) + 3 + 9 :] == 0x55).all()


def aligned(size: int) -> np.ndarray:
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size]


def started(codes: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Decoders of 64 codes, and what they read from."""
    lanes = aligned(mq.DECODERS_SIZE)
    unstuffed, end = np.zeros(sum(map(len, codes)) + 9 * mq.LANES, np.uint8), 0
    for lane, code in enumerate(codes):
        ones = mq.unstuff(np.frombuffer(code + b"\0", np.uint8), 0, len(code), unstuffed, end)
        mq.start_lane(lanes.ctypes.data, lane, unstuffed.ctypes.data + end, unstuffed.ctypes.data + ones)
        end = ones + 8
    mq.fill(lanes.ctypes.data)
    return lanes, unstuffed


def word(bits: np.ndarray) -> int:
    return int(np.packbits(bits.astype(bool), bitorder="little").view(np.int64)[0])


def bits_of(number: int) -> np.ndarray:
    return np.unpackbits(np.array([number]).view(np.uint8), bitorder="little")


def decode(lanes: np.ndarray, kind: int, active: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Decode a symbol in the active lanes; ``label`` counts from the first of its kind."""
    which, *bits = word(active), *(word(label >> bit & 1) for bit in range(4))
    at = lanes.ctypes.data
    match kind:
        case mq.ZERO_CODING:
            return bits_of(mq.decode_zero(at, which, *bits))
        case mq.SIGN_CODING:
            return bits_of(mq.decode_sign(at, which, *bits[:3]))
        case mq.REFINEMENT:
            return bits_of(mq.decode_refinement(at, which, *bits[:2]))
    return bits_of(mq.decode_in(at, kind, which))


KINDS = {mq.ZERO_CODING: 9, mq.SIGN_CODING: 5, mq.REFINEMENT: 3, mq.RUN_LENGTH: 1, mq.UNIFORM: 1}


@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
@example(0, 3000)
@settings(max_examples=25, deadline=None)
def test_all_lanes_decode_what_one_decoder_does(seed: int, steps: int) -> None:
    """Codes of random bytes, of random length, and beyond their end; lanes take part at random."""
    rng = np.random.default_rng(seed)
    # A carry in a stuffed bit means something only where an encoder left it.
    codes = [
        re.sub(rb"\xff[\x80-\x8f]", b"\xff\x7f", rng.bytes(int(rng.integers(0, 120))))
        for _ in range(mq.LANES)
    ]
    codes[:2] = b"", b"\xff"
    lanes, unstuffed = started(codes)
    decoders = [naive.Decoder(code) for code in codes]
    for _ in range(steps):
        kind = int(rng.choice(list(KINDS)))
        label = rng.integers(0, KINDS[kind], mq.LANES)
        active = rng.random(mq.LANES) < rng.choice([0.02, 0.5, 1])
        expected = [
            decoder.decode(kind + number) if takes_part else 0
            for decoder, number, takes_part in zip(decoders, label, active, strict=True)
        ]
        assert decode(lanes, kind, active, label).tolist() == expected
    del unstuffed


def test_the_test_sequence_of_the_standard() -> None:
    """T.88 H.2; label 1 begins in state 0 as the sequence does."""
    data = "00020051000000C0035287 2AAAAAAAAA82C02000FCD79EF6BF7FED90 4F46A3BF".replace(" ", "")
    expected = np.unpackbits(np.frombuffer(bytes.fromhex(data), np.uint8))
    lanes, unstuffed = started([H_2] * mq.LANES)
    every, label = np.ones(mq.LANES), np.ones(mq.LANES, int)
    found = [decode(lanes, mq.ZERO_CODING, every, label) for _ in expected]
    assert (expected == np.array(found).T).all()
    del unstuffed


def coefficients(rng: np.random.Generator, rows: int, columns: int, bits: int, density: float) -> np.ndarray:
    magnitude = rng.integers(0, 1 << bits, (rows, columns)) >> rng.integers(0, bits + 1, (rows, columns))
    chosen = rng.random((rows, columns)) < density
    return np.where(chosen, magnitude * rng.choice([-1, 1], (rows, columns)), 0).astype(np.int32)


def coded(block: np.ndarray, orientation: int, missing: int) -> tuple[bytes, int, np.ndarray]:
    """Code a code-block but for its last passes: its bytes, bit-planes, and what a decoder can know of it."""
    encoder, coder = naive.Encoder(), naive.CodeBlock(block, orientation)
    passes = coder.passes()
    for symbols in passes[: len(passes) - missing]:
        for label, decision in symbols:
            encoder.encode(label, decision)
    return encoder.flush(), (len(passes) + 2) // 3, naive.without_passes(block, orientation, missing)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("i2", 1), ("i2", 7), ("i2", 8), ("i2", 15), ("i4", 1), ("i4", 4), ("i4", 9), ("i4", 17), ("i4", 24)],
)
@pytest.mark.parametrize("seed", range(2))
def test_code_blocks_are_those_that_were_coded(seed: int, kind: str, bits: int) -> None:
    """Of all sizes, orientations and numbers of bit-planes in one vector, with up to three passes left out."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9)) if seed % 2 else 64
    parts, table, expected = [b"\0"], [], []
    found = np.zeros((4, count), np.int64)
    start = 7
    for index in range(count):
        rows, columns = (int(side) for side in rng.integers(1, 12, 2))
        if index < 2:
            rows, columns = rng.permutation([64, 13]).tolist()
        orientation = int(rng.integers(0, 4))
        block = coefficients(rng, rows, columns, int(rng.integers(1, bits + 1)), rng.choice([0.02, 0.3, 1.0]))
        block[0, 0] = 1 << bits - 1 if index == 0 else max(1, abs(block[0, 0]))
        planes = int(np.abs(block).max()).bit_length()
        missing = int(rng.integers(0, 4)) if planes > 1 else 0
        code, bit_planes, known = coded(block, orientation, missing)
        assert bit_planes == planes
        found[:, index] = bit_planes, missing, sum(map(len, parts)), len(code)
        parts.append(code)
        table.append((start, columns + 3, columns, rows, orientation))
        expected.append((start, known))
        start += rows * (columns + 3)
    result = np.full(start, 12345, kind)
    wanted = result.copy()
    for (begin, known), row in zip(expected, table, strict=True):
        place = wanted[begin : begin + row[ROWS] * row[1]].reshape(row[ROWS], row[1])
        place[:, : row[COLUMNS]] = known
    blocks.decode_blocks(
        np.frombuffer(b"".join(parts), np.uint8),
        found[0],
        found[1],
        found[2],
        found[3],
        np.array(table),
        np.arange(count),
        np.zeros(blocks.unstuffed_room(found[3]), np.uint8),
        rng.integers(0, 256, blocks.MEMORY).astype(np.uint8),
        result,
    )
    np.testing.assert_array_equal(result, wanted)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5), st.integers(0, 2**32 - 1))
@example(1, 1, 5, 0)
@example(1, 70, 5, 0)
@example(69, 1, 4, 0)
@settings(deadline=None)
def test_wavelet_undoes_the_reversible_5_3(rows: int, columns: int, levels: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-70000, 70000, (rows, columns)).astype(np.int32)
    analysed = naive.analyse(samples, levels).astype(np.int32)
    found, scratch = np.zeros_like(samples), np.zeros((2, columns // 2 + 3), np.int32)
    wavelet.synthesise(analysed, levels, np.zeros_like(samples), scratch, found)
    np.testing.assert_array_equal(found, samples)


def test_colour_and_levels_are_restored_and_limited() -> None:
    rng = np.random.default_rng(0)
    red, green, blue = rng.integers(-128, 128, (3, 1000))
    planes = np.array([(red + 2 * green + blue) >> 2, blue - green, red - green], np.int32)
    wavelet.restore_colour(planes)
    np.testing.assert_array_equal(planes, [red, green, blue])
    planes[:, 0] = 128, -129, 1 << 30
    samples = np.zeros(3000, np.uint8)
    wavelet.restore_levels(planes, 128, 0, 255, samples)
    np.testing.assert_array_equal(samples.reshape(-1, 3), np.clip(planes + 128, 0, 255).T)
    signed = np.zeros(1000, np.uint16)
    wavelet.restore_levels(planes[:1], 0, -128, 127, signed)
    np.testing.assert_array_equal(signed.view(np.int16), np.clip(planes[0], -128, 127))


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 4),
    st.sampled_from([1, 3]),
    st.integers(0, 4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_packets_follow_the_progression(
    rows: int, columns: int, levels: int, samples: int, progression: int, xcb: int, ycb: int, seed: int
) -> None:
    """The loops of B.12.1, and code-blocks that cover each coefficient once."""
    precincts = tuple(
        (int(x), int(y)) for x, y in np.random.default_rng(seed).integers(2, 8, (levels + 1, 2))
    )
    bit_planes = tuple(range(1, 3 * levels + 2))
    parameters = Parameters(
        rows,
        columns,
        samples,
        colour_transform=False,
        progression=progression,
        levels=levels,
        block_exponents=(xcb + 1, ycb + 1),
        precinct_exponents=precincts,
        bit_planes=bit_planes,
    )
    tables = jpeg2000_precincts.lay_out_packets(parameters)
    assert tables is not None
    # A packet is known by its component and by where its precinct's first code-blocks are.
    expected = naive.packets(rows, columns, samples, levels, progression, precincts)
    found = []
    covered = np.zeros(rows * columns * samples, int)
    for first, count in tables.packets:
        areas = tables.areas[first : first + count]
        resolution = (int(areas[0, BIT_PLANES]) + 1) // 3
        starts = [int(tables.blocks[area[FIRST_BLOCK], START]) if area[0] * area[1] else -1 for area in areas]
        found.append((resolution, starts))
    for start, stride, width, height, _ in tables.blocks:
        for row in range(height):
            covered[start + row * stride : start + row * stride + width] += 1
    assert (covered == 1).all()
    assert found == expected
    assert (tables.packets[:, FIRST_AREA] >= 0).all()


def test_mutated_codestreams_decode_as_elsewhere() -> None:
    outcomes = fuzz_decoders.run("jpeg-2000", 300, seed=5)
    assert outcomes["exact samples"] > 30
    assert outcomes["error"] > 30


def test_kernels_stay_within_their_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array of the decoder lies beside a page that can't be touched, whatever the packets hold."""
    monkeypatch.setattr(jpeg2000_decode, "_BREAK_EVEN", 0)
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 70), (64, 64), (65, 129), (1, 3300), *rng.integers(1, 90, (40, 2)).tolist()]
    with guarded_memory.guarding(jpeg2000_decode, memory):
        for rows, columns in shapes:
            monkeypatch.setattr(jpeg2000_decode, "_memory", memory.Memory())
            bits, samples = int(rng.integers(1, 17)), int(rng.choice([1, 3]))
            pixels = fuzz_decoders.pixel_format(rows, columns, samples, 8 if bits <= 8 else 16, bits)
            frames = [
                (rng.integers(0, 1 << bits, pixels.shape) >> quiet).astype(pixels.dtype)
                for quiet in (0, bits // 2)
            ]
            codestreams = Jpeg2000().encode(frames, pixels)
            for frame, decoded in zip(frames, Jpeg2000().decode(codestreams, pixels), strict=True):
                np.testing.assert_array_equal(decoded, frame)
            for codestream in codestreams:
                start = codestream.find(b"\xff\x93") + 2
                damaged = bytearray(codestream)
                for place in rng.integers(start, len(damaged) - 2, 3) if start < len(damaged) - 2 else []:
                    damaged[place] = rng.integers(0, 0x90)
                fuzz_decoders.decoded(Jpeg2000(), bytes(damaged), pixels)
