"""The fan is found from the pixels, whatever a machine writes around it."""

from __future__ import annotations

import numpy as np
import pytest

from cinemill.operations.dataset.evidence import find_evidence
from cinemill.operations.dataset.fan import Fan
from cinemill.operations.dataset.fit import fit_fan
from tests.support import phantoms

CLOCK = (slice(40, 100), slice(40, 140))
"""Where a name and a clock are written."""


def found_in(pictures, aspect=1.0):
    fan = fit_fan(find_evidence(pictures), aspect)
    assert fan is not None
    return fan


def overlap(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("name", phantoms.FANS)
def test_a_fan_is_found_among_text_graphics_and_an_electrocardiogram(name):
    truth = phantoms.FANS[name]
    aspect = 0.8 if name == "not square" else 1.0
    fan = found_in(phantoms.frames(truth), aspect)
    mask = fan.mask(*truth.shape)
    assert overlap(mask, truth) >= 0.97
    assert fan.kind == ("rectangle" if name == "linear" else "sector")
    assert fan.confidence > 0.9
    assert not mask[CLOCK][~truth[CLOCK]].any()


def test_the_geometry_of_a_curved_array_is_that_of_its_probe():
    fan = found_in(phantoms.frames(phantoms.FANS["curved"]))
    assert fan.apex == pytest.approx((320, -60), abs=8)
    assert fan.radii == pytest.approx((130, 470), abs=8)
    assert fan.angles == pytest.approx((-33, 33), abs=1.5)


def test_a_fan_far_into_which_hardly_anything_is_seen_is_not_cut_where_it_is_dark():
    truth = phantoms.FANS["phased"]
    pictures = phantoms.frames(truth)
    y, x = np.mgrid[: phantoms.ROWS, : phantoms.COLUMNS]
    pictures[:, truth & (np.hypot(x - 540, y - 320) < 70)] = 0
    assert overlap(found_in(pictures).mask(*truth.shape), truth) >= 0.97


def test_a_shadow_that_divides_a_fan_cuts_nothing_off():
    truth = phantoms.FANS["phased"]
    pictures = phantoms.frames(truth)
    y, x = np.mgrid[: phantoms.ROWS, : phantoms.COLUMNS]
    pictures[:, truth & (abs(x - 300 + (y - 50) * 0.1) < 18) & (y > 60)] = 0
    assert overlap(found_in(pictures).mask(*truth.shape), truth) >= 0.97


def test_what_never_changes_near_the_probe_belongs_to_the_fan():
    truth = phantoms.FANS["linear"]
    pictures = phantoms.frames(truth)
    pictures[:, 60:130, 150:500] = np.maximum(pictures[0, 60:130, 150:500], 20)
    assert overlap(found_in(pictures).mask(*truth.shape), truth) >= 0.97


def test_a_fan_of_one_picture_is_told_by_its_brightness():
    truth = phantoms.FANS["curved"]
    pictures = np.maximum(phantoms.frames(truth, 1, furniture=False), np.where(truth, 20, 0).astype(np.uint8))
    evidence = find_evidence(pictures)
    assert not evidence.moving
    assert overlap(found_in(pictures).mask(*truth.shape), truth) >= 0.97


def test_where_there_is_nothing_no_fan_is_found():
    assert fit_fan(find_evidence(np.zeros((3, 60, 80), np.uint8)), 1.0) is None


def test_what_is_no_fan_gets_little_confidence():
    letter = np.zeros((phantoms.ROWS, phantoms.COLUMNS), bool)
    letter[60:400, 100:160] = letter[60:400, 480:540] = letter[340:400, 100:540] = True
    assert found_in(phantoms.frames(letter, furniture=False)).confidence < 0.8


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (40, 17)])
def test_pictures_of_any_shape_are_looked_at(shape):
    rng = np.random.default_rng(1)
    fan = fit_fan(find_evidence(rng.integers(0, 255, (4, *shape), np.uint8)), 1.0)
    assert fan is None or fan.mask(*shape).shape == shape


def test_a_mask_of_a_part_is_the_part_of_the_mask():
    fan = Fan("sector", (0, 0, 640, 480), (320, 50), (-42, 42), (10, 360), aspect=0.9)
    whole = fan.mask(480, 640)
    assert np.array_equal(fan.mask(100, 200, 150, 90), whole[90:190, 150:350])
    assert np.array_equal(fan.moved(7, 5).mask(485, 647)[5:, 7:], whole)
