"""`cinemill inspect` of reports: measurements as a table, and references that lead nowhere."""

import csv
import json

from click.testing import CliRunner
from pydicom.uid import UID

from cinemill.cli import app
from cinemill.errors import UsageError
from tests.support import reports

MADE = (reports.obstetric, reports.vascular, reports.echo)


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def sources(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for made in MADE:
        reports.saved(made(), folder / f"{made.__name__}.dcm")
    return folder


def test_measurements_of_all_reports_are_written(tmp_path):
    table = tmp_path / "all.csv"
    done = run(sources(tmp_path), "--measurements", table)
    assert done.exit_code == 0, done.output
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["sop_instance_uid"] for row in rows} == {"1.2.3.2.5000", "1.2.3.2.5100", "1.2.3.2.5200"}
    assert "Doe" not in table.read_text() + done.output
    again = run(tmp_path / "study", "--measurements", table)
    assert again.exit_code != 0
    assert run(tmp_path / "study", "--measurements", table, "--overwrite").exit_code == 0
    table.write_text("of,another program\n")
    again = run(tmp_path / "study", "--measurements", table, "--overwrite")
    assert "exists and is no table of measurements" in str(again.exception)
    assert table.read_text() == "of,another program\n"


def test_a_name_that_is_no_table_is_refused_before_anything_is_read(tmp_path):
    done = run(sources(tmp_path), "--measurements", tmp_path / "all.xlsx")
    assert isinstance(done.exception, UsageError)
    assert "expected a name that ends in .csv or .parquet" in str(done.exception)
    assert done.output == ""


def test_one_report_is_told_with_its_measurements(tmp_path):
    done = run(sources(tmp_path) / "echo.dcm")
    assert (
        "1.1.2.4  Left Ventricle Internal End Diastolic Dimension of Left Ventricle: 4.75 cm; "
        "Image View: Parasternal long axis" in done.output
    )


def test_references_that_lead_nowhere_are_told_at_the_end(tmp_path):
    folder = sources(tmp_path)
    done = run(folder)
    assert "echo.dcm refers to what is not so" in done.output
    assert "references.missing" in done.output
    lines = [json.loads(line) for line in run(folder, "--json").output.splitlines()]
    assert [len(line.get("measurements", [])) for line in lines[:3]] == [5, 22, 11]
    assert [sorted(line) for line in lines[3:]] == [["findings", "path"]] * 3
    assert {finding["check"] for line in lines[3:] for finding in line["findings"]} == {"references.missing"}


def test_of_many_instances_with_such_references_the_first_are_told(tmp_path):
    folder = sources(tmp_path)
    for number in range(22):
        header = reports.simplified_echo()
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.9.{number + 1}")
        reports.saved(header, folder / f"more{number}.dcm")
    output = run(folder).output
    assert output.count("refers to what is not so") == 20
    assert "5 more instances do; --json tells all" in output
