"""A run over files and trees: same UIDs for the same key, references that hold, nothing told, nothing written in doubt."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner

import cinemill
from cinemill.batch import attempt, run_all
from cinemill.cli import app
from cinemill.dicom.recode import encode_element
from cinemill.errors import CinemillError, OutputExists, Refused, UnsupportedPixelFormat
from cinemill.operations.deidentify import deidentify
from cinemill.operations.deidentify.keys import make_key, read_key
from cinemill.operations.deidentify.mapping import MapFile
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.operation import Control
from cinemill.operations.origin import look_at
from cinemill.operations.report import Report
from tests.operations.deidentify.conftest import FRAMES, identified, tree
from tests.support import oracle
from tests.support.files import bundled, corpus_files
from tests.support.generate import (
    DEFLATED,
    EXPLICIT,
    JPEG_BASELINE,
    encapsulated_element,
    header,
    jpeg,
    native_element,
    part10,
    smooth,
)
from tests.support.tools import conformance_errors

NAMES = (b"Zebediah", b"Doe", b"Jane", b"MRN-", b"Helsing", b"1.2.3.0", b"1.2.3.1")


def command(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and isinstance(done.exception, CinemillError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.output


def run(folder, output, key, report=None, **options):
    """Do to a tree what the command does to it, in this process."""
    request = Deidentify(key=str(key), **options).aimed_at([folder], output)
    receipts = [attempt(item, request, Control(1)) for item in request.discover([folder], output)]
    for receipt in receipts if report is not None else ():
        report.add(request.published(receipt))
    return receipts


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def uids_of(dataset, keyword):
    found = []
    dataset.walk(lambda _, element: found.append(element.value) if element.keyword == keyword else None)
    return found


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("number", ["2", "4", "none"])
def test_what_is_repaired_has_its_frames_carried_over(tmp_path, key, number, extended):
    """Each of native frames, and of JPEGs behind either offset table; what is no element behind them is left out."""
    jpegs = [[jpeg(frame)] for frame in FRAMES]
    whole = {
        EXPLICIT: part10(identified(), native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT),
        JPEG_BASELINE: part10(
            identified(),
            encapsulated_element(jpegs, table="extended" if extended else "basic"),
            JPEG_BASELINE,
        ),
    }
    right, wrong = (encode_element(0x00280008, b"IS", text.encode()) for text in ("3", number))
    for name, data in whole.items():
        assert right in data
        (tmp_path / "in.dcm").write_bytes(data.replace(right, wrong) + b"\xff" * 99)
        output = tmp_path / f"{name}.dcm"
        options = {"key": key, "mask": "none", "repair": True}
        assert cinemill.deidentify(tmp_path / "in.dcm", output, **options).status == "deidentified"
        assert pydicom.dcmread(output).NumberOfFrames == 3
        with cinemill.open(output) as cine:
            assert len(cine) == 3
            if name == EXPLICIT:
                assert np.array_equal(cine[:], FRAMES)


def test_every_reference_in_the_output_tree_resolves(tmp_path, key):
    tree(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out", key, option="clean-structured-content,clean-graphics")
    outputs = [pydicom.dcmread(path) for path in files(tmp_path / "out")]
    there = {dataset.SOPInstanceUID for dataset in outputs}
    assert len(there) == len(outputs) == 10
    referred = [uid for dataset in outputs for uid in uids_of(dataset, "ReferencedSOPInstanceUID")]
    assert len(referred) == 2 * (3 + 3 + 3)
    assert set(referred) <= there
    for path, dataset in zip(files(tmp_path / "out"), outputs, strict=True):
        assert path.parts[-3:-1] == (dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
        assert path.stem == dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        data = path.read_bytes() + os.fsencode(path.relative_to(tmp_path))
        assert not [name for name in NAMES if name in data]


def test_two_runs_and_several_workers_agree_and_another_key_does_not(tmp_path, key):
    tree(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "one", key)
    words = ("deidentify", tmp_path / "in", tmp_path / "two", "--key", key, "-q", "--jobs", 2)
    assert command(*words)[0] == 0
    names = [
        [path.relative_to(tmp_path / name) for path in files(tmp_path / name)] for name in ("one", "two")
    ]
    assert names[0] == names[1]
    make_key(tmp_path / "other.key")
    run(tmp_path / "in", tmp_path / "three", tmp_path / "other.key")
    others = {path.relative_to(tmp_path / "three") for path in files(tmp_path / "three")}
    assert len(others) == 10
    assert others.isdisjoint(names[0])


def test_a_second_run_keeps_what_is_finished_and_makes_anew_what_was_asked_for_otherwise(tmp_path, key):
    tree(tmp_path / "in")
    first = run(tmp_path / "in", tmp_path / "out", key)
    again = run(tmp_path / "in", tmp_path / "out", key)
    assert {receipt.status for receipt in first} == {"deidentified"}
    assert {(receipt.status, receipt.profile) for receipt in again} == {("kept", "basic")}
    assert [receipt.elements for receipt in first] == [receipt.elements for receipt in again]
    other = run(tmp_path / "in", tmp_path / "out", key, option="clean-descriptors")
    assert {receipt.status for receipt in other} == {"deidentified"}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_report_tells_nothing_of_whose_instances_they_were(tmp_path, key, suffix):
    tree(tmp_path / "in")
    (tmp_path / "in" / "Doe_0" / "Zebediah.dcm").write_bytes(b"no DICOM, but Zebediah")
    damaged = tmp_path / "in" / "Doe_0" / "Jane_0.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with Report(tmp_path / f"report{suffix}") as report:
        run(tmp_path / "in", tmp_path / "out", key, report, map=str(tmp_path / "map"))
    told = (tmp_path / f"report{suffix}").read_bytes()
    assert not [name for name in NAMES if name in told]
    if suffix == ".csv":
        return
    entries = MapFile(tmp_path / "map", read_key(key)).entries()
    known = {entry.pseudonym.split(" ")[0]: entry.original for entry in entries if entry.kind == "file"}
    done = [row for row in map(json.loads, told.splitlines()) if row["status"] == "deidentified"]
    assert len(done) == 9
    assert all("Doe_" in known[row["source"]] for row in done)


def test_the_command_ends_with_a_table_and_a_report_that_names_nobody(tmp_path, key):
    (first, *_) = tree(tmp_path / "in")
    words = (
        "deidentify",
        first,
        tmp_path / "out",
        "--key",
        key,
        "--json",
        "--report",
        tmp_path / "report.jsonl",
    )
    code, said = command(*words)
    assert code == 0
    for told in (said.splitlines()[0], (tmp_path / "report.jsonl").read_text()):
        assert not [name for name in NAMES if name.decode() in told]


@pytest.mark.parametrize(
    ("who", "shares"),
    [
        ({"PatientID": "NONE"}, True),
        ({"PatientID": "0000"}, True),
        ({"PatientID": "", "PatientName": "Anonymous", "PatientBirthDate": ""}, True),
        ({"PatientID": "", "PatientName": "Anonymous"}, False),
        ({"PatientID": "NONE7001"}, False),
        ({}, False),
    ],
)
def test_that_patients_called_as_nobody_is_share_a_pseudonym_is_told(tmp_path, key, who, shares):
    folder, report = tmp_path / "in", tmp_path / "report.jsonl"
    folder.mkdir()
    for number in range(2):
        dataset = pydicom.dcmread(bundled("MR_small.dcm"))
        dataset.PatientBirthDate, dataset.SOPInstanceUID = "19520304", f"1.2.3.{number}"
        for keyword, value in who.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{number}.dcm")
    code, told = command(
        *("deidentify", folder, tmp_path / "out", "--key", key, "--mask", "none", "--report", report)
    )
    rows = [json.loads(row) for row in report.read_text().splitlines()]
    assert (code, [row["status"] for row in rows]) == (0, ["deidentified"] * 2)
    for row in rows:
        assert any("are not told apart" in warning for warning in row["warnings"]) is shares
    assert ("in 2 of these instances, the patient's ID is a placeholder" in told) is shares


def test_an_output_remembers_its_source_by_keyed_digests_and_not_its_time(tmp_path, key, made):
    output, _ = made()
    source = tmp_path / "in1.dcm"
    there = look_at(output)
    assert there is not None
    memory = json.dumps(there.memory)
    assert str(source.stat().st_mtime_ns) not in memory
    assert "xxh3-128" not in memory.partition('"output"')[0]
    assert "Zebediah" not in memory
    assert abs(output.stat().st_mtime - source.stat().st_mtime) < 60


def test_a_source_that_may_have_text_in_its_pixels_is_refused_until_somebody_decides(tmp_path, key):
    for told in (None, "YES"):
        dataset = identified()
        dataset.BurnedInAnnotation = told
        if told is None:
            del dataset.BurnedInAnnotation
        path = tmp_path / f"{told}.dcm"
        path.write_bytes(part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
        output = tmp_path / f"out{told}.dcm"
        with pytest.raises(Refused, match="--mask"):
            cinemill.deidentify(path, output, key=str(key))
        assert not output.exists()
        assert cinemill.deidentify(path, output, key=str(key), mask="none").status == "deidentified"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--option", "retain-everything"), "unknown option 'retain-everything'"),
        (("--option", "retain-longitudinal-full,retain-longitudinal-modified"), "exclude each other"),
        (("--option", "clean-pixel-data", "--mask", "none"), "exclude each other"),
        (("--mask", "everything"), "unknown mask"),
    ],
)
def test_options_that_contradict_each_other_end_the_run_before_anything_is_written(
    tmp_path, key, words, message
):
    tree(tmp_path / "in")
    code, said = command("deidentify", tmp_path / "in", tmp_path / "out", "--key", key, *words)
    assert (code, message in said) == (2, True), said
    assert not (tmp_path / "out").exists()


def test_without_its_key_a_run_does_not_begin(tmp_path, key):
    tree(tmp_path / "in")
    words = ("deidentify", tmp_path / "in", tmp_path / "out")
    assert command(*words) == (
        2,
        "deidentify needs a key: name one with --key; `cinemill key new FILE` makes one",
    )
    code, said = command(*words, "--key", tmp_path / "none")
    assert code == 2
    assert "can't be read" in said
    (tmp_path / "bad").write_text("cinemill-key-1:AAAA\n")
    code, said = command(*words, "--key", tmp_path / "bad")
    assert (code, "is no key" in said) == (2, True)
    code, said = command(*words, "--key", key, "--map", tmp_path / "out" / "map")
    assert (code, "lies among the outputs" in said) == (2, True)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "none").exists()


def test_a_key_is_for_its_owner_alone_and_never_replaced(tmp_path):
    path = tmp_path / "key"
    code, said = command("key", "new", path)
    assert code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert read_key(path).fingerprint in said
    assert command("key", "new", path)[0] == 2
    assert path.read_bytes() == before


def test_pixels_are_coded_anew_in_the_same_pass_where_that_was_asked_for(tmp_path, key):
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(part10(identified(), native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    for target in ("jpeg-ls", "htj2k", "explicit", "implicit", "deflated"):
        receipt = cinemill.deidentify(path, output, key=str(key), to=target, overwrite=True)
        assert (receipt.status, receipt.transfer_syntax_after) != (
            "deidentified",
            EXPLICIT,
        ) or target == "explicit"
        assert np.array_equal(oracle.read(output).frames, oracle.read(path).frames)
        assert pydicom.dcmread(output).PatientIdentityRemoved == "YES"
        assert b"Zebediah" not in output.read_bytes()
        assert cinemill.deidentify(path, output, key=str(key), to=target).status == "kept"


def test_what_would_grow_is_carried_over_and_never_copied(tmp_path, key):
    frames = [jpeg(smooth((64, 64, 3), seed)) for seed in range(2)]
    dataset = header(FRAMES[:2, ..., None].repeat(3, 3), "YBR_FULL_422", samples=3, BurnedInAnnotation="NO")
    dataset.Rows = dataset.Columns = 64
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(part10(dataset, encapsulated_element([[frame] for frame in frames]), JPEG_BASELINE))
    every: tuple[dict[str, Any], ...] = ({"if_larger": "keep"}, {"lossy_source": "keep"})
    for options in every:
        receipt = cinemill.deidentify(path, output, key=str(key), to="jpeg-ls", overwrite=True, **options)
        assert (receipt.status, receipt.transfer_syntax_after) == ("deidentified", JPEG_BASELINE)
        assert receipt.reason in {"would-grow", "lossy-source"}
        assert b"Doe" not in output.read_bytes()
        assert all(frame in output.read_bytes() for frame in frames)


POLICY = 'name = "echo"\n[[rule]]\nname = "all"\nto = "jpeg-ls"\n'


@pytest.mark.parametrize("mask", ["none", "rect:1,1,3,3"])
@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_rle.dcm"])
def test_what_no_target_of_a_policy_can_hold_is_deidentified_in_its_own_transfer_syntax(
    tmp_path, key, name, mask
):
    path, output, policy = tmp_path / "in.dcm", tmp_path / "out.dcm", tmp_path / "policy.toml"
    path.write_bytes(Path(bundled(name)).read_bytes())
    policy.write_text(POLICY)
    before = pydicom.dcmread(path)
    receipt = cinemill.deidentify(path, output, key=str(key), policy=str(policy), mask=mask)
    assert (receipt.status, receipt.reason) == ("deidentified", "no-target")
    assert receipt.transfer_syntax_after == before.file_meta.TransferSyntaxUID
    assert receipt.warnings[-1].startswith("no target of the policy can hold it: jpeg-ls holds 2 to 16 bits")
    after = pydicom.dcmread(output)
    assert after.PatientIdentityRemoved == "YES"
    assert after.PatientID != before.PatientID
    samples = before.pixel_array.copy()
    if mask != "none":
        samples[:, 1:4, 1:4] = 0
    assert np.array_equal(after.pixel_array, samples)
    again = cinemill.deidentify(path, output, key=str(key), policy=str(policy), mask=mask)
    assert (again.status, again.reason) == ("kept", "no-target")
    with pytest.raises(UnsupportedPixelFormat, match="jpeg-ls holds 2 to 16 bits"):
        cinemill.deidentify(path, tmp_path / "named.dcm", key=str(key), to="jpeg-ls", mask=mask)
    assert not (tmp_path / "named.dcm").exists()


def test_somebody_elses_file_in_the_place_of_an_output_stays(tmp_path, key):
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(part10(identified(), native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    output.write_bytes(b"somebody's")
    with pytest.raises(OutputExists):
        cinemill.deidentify(path, output, key=str(key))
    assert output.read_bytes() == b"somebody's"


def test_what_has_no_pixels_is_de_identified_and_not_copied(tmp_path, key):
    (report,) = (
        path for path in tree(tmp_path / "in") if path.parent.name == "Doe_0" and path.name == "report.dcm"
    )
    receipt = cinemill.deidentify(report, tmp_path / "out.dcm", key=str(key), to="jpeg-ls")
    assert receipt.status == "deidentified"
    assert b"Zebediah" not in (tmp_path / "out.dcm").read_bytes()


def test_a_tree_goes_on_where_it_was_stopped(tmp_path, key):
    tree(tmp_path / "in")
    request = Deidentify(key=str(key))
    every = list(request.discover([tmp_path / "in"], tmp_path / "out"))
    assert list(request.discover([tmp_path / "in"], tmp_path / "out", after=every[3])) == every[4:]
    assert len({item.output for item in every}) == 10


def _kinds_of_errors(path):
    return {
        re.sub(r"2\.25\.\d+|\d+(\.\d+){4,}|\[\d+\]|<[^<>/]*>", "", each) for each in conformance_errors(path)
    }


@pytest.mark.tools
@pytest.mark.parametrize(
    "option", ["", "clean-descriptors,clean-structured-content,retain-longitudinal-modified"]
)
def test_the_iod_checker_finds_nothing_new(tmp_path, key, option):
    sources = [path for path in tree(tmp_path / "in") if "Doe_0" in path.parts]
    sources += [
        path
        for path in corpus_files()[:: 160 if option else 40]
        if DEFLATED.encode() + b"\0" not in path.read_bytes()[:1024]
    ]
    for number, source in enumerate(sources):
        output = tmp_path / f"{number}.dcm"
        try:
            cinemill.deidentify(source, output, key=str(key), mask="none", option=option)
        except CinemillError:
            continue
        assert _kinds_of_errors(output) <= _kinds_of_errors(source), source


def two_of_one_uid(folder):
    """Write two sources of one SOP Instance UID with other pixels."""
    folder.mkdir()
    for number, frames in enumerate((FRAMES, FRAMES ^ 1)):
        described = header(frames)
        described.SOPInstanceUID, described.BurnedInAnnotation = "1.2.3.0.7", "NO"
        described.StudyInstanceUID, described.SeriesInstanceUID = "1.2.3.0.8", "1.2.3.0.9"
        data = part10(described, native_element(frames.tobytes(), EXPLICIT), EXPLICIT)
        (folder / f"{number}.dcm").write_bytes(data)


@pytest.mark.parametrize(("other", "expected"), [(1, "failed"), (0, "kept")], ids=["another", "the same"])
def test_a_source_whose_output_another_process_makes_meanwhile_is_judged_by_that(
    tmp_path, key, monkeypatch, other, expected
):
    folder, output = tmp_path / "in", tmp_path / "out"
    two_of_one_uid(folder)
    request, write = Deidentify(key=str(key)).aimed_at([folder], output), deidentify._write
    items = sorted(request.discover([folder], output))
    slow, quick = items[0], items[other]

    def write_behind_another(*arguments):
        monkeypatch.setattr(deidentify, "_write", write)
        assert attempt(quick, request, Control(1)).status == "deidentified"
        return write(*arguments)

    monkeypatch.setattr(deidentify, "_write", write_behind_another)
    receipt = attempt(slow, request, Control(1))
    assert receipt.status == expected
    if receipt.error is not None:
        assert "another source of the same SOP Instance UID" in receipt.error["message"]
    (written,) = files(output)
    assert pydicom.dcmread(written).PixelData == (FRAMES ^ other).tobytes()


def test_copies_of_an_instance_do_not_wait_for_each_other(tmp_path, key):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    dataset = identified()
    for number in range(47):  # a process takes 1, 2, 4, 8 and 16 at a time: the last sixteen are copies
        dataset.SOPInstanceUID = f"1.2.3.0.{min(number, 31)}"
        data = part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT)
        (folder / f"{number:02}.dcm").write_bytes(data)
    request = Deidentify(key=str(key)).aimed_at([folder], output)
    receipts = list(run_all(request.discover([folder], output), request, jobs=1))
    assert Counter(each.status for each in receipts) == {"deidentified": 32, "kept": 15}
    assert len(files(output)) == 32


def test_another_source_of_the_same_uid_replaces_nothing(tmp_path, key):
    folder, output = tmp_path / "in", tmp_path / "out"
    two_of_one_uid(folder)
    first, second = run(folder, output, key)
    assert (first.status, second.status) == ("deidentified", "failed")
    assert second.error is not None
    assert "another source of the same SOP Instance UID" in second.error["message"]
    (written,) = files(output)
    assert pydicom.dcmread(written).PixelData == FRAMES.tobytes()
    assert [each.status for each in run(folder, output, key)] == ["kept", "failed"]
    (folder / "0.dcm").write_bytes((folder / "1.dcm").read_bytes())
    assert run(folder, output, key)[0].status == "deidentified"
