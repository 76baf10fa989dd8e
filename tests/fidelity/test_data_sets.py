"""Data sets as others encode them: contrary encodings, wrong lengths, and what stands where nothing should."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest

import cinemill
from cinemill.errors import DamagedFile, UnsupportedTransferSyntax
from tests.support.generate import (
    BIG_ENDIAN,
    DELIMITER,
    EXPLICIT,
    IMPLICIT,
    JPEG_LS,
    encapsulated_element,
    encode,
    header,
    item,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
)

FRAMES = noise((2, 40, 50))
NATIVE = part10(header(FRAMES), native_element(native_bytes(FRAMES), EXPLICIT), EXPLICIT)
ENCAPSULATED = part10(
    header(FRAMES), encapsulated_element([[jpeg_ls_stream(frame)] for frame in FRAMES]), JPEG_LS
)
BOTH = pytest.mark.parametrize("whole", [NATIVE, ENCAPSULATED], ids=["native", "encapsulated"])


def explicit(tag, vr, value, length=None):
    length = len(value) if length is None else length
    if vr in {b"OB", b"SQ", b"UN"}:
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length) + value


def implicit(tag, value, length=None):
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def with_elements(extra, syntax=EXPLICIT):
    """Insert raw elements in front of the group that describes the pixels."""
    encoded = encode(header(FRAMES), syntax)
    whole = part10(header(FRAMES), native_element(native_bytes(FRAMES), syntax), syntax)
    at = whole.index(encoded) + encoded.index(b"\0\x28\0\x02" if syntax == BIG_ENDIAN else b"\x28\0\x02\0")
    return whole[:at] + extra + whole[at:]


REFERENCES = {0x00081150: b"1.2.3\0", 0x00081155: b"1.2.3.4\0"}
IN_EXPLICIT = b"".join(explicit(tag, b"UI", value) for tag, value in REFERENCES.items())
IN_IMPLICIT = b"".join(implicit(tag, value) for tag, value in REFERENCES.items())


@pytest.mark.parametrize("target", ["jpeg-ls", "rle", "explicit", "deflated"])
def test_odd_length_in_implicit_vr_is_padded(transcode, target):
    """PS3.5 §7.1.1 wants even lengths; the value stays what it was."""
    result = transcode(with_elements(implicit(0x00104000, b"odd"), IMPLICIT), target)
    assert result.dataset.PatientComments == "odd"
    assert np.array_equal(result.reading.frames, FRAMES)


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "rle"])
@pytest.mark.parametrize("samples", ["grey", "by pixel", "by plane"])
def test_words_may_begin_at_an_odd_byte(transcode, samples, target):
    """An element of odd length before them moves 16-bit samples to where no word would begin."""
    frames = noise((2, 9, 11) if samples == "grey" else (2, 9, 11, 3), 16)
    label, count = ("MONOCHROME2", 1) if samples == "grey" else ("RGB", 3)
    dataset = header(frames, label, samples=count)
    if samples == "by plane":
        dataset.PlanarConfiguration = 1
    data = native_bytes(frames, planar=samples == "by plane")
    odd = explicit(0x00321000, b"LO", b"odd")
    source = part10(dataset, odd + native_element(data, EXPLICIT), EXPLICIT)
    assert source.index(data) % 2
    assert np.array_equal(transcode(source, target).reading.frames, frames)


@pytest.mark.parametrize("undefined", [False, True], ids=["item length", "item delimiter"])
@pytest.mark.parametrize("elements", [1, 2])
@pytest.mark.parametrize(
    ("syntax", "target"),
    [
        *((EXPLICIT, target) for target in ("jpeg-ls", "deflated", "implicit")),
        *((IMPLICIT, target) for target in ("jpeg-ls", "deflated", "explicit")),
    ],
)
def test_items_may_be_encoded_contrary_to_their_data_set(transcode, undefined, elements, syntax, target):
    """Some writers leave explicit VR in items of an implicit VR data set, or the reverse."""
    if elements == 1:
        content = implicit(0x00081155, b"1.2.3.4\0") if syntax == EXPLICIT else IN_EXPLICIT[14:]
    else:
        content = IN_IMPLICIT if syntax == EXPLICIT else IN_EXPLICIT
    entry = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(content)) + content
    entry += struct.pack("<HHL", 0xFFFE, 0xE00D, 0) if undefined else b""
    sequence = (
        explicit(0x00081140, b"SQ", entry + DELIMITER, 0xFFFFFFFF)
        if syntax == EXPLICIT
        else implicit(0x00081140, entry + DELIMITER, 0xFFFFFFFF)
    )
    result = transcode(with_elements(sequence, syntax), target)
    (reference,) = result.dataset.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.3.4"
    assert len(reference) == elements
    assert np.array_equal(result.reading.frames, FRAMES)


@pytest.mark.parametrize("target", ["jpeg-ls", "explicit", "implicit"])
def test_dictionary_does_not_know_that_an_element_is_a_sequence(transcode, target):
    """Makers reuse private elements: pydicom's dictionary has SL here."""
    elements = implicit(0x00190010, b"GEMS_ACQU_01") + implicit(
        0x00191002, item(IN_IMPLICIT) + DELIMITER, 0xFFFFFFFF
    )
    result = transcode(with_elements(elements, IMPLICIT), target)
    written = result.dataset[0x0019, 0x1002]
    assert written.VR == "SQ"
    assert written.value[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize(
    ("creator", "tag", "value", "vr"),
    [
        (b"SIEMENS MR HEADER ", 0x0051100E, b"Tra ", "SH"),
        (b"SIEMENS MR HEADER ", 0x0051100E, b"Tra>Cor(-22.4)>Sag(1.5) ", "UN"),
        (b"SIEMENS MR HEADER ", 0x0051100E, "Ω".encode() * 16, "SH"),
        (b"GEMS_ACQU_01", 0x00191002, b"\1\0\0\0", "SL"),
        (b"GEMS_ACQU_01", 0x00191002, b"\1\0", "UN"),
    ],
)
def test_a_private_value_that_does_not_fit_its_vr_in_the_dictionary_is_unknown(
    transcode, creator, tag, value, vr
):
    """Scanners write LO where others have seen SH."""
    block = implicit(tag & 0xFFFF0000 | 0x10, creator)
    written = transcode(with_elements(block + implicit(tag, value), IMPLICIT), "explicit").path.read_bytes()
    assert explicit(tag, vr.encode(), value) in written


@pytest.mark.parametrize("content", [IN_EXPLICIT, IN_IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("vr", [b"UN", b"OB", b"RQ"])
def test_sequence_of_unknown_vr_is_one_in_implicit_vr(transcode, vr, content):
    """Where no VR is written, the dictionary says that it is a sequence: its items are encoded as all others are."""
    value = item(content)
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, vr, 0, len(value)) + value
    assert sequence in transcode(with_elements(sequence), "jpeg-ls").path.read_bytes()
    written = transcode(with_elements(sequence), "implicit").path.read_bytes()
    assert implicit(0x00081140, item(IN_IMPLICIT)) in written


def test_sequence_of_unknown_vr_that_holds_no_items_stays_as_it_is(transcode):
    written = transcode(with_elements(explicit(0x00081140, b"UN", b"garbage!")), "implicit").path.read_bytes()
    assert implicit(0x00081140, b"garbage!") in written


def test_group_lengths_in_items_are_no_difference(transcode):
    entry = item(implicit(0x00080000, b"\x63\0\0\0") + IN_IMPLICIT)
    for target in ("jpeg-ls", "explicit"):
        result = transcode(with_elements(implicit(0x00081140, entry), IMPLICIT), target)
        assert result.dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("content", [b"garbage!", b"abcd", item(b"")[:4] + b"\x99\0\0\0" + IN_EXPLICIT])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_sequence_that_holds_no_items_is_copied(transcode, content, syntax):
    """In implicit VR its value is all that is known, which explicit VR can say as UN (PS3.5 §6.2.2)."""
    sequence = explicit(0x00081140, b"SQ", content) if syntax == EXPLICIT else implicit(0x00081140, content)
    result = transcode(with_elements(sequence, syntax), "jpeg-ls")
    written = sequence if syntax == EXPLICIT else explicit(0x00081140, b"UN", content)
    assert written in result.path.read_bytes()
    if syntax == EXPLICIT:
        with pytest.raises(DamagedFile):
            transcode(with_elements(sequence), "implicit")


@pytest.mark.parametrize("vr", [b"??", b"\0\0", b"  ", b"lo"])
def test_vr_that_can_be_none_has_a_short_length(transcode, vr):
    """Unknown VRs of two capital letters have 32-bit lengths (PS3.5 §7.1.2), other codes in practice don't."""
    strange = struct.pack("<HH2sH", 0x0011, 0x1030, vr, 4) + b"abcd"
    assert strange in transcode(with_elements(strange), "jpeg-ls").path.read_bytes()
    there = transcode(with_elements(strange), "implicit")
    assert there.dataset[0x0011, 0x1030].value == b"abcd"
    assert np.array_equal(there.reading.frames, FRAMES)


def test_fragments_outside_pixel_data_are_not_forced_into_implicit_vr(transcode):
    fragments = explicit(0x00091001, b"OB", item(b"") + item(b"abcd") + DELIMITER, 0xFFFFFFFF)
    assert fragments in transcode(with_elements(fragments), "jpeg-ls").path.read_bytes()
    with pytest.raises(UnsupportedTransferSyntax, match=r"\(0009,1001\) is made of fragments"):
        transcode(with_elements(fragments), "implicit")


@BOTH
@pytest.mark.parametrize(
    "junk", [b"\n", b"\xff" * 512, b"\r\n--boundary--\r\n", b"        ", noise((1000,)).tobytes()]
)
def test_what_is_no_element_behind_the_pixel_data(transcode, whole, junk):
    """It may be the rest of a damaged element: only --repair leaves it out."""
    for target in ("jpeg-ls", "jpeg-2000", "explicit"):
        with pytest.raises(DamagedFile, match=rf"{len(junk)} bytes .* behind the pixel data,.*--repair"):
            transcode(whole + junk, target)
    for target in ("jpeg-ls", "jpeg-2000", "explicit"):
        result = transcode(whole + junk, target, repair=True)
        assert np.array_equal(result.reading.frames, FRAMES)
        assert any("left out" in warning for warning in result.receipt.warnings)
        assert not result.path.read_bytes().endswith(junk)


@BOTH
@pytest.mark.parametrize("junk", [DELIMITER, struct.pack("<HHL", 0xFFFE, 0xE00D, 0)])
def test_stray_delimiters_are_left_out(transcode, whole, junk):
    for target in ("jpeg-2000", "implicit"):
        result = transcode(whole + junk, target)
        assert np.array_equal(result.reading.frames, FRAMES)
        assert not any(element.tag.group == 0xFFFE for element in result.dataset)
        assert not result.path.read_bytes().endswith(2 * DELIMITER)
        assert any("delimiters" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("tag", [0xE000, 0xE00D])
def test_what_an_item_outside_any_sequence_holds_is_not_lost_unsaid(transcode, tag):
    """The header of its sequence got lost; its elements may be all there are."""
    stray = with_elements(struct.pack("<HHL", 0xFFFE, tag, len(IN_EXPLICIT)) + IN_EXPLICIT)
    assert transcode(stray, "explicit").path.read_bytes() == stray
    for target in ("jpeg-ls", "implicit"):
        with pytest.raises(DamagedFile, match=rf"{len(IN_EXPLICIT)} bytes at byte .* outside any .*--repair"):
            transcode(stray, target)
    for target in ("jpeg-ls", "implicit", "explicit"):
        result = transcode(stray, target, repair=True)
        assert IN_EXPLICIT not in result.path.read_bytes()
        assert any(f"{len(IN_EXPLICIT)} bytes" in warning for warning in result.receipt.warnings)
        assert np.array_equal(result.reading.frames, FRAMES)
    with cinemill.open(stray) as cine:
        assert np.array_equal(cine.decode([0, 1]), FRAMES)


@pytest.mark.parametrize("held", [b"", item(IN_EXPLICIT)], ids=["nothing", "an item"])
@pytest.mark.parametrize("rest", [b"", b"behind it"[:8]])
def test_sequence_of_known_length_may_end_with_a_delimiter(transcode, held, rest):
    """It ends there for readers; the bytes stay."""
    sequence = explicit(0x00081140, b"SQ", held + DELIMITER + rest)
    written = transcode(with_elements(sequence), "implicit").path.read_bytes()
    assert implicit(0x00081140, (item(IN_IMPLICIT) if held else b"") + DELIMITER + rest) in written
    there = implicit(0x00081140, (item(IN_IMPLICIT) if held else b"") + DELIMITER + rest)
    assert sequence in transcode(with_elements(there, IMPLICIT), "jpeg-ls").path.read_bytes()


def test_big_endian_delimiter_of_a_sequence_of_known_length(transcode):
    sequence = struct.pack(">HH2sHL", 8, 0x1140, b"SQ", 0, 8) + struct.pack(">HHL", 0xFFFE, 0xE0DD, 0)
    for target in ("jpeg-ls", "explicit"):
        written = transcode(with_elements(sequence, BIG_ENDIAN), target).path.read_bytes()
        assert explicit(0x00081140, b"SQ", DELIMITER) in written


def test_sequence_of_unknown_vr_that_holds_its_delimiter_alone(transcode):
    """Some gateways make UN of defined length of an empty sequence of undefined length."""
    sequence = explicit(0x00081140, b"UN", DELIMITER)
    assert sequence in transcode(with_elements(sequence), "jpeg-ls").path.read_bytes()
    written = transcode(with_elements(sequence), "implicit").path.read_bytes()
    assert implicit(0x00081140, DELIMITER) in written


def test_item_of_known_length_may_end_with_a_delimiter(transcode):
    end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    sequence = implicit(0x00081140, item(IN_IMPLICIT + end))
    for target in ("jpeg-ls", "explicit"):
        result = transcode(with_elements(sequence, IMPLICIT), target)
        assert explicit(0x00081140, b"SQ", item(IN_EXPLICIT + end)) in result.path.read_bytes()
        assert np.array_equal(result.reading.frames, FRAMES)


@pytest.mark.parametrize(
    "second",
    [
        native_element(native_bytes(FRAMES), EXPLICIT),
        native_element(bytes(16), EXPLICIT, b"OF", 0x7FE00008),
    ],
    ids=["Pixel Data", "Float Pixel Data"],
)
@BOTH
def test_pixel_data_twice_is_refused(transcode, whole, second):
    for target in ("jpeg-ls", "jpeg-2000", "explicit"):
        with pytest.raises(DamagedFile, match="twice"):
            transcode(whole + second, target)


def test_prefix_without_a_preamble(transcode):
    result = transcode(NATIVE[128:], "jpeg-ls")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("preamble" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize(
    ("keyword", "frames"),
    [("PixelRepresentation", FRAMES), ("PlanarConfiguration", noise((1, 5, 7, 3)))],
)
def test_flag_that_is_neither_0_nor_1_is_an_error(transcode, keyword, frames):
    colour = frames.ndim == 4
    wrong: dict[str, Any] = {keyword: 2}
    dataset = header(frames, "RGB" if colour else "MONOCHROME2", samples=3 if colour else 1, **wrong)
    with pytest.raises(DamagedFile, match="is 2, expected 0 or 1"):
        transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), "jpeg-ls")


def test_codestreams_without_a_transfer_syntax_are_an_error(transcode):
    bare = ENCAPSULATED[ENCAPSULATED.index(encode(header(FRAMES), EXPLICIT)) :]
    with pytest.raises(DamagedFile, match="no transfer syntax is given"):
        transcode(bare, "explicit")


def test_file_meta_information_in_the_data_set_is_an_error(transcode):
    extra = explicit(0x00020010, b"UI", b"1.2.840.10008.1.2.4.80")
    for target in ("jpeg-ls", "explicit", "implicit"):
        with pytest.raises(DamagedFile, match=r"\(0002,0010\) of the File Meta Information stands in the"):
            transcode(with_elements(extra), target)


@pytest.mark.parametrize("missing", ["Rows", "Columns", "BitsAllocated"])
def test_image_without_a_description_is_not_even_copied(source, tmp_path, missing):
    absent: dict[str, Any] = {missing: None}
    dataset = header(FRAMES, **absent)
    streams = [[jpeg_ls_stream(frame)] for frame in FRAMES]
    path = source(part10(dataset, encapsulated_element(streams), JPEG_LS))
    with pytest.raises(DamagedFile, match="is absent"):
        cinemill.transcode(path, tmp_path / "output.dcm", to="jpeg-ls")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source.dcm"]


def test_nested_sequences_are_walked_once_and_not_again_for_each_level_above(transcode, monkeypatch):
    """A small file of deep sequences with much in the deepest one took minutes."""
    from cinemill.dicom import elements

    read = []

    def counted(*arguments):
        read.append(arguments[1])
        return read_header(*arguments)

    read_header = elements.read_header
    monkeypatch.setattr(elements, "read_header", counted)
    nested = implicit(0x00081155, b"1.2.3.4\0") * 500
    for _ in range(60):
        start = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
        nested = implicit(0x00081140, start + nested + end + DELIMITER, 0xFFFFFFFF)
    result = transcode(with_elements(nested, IMPLICIT), "jpeg-ls")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert max(Counter(read).values()) < 40


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_empty_pixel_data_without_rows_and_columns_is_no_image(transcode, syntax):
    plan = header(FRAMES, Rows=0, Columns=0, NumberOfFrames=None, sop_class="1.2.840.10008.5.1.4.1.1.481.3")
    whole = part10(plan, native_element(b"", syntax), syntax)
    made = transcode(whole, "jpeg-ls")
    assert (made.receipt.status, made.receipt.reason) == ("copied", "no-image")
    assert made.path.read_bytes() == whole


@pytest.mark.parametrize("extent", [{"Rows": 40}, {"Columns": 50}, {"Rows": 40, "Columns": 50}])
def test_empty_pixel_data_of_an_image_is_an_error(transcode, extent):
    dataset = header(FRAMES, **{"Rows": 0, "Columns": 0, **extent})
    with pytest.raises(DamagedFile):
        transcode(part10(dataset, native_element(b"", EXPLICIT), EXPLICIT), "jpeg-ls")
