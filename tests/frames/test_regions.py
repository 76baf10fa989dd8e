"""Ultrasound regions as the header has them."""

import pytest

import cinemill
from cinemill.errors import DamagedFile, NotInFile
from cinemill.frames.regions import bounding_box
from tests.support import clips


def regions(tmp_path, *items):
    with cinemill.open(
        clips.write(tmp_path / "us.dcm", clips.numbered(), SequenceOfUltrasoundRegions=list(items))
    ) as cine:
        return cine.regions


def test_meaning_units_and_deltas(tmp_path):
    tissue, doppler = regions(
        tmp_path,
        clips.region((1, 2, 5, 4)),
        clips.region((0, 0, 7, 5), spatial_format=3, data_type=3, units=(4, 7), deltas=(0.002, 0.5)),
    )
    assert (tissue.spatial_format, tissue.data_type, tissue.units) == ("2D", "tissue", ("cm", "cm"))
    assert tissue.bounds == (1, 2, 5, 4)
    assert tissue.deltas == (0.05, 0.04)
    assert tissue.reference_pixel == (4, 0)
    assert tissue.reference_values == (None, None)
    assert (doppler.spatial_format, doppler.data_type) == ("spectral", "PW spectral Doppler")
    assert doppler.units == ("s", "cm/s")


def test_bounds_are_clamped(tmp_path):
    within, outside = regions(tmp_path, clips.region((2, 1, 8, 6)), clips.region((20, 20, 30, 30)))
    assert within.bounds == (2, 1, 7, 5)
    assert not within.empty
    assert outside.empty
    assert bounding_box([within, outside]) == (2, 1, 7, 5)


def test_negative_bounds_are_clamped(tmp_path):
    (item,) = regions(tmp_path, clips.region(((1 << 32) - 3, (1 << 32) - 1, 4, 2)))
    assert item.bounds == (0, 0, 4, 2)


def test_unknown_codes_stay_numbers(tmp_path):
    (item,) = regions(tmp_path, clips.region((0, 0, 1, 1), spatial_format=77, data_type=99, units=(12, 55)))
    assert (item.spatial_format, item.data_type, item.units) == ("77", "99", ("degrees", "55"))


def test_no_regions(tmp_path):
    assert regions(tmp_path) == []
    with pytest.raises(NotInFile, match="no ultrasound regions"):
        bounding_box([])


def test_what_is_not_finite_is_not_there(tmp_path):
    (item,) = regions(tmp_path, clips.region((0, 0, 1, 1), deltas=(float("nan"), float("inf"))))
    assert item.deltas == (None, None)


@pytest.mark.parametrize(
    ("vr", "value"), [("UL", [1, 2]), ("LO", "left"), ("FD", 1.5)], ids=["several", "text", "fraction"]
)
def test_bounds_that_are_none(tmp_path, vr, value):
    item = clips.region((0, 0, 1, 1))
    del item.RegionLocationMinX0
    item.add_new(0x00186018, vr, value)
    with pytest.raises(DamagedFile, match="ultrasound regions can't be read"):
        regions(tmp_path, item)
