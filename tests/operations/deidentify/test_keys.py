"""Keys, mapping tables and the second look: the same everywhere, nothing lost, nothing in clear."""

import hmac
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import cinemill
from cinemill.cli import app
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, CodecError, Refused, UsageError
from cinemill.operations.deidentify.keys import Key, read_key
from cinemill.operations.deidentify.mapping import Entry, MapFile, opened
from cinemill.operations.deidentify.pixels import check_comments, printable
from cinemill.operations.deidentify.words import clean, words_of
from tests.operations.deidentify.conftest import FRAMES, identified
from tests.support.generate import EXPLICIT, encapsulated_element, header, native_element, part10

KEY = Key(bytes(range(32)))


def test_uids_are_hmacs_below_2_25_and_the_same_for_ever():
    made = hmac.new(bytes(range(32)), b"cinemill uid\0" + b"1.2.3", "sha256").digest()
    assert (
        KEY.uid("1.2.3")
        == f"2.25.{int.from_bytes(made[:16], 'big')}"
        == "2.25.129737507757071607758558180980717004405"
    )
    assert KEY.uid("1.2.3") == Key(bytes(range(32))).uid("1.2.3") != Key(bytes(32)).uid("1.2.3")
    assert len(KEY.uid("1.2.3")) <= 64
    assert len(KEY.patient("4711")) == 16
    assert KEY.days("4711") == KEY.days("4711")


def test_a_mapping_keeps_what_many_processes_add_at_the_same_time(tmp_path, key):
    table = tmp_path / "map"
    program = (
        "import sys; from pathlib import Path\n"
        "from cinemill.operations.deidentify.keys import read_key\n"
        "from cinemill.operations.deidentify.mapping import opened\n"
        "table = opened(Path(sys.argv[1]), read_key(sys.argv[2]))\n"
        "for n in range(25): table.add({('uid', f'1.2.{sys.argv[3]}.{n}'): 'x', ('name', 'Zebediah'): 'y'})\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(table), str(key), str(number)])
        for number in range(3)
    ]
    assert [each.wait() for each in running] == [0, 0, 0]
    found = list(MapFile(table, read_key(key)).entries())
    assert len(found) == 76
    assert {entry.original for entry in found if entry.kind == "uid"} == {
        f"1.2.{number}.{n}" for number in range(3) for n in range(25)
    }
    assert b"Zebediah" not in table.read_bytes()
    assert table.stat().st_mode & 0o777 == 0o600


WITHOUT_MODES = """
import os
real = os.fstat
def fstat(handle):
    found = list(real(handle))
    found[0] |= 0o777
    return os.stat_result(found)
os.fstat = fstat
from cinemill.cli import main
main()
"""
"""A file system without permissions, as exFAT is and some servers are."""


@pytest.mark.parametrize("words", [("key", "new"), ("index", "{tree}", "--quiet", "-o"), ("deidentify",)])
def test_that_others_can_read_a_new_key_or_mapping_is_told_once(tmp_path, key, words):
    (tmp_path / "tree").mkdir()
    made = tmp_path / "made.sqlite"
    told = {"key": made, "index": f"{made}.key", "deidentify": made}[words[0]]
    if words[0] == "deidentify":
        words = (*words, "{tree}", str(tmp_path / "out"), "--key", str(key), "--quiet", "--map")
    typed = [word.format(tree=tmp_path / "tree") for word in (*words, str(made))]
    for count in (1, 0):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_MODES, *typed], capture_output=True, text=True, check=False
        )
        note = f"note: {told} can be read by others: its file system gives it the mode 777, not 600; keep it on another\n"
        assert done.stderr.count(note) == count
        assert "warning" not in done.stderr.lower()


def test_the_report_and_the_mapping_agree_on_standard_input(tmp_path, key):
    data = part10(identified(), native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT)
    report, table = tmp_path / "report.jsonl", tmp_path / "map"
    words = ("-", tmp_path / "out.dcm", "--mask", "none", "--key", key, "--map", table, "--report", report)
    done = CliRunner().invoke(app, ["deidentify", *map(str, words)], input=data)
    assert done.exit_code == 0, done.output
    (row,) = map(json.loads, report.read_text().splitlines())
    (file,) = [entry for entry in MapFile(table, read_key(key)).entries() if entry.kind == "file"]
    assert file.pseudonym.split()[0] == row["source"]


def test_what_a_killed_process_left_of_a_record_is_written_over_and_no_other(tmp_path):
    table = MapFile(tmp_path / "map", KEY)
    table.add({("uid", "1.2.3"): "a"})
    whole = table.path.read_bytes()
    for torn in (b"\0", b"\0\0\1\0abc"):
        table.path.write_bytes(whole + torn)
        again = MapFile(table.path, KEY)
        assert list(again.entries()) == [Entry("uid", "1.2.3", "a")]
        again.add({("uid", "1.2.4"): "b"})
        assert [entry.original for entry in again.entries()] == ["1.2.3", "1.2.4"]


def test_a_mapping_of_another_key_or_a_damaged_one_is_refused(tmp_path, key):
    table = opened(tmp_path / "map", KEY)
    table.add({("uid", "1.2.3"): "a"})
    before = table.path.read_bytes()
    (tmp_path / "in.dcm").write_bytes(
        part10(identified(), native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT)
    )
    with pytest.raises(UsageError, match="made with another key"):
        cinemill.deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", key=str(key), map=str(table.path))
    assert not (tmp_path / "out.dcm").exists()
    assert table.path.read_bytes() == before
    table.path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(UsageError, match="is damaged"):
        list(MapFile(table.path, KEY).entries())
    (tmp_path / "else").write_bytes(b"somebody's notes, which are long enough to be read")
    with pytest.raises(UsageError, match="is no mapping table"):
        opened(tmp_path / "else", KEY)


def test_a_mapping_leads_back_and_is_shown_to_who_has_the_key(tmp_path, key, made):
    table = tmp_path / "map"
    output, dataset = made(map=str(table))
    done = CliRunner().invoke(app, ["map", "show", str(table), "--key", str(key)])
    rows = done.output.splitlines()
    assert f"patient-id,MRN-778899,{dataset.PatientID}" in rows
    assert f"uid,1.2.3.4.5,{dataset.SOPInstanceUID}" in rows
    assert any(row.startswith("name,Helsing^Abraham") for row in rows)
    assert any(row.startswith(f"file,{tmp_path}/in1.dcm,hmac-sha256:") and output.name in row for row in rows)
    done = CliRunner().invoke(app, ["map", "show", str(tmp_path / "none"), "--key", str(key)])
    assert isinstance(done.exception, UsageError)
    assert done.output == ""


def audited(*words):
    done = CliRunner().invoke(app, ["audit", "--json", *map(str, words)])
    if isinstance(done.exception, CinemillError):
        raise done.exception
    return done.exit_code, [json.loads(line) for line in done.output.splitlines()]


def test_an_audit_finds_nothing_in_what_was_de_identified(tmp_path, key, made):
    (tmp_path / "tree").mkdir()
    for number, option in enumerate(
        ("", "clean-descriptors,retain-longitudinal-modified,retain-device-identity")
    ):
        output, _ = made(map=str(tmp_path / "map"), option=option)
        output.rename(tmp_path / "tree" / f"{number}.dcm")
    assert audited(tmp_path / "tree") == (0, [])
    assert audited(tmp_path / "tree", "--key", key, "--map", tmp_path / "map") == (0, [])


def test_an_audit_takes_uids_that_were_retained_for_no_finding(key, made, tmp_path):
    output, _ = made(map=str(tmp_path / "map"), option="retain-uids")
    assert audited(output) == (0, [])
    assert audited(output, "--key", key, "--map", tmp_path / "map") == (0, [])


@pytest.mark.parametrize("word", ["NONE", "ANONYMOUS", "Not Known", "N/A", "0000", "XX"])
def test_what_stands_for_nobody_is_nobodys_original(tmp_path, key, made, word):
    dataset = identified(ManufacturerModelName=f"{word} 7", ScanningSequence="NONE")
    dataset.PatientName = dataset.PatientID = word
    dataset.SourceImageSequence[0].ReferencedSOPClassUID = "0"
    dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = "0"
    output, written = made(dataset, map=str(tmp_path / "map"), option="retain-device-identity")
    assert written.ManufacturerModelName == f"{word} 7"
    assert audited(output, "--key", key, "--map", tmp_path / "map") == (0, [])


@pytest.mark.parametrize("blank", [bytes(8), b" " * 8])
def test_an_audit_takes_blanks_for_no_date(tmp_path, made, blank):
    path = tmp_path / "blank.dcm"
    dataset = identified()
    path.write_bytes(
        part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT).replace(b"19610203", blank)
    )
    output, _ = made(path)
    assert blank in output.read_bytes()
    assert audited(output) == (0, [])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: setattr(d, "StudyDescription", "x"), "element"),
        (lambda d: setattr(d, "ReferringPhysicianName", "Helsing^Abraham"), "original"),
        (lambda d: setattr(d, "ReferringPhysicianName", "Somebody^Else"), "name"),
        (lambda d: setattr(d, "ManufacturerModelName", "seen 2019-03-02"), "date"),
        (lambda d: setattr(d, "StationName", "MRN-778899"), "element"),
        (lambda d: setattr(d, "ManufacturerModelName", "of mrn 778899"), "original"),
        (lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3.8"), "uid"),
        (lambda d: setattr(d, "ContentDate", "20190302"), "date"),
        (lambda d: d.add_new(0x00110010, "LO", "ACME"), "private"),
        (lambda d: setattr(d, "PatientIdentityRemoved", "NO"), "unmarked"),
        (lambda d: setattr(d.file_meta, "SourceApplicationEntityTitle", "WARD7"), "element"),
    ],
)
def test_an_audit_finds_what_was_put_back_and_shows_no_value(tmp_path, key, made, change, what):
    _, dataset = made(map=str(tmp_path / "map"))
    change(dataset)
    (tmp_path / "tree").mkdir()
    dataset.save_as(tmp_path / "tree" / "x.dcm")
    code, found = audited(tmp_path / "tree", "--key", key, "--map", tmp_path / "map")
    assert code == 1
    assert {finding["what"] for finding in found} == {what}
    assert not any(name in json.dumps(found) for name in ("Helsing", "778899", "2019", "Somebody"))


def test_an_audit_looks_at_file_names_and_at_what_is_no_dicom(tmp_path, key, made):
    output, _ = made(map=str(tmp_path / "map"))
    (tmp_path / "tree").mkdir()
    output.rename(tmp_path / "tree" / "zebediah_1.dcm")
    (tmp_path / "tree" / "notes.txt").write_text("no DICOM")
    _, found = audited(tmp_path / "tree", "--key", key, "--map", tmp_path / "map")
    assert {(finding["where"], finding["what"]) for finding in found} == {
        ("file name", "original"),
        ("file", "unreadable"),
    }
    with pytest.raises(UsageError, match="go together"):
        audited(tmp_path / "tree", "--key", key)


def test_an_audit_reads_comments_of_codestreams(tmp_path, key, made):
    from tests.support.generate import JPEG_BASELINE, jpeg, smooth

    made(map=str(tmp_path / "map"))
    stream = jpeg(smooth((24, 32, 3)))
    comment = b"Zebediah was here"
    stream = stream[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + stream[2:]
    dataset = header(FRAMES[:1, ..., None].repeat(3, 3), "YBR_FULL_422", samples=3, BurnedInAnnotation="NO")
    dataset.Rows, dataset.Columns = 24, 32
    path = tmp_path / "jpeg.dcm"
    path.write_bytes(part10(dataset, encapsulated_element([[stream]]), JPEG_BASELINE))
    (tmp_path / "tree").mkdir()
    cinemill.deidentify(path, tmp_path / "tree" / "x.dcm", key=str(key))
    code, found = audited(tmp_path / "tree", "--key", key, "--map", tmp_path / "map")
    assert (code, found[0]["where"]) == (1, "codestream of frame 0")
    dataset.PatientName = "Zebediah^Jane"
    path.write_bytes(part10(dataset, encapsulated_element([[stream]]), JPEG_BASELINE))
    for target in ("", "jpeg-xl-jpeg"):
        with pytest.raises(Refused, match="comment in the codestream"):
            cinemill.deidentify(path, tmp_path / "y.dcm", key=str(key), to=target)
    cinemill.deidentify(path, tmp_path / "y.dcm", key=str(key), to="jpeg-ls")
    assert b"Zebediah" not in (tmp_path / "y.dcm").read_bytes()
    cinemill.transcode(path, tmp_path / "z.dcm", to="jpeg-xl-jpeg")
    with pytest.raises(Refused, match="comment in the codestream"):
        cinemill.deidentify(tmp_path / "z.dcm", tmp_path / "y2.dcm", key=str(key))


def test_a_compressed_box_that_can_not_be_searched_is_named_by_its_frame():
    boxes = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x0abrobEx\0\0"
    data = part10(header(FRAMES[:1]), encapsulated_element([[boxes]]), "1.2.840.10008.1.2.4.110")
    with Source("x", data=data) as source, pytest.raises(CodecError, match=r"frame 0: a compressed box"):
        check_comments(source, {"zebediah"})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16-le", "utf-16-be"])
def test_comments_are_read_in_the_encodings_that_are_met(tmp_path, encoding):
    from tests.support.generate import JPEG_BASELINE, jpeg, smooth

    stream, comment = jpeg(smooth((24, 32, 3))), "Zoë Müller-Ångström".encode(encoding)
    stream = stream[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + stream[2:]
    dataset = header(FRAMES[:1, ..., None].repeat(3, 3), "YBR_FULL_422", samples=3)
    data = part10(dataset, encapsulated_element([[stream]]), JPEG_BASELINE)
    with Source("x", data=data) as source:
        found = words_of(printable(source, 0))
        assert {"zoë", "müller", "ångström"} <= found
        check_comments(source, {"muller"})
        with pytest.raises(Refused, match="comment in the codestream"):
            check_comments(source, {"müller"})


def test_only_what_may_be_text_in_a_codestream_is_read_as_text_however_far_it_is(tmp_path, key):
    from tests.support.generate import JPEG_BASELINE, jpeg, smooth

    stream = jpeg(smooth((24, 32, 3)))
    assert b"*456789:" in stream  # a Huffman table
    dataset = header(FRAMES[:1, ..., None].repeat(3, 3), "YBR_FULL_422", samples=3, BurnedInAnnotation="NO")
    dataset.Rows, dataset.Columns, dataset.PatientID = 24, 32, "456789"
    path, output = tmp_path / "jpeg.dcm", tmp_path / "tree" / "x.dcm"
    path.write_bytes(part10(dataset, encapsulated_element([[stream]]), JPEG_BASELINE))
    output.parent.mkdir()
    cinemill.deidentify(path, output, key=str(key), map=str(tmp_path / "map"))
    assert audited(output.parent, "--key", key, "--map", tmp_path / "map") == (0, [])
    profile = b"\xff\xe2\xf0\x02" + bytes(0xF000)
    comment = b"\xff\xfe\x00\x0bof 456789"
    path.write_bytes(
        part10(dataset, encapsulated_element([[stream[:2] + profile + comment + stream[2:]]]), JPEG_BASELINE)
    )
    with pytest.raises(Refused, match="comment in the codestream"):
        cinemill.deidentify(path, tmp_path / "y.dcm", key=str(key))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Stress echo, apical 4CH of Zebediah", "Stress echo apical 4CH of"),
        ("Call 555-0123 or write to j.doe@example.org", "or to"),
        ("2019-03-02 mitral valve (Dr. Helsing)", "03 02 mitral valve"),
        ("left\\Zebediah\\right", "left\\\\right"),
        ("Żółć", ""),
    ],
)
def test_cleaning_leaves_words_of_medicine_and_short_numbers(text, left):
    kept = clean(text, {"zebediah", "helsing"})
    assert set(kept.split()) <= set(left.split()) | {"call", "write"}
    assert "Zebediah" not in kept
    assert "2019" not in kept
    assert "555" not in kept
