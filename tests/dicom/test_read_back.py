"""What an output repeats of its source is the same elements as if it were walked; what differs is found."""

import pytest

from cinemill.dicom.compare import compare_elements
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.dicom.read_back import ReadBack
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, VerificationError
from tests.dicom.test_runs import damaged_elements
from tests.support.files import bundled


def further(path, folder):
    """A copy whose data set begins some bytes later."""
    data, source = path.read_bytes(), Source(path)
    last = source.meta[-1].end
    moved = folder / "moved.dcm"
    moved.write_bytes(data[:last] + b"\2\0\2\1OB\0\0\0\0\0\0" + data[last:])
    return moved


def assert_same_elements(path, folder):
    try:
        source = Source(path)
    except CinemillError:
        return
    if not source.meta or source.in_memory or source.data is not source.file:
        return
    output = further(path, folder)
    try:
        walked = Source(output)
    except CinemillError:
        return
    read = ReadBack(output, source)
    assert read.elements == walked.elements
    assert read.pixel_data == walked.pixel_data
    assert read.warnings == walked.warnings
    compare_elements(source, read, (), repeated=read.repeated)


def test_elements_that_are_repeated_are_those_that_are_there(pydicom_file, tmp_path):
    assert_same_elements(pydicom_file, tmp_path)


@pytest.mark.corpus
def test_elements_of_the_corpus_that_are_repeated_are_those_that_are_there(corpus_file, tmp_path):
    assert_same_elements(corpus_file, tmp_path)


def test_all_elements_in_front_of_the_pixel_data_are_repeated(tmp_path):
    path = bundled("CT_small.dcm")
    source = Source(path)
    with ReadBack(further(path, tmp_path), source) as read:
        assert read.repeated == [each.tag > PIXEL_DATA for each in source.elements].index(True)
        assert read.text(0x00080018) == source.text(0x00080018)


def test_one_byte_that_differs_in_any_element_is_not_taken_for_repeated(tmp_path):
    source, damaged = Source(bundled("CT_small.dcm")), tmp_path / "damaged.dcm"
    for _ in damaged_elements(source, damaged):
        with ReadBack(damaged, source) as read:
            assert read.elements == Source(damaged).elements
            with pytest.raises(VerificationError, match="1 elements differ"):
                compare_elements(source, read, (), repeated=read.repeated)


def test_an_element_that_is_missing_or_new_is_not_taken_for_repeated(tmp_path):
    path = bundled("CT_small.dcm")
    source, data = Source(path), path.read_bytes()
    last = max(each for each in source.elements if each.tag < PIXEL_DATA)
    new = b"\x28\0\xff\xff" + b"LO\2\0ab"
    for other in (
        data[: last.start] + data[last.end :],
        data[: last.end] + new + data[last.end :],
        data[: source.elements[0].start] + new + data[source.elements[0].start :],
    ):
        output = tmp_path / "output.dcm"
        output.write_bytes(other)
        with ReadBack(output, source) as read:
            assert read.elements == Source(output).elements
            with pytest.raises(VerificationError, match="1 elements differ"):
                compare_elements(source, read, (), repeated=read.repeated)
