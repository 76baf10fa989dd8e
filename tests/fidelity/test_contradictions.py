"""Where header, codestream and viewers contradict each other, the receipt tells it: of transcoded, copied and split instances."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import cinemill
from cinemill.cli import app
from tests.support.generate import (
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSY,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    RLE,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls_stream,
    native_element,
    noise,
    part10,
    rle_stream,
    smooth,
    without_segments,
)

COLOUR = noise((2, 33, 46, 3))


def file_of(streams, label, syntax, frames=COLOUR, **elements):
    dataset = header(frames, label, samples=3, **elements)
    return part10(dataset, encapsulated_element([[stream] for stream in streams]), syntax)


def told(receipt, *words):
    """Warnings that have all these words."""
    return [warning for warning in receipt.warnings if all(word in warning for word in words)]


@pytest.mark.parametrize("target", ["jpeg-2000", "jpeg-ls", "htj2k", "explicit"])
@pytest.mark.parametrize(("encode", "syntax"), [(jpeg_2000, JPEG_2000), (htj2k, HTJ2K)])
@pytest.mark.parametrize(
    ("label", "warned"), [("YBR_ICT", True), ("RGB", True), ("YBR_FULL", True), ("YBR_RCT", False)]
)
def test_the_component_transform_of_a_reversible_codestream_is_called_rct(
    transcode, label, warned, encode, syntax, target
):
    data = file_of([encode(frame) for frame in COLOUR], label, syntax)
    result = transcode(data, target, colour="keep")
    assert np.array_equal(result.reading.frames, COLOUR)
    assert bool(told(result.receipt, f"is {label}")) == warned


@pytest.mark.parametrize(("label", "warned"), [("YBR_RCT", True), ("YBR_ICT", False)])
def test_the_component_transform_of_an_irreversible_codestream_is_called_ict(transcode, label, warned):
    frames = np.stack([smooth((64, 64, 3))])
    data = file_of([jpeg_2000(frames[0], level=40)], label, JPEG_2000_LOSSY, frames)
    result = transcode(data, "explicit")
    assert bool(told(result.receipt, "YBR_RCT", "irreversible")) == warned


def named(ids, stream, marker):
    """Give the components of a JPEG or JPEG-LS codestream other identifiers, in frame and scan headers."""
    changed, at = bytearray(stream), stream.index(marker)
    for number, one in enumerate(ids):
        changed[at + 10 + 3 * number] = one
    scan = stream.index(b"\xff\xda", at)
    for number, one in enumerate(ids):
        changed[scan + 5 + 2 * number] = one
    return bytes(changed)


def lossless(ids, frame):
    return named(ids, without_segments(jpeg_lossless(frame, 8)), b"\xff\xc3")


def near(ids, frame):
    return named(ids, jpeg_ls_stream(frame, interleave=2), b"\xff\xf7")


@pytest.mark.parametrize("target", ["jpeg-ls", "explicit", "jpeg-2000"])
@pytest.mark.parametrize(("encode", "syntax"), [(lossless, JPEG_LOSSLESS_SV1), (near, JPEG_LS)])
@pytest.mark.parametrize(
    ("label", "ids", "warned"),
    [
        ("YBR_FULL", b"RGB", True),
        ("RGB", b"RGB", False),
        ("YBR_FULL", b"\1\2\3", False),
        ("RGB", b"\1\2\3", False),
    ],
)
def test_component_ids_rgb_under_another_label_are_told(
    transcode, label, ids, warned, encode, syntax, target
):
    """Lossless encoders name components without regard to the label, which is what counts (it was so before)."""
    data = file_of([encode(ids, frame) for frame in COLOUR], label, syntax)
    result = transcode(data, target, colour="keep")
    assert np.array_equal(result.reading.frames, COLOUR)
    assert bool(told(result.receipt, "speak of RGB", "YBR_FULL")) == warned


@pytest.mark.parametrize("transform", [0, 1])
@pytest.mark.parametrize("label", ["RGB", "YBR_FULL"])
def test_the_adobe_marker_of_a_lossless_jpeg_is_compared_with_the_label(transcode, label, transform):
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    streams = [b"\xff\xd8" + adobe + lossless(b"\1\2\3", frame)[2:] for frame in COLOUR]
    result = transcode(file_of(streams, label, JPEG_LOSSLESS_SV1), "explicit", colour="keep")
    assert result.dataset.PhotometricInterpretation == label
    assert bool(told(result.receipt, "speak of")) == ((label == "RGB") != (transform == 0))


@pytest.mark.parametrize(
    ("header_says", "stream", "syntax", "words"),
    [
        ("01", jpeg_2000, JPEG_2000, ("01", "lossy before")),
        ("01", rle_stream, RLE, ("01", "lossy before")),
        ("00", jpeg, JPEG_BASELINE, ("00", "codestreams are lossy")),
        ("00", jpeg_2000, JPEG_2000, ()),
        ("01", jpeg, JPEG_BASELINE, ()),
    ],
)
def test_lossy_codestreams_and_lossy_history_are_told_apart(transcode, header_says, stream, syntax, words):
    label = "YBR_FULL_422" if stream is jpeg else "YBR_RCT" if stream is jpeg_2000 else "RGB"
    data = file_of([stream(frame) for frame in COLOUR], label, syntax, LossyImageCompression=header_says)
    receipt = transcode(data, "jpeg-ls").receipt
    assert receipt.lossy_source == (stream is jpeg)
    assert receipt.lossy_history == (header_says == "01")
    assert bool(told(receipt, "Lossy Image Compression")) == bool(words)
    assert told(receipt, *words) or not words


def native_422(label="YBR_FULL_422", syntax=EXPLICIT):
    dataset = header(np.zeros((2, 4, 6, 3), np.uint8), label, samples=3, sop_class=ULTRASOUND_CINE)
    return part10(dataset, native_element(noise((2, 4, 6, 2)).tobytes(), syntax, b"OB"), syntax)


@pytest.mark.parametrize("colour", ["auto", "keep"])
@pytest.mark.parametrize(
    ("data", "target", "words"),
    [
        (native_422(), "explicit", "YBR_FULL_422 stays native"),
        (native_422(), "implicit", "YBR_FULL_422 stays native"),
        (native_422(syntax=IMPLICIT), "explicit", "YBR_FULL_422 stays native"),
        (
            file_of([jpeg_ls_stream(f, interleave=2) for f in COLOUR], "YBR_FULL", JPEG_LS),
            "jpeg-ls",
            "YBR_FULL stays in JPEG-LS",
        ),
        (file_of(map(rle_stream, COLOUR), "YBR_FULL", RLE), "rle", "YBR_FULL stays in RLE"),
    ],
    ids=["copied", "recoded", "recoded from implicit", "JPEG-LS", "RLE"],
)
def test_what_viewers_show_wrongly_is_told_when_it_is_carried_over(
    transcode, tmp_path, data, target, words, colour
):
    result = transcode(data, target, colour=colour)
    assert told(result.receipt, words, "--colour rgb")
    converted = transcode(data, target, colour="rgb")
    assert converted.dataset.PhotometricInterpretation == "RGB"
    assert not told(converted.receipt, words)
    parts = cinemill.split(tmp_path / "source.dcm", tmp_path / "parts", frames_per_instance=1)
    assert all(told(part, words) for part in parts)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL"])
def test_contradictions_of_copied_codestreams_are_told_too(transcode, label):
    result = transcode(file_of([jpeg_2000(frame) for frame in COLOUR], "YBR_ICT", JPEG_2000), "jpeg-2000")
    assert result.receipt.status == "copied"
    assert told(result.receipt, "YBR_ICT", "YBR_RCT")
    plain = transcode(file_of([jpeg_2000(frame) for frame in COLOUR], "YBR_RCT", JPEG_2000), "jpeg-2000")
    assert not plain.receipt.warnings
    damaged = transcode(file_of([b"no codestream"] * 2, label, JPEG_LS), "jpeg-ls")
    assert damaged.receipt.status == "copied"


def test_packed_bits_in_copied_rle_are_told(transcode):
    frames = noise((2, 5, 7), 1)
    streams = [[rle_stream(np.packbits(frame, bitorder="little")[None])] for frame in frames]
    dataset = header(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    result = transcode(part10(dataset, encapsulated_element(streams), RLE), "rle")
    assert told(result.receipt, "eight 1-bit pixels a byte")


def test_report_and_command_line_tell_them(tmp_path):
    source = tmp_path / "source.dcm"
    source.write_bytes(
        file_of([jpeg_2000(f) for f in COLOUR], "YBR_ICT", JPEG_2000, LossyImageCompression="01")
    )
    report = tmp_path / "report.jsonl"
    arguments = ["transcode", source, tmp_path / "out.dcm", "--to", "jpeg-ls", "--report", report]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    row = json.loads(report.read_text().splitlines()[0])
    assert (row["lossy_source"], row["lossy_history"]) == (False, True)
    for word in ("YBR_ICT", "Lossy Image Compression"):
        assert any(word in warning for warning in row["warnings"])
        assert word in " ".join(result.output.split())
