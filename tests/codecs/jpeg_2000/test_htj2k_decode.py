"""HTJ2K by the own kernels: what they decode, what they refuse, and what they leave to OpenJPEG."""

from __future__ import annotations

import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cinemill.codecs import compiling, memory, table
from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg_2000 import htj2k, htj2k_decode
from cinemill.codecs.jpeg_2000.markers import read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, check_codestream
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.fuzz import htj2k_decode as fuzz
from tests.support import guarded_memory
from tests.support.files import conformance_streams
from tests.support.pictures import CONTENTS, picture, pixel_format

if not x86.available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)


def by_kernels(codestream: bytes, pixels: PixelFormat) -> np.ndarray | None:
    return htj2k_decode.decode_by_kernels(*check_codestream(codestream, pixels, 0, tolerant=True), pixels, 0)


@pytest.mark.parametrize("ready", [False, True])
def test_openjpeg_verifies_until_it_has_taken_as_long_as_to_compile_the_kernels(
    monkeypatch: pytest.MonkeyPatch, *, ready: bool
) -> None:
    pixels = pixel_format(70, 90, 3)
    frames = [picture(pixels, "smooth")] * 2
    codestreams = htj2k.Htj2k().encode(frames, pixels)
    monkeypatch.setattr(htj2k, "_spared", Spared(2 * 2 * frames[0].size, "decoder"))
    monkeypatch.setattr(compiling, "is_compiled", lambda _: ready)
    by_kernels = Mock(side_effect=htj2k_decode.attributed)
    monkeypatch.setattr(htj2k_decode, "attributed", by_kernels)
    for _ in range(4):
        for frame, decoded in zip(
            frames, table.verifiers("htj2k")[0].decode(codestreams, pixels), strict=True
        ):
            np.testing.assert_array_equal(decoded, frame)
    assert by_kernels.call_count == (4 if ready else 1)


def test_sources_are_decoded_by_the_kernels_which_find_more_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = pixel_format(70, 90, 3)
    (codestream,) = htj2k.Htj2k().encode([picture(pixels, "smooth")], pixels)
    monkeypatch.setattr(htj2k, "_spared", Spared(1 << 40, "decoder"))
    monkeypatch.setattr(compiling, "is_compiled", lambda _: False)
    monkeypatch.setattr(OpenJpeg, "decode", lambda *_: pytest.fail("left to OpenJPEG"))
    table.decoder("htj2k").decode([codestream], pixels)


@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    samples=st.sampled_from([1, 3]),
    bits=st.integers(1, 16),
    signed=st.booleans(),
    interpretation=st.sampled_from(["RGB", "YBR_FULL"]),
    content=st.sampled_from(CONTENTS),
)
@example(rows=1, columns=1, samples=1, bits=1, signed=False, interpretation="RGB", content="noise")
@example(rows=64, columns=64, samples=3, bits=16, signed=True, interpretation="RGB", content="saturated")
@example(rows=130, columns=129, samples=3, bits=8, signed=False, interpretation="RGB", content="noise")
@example(rows=65, columns=31, samples=3, bits=8, signed=True, interpretation="YBR_FULL", content="smooth")
@settings(deadline=None)
def test_what_openjph_encodes_is_decoded_exactly(
    rows: int, columns: int, samples: int, bits: int, *, signed: bool, interpretation: str, content: str
) -> None:
    pixels = pixel_format(rows, columns, samples, bits, signed=signed)
    pixels = pixels.with_(photometric_interpretation=interpretation)
    frame = picture(pixels, content)
    (codestream,) = OpenJph().encode([frame], pixels)
    found = by_kernels(codestream, pixels)
    assert found is not None
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 3300), (3300, 1), (40, 3300), (3300, 33), (600, 600), (257, 513)]
)
@pytest.mark.parametrize("content", ["smooth", "noise"])
def test_shapes(rows: int, columns: int, content: str) -> None:
    for pixels in (pixel_format(rows, columns, 3), pixel_format(rows, columns, bits=12)):
        frame = picture(pixels, content)
        (codestream,) = OpenJph().encode([frame], pixels)
        np.testing.assert_array_equal(by_kernels(codestream, pixels), frame)


@pytest.mark.parametrize("resolutions", [1, 2, 4, 9])
def test_levels(resolutions: int) -> None:
    for shape in ((70, 90), (70, 90, 3)):
        frame = np.random.default_rng(0).integers(90, 99, shape).astype(np.uint8)
        codestream = bytes(
            imagecodecs.htj2k_encode(
                frame, reversible=True, resolutions=resolutions, rgb=len(shape) == 3, planar=False
            )
        )
        pixels = pixel_format(70, 90, len(shape) * 2 - 3)
        np.testing.assert_array_equal(by_kernels(codestream, pixels), frame)


def test_coefficients_that_16_bits_may_not_hold_have_32() -> None:
    """Extremes of 12 bits side by side: what they could add up to does not fit, and what they are does."""
    pixels = pixel_format(100, 100, bits=12)
    for content in ("saturated", "checked", "noise"):
        frame = picture(pixels, content)
        (codestream,) = OpenJph().encode([frame], pixels)
        np.testing.assert_array_equal(by_kernels(codestream, pixels), frame)


def test_threads_do_not_share_memory() -> None:
    formats = [
        pixel_format(100 + 30 * n, 333 - 20 * n, samples, 8 + 2 * n) for n in range(4) for samples in (1, 3)
    ]
    frames = [picture(pixels, "smooth", seed) for seed, pixels in enumerate(formats)]
    streams = [OpenJph().encode([frame], pixels)[0] for frame, pixels in zip(frames, formats, strict=True)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: by_kernels(streams[n % 8], formats[n % 8]), range(64)))
    for number, samples in enumerate(found):
        np.testing.assert_array_equal(samples, frames[number % 8])


def test_sign_of_the_header_counts() -> None:
    pixels = pixel_format(40, 50, bits=8)
    frame = picture(pixels, "noise")
    (codestream,) = OpenJph().encode([frame], pixels)
    signed = pixels.with_(signed=True)
    assert by_kernels(codestream, signed) is None
    np.testing.assert_array_equal(htj2k.Htj2k().decode([codestream], signed)[0], frame.view(np.int8))


def test_irreversible_codestreams_are_left_to_openjpeg() -> None:
    pixels = pixel_format(60, 70)
    frame = picture(pixels, "smooth")
    codestream = bytes(imagecodecs.htj2k_encode(frame, level=0.01, reversible=False))
    assert by_kernels(codestream, pixels) is None
    (found,) = htj2k.Htj2k().decode([codestream], pixels)
    np.testing.assert_array_equal(found, OpenJpeg().decode([codestream], pixels)[0])


def test_tiles_are_left_to_openjpeg() -> None:
    pixels = pixel_format(100, 90)
    frame = picture(pixels, "smooth")
    codestream = bytes(imagecodecs.htj2k_encode(frame, reversible=True, tile=(64, 64)))
    assert by_kernels(codestream, pixels) is None
    np.testing.assert_array_equal(htj2k.Htj2k().decode([codestream], pixels)[0], frame)


def test_bytes_that_no_sample_needs_are_left_to_openjpeg() -> None:
    """The standard does not forbid MagSgn bytes that nothing reads; known encoders write none."""
    block = fuzz.block(np.random.default_rng(0), 8, 8, 7)
    pixels = pixel_format(8, 8, signed=True)
    size = 16 * block.data[-1] + block.data[-2] % 16
    longer = block.data[:-size] + b"\x00" + block.data[-size:]
    for data, decoded in ((block.data, True), (longer, False)):
        codestream = whole_codestream(data, pixels)
        assert (by_kernels(codestream, pixels) is not None) == decoded
        np.testing.assert_array_equal(htj2k.Htj2k().decode([codestream], pixels)[0], block.samples)


def whole_codestream(block: bytes, pixels: PixelFormat) -> bytes:
    """A codestream of one code-block that is not decomposed (T.800 A.5, A.6, B.10)."""
    (other,) = OpenJph().encode([np.zeros(pixels.shape, pixels.dtype)], pixels)
    head = other[: other.index(b"\xff\x52")]
    head += bytes.fromhex("ff52 000c 00 00 0001 00 00 04 04 40 01 ff5c 0004 40 40")
    more = max(len(block).bit_length() - 3, 0)  # M_b is 9: eight of them are missing
    bits = "11" + "0" * 8 + "1" + "0" + "1" * more + "0" + format(len(block), f"0{3 + more}b")
    bits += "0" * (-len(bits) % 8)
    packet = int(bits, 2).to_bytes(len(bits) // 8, "big") + block
    return (
        head + struct.pack(">HHHIBBH", 0xFF90, 10, 0, 14 + len(packet), 0, 1, 0xFF93) + packet + b"\xff\xd9"
    )


@pytest.mark.parametrize("kind", ["cut", "flipped", "zeroed", "dropped"])
def test_most_damage_is_refused(kind: str) -> None:
    """HT has no checksum: what is left over or lacking when all samples are there is all that tells."""
    pixels = pixel_format(120, 160, 3)
    frame = picture(pixels, "smooth")
    (codestream,) = OpenJph().encode([frame], pixels)
    start, rng = codestream.index(b"\xff\x93") + 2, np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(60):
        data, at = bytearray(codestream), int(rng.integers(start, len(codestream) - 12))
        if kind == "cut":
            del data[at:]
        elif kind == "flipped":
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == "zeroed":
            data[at : at + 8] = bytes(8)
        else:
            del data[at]
        try:
            (found,) = htj2k.Htj2k().decode([bytes(data)], pixels)
            outcomes["right" if np.array_equal(found, frame) else "wrong"] += 1
        except CodecError:
            outcomes["refused"] += 1
    assert outcomes["refused"] >= {"cut": 60, "dropped": 60}.get(kind, 20), outcomes


def test_marker_codes_in_packets_are_refused() -> None:
    pixels = pixel_format(60, 70)
    (codestream,) = OpenJph().encode([picture(pixels, "noise")], pixels)
    start = codestream.index(b"\xff\x93") + 2
    for at in (start + 5, start + 640, len(codestream) - 4):
        damaged = codestream[:at] + b"\xff\x95" + codestream[at + 2 :]
        with pytest.raises(CodecError, match="found marker FF95") as caught:
            htj2k.Htj2k().decode([damaged], pixels)
        assert caught.value.offset == at


def test_damaged_codestreams_never_touch_other_memory() -> None:
    outcomes = fuzz.run(1500, seed=1)
    assert outcomes["refused"] > 300
    assert outcomes["right"] > 30


def test_kernels_stay_within_their_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 70), (64, 64), (65, 129), (1, 330), *rng.integers(1, 200, (30, 2)).tolist()]
    with guarded_memory.guarding(htj2k_decode, memory):
        for rows, columns in shapes:
            monkeypatch.setattr(htj2k_decode, "_memory", memory.Memory())
            bits, samples = int(rng.integers(1, 17)), int(rng.choice([1, 3]))
            pixels = pixel_format(rows, columns, samples, bits)
            for content in ("smooth", "noise"):
                frame = picture(pixels, content)
                (codestream,) = OpenJph().encode([frame], pixels)
                np.testing.assert_array_equal(by_kernels(codestream, pixels), frame)


def test_conformance_codestreams_are_decoded_as_by_openjpeg_or_left_to_others() -> None:
    """The kernels decode the one with one layer, one tile and the reversible wavelet, and call none of the others damaged."""
    paths = [path for suffix in (".j2k", ".j2c") for path in conformance_streams("htj2k", suffix)]
    if not paths:
        pytest.skip("no conformance streams: set CINEMILL_CONFORMANCE")
    outcomes = {path.stem: conformance_outcome(path.read_bytes()) for path in paths}
    assert (
        {stem: outcome for stem, outcome in outcomes.items() if outcome not in _LEFT}
        == {
            "ds0_ht_01_b11": "decoded",
            "ds0_ht_07_b11": "JPEG 2000: expected 3277344 bytes, found 3275264 (at byte 3260890)",  # as it is stored there
        }
    )


_LEFT = "handed over", "JPEG 2000 with subsampled components is not read"


def conformance_outcome(codestream: bytes) -> str:
    header = read_main_header(codestream)
    pixels = pixel_format(header.rows, header.columns, header.samples, header.precision, signed=header.signed)
    try:
        found = by_kernels(codestream, pixels)
    except (CodecError, UnsupportedPixelFormat) as error:
        return error.message
    if found is None:
        return "handed over"
    np.testing.assert_array_equal(found, OpenJpeg().decode([codestream], pixels)[0])
    return "decoded"
