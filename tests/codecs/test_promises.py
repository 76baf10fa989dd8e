"""Small codestreams that promise huge frames: refused before memory or time is spent on them."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

import cinemill
from cinemill.codecs import table
from cinemill.codecs.codestream import least_bytes
from cinemill.codecs.jpeg_2000.markers import check_room, read_main_header
from cinemill.errors import CodecError
from cinemill.pixel_format import PixelFormat
from tests.support import generate

SIDE = 60000
SYNTAXES = {
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "rle": "1.2.840.10008.1.2.5",
    "deflated-frame": "1.2.840.10008.1.2.8.1",
}


def grey(rows, columns, bits=8):
    return PixelFormat(rows, columns, 1, bits, bits, signed=False, photometric_interpretation="MONOCHROME2")


def small_stream(coding):
    """The codestream of a small blank frame, its size overwritten where the codestream has one."""
    frame = np.zeros((16, 16), np.uint8)
    stream = {
        "jpeg": lambda: generate.jpeg(frame),
        "jpeg-lossless": lambda: generate.jpeg_lossless(frame, 8),
        "jpeg-ls": lambda: generate.jpeg_ls_stream(frame),
        "rle": lambda: generate.rle_stream(frame),
        "deflated-frame": lambda: zlib.compress(bytes(256), wbits=-15),
    }[coding]()
    for marker in (b"\xff\xc0", b"\xff\xc3", b"\xff\xf7"):
        at = stream.find(marker)
        if at > 0 and stream[:2] == b"\xff\xd8":
            stream = stream[: at + 5] + struct.pack(">HH", SIDE, SIDE) + stream[at + 9 :]
    return stream


@pytest.mark.parametrize("coding", SYNTAXES)
def test_a_frame_takes_a_least_number_of_bytes(tmp_path, coding):
    header = generate.header(np.zeros((1, 2, 2), np.uint8), "MONOCHROME2")
    header.Rows = header.Columns = SIDE
    path = tmp_path / "promise.dcm"
    element = generate.encapsulated_element([[small_stream(coding)]])
    path.write_bytes(generate.part10(header, element, SYNTAXES[coding]))
    with cinemill.open(path) as cine:
        tracemalloc.start()
        with pytest.raises(CodecError, match=r"take at least \d+ bytes, found"):
            cine[0]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["jpeg-ls", "rle"])
@pytest.mark.parametrize("shape", [(1, 1), (4000, 8), (9, 40000), (700, 900)])
def test_blank_frames_take_no_less(coding, shape):
    pixels = grey(*shape)
    (stream,) = table.encoder(coding).encode([np.zeros(shape, np.uint8)], pixels)
    assert len(stream) >= least_bytes(coding, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (9, 9), (700, 900)])
def test_blank_jpeg_and_deflated_frames_take_no_less(shape):
    frame = np.zeros(shape, np.uint8)
    assert len(generate.jpeg(frame)) >= least_bytes("jpeg", grey(*shape))
    assert len(generate.jpeg_lossless(frame, 8)) >= least_bytes("jpeg-lossless", grey(*shape))
    deflated = zlib.compress(frame.tobytes(), 9, wbits=-15)
    assert len(deflated) >= least_bytes("deflated-frame", grey(*shape))


def test_a_deflated_frame_is_not_inflated_beyond_its_size():
    bomb = zlib.compress(bytes(1 << 28), wbits=-15)
    tracemalloc.start()
    with pytest.raises(CodecError, match="found more"):
        table.decoder("deflated-frame").decode([bomb], grey(512, 512))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_precincts_without_packets_are_refused():
    stream = bytes.fromhex(
        "ff4fff51002900000000100000001000000000000000000000001000000010000000000000000000"
        "0001070101ff52000d0100000100000404000100ff5c00044040ff90000a0000000000000001ff93"
    ) + bytes(52)
    with pytest.raises(CodecError, match="expected 16777216 packets or more, found 132 bytes"):
        table.decoder("jpeg-2000").decode([stream], grey(4096, 4096))


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (700, 900), (33, 4000, 3)])
@pytest.mark.parametrize("coding", ["jpeg-2000", "htj2k"])
def test_what_encoders_write_has_room_for_its_packets(shape, coding):
    pixels = grey(*shape[:2])
    if len(shape) == 3:
        pixels = pixels.with_(samples=3, photometric_interpretation="RGB")
    (stream,) = table.encoder(coding).encode([np.zeros(shape, np.uint8)], pixels)
    check_room(stream, read_main_header(stream))
