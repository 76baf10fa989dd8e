"""A data set as a whole: published at once, the same bytes each time, split by patient, without identities, read by loaders."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import cinemill
from cinemill.errors import Cancelled, OutputExists, UsageError
from cinemill.operations.dataset.assemble import Assembly
from cinemill.operations.dataset.dataset import _here
from cinemill.operations.dataset.making import Making
from cinemill.operations.dataset.request import MakeClips
from cinemill.operations.dataset.select import chosen
from cinemill.operations.dataset.splits import read_splits, split_of
from cinemill.operations.deidentify.keys import Key, make_key, read_key
from cinemill.storage import workroom
from cinemill.storage.atomic import sync
from tests.support import clips, phantoms

SPLIT = "patient:0.5,0.25,0.25"
SMALL: dict[str, Any] = {"size": (48, 40), "fps": 25, "seconds": 0.2}


def archive(folder: Path, count: int = 6, patients: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        phantoms.write(
            folder / f"{number}.dcm",
            clips.numbered(11, (40, 60)) + number,
            bounds=(0, 0, 59, 39),
            patient=f"PATIENT-{number % patients}",
            SOPInstanceUID=f"1.2.345.{number}",
            StudyInstanceUID=f"1.2.346.{number}",
        )
    (folder / "note.txt").write_text("no DICOM")
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "a.key")
    return tmp_path / "a.key"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*arguments, **options):
    script = "from cinemill.cli import main\nif __name__ == '__main__': main()"
    place = Path(options["cwd"]) / "command.py"
    place.write_text(script)
    return subprocess.run(
        [sys.executable, str(place), "dataset", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("form", ["webdataset", "npz", "zarr", "mp4"])
def test_the_same_call_gives_the_same_bytes_with_any_number_of_jobs(tmp_path, key, form):
    source = archive(tmp_path / "in")
    options: dict[str, Any] = {"split": SPLIT, "key": key, "format": form, "fan_mask": True, **SMALL}
    first = cinemill.dataset(source, tmp_path / "one", **options)
    moved = shutil.copytree(source, tmp_path / "elsewhere")
    cinemill.dataset(moved, tmp_path / "two", jobs=3, **options)
    assert sum(first.clips.values()) == 12
    assert first.failed == {"NotDicom": 1}
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "elsewhere", "one", "two", "a.key"}


def test_the_command_makes_it_over_processes_and_keeps_what_stands_there(tmp_path, key):
    archive(tmp_path / "in")
    options = (
        "in",
        "out",
        "--key",
        key,
        "--size",
        "48x40",
        "--fps",
        "25",
        "--seconds",
        "0.2",
        "-j",
        "2",
        "--json",
    )
    done = command(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clips"] == {"all": 12}
    cinemill.dataset(tmp_path / "in", tmp_path / "mine", key=key, **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "mine")
    again = command(*options, cwd=tmp_path)
    assert json.loads(again.stdout)["status"] == "kept"
    other = command(*options, "--fit", "cover", cwd=tmp_path)
    assert other.returncode == 1
    assert "use --overwrite" in other.stderr


def test_another_set_is_replaced_only_where_that_is_asked_for(tmp_path):
    source = archive(tmp_path / "in")
    cinemill.dataset(source, tmp_path / "out", **SMALL)
    before = contents(tmp_path / "out")
    (source / "5.dcm").unlink()
    with pytest.raises(OutputExists):
        cinemill.dataset(source, tmp_path / "out", **SMALL)
    assert contents(tmp_path / "out") == before
    assert cinemill.dataset(source, tmp_path / "out", overwrite=True, **SMALL).clips == {"all": 10}
    assert cinemill.dataset(source, tmp_path / "out", overwrite=True, **SMALL).status == "kept"


def test_a_run_that_was_stopped_leaves_nothing_there_and_goes_on(tmp_path):
    source = archive(tmp_path / "in")
    request = MakeClips(**SMALL)
    polled: list[None] = []

    def stop():
        polled.append(None)
        return len(polled) > 8

    with pytest.raises(Cancelled):
        Making(request, [source], tmp_path / "out", _here, 1, stop).make()
    assert not (tmp_path / "out").exists()
    made = set((tmp_path / ".out.making" / "made").glob("*.tar"))
    assert 0 < len(made) < 12
    (tmp_path / ".out.making" / "made" / ".torn.tar.part").write_bytes(b"torn")
    assert cinemill.dataset(source, tmp_path / "out", **SMALL).clips == {"all": 12}
    cinemill.dataset(source, tmp_path / "fresh", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("written", ["webdataset", "npz", "zarr"])
def test_a_stop_is_heard_between_clips_and_files_after_the_last_clip_was_made(tmp_path, monkeypatch, written):
    """Putting many together and bringing them to the disk may take longer than making them."""
    source = archive(tmp_path / "in", 3)
    request = MakeClips(**SMALL, format=written)
    done: list[str] = []

    def counted(name, honest):
        def call(*arguments):
            done.append(name)
            return honest(*arguments)

        return call

    monkeypatch.setattr(Assembly, "_row", counted("row", Assembly._row))
    monkeypatch.setattr(workroom, "sync", counted("sync", sync))
    for stage in ("row", "sync"):
        done.clear()
        with pytest.raises(Cancelled):
            Making(request, [source], tmp_path / "out", _here, 1, partial(done.__contains__, stage)).make()
        assert done.count(stage) <= 2
        assert not (tmp_path / "out").exists()
    assert Making(request, [source], tmp_path / "out", _here, 1).make().clips == {"all": 6}
    with pytest.raises(Cancelled):
        Making(request, [source], tmp_path / "out", _here, 2, lambda: True).make()


def test_what_was_made_with_other_options_or_of_another_state_is_made_anew(tmp_path):
    source = archive(tmp_path / "in", 2)
    with pytest.raises(Cancelled):
        Making(
            MakeClips(**{**SMALL, "fit": "cover"}), [source], tmp_path / "out", _here, 1, lambda: True
        ).make()

    def changing(items, operation, *, jobs, stop):
        yield from _here(items, operation, jobs=jobs, stop=stop)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Making(MakeClips(**SMALL), [source], tmp_path / "out", changing, 1).make()
    phantoms.write(
        source / "0.dcm", clips.numbered(11, (40, 60)) + 99, bounds=(0, 0, 59, 39), SOPInstanceUID="1.2.345.0"
    )
    cinemill.dataset(source, tmp_path / "out", **SMALL)
    cinemill.dataset(source, tmp_path / "fresh", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_no_patient_is_in_two_splits_and_none_moves_when_others_come(tmp_path, key):
    options: dict[str, Any] = {"split": SPLIT, "key": key, **SMALL}
    cinemill.dataset(archive(tmp_path / "in", 12, 6), tmp_path / "small", **options)
    cinemill.dataset(archive(tmp_path / "in", 36, 18), tmp_path / "large", **options)
    where: dict[str, set[str]] = {}
    for name in ("small", "large"):
        for row in pq.read_table(tmp_path / name / "manifest.parquet").to_pylist():
            where.setdefault(row["patient_key"], set()).add(row["split"])
            assert row["file"].startswith(row["split"])
    assert len(where) == 18
    assert {len(splits) for splits in where.values()} == {1}
    assert len({split for splits in where.values() for split in splits}) == 3


def test_patients_are_split_by_the_shares_asked_for():
    splits, key = read_splits("patient:0.8,0.1,0.1"), Key(b"7" * 32)
    found = [split_of(f"{number}", splits, key) for number in range(4000)]
    assert found.count("train") / 4000 == pytest.approx(0.8, abs=0.03)
    assert found.count("test") / 4000 == pytest.approx(0.1, abs=0.02)
    assert found != [split_of(f"{number}", splits, Key(b"8" * 32)) for number in range(4000)]


@pytest.mark.parametrize("with_key", [True, False])
def test_nothing_in_a_set_names_a_patient_or_an_instance(tmp_path, key, with_key):
    options: dict[str, Any] = {"key": key} if with_key else {}
    source = archive(tmp_path / "in")
    cinemill.dataset(source, tmp_path / "out", **options, **SMALL)
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    everything = b"".join(contents(tmp_path / "out").values()) + json.dumps(rows).encode()
    for name in (b"PATIENT-", b"Surname", b"1.2.345", b"1.2.346", str(tmp_path).encode()):
        assert name not in everything
    assert {row["patient_key"] is not None for row in rows} == {with_key}
    if with_key:
        secret = read_key(key)
        assert {row["patient_key"] for row in rows} == {
            secret.patient(f"PATIENT-{number}") for number in range(3)
        }
        assert {row["instance_key"] for row in rows} == {
            secret.uid(f"1.2.345.{number}") for number in range(6)
        }


def test_an_instance_that_is_there_twice_gives_its_clips_once(tmp_path):
    source = archive(tmp_path / "in", 2)
    shutil.copy(source / "0.dcm", source / "copy.dcm")
    outcome = cinemill.dataset(source, tmp_path / "out", **SMALL)
    assert (outcome.clips, outcome.duplicates) == ({"all": 4}, 2)


def test_shards_are_bounded_and_their_index_and_the_manifest_say_what_is_in_them(tmp_path):
    size: dict[str, Any] = {"size": (400, 300), "fps": 25, "seconds": 0.2}
    cinemill.dataset(archive(tmp_path / "in", 4), tmp_path / "out", shard_size=4, **size)
    index = json.loads((tmp_path / "out" / "all.json").read_text())
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert len(index["shardlist"]) == 4
    for shard in index["shardlist"]:
        path = tmp_path / "out" / shard["url"]
        assert path.stat().st_size == shard["filesize"] <= 4 << 20
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
            theirs = sorted((row["position"], row["clip"]) for row in rows if row["file"] == shard["url"])
            assert [m.name.partition(".")[0] for m in members[::2]] == [clip for _, clip in theirs]
            for row in rows:
                if row["file"] == shard["url"]:
                    member = tar.extractfile(f"{row['clip']}.npy")
                    assert member is not None
                    frames = np.load(io.BytesIO(member.read()))
                    assert frames.shape == (5, 300, 400, 3)
    assert sum(shard["nsamples"] for shard in index["shardlist"]) == len(rows) == 8


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(tmp_path):
    wds = pytest.importorskip("webdataset")
    cinemill.dataset(archive(tmp_path / "in", 3), tmp_path / "out", fan_mask=True, **SMALL)
    loaded = list(
        wds.WebDataset(str(tmp_path / "out" / "all-000000.tar"), shardshuffle=False)
        .decode()
        .to_tuple("npy", "mask.npy", "json")
    )
    assert len(loaded) == 6
    frames, mask, told = loaded[0]
    assert (frames.shape, frames.dtype, mask.shape) == ((5, 40, 48, 3), np.uint8, (40, 48))
    assert told["time_ms"] == [0, 40, 80, 120, 160] or told["time_ms"] == [200, 240, 280, 320, 360]


def test_zarr_holds_an_array_a_split(tmp_path):
    zarr = pytest.importorskip("zarr")
    cinemill.dataset(archive(tmp_path / "in", 3), tmp_path / "out", format="zarr", **SMALL)
    cinemill.dataset(tmp_path / "in", tmp_path / "npz", format="npz", **SMALL)
    group = zarr.open_group(tmp_path / "out" / "all.zarr", mode="r")
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert group["frames"].shape == (6, 5, 40, 48, 3)
    for row in rows:
        with np.load(tmp_path / "npz" / "all" / f"{row['clip']}.npz") as arrays:
            assert np.array_equal(group["frames"][row["position"]], arrays["frames"])
            assert np.array_equal(group["time_ms"][row["position"]], arrays["time_ms"])


def test_videos_have_the_frames_of_arrays(tmp_path):
    cv2 = pytest.importorskip("cv2")
    source = archive(tmp_path / "in", 2)
    cinemill.dataset(source, tmp_path / "out", format="mp4", fan_mask=True, **SMALL)
    cinemill.dataset(source, tmp_path / "npz", format="npz", **SMALL)
    for path in (tmp_path / "out" / "all").glob("*.mp4"):
        video = cv2.VideoCapture(str(path))
        frames = []
        while (read := video.read())[0]:
            frames.append(read[1][:, :, ::-1])
        with np.load(tmp_path / "npz" / "all" / f"{path.stem}.npz") as arrays:
            assert len(frames) == len(arrays["frames"])
            assert abs(np.array(frames, int) - arrays["frames"]).mean() < 4
        assert {path.with_suffix(".json").exists(), path.with_suffix(".mask.png").exists()} == {True}


@pytest.fixture
def indexes(tmp_path: Path) -> dict[str, Path]:
    """An index of an archive in each format: only what is asked for here."""
    source = archive(tmp_path / "in")
    table = pa.table(
        {
            "path": [str(source / f"{n}.dcm") for n in range(6)],
            "frames": list(range(6)),
            "model": ["A", "B"] * 3,
        }
    )
    pq.write_table(table, tmp_path / "i.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "i.csv")
    with sqlite3.connect(tmp_path / "i.sqlite") as database:
        database.execute("CREATE TABLE instances (path, frames, model)")
        database.executemany(
            "INSERT INTO instances VALUES (?, ?, ?)", zip(*table.to_pydict().values(), strict=True)
        )
    return {suffix: tmp_path / f"i.{suffix}" for suffix in ("parquet", "csv", "sqlite")}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "sqlite"])
def test_an_index_and_a_condition_choose_instances(tmp_path, indexes, suffix):
    pytest.importorskip("duckdb")
    where = "frames >= 2 AND model = 'A' -- those of A"
    outcome = cinemill.dataset(tmp_path / "in", tmp_path / "out", index=indexes[suffix], where=where, **SMALL)
    assert (outcome.instances, outcome.clips) == (2, {"all": 4})
    assert len(chosen(indexes[suffix], "")) == 6


def test_an_index_that_may_not_be_read_is_said_so(tmp_path, monkeypatch):
    (tmp_path / "x.sqlite").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="let this user read it"):
        chosen(tmp_path / "x.sqlite", "")
    with pytest.raises(UsageError, match="there is no such index"):
        chosen(tmp_path / "none.sqlite", "")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "sqlite"])
@pytest.mark.parametrize(
    "where",
    ["1=1); DROP TABLE instances; --", "nothing = 1", "1 = 1) UNION SELECT 1; (", "frames >"],
    ids=range(4),
)
def test_a_condition_that_is_none_is_wrong_usage_and_writes_nothing(indexes, suffix, where):
    pytest.importorskip("duckdb")
    before = indexes[suffix].read_bytes()
    with pytest.raises(UsageError):
        chosen(indexes[suffix], where)
    assert indexes[suffix].read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        {"split": "patient:0.8,0.3", "key": "k"},
        {"split": "study:0.5,0.5", "key": "k"},
        {"split": SPLIT},
        {"fps": 0},
        {"seconds": float("nan")},
        {"size": (0, 10)},
        {"where": "1"},
        {"fit": "stretch"},
        {"frames": "x"},
        {"fps": 0.1, "seconds": 1},
    ],
    ids=str,
)
def test_options_that_can_not_be_carried_out_are_wrong_usage(options):
    with pytest.raises(UsageError):
        MakeClips(**options)


def test_what_is_no_data_set_is_never_replaced_and_no_source_lies_in_one(tmp_path):
    source = archive(tmp_path / "in", 1)
    (tmp_path / "mine").mkdir()
    assert cinemill.dataset(source, tmp_path / "mine", **SMALL).status == "made"
    (tmp_path / "mine" / "dataset.json").unlink()
    before = contents(tmp_path / "mine")
    with pytest.raises(OutputExists, match="no data set"):
        cinemill.dataset(source, tmp_path / "mine", overwrite=True, **SMALL)
    assert contents(tmp_path / "mine") == before
    with pytest.raises(UsageError, match="lies in it"):
        cinemill.dataset(source, tmp_path, overwrite=True, **SMALL)
    assert source.exists()


def test_a_set_can_not_lie_in_its_source_nor_have_the_name_of_a_file(tmp_path):
    source = archive(tmp_path / "in", 1)
    for place in (source / "out", tmp_path / "out.tar"):
        with pytest.raises(UsageError):
            cinemill.dataset(source, place)


def test_damaged_files_are_counted_and_named_and_the_others_are_taken(tmp_path):
    source = archive(tmp_path / "in", 2)
    whole = (source / "0.dcm").read_bytes()
    (source / "bad.dcm").write_bytes(whole[: len(whole) // 2])
    outcome = cinemill.dataset(source, tmp_path / "out", **SMALL)
    assert outcome.clips == {"all": 4}
    assert outcome.failed == {"DamagedFile": 1, "NotDicom": 1}
    (problem,) = outcome.problems
    assert "bad.dcm" in problem
