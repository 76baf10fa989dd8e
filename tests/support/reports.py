"""Builds structured reports item by item, as ultrasound systems write them: obstetrics, vessels, echocardiography."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

COMPREHENSIVE = "1.2.840.10008.5.1.4.1.1.88.33"
CINE = "1.2.840.10008.5.1.4.1.1.3.1"
STUDY, SERIES, REPORTS = "1.2.3", "1.2.3.1", "1.2.3.2"

CONTAINS, MOD, OBS, ACQ, PROPERTIES, INFERRED, SELECTED = (
    *("CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"),
    *("HAS PROPERTIES", "INFERRED FROM", "SELECTED FROM"),
)

CM, MM, DAYS, CM_S, PERCENT, NONE, MMHG, GRAM, BPM = (
    ("cm", "UCUM", "centimeter"),
    ("mm", "UCUM", "millimeter"),
    ("d", "UCUM", "day"),
    ("cm/s", "UCUM", "centimeter per second"),
    ("%", "UCUM", "Percent"),
    ("1", "UCUM", "no units"),
    ("mm[Hg]", "UCUM", "mmHg"),
    ("g", "UCUM", "gram"),
    ("{H.B.}/min", "UCUM", "BPM"),
)

FINDINGS = ("121070", "DCM", "Findings")
SITE = ("G-C0E3", "SRT", "Finding Site")
LATERALITY = ("G-C171", "SRT", "Laterality")
LEFT, RIGHT = ("G-A101", "SRT", "Left"), ("G-A100", "SRT", "Right")
DERIVATION = ("121401", "DCM", "Derivation")
MEAN = ("R-00317", "SRT", "Mean")
SELECTION = ("121404", "DCM", "Selection Status")
FETUS_ID = ("11951-1", "LN", "Fetus ID")
EQUATION = ("121420", "DCM", "Equation")
GROUP = ("125007", "DCM", "Measurement Group")
MODE = ("G-0373", "SRT", "Image Mode")
VIEW = ("111031", "DCM", "Image View")

CodeOf = tuple[str, str, str]


def coded(code: CodeOf) -> Dataset:
    """An item of a code sequence; long values and URNs stand where the standard wants them."""
    value, scheme, meaning = code
    dataset = Dataset()
    if value.startswith("urn:"):
        dataset.URNCodeValue = value
    elif len(value) > 16:
        dataset.LongCodeValue = value
    else:
        dataset.CodeValue = value
    if scheme:
        dataset.CodingSchemeDesignator = scheme
    dataset.CodeMeaning = meaning
    return dataset


def item(relationship: str, kind: str, name: CodeOf | None, *below: Dataset, **elements: Any) -> Dataset:
    """One content item with those below it."""
    dataset = Dataset()
    if relationship:
        dataset.RelationshipType = relationship
    dataset.ValueType = kind
    if name:
        dataset.ConceptNameCodeSequence = [coded(name)]
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if below:
        dataset.ContentSequence = list(below)
    return dataset


def container(relationship: str, name: CodeOf, *below: Dataset, template: str = "") -> Dataset:
    found = item(relationship, "CONTAINER", name, *below, ContinuityOfContent="SEPARATE")
    if template:
        found.ContentTemplateSequence = [Dataset()]
        found.ContentTemplateSequence[0].MappingResource = "DCMR"
        found.ContentTemplateSequence[0].TemplateIdentifier = template
    return found


def code(relationship: str, name: CodeOf, value: CodeOf, *below: Dataset) -> Dataset:
    return item(relationship, "CODE", name, *below, ConceptCodeSequence=[coded(value)])


def text(relationship: str, name: CodeOf, value: str) -> Dataset:
    return item(relationship, "TEXT", name, TextValue=value)


def num(
    name: CodeOf,
    value: str | None,
    unit: CodeOf | None,
    *below: Dataset,
    relationship: str = CONTAINS,
    qualifier: CodeOf | None = None,
    **exact: Any,
) -> Dataset:
    """A numeric value; without one it has a qualifier, or nothing."""
    measured = Dataset()
    if value is not None:
        measured.NumericValue = value
    if unit:
        measured.MeasurementUnitsCodeSequence = [coded(unit)]
    for keyword, number in exact.items():
        setattr(measured, keyword, number)
    found = item(
        relationship, "NUM", name, *below, MeasuredValueSequence=[measured] if value is not None else []
    )
    if qualifier:
        found.NumericValueQualifierCodeSequence = [coded(qualifier)]
    return found


def image(relationship: str, uid: str, *frames: int, name: CodeOf | None = None) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CINE, uid
    if frames:
        reference.ReferencedFrameNumber = list(frames)
    return item(relationship, "IMAGE", name, ReferencedSOPSequence=[reference])


def outline(relationship: str, *points: float, of: Dataset | None = None) -> Dataset:
    """Coordinates in an image."""
    below = [] if of is None else [of]
    return item(relationship, "SCOORD", None, *below, GraphicType="POLYLINE", GraphicData=list(points))


def elsewhere(relationship: str, *position: int) -> Dataset:
    """A reference to an item of the same tree."""
    dataset = Dataset()
    dataset.RelationshipType = relationship
    dataset.ReferencedContentItemIdentifier = list(position)
    return dataset


def report(
    title: CodeOf, template: str, *below: Dataset, images: tuple[str, ...] = ("1.2.3.1.1",)
) -> Dataset:
    """A whole document with the images that it was made from as evidence."""
    header = container("", title, *below, template=template)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = UID(COMPREHENSIVE)
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = UID(f"{REPORTS}.{template or 1}")
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.Modality = STUDY, REPORTS, "SR"
    header.PatientName, header.PatientID, header.PatientBirthDate, header.PatientSex = (
        "Doe^Jane",
        "7",
        "",
        "F",
    )
    header.StudyDate = header.ContentDate = "20240102"
    header.StudyTime = header.ContentTime = "120000"
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "1", "", ""
    header.SeriesNumber, header.InstanceNumber = 1, 1
    header.Manufacturer, header.ManufacturerModelName = "Example", "E1"
    header.CompletionFlag, header.VerificationFlag = "COMPLETE", "UNVERIFIED"
    header.ReferencedPerformedProcedureStepSequence, header.PerformedProcedureCodeSequence = [], []
    header.CurrentRequestedProcedureEvidenceSequence = [evidence(*images)]
    return header


def evidence(*images: str) -> Dataset:
    """The images of a study, as documents list them."""
    study, series = Dataset(), Dataset()
    study.StudyInstanceUID, series.SeriesInstanceUID = STUDY, SERIES
    series.ReferencedSOPSequence = []
    for uid in images:
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = CINE, uid
        series.ReferencedSOPSequence.append(instance)
    study.ReferencedSeriesSequence = [series]
    return study


def saved(header: Dataset, path: Path) -> Path:
    header.save_as(path, enforce_file_format=True)
    return path


def obstetric() -> Dataset:
    """TID 5000 of twins: the patient, biometry in groups with means and ages, an umbilical artery, an ovary."""
    bpd, femur, age = (
        ("11820-8", "LN", "Biparietal Diameter"),
        ("11963-6", "LN", "Femur Length"),
        ("18185-9", "LN", "Gestational Age"),
    )
    biometry, group = ("125002", "DCM", "Fetal Biometry"), ("125005", "DCM", "Biometry Group")
    resistance, artery = ("12023-8", "LN", "Resistivity Index"), ("T-F1810", "SRT", "Umbilical Artery")

    def fetus(label: str, number: str, widths: tuple[str, str, str], library: int) -> Dataset:
        mean = num(
            bpd,
            widths[2],
            CM,
            code(MOD, DERIVATION, MEAN),
            code(PROPERTIES, SELECTION, ("121412", "DCM", "Mean value chosen")),
        )
        single = [
            num(bpd, width, CM, elsewhere(INFERRED, 1, 5, frame))
            for frame, width in enumerate(widths[:2], library)
        ]
        aged = num(
            age,
            "190",
            DAYS,
            code(INFERRED, EQUATION, ("11885-9", "LN", "BPD, Jeanty 1982")),
            num(("125013", "DCM", "5th Percentile"), "131", DAYS, relationship=PROPERTIES),
            elsewhere(INFERRED, 1, 8 if label == "A" else 9, 3, 3),
        )
        return container(
            CONTAINS,
            biometry,
            text(OBS, FETUS_ID, label),
            num(("121037", "DCM", "Fetus number"), number, NONE, relationship=OBS),
            container(CONTAINS, group, *single, mean, aged),
            container(CONTAINS, group, num(femur, None, None, qualifier=("114000", "DCM", "Not a number"))),
        )

    flow = container(
        CONTAINS,
        FINDINGS,
        code(MOD, SITE, ("T-F6800", "SRT", "Embryonic Vascular Structure")),
        container(CONTAINS, artery, text(OBS, FETUS_ID, "B"), num(resistance, "0.72", NONE)),
        container(
            CONTAINS,
            ("T-45600", "SRT", "Middle Cerebral Artery"),
            text(OBS, FETUS_ID, "A"),
            code(MOD, LATERALITY, LEFT),
            num(resistance, "0.81", NONE),
        ),
    )
    ovary = container(
        CONTAINS,
        FINDINGS,
        code(MOD, SITE, ("T-87000", "SRT", "Ovary")),
        num(("11829-9", "LN", "Left Ovary Length"), "3", CM, code(MOD, LATERALITY, LEFT)),
        num(("12164-0", "LN", "Left Ovary Volume"), "6", ("cm3", "UCUM", "cubic centimeter")),
    )
    return report(
        ("125000", "DCM", "OB-GYN Ultrasound Procedure Report"),
        "5000",
        code(
            MOD, ("121049", "DCM", "Language of Content Item and Descendants"), ("eng", "RFC5646", "English")
        ),
        item(OBS, "PNAME", ("121029", "DCM", "Subject Name"), PersonName="Doe^Jane"),
        text(OBS, ("121030", "DCM", "Subject ID"), "123-45-6789"),
        num(("121033", "DCM", "Subject Age"), "31", ("a", "UCUM", "year"), relationship=OBS),
        container(
            CONTAINS,
            ("111028", "DCM", "Image Library"),
            *(image(CONTAINS, "1.2.3.1.1", frame) for frame in range(1, 5)),
        ),
        container(
            CONTAINS,
            ("121118", "DCM", "Patient Characteristics"),
            num(("11996-6", "LN", "Gravida"), "5", NONE),
            text(CONTAINS, ("121106", "DCM", "Comment"), "Jane Doe is well"),
        ),
        container(
            CONTAINS,
            ("121111", "DCM", "Summary"),
            container(
                CONTAINS,
                ("125008", "DCM", "Fetus Summary"),
                text(OBS, FETUS_ID, "A"),
                num(
                    ("11727-5", "LN", "Estimated Weight"),
                    "2222",
                    GRAM,
                    num(
                        ("R-00363", "SRT", "+/-, range of measurement uncertainty"),
                        "200",
                        GRAM,
                        relationship=PROPERTIES,
                    ),
                    code(INFERRED, EQUATION, ("11732-5", "LN", "EFW by AC, BPD, Hadlock 1984")),
                ),
                num(("11948-7", "LN", "Fetal Heart Rate"), "120", BPM),
            ),
        ),
        fetus("A", "1", ("5.5", "5.3", "5.40"), 1),
        fetus("B", "2", ("5.1", "5.2", "5.15"), 3),
        flow,
        ovary,
    )


def vascular() -> Dataset:
    """TID 5100: both carotid arteries, velocities by vessel and segment, ratios of velocities, an index without a unit."""
    psv, edv = ("11726-7", "LN", "Peak Systolic Velocity"), ("11653-3", "LN", "End Diastolic Velocity")
    common, inner = ("T-45100", "SRT", "Common Carotid Artery"), ("T-45300", "SRT", "Internal Carotid Artery")
    topography, proximal = ("G-A1F8", "SRT", "Topographical Modifier"), ("G-A118", "SRT", "Proximal")

    def side(laterality: CodeOf, section: int, shift: float) -> Dataset:
        def vessel(name: CodeOf, *speeds: float) -> Dataset:
            return container(
                CONTAINS,
                name,
                code(MOD, topography, proximal),
                num(
                    psv,
                    f"{speeds[0] + shift}",
                    CM_S,
                    code(MOD, ("G-C036", "SRT", "Measurement Method"), ("125214", "DCM", "Doppler Trace")),
                    code(MOD, ("G-C048", "SRT", "Flow Direction"), ("R-42047", "SRT", "Antegrade Flow")),
                    outline(INFERRED, 1, 2, 3, 4, of=image(SELECTED, "1.2.3.1.1", 7)),
                ),
                num(edv, f"{speeds[1]}", CM_S, code(MOD, SITE, ("T-45320", "SRT", "Carotid Sinus"))),
                template="5104",
            )

        return container(
            CONTAINS,
            FINDINGS,
            code(MOD, SITE, ("T-45005", "SRT", "Artery of neck")),
            code(MOD, LATERALITY, laterality),
            vessel(common, 82.5, 20),
            vessel(inner, 104.25, 31.5),
            num(
                ("33868-1", "LN", "ICA/CCA velocity ratio"),
                "1.26",
                None,
                elsewhere(INFERRED, 1, section, 4, 2),
                elsewhere(INFERRED, 1, section, 3, 2),
            ),
            template="5103",
        )

    return report(
        ("125100", "DCM", "Vascular Ultrasound Procedure Report"),
        "5100",
        side(LEFT, 1, 0.5),
        side(RIGHT, 2, -1.25),
        num(("99-1", "99SITE", "Ankle-Brachial Index"), "0.97", NONE, elsewhere(INFERRED, 1, 3)),
    )


def echo() -> Dataset:
    """TID 5200: sections with finding sites, groups by image mode, measurements with views, phases and images."""
    phase = ("R-4089A", "SRT", "Cardiac Cycle Point")
    ventricle = container(
        CONTAINS,
        FINDINGS,
        code(MOD, SITE, ("T-32600", "SRT", "Left Ventricle")),
        container(
            CONTAINS,
            GROUP,
            code(MOD, MODE, ("G-03A2", "SRT", "2D mode")),
            text(MOD, ("125203", "DCM", "Acquisition Protocol"), "Stress, rest"),
            code(ACQ, ("18139-6", "LN", "Stage"), ("101050", "99SITE", "Baseline")),
            num(
                ("29436-3", "LN", "Left Ventricle Internal End Diastolic Dimension"),
                "4.75",
                CM,
                code(ACQ, VIEW, ("G-0396", "SRT", "Parasternal long axis")),
                code(MOD, phase, ("F-32011", "SRT", "End Diastole")),
                image(INFERRED, "1.2.3.1.1", 12, 13),
            ),
            num(
                ("18043-0", "LN", "Left Ventricular Ejection Fraction"),
                "58.3",
                PERCENT,
                code(
                    MOD,
                    ("G-C036", "SRT", "Measurement Method"),
                    ("125207", "DCM", "Method of Disks, Biplane"),
                ),
                FloatingPointValue=58.3333333333333,
            ),
        ),
        container(
            CONTAINS,
            GROUP,
            code(MOD, MODE, ("G-0394", "SRT", "M mode")),
            image(CONTAINS, "1.2.3.1.2", 1, name=("121112", "DCM", "Source of Measurement")),
            num(("29438-9", "LN", "Left Ventricle Internal Systolic Dimension"), "3.1", CM),
            num(
                ("18077-8", "LN", "Fractional Shortening"),
                "0.333",
                NONE,
                RationalNumeratorValue=1,
                RationalDenominatorValue=3,
            ),
        ),
    )
    valve = container(
        CONTAINS,
        FINDINGS,
        code(MOD, SITE, ("T-35400", "SRT", "Aortic Valve")),
        container(
            CONTAINS,
            GROUP,
            code(MOD, MODE, ("R-409E4", "SRT", "Doppler Continuous Wave")),
            num(
                ("20247-3", "LN", "Peak Gradient"),
                "21",
                MMHG,
                code(MOD, SITE, ("T-32550", "SRT", "Left Ventricle Outflow Tract")),
                outline(INFERRED, 9, 9, of=image(SELECTED, "1.2.3.1.2")),
            ),
        ),
    )
    return report(
        ("125200", "DCM", "Adult Echocardiography Procedure Report"),
        "5200",
        ventricle,
        valve,
        images=("1.2.3.1.1", "1.2.3.1.2"),
    )


def simplified_echo() -> Dataset:
    """TID 5300 in SNOMED CT: what is measured is said by modifiers."""
    site, mode = ("363698007", "SCT", "Finding Site"), ("399264008", "SCT", "Image Mode")
    measured = num(
        ("410668003", "SCT", "Length"),
        "21.5",
        MM,
        text(MOD, ("125309", "DCM", "Short Label"), "LVOT Diam"),
        code(
            MOD,
            ("125305", "DCM", "Finding Observation Type"),
            ("125311", "DCM", "Structure of the Finding Site"),
        ),
        code(
            MOD,
            site,
            ("13418002", "SCT", "Left ventricle outflow"),
            code(MOD, ("106233006", "SCT", "Topographical Modifier"), ("40415009", "SCT", "Proximal")),
        ),
        code(MOD, ("272518008", "SCT", "Cardiac Cycle Point"), ("109070006", "SCT", "Mid systole")),
        code(ACQ, mode, ("399064001", "SCT", "2D mode")),
        code(ACQ, VIEW, ("399139001", "SCT", "Parasternal long axis")),
        image(INFERRED, "1.2.3.1.1", 31),
    )
    vendor = num(
        ("urn:oid:1.2.276.0.76.3.1.999.1", "", "Vendor's index"),
        "3E-1",
        NONE,
        code(
            MOD, ("a-concept-whose-code-is-long", "99VENDOR", "Vendor's modifier"), ("x", "99VENDOR", "Größe")
        ),
    )
    return report(
        ("125200", "DCM", "Adult Echocardiography Procedure Report"),
        "5300",
        container(CONTAINS, ("125301", "DCM", "Pre-coordinated Measurements"), template="5301"),
        container(
            CONTAINS, ("125302", "DCM", "Post-coordinated Measurements"), measured, vendor, template="5302"
        ),
    )


LENGTH = ("410668003", "SCT", "Length")


def _nameless() -> Dataset:
    found = num(LENGTH, "1", CM)
    del found.ConceptNameCodeSequence
    return found


def _not_decimal() -> Dataset:
    found = num(LENGTH, "1", CM)
    found.MeasuredValueSequence[0].NumericValue = ["1", "2"]
    return found


def _chain() -> Dataset:
    below = num(LENGTH, "1", CM)
    for _ in range(210):
        below = container(CONTAINS, LENGTH, below)
    return below


FAULTS: dict[str, tuple[Callable[[], Dataset], str]] = {
    "report.concept": (_nameless, "item 1.1 has no concept name"),
    "report.value": (
        lambda: num(LENGTH, None, None),
        "item 1.1 (Length) has neither a value nor a qualifier",
    ),
    "report.decimal": (
        _not_decimal,
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
    "report.depth": (_chain, "the content tree is deeper than 200 levels; what lies below was not read"),
    "report.evidence": (
        lambda: num(LENGTH, "1", CM, image(INFERRED, "9.9")),
        "item 1.1.1 refers to 9.9, which is not listed as evidence",
    ),
}
"""For each check, an item that fails it in a report that passes all others, and what is found."""


def encoded(header: Dataset) -> bytes:
    """A document as it stands in a file."""
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def faulty(check: str) -> bytes:
    """A report that fails one check."""
    return encoded(report(("126000", "DCM", "Imaging Measurement Report"), "1500", FAULTS[check][0]()))


def any_tree(random: Random) -> Dataset:
    """A tree of no template: values, codes, texts, images and coordinates below each other, some by reference."""
    places: list[tuple[int, ...]] = [(1,)]

    def name() -> CodeOf:
        return (
            f"{random.randrange(1000)}",
            random.choice(("LN", "SRT", "99ANY")),
            random.choice(("Length", "Größe", "a, b")),
        )

    def below(position: tuple[int, ...], depth: int) -> list[Dataset]:
        return [
            made((*position, number), depth) for number in range(1, random.randrange(1, 5) if depth else 1)
        ]

    def made(position: tuple[int, ...], depth: int) -> Dataset:
        relationship = random.choice((CONTAINS, CONTAINS, MOD, OBS, ACQ, PROPERTIES, INFERRED, SELECTED))
        if len(position) > 2 and random.random() < 0.1:
            target = random.choice(places)
            if position[: len(target)] != target:
                return elsewhere(relationship, *target)
        places.append(position)
        inner = below(position, depth - 1)
        match random.choice(("NUM", "NUM", "CONTAINER", "CODE", "TEXT", "IMAGE", "SCOORD")):
            case "NUM":
                text = random.choice(("1", "-2.50", "3E-4", ".5"))
                number = random.choice((text, text, None))
                return num(name(), number, random.choice((CM, MM, NONE)), *inner, relationship=relationship)
            case "CONTAINER":
                return container(relationship, name(), *inner, template=random.choice(("", "", "300")))
            case "CODE":
                return code(relationship, name(), name(), *inner)
            case "TEXT":
                return item(
                    relationship, "TEXT", name(), *inner, TextValue=random.choice(("one", "zwei\r\ndrei"))
                )
            case "IMAGE":
                shown = image(
                    relationship, f"1.2.3.{random.randrange(4)}", *random.choice(((), (1,), (2, 3)))
                )
                if inner:
                    shown.ContentSequence = inner
                return shown
        coordinates = outline(relationship, 1, 2, 3, 4)
        if inner:
            coordinates.ContentSequence = inner
        return coordinates

    return report(("1", "99ANY", "Any"), "", *below((1,), 4))
