"""Headers without identities: every element is judged, what is kept stays as bytes, and nothing of the original is left."""

import re
import struct

import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

import cinemill
from cinemill.dicom.source import Source
from cinemill.operations.deidentify.attributes import basic_profile, edition
from cinemill.operations.deidentify.identity import Identity
from cinemill.operations.deidentify.keys import Key, read_key
from cinemill.operations.deidentify.profile import CODES
from tests.operations.deidentify.conftest import FRAMES, identified
from tests.support.generate import (
    BIG_ENDIAN,
    DEFLATED,
    DELIMITER,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    item,
    jpeg,
    native_element,
    part10,
    smooth,
)

ORIGINALS = (
    *(
        b"Zebediah",
        b"MRN-778899",
        b"ACC4711",
        b"Helsing",
        b"Quincey",
        b"Whitby",
        b"SN-42",
        b"19610203",
        b"2019030",
    ),
    *(b"1.2.3.4.5", b"1.2.3.6", b"1.2.3.7", b"1.2.3.8"),
)


def items(path):
    """The elements of a file but those that say what was done to it, as bytes by tag."""
    with Source(path) as source:
        return {e.tag: bytes(source.data[e.value : e.end]) for e in source.elements}


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_names_in_sequences_of_unknown_vr_are_known(tmp_path, syntax):
    order = ">" if syntax == BIG_ENDIAN else "<"
    name = item(struct.pack("<HHL", 0x0008, 0x1070, 10) + b"Stress^Jim")
    sequence = struct.pack(order + "HH2sHL", 0x0040, 0x0275, b"UN", 0, 0xFFFFFFFF) + name + DELIMITER
    path = tmp_path / "in.dcm"
    path.write_bytes(part10(identified(), sequence + native_element(FRAMES.tobytes(), syntax, b"OB"), syntax))
    with Source(path) as source:
        assert {"stress", "jim"} <= Identity.of(source, Key(bytes(32))).words


def test_the_table_is_the_newest_that_its_package_has():
    assert edition() >= "2026c"
    table = basic_profile()
    assert len(table) > 650
    assert (table[0x00100010], table[0x00100020], table[0x00080018]) == ("Z", "Z/D", "U")


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_no_original_is_left_in_any_encoding(made, syntax):
    output, dataset = made(syntax=syntax)
    encoded = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(encoded, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    for original in ORIGINALS:
        assert original not in encoded.getvalue()
    assert dataset.PixelData == FRAMES.tobytes()
    assert dataset.PatientName == dataset.PatientID != ""
    assert (dataset.Manufacturer, dataset.Modality, dataset.FrameTime) == ("ACME", "US", "33.3")
    assert output.read_bytes()[:128] == bytes(128)


def test_actions_are_those_of_the_table_and_of_the_types_of_the_instance(made):
    _, dataset = made()
    for gone in (
        "InstitutionName",
        "AcquisitionDateTime",
        "DeviceSerialNumber",
        "PatientAge",
        "StudyDescription",
    ):
        assert gone not in dataset
    for emptied in (
        "StudyDate",
        "StudyTime",
        "ContentDate",
        "AccessionNumber",
        "PatientBirthDate",
        "PatientSex",
    ):
        assert dataset[emptied].value in ("", None)
    assert not any(element.tag.is_private for element in dataset.iterall())


def test_what_is_kept_stays_byte_for_byte(tmp_path, made):
    odd = identified()
    odd.add_new(0x00081090, "LO", b"\xff\xfe Mod\\el \x00")
    odd.add_new(0x00181020, "LO", b"  1.0 \\ 2.0 ")
    path = tmp_path / "odd.dcm"
    path.write_bytes(part10(odd, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    before, after = items(path), items(made(path)[0])
    same = {tag for tag in before if before[tag] == after.get(tag)}
    assert {0x00081090, 0x00181020, 0x00080008, 0x00181063, 0x00280009} <= same


def test_an_output_says_what_was_done_and_only_that(made):
    _, dataset = made(option="clean-descriptors,retain-uids")
    assert dataset.PatientIdentityRemoved == "YES"
    assert [
        (item.CodeValue, item.CodingSchemeDesignator) for item in dataset.DeidentificationMethodCodeSequence
    ] == [
        ("113100", "DCM"),
        ("113105", "DCM"),
        ("113110", "DCM"),
    ]
    assert all(len(value) <= 64 for value in dataset.DeidentificationMethod)
    assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
    assert dataset.BurnedInAnnotation == "NO"
    burned = identified()
    burned.BurnedInAnnotation = "YES"
    _, dataset = made(burned, mask="none")
    assert dataset.BurnedInAnnotation == "YES"
    assert "RecognizableVisualFeatures" not in dataset
    assert len({code for code, _ in CODES.values()}) == 12


def test_dates_of_a_patient_move_by_the_same_days_and_keep_their_intervals(made):
    option = "retain-longitudinal-modified"
    _, dataset = made(option=option)
    other = identified()
    other.StudyDate, other.ContentDate, other.SOPInstanceUID = "20200101", "20200230", "1.2.3.99"
    _, second = made(other, option=option)
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
    assert int(dataset.ContentDate) > int(dataset.StudyDate)
    days = pydicom.valuerep.DA("20190302") - pydicom.valuerep.DA(dataset.StudyDate)
    assert 30 <= days.days <= 3650
    assert pydicom.valuerep.DA("20200101") - pydicom.valuerep.DA(second.StudyDate) == days
    assert dataset.AcquisitionDateTime.endswith("101112.5+0100")
    assert second.ContentDate == "19000101"
    assert dataset.PatientBirthDate == ""


def test_descriptions_are_left_with_words_of_medicine(made):
    _, dataset = made(option="clean-descriptors")
    assert dataset.StudyDescription == "Stress echo of apical 4CH".replace(" of", "") or (
        dataset.StudyDescription == "Stress echo of apical 4CH"
    )


def test_options_retain_what_they_name_and_no_more(made):
    _, dataset = made(
        option="retain-device-identity,retain-institution-identity,retain-patient-characteristics,"
        "retain-longitudinal-full,retain-uids"
    )
    assert dataset.DeviceSerialNumber == "SN-42-XYZ"
    assert dataset.InstitutionName == "Whitby Hospital"
    assert (dataset.PatientSex, dataset.PatientAge) == ("F", "058Y")
    assert (dataset.StudyDate, dataset.ContentDate) == ("20190302", "20190303")
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4.5"
    assert dataset.PatientName != "Zebediah^Jane"
    assert dataset.AccessionNumber == ""


def test_private_elements_of_the_standards_list_are_retained_alone(made):
    dataset = identified()
    safe = dataset.private_block(0x200D, "Philips US Imaging DD 033", create=True)
    safe.add_new(0x0D, "LO", "UDM_USD_DATATYPE_DIN_2D_ECHO")
    safe.add_new(0x30, "LO", "anything")
    _, kept = made(dataset, option="retain-safe-private")
    assert kept[0x200D100D].value == "UDM_USD_DATATYPE_DIN_2D_ECHO"
    assert {int(element.tag) for element in kept if element.tag.is_private} == {0x200D0010, 0x200D100D}
    _, without = made(dataset)
    assert not any(element.tag.is_private for element in without)


def test_file_meta_information_tells_nothing_of_where_it_came_from(tmp_path, made):
    dataset = identified()
    path = tmp_path / "in.dcm"
    path.write_bytes(part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    read = pydicom.dcmread(path)
    read.file_meta.SourceApplicationEntityTitle = "WARD7"
    read.file_meta.PrivateInformationCreatorUID = UID("1.2.3.9")
    read.file_meta.PrivateInformation = b"Zebediah"
    read.preamble = b"Zebediah".ljust(128, b"\0")
    read.save_as(path)
    output, after = made(path)
    assert b"WARD7" not in output.read_bytes()
    assert b"Zebediah" not in output.read_bytes()
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID


def test_overlays_curves_and_icons_go_with_all_that_describes_them(made):
    dataset = identified()
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated = 2, 2, 8
    icon.add_new(0x7FE00010, "OB", b"Zebe")
    dataset.IconImageSequence = Sequence([icon])
    for tag, vr, value in (
        (0x60000010, "US", 2),
        (0x60000022, "LO", "Zebediah"),
        (0x60003000, "OW", b"Zebediah"),
        (0x50003000, "OW", b"Zebediah"),
        (0x50000022, "LO", "Zebediah"),
    ):
        dataset.add_new(tag, vr, value)
    output, after = made(dataset)
    assert b"Zebe" not in output.read_bytes()
    assert not [element for element in after if element.tag.group in {0x6000, 0x5000, 0x0088}]


def test_an_overlay_in_unused_bits_of_the_pixels_does_not_stay_behind(tmp_path, key):
    frames = FRAMES.astype("u2") | 0x1000
    dataset = header(frames, bits_stored=12, BurnedInAnnotation="NO")
    for tag, vr, value in (
        (0x60000010, "US", 12),
        (0x60000011, "US", 16),
        (0x60000100, "US", 16),
        (0x60000102, "US", 12),
    ):
        dataset.add_new(tag, vr, value)
    path = tmp_path / "overlay.dcm"
    path.write_bytes(part10(dataset, native_element(frames.tobytes(), EXPLICIT), EXPLICIT))
    with pytest.raises(cinemill.CinemillError, match="overlays in unused bits"):
        cinemill.deidentify(path, tmp_path / "out.dcm", key=str(key))
    assert not (tmp_path / "out.dcm").exists()
    cinemill.deidentify(path, tmp_path / "out.dcm", key=str(key), to="jpeg-ls")
    after = pydicom.dcmread(tmp_path / "out.dcm")
    assert not [element for element in after if element.tag.group == 0x6000]
    assert (after.pixel_array == FRAMES).all()


def test_a_name_that_stands_where_no_table_looks_goes_too(made):
    dataset = identified()
    dataset.ManufacturerModelName = "iE33 of Zebediah"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "Zebediah, Jane"
    dataset.ViewCodeSequence = Sequence([code])
    output, after = made(dataset)
    assert b"Zebediah" not in output.read_bytes()
    assert after.ManufacturerModelName == "REMOVED"


def test_uids_that_somebody_made_below_dicoms_root_are_replaced(made, key):
    dataset = identified()
    own = "1.2.840.10008.5.1.4.1.1.1758083884.7273960380167797530"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = own, own + ".1", own + ".2"
    dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = own + ".3"
    dataset.FrameOfReferenceUID = UID("1.2.840.10008.1.4.1.1")
    output, after = made(dataset)
    assert own.encode() not in output.read_bytes()
    assert after.StudyInstanceUID == read_key(key).uid(own + ".1")
    assert after.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert after.SOPClassUID == ULTRASOUND_CINE


def test_an_address_that_repeats_the_number_goes_too(made):
    dataset = identified()
    scheme = Dataset()
    scheme.CodingSchemeURL = "https://codes.example/of/MRN-778899"
    dataset.CodingSchemeIdentificationSequence = Sequence([scheme])
    output, after = made(dataset)
    assert b"778899" not in output.read_bytes()
    assert after.CodingSchemeIdentificationSequence[0].CodingSchemeURL == "urn:removed"


def test_what_can_not_be_judged_is_removed_and_counted(tmp_path, key):
    dataset = identified()
    dataset.add_new(0x00089998, "LO", "Zebediah")
    dataset.add_new(0x00080104, "SQ", Sequence([]))
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    receipt = cinemill.deidentify(path, output, key=str(key))
    assert receipt.elements["unknown"] == 2
    assert receipt.elements["private"] == 2
    assert b"Zebediah" not in output.read_bytes()


def test_a_sequence_that_can_not_be_read_is_left_out(tmp_path, key):
    broken = struct.pack("<HH2sHL", 0x0040, 0x0275, b"SQ", 0, 12) + b"Zebediah1234"
    dataset = identified()
    data = part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT)
    place = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(
        data[:place]
        + broken.replace(struct.pack("<HH", 0x40, 0x275), struct.pack("<HH", 0x54, 0x16))
        + data[place:]
    )
    receipt = cinemill.deidentify(path, output, key=str(key))
    assert receipt.elements["unknown"] == 1
    assert b"Zebediah" not in output.read_bytes()


@pytest.mark.parametrize("delimited", [True, False])
def test_encapsulated_pixels_stay_as_they_stand_whatever_their_fragments(tmp_path, key, delimited):
    frames = [jpeg(smooth((24, 32, 3), seed)) for seed in range(2)]
    dataset = header(
        FRAMES[:2].repeat(2, 1).repeat(2, 2)[..., None].repeat(3, 3),
        "YBR_FULL_422",
        samples=3,
        sop_class=ULTRASOUND_CINE,
        BurnedInAnnotation="NO",
    )
    dataset.Rows, dataset.Columns = 24, 32
    element = encapsulated_element([frames[:1], [frames[1][:50], frames[1][50:]]])
    element = element if delimited else element[:-8]
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    path.write_bytes(part10(dataset, element, JPEG_BASELINE))
    receipt = cinemill.deidentify(path, output, key=str(key))
    assert receipt.transfer_syntax_after == JPEG_BASELINE
    data = output.read_bytes()
    assert data[data.index(element[:12]) :].startswith(element)
    assert data.endswith(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))


def test_a_report_is_left_with_its_references_or_with_clean_text(tmp_path, made):
    from tests.operations.deidentify.conftest import tree

    report = next(path for path in tree(tmp_path / "tree") if path.name == "report.dcm")
    key = read_key(tmp_path / "study.key")
    _, basic = made(report)
    (image,) = basic.ContentSequence
    told = [item.ReferencedSOPInstanceUID for item in image.ReferencedSOPSequence]
    assert told == [key.uid(f"1.2.3.0.1.{index}") for index in range(3)]
    _, cleaned = made(report, option="clean-structured-content")
    _, text, person = cleaned.ContentSequence
    assert re.fullmatch(r"(has )?mitral valve", text.TextValue.replace(" a ", " "))
    assert person.PersonName == "REMOVED"


def test_codes_of_persons_are_replaced_where_the_sequence_is_to_be_replaced(made):
    def coded(value, meaning):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "99STAFF", meaning
        return Sequence([code])

    dataset = identified()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    operator = Dataset()
    operator.PersonIdentificationCodeSequence = coded("STAFF-4711", "Dr Seward")
    dataset.OperatorIdentificationSequence = Sequence([operator])
    dataset.InstitutionCodeSequence = coded("HOSP-0815", "Whitby Hospital")
    dataset.ViewCodeSequence = coded("A4C", "Apical four chamber")
    output, after = made(dataset)
    for name in (b"Seward", b"STAFF-4711", b"HOSP-0815", b"Whitby"):
        assert name not in output.read_bytes()
    assert after.ViewCodeSequence[0].CodeMeaning == "Apical four chamber"
    assert after.OperatorIdentificationSequence[0].PersonIdentificationCodeSequence[0].CodeValue == "REMOVED"


def test_persons_dates_and_addresses_that_the_table_does_not_name_go_too(tmp_path, made):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "STAFF-4711", "99STAFF", "Dr Seward"
    issuer = Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.9.8.7", "ISO"
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.38.1", "1.2.3.9.1"
    dataset.PatientBirthDateInAlternativeCalendar = "ROC 60-05-07"
    dataset.PatientDeathDateInAlternativeCalendar = "ROC 99-01-02"
    dataset.PatientAlternativeCalendar = "ROC"
    dataset.IssuerOfPatientIDQualifiersSequence = Sequence([issuer])
    dataset.HangingProtocolCreator = "Seward^John"
    dataset.HangingProtocolUserIdentificationCodeSequence = Sequence([code])
    dataset.HangingProtocolUserGroupName = "Whitby Hospital"
    dataset.ContactURI, dataset.ContactDisplayName = "tel:555-0199", "Dr Seward"
    dataset.OwnerID = "seward"
    dataset.DateOfGainCalibration, dataset.TimeOfGainCalibration = "20190304", "101112"
    for tag in (0x0040A068, 0x0040A076):
        dataset.add_new(tag, "SQ", Sequence([code]))
    for tag in (0x00080407, 0x00080408, 0x00080409, 0x00081190, 0x00287FE0, 0x00404073, 0x0040E010):
        dataset.add_new(tag, "UR", "https://pacs.whitby.example/studies/1.2.3.9/instances/1.2.3.9.1")
    path = tmp_path / "protocol.dcm"
    path.write_bytes(part10(dataset, b"", EXPLICIT))
    output, after = made(path)
    written = output.read_bytes().lower()
    for original in (b"seward", b"staff-4711", b"whitby", b"555-0199", b"60-05-07", b"99-01-02", b"1.2.3.9"):
        assert original not in written
    for original in (b"20190304", b"1.9.8.7"):
        assert original not in written
    assert after.HangingProtocolCreator == "REMOVED"
    assert after.HangingProtocolUserIdentificationCodeSequence == []
    assert "PatientAlternativeCalendar" not in after


def test_an_attribute_of_type_2_stays_in_an_rt_image(made):
    """Operators' Name is of type 3 in other images (PS3.3 C.8.8.1)."""
    dataset = identified()
    dataset.SOPClassUID, dataset.OperatorsName = "1.2.840.10008.5.1.4.1.1.481.1", "Helsing"
    output, after = made(dataset)
    assert "OperatorsName" in after
    assert b"Helsing" not in output.read_bytes()


@pytest.mark.parametrize("modality", ["US", "IVUS"])
def test_intravascular_ultrasound_keeps_an_acquisition_date(made, modality):
    """Acquisition DateTime is of type 1 there, and of type 3 in other ultrasound (PS3.3 C.8.5.6)."""
    dataset = identified()
    dataset.Modality = modality
    _, after = made(dataset)
    assert after.get("AcquisitionDateTime") == {"US": None, "IVUS": "19000101000000"}[modality]


def test_what_tells_who_gave_a_number_goes_and_so_do_retired_numbers_and_addresses(made):
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "Carfax Hospital"
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "carfax.example", "DNS"
    document = Dataset()
    document.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.2"
    document.ReferencedSOPInstanceUID, document.HL7InstanceIdentifier = "1.2.3.78", "1.2.3.79^DOC-4711"
    dataset = identified()
    dataset.HL7StructuredDocumentReferenceSequence = Sequence([document])
    for tag in (0x00080051, 0x00400026, 0x00400027, 0x00400036, 0x00400039, 0x0040003A):
        dataset.add_new(tag, "SQ", Sequence([issuer]))
    for tag in (0x00401006, 0x00401007, 0x00402006, 0x00402007):
        dataset.add_new(tag, "SH", "ORDER-4711")
    dataset.add_new(0x00201020, "LO", "Renfield")
    dataset.add_new(0x00201070, "IS", "4711")
    dataset.add_new(0x00205002, "LO", "Renfield's name")
    dataset.add_new(0x0040A992, "ST", "https://carfax.example/1.2.3.79")
    output, after = made(dataset)
    written = output.read_bytes().lower()
    for original in (b"carfax", b"order-4711", b"doc-4711", b"1.2.3.7", b"renfield"):
        assert original not in written
    assert 0x00201070 not in after
    (reference,) = after.HL7StructuredDocumentReferenceSequence
    assert reference.HL7InstanceIdentifier == "REMOVED"


def test_an_element_is_judged_by_the_standards_vr_whatever_vr_it_is_written_with(tmp_path, key):
    dataset = identified()
    dataset.ReferringPhysicianName = "Helsing"
    data = part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT)
    path, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    for tag, vr in (
        (b"\x08\x00\x90\x00PN", b"ZZ"),
        (b"\x08\x00\x20\x00DA", b"LO"),
        (b"\x20\x00\x0e\x00UI", b"SH"),
    ):
        assert tag in data
        path.write_bytes(data.replace(tag, tag[:4] + (vr if vr != b"ZZ" else b"\0\1"), 1))
        cinemill.deidentify(path, output, key=str(key), overwrite=True)
        after = pydicom.dcmread(output)
        assert (after.ReferringPhysicianName, after.StudyDate) == ("", "")
        assert after.SeriesInstanceUID == read_key(key).uid("1.2.3.7")
        assert b"Helsing" not in output.read_bytes()


def test_a_label_that_repeats_the_name_goes_whatever_its_vr(made):
    dataset = identified()
    dataset.ContentLabel = "ZEBEDIAH_1"
    output, after = made(dataset)
    assert after.ContentLabel == "REMOVED"
    assert b"ZEBEDIAH" not in output.read_bytes()


def nested(tag, vr, value):
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value


@pytest.mark.parametrize(
    "regions",
    [DELIMITER + b"Zebediah", item(b"") + DELIMITER + b"Zebediah", item(item(b"Zebediah"))],
    ids=["behind a delimiter", "behind an item", "in an item of none"],
)
def test_what_no_element_of_a_sequence_holds_is_left_out(tmp_path, made, regions):
    """A sequence that is kept stays as bytes: those that its items account for."""
    path = tmp_path / "odd.dcm"
    sequence = nested(0x00186011, b"SQ", regions)
    path.write_bytes(part10(identified(), sequence + native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
    assert b"Zebediah" not in made(path)[0].read_bytes()
