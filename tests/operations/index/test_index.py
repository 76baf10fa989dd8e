"""An index: a row an instance, kept up to date, whatever happens to the files and to the run."""

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.errors import NoRoom, UsageError
from cinemill.operations.deidentify.keys import make_key
from cinemill.operations.index import index as module
from cinemill.operations.index.read import Entry, Reader
from cinemill.operations.index.schema import tables
from cinemill.operations.inspect.checks.table import HEADER_CHECKS
from cinemill.operations.inspect.documents.measurements import measurements_of
from cinemill.operations.inspect.model import Facts
from cinemill.operations.reading import read_all
from cinemill.storage.database import open_database
from tests.support import reports
from tests.support.files import bundled
from tests.support.generate import EXPLICIT, IMPLICIT, header, native_element, part10

FRAME = np.zeros((1, 4, 4), np.uint8)
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "examples_ybr_color.dcm",
    "rtdose.dcm",
    "SC_rgb_rle_2frame.dcm",
    "reportsi.dcm",
)


def instance(number=0, syntax=EXPLICIT, **elements):
    told = {
        "Modality": "US",
        "PatientID": f"patient-{number}",
        "StudyInstanceUID": f"1.2.3.{number}.1.1",
        **elements,
    }
    told = {"SeriesInstanceUID": f"1.2.3.{number}.1.2", "SOPInstanceUID": f"1.2.3.{number}.1.3", **told}
    return part10(header(FRAME, **told), native_element(FRAME.tobytes(), syntax), syntax)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "archive"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(bundled(name), folder / "deep" / name)
    for number in range(4):
        (folder / f"{number}.dcm").write_bytes(instance(number))
    (folder / "notes.txt").write_text("no instance")
    return folder


def rows(database, table="instances"):
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return found


def by_name(database):
    return {Path(row["path"]).name: row for row in rows(database)}


def assert_facts(row, dataset):
    """What a row says of pixels and equipment is what pydicom reads."""
    for column, keyword in (
        ("rows", "Rows"),
        ("columns", "Columns"),
        ("samples_per_pixel", "SamplesPerPixel"),
        ("bits_allocated", "BitsAllocated"),
        ("modality", "Modality"),
        ("photometric_interpretation", "PhotometricInterpretation"),
    ):
        expected = dataset.get(keyword)
        assert row[column] == (None if expected in (None, "") else expected), column
    if "PixelData" in dataset:
        assert row["frames"] == int(dataset.get("NumberOfFrames") or 1)
    assert row["regions"] == len(dataset.get("SequenceOfUltrasoundRegions") or ())
    assert row["transfer_syntax_uid"] == dataset.file_meta.TransferSyntaxUID


def test_each_instance_has_a_row_with_its_facts(tree, tmp_path):
    found = cinemill.index(tree, tmp_path / "x.sqlite")
    assert (found.instances, found.read, found.believed, found.gone, found.not_dicom) == (10, 10, 0, 0, 1)
    assert found.complete
    told = by_name(tmp_path / "x.sqlite")
    assert set(told) == {*NAMES, *(f"{number}.dcm" for number in range(4))}
    for name in NAMES:
        assert_facts(told[name], pydicom.dcmread(bundled(name)))
        assert told[name]["path"] == str(tree / "deep" / name)
        assert told[name]["file_bytes"] == bundled(name).stat().st_size
        assert told[name]["error"] is None
    assert len({row["patient_key"] for row in told.values()}) == found.patients
    assert len({row["study_key"] for row in told.values()}) == found.studies


@pytest.mark.corpus
def test_the_corpus_is_indexed_as_pydicom_reads_it(corpus, tmp_path):
    found = cinemill.index(corpus, tmp_path / "x.parquet", jobs=1)
    told = by_name(tmp_path / "x.sqlite")
    assert len(told) == len(list(corpus.iterdir())) == found.instances + found.not_dicom
    compared = 0
    for row in told.values():
        if row["error"] is None:
            try:
                dataset = pydicom.dcmread(row["path"], stop_before_pixels=True)
                uid = str(dataset.file_meta.TransferSyntaxUID)
            except Exception:  # noqa: BLE001  # pydicom reads less
                continue
            assert row["transfer_syntax_uid"] == uid
            assert row["rows"] == dataset.get("Rows")
            assert row["regions"] == len(dataset.get("SequenceOfUltrasoundRegions") or ())
            compared += 1
    assert compared > 280


def test_regions_are_rows_with_their_bounds_and_deltas(tmp_path):
    region = pydicom.Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 1, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 3, 9
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.25, 0.5
    for syntax in (EXPLICIT, IMPLICIT):
        (tmp_path / "a.dcm").write_bytes(
            instance(syntax=syntax, SequenceOfUltrasoundRegions=[region, region])
        )
        cinemill.index(tmp_path / "a.dcm", tmp_path / "x.sqlite")
        (row,) = rows(tmp_path / "x.sqlite")
        assert (row["regions"], row["calibrated_regions"]) == (2, 2)
        found = rows(tmp_path / "x.sqlite", "regions")
        assert [(each["instance"], each["number"]) for each in found] == [(row["id"], 0), (row["id"], 1)]
        assert [each[name] for each in found for name in ("min_x", "min_y", "max_x", "max_y")] == [
            1,
            2,
            3,
            3,
        ] * 2
        assert [each[name] for each in found for name in ("unit_x", "delta_x", "delta_y")] == [
            "cm",
            0.25,
            0.5,
        ] * 2


def test_every_format_opens_elsewhere_and_holds_the_same(tree, tmp_path):
    duckdb, pandas, polars = map(pytest.importorskip, ("duckdb", "pandas", "polars"))
    for suffix in (".sqlite", ".parquet", ".csv"):
        cinemill.index(tree, tmp_path / f"x{suffix}")
    expected = rows(tmp_path / "x.sqlite")
    kinds = {column.name: column.kind for column in tables(phi=False)["instances"].columns}
    for row in expected:
        for name, kind in kinds.items():
            if row[name] is not None:
                row[name] = bool(row[name]) if kind == "boolean" else row[name]
                row[name] = json.loads(row[name]) if kind in {"texts", "numbers"} else row[name]
    parquet = str(tmp_path / "x.parquet")
    connection = duckdb.connect()
    found = connection.sql(f"SELECT * FROM '{parquet}' ORDER BY id")
    names = found.columns
    assert [dict(zip(names, row, strict=True)) for row in found.fetchall()] == expected
    assert polars.read_parquet(parquet).to_dicts() == expected
    frame = pandas.read_parquet(parquet)
    assert list(frame["path"]) == [row["path"] for row in expected]
    assert str(frame["frame_rate"].dtype) == "float64"
    table = pandas.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == names
    assert list(table["path"]) == list(frame["path"])
    told = connection.sql(f"SELECT typeof(lossy), count(*) FROM '{tmp_path}/x.csv' GROUP BY 1").fetchall()
    assert told == [("BOOLEAN", len(expected))]
    for name in ("regions", "measurements", "findings"):
        there = len(rows(tmp_path / "x.sqlite", name))
        assert len(polars.read_parquet(tmp_path / f"x.{name}.parquet")) == there
        with (tmp_path / f"x.{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == there


def test_columns_are_the_fields_of_facts_and_described(tmp_path):
    told = {field.name for field in fields(Facts)}
    names = {column.name for column in tables(phi=True)["instances"].columns}
    assert told <= names
    text = (Path(__file__).parents[3] / "docs" / "INDEX.md").read_text()
    for name, table in tables(phi=True).items():
        part = text[text.index(f"## `{name}`") :].split("\n## ")[0]
        described: dict[str, str] = {}
        for line in part.splitlines():
            if line.startswith("| `"):
                cells = [cell.strip() for cell in line.split("|")[1:-1]]
                described |= {each.strip(" `"): cells[1] for each in cells[0].split(",")}
        assert described == {column.name: column.kind for column in table.columns}


def test_a_second_run_reads_what_changed_and_drops_what_went(tree, tmp_path):
    database = tmp_path / "x.sqlite"
    cinemill.index(tree, database)
    before = by_name(database)
    (tree / "0.dcm").unlink()
    (tree / "1.dcm").write_bytes(instance(7, Manufacturer="ACME"))
    (tree / "new.dcm").write_bytes(instance(8))
    os.utime(tree / "2.dcm", ns=(1, 1))
    found = cinemill.index(tree, database)
    assert (found.read, found.believed, found.gone, found.instances) == (3, 7, 1, 10)
    after = by_name(database)
    assert set(after) == set(before) - {"0.dcm"} | {"new.dcm"}
    assert after["1.dcm"]["manufacturer"] == "ACME"
    assert after["1.dcm"]["id"] == before["1.dcm"]["id"]
    assert after["1.dcm"]["patient_key"] != before["1.dcm"]["patient_key"]
    assert after["2.dcm"] == {**before["2.dcm"], "mtime_ns": 1}
    assert after["3.dcm"] == before["3.dcm"]


def test_rows_below_a_directory_that_cannot_be_listed_stay(tree, tmp_path, monkeypatch):
    database = tmp_path / "x.sqlite"
    cinemill.index(tree, database)
    listed = [tree / f"{number}.dcm" for number in range(3)]
    monkeypatch.setattr(module, "files_below", lambda _: iter([*listed, tree / "deep"]))
    found = cinemill.index(tree, database)
    assert (found.gone, found.instances, found.unlisted) == (1, 9, (str(tree / "deep"),))


def test_what_is_broken_is_a_row_with_its_reason(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    whole = instance(1)
    broken = {
        "header": whole[:300],
        "pixels": whole[:-3],
        "syntax": whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.99\0\0"),
        "frames": instance(2, NumberOfFrames=str(10**11)),
        "empty": b"",
    }
    for name, data in broken.items():
        (folder / name).write_bytes(data)
    found = cinemill.index(folder, tmp_path / "x.sqlite")
    assert (found.instances, found.not_dicom) == (4, 1)
    assert found.errors == {"DamagedFile": 2, "UnsupportedTransferSyntax": 1}
    told = by_name(tmp_path / "x.sqlite")
    assert "promises" in told["pixels"]["error"]
    assert told["pixels"]["rows"] == 4
    assert told["header"]["rows"] is None
    assert told["frames"]["error"] is None
    (folder / "header").write_bytes(whole)
    os.utime(folder / "header", ns=(told["header"]["mtime_ns"],) * 2)
    assert cinemill.index(folder, tmp_path / "x.sqlite").errors == {
        "DamagedFile": 1,
        "UnsupportedTransferSyntax": 1,
    }


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_never_end_a_run(tmp_path, seed):
    random = np.random.default_rng(seed)
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in NAMES:
        data = np.frombuffer(bundled(name).read_bytes(), np.uint8)[: 1 << 16]
        for number in range(12):
            mutated = data.copy()
            places = random.integers(0, min(len(data), 3000), 8)
            mutated[places] = random.integers(0, 256, 8)
            (folder / f"{name}.{number}").write_bytes(mutated.tobytes())
    found = cinemill.index(folder, tmp_path / "x.csv")
    assert found.instances + found.not_dicom == 12 * len(NAMES)
    assert "InternalError" not in found.errors


class Dying(Reader):
    """Ends its process at some files."""

    def read(self, path):
        if "dies" in path:
            os._exit(3)
        return Entry(path, "read", (path,))


def test_a_process_that_dies_costs_one_file(tmp_path):
    paths = [
        [f"{number}-{'dies' if (number, each) == (4, 1) else 'reads'}-{each}" for each in range(3)]
        for number in range(24)
    ]
    reader = Dying(make_key(tmp_path / "key"), phi=False)
    entries = [entry for some in read_all(iter(paths), reader, 2) for entry in some]
    assert [entry.path for entry in entries] == [path for parcel in paths for path in parcel]
    (crashed,) = (entry for entry in entries if entry.outcome == "DecoderCrashed")
    assert crashed.path == "4-dies-1"
    assert crashed.instance is not None
    assert "ended with exit code 3" in crashed.instance[4]


def many(folder, count):
    """Hard links of a few instances, as many as wanted."""
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}").write_bytes(instance(number))
    for number in range(8, count):
        os.link(folder / f"{number % 8}", folder / f"{number:06}")


SCRIPT = """
import os, signal
from cinemill.cli import main
from cinemill.operations.index import store
store._COMMIT_SECONDS = 0
added, add = [], store.Store.add
def and_then(self, entries):
    add(self, entries)
    added.append(1)
    if len(added) == 6:
        {}
store.Store.add = and_then
main()
"""
"""A run to which something happens once it has put in six parcels."""


def run_until(happens, *words):
    command = [sys.executable, "-c", SCRIPT.format(happens), "index", *map(str, words), "--quiet"]
    return subprocess.run(command, start_new_session=True, check=False, timeout=120).returncode


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same(tmp_path):
    many(tmp_path / "archive", 1000)
    words = (tmp_path / "archive", "-o", tmp_path / "x.parquet", "--jobs", 2)
    assert run_until("os.killpg(0, signal.SIGKILL)", *words) == -signal.SIGKILL
    assert not (tmp_path / "x.parquet").exists()
    assert (tmp_path / "x.sqlite-wal").exists()
    found = cinemill.index(tmp_path / "archive", tmp_path / "x.parquet", jobs=1)
    assert found.believed + found.read == found.instances == 1000
    assert found.believed == 6 * 64
    key = tmp_path / "x.sqlite.key"
    expected = cinemill.index(tmp_path / "archive", tmp_path / "y.parquet", key=key, jobs=1)
    assert expected.believed == 0
    assert rows(tmp_path / "x.sqlite") == rows(tmp_path / "y.sqlite")
    assert not list(tmp_path.glob("*-wal"))


def test_a_run_that_is_interrupted_ends_with_what_it_has_and_exports_nothing(tmp_path):
    many(tmp_path / "archive", 1000)
    words = (tmp_path / "archive", "-o", tmp_path / "x.parquet", "--jobs", 2)
    assert run_until("os.kill(os.getpid(), signal.SIGINT)", *words) == 130
    assert not (tmp_path / "x.parquet").exists()
    assert not (tmp_path / "x.sqlite-wal").exists()
    there = len(rows(tmp_path / "x.sqlite"))
    assert 6 * 64 <= there < 1000
    found = cinemill.index(tmp_path / "archive", tmp_path / "x.parquet", jobs=1)
    assert (found.instances, found.believed) == (1000, there)


def test_keys_are_those_of_deidentified_outputs(tmp_path):
    make_key(tmp_path / "key")
    (tmp_path / "a.dcm").write_bytes(instance(5, BurnedInAnnotation="NO"))
    cinemill.deidentify(tmp_path / "a.dcm", tmp_path / "out.dcm", key=str(tmp_path / "key"), mask="none")
    cinemill.index(tmp_path / "a.dcm", tmp_path / "x.sqlite", key=tmp_path / "key")
    (row,) = rows(tmp_path / "x.sqlite")
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert row["patient_key"] == dataset.PatientID
    assert row["study_key"] == dataset.StudyInstanceUID
    assert row["series_key"] == dataset.SeriesInstanceUID
    assert row["instance_key"] == dataset.SOPInstanceUID


def test_a_key_of_its_own_is_made_once_and_private(tree, tmp_path):
    cinemill.index(tree, tmp_path / "x.parquet")
    key = tmp_path / "x.sqlite.key"
    assert key.stat().st_mode & 0o777 == 0o600
    first = rows(tmp_path / "x.sqlite")
    (tmp_path / "x.sqlite").unlink()
    cinemill.index(tree, tmp_path / "x.parquet")
    assert rows(tmp_path / "x.sqlite") == first
    cinemill.index(tree, tmp_path / "y.sqlite")
    assert {row["patient_key"] for row in first}.isdisjoint(
        row["patient_key"] for row in rows(tmp_path / "y.sqlite")
    )
    key.unlink()
    with pytest.raises(UsageError, match="key of this index is not beside it"):
        cinemill.index(tree, tmp_path / "x.parquet")


def test_another_key_other_options_and_other_files_are_refused(tree, tmp_path):
    cinemill.index(tree, tmp_path / "x.sqlite")
    make_key(tmp_path / "key")
    with pytest.raises(UsageError, match="with another key"):
        cinemill.index(tree, tmp_path / "x.sqlite", key=tmp_path / "key")
    with pytest.raises(UsageError, match="without patient data"):
        cinemill.index(tree, tmp_path / "x.sqlite", phi=True)
    with pytest.raises(UsageError, match="lie among, the sources"):
        cinemill.index(tree, tree / "deep" / "x.sqlite")
    with pytest.raises(UsageError, match=r"ends in \.sqlite, \.csv or \.parquet"):
        cinemill.index(tree, tmp_path / "x.json")
    with pytest.raises(UsageError, match="no such file or directory"):
        cinemill.index(tree / "nothing", tmp_path / "y.sqlite")
    (tmp_path / "text.sqlite").write_text("mine, and no database")
    with pytest.raises(UsageError, match="is no database"):
        cinemill.index(tree, tmp_path / "text.csv", key=tmp_path / "key")
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE mine (a)").connection.close()
    with pytest.raises(UsageError, match="something else"):
        cinemill.index(tree, tmp_path / "other.sqlite", key=tmp_path / "key")
    assert (tmp_path / "text.sqlite").read_text() == "mine, and no database"


def test_an_index_that_another_run_writes_is_refused(tree, tmp_path):
    def meanwhile(*_):
        with pytest.raises(UsageError, match="another run is writing it"):
            cinemill.index(tree, tmp_path / "x.sqlite")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cinemill.index(tree, tmp_path / "x.sqlite", progress=meanwhile)
    assert cinemill.index(tree, tmp_path / "x.sqlite").instances == 10


def test_an_index_of_another_version_is_made_anew(tree, tmp_path):
    cinemill.index(tree, tmp_path / "x.sqlite")
    connection = sqlite3.connect(tmp_path / "x.sqlite")
    connection.execute("PRAGMA user_version = 999")
    connection.execute("ALTER TABLE instances DROP COLUMN modality")
    connection.commit()
    connection.close()
    found = cinemill.index(tree, tmp_path / "x.sqlite")
    assert (found.believed, found.read) == (0, 10)


def test_parquet_without_its_package_names_the_extra(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"cinemill\[index\]"):
        cinemill.index(tree, tmp_path / "x.parquet")
    assert cinemill.index(tree, tmp_path / "x.csv").instances == 10


def test_names_that_are_no_utf_8_and_cells_that_are_formulas_do_no_harm(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.dcm")).write_bytes(instance(1, Manufacturer="=cmd()"))
    for _ in range(2):
        found = cinemill.index(folder, tmp_path / "x.csv")
        assert found.instances == 1
    assert found.believed == 1
    with (tmp_path / "x.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"].endswith(r"caf\udce9.dcm")
    assert row["manufacturer"] == "'=cmd()"


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    many(tmp_path / "archive", 200)

    def full(path, application):
        connection = open_database(path, application)
        connection.execute("PRAGMA max_page_count = 10")
        return connection

    monkeypatch.setattr("cinemill.operations.index.store.open_database", full)
    with pytest.raises(NoRoom, match="the disk is full"):
        cinemill.index(tmp_path / "archive", tmp_path / "x.sqlite")
    monkeypatch.undo()
    assert cinemill.index(tmp_path / "archive", tmp_path / "x.sqlite").instances == 200


PLANTED = SimpleNamespace(
    PatientName="Grünhagelová^Ottilie",
    PatientID="PLANTED-4711-ID",
    PatientBirthDate="19310407",
    AccessionNumber="ACC-PLANTED-99",
    StudyDescription="planted description of Ottilie",
    StudyDate="20190203",
    StudyInstanceUID="1.2.826.0.1.3680043.8.498.4711.1",
    SeriesInstanceUID="1.2.826.0.1.3680043.8.498.4711.2",
    SOPInstanceUID="1.2.826.0.1.3680043.8.498.4711.3",
)


def outputs(folder, stem):
    return {
        path.name: path.read_bytes() for path in folder.glob(f"{stem}.*") if not path.name.endswith(".key")
    }


def test_nothing_names_the_patient_unless_asked(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    whole = instance(1, SpecificCharacterSet="ISO_IR 192", **vars(PLANTED))
    (folder / "a.dcm").write_bytes(whole)
    (folder / "b.dcm").write_bytes(whole[:-2])
    (folder / "c.dcm").write_bytes(whole.replace(b"4711.3\0", b"4711.9\0", 1))
    (folder / "d.dcm").write_bytes(whole[:900])
    (folder / "e.dcm").write_bytes(instance(1, Manufacturer="1.2.826", **vars(PLANTED)))
    words = [value.encode() for value in vars(PLANTED).values()]
    words += [b"Ottilie", "Grünhagelová".encode(), b"-4711-", b".4711."]
    for suffix in (".sqlite", ".csv", ".parquet"):
        cinemill.index(folder, tmp_path / f"x{suffix}")
        cinemill.index(folder, tmp_path / f"y{suffix}", phi=True)
    for name, data in outputs(tmp_path, "x").items():
        assert [word for word in words if word in data] == [], name
    for row in rows(tmp_path / "y.sqlite")[:1]:
        assert {row[name] for name in ("patient_name", "patient_id", "study_date", "sop_instance_uid")} == {
            PLANTED.PatientName,
            PLANTED.PatientID,
            PLANTED.StudyDate,
            PLANTED.SOPInstanceUID,
        }
    assert PLANTED.PatientName.encode() in outputs(tmp_path, "y")["y.csv"]


@pytest.mark.corpus
def test_nothing_of_the_corpus_names_a_patient(corpus, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    words = set()
    for number, path in enumerate(sorted(corpus.iterdir())):
        shutil.copy(path, folder / f"{number}")
        os.utime(folder / f"{number}", (0, 0))
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            told = [dataset.get(name) for name in vars(PLANTED)]
        except Exception:  # noqa: BLE001  # pydicom reads less
            continue
        words |= {str(value) for value in told if value and len(set(str(value))) > 4 and len(str(value)) > 7}
    assert len(words) > 200
    cinemill.index(folder, tmp_path / "x.csv", jobs=1)
    data = b"".join(outputs(tmp_path, "x").values()).decode(errors="replace")
    data = re.sub(
        r"2?\.25\.\d+", "", data
    )  # among the random digits of a thousand pseudonyms there are dates
    assert [word for word in words if word in data] == []


def test_measurements_are_those_of_the_report_with_keys_in_place_of_uids(tmp_path):
    report = reports.obstetric()
    path = reports.saved(report, tmp_path / "echo.dcm")
    key = make_key(tmp_path / "key")
    cinemill.index(path, tmp_path / "x.csv", key=tmp_path / "key")
    expected = measurements_of(report)
    found = rows(tmp_path / "x.sqlite", "measurements")
    assert len(found) == len(expected) > 10
    for row, measurement in zip(found, expected, strict=True):
        assert (row["position"], row["concept"]) == (measurement.position, measurement.concept.meaning)
        assert (row["value"], row["value_text"]) == (measurement.value, measurement.text or None)
        assert row["unit"] == (measurement.unit.value if measurement.unit else None)
        images = [key.uid(each.sop_instance_uid) for each in measurement.references]
        assert row["image_key"] == (images[0] if images else None)
        assert [each.split("#")[0] for each in (row["image_keys"] or "").split()] == images
    data = b"".join(outputs(tmp_path, "x").values())
    uids = {each.sop_instance_uid for measurement in expected for each in measurement.references}
    assert uids
    assert not [uid for uid in uids if uid.encode() in data]


def test_texts_of_measurements_do_not_name_the_patient(tmp_path):
    tracked = reports.text(
        reports.OBS, ("112039", "DCM", "Tracking Identifier"), f"lesion of Ottilie {PLANTED.PatientID}"
    )
    measured = reports.num(("121206", "DCM", "Distance"), "12", reports.MM)
    group = reports.container(reports.CONTAINS, reports.GROUP, tracked, measured)
    report = reports.report(("126000", "DCM", "Imaging Measurement Report"), "1500", group)
    for name, value in vars(PLANTED).items():
        setattr(report, name, value)
    report.SpecificCharacterSet = "ISO_IR 192"
    path = reports.saved(report, tmp_path / "report.dcm")
    cinemill.index(path, tmp_path / "x.csv")
    (row,) = rows(tmp_path / "x.sqlite", "measurements")
    assert row["value"] == 12
    assert row["tracking_identifier"].startswith("lesion of …")
    data = b"".join(outputs(tmp_path, "x").values())
    assert [value for value in vars(PLANTED).values() if value.encode() in data] == []


def test_findings_are_those_of_the_inspection_that_a_header_decides(tree, tmp_path):
    cinemill.index(tree, tmp_path / "x.sqlite", phi=True)
    told = {row["id"]: row["path"] for row in rows(tmp_path / "x.sqlite")}
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows(tmp_path / "x.sqlite", "findings"):
        found.setdefault(told[row["instance"]], []).append((row["check_id"], row["severity"], row["found"]))
    assert len(found) > 5
    headers = {check.id for check in HEADER_CHECKS}
    for path in told.values():
        expected = [
            (each.check, each.severity.value, each.found)
            for each in cinemill.inspect(path).findings
            if each.check in headers
        ]
        assert sorted(found.get(path, [])) == sorted(expected), path


def test_columns_without_patient_data_have_no_uids(tree, tmp_path):
    cinemill.index(tree, tmp_path / "x.sqlite")
    names = rows(tmp_path / "x.sqlite")[0]
    assert not {"sop_instance_uid", "study_instance_uid", "patient_name", "patient_id"} & set(names)


def test_files_of_one_tree_named_twice_have_one_row_each(tree, tmp_path):
    found = cinemill.index(
        [tree / "1.dcm", tree / "1.dcm", tree, tree / "deep"], tmp_path / "x.sqlite", jobs=1
    )
    assert found.instances == 10
    numbers = {row["id"] for row in rows(tmp_path / "x.sqlite")}
    assert len(numbers) == 10
    for name in ("regions", "findings"):
        told = [(row["instance"], row["number"]) for row in rows(tmp_path / "x.sqlite", name)]
        assert len(told) == len(set(told))
        assert {instance for instance, _ in told} <= numbers
