"""Matching of attributes in searches (PS3.4 C.2.2.2)."""

import time

import pydicom
import pytest
from pydicom.dataset import Dataset

from cinemill.errors import UsageError
from cinemill.serve.matching import Key, meets, read_path


@pytest.mark.parametrize(
    ("value", "wanted", "vr", "met"),
    [
        ("anything", "", "LO", True),
        (None, "", "LO", True),
        (None, "*", "LO", True),
        (None, "x", "LO", False),
        ("", "x", "LO", False),
        ("Heart", "Heart", "LO", True),
        ("Heart", "heart", "LO", False),
        ("Heart ", "Heart", "LO", True),
        ("Heart", "H*t", "LO", True),
        ("Heart", "H?art", "LO", True),
        ("Heart", "H?rt", "LO", False),
        ("Heart", "Hea", "LO", False),
        ("a.b", "a?b", "LO", True),
        ("axb", "a.b", "LO", False),
        ("a[1]", "a[1]", "LO", True),
        ("abcabd", "*ab*d", "LO", True),
        ("ab", "*b*b", "LO", False),
        ("ab\ncd", "ab*", "LT", True),
        ("Doe^John", "doe^john", "PN", True),
        ("Doe^John^^^", "Doe^John", "PN", True),
        ("Doe^John", "Doe", "PN", False),
        ("Doe^John", "DO*", "PN", True),
        ("Yamada^Tarou=山田^太郎", "山田*", "PN", True),
        ("1.2.3", "1.2.3", "UI", True),
        ("1.2.3", "1.2.4,1.2.3", "UI", True),
        ("1.2.3", "1.2.4\\1.2.3", "UI", True),
        ("1.2.3", "1.2.*", "UI", False),
        ("20240131", "20240131", "DA", True),
        ("2024.01.31", "20240131", "DA", True),
        ("20240131", "20240101-20240131", "DA", True),
        ("20240201", "20240101-20240131", "DA", False),
        ("20240131", "20240101-", "DA", True),
        ("20231231", "20240101-", "DA", False),
        ("20240131", "-20240131", "DA", True),
        ("", "-20240131", "DA", False),
        ("120000.5", "1159-1201", "TM", True),
        ("115900", "1200-", "TM", False),
        ("235959.9", "2300-2359", "TM", True),
        ("10", "1000-1100", "TM", True),
        ("120000.000", "120000", "TM", True),
        ("20240101120000+0100", "20240101110000+0000", "DT", True),
        ("20240101120000.5+0100", "20240101110000 0000-20240101110000.9+0000", "DT", True),
        ("20240101003000+0100", "20240101000000+0000-", "DT", False),
        ("20240101120000-0500", "-20240101165900+0000", "DT", False),
        ("20240101120000", "20240101-20240101", "DT", True),
        ("20249901120000+0100", "20240101", "DT", False),
        (3, "3", "IS", True),
        ("3", "3.0", "DS", True),
        ("x", "3", "DS", False),
        ("x", "x", "IS", False),
    ],
)
def test_a_value_meets_what_is_wanted(value, wanted, vr, met):
    assert meets(value, wanted, vr) is met


def test_many_stars_take_no_time():
    begun = time.monotonic()
    assert not meets("a" * 5000, "*a" * 500 + "*b", "LO")
    assert time.monotonic() - begun < 5


def test_names_of_attributes():
    assert read_path("PatientID") == read_path("00100020") == (0x00100020,)
    assert read_path("RequestAttributesSequence.00400009") == (0x00400275, 0x00400009)
    for wrong in ("Patient", "0010,0020", "", "PatientID.", "1234567", "123456789"):
        with pytest.raises(UsageError, match="is no attribute"):
            read_path(wrong)


def test_values_in_headers():
    header, request = Dataset(), Dataset()
    request.ScheduledProcedureStepID = "7"
    header.RequestAttributesSequence = [Dataset(), request]
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.StudyTime = None
    path = read_path("RequestAttributesSequence.ScheduledProcedureStepID")
    assert Key(path, "7").is_met(header)
    assert not Key(path, "8").is_met(header)
    assert not Key(path, "7").is_met(Dataset())
    assert Key(read_path("ImageType"), "PRIMARY").is_met(header)
    assert not Key(read_path("StudyTime"), "12").is_met(header)
    assert not Key(read_path("PatientID.PatientName"), "x").is_met(pydicom.Dataset())
