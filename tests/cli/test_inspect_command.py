"""``cinemill inspect``: what is shown of a file and of a tree, as JSON, and how it ends."""

import json
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from cinemill.cli import app
from cinemill.operations.inspect.inspect import inspect, to_record
from tests.support import soundness
from tests.support.files import bundled


def run(*arguments, code=0, **more):
    done = CliRunner().invoke(app, ["inspect", *map(str, arguments)], **more)
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "study"
    (folder / "b").mkdir(parents=True)
    copies: dict[str, dict[str, Any]] = {
        "2.dcm": {"InstanceNumber": 2, "SOPInstanceUID": "1.2.3.42"},
        "10.dcm": {"InstanceNumber": 10, "SOPInstanceUID": "1.2.3.43", "HighBit": 6},
        "b/1.dcm": {"StudyInstanceUID": "1.2.3.51", "SeriesInstanceUID": "1.2.3.61", "Manufacturer": ""},
    }
    for place, changes in copies.items():
        (folder / place).write_bytes(soundness.native(**changes))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_of_one_file_facts_come_first_then_findings_with_section_and_remedy(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native(CineRate="50"))
    shown = run(path)
    assert shown.index("32 × 24 × 3") < shown.index("timing.rates (PS3.3 C.7.6.5)")
    assert "25 by Frame Time, 50 by Cine Rate" in shown
    assert "→ have Frame Increment Pointer" in shown
    assert shown.rstrip().endswith("1 warning")


def test_a_sound_file_has_no_findings(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.SOUND["native"]())
    assert run(path).rstrip().endswith("no findings")


def test_an_error_ends_with_1(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native()[:-100])
    assert "file.damaged" in run(path, code=1)
    assert "file.dicom" in run(__file__, code=1)


def test_another_model_than_expected_is_an_error(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.SOUND["native"]())
    assert "expected E2" in run(path, "--expect-model", "E2", code=1)
    run(path, "--expect-model", "e1")


def test_a_tree_is_shown_by_study_and_series_in_the_order_of_numbers(tree):
    lines = run(tree).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("    ")] == ["2.dcm", "10.dcm", "1.dcm"]
    assert [line.split()[1] for line in lines if line.startswith("study")] == ["1.2.3.5", "1.2.3.51"]
    (warned,) = (line for line in lines if line.startswith("    10.dcm"))
    assert warned.endswith("1 warning")
    counted = [line.split()[:3] for line in lines if line.startswith(("pixels.bits", "model.manufacturer"))]
    assert counted == [["model.manufacturer", "warning", "1"], ["pixels.bits", "warning", "1"]]
    assert lines[-1] == "3 instances"


def test_files_that_are_not_dicom_are_counted(tree):
    (tree / "empty.dcm").write_bytes(b"")
    told = run(tree).splitlines()
    assert told[-2:] == [f"2 files are not DICOM, such as {tree / 'empty.dcm'}", "3 instances"]
    (tree / "empty.dcm").unlink()
    assert run(tree).splitlines()[-2] == f"1 file is not DICOM, such as {tree / 'notes.txt'}"


def test_json_is_a_line_an_instance(tree):
    records = [json.loads(line) for line in run(tree, "--json").splitlines()]
    assert [record["facts"]["instance_number"] for record in records] == [2, 10, 1]
    assert records[1]["findings"][0]["check"] == "pixels.bits"
    assert records[0] == json.loads(json.dumps(to_record(inspect(tree / "2.dcm"))))


def test_nothing_names_the_patient_unless_it_is_asked_for(tree):
    for options in ((), ("--json",)):
        assert "Doe" not in run(tree, *options)
        assert "Doe^Jane" in run(tree, *options, "--phi")
    assert "Doe^Jane" in run(tree / "2.dcm", "--phi")
    assert "Doe" not in run(tree / "2.dcm")


def test_standard_input_is_read():
    data = bundled("examples_ybr_color.dcm").read_bytes()
    assert "320 × 240 × 3" in run("-", input=data)


def test_nothing_that_a_terminal_would_obey_is_printed(tmp_path):
    path = tmp_path / "a\x1b[31m.dcm"
    path.write_bytes(
        soundness.native(
            Manufacturer="\x1b]0;owned\x07",
            SpecificCharacterSet="ISO_IR 192",
            ManufacturerModelName="a\u202eb",
        )
    )
    for arguments in ((path,), (tmp_path,), (path, "--json")):
        shown = run(*arguments, color=True)
        assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_lines_of_one_file_fit(tmp_path, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native(CineRate="50", Manufacturer="", BurnedInAnnotation=None))
    lines = run(path).splitlines()[1:]
    assert max(map(len, lines)) <= width


def test_what_is_not_used_is_not_imported():
    import subprocess

    script = (
        "import sys; from cinemill.cli import main; sys.argv = ['cinemill', 'inspect', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'pydicom', 'numpy', 'numba', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
