"""The data dictionary without pydicom's package says what pydicom says."""

import subprocess
import sys

import pydicom.datadict as judge
import pytest
from pydicom._private_dict import private_dictionaries
from pydicom.uid import UID, UID_dictionary

from cinemill.dicom import dictionary
from cinemill.syntaxes import TRANSFER_SYNTAXES

REPEATING = (0x60020010, 0x60FE3000, 0x50100005, 0x60FF3000, 0x00203102, 0x7F120010)
UNKNOWN = (0x00090010, 0x00091001, 0x12345678, 0x60000011)


def told(look_up, *arguments):
    try:
        return look_up(*arguments)
    except KeyError:
        return None


def test_every_element_has_its_vr_name_and_keyword():
    for tag in (*judge.DicomDictionary, *REPEATING, *UNKNOWN):
        assert dictionary.find_vr(tag) == told(judge.dictionary_VR, tag)
        assert dictionary.find_name(tag) == (told(judge.dictionary_description, tag) or "")
        assert dictionary.find_keyword(tag) == (told(judge.dictionary_keyword, tag) or "")
    assert dictionary.keywords() == judge.keyword_dict.keys() - {""}


def test_every_transfer_syntax_has_a_name_and_a_keyword():
    """Also those that are newer than pydicom's dictionary: reports name them, and de-identification keeps their UIDs."""
    for uid, syntax in TRANSFER_SYNTAXES.items():
        name, keyword = dictionary.uid_names(uid)
        assert keyword == syntax.keyword
        assert name not in {uid, ""}


def test_every_private_element_has_its_vr():
    for creator, elements in private_dictionaries.items():
        for name in elements:
            for digits in ("10", "11"):
                tag = int(name.replace("xx", digits), 16)
                expected = told(judge.private_dictionary_VR, tag, creator)
                assert dictionary.find_private_vr(tag, creator) == expected
    assert dictionary.find_private_vr(0x00091001, "NOBODY") is None


def test_every_uid_has_its_name_and_keyword():
    for uid in (*UID_dictionary, "1.2.3", ""):
        assert dictionary.uid_names(uid) == (UID(uid).name, UID(uid).keyword)


def test_what_was_added_to_pydicom_s_dictionary_is_found(monkeypatch):
    monkeypatch.setattr(judge, "keyword_dict", dict(judge.keyword_dict))
    monkeypatch.setitem(judge.DicomDictionary, 0x10021001, ("UL", "1", "Test One", "", "TestOne"))
    assert dictionary.find_vr(0x10021001) == "UL"
    assert "TestOne" in dictionary.keywords()


@pytest.mark.parametrize("first", ["", "import pydicom.datadict; "])
def test_it_is_the_same_before_pydicom_is_imported_and_after(first):
    script = (
        f"import sys; {first}from cinemill.dicom import dictionary as d\n"
        "print(d.find_vr(0x7FE00010), d.find_vr(0x60023000), d.find_private_vr(0x00091001, 'GEMS_IDEN_01'),"
        " d.uid_names('1.2.840.10008.1.2')[1], 'pydicom' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["ImplicitVRLittleEndian", str(bool(first))]
    assert done.stdout.startswith("OB or OW OB or OW LO ")
