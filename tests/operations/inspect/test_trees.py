"""Studies, series and instances, and references between them that lead nowhere or say what is not so."""

import tracemalloc
from pathlib import Path

from cinemill.operations.inspect.documents.references import references_of
from cinemill.operations.inspect.documents.trees import Trees
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
    with Trees() as trees:
        for each in instances:
            trees.add(each)
        if report is not None:
            trees.add(report_facts(report), references_of(report))
        return [(located.path.name, located.finding) for located in trees.findings()]


def test_what_a_report_refers_to_and_is_there_is_no_finding():
    assert found_by(facts("1.2.3.1.1"), facts("1.2.3.1.2"), report=reports.echo()) == []


def test_images_that_are_not_there_are_findings_of_the_report_that_names_them():
    found = found_by(facts("1.2.3.1.1"), report=reports.echo())
    assert [(name, each.check, each.severity) for name, each in found] == [
        ("report.dcm", "references.missing", Severity.WARNING),
        ("report.dcm", "references.missing", Severity.WARNING),
    ]
    assert [each.found.split(" refers")[0] for _, each in found] == [
        "CurrentRequestedProcedureEvidenceSequence",
        "ReferencedSOPSequence",
    ]
    assert all(
        "refers to 1 instance of a study among the sources that is not there: 1.2.3.1.2" in each.found
        for _, each in found
    )


def test_references_to_studies_that_are_not_among_the_sources_are_none_of_our_business():
    elsewhere = Reference("9.9", reports.CINE, (), "SourceImageSequence", "9")
    managed = Reference(
        "9.8", "1.2.840.10008.3.1.2.3.3", (), "ReferencedPerformedProcedureStepSequence", "1.2.3"
    )
    with Trees() as trees:
        trees.add(facts("1.2.3.1.1"), [elsewhere, managed])
        assert list(trees.findings()) == []


def test_a_reference_that_names_no_study_is_taken_for_one_of_its_own_and_weighs_less():
    with Trees() as trees:
        trees.add(
            facts("1.2.3.1.1"),
            [Reference(f"1.2.3.1.{n}", None, (), "SourceImageSequence") for n in range(5, 10)],
        )
        (located,) = trees.findings()
    assert located.finding.severity == Severity.NOTICE
    assert "refers to 5 instances of this study, as it seems, that are not there" in located.finding.found
    assert located.finding.found.endswith("1.2.3.1.5, 1.2.3.1.6, 1.2.3.1.7 and 2 more")


def test_frames_beyond_the_last_one_are_findings():
    found = found_by(facts("1.2.3.1.1", frames=30), report=reports.simplified_echo())
    assert [each.check for _, each in found] == ["references.frames"]
    assert "frame 31 of 1.2.3.1.1, which has frames 1 to 30" in found[0][1].found
    assert found_by(facts("1.2.3.1.1", frames=31), report=reports.simplified_echo()) == []


def test_a_class_series_or_study_that_is_another_one_is_a_finding():
    other = facts("1.2.3.1.1", series="1.2.3.8", sop_class_uid="1.2.840.10008.5.1.4.1.1.6.1")
    checks = {each.check for _, each in found_by(other, report=reports.vascular())}
    assert checks == {"references.class", "references.series"}
    moved = facts("1.2.3.1.1", study="1.2.4", series="1.2.4.1")
    assert "references.study" in {each.check for _, each in found_by(moved, report=reports.vascular())}


def test_instances_that_are_there_twice_and_series_in_two_studies_are_findings():
    found = found_by(facts("1.1"), facts("1.1"), facts("1.2", study="1.2.9"))
    assert [each.check for _, each in found] == ["instances.twice", "series.studies"]
    assert "SOP Instance UID 1.1 is also that of 1.1.dcm" in found[0][1].found
    assert "series 1.2.3.1 stands in 2 studies" in found[1][1].found


def test_a_tree_has_studies_series_and_instances_in_order():
    with Trees() as trees:
        for study, series, uid in (
            ("2", "2.1", "2.1.1"),
            ("1", "1.2", "1.2.1"),
            ("1", "1.1", "1.1.2"),
            ("1", "1.1", "1.1.1"),
        ):
            trees.add(facts(uid, series, study))
        trees.add(Facts(Path("\udcff.dcm"), 1))
        found = list(trees.studies())
    assert [
        [(series.uid, [each.uid for each in series.instances]) for series in study.series] for study in found
    ] == [
        [(None, [None])],
        [("1.1", ["1.1.1", "1.1.2"]), ("1.2", ["1.2.1"])],
        [("2.1", ["2.1.1"])],
    ]
    assert found[0].series[0].instances[0].path == Path("\udcff.dcm")


def test_memory_does_not_grow_with_the_number_of_instances():
    tracemalloc.start()
    with Trees() as trees:
        for number in range(20_000):
            further = Reference(f"1.2.3.{number + 1}", None, (), "SourceImageSequence")
            trees.add(facts(f"1.2.3.{number}"), [further])
        assert len(list(trees.findings())) == 1
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 20_000 * 250
