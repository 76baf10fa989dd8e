"""What instances refer to: reports, key objects, presentation states, images made of others, functional groups."""

import pytest
from pydicom.dataset import Dataset

from cinemill.dicom.source import Source
from cinemill.operations.inspect.documents.references import references_of
from tests.support import clips, generate, reports


def of(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def instance(uid, **more):
    return of(ReferencedSOPClassUID=reports.CINE, ReferencedSOPInstanceUID=uid, **more)


def told(header):
    return [
        (
            each.attribute,
            each.sop_instance_uid,
            each.frames,
            each.study_instance_uid,
            each.series_instance_uid,
        )
        for each in references_of(header)
    ]


def test_a_report_refers_to_its_evidence_and_to_the_images_in_its_tree():
    found = told(reports.simplified_echo())
    assert found == [
        ("CurrentRequestedProcedureEvidenceSequence", "1.2.3.1.1", (), "1.2.3", "1.2.3.1"),
        ("ReferencedSOPSequence", "1.2.3.1.1", (31,), "1.2.3", "1.2.3.1"),
    ]


def test_an_image_refers_to_what_it_was_made_of():
    groups = of(
        DerivationImageSequence=[of(SourceImageSequence=[instance("1.4", ReferencedFrameNumber=[3, 4])])]
    )
    header = of(
        StudyInstanceUID="1.2.3",
        SourceImageSequence=[instance("1.1")],
        ReferencedImageSequence=[instance("1.2", ReferencedFrameNumber="7")],
        ReferencedSeriesSequence=[of(SeriesInstanceUID="5", ReferencedInstanceSequence=[instance("1.3")])],
        StudiesContainingOtherReferencedInstancesSequence=[
            of(
                StudyInstanceUID="9",
                ReferencedSeriesSequence=[
                    of(SeriesInstanceUID="9.1", ReferencedInstanceSequence=[instance("9.2")])
                ],
            )
        ],
        PerFrameFunctionalGroupsSequence=[groups, groups],
    )
    assert sorted(told(header)) == [
        ("ReferencedImageSequence", "1.2", (7,), None, None),
        ("ReferencedSeriesSequence", "1.3", (), "1.2.3", "5"),
        ("SourceImageSequence", "1.1", (), None, None),
        ("SourceImageSequence", "1.4", (3, 4), None, None),
        ("StudiesContainingOtherReferencedInstancesSequence", "9.2", (), "9", "9.1"),
    ]


def test_nonsense_in_references_is_left_out():
    header = of(
        ReferencedImageSequence=[Dataset(), of(ReferencedSOPInstanceUID=""), instance("1.1")],
        SourceImageSequence=[],
    )
    header.add_new(0x00091010, "SQ", [instance("1.2")])
    assert told(header) == [("ReferencedImageSequence", "1.1", (), None, None)]
    assert references_of(Dataset()) == ()


@pytest.mark.parametrize("syntax", [generate.EXPLICIT, generate.IMPLICIT])
@pytest.mark.parametrize("undefined", [False, True])
def test_items_of_sequences_that_name_no_instance_are_not_read(tmp_path, syntax, undefined):
    frames = generate.noise((2, 4, 6))
    header = generate.header(
        frames,
        SequenceOfUltrasoundRegions=[clips.region((0, 0, 3, 3))],
        SourceImageSequence=[instance("1.1")],
    )
    for keyword in ("SequenceOfUltrasoundRegions", "SourceImageSequence"):
        header[keyword].is_undefined_length = undefined
    pixels = generate.native_element(generate.native_bytes(frames), syntax)
    (tmp_path / "us.dcm").write_bytes(generate.part10(header, pixels, syntax))
    with Source(tmp_path / "us.dcm") as source:
        assert told(source.brief) == [("SourceImageSequence", "1.1", (), None, None)]
        assert source.brief.get_item("SequenceOfUltrasoundRegions").is_raw
        assert source.brief.SequenceOfUltrasoundRegions == header.SequenceOfUltrasoundRegions
        assert source.header["SourceImageSequence"].is_undefined_length == undefined


@pytest.mark.corpus
def test_the_key_object_selection_of_the_corpus_refers_to_its_image(corpus):
    with Source(corpus / "ThalesMMS_DICOM-Swift__kos_key_object_selection.dcm") as source:
        found = told(source.header)
    home = ("2.25.122400104", "2.25.122400105")
    assert sorted(found) == [
        ("CurrentRequestedProcedureEvidenceSequence", "2.25.122400110", (), *home),
        ("ReferencedSOPSequence", "2.25.122400110", (), *home),
    ]
