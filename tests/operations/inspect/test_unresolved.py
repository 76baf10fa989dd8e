"""References between instances that lead nowhere or say what is not so."""

import tracemalloc
from pathlib import Path

from cinemill.operations.inspect.checks.unresolved import References
from cinemill.operations.inspect.documents.references import references_of
from cinemill.operations.inspect.model import Facts, Reference, Severity
from tests.support import reports


def facts(uid, series="1.2.3.1", study="1.2.3", *, sop_class_uid=reports.CINE, frames=40):
    path = Path(f"{uid}.dcm")
    return Facts(path, 1, uid, series, study, modality="US", sop_class_uid=sop_class_uid, frames=frames)


def report_facts(header):
    return Facts(
        Path("report.dcm"),
        1,
        header.SOPInstanceUID,
        header.SeriesInstanceUID,
        header.StudyInstanceUID,
        modality="SR",
    )


def found_by(*instances, report=None):
    with References() as all_of_them:
        for each in instances:
            all_of_them.add(each)
        if report is not None:
            all_of_them.add(report_facts(report), references_of(report))
        return [(path.name, finding) for path, finding in all_of_them.findings()]


def test_what_a_report_refers_to_and_is_there_is_no_finding():
    assert found_by(facts("1.2.3.1.1"), facts("1.2.3.1.2"), report=reports.echo()) == []


def test_images_that_are_not_there_are_findings_of_the_report_that_names_them():
    found = found_by(facts("1.2.3.1.1"), report=reports.echo())
    ((name, finding),) = found
    assert (name, finding.check, finding.severity) == ("report.dcm", "references.missing", Severity.WARNING)
    assert finding.found == (
        "1 instance is not there, of studies among the sources, that CurrentRequestedProcedureEvidenceSequence, "
        "ReferencedSOPSequence named: 1.2.3.1.2"
    )


def test_references_to_studies_that_are_not_among_the_sources_are_none_of_our_business():
    elsewhere = Reference("9.9", reports.CINE, (), "SourceImageSequence", "9")
    managed = Reference(
        "9.8", "1.2.840.10008.3.1.2.3.3", (), "ReferencedPerformedProcedureStepSequence", "1.2.3"
    )
    with References() as all_of_them:
        all_of_them.add(facts("1.2.3.1.1"), [elsewhere, managed])
        assert list(all_of_them.findings()) == []


def test_a_reference_that_names_no_study_is_taken_for_one_of_its_own_and_weighs_less():
    with References() as all_of_them:
        all_of_them.add(
            facts("1.2.3.1.1"),
            [Reference(f"1.2.3.1.{n}", None, (), "SourceImageSequence") for n in range(5, 10)],
        )
        ((_, found),) = all_of_them.findings()
    assert found.severity == Severity.NOTICE
    assert found.found == (
        "5 instances are not there, of the same study, as it seems, that SourceImageSequence named: "
        "1.2.3.1.5, 1.2.3.1.6, 1.2.3.1.7 and 2 more"
    )


def test_frames_beyond_the_last_one_are_findings():
    found = found_by(facts("1.2.3.1.1", frames=30), report=reports.simplified_echo())
    assert [each.check for _, each in found] == ["references.frames"]
    assert "frame 31 of 1.2.3.1.1, which has frames 1 to 30" in found[0][1].found
    assert found_by(facts("1.2.3.1.1", frames=31), report=reports.simplified_echo()) == []


def test_a_class_series_or_study_that_is_another_one_is_a_finding():
    other = facts("1.2.3.1.1", series="1.2.3.8", sop_class_uid="1.2.840.10008.5.1.4.1.1.6.1")
    checks = {each.check for _, each in found_by(other, report=reports.vascular())}
    assert checks == {"references.class", "references.place"}
    moved = facts("1.2.3.1.1", study="1.2.4", series="1.2.4.1")
    assert "references.place" in {each.check for _, each in found_by(moved, report=reports.vascular())}


def test_memory_does_not_grow_with_the_number_of_instances():
    tracemalloc.start()
    with References() as all_of_them:
        for number in range(20_000):
            further = Reference(f"1.2.3.{number + 1}", None, (), "SourceImageSequence")
            all_of_them.add(facts(f"1.2.3.{number}"), [further])
        assert len(list(all_of_them.findings())) == 1
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 20_000 * 250
