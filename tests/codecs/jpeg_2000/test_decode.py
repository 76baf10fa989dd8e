"""The JPEG 2000 decoder against OpenJPEG, on codestreams of other encoders, and what it leaves to OpenJPEG."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from cinemill.codecs import compiling
from cinemill.codecs import table as codec_table
from cinemill.codecs.codec import Encoder
from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg_2000 import decode as jpeg2000_decode
from cinemill.codecs.jpeg_2000.codec import Jpeg2000
from cinemill.codecs.jpeg_2000.markers import read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, decode_checked
from cinemill.codecs.jpeg_2000.parameters import read_packets_header
from cinemill.codecs.jpeg_2000.precincts import lay_out_packets
from cinemill.errors import CodecError
from cinemill.kernels.machine import x86
from cinemill.pixel_format import PixelFormat
from tests.support.pictures import CONTENTS, picture, pixel_format

if not x86.available():
    pytest.skip("needs a processor with AVX2 and BMI2", allow_module_level=True)


@pytest.fixture
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[bytes], PixelFormat], list[np.ndarray]]:
    """Decode, and fail if OpenJPEG has to."""

    def fail(*_: object) -> None:
        raise AssertionError("left to OpenJPEG")

    def decode(codestreams: list[bytes], pixels: PixelFormat) -> list[np.ndarray]:
        with monkeypatch.context() as patch:
            patch.setattr(jpeg2000_decode, "_BREAK_EVEN", 0)
            patch.setattr(jpeg2000_decode, "decode_checked", fail)
            return Jpeg2000().decode(codestreams, pixels)

    return decode


def test_openjpeg_decodes_until_it_has_taken_as_long_as_to_compile_the_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = pixel_format(300, 300, 1, 8)
    frames = [picture(pixels, "smooth")] * 2
    codestreams = OpenJpeg().encode(frames, pixels)
    packets = read_packets_header(codestreams[0], read_main_header(codestreams[0]))
    assert packets is not None
    tables = lay_out_packets(packets.parameters)
    assert tables is not None
    by_openjpeg: list[int] = []

    def counted(*arguments: Any) -> Any:
        by_openjpeg.append(1)
        return decode_checked(*arguments)

    monkeypatch.setattr(jpeg2000_decode, "decode_checked", counted)
    for ready, expected in ((False, [2, 2, 2, 0, 0]), (True, [0])):
        monkeypatch.setattr(compiling, "is_compiled", Mock(return_value=ready))
        spared = Spared(2 * 2 * len(tables.blocks), "decoder")
        monkeypatch.setattr(jpeg2000_decode, "_spared", spared)
        for left in expected:
            by_openjpeg.clear()
            for frame, decoded in zip(frames, Jpeg2000().decode(codestreams, pixels), strict=True):
                np.testing.assert_array_equal(decoded, frame)
            assert len(by_openjpeg) == left


@pytest.mark.parametrize("encoder", [OpenJpeg(), Jpeg2000()], ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("bits", "signed"), [(4, False), (8, False), (12, True), (16, False), (16, True)])
def test_samples_are_those_that_were_encoded(
    by_kernels: Callable[..., list[np.ndarray]], encoder: OpenJpeg, samples: int, bits: int, *, signed: bool
) -> None:
    for rows, columns in ((1, 1), (97, 131), (64, 200), (300, 7)):
        pixels = pixel_format(rows, columns, samples, bits, signed=signed)
        frames = [picture(pixels, content) for content in CONTENTS]
        for frame, decoded in zip(frames, by_kernels(encoder.encode(frames, pixels), pixels), strict=True):
            assert decoded.dtype == frame.dtype
            np.testing.assert_array_equal(decoded, frame)


@pytest.mark.tools
@pytest.mark.parametrize("progression", ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"])
@pytest.mark.parametrize("precincts", ["[128,128],[64,32]", "[32,64]"])
@pytest.mark.parametrize("blocks", ["64,64", "32,16", "4,8"])
def test_any_progression_precincts_and_code_blocks(
    by_kernels: Callable[..., list[np.ndarray]], tmp_path: Path, progression: str, precincts: str, blocks: str
) -> None:
    if not shutil.which("opj_compress"):
        pytest.skip("needs opj_compress (libopenjp2-tools)")
    pixels = pixel_format(211, 307, 3)
    frame = picture(pixels, "smooth")
    (tmp_path / "frame.ppm").write_bytes(b"P6\n307 211\n255\n" + frame.tobytes())
    options = ["-p", progression, "-c", precincts, "-b", blocks, "-n", "4"]
    command = ["opj_compress", "-i", str(tmp_path / "frame.ppm"), "-o", str(tmp_path / "frame.j2k"), *options]
    subprocess.run(command, check=True, capture_output=True)
    (decoded,) = by_kernels([(tmp_path / "frame.j2k").read_bytes()], pixels)
    np.testing.assert_array_equal(decoded, frame)


def changed(codestream: bytes, marker: bytes, offset: int, value: int) -> bytes:
    """Change a byte of a marker segment; offset 0 is the marker itself."""
    data = bytearray(codestream)
    data[data.index(marker) + offset] = value
    return bytes(data)


SIZ, COD, QCD, SOT = b"\xff\x51", b"\xff\x52", b"\xff\x5c", b"\xff\x90"


@pytest.mark.parametrize(
    ("marker", "offset", "value"),
    [
        (SIZ, 17, 1),  # XOsiz
        (SIZ, 40, 17),  # 18 bits
        (COD, 4, 2),  # SOP
        (COD, 5, 5),  # no such progression
        (COD, 7, 2),  # layers
        (COD, 8, 1),  # colour transform of one component
        (COD, 10, 5),  # 128 columns a code-block
        (COD, 12, 1),  # arithmetic coding bypass
        (COD, 13, 0),  # irreversible wavelet
        (QCD, 4, 0x41),  # quantisation
        (SOT, 10, 1),  # tile-part 1
    ],
)
def test_what_the_kernels_do_not_cover_is_left_to_openjpeg(marker: bytes, offset: int, value: int) -> None:
    pixels = pixel_format(64, 80, bits=12)
    (codestream,) = Jpeg2000().encode([picture(pixels, "smooth")], pixels)
    header = read_main_header(codestream)
    assert read_packets_header(codestream, header) is not None
    other = changed(codestream, marker, offset, value)
    assert read_packets_header(other, read_main_header(other)) is None


def test_a_codestream_in_two_tile_parts_is_left_to_openjpeg() -> None:
    pixels = pixel_format(64, 80)
    (codestream,) = Jpeg2000().encode([picture(pixels, "smooth")], pixels)
    second = b"\xff\x90\0\x0a\0\0\0\0\0\x0e\x01\x02\xff\x93"
    split = codestream[:-2] + second + codestream[-2:]
    assert read_packets_header(split, read_main_header(split)) is None


@pytest.mark.parametrize(("coded", "claimed"), [(9, 8), (10, 8), (12, 9)])
def test_samples_beyond_the_precision_are_limited(
    by_kernels: Callable[..., list[np.ndarray]], coded: int, claimed: int
) -> None:
    pixels = pixel_format(64, 80, bits=coded)
    codestreams = [
        changed(codestream, SIZ, 40, claimed - 1)
        for codestream in Jpeg2000().encode([picture(pixels, content) for content in CONTENTS], pixels)
    ]
    narrower = pixel_format(64, 80, bits=claimed)
    expected = OpenJpeg().decode(codestreams, narrower)
    for found, wanted in zip(by_kernels(codestreams, narrower), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_frames_of_one_call_may_be_coded_differently() -> None:
    pixels = pixel_format(150, 170, 3)
    frames = [picture(pixels, content) for content in CONTENTS]
    encoders: list[Encoder] = [Jpeg2000(), OpenJpeg()]
    codestreams = [
        encoder.encode([frame], pixels)[0]
        for frame, encoder in zip(frames, encoders * len(frames), strict=False)
    ]
    without_transform = pixels.with_(photometric_interpretation="YBR_FULL")
    codestreams[3] = Jpeg2000().encode([frames[3]], without_transform)[0]
    codestreams[5] = changed(codestreams[5], COD, 5, 4)  # with one precinct a resolution, CPRL is not LRCP
    decoded, expected = Jpeg2000().decode(codestreams, pixels), OpenJpeg().decode(codestreams, pixels)
    for found, wanted in zip(decoded, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert Jpeg2000().decode([], pixels) == []


def test_an_error_names_the_frame() -> None:
    pixels = pixel_format(150, 170)
    codestreams = Jpeg2000().encode([picture(pixels, content) for content in CONTENTS], pixels)
    codestreams[4] = codestreams[4][:-20]
    with pytest.raises(CodecError, match="expected") as caught:
        Jpeg2000().decode(codestreams, pixels)
    assert caught.value.frame == 4


def test_openjpeg_is_a_verifier_once_where_the_kernels_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [codec.name for codec in codec_table.verifiers("jpeg-2000")]
    assert names[-1] == "openjpeg"
    monkeypatch.setattr(codec_table, "_load", lambda _: OpenJpeg())
    assert [codec.name for codec in codec_table.verifiers("jpeg-2000")] == ["openjpeg"]
    assert list(codec_table.second_opinions("jpeg-2000")) == []
