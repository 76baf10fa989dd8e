"""Damage in lossy JPEG: found wherever it changes what is there, and not imagined where all is well."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cinemill.codecs.jpeg.libjpeg_turbo import LibjpegTurbo
from cinemill.codecs.jpeg.scans import check_entropy_data
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.fuzz import jpeg_entropy as fuzz_jpeg_entropy
from tests.support import naive_jpeg_dct as naive
from tests.support.files import pydicom_files


def image(rows: int, columns: int, samples: int = 1) -> np.ndarray:
    """Noise, a gradient and black."""
    rng = np.random.default_rng(rows)
    y, x = np.indices((rows, columns))
    frame = np.stack([(x * 2 + y * (band + 1)) % 256 for band in range(samples)], axis=-1).astype(np.uint8)
    frame[: rows // 3] = rng.integers(0, 256, frame[: rows // 3].shape, np.uint8)
    frame[rows // 2 :, columns // 3 :] = 0
    return frame[..., 0] if samples == 1 else frame


def jpeg(frame: np.ndarray, **options) -> bytes:
    buffer = BytesIO()
    mode = "CMYK" if frame.ndim == 3 and frame.shape[2] == 4 else None
    Image.fromarray(frame, mode).save(buffer, "JPEG", **{"quality": 85, **options})
    return buffer.getvalue()


def scan_starts(stream: bytes) -> list[int]:
    """Positions of the entropy-coded data of each scan, going by SOS markers outside segments."""
    starts, position = [], 2
    while stream[position + 1] != 0xD9:
        if stream[position] != 0xFF or stream[position + 1] in {0, *range(0xD0, 0xD8)}:
            position += 1
            continue
        sos = stream[position + 1] == 0xDA
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        if sos:
            starts.append(position)
    return starts


OPTIONS = [
    {},
    {"quality": 1},
    {"quality": 100},
    {"optimize": True},
    {"progressive": True},
    {"progressive": True, "quality": 100},
    {"restart_marker_blocks": 1},
    {"restart_marker_rows": 1, "progressive": True},
    {"subsampling": 0},
    {"subsampling": 1, "restart_marker_rows": 1},
    {"subsampling": 2, "progressive": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_frames_written_by_libjpeg_turbo_pass(samples, options):
    for shape in ((1, 1), (8, 8), (17, 33), (50, 7), (120, 161)):
        check_entropy_data(jpeg(image(*shape, samples), **options))


@pytest.mark.parametrize("level", [50, 95, 100])
def test_twelve_bits_pass(level):
    frame = image(70, 90).astype(np.uint16) * 16 + 7
    check_entropy_data(bytes(imagecodecs.jpeg8_encode(frame, level=level, bitspersample=12)))


@pytest.mark.parametrize("seed", range(60))
def test_any_layout_of_scans_passes_and_none_cut_short(seed):
    rng = np.random.default_rng(seed)
    layout = naive.random_layout(rng)
    stream = naive.write(rng, layout)
    check_entropy_data(memoryview(stream))
    for length in rng.integers(len(stream) // 2, len(stream) - 2, 20):
        with pytest.raises((CodecError, UnsupportedPixelFormat)):
            check_entropy_data(stream[:length] + b"\xff\xd9")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_frame_cut_short_is_found(options):
    """EOI is put back: scans that are missing, or missing from a place between two of them, are found as well."""
    stream = jpeg(image(24, 31, 3), **options)
    for length in range(scan_starts(stream)[0], len(stream) - 2):
        with pytest.raises(CodecError):
            check_entropy_data(stream[:length] + b"\xff\xd9")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_bytes_missing_in_the_middle_are_found(options):
    """A few bytes from inside one block leave the number of blocks as it is, and can't be found; many are."""
    frame = image(120, 161, 3)
    frame[:40] = frame[40:80]
    stream = jpeg(frame, **options)
    start, found = scan_starts(stream)[0], 0
    places = np.random.default_rng(0).integers(start, len(stream) - 104, 200)
    for place in places:
        try:
            check_entropy_data(stream[:place] + stream[place + 100 :])
        except CodecError:
            found += 1
    assert found > 0.85 * len(places)


def test_damage_stands_with_both_numbers_and_its_place():
    stream = jpeg(image(64, 64))
    half = stream[: len(stream) // 2] + b"\xff\xd9"
    with pytest.raises(CodecError, match=r"expected 64 MCUs, found \d+ ") as caught:
        check_entropy_data(half)
    assert caught.value.offset == len(half) - 2
    extra = stream[:-2] + b"\x12\x34\x56\xff\xd9"
    with pytest.raises(
        CodecError, match="64 of 64 MCUs found, 3 bytes left over before the marker"
    ) as caught:
        check_entropy_data(extra)
    assert caught.value.offset == len(stream) + 1


def test_codes_that_no_table_has_and_coefficients_past_63():
    stream = jpeg(image(64, 64), quality=95)
    start = scan_starts(stream)[0]
    with pytest.raises(CodecError, match="MCU 0 of 64 has a code that its Huffman table has not") as caught:
        check_entropy_data(stream[:start] + b"\xff\0\xff\0\xff\0" + stream[start:])
    assert caught.value.offset == start
    rng = np.random.default_rng(1)
    grey = naive.Layout(8, 8, [(1, 1)], [[0]])
    words = {symbol: f"{code:0{length}b}" for (length, code), symbol in naive.code_words_of(naive.AC).items()}
    dc = {symbol: f"{code:0{length}b}" for (length, code), symbol in naive.code_words_of(naive.DC).items()}
    whole = naive.write(rng, grey)
    text = dc[0] + 5 * words[0xF0] + words[0] * 40
    text += "0" * (-len(text) % 8)
    data = int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:].replace(b"\xff", b"\xff\0")
    with pytest.raises(CodecError, match="MCU 0 of 1 has a coefficient beyond the last one, 63"):
        check_entropy_data(whole[: scan_starts(whole)[0]] + data + b"\xff\xd9")


def test_a_run_of_empty_blocks_beyond_the_last_one():
    stream = jpeg(np.full((64, 64), 128, np.uint8), progressive=True)
    shorter = stream.replace(b"\x08\0\x40\0\x40\1", b"\x08\0\x38\0\x40\1")
    with pytest.raises(CodecError, match="expected 56 MCUs, a run of empty blocks goes beyond MCU 55"):
        check_entropy_data(shorter)


@pytest.fixture
def restarted() -> bytes:
    return jpeg(image(64, 64), restart_marker_rows=1)


def test_restart_markers_missing_wrong_or_out_of_order(restarted):
    intervals = [restarted.index(bytes([0xFF, 0xD0 + number])) for number in range(7)]
    first, second, third = intervals[:3]
    damaged = [
        restarted[:first] + restarted[first + 2 :],
        restarted[:first] + b"\xff\xd3" + restarted[first + 2 :],
        restarted[:first] + restarted[second:],
        restarted[: second + 2] + restarted[first + 2 : second] + restarted[third:],
        restarted[:first] + restarted[second:third] + restarted[first:second] + restarted[third:],
    ]
    for stream in (*damaged[:3], damaged[4]):
        with pytest.raises(CodecError, match="of 64 MCUs found"):
            check_entropy_data(stream)
    check_entropy_data(damaged[3])


def test_fill_bytes_padding_and_comments_do_no_harm(restarted):
    plain = jpeg(image(64, 64))
    check_entropy_data(restarted.replace(b"\xff\xd2", b"\xff\xff\xff\xd2"))
    check_entropy_data(restarted[:-2] + b"\xff\xd7" + restarted[-2:])
    for padding in (b"\0", b"\0\0\0", b"\xff", b"\xff\xff\xff", b"\xff\0", b"\xff\xfe\0\4ab"):
        check_entropy_data(plain[:-2] + padding + plain[-2:])
        check_entropy_data(plain + padding)
        check_entropy_data(jpeg(image(64, 64), progressive=True)[:-2] + padding + plain[-2:])
    check_entropy_data(plain[:2] + b"\xff\xff\xfe\0\4ab" + plain[2:])


def test_tables_are_looked_for_at_each_scan():
    stream = jpeg(image(16, 16, 3), progressive=True)
    starts = scan_starts(stream)
    for marker, message in ((0xDB, "no quantisation table"), (0xC4, "no DC Huffman table")):
        place = stream.index(bytes([0xFF, marker]))
        size = 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        with pytest.raises(CodecError, match=message):
            check_entropy_data(stream[:place] + stream[place + size :])
    last = stream[: starts[-2]]
    with pytest.raises(CodecError, match=r"scans of component \d are missing"):
        check_entropy_data(last[: last.rindex(b"\xff\xda")] + b"\xff\xd9")


@pytest.mark.parametrize("progression", [(0, 5, 0), (6, 5, 0), (1, 64, 0), (0, 0, 0x31), (0, 0, 14)])
def test_progressions_that_can_not_be(progression):
    stream = jpeg(image(16, 16), progressive=True)
    start = scan_starts(stream)[0]
    with pytest.raises(CodecError, match=r"Ss, Se, Ah, Al \("):
        check_entropy_data(stream[: start - 3] + bytes(progression) + stream[start:])


def test_scans_sent_twice_or_out_of_order():
    rng = np.random.default_rng(3)
    stream = naive.write(rng, naive.Layout(9, 9, [(1, 1)] * 3, [[0], [1], [1]]))
    with pytest.raises(CodecError, match="component 2, coefficients 0 to 63"):
        check_entropy_data(stream)
    missing = naive.write(rng, naive.Layout(9, 9, [(1, 1)] * 3, [[0], [2]]))
    with pytest.raises(CodecError, match="scans of component 2 are missing"):
        check_entropy_data(missing)


@pytest.mark.parametrize(
    ("found", "replaced", "error", "message"),
    [
        (b"\xff\xd8", b"\xff\xd9", CodecError, "begins with FF D8"),
        (b"\xff\xc0\0\x0b\x08\0\x10", b"\xff\xc0\0\x0b\x08\0\0", UnsupportedPixelFormat, "DNL"),
        (b"\xff\xda", b"\xff\xdc\0\4\0\x10\xff\xda", UnsupportedPixelFormat, "DNL"),
        (b"\xff\xc0", b"\xff\xc9", UnsupportedPixelFormat, "sequential with arithmetic coding"),
        (b"\xff\xc0", b"\xff\xca", UnsupportedPixelFormat, "progressive with arithmetic coding"),
        (b"\xff\xc0", b"\xff\xc5", UnsupportedPixelFormat, "differential sequential"),
        (b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c", CodecError, "baseline with 12 bits"),
        (
            b"\xff\xc0\0\x0b\x08\0\x10\0\x10\1",
            b"\xff\xc0\0\x0b\x08\0\x10\0\x10\2",
            CodecError,
            "contradicts itself",
        ),
        (b"\1\x11\0", b"\1\x51\0", CodecError, r"sampling factors \[1, 5\]"),
        (
            b"\xff\xda\0\x08\1\1",
            b"\xff\xda\0\x08\1\2",
            CodecError,
            r"components of \[1\], each once, found \[2\]",
        ),
        (b"\xff\xda\0\x08\1", b"\xff\xda\0\x07\1", CodecError, "contradicts itself"),
        (b"\xff\xc4\0\x1f\0\0\1\5", b"\xff\xc4\0\x1f\0\3\1\2", CodecError, "too many codes of 1 bits"),
        (b"\xff\xdb\0\x43\0", b"\xff\xdb\0\x43\x13", CodecError, "quantisation table contradicts"),
        (b"\xff\xc4", b"\xff\xdd\0\3\0\xff\xc4", CodecError, "DRI segment has 4 bytes"),
    ],
)
def test_headers_that_contradict_themselves_and_processes_that_are_refused(found, replaced, error, message):
    stream = jpeg(image(16, 16))
    assert found in stream
    with pytest.raises(error, match=message):
        check_entropy_data(stream.replace(found, replaced, 1))


def test_jpeg_lossless_is_left_to_its_decoder():
    stream = bytes(imagecodecs.jpeg8_encode(image(16, 16), lossless=True, predictor=1))
    check_entropy_data(stream[:-30] + b"\xff\xd9")


def test_the_decoder_names_the_frame():
    stream = jpeg(image(64, 64))
    pixels = PixelFormat(64, 64, 1, 8, 8, signed=False, photometric_interpretation="MONOCHROME2")
    with pytest.raises(CodecError, match="expected 64 MCUs, found") as caught:
        LibjpegTurbo().decode([stream, stream[:-40] + b"\xff\xd9"], pixels)
    assert caught.value.frame == 1


def test_mutated_codestreams():
    """Nothing but an error of ours may happen, whatever the bytes are."""
    outcomes = fuzz_jpeg_entropy.run(10_000, seed=5)
    assert outcomes["error"] > 5000
    assert outcomes["passed"] > 300


def test_many_flipped_bits_are_found():
    """A flip among the bits of a value changes the value only; one in a code shifts what follows, for a while."""
    stream = jpeg(image(120, 161, 3))
    assert fuzz_jpeg_entropy.flips_found(stream, 1000, seed=6) > 0.4


@pytest.mark.corpus
def test_real_frames_pass(corpus):
    checked = fuzz_jpeg_entropy.check_files(sorted(corpus.iterdir()))
    assert checked >= 600


def test_frames_that_come_with_pydicom_pass():
    assert fuzz_jpeg_entropy.check_files(pydicom_files()) >= 30
