"""Which studies, series and instances a catalogue has, and in which order."""

import os
import sqlite3

import numpy as np
import pytest

from cinemill.errors import OutputError, UsageError
from cinemill.operations.index.index import index
from cinemill.serve.catalogue import Catalogue, make_catalogue
from cinemill.serve.matching import Key, read_path
from tests.support.generate import EXPLICIT, header, native_element, part10

FRAME = np.zeros((1, 4, 4), np.uint8)


def write(path, **elements):
    told = {"Modality": "US", "PatientID": "7", **elements}
    data = part10(header(FRAME, **told), native_element(FRAME.tobytes(), EXPLICIT), EXPLICIT)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def uids(study, series, instance):
    return {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    write(folder / "a", **uids("1.1", "1.1.1", "1.1.1.10"), StudyDate="20240101", InstanceNumber="10")
    write(folder / "b", **uids("1.1", "1.1.1", "1.1.1.2"), StudyDate="20240101", InstanceNumber="2")
    write(
        folder / "c", **uids("1.1", "1.1.2", "1.1.2.1"), StudyDate="20240101", SeriesNumber="1", Modality="SR"
    )
    write(folder / "d", **uids("1.2", "1.2.1", "1.2.1.1"), StudyDate="20250101", PatientName="Roe^Mary")
    write(folder / "e", **uids("1.2", "1.2.1", "1.2.1.1"), StudyDate="20250101", PatientName="Other")
    write(folder / "f", **uids("", "1.2.1", "1.2.1.1"))
    write(folder / "g", **uids("1.3.4.5.6", "1.2.1", "1.2.1.1"))
    (folder / "g").write_bytes((folder / "g").read_bytes().replace(b"1.3.4.5.6", b"1.3/../.."))
    (folder / "h").write_text("no DICOM")
    return folder


@pytest.fixture
def catalogue(tree, tmp_path):
    index(tree, tmp_path / "i.sqlite", phi=True)
    assert make_catalogue(tmp_path / "i.sqlite", tmp_path / "c.sqlite") == 3
    return Catalogue(tmp_path / "c.sqlite")


def found(catalogue, depth, *within, **keys):
    wanted = [Key(read_path(name), value) for name, value in keys.items()]
    return [each.uids[-1] for each in catalogue.search(depth, within, wanted)]


def test_a_path_that_is_no_utf_8_leads_to_its_file(tmp_path):
    folder = tmp_path / "tree"
    for number, name in enumerate((b"\xff\xfe", rb"\udcff", "é".encode()), 1):
        write(folder / os.fsdecode(name), **uids("1.1", "1.1.1", f"1.1.1.{number}"))
    index(folder, tmp_path / "i.sqlite", phi=True)
    assert make_catalogue(tmp_path / "i.sqlite", tmp_path / "c.sqlite") == 0
    paths = [each.path for each in Catalogue(tmp_path / "c.sqlite").search(3, ())]
    assert [os.fsencode(path.name) for path in paths] == [b"\xff\xfe", rb"\udcff", "é".encode()]


def test_the_newest_study_comes_first_and_instances_by_their_numbers(catalogue):
    assert found(catalogue, 1) == ["1.2", "1.1"]
    assert found(catalogue, 2, "1.1") == ["1.1.1", "1.1.2"]
    assert found(catalogue, 3, "1.1") == ["1.1.1.2", "1.1.1.10", "1.1.2.1"]
    assert found(catalogue, 3, "1.1", "1.1.2", "1.1.2.1") == ["1.1.2.1"]
    assert found(catalogue, 3, "1.2", "1.1.2") == []


def test_keys_of_all_levels(catalogue):
    assert found(catalogue, 1, PatientName="roe^m*") == ["1.2"]
    assert found(catalogue, 1, PatientName="Other") == []  # the first file of an instance counts
    assert found(catalogue, 1, StudyDate="20240101-20241231") == ["1.1"]
    assert found(catalogue, 1, ModalitiesInStudy="SR") == ["1.1"]
    assert found(catalogue, 2, Modality="SR") == ["1.1.2"]
    assert found(catalogue, 3, InstanceNumber="2") == ["1.1.1.2"]
    assert found(catalogue, 3, SOPInstanceUID="1.1.1.2,1.2.1.1") == ["1.2.1.1", "1.1.1.2"]
    assert found(catalogue, 1, PatientID="7' OR '1'='1") == []


def test_what_belongs_to_a_study(catalogue):
    assert catalogue.related(["1.1"]) == (2, 3, ("SR", "US"))
    assert catalogue.related(["1.1", "1.1.2"]) == (1, 1, ("SR",))


def test_one_that_is_made_in_its_place_is_seen(catalogue, tree, tmp_path):
    (tree / "d").unlink()
    write(tree / "z", **uids("1.9", "1.9.1", "1.9.1.1"), StudyDate="20260101")
    index(tree, tmp_path / "i.sqlite", phi=True)
    make_catalogue(tmp_path / "i.sqlite", tmp_path / "c.sqlite")
    assert found(catalogue, 1) == ["1.9", "1.2", "1.1"]
    assert next(catalogue.search(3, ["1.2"])).path == tree / "e"


def test_an_index_without_patient_data_and_a_damaged_one_are_refused(tree, tmp_path):
    index(tree, tmp_path / "i.sqlite")
    with pytest.raises(OutputError, match="no such column"):
        make_catalogue(tmp_path / "i.sqlite", tmp_path / "c.sqlite")
    with pytest.raises(UsageError, match="without patient data"):
        index(tree, tmp_path / "i.sqlite", phi=True)
    assert not (tmp_path / "c.sqlite").exists()


def test_searches_only_read(catalogue, tmp_path):
    with sqlite3.connect(tmp_path / "c.sqlite") as database:
        before = database.execute("SELECT count(*) FROM instances").fetchone()
    assert found(catalogue, 1, PatientID="'; DROP TABLE instances; --") == []
    with sqlite3.connect(tmp_path / "c.sqlite") as database:
        assert database.execute("SELECT count(*) FROM instances").fetchone() == before
