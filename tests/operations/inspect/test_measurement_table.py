"""Measurements as CSV and Parquet: a row each, read back by others."""

import csv
from pathlib import Path

import pytest

from cinemill.errors import OutputExists, UsageError
from cinemill.operations.inspect.documents.measurements import measurements_of
from cinemill.operations.inspect.documents.table import COLUMNS, MeasurementTable
from cinemill.operations.inspect.model import Facts
from tests.support import reports
from tests.support.files import REPOSITORY

NAMES = [column.name for column in COLUMNS]

MADE = (reports.obstetric, reports.vascular, reports.echo, reports.simplified_echo)
FACTS = Facts(Path("a.dcm"), 1, "1.2.3.2.9", "1.2.3.2", "1.2.3", manufacturer="=Example", model="E9")


def written(path, *, times=1):
    found = [measurements_of(made()) for made in MADE]
    with MeasurementTable(path) as table:
        for _ in range(times):
            for measurements in found:
                table.add(FACTS, measurements)
    return path


def test_a_csv_has_a_row_for_each_measurement(tmp_path):
    with written(tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == NAMES
    assert len(rows) == sum(len(measurements_of(made())) for made in MADE)
    named = {(row["template"], row["position"]): row for row in rows}
    dimension = named["5200", "1.1.2.4"]
    told = {name: text for name, text in dimension.items() if text}
    assert told == {
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "1.2.3.2",
        "sop_instance_uid": "1.2.3.2.9",
        "manufacturer": "'=Example",
        "model": "E9",
        "position": "1.1.2.4",
        "template": "5200",
        "concept": "Left Ventricle Internal End Diastolic Dimension",
        "concept_code": "LN:29436-3",
        "value": "4.75",
        "value_text": "4.75",
        "unit": "cm",
        "unit_meaning": "centimeter",
        "site": "Left Ventricle",
        "site_code": "SRT:T-32600",
        "view": "Parasternal long axis",
        "view_code": "SRT:G-0396",
        "mode": "2D mode",
        "mode_code": "SRT:G-03A2",
        "cardiac_phase": "End Diastole",
        "cardiac_phase_code": "SRT:F-32011",
        "containers": "Findings > Measurement Group",
        "modifiers": "Acquisition Protocol: Stress, rest; Stage: Baseline",
        "image_sop_instance_uid": "1.2.3.1.1",
        "image_frames": "12,13",
        "images": "1",
        "references": "1.2.3.1.1#12,13",
    }
    mean = named["5000", "1.9.3.3"]
    assert (mean["fetus"], mean["derivation"], mean["selection"]) == ("B", "Mean", "Mean value chosen")
    assert (named["5000", "1.8.4.1"]["value"], named["5000", "1.8.4.1"]["qualifier"]) == ("", "Not a number")
    new, old = named["5302", "1.2.1"], dimension
    assert [bool(row[name]) for row in (new, old) for name in ("mode", "view", "cardiac_phase")] == [True] * 6
    assert named["5103", "1.1.5"]["inferred_from"] == "1.1.4.2 1.1.3.2"


def test_parquet_holds_the_same_rows_typed(tmp_path):
    import duckdb

    with written(tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = written(tmp_path / "all.parquet", times=250)
    with duckdb.connect() as base:
        base.execute(f"select * from '{path}' limit {len(rows)}")
        assert [column[0] for column in base.description or ()] == NAMES
        found = [dict(zip(NAMES, row, strict=True)) for row in base.fetchall()]
        base.execute(
            f"select avg(value), count(*) from '{path}' where concept_code = 'LN:11820-8' and derivation is null"
        )
        mean, count = base.fetchone() or ()
    for row, line in zip(found, rows, strict=True):
        assert {name: str(value) for name, value in row.items() if value is not None} == {
            name: text.removeprefix("'") for name, text in line.items() if text
        }
    assert (mean, count) == (pytest.approx((5.5 + 5.3 + 5.1 + 5.2) / 4), 4 * 250)


def test_a_table_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "all.csv"
    with pytest.raises(ZeroDivisionError), MeasurementTable(path) as table:
        table.add(FACTS, measurements_of(reports.echo()))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    written(path)
    with pytest.raises(OutputExists):
        written(path)
    with pytest.raises(OutputExists):
        MeasurementTable(path)  # not at the end of a run only
    with pytest.raises(UsageError, match=r"expected a name that ends in .csv or .parquet"):
        MeasurementTable(tmp_path / "all.xlsx")


def test_negative_numbers_stay_numbers(tmp_path):
    header = reports.report(
        ("1", "99SITE", "Title"), "", reports.num(("2", "99SITE", "=Strain"), "-18.5", reports.PERCENT)
    )
    with MeasurementTable(tmp_path / "a.csv") as table:
        table.add(FACTS, measurements_of(header))
    text = (tmp_path / "a.csv").read_text()
    assert ",'=Strain,99SITE:2,-18.5,-18.5,%," in text


def test_columns_are_documented():
    text = (REPOSITORY / "docs" / "MEASUREMENTS.md").read_text()
    missing = [name for name in NAMES if f"`{name}`" not in text and not name.endswith("_code")]
    assert missing == []
