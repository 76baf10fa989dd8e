"""HTJ2K: SIZ says Bits Stored, and others read the samples that went in."""

import imagecodecs
import numpy as np
import openjpeg
import pytest

from cinemill.codecs.jpeg_2000.markers import read_main_header
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.errors import UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.support.generate import header, native_bytes, native_element, noise, part10

EXPLICIT = "1.2.840.10008.1.2.1"


def frames_of(bits, components, *, signed):
    """Noise over the full range, its extremes side by side, and either extreme alone."""
    shape = (33, 40, 3) if components == 3 else (33, 40)
    (first,) = noise((1, *shape), bits, signed=signed)
    lowest = -(1 << bits - 1) if signed else 0
    highest = lowest + (1 << bits) - 1
    second = np.where(noise((1, *shape), 1)[0] > 0, highest, lowest).astype(first.dtype)
    return [first, second, np.full_like(first, lowest), np.full_like(first, highest)]


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("allocated", [8, 16])
def test_siz_says_bits_stored_and_all_decoders_agree(bits, signed, components, allocated):
    if bits > allocated:
        pytest.skip("does not fit")
    frames = [
        frame.astype(f"{'i' if signed else 'u'}{allocated // 8}")
        for frame in frames_of(bits, components, signed=signed)
    ]
    label = "RGB" if components == 3 else "MONOCHROME2"
    pixels = PixelFormat(33, 40, components, allocated, bits, signed, label)
    for frame, stream in zip(frames, OpenJph().encode(frames, pixels), strict=True):
        siz = read_main_header(stream)
        assert (siz.precision, siz.signed, siz.samples) == (bits, signed, components)
        np.testing.assert_array_equal(OpenJpeg().decode([stream], pixels)[0], frame)
        np.testing.assert_array_equal(openjpeg.decode(stream), frame)
        np.testing.assert_array_equal(imagecodecs.htj2k_decode(stream), frame)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("target", ["htj2k", "htj2k-rpcl", "jpeg-2000"])
def test_the_codestream_has_the_depth_of_the_header(transcode, bits, target):
    frames = noise((2, 30, 40), bits)
    dataset = header(frames, "MONOCHROME2", BitsStored=bits)
    dataset.HighBit = bits - 1
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), target)
    np.testing.assert_array_equal(np.array(result.reading.frames), frames)
    data = result.path.read_bytes()
    stream = data[data.index(b"\xff\x4f\xff\x51") :]
    assert read_main_header(stream).precision == result.dataset.BitsStored == bits


def test_values_beyond_bits_stored_are_refused():
    frame = np.full((4, 5), 4096, np.uint16)
    with pytest.raises(UnsupportedPixelFormat, match="expected values from 0 to 4095"):
        OpenJph().encode(
            [frame], PixelFormat(4, 5, 1, 16, 12, signed=False, photometric_interpretation="MONOCHROME2")
        )
