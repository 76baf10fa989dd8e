"""Each part of the JPEG 2000 encoder against what T.800 states, coefficient by coefficient and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cinemill.kernels.machine import processor
from cinemill.kernels.machine.x86 import available
from tests.support import guarded_memory
from tests.support import naive_jpeg2000 as naive

if not available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

from cinemill.codecs import memory
from cinemill.codecs.jpeg_2000 import codec as jpeg2000
from cinemill.codecs.jpeg_2000 import encode_lanes
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.kernels.jpeg_2000 import blocks, mq, passes, planes, wavelet
from cinemill.pixel_format import PixelFormat


@pytest.mark.parametrize(
    "other",
    [
        {"vendor": "AuthenticAMD", "family": "23"},  # Zen 2
        {"flags": frozenset({"avx2", "popcnt"})},
        {"architecture": "aarch64"},
    ],
)
def test_not_available_on_other_processors(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, str | frozenset[str]]
) -> None:
    there = processor.this()._replace(**other)  # type: ignore[arg-type]
    monkeypatch.setattr(processor, "this", lambda: there)
    assert not available()


def mq_encode(sequences: list[bytes]) -> list[bytes]:
    """Code as many symbols in each lane, and then flush them."""
    count = len(sequences[0])
    symbols = np.zeros((mq.LANES, count + mq.ROUND), np.uint8)
    symbols[:, :count] = [list(sequence) for sequence in sequences]
    lanes = mq.new_lanes(np.zeros((mq.LANES, count + 64), np.int64))
    for lane in range(mq.LANES):
        mq.start_lane(lanes, lane)
    for first in range(0, count, mq.ROUND):
        rounds = np.zeros((2 * mq.ROUND, mq.LANES), np.uint8)
        blocks.gather_symbols(symbols.reshape(-1), np.arange(mq.LANES) * symbols.shape[1] + first, rounds)
        np.testing.assert_array_equal(rounds[: mq.ROUND].T, symbols[:, first : first + mq.ROUND])
        before = lanes.registers.copy(), lanes.pending.copy(), lanes.used.copy()
        mq.code_round(rounds, lanes)
        if first + mq.ROUND > count:
            lanes.registers[:], lanes.pending[:], lanes.used[:] = before
            for lane in range(mq.LANES):
                mq.apply_steps(lanes, lane, 0, count - first)
    encoded = []
    for lane in range(mq.LANES):
        out = np.zeros(5 * int(lanes.used[lane]) + 18, np.uint8)
        encoded.append(out[: mq.finish(lanes, lane, out, 0)].tobytes())
    return encoded


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.floats(0, 1), st.integers(1, 19))
@example(0, 700, 0.5, 19)
@example(0, 1, 0.0, 1)
@settings(deadline=None)
def test_mq_decoder_finds_the_symbols_again(seed: int, count: int, ones: float, labels: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, labels, (mq.LANES, count))
    # Each lane has decisions of another likelihood, so that all states are visited.
    decision = rng.random((mq.LANES, count)) < ones ** np.linspace(0.2, 8, mq.LANES)[:, None]
    encoded = mq_encode([bytes(lane) for lane in (label << 3 | decision).astype(np.uint8)])
    for lane in range(mq.LANES):
        decoder = naive.Decoder(encoded[lane])
        assert [decoder.decode(context) for context in label[lane]] == decision[lane].astype(int).tolist()
        assert encoded[lane][-1:] != b"\xff"
        assert not any(a == 0xFF and b > 0x8F for a, b in zip(encoded[lane], encoded[lane][1:], strict=False))


def test_the_test_sequence_of_the_standard() -> None:
    """T.88 H.2; label 1 begins in state 0 as the sequence does.

    The bytes differ where a carry meets a stuffed bit: T.88's encoder leaves it there, this one has it resolved.
    """
    data = bytes.fromhex(
        "00020051000000C0035287 2AAAAAAAAA82C02000FCD79EF6BF7FED90 4F46A3BF".replace(" ", "")
    )
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    standard = bytes.fromhex("84C73BFCE1A1430402200000410DBB86F4317FFF88FF37471ADB6ADFFFAC")
    (encoded, *_) = mq_encode([bytes(1 << 3 | bits)] * mq.LANES)
    for codestream in (standard, encoded):
        decoder = naive.Decoder(codestream)
        assert [decoder.decode(1) for _ in bits] == bits.tolist()
    assert len(encoded) <= len(standard) - 2


def test_mq_coder_survives_the_least_probable_symbols() -> None:
    """Fifteen bits a symbol: a context driven to Qe 1, then contradicted, in all lanes and in one."""
    likely = [1 << 3] * 60000
    for unlikely in ([1 << 3 | 1], [1 << 3 | 1, 1 << 3, 1 << 3 | 1, 1 << 3 | 1]):
        lane = bytes(likely + unlikely)
        encoded = mq_encode([lane] + [bytes(len(lane))] * (mq.LANES - 2) + [lane])
        assert encoded[0] == encoded[-1]
        decoder = naive.Decoder(encoded[0])
        assert bytes(1 << 3 | decoder.decode(1) for _ in lane) == lane


def coefficients(rng: np.random.Generator, rows: int, columns: int, bits: int, density: float) -> np.ndarray:
    magnitude = rng.integers(0, 1 << bits, (rows, columns)) >> rng.integers(0, bits + 1, (rows, columns))
    chosen = rng.random((rows, columns)) < density
    return np.where(chosen, magnitude * rng.choice([-1, 1], (rows, columns)), 0).astype(np.int32)


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.integers(1, planes.MAX_BIT_PLANES),
    st.sampled_from([0.002, 0.02, 0.3, 1.0]),
    st.integers(naive.LL, naive.HH),
    st.integers(0, 2**32 - 1),
)
@example(64, 64, 8, 1.0, naive.HH, 1)
@example(64, 64, 5, 0.01, naive.HL, 2)
@example(63, 33, 15, 0.3, naive.LH, 4)
@example(63, 33, 24, 0.3, naive.LL, 3)
@settings(max_examples=40, deadline=None)
def test_passes_code_what_the_standard_codes(
    rows: int, columns: int, bits: int, density: float, orientation: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    block = coefficients(rng, rows, columns, bits, density)
    expected = naive.CodeBlock(block, orientation).symbols()
    for width in (16, 32) if bits < 16 else (32,):
        # Whatever lies around the code-block must not matter.
        stride = columns + 9
        plane = rng.integers(-(1 << width - 1), 1 << width - 1, (rows + 6) * stride + 64).astype(
            f"i{width // 8}"
        )
        plane[5 : 5 + rows * stride].reshape(rows, stride)[:, :columns] = block
        given, wide, where = (
            plane.view(np.uint8),
            width == 32,
            np.array([5, stride, columns, rows, orientation]),
        )

        counted = np.zeros(1, np.int64)
        blocks.count_planes(given, wide, where[None], counted)
        bit_planes = int(counted[0])
        assert bit_planes == int(np.abs(block).max()).bit_length()
        symbols = np.full(blocks.symbol_room(bit_planes), 255, np.uint8)
        workspace = rng.integers(0, 2**63, planes.PLANES_SIZE // 8).astype(np.uint64)
        arguments = given, wide, where, bit_planes, symbols, 0, workspace
        count = passes.form_symbols(*arguments) if bit_planes else 0
        found = [(int(symbol) >> 3, int(symbol) & 1) for symbol in symbols[:count]]
        assert found == expected
        assert (symbols[count + passes.SYMBOL_SLACK :] == 255).all()
        assert count + passes.SYMBOL_SLACK + mq.ROUND <= len(symbols)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5), st.integers(0, 2**32 - 1))
@example(1, 1, 5, 0)
@example(1, 70, 5, 0)
@example(69, 1, 5, 0)
@settings(deadline=None)
def test_wavelet_is_the_reversible_5_3(rows: int, columns: int, levels: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-70000, 70000, (rows, columns)).astype(np.int32)
    found = np.zeros_like(samples)
    scratch = np.zeros((2, columns // 2 + 3), np.int32)
    wavelet.analyse(samples.copy(), levels, np.zeros_like(samples), scratch, found)
    np.testing.assert_array_equal(found, naive.analyse(samples, levels))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_colour_transform_is_the_reversible_one(kind: type[np.integer]) -> None:
    limits = np.iinfo(kind)
    rgb = np.random.default_rng(0).integers(limits.min, limits.max + 1, (1000, 3)).astype(kind)
    middle = (int(limits.max) + int(limits.min) + 1) // 2
    sign = 1 << limits.bits - 1
    planes = np.zeros((3, 1000), np.int32)
    unsigned = rgb.reshape(-1).view(f"u{rgb.itemsize}")
    needed = wavelet.shift_levels(unsigned, sign if limits.min else 0, sign, planes)
    red, green, blue = (rgb.astype(int) - middle).T
    np.testing.assert_array_equal(planes, [red, green, blue])
    assert needed.bit_length() == limits.bits - 1
    wavelet.transform_colour(planes)
    np.testing.assert_array_equal(planes, [(red + 2 * green + blue) >> 2, blue - green, red - green])


def test_kernels_stay_within_their_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array of the encoder, and each frame, lies beside a page that can't be touched, before or behind it."""
    rng = np.random.default_rng(0)
    shapes = [
        (1, 1),
        (3, 70),
        (64, 64),
        (65, 129),
        (300, 70),
        (1, 33000),
        *rng.integers(1, 90, (60, 2)).tolist(),
    ]
    with guarded_memory.guarding(jpeg2000, encode_lanes, memory) as numpy:
        for rows, columns in shapes:
            monkeypatch.setattr(jpeg2000, "_memory", memory.Memory())
            bits, samples = int(rng.integers(1, 17)), int(rng.choice([1, 3]))
            pixels = PixelFormat(
                rows,
                columns,
                samples,
                8 if bits <= 8 else 16,
                bits,
                signed=False,
                photometric_interpretation="RGB",
            )
            frames = [numpy.empty(pixels.shape, pixels.dtype) for _ in range(3)]
            for frame, quiet in zip(frames, (0, bits // 2, bits), strict=True):
                frame[...] = rng.integers(0, 1 << bits, pixels.shape) >> quiet
            codestreams = jpeg2000.Jpeg2000().encode(frames, pixels)
            for frame, decoded in zip(frames, OpenJpeg().decode(codestreams, pixels), strict=True):
                np.testing.assert_array_equal(decoded, frame)
