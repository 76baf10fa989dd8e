"""JPEGs recompressed as JPEG XL come back byte for byte, or are refused by name: nothing between."""

import shutil

import imagecodecs
import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.codecs.jpeg_xl import libjxl
from cinemill.codecs.jpeg_xl.boxes import bare_codestream, has_boxes
from cinemill.dicom.source import Source
from cinemill.errors import (
    CinemillError,
    CodecError,
    DamagedFile,
    OutputExists,
    UnsupportedPixelFormat,
    VerificationError,
)
from tests.support.files import bundled, conformance_streams, corpus_files
from tests.support.generate import (
    EXPLICIT,
    JPEG_BASELINE,
    JPEG_XL_JPEG,
    encapsulated_element,
    header,
    jpeg,
    native_element,
    noise,
    part10,
    smooth,
    split,
    without_segments,
)

CINE = bundled("examples_ybr_color.dcm")
EXTENDED = "1.2.840.10008.1.2.4.51"
COLOUR = [smooth((40, 50, 3), seed) for seed in range(3)]
GREY = [smooth((40, 50)) + np.uint8(seed) for seed in range(3)]


def jpegs_in(path):
    """The bytes of each frame, fragments joined."""
    with Source(path) as source:
        return [bytes(source.frame(index)) for index in range(len(source))]


def padded(streams):
    return [stream + bytes(len(stream) % 2) for stream in streams]


def odd(stream):
    return stream if len(stream) % 2 else stream + b"\0"


def of(streams, frames=COLOUR, label="YBR_FULL_422", syntax=JPEG_BASELINE, **elements):
    """A file of JPEGs, each frame a list of fragments or a codestream."""
    frames = np.stack(frames)
    dataset = header(frames, label, samples=3 if frames.ndim == 4 else 1)
    table = elements.pop("table", "basic")
    for name, value in elements.items():
        setattr(dataset, name, value)
    fragments = [stream if isinstance(stream, list) else [stream] for stream in streams]
    return part10(dataset, encapsulated_element(fragments, table=table), syntax)


@pytest.fixture
def there_and_back(tmp_path):
    """Recompress and restore a file, and return its three states."""

    def run(data, **options):
        paths = [tmp_path / name for name in ("before.dcm", "between.dcm", "after.dcm")]
        paths[0].write_bytes(data)
        recompressed = cinemill.transcode(*paths[:2], to="jpeg-xl-jpeg", overwrite=True, **options)
        restored = cinemill.restore(*paths[1:], overwrite=True)
        assert restored.jpeg_digest == recompressed.jpeg_digest
        return (*paths, recompressed, restored)

    return run


WAYS = {
    "even": lambda: of([jpeg(frame) for frame in COLOUR]),
    "padded": lambda: of([odd(jpeg(frame)) for frame in COLOUR]),
    "zeros behind": lambda: of([jpeg(frame) + bytes(40) for frame in COLOUR]),
    "anything behind": lambda: of([jpeg(frame) + b"\xff\xd9\xff\x01junk" for frame in COLOUR]),
    "another JPEG behind": lambda: of([jpeg(COLOUR[0]) * 2], COLOUR[:1]),
    "fragments": lambda: of([split(jpeg(frame), 4) for frame in COLOUR]),
    "fragments without a table": lambda: of([split(jpeg(frame), 3) for frame in COLOUR], table="empty"),
    "extended table": lambda: of([odd(jpeg(frame)) for frame in COLOUR], table="extended"),
    "grey": lambda: of([jpeg(frame) for frame in GREY], GREY, "MONOCHROME2"),
    "RGB": lambda: of([jpeg(frame, keep_rgb=True) for frame in COLOUR], label="RGB"),
    "4:4:4": lambda: of([jpeg(frame, subsampling=0) for frame in COLOUR]),
    "4:2:0": lambda: of([jpeg(frame, subsampling=2) for frame in COLOUR]),
    "progressive": lambda: of([jpeg(frame, progressive=True) for frame in COLOUR]),
    "restarts": lambda: of([jpeg(frame, restart_marker_blocks=2) for frame in COLOUR]),
    "comments": lambda: of([jpeg(frame, comment=b"DCMTK" * 99) for frame in COLOUR]),
    "no JFIF": lambda: of([without_segments(jpeg(frame, subsampling=2)) for frame in COLOUR]),
    "extended process": lambda: of(
        [jpeg(f).replace(b"\xff\xc0", b"\xff\xc1", 1) for f in COLOUR], syntax=EXTENDED
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_jpegs_of_every_kind_come_back_byte_for_byte(there_and_back, way):
    before, between, after, recompressed, restored = there_and_back(WAYS[way]())
    assert jpegs_in(after) == padded(jpegs_in(before))
    old, new = pydicom.dcmread(before), pydicom.dcmread(after)
    assert old.file_meta.TransferSyntaxUID == new.file_meta.TransferSyntaxUID
    assert recompressed.transfer_syntax_after == JPEG_XL_JPEG
    assert pydicom.dcmread(between).file_meta.TransferSyntaxUID == JPEG_XL_JPEG
    assert "byte for byte, by the digest recorded" in restored.verification
    for dataset in (old, new):
        for name in ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            dataset.pop(name, None)
    assert old == new
    assert cinemill.verify(before, after).status == "verified"


@pytest.mark.parametrize("way", ["even", "grey", "RGB", "4:2:0", "no JFIF", "anything behind"])
def test_what_is_recompressed_shows_what_it_showed(there_and_back, tmp_path, way):
    before, between, *_ = there_and_back(WAYS[way]())
    with cinemill.open(before) as one, cinemill.open(between) as other:
        assert one.photometric_interpretation == other.photometric_interpretation
        np.testing.assert_array_equal(one[:], other[:])
        np.testing.assert_array_equal(one.render(1), other.render(1))
        assert other.warnings == ()
    assert cinemill.verify(before, between).status == "verified"
    for form in ("jpeg", "raw"):
        folders = [tmp_path / f"{form}-{path.stem}" for path in (before, between)]
        for path, folder in zip((before, between), folders, strict=True):
            cinemill.extract(path, folder, format=form)
        copied, given = ([each.read_bytes() for each in sorted(folder.glob("*.jpg"))] for folder in folders)
        assert len(copied) == 3
        assert copied == given


def test_frames_are_boxes_that_libjxl_and_ffmpeg_read_in_the_right_colours(there_and_back):
    """Who decodes the codestream itself, and rebuilds no JPEG, sees the same within what decoders of JPEG differ."""
    for way in ("even", "RGB", "grey", "no JFIF"):
        before, between, *_ = there_and_back(WAYS[way]())
        with cinemill.open(before) as cine:
            expected = cine.decode([0], "RGB" if cine.pixels.samples == 3 else None)[0]
        frame = jpegs_in(between)[0]
        assert has_boxes(frame)
        found = imagecodecs.jpegxl_decode(frame)
        assert np.abs(found.astype(int) - expected).mean() < 3, way


@pytest.mark.parametrize("label", ["YBR_FULL", "RGB"])
def test_a_label_that_jpeg_xl_may_not_have_is_put_right_and_comes_back(there_and_back, label):
    _, between, after, *_ = there_and_back(of([jpeg(frame) for frame in COLOUR], label=label))
    assert pydicom.dcmread(between).PhotometricInterpretation == "YBR_FULL_422"
    assert pydicom.dcmread(after).PhotometricInterpretation == label


def test_lossy_history_stays_as_it_was_told_and_the_instance_the_same(there_and_back):
    told = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "17",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    paths = there_and_back(of([jpeg(frame) for frame in COLOUR], **told))
    for path in paths[:3]:
        dataset = pydicom.dcmread(path)
        assert dataset.SOPInstanceUID == "1.2.3.4"
        assert {name: str(dataset[name].value) for name in told} == told
    pixels = cinemill.transcode(paths[1], paths[1].with_name("pixels.dcm"), to="jpeg-xl")
    assert pixels.lossy_source
    dataset = pydicom.dcmread(paths[1].with_name("pixels.dcm"))
    assert {name: str(dataset[name].value) for name in told} == told


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: of([jpeg(f)[:-2] for f in COLOUR]), "can't recompress this JPEG so that it comes back"),
        (lambda: of([jpeg(f)[:-90] for f in COLOUR]), "can't recompress this JPEG so that it comes back"),
        (lambda: of([jpeg(f) for f in GREY], GREY, "MONOCHROME1"), "can't hold MONOCHROME1"),
        (
            lambda: of(
                [
                    without_segments(jpeg(f, keep_rgb=True, subsampling=0)).replace(b"R\x11", b"\x01\x11")
                    for f in COLOUR
                ],
                label="RGB",
            ),
            "nothing in the JPEG says so",
        ),
        (
            lambda: of([jpeg(COLOUR[0]), jpeg(COLOUR[1], keep_rgb=True), jpeg(COLOUR[2])]),
            "expected a JPEG like the first frame's",
        ),
        (
            lambda: part10(header(noise((1, 8, 8))), native_element(bytes(64), EXPLICIT), EXPLICIT),
            "recompresses JPEG only, found ExplicitVRLittleEndian",
        ),
        (lambda: bundled("JPEG-lossy.dcm").read_bytes(), "JPEG of 8 bits with DCT"),
    ],
)
def test_what_does_not_come_back_is_refused_by_name_and_leaves_nothing(tmp_path, data, message):
    source, output = tmp_path / "in.dcm", tmp_path / "out" / "out.dcm"
    output.parent.mkdir()
    source.write_bytes(data())
    with pytest.raises(UnsupportedPixelFormat, match=message):
        cinemill.transcode(source, output, to="jpeg-xl-jpeg")
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("verify", ["full", "independent"])
def test_a_frame_that_comes_back_otherwise_is_never_committed(tmp_path, monkeypatch, verify):
    right = libjxl.to_jpeg
    monkeypatch.setattr(libjxl, "to_jpeg", lambda data, frame: right(data, frame) + b"\0" * (frame == 17))
    with pytest.raises(VerificationError, match="is not the source's") as raised:
        cinemill.transcode(CINE, tmp_path / "out.dcm", to="jpeg-xl-jpeg", verify=verify)
    assert raised.value.frame == 17
    assert not list(tmp_path.iterdir())


@pytest.fixture
def recompressed(tmp_path):
    path = tmp_path / "cine.dcm"
    cinemill.transcode(CINE, path, to="jpeg-xl-jpeg")
    return path


def test_a_cine_is_proved_by_what_its_own_file_remembers(recompressed, tmp_path):
    alone = tmp_path / "elsewhere" / "other name.dcm"
    alone.parent.mkdir()
    shutil.move(recompressed, alone)
    receipt = cinemill.restore(alone, tmp_path / "back.dcm")
    assert receipt.warnings == ()
    assert receipt.frames == 30
    assert jpegs_in(tmp_path / "back.dcm") == padded(jpegs_in(CINE))
    assert cinemill.restore(alone, tmp_path / "back.dcm").status == "kept"
    (tmp_path / "foreign.dcm").write_bytes(CINE.read_bytes())
    with pytest.raises(OutputExists):
        cinemill.restore(alone, tmp_path / "foreign.dcm")


def test_damage_anywhere_in_the_frames_is_refused_and_leaves_nothing(recompressed, tmp_path):
    data = recompressed.read_bytes()
    with Source(recompressed) as source:
        assert source.pixel_data is not None
        first = source.pixel_data.value
    rng = np.random.default_rng(3)
    for place in rng.integers(first + 200, len(data) - 12, 25):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        with pytest.raises(CinemillError) as raised:
            cinemill.restore(tmp_path / "damaged.dcm", tmp_path / "back.dcm")
        assert isinstance(raised.value, VerificationError | CodecError | DamagedFile), raised.value
        assert not (tmp_path / "back.dcm").exists()


def test_a_proof_that_was_tampered_with_is_no_proof(recompressed, tmp_path):
    data = recompressed.read_bytes()
    at = data.index(b'"jpeg_digest":"xxh3-128:') + 24
    changed = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    (tmp_path / "damaged.dcm").write_bytes(changed)
    with pytest.raises(DamagedFile, match="what the file remembers of its making"):
        cinemill.restore(tmp_path / "damaged.dcm", tmp_path / "back.dcm")
    assert not (tmp_path / "back.dcm").exists()


def test_a_small_file_does_not_grow_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(libjxl, "_LEAST_ROOM", 1 << 10)
    boxes = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg(GREY[0]) + bytes(1 << 20)))
    assert len(boxes) < 10_000
    (tmp_path / "in.dcm").write_bytes(of([boxes], GREY[:1], "MONOCHROME2", JPEG_XL_JPEG))
    with pytest.raises(CodecError, match="can't be rebuilt"):
        cinemill.restore(tmp_path / "in.dcm", tmp_path / "out.dcm")


def test_files_of_others_are_restored_and_said_to_be_unproved(tmp_path):
    streams = [jpeg(frame) for frame in COLOUR]
    boxes = [bytes(imagecodecs.jpegxl_encode_jpeg(stream)) for stream in streams]
    (tmp_path / "in.dcm").write_bytes(of(boxes, syntax=JPEG_XL_JPEG))
    receipt = cinemill.restore(tmp_path / "in.dcm", tmp_path / "out.dcm")
    assert any("no digest of the JPEGs was recorded" in warning for warning in receipt.warnings)
    assert receipt.transfer_syntax_after == JPEG_BASELINE
    assert jpegs_in(tmp_path / "out.dcm") == padded(streams)


def test_a_codestream_without_what_rebuilds_a_jpeg_is_refused(tmp_path):
    boxes = [bytes(bare_codestream(bytes(imagecodecs.jpegxl_encode_jpeg(jpeg(f))))) for f in COLOUR]
    (tmp_path / "in.dcm").write_bytes(of(boxes, syntax=JPEG_XL_JPEG))
    with pytest.raises(UnsupportedPixelFormat, match="hold nothing that a JPEG could be rebuilt from"):
        cinemill.restore(tmp_path / "in.dcm", tmp_path / "out.dcm")
    with cinemill.open(tmp_path / "in.dcm") as cine:
        assert np.abs(cine[0].astype(int) - COLOUR[0]).mean() < 8


def test_what_was_not_recompressed_is_copied(tmp_path):
    receipt = cinemill.restore(bundled("CT_small.dcm"), tmp_path / "out.dcm")
    assert receipt.status == "copied"
    assert (tmp_path / "out.dcm").read_bytes() == bundled("CT_small.dcm").read_bytes()
    assert cinemill.restore(bundled("CT_small.dcm"), tmp_path / "out.dcm").status == "kept"


def test_what_cinemill_recompressed_is_recompressed_once(recompressed, tmp_path):
    assert cinemill.transcode(recompressed, tmp_path / "again.dcm", to="jpeg-xl-jpeg").status == "copied"
    assert cinemill.transcode(CINE, recompressed, to="jpeg-xl-jpeg").status == "kept"


def test_what_can_not_be_restored_is_copied_beside_its_error_where_asked_for(recompressed, tmp_path):
    damaged, output = tmp_path / "damaged.dcm", tmp_path / "out.dcm"
    damaged.write_bytes(recompressed.read_bytes()[:-900])
    with pytest.raises(CinemillError):
        cinemill.restore(damaged, output, copy_rest=True)
    assert output.read_bytes() == damaged.read_bytes()


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore")
def test_every_jpeg_of_the_corpus_comes_back_or_is_refused_by_name(tmp_path, corpus):
    between, after = tmp_path / "between.dcm", tmp_path / "after.dcm"
    sizes, frames, refused = [], 0, {}
    for path in corpus_files():
        try:
            with Source(path) as source:
                if source.transfer_syntax.coding != "jpeg" or source.pixels.bits_stored != 8:
                    continue
            receipt = cinemill.transcode(path, between, to="jpeg-xl-jpeg", overwrite=True)
        except CinemillError as error:
            refused[path.name] = error.kind
            continue
        cinemill.restore(between, after, overwrite=True)
        assert jpegs_in(after) == padded(jpegs_in(path)), path
        assert (
            pydicom.dcmread(after).PhotometricInterpretation
            == pydicom.dcmread(path).PhotometricInterpretation
        )
        frames += receipt.frames or 0
        sizes.append((receipt.bytes_before, receipt.bytes_after))
    before, after_all = map(sum, zip(*sizes, strict=True))
    print(
        f"{len(sizes)} files, {frames} frames: {before} bytes before, {after_all} after; refused: {refused}"
    )
    assert len(sizes) > 40
    assert after_all < 0.85 * before


def test_conformance_streams_of_others_decode_and_give_their_jpeg_back(tmp_path):
    streams = conformance_streams("jpeg-xl", ".jxl")
    if not streams:
        pytest.skip("no conformance streams: set CINEMILL_CONFORMANCE")
    for path in streams:
        stream = path.read_bytes()
        frame = imagecodecs.jpegxl_decode(stream, keeporientation=True)
        label = "MONOCHROME2" if frame.ndim == 2 else "YBR_FULL_422"
        (tmp_path / "in.dcm").write_bytes(of([stream], [frame], label, JPEG_XL_JPEG))
        cinemill.restore(tmp_path / "in.dcm", tmp_path / "out.dcm", overwrite=True)
        (back,) = jpegs_in(tmp_path / "out.dcm")
        assert back == padded([bytes(imagecodecs.jpegxl_decode_jpeg(stream, numthreads=1))])[0]
        with cinemill.open(tmp_path / "in.dcm") as cine:
            (shown,) = cine.decode([0], "RGB" if frame.ndim == 3 else None)
        assert np.abs(shown.astype(int) - frame).mean() < 3, path
