"""Data sets as DICOM JSON (PS3.18 Annex F), against pydicom's."""

import json
import math
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cinemill.dicom.header_only import HeaderOnly
from cinemill.errors import DamagedFile
from cinemill.serve.dicom_json import attributes_of
from tests.support.files import bundled

NAMES = (
    "CT_small.dcm",
    "examples_ybr_color.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
    "chrH31.dcm",
    "chrX1.dcm",
    "JPEG2000.dcm",
    "MR_small_bigendian.dcm",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_pydicom_says(name):
    path = Path(*get_charset_files(name)) if name.startswith("chr") else bundled(name)
    with HeaderOnly(path) as header:
        told = attributes_of(header.part(*(element.tag for element in header.elements)))
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    wanted = without_empties(dataset.to_json_dict())
    if "00080005" in wanted:
        wanted["00080005"]["Value"] = ["ISO_IR 192"]
    assert told.keys() == wanted.keys()
    for tag, attribute in wanted.items():
        assert told[tag] == attribute, tag
    assert Dataset.from_json(json.dumps(told)) == Dataset.from_json(json.dumps(wanted))


def without_empties(told):
    """What stands there, with null for empty values, and no list of none (PS3.18 F.2.5)."""
    found = {}
    for tag, attribute in told.items():
        if tag.endswith("0000"):
            continue
        values = [
            without_empties(each) if attribute["vr"] == "SQ" else each if each != "" else None
            for each in attribute.pop("Value", [])
        ]
        found[tag] = attribute | ({"Value": values} if values else {})
    return found


def test_what_is_no_number_leaves_the_others():
    dataset = Dataset()
    dataset.add_new(0x00189318, "FD", [1.5, math.nan, math.inf])
    assert attributes_of(dataset) == {"00189318": {"vr": "FD", "Value": [1.5, "nan", "inf"]}}
    with HeaderOnly(bundled("CT_small.dcm")) as header:
        raw = header.part(0x00200013)
    element: Any = raw.get_item(0x00200013)
    raw._dict[element.tag] = element._replace(value=b"1A", length=2)
    assert attributes_of(raw)["00200013"] == {"vr": "IS", "Value": [None]}


def test_large_values_have_an_address():
    dataset = Dataset()
    dataset.add_new(0x00091001, "OB", bytes(2000))
    dataset.add_new(0x00091002, "OB", b"ab")
    told = attributes_of(dataset, lambda tag: f"at/{tag:08X}")
    assert told["00091001"] == {"vr": "OB", "BulkDataURI": "at/00091001"}
    assert told["00091002"] == {"vr": "OB", "InlineBinary": "YWI="}
    assert "InlineBinary" in attributes_of(dataset)["00091001"]


def test_names_empty_values_and_sequences():
    inner, dataset = Dataset(), Dataset()
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    dataset.StudyDate = ""
    dataset.ReferencedStudySequence = Sequence([])
    inner.add_new(0x00081155, "UI", "1.2")
    dataset.ReferencedImageSequence = Sequence([inner, Dataset()])
    dataset.add_new(0x00280009, "AT", 0x00181063)
    assert attributes_of(dataset) == {
        "00080020": {"vr": "DA"},
        "00081110": {"vr": "SQ"},
        "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
    }


def test_sequences_that_are_nested_too_deeply():
    dataset = Dataset()
    for _ in range(2000):
        outer = Dataset()
        outer.add_new(0x00081140, "SQ", [dataset])
        dataset = outer
    with pytest.raises(DamagedFile, match="nested too deeply"):
        attributes_of(dataset)
