"""Checks of structured reports by themselves: a report that fails each, and one that passes all."""

import pytest

from cinemill.operations.inspect.inspect import inspect
from tests.support import reports
from tests.support.reports import CM, num

LENGTH = reports.LENGTH


def inspected(tmp_path, *items):
    header = reports.report(("126000", "DCM", "Imaging Measurement Report"), "1500", *items)
    return inspect(reports.saved(header, tmp_path / "report.dcm"))


@pytest.mark.parametrize("check", reports.FAULTS)
def test_a_report_that_fails_a_check_has_its_finding(tmp_path, check):
    make, told = reports.FAULTS[check]
    findings = inspected(tmp_path, make()).findings
    assert [(each.check, each.found) for each in findings] == [(check, told)]


def test_faults_of_a_kind_are_counted(tmp_path):
    findings = inspected(tmp_path, *(num(LENGTH, "1", None) for _ in range(5))).findings
    assert [each.found for each in findings] == ["item 1.1 (Length) has no unit; so 4 others"]


@pytest.mark.parametrize("made", [reports.obstetric, reports.echo, reports.simplified_echo])
def test_a_sound_report_has_no_finding(tmp_path, made):
    inspection = inspect(reports.saved(made(), tmp_path / "report.dcm"))
    assert inspection.findings == ()
    assert inspection.title
    assert inspection.title.scheme == "DCM"
    assert inspection.measurements
    assert inspection.references


@pytest.mark.parametrize("exact", [1.249, 1.2500001, 1.25])
def test_a_numeric_value_may_be_rounded(tmp_path, exact):
    assert inspected(tmp_path, num(LENGTH, "1.25", CM, FloatingPointValue=exact)).findings == ()


def test_damaged_reports_are_inspected_without_an_error(tmp_path):
    import random

    random_of = random.Random(1)
    whole = reports.saved(reports.obstetric(), tmp_path / "whole.dcm").read_bytes()
    path = tmp_path / "damaged.dcm"
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(random_of.choice((1, 2, 8))):
            place = random_of.randrange(140, len(data))
            data[place : place + random_of.choice((1, 4))] = random_of.randbytes(random_of.choice((0, 1, 4)))
        path.write_bytes(data)
        inspect(path)


def test_an_image_has_no_finding_of_reports():
    from tests.support.files import bundled

    inspection = inspect(bundled("examples_ybr_color.dcm"))
    assert [each.check for each in inspection.findings if each.check.startswith("report.")] == []
    assert (inspection.measurements, inspection.presentation) == ((), None)


@pytest.mark.parametrize("levels", [100, 500, 5000])
def test_sequences_of_undefined_length_in_each_other_are_inspected(tmp_path, levels):
    header = reports.report(("126000", "DCM", "Imaging Measurement Report"), "")
    del header.ConceptNameCodeSequence, header.ContinuityOfContent, header.ValueType
    sequence = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    delimiters = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    kind = b"\x40\x00\x40\xa0CS\x0a\x00CONTAINER "
    path = reports.saved(header, tmp_path / "deep.dcm")
    path.write_bytes(path.read_bytes() + kind + (sequence + kind) * levels + delimiters * levels)
    findings = {each.check for each in inspect(path).findings}
    assert findings <= {"file.damaged", "file.order", "report.evidence"}
    assert ("file.damaged" in findings) == (levels > 100)
