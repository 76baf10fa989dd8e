"""Which fragments belong to which frame: every way in use, and every way in which it goes wrong."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import generate_frames, parse_basic_offsets

import cinemill
from cinemill.dicom.compare import compare_elements
from cinemill.dicom.pixel_writers import EncapsulatedWriter
from cinemill.dicom.source import Source
from cinemill.errors import CodecError, DamagedFile, VerificationError
from cinemill.frames.icons import native_icons
from cinemill.storage.file import Sink
from tests.support.generate import (
    DELIMITER,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    JPEG_LS,
    RLE,
    encapsulated_element,
    encode,
    header,
    item,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
    split,
)

FRAMES = noise((5, 40, 50))
STREAMS = [jpeg_ls_stream(frame) for frame in FRAMES]
RLE_STREAMS = [rle_stream(frame) for frame in FRAMES]


def file_of(fragments, *, syntax=JPEG_LS, frames=FRAMES, after=b"", elements=None, **options):
    dataset = header(frames, **(elements or {}))
    return part10(dataset, encapsulated_element(fragments, **options), syntax, after=after)


def offsets(fragments):
    sizes = (sum(8 + len(f) + len(f) % 2 for f in frame) for frame in fragments)
    return [0, *itertools.accumulate(sizes)][: len(fragments)]


@pytest.mark.parametrize("table", ["basic", "empty", "extended"])
@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize(
    ("streams", "syntax"), [(STREAMS, JPEG_LS), (RLE_STREAMS, RLE)], ids=["jpeg-ls", "rle"]
)
def test_frames_in_fragments(transcode, table, pieces, streams, syntax):
    """Without a table, the marker at the start of each frame separates several fragments a frame."""
    source = file_of([split(stream, pieces) for stream in streams], table=table, syntax=syntax)
    assert np.array_equal(transcode(source, "explicit").reading.frames, FRAMES)


def test_frames_in_different_numbers_of_fragments(transcode):
    fragments = [split(stream, pieces) for stream, pieces in zip(STREAMS, (1, 4, 2, 1, 3), strict=True)]
    for table in ("basic", "empty", "extended"):
        assert np.array_equal(transcode(file_of(fragments, table=table), "explicit").reading.frames, FRAMES)


def test_one_frame_in_many_fragments(transcode):
    source = file_of([split(STREAMS[0], 9)], table="empty", frames=FRAMES[:1])
    assert np.array_equal(transcode(source, "explicit").reading.frames, FRAMES[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda right: [value + 2 for value in right], id="shifted"),
        pytest.param(lambda right: [0, *(value + 2 for value in right[1:])], id="shifted but for the first"),
        pytest.param(lambda right: [*right, right[-1] + 1000], id="extra entry"),
        pytest.param(lambda right: right[:-1], id="entry missing"),
        pytest.param(lambda right: [0] * len(right), id="all zero"),
        pytest.param(lambda right: [value + 8 for value in right], id="from the table's item"),
        pytest.param(lambda right: right[::-1], id="backwards"),
        pytest.param(lambda right: [right[0], right[2], right[1], *right[3:]], id="out of order"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_wrong_basic_offset_table_is_not_believed(transcode, wrong, pieces):
    fragments = [split(stream, pieces) for stream in STREAMS]
    result = transcode(file_of(fragments, entries=wrong(offsets(fragments))), "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("Basic Offset Table" in warning for warning in result.receipt.warnings)


def test_wrong_extended_offset_table_is_not_believed(transcode):
    right = file_of([[stream] for stream in STREAMS], table="extended")
    truth = np.array(offsets([[s] for s in STREAMS]), "<u8").tobytes()
    assert truth in right
    wrong = right.replace(truth, np.array([0, 10, 20, 30, 40], "<u8").tobytes())
    result = transcode(wrong, "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("Extended Offset Table" in warning for warning in result.receipt.warnings)


def test_a_fragment_may_begin_at_the_second_soi_of_a_spiff_header(transcode):
    """SPIFF's end of directory holds an SOI of its own: only what follows an EOI begins a frame."""
    spiff = b"\xff\xe8\0\x20SPIFF\0" + bytes(24) + b"\xff\xe8\0\x08\0\0\0\1"
    fragments = [[b"\xff\xd8" + spiff, stream] for stream in STREAMS]
    result = transcode(file_of(fragments, table="empty"), "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)


def test_offset_table_of_fragments_instead_of_frames(transcode):
    """Some writers list every fragment."""
    fragments = [split(stream, 2) for stream in STREAMS]
    flat = offsets([[piece] for frame in fragments for piece in frame])
    assert np.array_equal(transcode(file_of(fragments, entries=flat), "explicit").reading.frames, FRAMES)


def test_offset_table_of_as_many_fragments_as_there_are_frames(transcode):
    fragments = [split(stream, 2) for stream in STREAMS]
    flat = offsets([[piece] for frame in fragments for piece in frame])[: len(STREAMS)]
    result = transcode(file_of(fragments, entries=flat), "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("Basic Offset Table" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("table", ["basic", "empty"])
def test_trailing_empty_fragment_is_no_frame(transcode, table):
    fragments = [*([stream] for stream in STREAMS[:-1]), [STREAMS[-1], b""]]
    assert np.array_equal(transcode(file_of(fragments, table=table), "explicit").reading.frames, FRAMES)


def test_trailing_empty_fragment_is_no_frame_where_frames_have_no_marker(transcode):
    fragments = [*([frame.tobytes()] for frame in FRAMES[:-1]), [FRAMES[-1].tobytes(), b""]]
    source = file_of(fragments, table="empty", syntax=ENCAPSULATED_UNCOMPRESSED)
    assert np.array_equal(transcode(source, "explicit").reading.frames, FRAMES)


def test_empty_fragments_inside_a_frame_do_no_harm(transcode):
    fragments = [[stream[:100], b"", stream[100:]] for stream in STREAMS]
    for table in ("basic", "empty"):
        assert np.array_equal(transcode(file_of(fragments, table=table), "explicit").reading.frames, FRAMES)


def test_missing_sequence_delimiter_is_recovered_with_a_warning(transcode):
    result = transcode(file_of([[stream] for stream in STREAMS], delimiter=False), "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("delimiter" in warning for warning in result.receipt.warnings)
    assert (
        DELIMITER
        in transcode(file_of([[s] for s in STREAMS], delimiter=False), "htj2k").path.read_bytes()[-8:]
    )


def test_missing_sequence_delimiter_before_another_element(transcode):
    """An element of a higher group where an item is expected ends the pixel data."""
    after = struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 4) + bytes(4)
    result = transcode(file_of([[stream] for stream in STREAMS], delimiter=False, after=after), "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert result.dataset[0xFFFC, 0xFFFC].value == bytes(4)
    assert any("delimiter" in warning for warning in result.receipt.warnings)


def test_last_fragment_cut_short_fails(transcode):
    for cut in (1, 9, 100):
        source = file_of([[stream] for stream in STREAMS], delimiter=False)[:-cut]
        with pytest.raises(DamagedFile, match=r"\d+ bytes, \d+ are there"):
            transcode(source, "explicit")


@pytest.mark.parametrize("cut", range(1, 8))
def test_delimiter_cut_short_is_recovered(transcode, cut):
    result = transcode(file_of([[stream] for stream in STREAMS])[:-cut], "explicit")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("delimiter" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("table", ["basic", "empty"])
def test_fragments_of_odd_length_are_read_as_they_are(transcode, table):
    """PS3.5 §A.4 wants even lengths; the item length is still what counts."""
    odd = STREAMS[0] + bytes(1 - len(STREAMS[0]) % 2)
    assert len(odd) % 2 == 1
    head = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    entry = struct.pack("<HHL", 0xFFFE, 0xE000, len(odd)) + odd
    basic = np.array([0, len(entry)], "<u4").tobytes() if table == "basic" else b""
    frames = np.repeat(FRAMES[:1], 2, axis=0)
    source = part10(header(frames), head + item(basic) + entry * 2 + DELIMITER, JPEG_LS)
    assert np.array_equal(transcode(source, "explicit").reading.frames, frames)


@pytest.mark.parametrize("number", [1, 4, 6, 500])
@pytest.mark.parametrize("encapsulated", [True, False], ids=["encapsulated", "native"])
def test_wrong_number_of_frames_is_an_error_with_both_numbers(transcode, number, encapsulated):
    elements = {"NumberOfFrames": number}
    if encapsulated:
        source = file_of([[stream] for stream in STREAMS], table="empty", elements=elements)
    else:
        source = part10(header(FRAMES, **elements), native_element(native_bytes(FRAMES), EXPLICIT), EXPLICIT)
    for target in (
        "htj2k",
        "explicit" if encapsulated else "implicit",
        "jpeg-ls" if encapsulated else "explicit",
    ):
        with pytest.raises(DamagedFile, match=rf"\b{number} .*\b5\b"):
            transcode(source, target)
    assert (
        transcode(source, "jpeg-ls" if encapsulated else "explicit", repair=True).dataset.NumberOfFrames == 5
    )
    result = transcode(source, "htj2k", repair=True)
    assert np.array_equal(result.reading.frames, FRAMES)
    assert result.dataset.NumberOfFrames == 5
    assert any(f"{number} was corrected to 5" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("number", ["0", "-1", "", None, "1A", "5.0"])
@pytest.mark.parametrize("encapsulated", [True, False], ids=["encapsulated", "native"])
def test_number_of_frames_that_is_none(transcode, number, encapsulated):
    dataset = header(FRAMES, NumberOfFrames=None)
    value = (
        b"" if number is None else struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", len(number) + len(number) % 2)
    )
    value += (number or "").ljust(len(number or "") + len(number or "") % 2).encode()
    pixels = (
        encapsulated_element([[stream] for stream in STREAMS])
        if encapsulated
        else native_element(native_bytes(FRAMES), EXPLICIT)
    )
    syntax = JPEG_LS if encapsulated else EXPLICIT
    whole = part10(dataset, pixels, syntax)
    rows = encode(dataset, EXPLICIT).index(b"\x28\0\x10\0US")
    at = whole.index(encode(dataset, EXPLICIT)) + rows
    source = whole[:at] + value + whole[at:]
    with pytest.raises(DamagedFile):
        transcode(source, "htj2k")
    result = transcode(source, "htj2k", repair=True)
    assert np.array_equal(result.reading.frames, FRAMES)
    assert result.dataset.NumberOfFrames == 5


@pytest.mark.parametrize("number", ["0", "-1"])
def test_number_of_frames_that_is_none_is_no_one_either(transcode, number):
    source = file_of([[STREAMS[0]]], frames=FRAMES[:1], elements={"NumberOfFrames": number})
    with pytest.raises(DamagedFile, match=f"'{number}', expected a positive integer"):
        transcode(source, "explicit")
    for target in ("explicit", "jpeg-ls"):
        assert transcode(source, target, repair=True).dataset.NumberOfFrames == 1


@pytest.mark.parametrize("number", ["", None])
def test_absent_number_of_frames_means_one(transcode, number):
    frames = FRAMES[:1]
    source = part10(header(frames), encapsulated_element([split(STREAMS[0], 3)], table="empty"), JPEG_LS)
    if number == "":
        dataset = header(frames)
        dataset.NumberOfFrames = None
        dataset.add_new(0x00280008, "IS", "")
        source = part10(dataset, encapsulated_element([split(STREAMS[0], 3)], table="empty"), JPEG_LS)
    result = transcode(source, "explicit")
    assert np.array_equal(result.reading.frames, frames)
    assert result.dataset.get("NumberOfFrames") in {None, ""}


def test_repair_never_invents_frames(transcode):
    source = part10(header(FRAMES), native_element(native_bytes(FRAMES)[:-1], EXPLICIT)[:-1], EXPLICIT)
    with pytest.raises(DamagedFile):
        transcode(source, "jpeg-ls")


@pytest.mark.parametrize("missing", [2, 1000, 1999])
def test_native_data_cut_short_fails_with_both_numbers(transcode, missing):
    data = native_bytes(FRAMES)[:-missing]
    source = part10(header(FRAMES), native_element(data, EXPLICIT), EXPLICIT)
    for target in ("jpeg-ls", "implicit", "explicit"):
        with pytest.raises(DamagedFile, match=r"10000 bytes"):
            transcode(source, target)


def test_element_behind_the_pixel_data_is_kept(transcode):
    after = struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 6) + b"abcdef"
    for target in ("explicit", "htj2k", "jpeg-ls", "deflated"):
        result = transcode(file_of([[stream] for stream in STREAMS], after=after), target)
        assert np.array_equal(result.reading.frames, FRAMES)
        assert result.dataset[0xFFFC, 0xFFFC].value == b"abcdef"


def icon_header(syntax, rows=40, columns=50):
    item_ = Dataset()
    item_.SamplesPerPixel, item_.PhotometricInterpretation = 1, "MONOCHROME2"
    item_.Rows, item_.Columns = rows, columns
    item_.BitsAllocated, item_.BitsStored, item_.HighBit, item_.PixelRepresentation = 8, 8, 7, 0
    return encode(item_, syntax)


def icon(stream=None):
    """An 8 by 8 icon, encapsulated where a stream is given."""
    if stream:
        return icon_header(EXPLICIT) + encapsulated_element([[stream]])
    return icon_header(EXPLICIT, 8, 8) + native_element(bytes(range(64)), EXPLICIT, b"OB")


def sequence(tag, content, *, explicit_item, explicit_sequence):
    group, element = tag >> 16, tag & 0xFFFF
    length = len(content) if explicit_item else 0xFFFFFFFF
    entry = struct.pack("<HHL", 0xFFFE, 0xE000, length) + content
    entry += b"" if explicit_item else struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    total = len(entry) if explicit_sequence else 0xFFFFFFFF
    return (
        struct.pack("<HH2sHL", group, element, b"SQ", 0, total)
        + entry
        + (b"" if explicit_sequence else DELIMITER)
    )


@pytest.mark.parametrize("explicit_item", [True, False], ids=["item length", "item delimiter"])
@pytest.mark.parametrize("explicit_sequence", [True, False], ids=["sequence length", "sequence delimiter"])
@pytest.mark.parametrize("encapsulated", [True, False], ids=["encapsulated icon", "native icon"])
@pytest.mark.parametrize("tag", [0x00880200, 0x00091010], ids=["icon", "private"])
@pytest.mark.parametrize("target", ["explicit", "implicit", "htj2k", "jpeg-ls"])
def test_pixel_data_inside_items(transcode, explicit_item, explicit_sequence, encapsulated, tag, target):
    """An icon inside an encapsulated file may be native, and one with a stream of its own becomes native."""
    nested = sequence(
        tag,
        icon(STREAMS[0] if encapsulated else None),
        explicit_item=explicit_item,
        explicit_sequence=explicit_sequence,
    )
    creator = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 8) + b"CREATOR " if tag == 0x00091010 else b""
    plain = part10(header(FRAMES), encapsulated_element([[stream] for stream in STREAMS]), JPEG_LS)
    marker = b"\x28\0\x02\0US" if tag == 0x00091010 else b"\xe0\x7f\x10\0OB"
    at = plain.index(b"\x10\0\x10\0PN") if tag == 0x00091010 else plain.index(marker)
    result = transcode(plain[:at] + creator + nested + plain[at:], target)
    if target == "jpeg-ls":
        assert result.receipt.status == "copied"
        return
    assert np.array_equal(result.reading.frames, FRAMES)
    copied = result.dataset[tag]
    if tag == 0x00091010 and target == "implicit":
        assert copied.VR in {"SQ", "UN"}
        return
    found = copied.value[0]
    wanted = FRAMES[0].tobytes() if encapsulated else bytes(range(64))
    assert found.PixelData == wanted
    assert not found["PixelData"].is_undefined_length


def test_an_icon_is_compared_as_it_was_made_native_before_an_output_gets_its_name(tmp_path):
    nested = sequence(0x00880200, icon(STREAMS[0]), explicit_item=True, explicit_sequence=True)
    plain = part10(header(FRAMES), encapsulated_element([[stream] for stream in STREAMS]), JPEG_LS)
    at = plain.index(b"\xe0\x7f\x10\0OB")
    source = Source("in", data=plain[:at] + nested + plain[at:])
    written = tmp_path / "out.dcm"
    cinemill.transcode(bytes(source.data), written, to="explicit")
    data = written.read_bytes()
    compare_elements(source, Source("out", data=data), (), change_item=native_icons(source))
    icon_at = data.index(FRAMES[0].tobytes())
    damaged = data[:icon_at] + b"\0" * 9 + data[icon_at + 9 :]
    with pytest.raises(VerificationError, match=r"\(0088,0200\)"):
        compare_elements(source, Source("out", data=damaged), (), change_item=native_icons(source))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("vr", [b"OB", b"UN"])
@pytest.mark.parametrize("target", ["explicit", "implicit", "htj2k"])
def test_encapsulated_icon_in_a_sequence_that_is_unknown_to_its_writer(transcode, syntax, vr, target):
    """What stands in a sequence of VR UN is implicit VR (PS3.5 §6.2.2); some leave explicit VR in it."""
    pixels = encapsulated_element([[STREAMS[0]]]).replace(b"OB", vr, 1)
    pixels = pixels[:4] + pixels[8:] if syntax == IMPLICIT else pixels
    nested = icon_header(syntax) + pixels
    nested = struct.pack("<HHL", 0xFFFE, 0xE000, len(nested)) + nested
    nested = b"\x88\0\0\2UN\0\0\xff\xff\xff\xff" + nested + DELIMITER
    plain = part10(header(FRAMES), encapsulated_element([[stream] for stream in STREAMS]), JPEG_LS)
    at = plain.index(b"\xe0\x7f\x10\0OB")
    result = transcode(plain[:at] + nested + plain[at:], target)
    assert result.dataset.IconImageSequence[0].PixelData == FRAMES[0].tobytes()


@pytest.mark.parametrize("stream", [STREAMS[0][:100], b"no codestream"])
@pytest.mark.parametrize("target", ["explicit", "implicit", "htj2k"])
def test_icon_that_does_not_decode_is_named(transcode, stream, target):
    nested = sequence(0x00880200, icon(stream), explicit_item=True, explicit_sequence=True)
    plain = part10(header(FRAMES), encapsulated_element([[stream] for stream in STREAMS]), JPEG_LS)
    at = plain.index(b"\xe0\x7f\x10\0OB")
    with pytest.raises(CodecError, match="icon"):
        transcode(plain[:at] + nested + plain[at:], target)


def test_offset_table_written_is_right(transcode):
    for target in ("jpeg-ls", "rle", "htj2k"):
        source = part10(header(FRAMES), native_element(native_bytes(FRAMES), EXPLICIT), EXPLICIT)
        result = transcode(source, target)
        data = result.dataset.PixelData
        table = parse_basic_offsets(data)
        assert len(table) == 5
        start = 8 + 4 * 5
        for entry in table:
            assert data[start + entry :][:4] == b"\xfe\xff\x00\xe0"
        lengths = [struct.unpack_from("<L", data, start + entry + 4)[0] for entry in table]
        assert all(length % 2 == 0 for length in lengths)
        assert table == offsets([[bytes(length)] for length in lengths]), "one fragment a frame"
        assert "ExtendedOffsetTable" not in result.dataset


def test_extended_offset_table_is_written_where_a_basic_one_cannot_reach(tmp_path):
    path = tmp_path / "output.dcm"
    whole = part10(header(FRAMES), b"", JPEG_LS)
    with Sink(path) as sink:
        sink.write(whole)
        writer = EncapsulatedWriter(sink, 5, 5 << 30)
        for stream in STREAMS:
            writer.add(stream)
        writer.end()
        sink.finish()
        sink.commit()
    dataset = pydicom.dcmread(path)
    assert parse_basic_offsets(dataset.PixelData) == []
    tables = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    assert np.array_equal(np.frombuffer(tables[0], "<u8"), offsets([[s] for s in STREAMS]))
    found = list(generate_frames(dataset.PixelData, number_of_frames=5, extended_offsets=tables))
    assert [frame[: len(stream)] for frame, stream in zip(found, STREAMS, strict=True)] == STREAMS
    assert np.array_equal(list(cinemill.open(path)), FRAMES)


def test_tables_of_the_source_do_not_survive_in_the_output(transcode):
    result = transcode(file_of([[stream] for stream in STREAMS], table="extended"), "htj2k")
    assert "ExtendedOffsetTable" not in result.dataset
    assert "ExtendedOffsetTableLengths" not in result.dataset
    native = transcode(file_of([[stream] for stream in STREAMS], table="extended"), "explicit")
    assert "ExtendedOffsetTable" not in native.dataset


def test_frame_beyond_4_gib_is_found(tmp_path):
    """A sparse file: two fragments of 2.5 GiB in front of the last frame."""
    path = tmp_path / "large.dcm"
    whole = part10(header(FRAMES[:3]), b"", JPEG_LS)
    hole = 5 << 29
    starts = [0, hole + 8, 2 * (hole + 8)]
    tables = b""
    for tag, values in ((1, starts), (2, [hole, hole, len(STREAMS[2])])):
        tables += struct.pack("<HH2sHL", 0x7FE0, tag, b"OV", 0, 24) + np.array(values, "<u8").tobytes()
    with path.open("wb") as file:
        file.write(whole + tables + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + item(b""))
        for stream in STREAMS[:2]:
            file.write(struct.pack("<HHL", 0xFFFE, 0xE000, hole) + stream)
            file.seek(hole - len(stream), 1)
        file.write(item(STREAMS[2]) + DELIMITER)
    with Source(path) as source:
        assert len(source) == 3
        assert bytes(source.frame(2))[: len(STREAMS[2])] == STREAMS[2]
        assert source.warnings == []


def test_native_frame_beyond_2_gib_is_found(tmp_path):
    """A sparse file of 3 GiB of native frames."""
    path = tmp_path / "large.dcm"
    number = 3 << 20
    frames = np.zeros((1, 32, 32), np.uint8)
    head = part10(header(frames, NumberOfFrames=number), b"", EXPLICIT)
    with path.open("wb") as file:
        file.write(head + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, number * 1024))
        file.seek(1024 * (number - 1), 1)
        file.write(noise((32, 32)).tobytes())
    cine = cinemill.open(path)
    assert len(cine) == number
    assert np.array_equal(cine[-1], noise((32, 32)))
    assert not cine[0].any()


def test_native_pixel_data_under_an_encapsulated_syntax_is_refused(transcode):
    source = part10(header(FRAMES), native_element(native_bytes(FRAMES), EXPLICIT), JPEG_BASELINE)
    with pytest.raises(DamagedFile, match="not encapsulated"):
        transcode(source, "jpeg-ls")


def test_encapsulated_pixel_data_under_a_native_syntax_is_refused(transcode):
    source = part10(header(FRAMES), encapsulated_element([[stream] for stream in STREAMS]), EXPLICIT)
    with pytest.raises(DamagedFile, match="encapsulated"):
        transcode(source, "jpeg-ls")


def test_repair_of_no_fragments_at_all_fails(transcode):
    for repair in (False, True):
        with pytest.raises(DamagedFile, match="5 frames are promised, 0 found in 0 fragments"):
            transcode(file_of([], table="empty"), "explicit", repair=repair)
