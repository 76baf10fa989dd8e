"""The synthetic cines: what they look like, and that they are what they say."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import pixel_array

import cinemill
from cines import MONO_8, MONO_12, Shape, long_sector, numbered, sector, write_cine

SMALL = Shape(120, 320)
SMALL_MONO = Shape(120, 320, samples=1)
SMALL_12 = Shape(120, 320, samples=1, bits=12)


def test_the_same_arguments_give_the_same_samples():
    again = sector.__wrapped__
    assert np.array_equal(sector(SMALL, 2), again(SMALL, 2))


@pytest.mark.parametrize("shape", [SMALL, SMALL_MONO, SMALL_12], ids=str)
def test_a_moving_fan_on_black(shape):
    cine = sector(shape, 3)
    assert cine.shape == (3, *shape.pixels.shape)
    assert cine.dtype == shape.pixels.dtype
    assert not cine[:, 110:, :30].any()
    assert (cine[0] != cine[1]).mean() > 0.1
    assert len(np.unique(cine)) > (150 if shape.bits == 8 else 1000)
    assert cine.max() == (1 << shape.bits) - 1


def test_only_colour_has_colour():
    red, green, blue = np.moveaxis(sector(SMALL, 6)[5], -1, 0)
    assert ((red != green) | (green != blue)).mean() > 0.01


def test_every_frame_of_a_long_cine_differs():
    frames = list(long_sector(SMALL_MONO, 40))
    assert len({frame.tobytes() for frame in frames}) == 40
    assert np.array_equal(frames[33], numbered(sector(SMALL_MONO, 16)[1], 33))


@pytest.mark.parametrize("table", ["basic", "extended", "empty"])
@pytest.mark.parametrize("coding", ["native", "rle", "jpeg-lossless"])
@pytest.mark.parametrize("shape", [SMALL, SMALL_12], ids=str)
def test_files_hold_the_cine(tmp_path, shape, coding, table):
    path = write_cine(tmp_path / "cine.dcm", shape, 3, coding, table=table)
    expected = np.stack(list(long_sector(shape, 3)))
    assert np.array_equal(pixel_array(path), expected)
    with cinemill.open(path) as cine:
        assert not cine.warnings
        assert np.array_equal(np.stack(list(cine)), expected)


def test_jpeg_files_resemble_the_cine(tmp_path):
    path = write_cine(tmp_path / "cine.dcm", SMALL, 3, "jpeg")
    assert dcmread(path).PhotometricInterpretation == "YBR_FULL_422"
    read = pixel_array(path).astype(int)
    assert np.abs(read - np.stack(list(long_sector(SMALL, 3)))).mean() < 3


def test_shapes_name_themselves():
    assert [str(shape) for shape in (MONO_8, MONO_12)] == ["mono 8 640×480", "mono 12 640×480"]
