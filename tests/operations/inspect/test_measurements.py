"""Measurements of structured reports: what DCMTK's dsrdump prints of them, and what their trees say besides."""

import subprocess
from random import Random

import pydicom
import pytest
from pydicom.sr.codedict import codes

from cinemill.dicom.source import Source
from cinemill.operations.inspect.documents.measurements import measurements_of
from tests.support import dsrdump, generate, reports
from tests.support.reports import CM, CONTAINS, INFERRED, MOD, container, num

MADE = {
    made.__name__: made
    for made in (reports.obstetric, reports.vascular, reports.echo, reports.simplified_echo)
}
BUNDLED = pydicom.data.get_testdata_file("test-SR.dcm")


def read(path, *, phi=True):
    with Source(path) as source:
        return measurements_of(source.header, phi=phi)


def plain(code):
    return None if code is None else (code.value, code.scheme, code.meaning)


def as_dumped(measurements):
    """What dsrdump has of them too; it has no images of groups."""
    return [
        dsrdump.Number(
            each.position,
            each.template,
            plain(each.concept),
            each.text,
            plain(each.unit),
            plain(each.qualifier),
            frozenset((ref.sop_instance_uid, ref.frames) for ref in each.references),
            frozenset(each.inferred_from),
        )
        for each in measurements
    ]


def as_far_as_dumped(mine, theirs):
    """Leave out what dsrdump does not print: qualifiers of values that are there, meanings of codes without a scheme,
    and images that stand in a value's group."""
    told = vars(mine)
    if mine.text:
        told = told | {"qualifier": None}
    if not mine.name[1]:
        told = told | {"name": theirs.name}
        assert mine.name[0] == theirs.name[0]
    if not theirs.images:
        told = told | {"images": frozenset()}
    return dsrdump.Number(**told)


def assert_same(path):
    """Compare with dsrdump."""
    dumped = dsrdump.numbers(path)
    ours = as_dumped(read(path))
    assert [each.position for each in ours] == [each.position for each in dumped]
    for mine, theirs in zip(ours, dumped, strict=True):
        assert as_far_as_dumped(mine, theirs) == theirs
    return ours


def by_place(header, *, phi=False):
    return {each.position: each for each in measurements_of(header, phi=phi)}


def pairs(found):
    return [(concept.meaning, value) for concept, value in found]


@pytest.mark.tools
@pytest.mark.parametrize("name", MADE)
def test_values_units_and_references_are_those_that_dsrdump_prints(tmp_path, name):
    found = assert_same(reports.saved(MADE[name](), tmp_path / "report.dcm"))
    assert found


@pytest.mark.tools
@pytest.mark.parametrize("syntax", [generate.IMPLICIT, generate.DEFLATED, generate.BIG_ENDIAN])
def test_any_encoding_of_a_report_is_read_alike(tmp_path, syntax):
    plain_path = reports.saved(reports.obstetric(), tmp_path / "plain.dcm")
    option = {generate.IMPLICIT: "+ti", generate.DEFLATED: "+td", generate.BIG_ENDIAN: "+tb"}[syntax]
    other = tmp_path / "other.dcm"
    subprocess.run(["dcmconv", option, plain_path, other], check=True, capture_output=True)
    assert read(other) == read(plain_path)
    assert_same(other)


@pytest.mark.tools
def test_trees_of_no_template_are_read_as_dsrdump_reads_them(tmp_path):
    found = [
        number
        for seed in range(12)
        for number in assert_same(reports.saved(reports.any_tree(Random(seed)), tmp_path / "any.dcm"))
    ]
    assert len(found) > 20
    assert any(number.images for number in found)


@pytest.mark.tools
def test_the_report_that_comes_with_pydicom_is_read_as_dsrdump_reads_it():
    assert [each.text for each in assert_same(BUNDLED)] == ["3", "3"]


@pytest.mark.corpus
@pytest.mark.tools
def test_measurements_of_every_report_of_the_corpus_are_those_that_dsrdump_prints(corpus):
    documents = 0
    for path in sorted(corpus.iterdir()):
        try:
            header = pydicom.dcmread(path, specific_tags=["SOPClassUID", "ValueType"], force=True)
        except Exception:  # noqa: BLE001  # what pydicom can't open is no report
            continue
        if header.get("ValueType"):
            documents += 1
            assert_same(path)
    assert documents >= 5


@pytest.mark.tools
def test_reports_that_highdicom_makes_are_read_as_dsrdump_reads_them(tmp_path):
    header = highdicom_report()
    path = tmp_path / "tid1500.dcm"
    header.save_as(path, enforce_file_format=True)
    found = assert_same(path)
    assert len(found) == 4
    diameter, area = read(path, phi=False)[0], read(path)[2]
    assert diameter.site is not None
    assert (diameter.site.meaning, diameter.laterality and diameter.laterality.meaning) == ("Lung", "Left")
    assert pairs(diameter.context) == [
        ("Tracking Identifier", "Lesion 1"),
        ("Tracking Unique Identifier", "1.2.840.1.1"),
    ]
    assert ("Topographical modifier", "Apex of Lung") in pairs(diameter.modifiers)
    assert ("Derivation", "Mean") in pairs(diameter.modifiers)
    assert plain(read(path)[1].qualifier) == ("114006", "DCM", "Measurement failure")
    assert [(ref.sop_instance_uid, ref.frames) for ref in area.references] == [("1.2.3.1.9", (2,))]
    assert area.references[0].study_instance_uid == "1.2.3"
    assert area.references[0].series_instance_uid == "1.2.3.1"


def highdicom_report():
    import highdicom as hd
    import numpy as np

    evidence = pydicom.Dataset()
    generate_image(evidence)
    site = hd.sr.FindingSite(
        anatomic_location=codes.SCT.Lung,
        laterality=codes.SCT.Left,
        topographical_modifier=codes.SCT.ApexOfLung,
    )
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name="Roe^Jo"),
    )

    def measured(name, value, unit, **more):
        return hd.sr.Measurement(name=name, value=value, unit=unit, **more)

    image = hd.sr.SourceImageForMeasurement(
        "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.1.9", referenced_frame_numbers=[4, 5]
    )
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier("1.2.840.1.1", "Lesion 1"),
        finding_type=codes.SCT.Nodule,
        finding_sites=[site],
        measurements=[
            measured(
                codes.SCT.Diameter,
                12.5,
                codes.UCUM.Millimeter,
                derivation=codes.SCT.Mean,
                referenced_images=[image],
            ),
            measured(
                codes.SCT.Volume, 1.0 / 3, codes.UCUM.CubicMillimeter, qualifier=codes.DCM.MeasurementFailure
            ),
        ],
    )
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array([[1.0, 1.0], [5.0, 5.0], [1.0, 5.0], [1.0, 1.0]]),
        source_image=hd.sr.SourceImageForRegion("1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.1.9", [2]),
    )
    planar = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier("1.2.840.1.2", "Lesion 2"),
        referenced_region=region,
        measurements=[
            measured(codes.SCT.Area, 8.0, codes.UCUM.SquareMillimeter),
            measured(codes.SCT.Diameter, 4.0, codes.UCUM.Millimeter),
        ],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group, planar],
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[evidence],
        content=content[0],
        series_number=2,
        series_instance_uid="1.2.3.7",
        sop_instance_uid="1.2.3.7.1",
        instance_number=1,
        manufacturer="Example",
    )


def generate_image(header):
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.1.9"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.Modality = "1.2.3", "1.2.3.1", "CT"
    header.PatientName, header.PatientID, header.PatientSex, header.PatientBirthDate = (
        "Doe^Jane",
        "7",
        "F",
        "",
    )
    header.StudyDate, header.StudyTime, header.StudyID, header.AccessionNumber = "", "", "", ""
    header.ReferringPhysicianName, header.NumberOfFrames, header.Rows, header.Columns = "", 9, 8, 8


def test_fetuses_are_told_apart():
    found = by_place(reports.obstetric())
    widths = [each for each in found.values() if each.concept.meaning == "Biparietal Diameter"]
    fetuses = [dict(pairs(each.context))["Fetus ID"] for each in widths]
    assert [(fetus, each.value) for fetus, each in zip(fetuses, widths, strict=True)] == [
        *(("A", 5.5), ("A", 5.3), ("A", 5.4)),
        *(("B", 5.1), ("B", 5.2), ("B", 5.15)),
    ]
    mean = found["1.8.3.3"]
    assert pairs(mean.modifiers) == [("Derivation", "Mean"), ("Selection Status", "Mean value chosen")]
    assert (found["1.8.3.4"].inferred_from, found["1.8.3.1"].references[0].frames) == (("1.8.3.3",), (1,))


def test_the_same_index_of_two_arteries_is_told_apart_by_vessel_and_side():
    found = by_place(reports.obstetric())
    indices = [each for each in found.values() if each.concept.value == "12023-8"]
    assert [each.site and each.site.meaning for each in indices] == [
        "Umbilical Artery",
        "Middle Cerebral Artery",
    ]
    assert [each.laterality and each.laterality.meaning for each in indices] == [None, "Left"]
    assert found["1.11.3"].site == found["1.11.2"].site


def test_sites_and_sides_come_from_the_nearest_that_says_so():
    found = by_place(reports.vascular())
    sites = {place: each.site and each.site.meaning for place, each in found.items()}
    assert sites == {
        "1.1.3.2": "Common Carotid Artery",
        "1.1.3.3": "Carotid Sinus",
        "1.1.4.2": "Internal Carotid Artery",
        "1.1.4.3": "Carotid Sinus",
        "1.1.5": "Artery of neck",
        "1.2.3.2": "Common Carotid Artery",
        "1.2.3.3": "Carotid Sinus",
        "1.2.4.2": "Internal Carotid Artery",
        "1.2.4.3": "Carotid Sinus",
        "1.2.5": "Artery of neck",
        "1.3": None,
    }
    sides = {place: each.laterality and each.laterality.meaning for place, each in found.items()}
    assert {side for place, side in sides.items() if place.startswith("1.1.")} == {"Left"}
    assert {side for place, side in sides.items() if place.startswith("1.2.")} == {"Right"}
    assert ("Topographical Modifier", "Proximal") in pairs(found["1.1.3.2"].modifiers)
    assert found["1.1.3.3"].modifiers == ()
    assert found["1.1.5"].unit is None


def test_modes_views_and_phases_hold_for_what_stands_below_them():
    found = by_place(reports.echo())
    assert pairs(found["1.1.2.4"].modifiers) == [
        ("Image View", "Parasternal long axis"),
        ("Cardiac Cycle Point", "End Diastole"),
        ("Image Mode", "2D mode"),
        ("Acquisition Protocol", "Stress, rest"),
        ("Stage", "Baseline"),
    ]
    assert pairs(found["1.1.3.3"].modifiers) == [("Image Mode", "M mode")]
    assert found["1.2.2.2"].site
    assert found["1.2.2.2"].site.meaning == "Left Ventricle Outflow Tract"


def test_a_value_is_as_precise_as_the_file_has_it():
    found = by_place(reports.echo())
    assert (found["1.1.2.5"].value, found["1.1.2.5"].text) == (58.3333333333333, "58.3")
    assert found["1.1.3.4"].value == 1 / 3


def test_images_of_a_group_are_those_of_its_measurements_that_have_none():
    found = by_place(reports.echo())
    assert [ref.sop_instance_uid for ref in found["1.1.3.3"].references] == ["1.2.3.1.2"]
    assert found["1.1.2.5"].references == ()


def test_what_is_about_a_person_is_left_out_unless_it_is_asked_for():
    header = reports.obstetric()
    told, asked = repr(measurements_of(header)), repr(measurements_of(header, phi=True))
    for secret in ("Doe", "123-45-6789", "Subject Age"):
        assert secret not in told
        assert secret in asked


def test_what_a_reader_typed_in_is_no_code():
    typed = reports.code(
        CONTAINS, ("121071", "DCM", "Finding"), ("CORNERSTONEFREETEXT", "CST4", "Jane's lesion")
    )
    header = reports.report(
        ("1", "99SITE", "Title"),
        "",
        container(CONTAINS, reports.GROUP, typed, num(("2", "99SITE", "Length"), "1", CM)),
    )
    assert by_place(header)["1.1.2"].modifiers == ()
    assert pairs(by_place(header, phi=True)["1.1.2"].modifiers) == [("Finding", "Jane's lesion")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), ("+.5", 0.5), ("1,5", None), ("nan", None), ("1_0", None), ("1\\2", None), ("", None)],
)
def test_what_is_no_decimal_string_has_no_value(tmp_path, text, value):
    header = reports.report(("1", "99SITE", "Title"), "", num(("2", "99SITE", "Length"), "9.25", CM))
    path = reports.saved(header, tmp_path / "report.dcm")
    old = b"\x40\x00\x0a\xa3DS\x04\x009.25"
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, b"\x40\x00\x0a\xa3DS\x04\x00" + text.encode().ljust(4)))
    (found,) = read(path)
    assert (found.text, found.value) == (text, value)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Größe"),
        (["", "ISO 2022 IR 87"], "長さ"),
        ("GB18030", "长度"),
        ("ISO_IR 192", "長さ"),
        ("ISO_IR 144", "Длина"),
    ],
)
def test_names_are_read_in_the_character_set_of_the_report(tmp_path, charset, name):
    header = reports.report(("1", "99SITE", "Title"), "", num(("2", "99SITE", name), "1", CM))
    header.SpecificCharacterSet = charset
    (found,) = read(reports.saved(header, tmp_path / "report.dcm"))
    assert found.concept.meaning == name


def chain(length):
    """A tree in which every item stands below the one before."""
    below = num(("2", "99SITE", "Length"), "1", CM)
    for _ in range(length):
        below = container(CONTAINS, ("3", "99SITE", "Box"), below)
    return reports.report(("1", "99SITE", "Title"), "", below)


def test_trees_that_are_deep_circular_or_empty_are_read():
    circle = reports.report(
        ("1", "99SITE", "Title"),
        "",
        num(
            ("2", "99SITE", "Length"),
            "1",
            CM,
            reports.elsewhere(INFERRED, 1, 1, 2),
            reports.elsewhere(INFERRED, 1, 1, 1),
            reports.elsewhere(MOD, 1, 9, 9),
            reports.elsewhere(MOD, 1),
        ),
    )
    (found,) = measurements_of(circle)
    assert (found.value, found.references, found.inferred_from) == (1.0, (), ())
    assert len(measurements_of(chain(100))) == 1
    assert measurements_of(chain(300)) == ()
    assert measurements_of(pydicom.Dataset()) == ()
    bare = reports.report(("1", "99SITE", "Title"), "", pydicom.Dataset())
    bare.ContentSequence[0].ValueType = "NUM"
    (found,) = measurements_of(bare)
    assert (found.value, found.text, found.unit, found.concept.value) == (None, "", None, "")
