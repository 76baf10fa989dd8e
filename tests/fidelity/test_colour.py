"""The codestream decides the colour, not the label; the label written describes the bytes written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels import convert_color_space

from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.support import oracle
from tests.support.generate import (
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT,
    HTJ2K,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LS,
    RLE,
    SECONDARY_CAPTURE,
    ULTRASOUND,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
    smooth,
    without_segments,
)

COLOUR = smooth((33, 47, 3))[None]
ENDOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.1"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
TRUE_COLOUR_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.4"


def encapsulated(streams, label, syntax, *, frames=None, sop_class=SECONDARY_CAPTURE, **elements):
    described = np.repeat(COLOUR, len(streams), axis=0) if frames is None else frames
    dataset = header(
        described, label, samples=3 if described.ndim == 4 else 1, sop_class=sop_class, **elements
    )
    return part10(dataset, encapsulated_element([[stream] for stream in streams]), syntax)


def codestreams(dataset):
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))))


def coded_samples(stream):
    rows, columns, samples = COLOUR.shape[1:]
    return oracle._decode(stream, oracle._Shape(rows, columns, samples, 8, 8, signed=False, planar=False))


@pytest.mark.parametrize(
    ("stream", "label", "truth"),
    [
        pytest.param(jpeg(COLOUR[0]), "RGB", "YBR_FULL", id="JFIF labelled RGB"),
        pytest.param(jpeg(COLOUR[0], keep_rgb=True), "YBR_FULL_422", "RGB", id="Adobe RGB labelled YBR"),
        pytest.param(
            without_segments(jpeg(COLOUR[0], keep_rgb=True)),
            "YBR_FULL",
            "RGB",
            id="component ids RGB labelled YBR",
        ),
        pytest.param(without_segments(jpeg(COLOUR[0])), "RGB", "YBR_FULL", id="subsampled labelled RGB"),
    ],
)
@pytest.mark.parametrize("target", ["explicit", "jpeg-ls", "htj2k"])
def test_markers_of_jpeg_overrule_the_label(transcode, stream, label, truth, target):
    result = transcode(encapsulated([stream], label, JPEG_BASELINE), target, colour="rgb")
    samples = coded_samples(stream)
    expected = convert_color_space(samples, "YBR_FULL", "RGB") if truth == "YBR_FULL" else samples
    assert np.array_equal(result.reading.frames[0], expected)
    assert result.reading.interpretation == "RGB"
    assert any(label in warning and truth in warning for warning in result.receipt.warnings)


def test_label_is_believed_where_jpeg_tells_nothing(transcode):
    stream = without_segments(jpeg(COLOUR[0], subsampling=0))
    for label in ("RGB", "YBR_FULL"):
        result = transcode(encapsulated([stream], label, JPEG_BASELINE), "explicit", colour="keep")
        assert result.dataset.PhotometricInterpretation == label
        assert np.array_equal(result.reading.frames[0], coded_samples(stream))
        assert not result.receipt.warnings


def test_every_frame_gets_its_own_colour_and_all_one_label(transcode):
    streams = [jpeg(COLOUR[0]), jpeg(COLOUR[0], keep_rgb=True), jpeg(COLOUR[0])]
    result = transcode(encapsulated(streams, "YBR_FULL_422", JPEG_BASELINE), "explicit", colour="rgb")
    expected = [
        convert_color_space(coded_samples(streams[0]), "YBR_FULL", "RGB"),
        coded_samples(streams[1]),
        convert_color_space(coded_samples(streams[2]), "YBR_FULL", "RGB"),
    ]
    assert np.array_equal(result.reading.frames, expected)
    assert result.dataset.PhotometricInterpretation == "RGB"
    (warning,) = result.receipt.warnings
    assert "YBR_FULL_422" in warning
    assert "RGB" in warning


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit"])
@pytest.mark.parametrize("colour", ["auto", "keep", "rgb"])
@pytest.mark.parametrize(
    "sop_class", [ULTRASOUND, ULTRASOUND_CINE, ENDOSCOPY, WHOLE_SLIDE, TRUE_COLOUR_CAPTURE, SECONDARY_CAPTURE]
)
def test_label_describes_the_bytes_written(transcode, target, colour, sop_class):
    """PS3.3 C.8.5.6.1.2 and its siblings, PS3.5 §8.2: RCT is called YBR_RCT, and nothing else is."""
    stream = jpeg(COLOUR[0])
    source = encapsulated([stream], "YBR_FULL_422", JPEG_BASELINE, sop_class=sop_class)
    result = transcode(source, target, colour=colour)
    ultrasound = sop_class in {ULTRASOUND, ULTRASOUND_CINE}
    rgb = colour == "rgb" or (colour == "auto" and (sop_class != SECONDARY_CAPTURE or target == "rle"))
    coded = "RGB" if rgb else "YBR_FULL"
    transformed = rgb and target in {"jpeg-2000", "htj2k"}
    assert result.dataset.PhotometricInterpretation == ("YBR_RCT" if transformed else coded)
    by_plane = ultrasound and target == "rle" and coded == "YBR_FULL"
    assert result.dataset.PlanarConfiguration == int(by_plane)
    if target in {"jpeg-2000", "htj2k"}:
        assert oracle.coding_style(codestreams(result.dataset)[0])[4] == int(transformed)
    samples = coded_samples(stream)
    expected = convert_color_space(samples, "YBR_FULL", "RGB") if rgb else samples
    assert np.array_equal(result.reading.frames[0], expected)
    assert result.receipt.photometric_interpretation_after == result.dataset.PhotometricInterpretation


@pytest.mark.parametrize(
    ("encode", "syntax"), [(jpeg_2000, JPEG_2000), (htj2k, HTJ2K)], ids=["jpeg-2000", "htj2k"]
)
@pytest.mark.parametrize("label", ["RGB", "YBR_RCT", "YBR_FULL"])
@pytest.mark.parametrize("transform", [True, False])
def test_component_transform_of_jpeg_2000_overrules_the_label(transcode, encode, syntax, label, transform):
    frames = noise((1, 33, 47, 3))
    stream = encode(frames[0], colour_transform=transform)
    result = transcode(encapsulated([stream], label, syntax, frames=frames), "explicit", colour="keep")
    assert np.array_equal(result.reading.frames[0], frames[0])
    assert result.dataset.PhotometricInterpretation == (
        "YBR_FULL" if label == "YBR_FULL" and not transform else "RGB"
    )


def test_jp2_boxes_are_read_and_never_written(transcode):
    frames = noise((1, 33, 47, 3))
    stream = jpeg_2000(frames[0], jp2=True, colour_transform=False)
    assert stream.startswith(b"\0\0\0\x0cjP  ")
    source = encapsulated([stream], "YBR_FULL", JPEG_2000, frames=frames)
    result = transcode(source, "explicit")
    assert np.array_equal(result.reading.frames[0], frames[0])
    assert result.dataset.PhotometricInterpretation == "RGB", "the colour box says sRGB"
    for target in ("htj2k", "jpeg-2000"):
        written = transcode(
            encapsulated([jpeg_ls_stream(frames[0], interleave=2)], "RGB", JPEG_LS, frames=frames), target
        )
        assert codestreams(written.dataset)[0].startswith(b"\xff\x4f\xff\x51")


@pytest.mark.parametrize(
    ("encode", "syntax"),
    [(jpeg_2000, JPEG_2000), (htj2k, HTJ2K), (jpeg_ls_stream, JPEG_LS), (jpeg, JPEG_BASELINE)],
    ids=["jpeg-2000", "htj2k", "jpeg-ls", "jpeg"],
)
@pytest.mark.parametrize("wrong", ["swapped", "components"])
def test_codestream_of_another_geometry_is_refused(transcode, encode, syntax, wrong):
    frames = noise((1, 33, 47))
    frame = frames[0].T if wrong == "swapped" else np.stack([frames[0]] * 3, axis=-1)
    options = {"interleave": 2} if encode is jpeg_ls_stream and wrong == "components" else {}
    stream = encode(np.ascontiguousarray(frame), **options)
    with pytest.raises(CodecError, match=r"33.*47"):
        transcode(encapsulated([stream], "MONOCHROME2", syntax, frames=frames), "explicit")


@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize("bits", [8, 12])
def test_every_interleave_mode_of_jpeg_ls_is_read(transcode, interleave, bits):
    frames = noise((1, 70, 90, 3), bits)
    stream = jpeg_ls_stream(frames[0], interleave=interleave, bits=bits)
    source = encapsulated([stream], "RGB", JPEG_LS, frames=frames, bits_stored=bits)
    result = transcode(source, "explicit")
    assert np.array_equal(result.reading.frames[0], frames[0])


@pytest.mark.parametrize("colour", ["keep", "rgb"])
def test_jpeg_ls_is_written_as_every_peer_reads_it(transcode, colour):
    """Colour is never interleaved by component, grey always is, and no colour transform is ever used."""
    for frames, label in ((noise((1, 33, 47)), "MONOCHROME2"), (noise((1, 33, 47, 3)), "RGB")):
        samples = 3 if frames.ndim == 4 else 1
        source = part10(
            header(frames, label, samples=samples), native_element(native_bytes(frames), EXPLICIT), EXPLICIT
        )
        stream = codestreams(transcode(source, "jpeg-ls", colour=colour).dataset)[0]
        scan = stream.index(b"\xff\xda")
        near, interleave, transform = stream[scan + 2 + stream[scan + 3] - 3 :][:3]
        assert (near, transform) == (0, 0)
        assert interleave in ({1, 2} if samples == 3 else {0})
        assert stream.count(b"\xff\xda", 0, scan + 2) == 1
        assert b"mrfx" not in stream[:scan]


@pytest.mark.parametrize("columns", [1, 2, 31, 32])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle"])
def test_native_ybr_422_has_two_bytes_a_pixel(transcode, columns, target):
    """PS3.3 C.7.6.3.1.2: chrominance stands for two columns; the last pair of an odd row is whole."""
    pairs = -(-columns // 2)
    frames = np.zeros((2, 5, columns, 3), np.uint8)
    packed = noise((2, 5, pairs, 4))
    source = part10(
        header(frames, "YBR_FULL_422", samples=3), native_element(packed.tobytes(), EXPLICIT, b"OB"), EXPLICIT
    )
    result = transcode(source, target, colour="keep")
    for x in range(columns):
        expected = packed[:, :, x // 2][:, :, [x % 2, 2, 3]]
        assert np.array_equal(np.array(result.reading.frames)[:, :, x], expected)
    assert result.dataset.PhotometricInterpretation == "YBR_FULL"


def test_native_ybr_422_stays_as_it_is_between_native_syntaxes(transcode):
    packed = noise((1, 5, 4, 4))
    dataset = header(np.zeros((1, 5, 7, 3), np.uint8), "YBR_FULL_422", samples=3)
    source = part10(dataset, native_element(packed.tobytes(), EXPLICIT, b"OB"), EXPLICIT)
    result = transcode(source, "implicit")
    assert result.dataset.PixelData == packed.tobytes()
    assert result.dataset.PhotometricInterpretation == "YBR_FULL_422"


def test_planes_of_ybr_422_are_none(transcode):
    """PS3.3 C.7.6.3.1.2 allows it Planar Configuration 0 alone; pydicom reads planes where it is 1, and DCMTK refuses."""
    packed = noise((1, 5, 4, 4))
    dataset = header(np.zeros((1, 5, 7, 3), np.uint8), "YBR_FULL_422", samples=3, PlanarConfiguration=1)
    source = part10(dataset, native_element(packed.tobytes(), EXPLICIT, b"OB"), EXPLICIT)
    result = transcode(source, "jpeg-ls", colour="keep")
    assert np.array_equal(result.reading.frames[0][:, ::2, 0], packed[0, :, :, 0])
    assert any("Planar Configuration is 1" in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "rle"])
def test_ybr_422_that_is_said_to_be_signed(transcode, target):
    packed = noise((1, 5, 4, 4))
    dataset = header(np.zeros((1, 5, 7, 3), np.uint8), "YBR_FULL_422", samples=3, PixelRepresentation=1)
    source = part10(dataset, native_element(packed.tobytes(), EXPLICIT, b"OB"), EXPLICIT)
    result = transcode(source, target, colour="keep")
    assert np.array_equal(result.reading.frames[0][:, ::2, 0].view(np.uint8), packed[0, :, :, 0])
    assert any("colour has no sign" in warning for warning in result.receipt.warnings)


def test_ybr_422_label_over_full_chroma_is_noticed(transcode):
    frames = noise((2, 5, 8, 3))
    source = part10(
        header(frames, "YBR_FULL_422", samples=3), native_element(native_bytes(frames), EXPLICIT), EXPLICIT
    )
    result = transcode(source, "jpeg-ls", colour="keep")
    assert np.array_equal(result.reading.frames, frames)
    assert result.dataset.PhotometricInterpretation == "YBR_FULL"
    assert result.receipt.warnings


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle"])
def test_palette_stays_palette(transcode, bits, target):
    frames = noise((2, 9, 11), bits)
    tables: dict[str, Any] = {
        f"{name}PaletteColorLookupTableData": noise((256,), 16, seed=3).tobytes()
        for name in ("Red", "Green", "Blue")
    }
    descriptors: dict[str, Any] = {
        f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")
    }
    dataset = header(frames, "PALETTE COLOR", **tables, **descriptors)
    result = transcode(part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), target)
    assert result.dataset.PhotometricInterpretation == "PALETTE COLOR"
    assert np.array_equal(result.reading.frames, frames)
    for name, table in tables.items():
        assert getattr(result.dataset, name) == table


@pytest.mark.parametrize("label", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle"])
def test_monochrome_is_not_inverted(transcode, label, target):
    frames = noise((1, 9, 11))
    result = transcode(
        part10(header(frames, label), native_element(native_bytes(frames), EXPLICIT), EXPLICIT), target
    )
    assert result.dataset.PhotometricInterpretation == label
    assert np.array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k", "rle"])
def test_planar_configuration_is_read_and_written(transcode, planar, bits, target):
    """Ultrasound and slide IODs allow 0 only, and in RLE it says nothing of the segments (PS3.5 §G.2)."""
    frames = noise((2, 5, 7, 3), bits)
    dataset = header(frames, "RGB", samples=3, PlanarConfiguration=int(planar))
    source = part10(dataset, native_element(native_bytes(frames, planar=planar), EXPLICIT), EXPLICIT)
    result = transcode(source, target)
    assert np.array_equal(result.reading.frames, frames)
    assert result.dataset.PlanarConfiguration == 0
    back = transcode(result.path.read_bytes(), "explicit")
    assert np.array_equal(back.reading.frames, frames)
    assert back.dataset.PlanarConfiguration == 0


@pytest.mark.parametrize("sop_class", [ULTRASOUND, ULTRASOUND_CINE, SECONDARY_CAPTURE])
def test_ultrasound_in_rle_says_that_its_ybr_full_is_by_plane(transcode, sop_class):
    """The Ultrasound IODs have YBR_FULL so, and only so; dciodvfy looks for it."""
    stream = jpeg(COLOUR[0])
    source = encapsulated([stream], "YBR_FULL_422", JPEG_BASELINE, sop_class=sop_class)
    result = transcode(source, "rle", colour="keep")
    assert result.dataset.PhotometricInterpretation == "YBR_FULL"
    assert result.dataset.PlanarConfiguration == int(sop_class != SECONDARY_CAPTURE)
    assert np.array_equal(result.reading.frames[0], coded_samples(stream))
    back = transcode(result.path.read_bytes(), "jpeg-ls", colour="keep")
    assert np.array_equal(back.reading.frames[0], coded_samples(stream))
    assert back.dataset.PlanarConfiguration == 0


@pytest.mark.parametrize("colour", ["auto", "keep"])
def test_a_lossless_source_whose_colour_is_rounded_is_told(transcode, colour):
    """Of what a lossy codec left, RGB is what every decoder shows; coded samples of a lossless one can't be had back."""
    frames = noise((1, 5, 7, 3))
    dataset = header(frames, "YBR_FULL", samples=3, sop_class=ULTRASOUND)
    lossless = part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT)
    lossy = encapsulated([jpeg(COLOUR[0])], "YBR_FULL_422", JPEG_BASELINE, sop_class=ULTRASOUND)
    warnings = transcode(lossless, "jpeg-ls", colour=colour).receipt.warnings
    assert any("--colour keep" in warning for warning in warnings) is (colour == "auto")
    assert not any("rounded" in w for w in transcode(lossy, "jpeg-ls", colour=colour).receipt.warnings)


def test_rle_colour_is_read_by_plane_whatever_the_header_says(transcode):
    frames = noise((2, 5, 7, 3))
    for planar in (0, 1):
        source = encapsulated(
            [rle_stream(f) for f in frames], "RGB", RLE, frames=frames, PlanarConfiguration=planar
        )
        result = transcode(source, "explicit")
        assert np.array_equal(result.reading.frames, frames)


@pytest.mark.parametrize("label", ["YBR_RCT", "YBR_ICT"])
def test_stale_label_of_a_transform_is_reported(transcode, label):
    """Decoders that leave it behind are many (OHIF#3846): only JPEG 2000 codestreams are transformed so."""
    frames = noise((2, 5, 7, 3))
    native = part10(
        header(frames, label, samples=3), native_element(native_bytes(frames), EXPLICIT), EXPLICIT
    )
    untransformed = [jpeg_2000(frame, colour_transform=False) for frame in frames]
    for source in (
        native,
        encapsulated([rle_stream(frame) for frame in frames], label, RLE, frames=frames),
        encapsulated(untransformed, label, JPEG_2000, frames=frames),
    ):
        result = transcode(source, "jpeg-ls")
        assert np.array_equal(result.reading.frames, frames)
        assert result.dataset.PhotometricInterpretation == "RGB"
        assert any(label in warning for warning in result.receipt.warnings)
    transformed = encapsulated([jpeg_2000(f) for f in frames], label, JPEG_2000, frames=frames)
    warnings = transcode(transformed, "rle").receipt.warnings
    assert [("YBR_RCT" in warning) for warning in warnings] == [True] * (label == "YBR_ICT")


@pytest.mark.parametrize("label", ["ARGB", "HSV", "CMYK", "RGB", "NONSENSE", ""])
def test_label_that_cannot_be_is_refused_by_name(transcode, label):
    frames = noise((1, 5, 8))
    source = part10(header(frames, label), native_element(native_bytes(frames), EXPLICIT), EXPLICIT)
    with pytest.raises(UnsupportedPixelFormat, match=label or "empty"):
        transcode(source, "jpeg-ls")


def test_encapsulated_uncompressed_colour(transcode):
    frames = noise((2, 5, 7, 3))
    source = encapsulated([f.tobytes() for f in frames], "RGB", ENCAPSULATED_UNCOMPRESSED, frames=frames)
    assert np.array_equal(transcode(source, "jpeg-ls").reading.frames, frames)
