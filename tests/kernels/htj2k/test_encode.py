"""Each part of the HTJ2K encoder: subbands against T.800's formulas, and no access outside of its arrays."""

import numpy as np
import pytest

from cinemill.kernels.machine.x86 import available
from tests.support import guarded_memory
from tests.support import naive_jpeg2000 as naive

if not available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)

from cinemill.codecs import memory
from cinemill.codecs.jpeg_2000 import htj2k_encode
from cinemill.codecs.jpeg_2000.htj2k_layout import plan
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.kernels.jpeg_2000 import encode_wavelet as wavelet
from cinemill.pixel_format import PixelFormat

SIZES = [(1, 1), (1, 40), (40, 1), (16, 17), (33, 129), (100, 33), (127, 64), (128, 128)]


def subbands(rows, columns, levels, plane):
    """The subbands of each level, as a decomposition in place has them: LL, HL, LH, HH."""
    found = []
    for _ in range(levels):
        low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
        parts = (slice(low_rows), slice(low_rows, rows)), (slice(low_columns), slice(low_columns, columns))
        found.append([plane[y, x] for y in parts[0] for x in parts[1]])
        rows, columns = low_rows, low_columns
    return found


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize(
    ("form", "components", "colour"), [(3, 3, 1), (3, 3, 0), (1, 1, 0), (1, 3, 0), (2, 1, 0), (2, 3, 1)]
)
@pytest.mark.parametrize("narrow", [False, True])
def test_subbands_are_those_of_the_standard(rows, columns, form, components, colour, narrow):
    """All rows fit one strip here, so that HL, LH and HH of the first level are whole."""
    bits = 11 - narrow if form == wavelet.WORDS else 8
    rng = np.random.default_rng(rows)
    samples = rng.integers(0, 1 << bits, (rows, columns, components)).astype("u2" if bits > 8 else "u1")
    how = plan(rows, columns, components, bits, colour_transform=bool(colour))
    coefficients = np.zeros(how.size, np.int16)
    given = samples if form == wavelet.RGB else np.ascontiguousarray(np.moveaxis(samples, -1, 0))
    needed = wavelet.analyse(
        given.reshape(-1).view(np.uint8),
        form,
        components,
        rows,
        columns,
        how.layout.levels,
        colour,
        narrow,
        0,
        1 << bits - 1,
        how.bands,
        rng.integers(0, 256, wavelet.row_memory(columns, components)).astype(np.uint8),
        coefficients,
        0,
    )
    planes = np.moveaxis(samples.astype(np.int64), -1, 0) - (1 << bits - 1)
    if form != wavelet.RGB:
        # What is read beyond the last sample counts as 0, the lowest value.
        assert needed | (1 << bits - 1) - 1 == (1 << bits - 1) - 1
        assert np.bitwise_or.reduce(planes ^ (planes >> 63), axis=None) & ~needed == 0
    if colour:
        red, green, blue = planes
        planes = np.stack([(red + 2 * green + blue) >> 2, blue - green, red - green])
    for component, plane in enumerate(planes):
        expected = subbands(rows, columns, how.layout.levels, naive.analyse(plane, how.layout.levels))
        for level, bands in enumerate(expected or [[plane]]):
            for band, values in enumerate(bands):
                if band == 0 and level < how.layout.levels - 1:
                    continue  # it was decomposed further
                start, pitch = (int(how.bands[component, level, at]) // 2 for at in (band, band + 4))
                high, across = values.shape
                part = coefficients[start : start + high * pitch].reshape(-1, pitch)[:, :across]
                np.testing.assert_array_equal(part, values)


def test_kernels_stay_within_their_arrays(monkeypatch):
    """Every array of the encoder, and each frame, lies beside a page that can't be touched, before or behind it."""
    rng = np.random.default_rng(0)
    shapes = [
        (1, 1),
        (3, 70),
        (2, 3),
        (7, 2),
        (64, 64),
        (65, 129),
        (1, 33000),
        (300, 33),
        *rng.integers(1, 150, (90, 2)).tolist(),
    ]
    with guarded_memory.guarding(htj2k_encode, memory) as numpy:
        for rows, columns in shapes:
            monkeypatch.setattr(htj2k_encode, "_memory", memory.Memory())
            bits, samples = int(rng.choice([1, 4, 8, 8, 10, 12, 13])), int(rng.choice([1, 3]))
            label = "MONOCHROME2" if samples == 1 else "RGB" if bits < 12 else "YBR_FULL"
            pixels = PixelFormat(rows, columns, samples, 8 if bits <= 8 else 16, bits, False, label)  # noqa: FBT003
            frames = [numpy.empty(pixels.shape, pixels.dtype) for _ in range(3)]
            for frame, quiet in zip(frames, (0, bits // 2, bits), strict=True):
                frame[...] = rng.integers(0, 1 << bits, pixels.shape) >> quiet
            codestreams = htj2k_encode.encode(frames, pixels)
            for frame, decoded in zip(frames, OpenJpeg().decode(codestreams, pixels), strict=True):
                np.testing.assert_array_equal(decoded, frame)


def test_code_blocks_of_any_samples_keep_to_their_room():
    """Whatever 16 bits hold, of which the encoder itself never makes the worst."""
    from cinemill.kernels.htj2k.encode_bits import block_room
    from cinemill.kernels.htj2k.encode_blocks import SCRATCH, encode_blocks
    from cinemill.kernels.htj2k.tables import mel_encoding, u_encoding, vlc_encoding

    rng = np.random.default_rng(1)
    for number in range(300):
        rows, columns = (int(rng.integers(1, 65)) for _ in range(2)) if number else (64, 64)
        room = block_room((rows + 1) // 2 * ((columns + 1) // 2))
        samples = np.frombuffer(guarded_memory.guarded(2 * (rows * 80 + 64)), np.int16)
        samples[:] = rng.integers(-(1 << 15), 1 << 15, samples.size) >> rng.integers(0, 16, samples.size)
        if number % 3 == 0:
            samples[:] = rng.choice([-32768, 32767, 0], samples.size, p=[0.3, 0.3, 0.4])
        data = np.frombuffer(guarded_memory.guarded(room), np.uint8)
        found = np.empty((3, 1), np.int64)
        blocks = np.array([[0, 80, columns, rows]])
        scratch = np.frombuffer(guarded_memory.guarded(SCRATCH, at_end=bool(number % 2)), np.uint8)
        tables = vlc_encoding(), u_encoding(), mel_encoding()
        end = encode_blocks(samples, blocks, np.zeros(1, np.int64), scratch, *tables, data, 0, *found)
        assert end == found[2, 0] <= room
