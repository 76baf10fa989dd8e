"""Presentation states: the images that they apply to, and what they would change."""

import subprocess

import pydicom
import pytest
from pydicom.dataset import Dataset

from cinemill.dicom.source import Source
from cinemill.operations.inspect.documents.presentation import presentation_of
from cinemill.operations.inspect.model import Change
from tests.support import reports
from tests.support.files import bundled

GREY = "1.2.840.10008.5.1.4.1.1.11.1"


def of(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def images(*uids):
    return [of(ReferencedSOPClassUID=reports.CINE, ReferencedSOPInstanceUID=uid) for uid in uids]


def state(**elements):
    series = of(SeriesInstanceUID=reports.SERIES, ReferencedImageSequence=images("1.2.3.1.1", "1.2.3.1.2"))
    return of(
        SOPClassUID=GREY,
        SOPInstanceUID="1.2.3.9.1",
        StudyInstanceUID=reports.STUDY,
        ContentLabel="REVIEW",
        ContentDescription="Jane Doe, lesion",
        ReferencedSeriesSequence=[series],
        **elements,
    )


def test_each_change_is_told_with_its_values():
    table = of(LUTDescriptor=[256, 0, 16], LUTData=b"\0" * 512)
    found = presentation_of(
        state(
            RescaleSlope="2",
            RescaleIntercept="-1024",
            RescaleType="HU",
            MaskSubtractionSequence=[of(MaskOperation="AVG_SUB")],
            SoftcopyVOILUTSequence=[
                of(WindowCenter="40", WindowWidth="400", ReferencedImageSequence=images("1.2.3.1.1")),
                of(VOILUTSequence=[table]),
            ],
            PresentationLUTShape="INVERSE",
            ICCProfile=b"\0" * 560,
            ShutterShape=["RECTANGULAR", "CIRCULAR"],
            ShutterLeftVerticalEdge="10",
            ShutterRightVerticalEdge="200",
            ShutterUpperHorizontalEdge="20",
            ShutterLowerHorizontalEdge="150",
            CenterOfCircularShutter=["90", "100"],
            RadiusOfCircularShutter="60",
            ImageRotation=90,
            ImageHorizontalFlip="Y",
            DisplayedAreaSelectionSequence=[
                of(
                    DisplayedAreaTopLeftHandCorner=[1, 1],
                    DisplayedAreaBottomRightHandCorner=[640, 480],
                    PresentationSizeMode="SCALE TO FIT",
                    PresentationPixelSpacing=["0.5", "0.25"],
                )
            ],
            GraphicAnnotationSequence=[
                of(
                    GraphicLayer="NOTES",
                    TextObjectSequence=[of(UnformattedTextValue="Jane Doe")],
                    GraphicObjectSequence=[of(GraphicType="CIRCLE"), of(GraphicType="POINT")],
                    ReferencedImageSequence=images("1.2.3.1.2"),
                )
            ],
        )
    )
    assert found is not None
    assert found.label == "REVIEW"
    assert [image.sop_instance_uid for image in found.images] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert {image.study_instance_uid for image in found.images} == {reports.STUDY}
    assert found.changes == (
        Change("modality LUT", "slope 2, intercept -1024, HU"),
        Change("mask", "AVG_SUB"),
        Change("VOI", "window 40, width 400", 1),
        Change("VOI", "table of 256 entries of 16 bits, from 0"),
        Change("presentation LUT", "INVERSE"),
        Change("ICC profile", "560 bytes"),
        Change("shutter", "RECTANGULAR 10 20 200 150"),
        Change("shutter", "CIRCULAR 90 100 60"),
        Change("rotation", "90 degrees clockwise"),
        Change("flip", "left to right"),
        Change("displayed area", "1,1 to 640,480, SCALE TO FIT, spacing 0.5×0.25"),
        Change("annotations", "1 texts, 2 graphics on layer NOTES", 1),
    )
    assert "Doe" not in repr(found)


def test_what_changes_nothing_is_told_as_nothing():
    found = presentation_of(state(ImageRotation=0, ImageHorizontalFlip="N"))
    assert found is not None
    assert found.changes == ()
    assert presentation_of(Dataset()) is None
    assert presentation_of(reports.echo()) is None


def test_a_state_that_says_nonsense_is_read():
    found = presentation_of(
        state(
            SoftcopyVOILUTSequence=[Dataset(), of(WindowCenter="1"), of(VOILUTSequence=[Dataset()])],
            ShutterShape="STAR",
            DisplayedAreaSelectionSequence=[Dataset()],
            GraphicAnnotationSequence=[Dataset()],
        )
    )
    assert found is not None
    assert [change.how for change in found.changes] == [
        "table without a descriptor",
        "STAR",
        " to , ",
        "nothing",
    ]


@pytest.mark.tools
def test_a_state_that_dcmtk_makes_names_its_image_and_window(tmp_path):
    image, made = bundled("CT_small.dcm"), tmp_path / "state.dcm"
    done = subprocess.run(["dcmpsmk", image, made], capture_output=True, check=False)
    assert made.exists(), done.stderr
    with Source(made) as source:
        found = presentation_of(source.header)
    assert found is not None
    header = pydicom.dcmread(image)
    assert [each.sop_instance_uid for each in found.images] == [header.SOPInstanceUID]
    assert [each.series_instance_uid for each in found.images] == [header.SeriesInstanceUID]
    told = {change.what: change.how for change in found.changes}
    assert told["modality LUT"].startswith("slope 1, intercept -1024")
    assert told["displayed area"].startswith("1,1 to 128,128")


@pytest.mark.corpus
def test_the_state_of_the_corpus_names_its_image(corpus):
    with Source(corpus / "ThalesMMS_DICOM-Swift__gsps_annotation.dcm") as source:
        found = presentation_of(source.header)
    assert found is not None
    assert [image.sop_instance_uid for image in found.images] == ["2.25.1435004099"]
    assert [change.what for change in found.changes] == ["presentation LUT", "displayed area", "annotations"]
