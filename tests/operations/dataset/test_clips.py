"""What a clip is: which frames, at which times, how large a pixel is, and where nothing is shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFilter

import cinemill
from tests.support import clips, phantoms

FREE: dict[str, Any] = {"deidentified": "off", "format": "npz"}


def make(tmp_path, *files, **options):
    """Make a data set; return the rows of its manifest, each with its arrays."""
    folder = tmp_path / "set"
    outcome = cinemill.dataset(files, folder, **{**FREE, **options})
    if outcome.status == "empty":
        assert not folder.exists()
        return [], outcome
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()
    for row in rows:
        with np.load(folder / row["file"]) as arrays:
            row["arrays"] = {
                name: arrays[name]
                for name in arrays.files
                if name.endswith(("frames", "mask", "ms", "frame"))
            }
            row["told"] = json.loads(arrays["clip.json"])
    return rows, outcome


def disc(deltas):
    """Frames with a disc of 20 mm in the middle of the region, and text outside it."""
    left, top, right, bottom = phantoms.REGION
    y, x = np.mgrid[: phantoms.ROWS, : phantoms.COLUMNS] + 0.5
    across = (x - (left + right + 1) / 2) * deltas[0] * 10
    down = (y - (top + bottom + 1) / 2) * deltas[1] * 10
    picture = Image.fromarray(np.where(np.hypot(across, down) <= 10, 200, 0).astype(np.uint8))
    ImageDraw.Draw(picture).text((10, 10), "SURNAME^NAME 1970-01-01", fill=255)
    return np.stack([np.asarray(picture)] * 4)


@pytest.mark.parametrize("fit", ["contain", "cover"])
@pytest.mark.parametrize("size", [(224, 224), (160, 224), (700, 500)])
@pytest.mark.parametrize("deltas", [(0.02, 0.02), (0.02, 0.0137), (0.011, 0.021)])
def test_a_disc_of_20_mm_measures_20_mm_in_both_directions(tmp_path, deltas, size, fit):
    path = phantoms.write(tmp_path / "a.dcm", disc(deltas), deltas=deltas)
    ((row,), _) = make(tmp_path, path, size=size, fit=fit, seconds=0.1, colour="grey")
    seen = row["arrays"]["frames"][0] >= 100
    mm = row["mm_per_pixel"]
    assert mm == pytest.approx(deltas[0] * 10 / row["scale"][0])
    assert mm == pytest.approx(deltas[1] * 10 / row["scale"][1])
    pixel = max(mm, 10 * max(deltas))
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if (rows[-1] - rows[0] + 1) < row["rows"] and (columns[-1] - columns[0] + 1) < row["columns"]:
        assert (rows[-1] - rows[0] + 1) * mm == pytest.approx(20, abs=1.5 * pixel)
        assert (columns[-1] - columns[0] + 1) * mm == pytest.approx(20, abs=1.5 * pixel)
        assert seen.sum() * mm**2 == pytest.approx(np.pi * 100, rel=0.02)
    distance = np.hypot(
        *(np.mgrid[: row["rows"], : row["columns"]] + 0.5 - np.array(seen.shape).reshape(2, 1, 1) / 2)
    )
    assert not row["arrays"]["frames"][:, distance * mm > 10 + 2 * pixel].any()


def test_the_least_pixel_of_a_region_is_where_its_crop_says(tmp_path):
    pictures = np.zeros((3, 60, 90), np.uint8)
    pictures[:, 20:50, 30:70] = 9
    pictures[:, 31, 42] = 255
    path = phantoms.write(tmp_path / "a.dcm", pictures, bounds=(30, 20, 69, 49))
    ((row,), _) = make(tmp_path, path, size=(40, 30), seconds=0.1, colour="grey")
    assert row["crop"] == [30, 20, 70, 50]
    assert row["scale"] == [1, 1]
    assert np.array_equal(row["arrays"]["frames"][0], pictures[0, 20:50, 30:70])


def test_frames_are_those_nearest_in_true_time(tmp_path):
    steps = [0, 20, 25, 90, 33.3, 33.4, 12, 70, 41, 41, 41, 8, 8, 8, 120]
    vector = [str(step) for step in steps]
    pictures = clips.numbered(len(steps), (32, 32)) * 10
    path = phantoms.write(
        tmp_path / "a.dcm",
        pictures,
        bounds=(0, 0, 31, 31),
        time=None,
        FrameTimeVector=vector,
        FrameIncrementPointer=0x00181065,
    )
    ((row,), _) = make(tmp_path, path, size=(32, 32), fps=30, seconds=0.5, colour="grey")
    times = np.cumsum(steps)
    expected = [int(np.argmin(abs(times - k * 1000 / 30))) for k in range(15)]
    assert row["frame"] == expected
    assert row["time_ms"] == pytest.approx(times[expected])
    assert row["moment_ms"] == pytest.approx([k * 1000 / 30 for k in range(15)])
    assert row["arrays"]["frames"][:, 16, 16].tolist() == [10 * frame for frame in expected]
    assert row["largest_deviation_ms"] == pytest.approx(
        max(abs(times[expected] - np.arange(15) * 1000 / 30)), abs=1e-5
    )
    assert row["fps"] == 30


@pytest.mark.parametrize(
    ("which", "first"),
    [("all", [0, 10, 20]), ("first", [0]), ("middle", [12])],
    ids=["all", "first", "middle"],
)
def test_a_long_cine_gives_one_clip_after_the_other(tmp_path, which, first):
    path = phantoms.write(tmp_path / "a.dcm", clips.numbered(35, (20, 20)), bounds=(0, 0, 19, 19), time=40)
    rows, _ = make(tmp_path, path, fps=25, seconds=0.4, clips=which)
    assert sorted(row["frame"][0] for row in rows) == first
    assert {len(row["frame"]) for row in rows} == {10}


def test_of_the_frames_that_may_be_used_those_that_are_there_are(tmp_path):
    path = phantoms.write(tmp_path / "a.dcm", clips.numbered(12, (20, 20)), bounds=(0, 0, 19, 19), time=40)
    ((row,), _) = make(tmp_path, path, fps=25, seconds=0.16, frames="6-99", clips="first")
    assert (row["frame"], row["time_ms"]) == ([6, 7, 8, 9], [240, 280, 320, 360])
    rows, outcome = make(tmp_path / "none", path, frames="70-99")
    assert (rows, outcome.skipped) == ([], {"none of its frames is chosen": 1})


def with_steps(path, steps):
    """A cine of frames so many ms after one another."""
    return phantoms.write(
        path,
        clips.numbered(len(steps) + 1, (20, 20)),
        bounds=(0, 0, 19, 19),
        time=None,
        FrameTimeVector=["0", *map(str, steps)],
        FrameIncrementPointer=0x00181065,
    )


@pytest.mark.parametrize("which", ["all", "first", "middle"])
@pytest.mark.parametrize("minutes", [1, 30])
def test_frames_that_are_minutes_apart_are_no_cine(tmp_path, minutes, which):
    path = with_steps(tmp_path / "a.dcm", [60_000 * minutes] * 8)
    rows, outcome = make(tmp_path, path, clips=which)
    assert (rows, outcome.skipped) == ([], {"frames too far apart": 1})


@pytest.mark.parametrize(("which", "first"), [("all", [0, 4, 9]), ("first", [0])])
def test_a_pause_that_is_longer_than_a_clip_has_none(tmp_path, which, first):
    path = with_steps(tmp_path / "a.dcm", [40] * 8 + [8000] + [40] * 8)
    rows, _ = make(tmp_path, path, fps=25, seconds=0.16, clips=which)
    assert sorted(row["frame"][0] for row in rows)[: len(first)] == first
    assert max(row["largest_deviation_ms"] for row in rows) < 40


def test_frames_that_are_as_far_apart_as_a_clip_is_long_make_clips(tmp_path):
    path = with_steps(tmp_path / "a.dcm", [1000] * 5)
    rows, _ = make(tmp_path, path, fps=10, seconds=1)
    assert len(rows) == 6


@pytest.mark.parametrize("short", ["pad", "loop", "skip"])
def test_a_short_cine_is_padded_looped_or_left_out(tmp_path, short):
    path = phantoms.write(
        tmp_path / "a.dcm", clips.numbered(4, (20, 20)) + 50, bounds=(0, 0, 19, 19), time=40
    )
    rows, outcome = make(tmp_path, path, fps=25, seconds=0.4, size=(20, 20), short=short, colour="grey")
    if short == "skip":
        assert (rows, outcome.skipped) == ([], {"shorter than a clip": 1})
        return
    (row,) = rows
    shown = row["arrays"]["frames"][:, 10, 10].tolist()
    assert row["true_frames"] == 4
    if short == "pad":
        assert shown == [50, 51, 52, 53] + [0] * 6
        assert row["frame"][4:] == [-1] * 6
        assert row["time_ms"][4:] == [None] * 6
    else:
        assert shown == [50, 51, 52, 53, 50, 51, 52, 53, 50, 51]
        assert row["time_ms"] == [0, 40, 80, 120, 0, 40, 80, 120, 0, 40]


def spectral(tmp_path):
    region = clips.region((0, 0, 39, 39), spatial_format=3, data_type=3, units=(4, 7))
    return phantoms.write(
        tmp_path / "a.dcm", clips.numbered(5, (40, 40)), SequenceOfUltrasoundRegions=[region]
    )


SKIPPED = {
    "no region holds 2D": spectral,
    "no regions": lambda folder: clips.write(folder / "a.dcm", clips.numbered(5, (40, 40)), FrameTime=40),
    "no frame times": lambda folder: phantoms.write(
        folder / "a.dcm", clips.numbered(5, (40, 40)), bounds=(0, 0, 39, 39), time=None
    ),
    "a still": lambda folder: phantoms.write(
        folder / "a.dcm", clips.numbered(1, (40, 40)), bounds=(0, 0, 39, 39)
    ),
}


@pytest.mark.parametrize("reason", SKIPPED)
def test_what_gives_no_clip_is_counted_by_reason(tmp_path, reason):
    rows, outcome = make(tmp_path, SKIPPED[reason](tmp_path))
    assert (rows, outcome.skipped, outcome.instances) == ([], {reason: 1}, 1)


@pytest.mark.parametrize(("removed", "taken"), [("YES", True), ("NO", False), (None, False)])
def test_only_what_says_that_identities_were_removed_is_taken(tmp_path, removed, taken):
    path = phantoms.write(
        tmp_path / "a.dcm", clips.numbered(5, (40, 40)), bounds=(0, 0, 39, 39), removed=removed
    )
    rows, outcome = make(tmp_path, path, deidentified="required")
    assert len(rows) == taken
    assert outcome.skipped == ({} if taken else {"not de-identified": 1})


def test_without_regions_or_times_all_of_the_image_and_every_frame_can_be_taken(tmp_path):
    path = clips.write(tmp_path / "a.dcm", clips.numbered(9, (40, 60)), PixelSpacing=["0.8", "0.4"])
    ((row,), _) = make(
        tmp_path, path, no_regions="whole", untimed="as-is", fps=10, seconds=0.5, size=(60, 80)
    )
    assert row["frame"] == [0, 1, 2, 3, 4]
    assert row["time_ms"] == [None] * 5
    assert row["largest_deviation_ms"] is None
    assert (row["mm_from"], row["mm_per_pixel"]) == ("pixel-spacing", pytest.approx(0.4))
    assert (row["region"], row["content"]) == (None, [60, 80])


def test_the_largest_region_is_taken_or_each_that_lies_in_no_other(tmp_path):
    regions = [
        clips.region((2, 2, 41, 61), data_type=2),
        clips.region((50, 0, 119, 79)),
        clips.region((60, 10, 99, 59), data_type=2),
        clips.region((0, 82, 119, 99), spatial_format=3, data_type=3),
    ]
    path = phantoms.write(
        tmp_path / "a.dcm", clips.numbered(5, (100, 120)), SequenceOfUltrasoundRegions=regions
    )
    rows, _ = make(tmp_path, path)
    assert [row["region"] for row in rows] == [1]
    rows, _ = make(tmp_path / "each", path, regions="each")
    assert sorted((row["region"], row["region_data_type"]) for row in rows) == [
        (0, "colour flow"),
        (1, "tissue"),
    ]


@pytest.mark.parametrize(
    "deltas", [(0.0, 0.0), (1e-300, 1.0), (1e308, 1e308), (0.05, 5.0), (-0.05, 0.05)], ids=str
)
def test_deltas_that_are_no_sizes_measure_nothing(tmp_path, deltas):
    path = phantoms.write(
        tmp_path / "a.dcm", clips.numbered(4, (40, 40)), bounds=(0, 0, 39, 39), deltas=deltas
    )
    ((row,), _) = make(tmp_path, path, fan_mask=True, size=(40, 40))
    assert row["content"] == [40, 40]
    assert row["mm_per_pixel"] == (pytest.approx(0.5) if deltas[0] < 0 else None)


def test_times_that_no_cine_has_are_refused(tmp_path):
    path = phantoms.write(tmp_path / "a.dcm", clips.numbered(4, (40, 40)), bounds=(0, 0, 39, 39), time=1e9)
    rows, outcome = make(tmp_path, path)
    assert (rows, outcome.failed) == ([], {"DamagedFile": 1})
    assert "expected 33333.3 s at most" in outcome.problems[0]


def test_outside_the_fan_everything_is_black(tmp_path):
    fan = phantoms.FANS["phased"]
    path = phantoms.write(tmp_path / "a.dcm", phantoms.frames(fan), bounds=(0, 0, 639, 479))
    options: dict[str, Any] = {"size": (320, 240), "seconds": 0.3, "fan_mask": True}
    ((row,), _) = make(tmp_path, path, mask_outside_regions=True, **options)
    ((open_row,), _) = make(tmp_path / "open", path, **options)
    mask = row["arrays"]["mask"].astype(bool)
    truth = np.asarray(Image.fromarray(fan).resize((320, 240)))
    assert (mask & truth).sum() / (mask | truth).sum() >= 0.97
    around = np.asarray(Image.fromarray(mask.view(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))) > 0
    assert open_row["arrays"]["frames"][:, ~around].max() > 100
    assert row["arrays"]["frames"][:, ~around].max() == 0
    assert (row["masked"], row["fan_kind"], row["fan_found"]) == ("fan", "sector", True)
    inner = mask & ~np.asarray(
        Image.fromarray((~mask).view(np.uint8)).filter(ImageFilter.MaxFilter(5))
    ).astype(bool)
    assert np.array_equal(row["arrays"]["frames"][:, inner], open_row["arrays"]["frames"][:, inner])


def test_where_no_fan_is_found_the_region_is_the_mask_or_there_is_no_clip(tmp_path):
    path = phantoms.write(tmp_path / "a.dcm", np.zeros((4, 60, 90), np.uint8), bounds=(0, 0, 89, 59))
    ((row,), outcome) = make(tmp_path, path, fan_mask=True, mask_outside_regions=True, size=(90, 90))
    assert (row["masked"], row["fan_found"], outcome.without_fan) == ("region", False, 1)
    assert row["arrays"]["mask"].sum() == 60 * 90
    rows, outcome = make(tmp_path / "none", path, no_fan="skip")
    assert (rows, outcome.skipped) == ([], {"no fan found": 1})


def test_colour_is_rgb_or_grey_as_asked(tmp_path):
    pictures = np.zeros((4, 40, 40, 3), np.uint8)
    pictures[..., 0] = 200
    path = phantoms.write(
        tmp_path / "a.dcm", pictures, bounds=(0, 0, 39, 39), interpretation="RGB", PlanarConfiguration=0
    )
    ((row,), _) = make(tmp_path, path, size=(40, 40), seconds=0.1)
    assert (row["colour_space"], row["arrays"]["frames"][0, 20, 20].tolist()) == ("RGB", [200, 0, 0])
    ((row,), _) = make(tmp_path / "grey", path, size=(40, 40), seconds=0.1, colour="grey")
    assert (row["colour_space"], row["arrays"]["frames"][0, 20, 20]) == ("grey", 60)


def test_samples_of_16_bits_are_shown_through_the_window_of_their_header(tmp_path):
    pictures = np.full((4, 40, 40), 1000, np.uint16)
    path = clips.write(tmp_path / "a.dcm", pictures, FrameTime=40, WindowCenter=1000, WindowWidth=400)
    ((row,), _) = make(tmp_path, path, no_regions="whole", seconds=0.1, size=(40, 40), colour="grey")
    assert row["arrays"]["frames"][0, 20, 20] == 128
    assert '"window": ' in row["rendering"]
