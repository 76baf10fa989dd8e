"""Checks of structured reports by themselves: a report that fails each, and one that passes all."""

import pytest

from cinemill.operations.inspect.inspect import inspect
from tests.support import reports
from tests.support.reports import CM, CONTAINS, INFERRED, container, elsewhere, image, num

LENGTH = ("410668003", "SCT", "Length")


def nameless():
    found = num(LENGTH, "1", CM)
    del found.ConceptNameCodeSequence
    return found


def not_decimal():
    found = num(LENGTH, "1", CM)
    found.MeasuredValueSequence[0].NumericValue = ["1", "2"]
    return found


def chain():
    below = num(LENGTH, "1", CM)
    for _ in range(210):
        below = container(CONTAINS, LENGTH, below)
    return below


FAULTS = {
    "report.concept": (nameless, "item 1.1 has no concept name"),
    "report.value": (
        lambda: num(LENGTH, None, None),
        "item 1.1 (Length) has neither a value nor a qualifier",
    ),
    "report.decimal": (
        not_decimal,
        r"item 1.1 (Length) has the Numeric Value '1\\2', expected one decimal number",
    ),
    "report.unit": (lambda: num(LENGTH, "1", None), "item 1.1 (Length) has no unit"),
    "report.precision": (
        lambda: num(LENGTH, "1.25", CM, FloatingPointValue=12.5),
        "item 1.1 (Length) has the Numeric Value 1.25 and the Floating Point Value 12.5",
    ),
    "report.astray": (
        lambda: num(LENGTH, "1", CM, elsewhere(INFERRED, 1, 7)),
        "item 1.1.1 refers to item 1.7, which leads to none",
    ),
    "report.depth": (chain, "the content tree is deeper than 200 levels; what lies below was not read"),
    "report.evidence": (
        lambda: num(LENGTH, "1", CM, image(INFERRED, "9.9")),
        "item 1.1.1 refers to 9.9, which is not listed as evidence",
    ),
}


def inspected(tmp_path, *items):
    header = reports.report(("126000", "DCM", "Imaging Measurement Report"), "1500", *items)
    return inspect(reports.saved(header, tmp_path / "report.dcm"))


@pytest.mark.parametrize("check", FAULTS)
def test_a_report_that_fails_a_check_has_its_finding(tmp_path, check):
    make, told = FAULTS[check]
    findings = inspected(tmp_path, make()).findings
    assert [(each.check, each.found) for each in findings] == [(check, told)]


def test_faults_of_a_kind_are_counted(tmp_path):
    findings = inspected(tmp_path, *(num(LENGTH, "1", None) for _ in range(5))).findings
    assert [each.found for each in findings] == ["item 1.1 (Length) has no unit; so 4 others"]


@pytest.mark.parametrize("made", [reports.obstetric, reports.echo, reports.simplified_echo])
def test_a_sound_report_has_no_finding(tmp_path, made):
    inspection = inspect(reports.saved(made(), tmp_path / "report.dcm"))
    assert inspection.findings == ()
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
