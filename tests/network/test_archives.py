"""Real archives on this machine: what is sent arrives as it is, and comes back as it was, by every way."""

from __future__ import annotations

from dataclasses import replace

import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

import cinemill
from cinemill.errors import NodeError
from cinemill.network import archive as remote
from cinemill.network.arrivals import Arrivals
from cinemill.network.commitment import commit
from cinemill.network.instances import read_instance
from cinemill.network.listener import Listener
from cinemill.network.outcomes import Outcome
from cinemill.network.pace import Pace
from cinemill.network.query import Study, studies
from cinemill.network.store import accepted, store
from cinemill.network.web import store as stow
from cinemill.operations.exchange.pull import pull, pull_study
from cinemill.operations.exchange.push import Sender, read_fallback
from tests.support.pacs import data_set_of, dcmqrscp, orthanc, storescp, write_study

WAYS = ("get", "move", "web")
TRAILING_PADDING = 0xFFFCFFFC


def sent(node, files):
    return [outcome.name for outcome in store(node, map(read_instance, files))]


def assert_same(source, other):
    """Compare all elements and the bytes of the pixels.

    DCMTK leaves out padding behind the data set, and sends native ones in another VR encoding.
    """
    ours, theirs = pydicom.dcmread(source), pydicom.dcmread(other)
    syntaxes = {each.file_meta.TransferSyntaxUID for each in (ours, theirs)}
    assert len(syntaxes) == 1 or syntaxes == {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
    for dataset in (ours, theirs):
        if TRAILING_PADDING in dataset:
            del dataset[TRAILING_PADDING]
    assert ours == theirs
    assert ours.PixelData == theirs.PixelData


def test_what_storescp_writes_down_has_the_bytes_of_the_file(tmp_path):
    files = write_study(tmp_path / "in", 1, 2, frames=40, side=64)
    with storescp(tmp_path / "out") as node:
        assert sent(node, files) == ["stored", "stored"]
    written = sorted(map(data_set_of, (tmp_path / "out").iterdir()))
    assert written == sorted(map(data_set_of, files))


@pytest.mark.parametrize("way", WAYS)
def test_a_study_comes_back_from_orthanc_as_it_was_sent(archive, tmp_path, way):
    node = archive.node(way)
    files = write_study(tmp_path / "in", 10 + WAYS.index(way), 3, frames=5)
    compressed = tmp_path / "compressed.dcm"
    cinemill.transcode(files[0], compressed, to="jpeg-ls")
    files[0] = compressed
    instances = [read_instance(file) for file in files]
    outcomes = stow(node, instances) if way == "web" else store(node, instances)
    assert [outcome.name for outcome in outcomes] == ["stored"] * 3
    (study,) = pull(node, tmp_path / "out", [Study(instances[0].study)])
    assert (study.there, study.expected, study.missing) == (3, 3, ())
    for instance in instances:
        assert_same(instance.path, study.folder / f"{instance.sop_instance}.dcm")
    assert not list(study.folder.glob(".*"))


@pytest.mark.parametrize("way", ["get", "move"])
@pytest.mark.parametrize("name", ["dcmqrscp", "qrscp"])
def test_a_study_comes_back_from_other_archives_as_it_was_sent(other_archives, tmp_path, name, way):
    node = replace(other_archives(name), pull=way)
    files = write_study(tmp_path / "in", 20 + len(name + way), 2)
    assert sent(node, files) == ["stored"] * 2
    instances = [read_instance(file) for file in files]
    (study,) = pull(node, tmp_path / "out", [Study(instances[0].study)])
    assert (study.there, study.missing) == (2, ())
    for instance in instances:
        assert_same(instance.path, study.folder / f"{instance.sop_instance}.dcm")


def test_an_instance_that_is_there_is_not_fetched_again(archive, tmp_path):
    node = archive.node()
    files = write_study(tmp_path / "in", 30, 3)
    sent(node, files)
    uid = read_instance(files[0]).study
    folder = tmp_path / "out"
    pull_study(node, Study(uid), folder, Pace())
    first, second, third = sorted(folder.iterdir())
    second.unlink()
    before = {path: path.stat().st_mtime_ns for path in (first, third)}
    fetched: list[Outcome] = []
    study = pull_study(node, Study(uid), folder, Pace(), told=fetched.append)
    assert (study.kept, study.there, study.missing) == (2, 3, ())
    assert [outcome.sop_instance for outcome in fetched] == [second.stem]
    assert {path: path.stat().st_mtime_ns for path in (first, third)} == before


def test_what_the_archive_counts_and_does_not_send_is_named(archive, tmp_path):
    node = archive.node()
    files = write_study(tmp_path / "in", 31, 2)
    sent(node, files)
    uid = read_instance(files[0]).study
    study = pull_study(node, Study(uid, instances=3), tmp_path / "out", Pace())
    assert (study.expected, study.there, len(study.missing)) == (3, 2, 1)
    assert "counts 3 instances, and lists 2" in study.missing[0].detail


def test_a_study_that_is_nowhere_is_named(archive, tmp_path):
    for way in WAYS:
        study = pull_study(archive.node("get" if way == "move" else way), Study("1.2.3"), tmp_path, Pace())
        assert [outcome.name for outcome in study.missing] == ["no-such"]


def test_a_truncated_list_of_studies_is_asked_for_in_parts(tmp_path):
    with orthanc(tmp_path / "orthanc", LimitFindResults=3) as server:
        node = server.node()
        uids = set()
        for day in range(1, 9):
            files = write_study(tmp_path / "in", 100 + day, 1, study_date=f"202003{day:02}")
            sent(node, files)
            uids.add(read_instance(files[0]).study)
        found = [study.uid for study in studies(node, {"StudyDate": "20200101-20201231"})]
        assert sorted(found) == sorted(uids)
        with pytest.raises(NodeError, match="single day 20200310"):
            write = [
                write_study(tmp_path / "day", 200 + number, 1, study_date="20200310") for number in range(5)
            ]
            for files in write:
                sent(node, files)
            list(studies(node, {"StudyDate": "20200310"}))


def test_the_archive_says_which_syntaxes_it_takes(archive):
    ultrasound = "1.2.840.10008.5.1.4.1.1.6.1"
    asked = {(ultrasound, "1.2.840.10008.1.2.4." + last) for last in ("80", "201")}
    asked |= {(f"1.2.840.10008.5.1.4.1.1.{number}", "1.2.840.10008.1.2") for number in range(150)}
    taken = accepted(archive.node(), asked)
    assert (ultrasound, "1.2.840.10008.1.2.4.80") in taken
    assert (ultrasound, "1.2.840.10008.1.2.4.201") not in taken


def test_what_is_refused_is_named_and_with_a_fallback_transcoded_and_verified(archive, tmp_path):
    node = archive.node()
    (file,) = write_study(tmp_path / "in", 40, 1, frames=3)
    source = tmp_path / "in.dcm"
    cinemill.transcode(file, source, to="htj2k")
    sop_instance = read_instance(file).sop_instance
    (refused,) = Sender(node, "dimse").send([source])
    assert refused.name == "syntax-refused"
    assert "htj2k" in refused.detail
    assert sop_instance not in archive.instances()
    (outcome,) = Sender(node, "dimse", read_fallback("jpeg-xl,jpeg-ls,explicit")).send([source])
    assert (outcome.name, outcome.source) == ("stored", source)
    assert outcome.transfer_syntax.endswith(".80")
    assert outcome.before.endswith(".201")
    there = tmp_path / "there.dcm"
    there.write_bytes(archive.file(sop_instance))
    assert (pydicom.dcmread(there).pixel_array == pydicom.dcmread(file).pixel_array).all()


def test_what_could_not_be_given_back_is_not_sent_by_stow_unless_forced(archive, tmp_path):
    node = archive.node("web")
    (file,) = write_study(tmp_path / "in", 41, 1)
    source = tmp_path / "in.dcm"
    cinemill.transcode(file, source, to="htj2k")
    sop_instance = read_instance(file).sop_instance
    for entry in (node, replace(node, dimse=None), replace(node, dimse=None, readable_by="orthanc")):
        (outcome,) = Sender(entry, "web").send([source])
        assert outcome.name == "not-served"
    assert sop_instance not in archive.instances()
    (outcome,) = Sender(node, "web", force=True).send([source])
    assert outcome.name == "stored"


def test_an_archive_that_does_not_overwrite_is_found_out_by_what_it_gives_back(tmp_path):
    (file,) = write_study(tmp_path / "in", 50, 1)
    smaller = tmp_path / "smaller.dcm"
    cinemill.transcode(file, smaller, to="jpeg-ls")
    for overwrites in (False, True):
        with orthanc(tmp_path / f"orthanc-{overwrites}", OverwriteInstances=overwrites) as server:
            for way in ("get", "web"):
                node = server.node(way)
                assert sent(node, [file]) == ["stored"]
                assert sent(node, [smaller]) == ["stored"]
                arrivals = Arrivals(tmp_path / f"{way}-{overwrites}", read_instance(file).study)
                remote.fetch(node, arrivals.study, arrivals)
                (uid,) = arrivals.fetched
                assert read_instance(arrivals.path_of(uid)).transfer_syntax.endswith(".80") == overwrites


def test_an_archive_answers_for_what_it_has_and_not_for_what_it_lacks(archive, tmp_path):
    node = archive.node()
    files = write_study(tmp_path / "in", 60, 2)
    sent(node, files)
    instances = [read_instance(file) for file in files]
    absent = replace(instances[0], sop_instance="1.2.3.4")
    with Listener(node.by_dimse) as listener:
        answered = commit(node, [*instances, absent], listener, 120)
    assert [answered[each.sop_instance] for each in instances] == ["committed", "committed"]
    assert answered["1.2.3.4"] == "no-such"


def test_instances_of_more_contexts_than_an_association_has_are_all_sent(tmp_path):
    files = []
    for number in range(140):
        (file,) = write_study(tmp_path / "in", 300 + number, 1, side=4)
        dataset = pydicom.dcmread(file)
        sop_class = UID(f"1.2.840.10008.5.1.4.1.1.{number}")
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.save_as(file)
        files.append(file)
    with dcmqrscp(tmp_path / "archive") as node:
        outcomes = list(store(node, map(read_instance, files)))
    assert len(outcomes) == 140
    assert {outcome.name for outcome in outcomes} <= {"stored", "class-refused"}
    assert sum(outcome.name == "stored" for outcome in outcomes) > 10
