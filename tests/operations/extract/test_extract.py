"""What is extracted, under which names, and what is left when something fails."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import xxhash

import cinemill
from cinemill.errors import Cancelled, NotInFile, OutputError, OutputExists, UsageError
from cinemill.operations.extract import formats
from cinemill.operations.extract.request import Extract
from cinemill.storage.names import safe_stem
from tests.support import clips, generate, oracle
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_names_and_receipt(tmp_path):
    receipt = cinemill.extract(CINE, tmp_path / "deep" / "out", frames="0,17")
    assert names(tmp_path / "deep" / "out") == ["examples_ybr_color_0000.png", "examples_ybr_color_0017.png"]
    assert (receipt.status, receipt.frames) == ("extracted", 2)
    assert receipt.bytes_after == sum(path.stat().st_size for path in (tmp_path / "deep" / "out").iterdir())
    json.dumps(receipt.to_dict())


def test_frames_are_those_asked_for(tmp_path):
    source = clips.write(tmp_path / "n.dcm", clips.numbered(12))
    for frames, expected in (
        ("3,7-9", [3, 7, 8, 9]),
        (slice(None, None, 5), [0, 5, 10]),
        ([11, 2], [2, 11]),
        (4, [4]),
        (-1, [11]),
        ([-12, -1], [0, 11]),
    ):
        cinemill.extract(source, tmp_path / "o", format="npz", frames=frames, overwrite=True)
        with np.load(tmp_path / "o" / "n.npz") as held:
            assert held["frames"][:, 0, 0].tolist() == held["index"].tolist() == expected


def test_every_and_count(tmp_path):
    source = clips.write(tmp_path / "n.dcm", clips.numbered(10), FrameTime="20")
    cinemill.extract(source, tmp_path / "every", every="60ms", format="npy")
    assert names(tmp_path / "every") == [f"n_{index:04}.npy" for index in (0, 3, 6, 9)]
    cinemill.extract(source, tmp_path / "count", count=2, format="npy")
    assert names(tmp_path / "count") == ["n_0000.npy", "n_0009.npy"]


def test_only_chosen_frames_are_read(tmp_path, monkeypatch):
    from cinemill.dicom.source import Source

    read = set()
    plain = Source.frame

    def frame(source, index):
        read.add(index)
        return plain(source, index)

    monkeypatch.setattr(Source, "frame", frame)
    cinemill.extract(CINE, tmp_path, frames="20,25", format="npy")
    assert read <= {0, 20, 25}  # the first frame's markers say how frames are coded


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("clip.dcm", "clip"),
        ("CLIP.DCM", "CLIP"),
        ("1.2.840.113619.2.1", "1.2.840.113619.2.1"),
        ("a b/c\\d:e.dcm".replace("/", ""), "a_bc_d_e"),
        ("Müller.dcm", "Müller"),
        ("心脏一.dcm", "心脏一"),
        ("-rf.dcm", "rf"),
        ("\udcff.dcm", "_"),
        ("心" * 200, "心" * 60),
        (".dcm", "frame"),
        ("..", "frame"),
        ("x" * 300 + ".dcm", "x" * 180),
    ],
)
def test_names_are_safe(name, stem):
    assert safe_stem(name) == stem


def test_one_output_by_its_name(tmp_path):
    cinemill.extract(CINE, tmp_path / "clip.gif")
    cinemill.extract(CINE, tmp_path / "one.png", frames=3)
    cinemill.extract(CINE, tmp_path / "cine.zarr")
    assert names(tmp_path) == ["cine.zarr", "clip.gif", "one.png"]
    with pytest.raises(UsageError, match=r"many\.png: is a file of one frame, 30 are chosen"):
        cinemill.extract(CINE, tmp_path / "many.png")
    with pytest.raises(UsageError, match=r"--format gif does not fit the name clip\.mp4"):
        cinemill.extract(CINE, tmp_path / "clip.mp4", format="gif")
    assert names(tmp_path) == ["cine.zarr", "clip.gif", "one.png"]


@pytest.mark.parametrize("name", ["png", "npz", "zarr"])
def test_what_is_there_stays_unless_told_otherwise(tmp_path, name):
    cinemill.extract(CINE, tmp_path, format=name, frames="0,1", mode="display")
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    with pytest.raises(OutputExists, match="--overwrite"):
        cinemill.extract(CINE, tmp_path, format=name, frames="1,2", mode="display", scale=0.5)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
    cinemill.extract(CINE, tmp_path, format=name, frames="1,2", mode="display", scale=0.5, overwrite=True)
    assert len(names(tmp_path)) == (3 if name == "png" else 1)


@pytest.mark.parametrize("name", ["png", "zarr", "raw", "mp4"])
def test_with_a_sidecar_nothing_is_decoded_again(tmp_path, name, monkeypatch):
    asked = {"format": name, "frames": "0,2", "sidecar": True}
    assert cinemill.extract(CINE, tmp_path, **asked).status == "extracted"
    monkeypatch.setattr(cinemill.Cine, "decode", None)
    assert cinemill.extract(CINE, tmp_path, **asked).status == "kept"
    monkeypatch.undo()
    for frames in ("0", "0,1"):
        with pytest.raises(OutputExists):
            cinemill.extract(CINE, tmp_path, **{**asked, "frames": frames})
    next(path for path in tmp_path.iterdir() if path.suffix != ".json").rename(tmp_path / "gone")
    assert cinemill.extract(CINE, tmp_path, **asked).status == "extracted"
    (tmp_path / "examples_ybr_color.json").write_text("{}")
    with pytest.raises(OutputExists):
        cinemill.extract(CINE, tmp_path, **asked)


KILLED = """
import os, sys
import cinemill
from cinemill.storage import folder as staging

publish, left = staging.publish, int(sys.argv[3])

def publish_some(*args, **options):
    global left
    publish(*args, **options)
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)

staging.publish = publish_some
cinemill.extract(sys.argv[1], sys.argv[2], frames="0-3", threads=1)
"""


@pytest.mark.parametrize("named", [1, 3, 4])
def test_a_process_killed_while_it_names_outputs(tmp_path, named):
    """Its outputs appear together: what was named is taken back by the next extraction to this directory."""
    done = subprocess.run([sys.executable, "-c", KILLED, CINE, tmp_path, str(named)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.glob("*.png"))) == named
    cinemill.extract(CINE, tmp_path, frames="7", format="jpeg")
    assert len(list(tmp_path.glob("*.png"))) == (4 if named == 4 else 0)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("row", formats.FORMATS, ids=lambda row: row.name)
def test_the_same_extraction_again_is_recognised(tmp_path, row, monkeypatch):
    def again():
        return cinemill.extract(CINE, tmp_path, format=row.name, frames="0-4")

    first = again()
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")}
    monkeypatch.setattr("time.time", lambda: 2e9)
    second = again()
    assert (first.status, second.status) == ("extracted", "kept")
    assert second.bytes_after == first.bytes_after > 0
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["png", "zarr"])
def test_an_extraction_that_was_killed_while_it_named_its_outputs_is_completed(tmp_path, name):
    cinemill.extract(CINE, tmp_path / "whole", format=name, frames="0-4", sidecar=True)
    (tmp_path / "half").mkdir()
    for path in sorted((tmp_path / "whole").iterdir())[:-1]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / "half" / path.name)
    done = cinemill.extract(CINE, tmp_path / "half", format=name, frames="0-4", sidecar=True)
    assert done.status == "extracted"
    assert names(tmp_path / "half") == names(tmp_path / "whole")


def test_a_name_taken_meanwhile_leaves_no_part(tmp_path):
    def take(done, _):
        if done:
            (tmp_path / "examples_ybr_color_0002.png").write_bytes(b"another")

    with pytest.raises(OutputExists):
        cinemill.extract(CINE, tmp_path, frames="0-3", progress=take)
    assert names(tmp_path) == ["examples_ybr_color_0002.png"]


@pytest.mark.parametrize("name", ["png", "npz", "tiff", "zarr", "mp4", "gif", "webp"])
def test_a_damaged_frame_leaves_nothing(tmp_path, name):
    frames = [generate.jpeg(generate.smooth((40, 40)), quality=90 + index) for index in range(5)]
    frames[3] = frames[3][:300]
    header = generate.header(np.zeros((5, 40, 40), np.uint8))
    source = tmp_path / "damaged.dcm"
    element = generate.encapsulated_element([[frame] for frame in frames])
    source.write_bytes(generate.part10(header, element, generate.JPEG_BASELINE))
    with pytest.raises(cinemill.CinemillError) as failure:
        cinemill.extract(source, tmp_path / "out", format=name, threads=2, mode="display", window=(100, 50))
    assert failure.value.frame == 3
    assert names(tmp_path / "out") == []


def test_cancelled_between_frames(tmp_path):
    stop = threading.Event()
    with pytest.raises(Cancelled):
        cinemill.extract(CINE, tmp_path, threads=1, cancelled=stop.is_set, progress=lambda *_: stop.set())
    assert names(tmp_path) == []


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    stale = tmp_path / ".cinemill-201.part"
    stale.mkdir()
    (stale / "x.png").write_bytes(b"half")
    cinemill.extract(CINE, tmp_path, frames=0)
    assert names(tmp_path) == ["examples_ybr_color_0000.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        cinemill.extract(CINE, tmp_path / "out")


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cinemill.operations.extract.writers.arrays.Npz.write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        cinemill.extract(CINE, tmp_path, format="npz")
    assert names(tmp_path) == []


def test_the_source_is_never_written(tmp_path):
    source = tmp_path / "cine.dcm"
    source.write_bytes(Path(CINE).read_bytes())
    with pytest.raises(OutputExists):
        cinemill.extract(source, tmp_path / "cine.dcm", format="dicom", frames=0)
    assert source.read_bytes() == Path(CINE).read_bytes()


def us(tmp_path, frames=None, **elements):
    items = [clips.region((2, 1, 5, 3)), clips.region((4, 2, 99, 99), spatial_format=3)]
    frames = generate.noise((2, 8, 10)) if frames is None else frames
    return clips.write(tmp_path / "us.dcm", frames, SequenceOfUltrasoundRegions=items, **elements), frames


def only(tmp_path, source, **options):
    cinemill.extract(source, tmp_path / "one.npy", frames=0, overwrite=True, **options)
    return np.load(tmp_path / "one.npy")


def test_cropping(tmp_path):
    source, frames = us(tmp_path)
    assert np.array_equal(only(tmp_path, source, region=0), frames[0, 1:4, 2:6])
    assert np.array_equal(only(tmp_path, source, region=1), frames[0, 2:8, 4:10])
    assert np.array_equal(only(tmp_path, source, crop_to_region=True), frames[0, 1:8, 2:10])
    with pytest.raises(NotInFile, match="--region 2 is out of range; this image has regions 0, 1"):
        only(tmp_path, source, region=2)


def test_a_region_that_lies_outside(tmp_path):
    items = [clips.region(bounds) for bounds in ((5, 3, 2, 1), (20, 20, 30, 30), (1, 1, 2, 2))]
    source = clips.write(tmp_path / "us.dcm", generate.noise((1, 8, 10)), SequenceOfUltrasoundRegions=items)
    for region, bounds in ((0, "columns 5 to 2, rows 3 to 1"), (1, "columns 20 to 9, rows 20 to 7")):
        with pytest.raises(NotInFile, match=rf"--region {region} lies outside .*{bounds}.*regions 2"):
            only(tmp_path, source, region=region)
    assert only(tmp_path, source, crop_to_region=True).shape == (2, 2)


@pytest.mark.parametrize(
    ("interpretation", "kind", "black"),
    [
        ("MONOCHROME2", "u1", 0),
        ("MONOCHROME1", "u1", 255),
        ("MONOCHROME2", "i2", -2048),
        ("MONOCHROME1", "i2", 2047),
    ],
)
def test_masking(tmp_path, interpretation, kind, black):
    signed = kind == "i2"
    frames = generate.noise((2, 8, 10), 12 if signed else 8, signed=signed)
    elements = (
        {"interpretation": interpretation, "bits_stored": 12}
        if signed
        else {"interpretation": interpretation}
    )
    source, _ = us(tmp_path, frames, **elements)
    expected = np.full((8, 10), black, frames.dtype)
    expected[1:4, 2:6] = frames[0, 1:4, 2:6]
    expected[2:8, 4:10] = frames[0, 2:8, 4:10]
    assert np.array_equal(only(tmp_path, source, mask_outside_regions=True), expected)
    shown = only(tmp_path, source, mask_outside_regions=True, mode="display")
    assert (shown[0] == 0).all()


def test_masking_of_stored_ybr(tmp_path):
    frames = generate.noise((2, 8, 10, 3))
    source, _ = us(tmp_path, frames, interpretation="YBR_FULL")
    assert (only(tmp_path, source, mask_outside_regions=True)[0] == (0, 128, 128)).all()


def test_masking_needs_regions(tmp_path):
    with pytest.raises(NotInFile, match="no ultrasound regions"):
        cinemill.extract(
            clips.write(tmp_path / "x.dcm", clips.numbered()), tmp_path / "o", mask_outside_regions=True
        )


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"size": (20, 16)}, (16, 20)),
        ({"size": (20, 0)}, (16, 20)),
        ({"size": (0, 4)}, (4, 5)),
        ({"scale": 0.5}, (4, 5)),
        ({"scale": 2, "region": 0}, (6, 8)),
    ],
)
def test_scaling(tmp_path, options, shape):
    source, _ = us(tmp_path)
    assert only(tmp_path, source, mode="display", **options).shape == shape


def test_the_aspect_of_pixels(tmp_path):
    source, _ = us(tmp_path, PixelAspectRatio=["3", "1"])
    assert only(tmp_path, source).shape == (8, 10)
    assert only(tmp_path, source, mode="display").shape == (24, 10)
    assert only(tmp_path, source, mode="display", size=(0, 12)).shape == (12, 5)
    assert only(tmp_path, source, mode="display", size=(7, 7)).shape == (7, 7)


def test_sidecar(tmp_path):
    source, frames = us(tmp_path, FrameTime="40", StudyInstanceUID="1.2.3")
    cinemill.extract(source, tmp_path / "out", format="npy", sidecar=True)
    text = (tmp_path / "out" / "us.json").read_text()
    assert "Doe" not in text
    told = json.loads(text)
    assert told["source"] == {
        "sop_instance_uid": "1.2.3.4",
        "sop_class_uid": generate.SECONDARY_CAPTURE,
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "",
        "transfer_syntax_uid": generate.EXPLICIT,
        "frames": 2,
    }
    assert [region["bounds"] for region in told["regions"]] == [[2, 1, 5, 3], [4, 2, 9, 7]]
    assert told["regions"][0]["units"] == ["cm", "cm"]
    assert told["frames"][1] == {
        "frame": 1,
        "frame_number": 2,
        "time_ms": 40.0,
        "file": "us_0001.npy",
        "digest": f"xxh3-128:{xxhash.xxh3_128_hexdigest(frames[1].tobytes())}",
    }
    assert told["rendering"] is None


def test_the_sidecar_tells_the_rendering(tmp_path):
    source, _ = us(tmp_path, interpretation="MONOCHROME1", WindowCenter="40", WindowWidth="80")
    cinemill.extract(source, tmp_path / "us.mp4", sidecar=True)
    told = json.loads((tmp_path / "us.json").read_text())
    assert told["rendering"] == {
        "photometric_interpretation": "MONOCHROME1",
        "modality": "none",
        "voi": "window",
        "window": [[40.0, 80.0]],
        "inverted": True,
    }
    assert {frame["file"] for frame in told["frames"]} == {"us.mp4"}
    assert all(frame["time_ms"] is None for frame in told["frames"])


def test_the_sidecar_of_copied_codestreams_has_digests_of_samples(tmp_path):
    cinemill.extract(CINE, tmp_path, format="raw", frames=5, sidecar=True)
    told = json.loads((tmp_path / "examples_ybr_color.json").read_text())
    with cinemill.open(CINE) as cine:
        digest = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(cine[5]).data)
    assert told["frames"][0]["digest"] == f"xxh3-128:{digest}"
    assert told["frames"][0]["file"] == "examples_ybr_color_0005.jpg"


def test_unknown_times_are_reported(tmp_path):
    receipt = cinemill.extract(clips.write(tmp_path / "x.dcm", clips.numbered()), tmp_path / "x.gif")
    assert any("no frame times" in warning for warning in receipt.warnings)


def test_a_missing_window_is_reported(tmp_path):
    frames = generate.noise((1, 4, 4), 12)
    plain = clips.write(tmp_path / "x.dcm", frames, bits_stored=12)
    assert any("all 12 bits" in warning for warning in cinemill.extract(plain, tmp_path / "o").warnings)
    windowed = clips.write(tmp_path / "y.dcm", frames, bits_stored=12, WindowCenter="9", WindowWidth="9")
    assert not cinemill.extract(windowed, tmp_path / "o").warnings


def test_no_pixels_nothing_to_do(tmp_path):
    receipt = cinemill.extract(bundled("reportsi.dcm"), tmp_path / "out")
    assert receipt.status == "skipped"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"frames": "0", "count": 2},
        {"every": 10, "count": 2},
        {"region": 0, "crop_to_region": True},
        {"size": (1, 1), "scale": 2},
        {"window": (1, 1), "voi": 0, "mode": "display"},
        {"mode": "stored", "size": (4, 4)},
        {"mode": "stored", "window": (4, 4)},
        {"window": (10, 0)},
        {"window": (float("nan"), 5)},
        {"window": (5, float("inf"))},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"every": float("nan")},
        {"scale": 0},
        {"count": 0},
        {"every": -1},
        {"size": (0, 0)},
        {"frames": "one"},
        {"frames": []},
        {"format": "bmp"},
    ],
)
def test_options_that_cannot_be_carried_out(tmp_path, options):
    with pytest.raises(UsageError):
        cinemill.extract(CINE, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_options_travel_as_json_and_pickle():
    asked = Extract(
        format="png", frames=slice(None, None, 2), window=(40, 400), size=(640, 0), mode="display"
    )
    assert Extract(**json.loads(json.dumps(asdict(asked)))) == asked
    assert pickle.loads(pickle.dumps(asked)) == asked


def test_threads_change_nothing(tmp_path):
    for threads in (1, 3):
        cinemill.extract(CINE, tmp_path / str(threads), format="webp", threads=threads)
    one, three = (tmp_path / name / "examples_ybr_color.webp" for name in ("1", "3"))
    assert one.read_bytes() == three.read_bytes()


def test_display_frames_are_those_of_cine_render(tmp_path):
    cinemill.extract(CINE, tmp_path, frames="4,9")
    with cinemill.open(CINE) as cine:
        for index in (4, 9):
            picture = imagecodecs.png_decode((tmp_path / f"examples_ybr_color_{index:04}.png").read_bytes())
            assert np.array_equal(picture, cine.render(index))
            assert np.array_equal(picture, oracle.pydicom_frame(pydicom.dcmread(CINE), index))


@pytest.mark.parametrize("row", formats.FORMATS, ids=lambda row: row.name)
def test_a_sidecar_knows_outputs_that_are_not_whole_or_of_another_state_of_the_source(tmp_path, row):
    source = tmp_path / "us.dcm"
    shutil.copy(CINE, source)
    folder = tmp_path / "out"

    def status():
        return cinemill.extract(source, folder, format=row.name, frames="0,2", sidecar=True).status

    assert [status(), status()] == ["extracted", "kept"]
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    path = next(path for path in whole if path.suffix != ".json")
    path.write_bytes(whole[path][:-1])
    assert [status(), status()] == ["extracted", "kept"]
    assert path.read_bytes() == whole[path]
    other = pydicom.dcmread(CINE)
    other.PatientName = "Somebody^Else"
    other.save_as(source)
    os.utime(source, ns=(1, 1))
    assert [status(), status()] == ["extracted", "kept"]


@pytest.mark.parametrize("name", ["png", "npz", "zarr", "dicom", "mp4"])
def test_what_is_extracted_is_read_by_nobody_who_may_not_read_the_source(tmp_path, name):
    source = tmp_path / "us.dcm"
    shutil.copy(CINE, source)
    source.chmod(0o600)
    cinemill.extract(source, tmp_path / "out", format=name, frames="0,2", sidecar=True)
    found = list((tmp_path / "out").rglob("*"))
    assert len(found) > 1
    assert [path for path in found if path.stat().st_mode & 0o077] == []
