"""The table of transfer syntaxes against pydicom's dictionary."""

import pytest
from pydicom.uid import UID, AllTransferSyntaxes

from cinemill import syntaxes
from cinemill.errors import UnsupportedTransferSyntax

NEWER_THAN_PYDICOM = {
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
}


@pytest.mark.parametrize("row", syntaxes.TRANSFER_SYNTAXES.values(), ids=str)
def test_a_row_agrees_with_the_dictionary(row):
    if row.uid in NEWER_THAN_PYDICOM:
        return
    uid = UID(row.uid)
    assert uid.is_transfer_syntax
    assert uid.keyword == row.keyword
    assert uid.is_implicit_VR == row.implicit_vr
    assert uid.is_little_endian == row.little_endian
    assert uid.is_deflated == row.deflated
    assert uid.is_encapsulated == row.encapsulated


def test_every_syntax_that_pydicom_knows_in_use_has_a_row():
    unsupported = {"JPIP", "SMPTE", "Papyrus"}
    missing = [
        uid.keyword
        for uid in AllTransferSyntaxes
        if uid not in syntaxes.TRANSFER_SYNTAXES and not any(name in uid.keyword for name in unsupported)
    ]
    assert missing == []


@pytest.mark.parametrize("row", syntaxes.TARGETS, ids=str)
def test_a_target_is_found_by_name_uid_and_keyword(row):
    assert syntaxes.target(row.name) is syntaxes.target(row.uid) is syntaxes.target(row.keyword) is row


def test_targets_are_lossless_and_say_what_they_hold():
    assert all((row.lossless or row.of_jpeg) and row.legal for row in syntaxes.TARGETS)


@pytest.mark.parametrize(
    "row", [row for row in syntaxes.TRANSFER_SYNTAXES.values() if row.coding == "video"], ids=str
)
def test_video_is_refused_as_a_target_by_its_name(row):
    for name in (row.uid, row.keyword):
        with pytest.raises(UnsupportedTransferSyntax, match=f"{row.keyword} is video, which is copied"):
            syntaxes.target(name)


@pytest.mark.parametrize("name", ["jpeg", "JPEGBaseline8Bit", "1.2.3", ""])
def test_other_targets_are_refused_with_the_names_of_those_there_are(name):
    with pytest.raises(UnsupportedTransferSyntax, match="jpeg-ls"):
        syntaxes.target(name)
