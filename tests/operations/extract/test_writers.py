"""Every format, read back by another program than the one that wrote it."""

import io
import json
import shutil
import subprocess
import zlib
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageSequence

import cinemill
from cinemill.errors import (
    CodecError,
    DamagedFile,
    NotInFile,
    UnsupportedPixelFormat,
    UsageError,
)
from cinemill.operations.extract.writers.animations import whole_steps
from cinemill.operations.extract.writers.pictures import encode_png
from tests.support import clips, generate
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")
COLOUR = np.stack([generate.smooth((30, 41, 3), seed) for seed in range(5)])
GREY = np.stack([generate.noise((31, 40), seed=seed) for seed in range(5)])
GREY_16 = np.stack([generate.noise((31, 40), 16, seed=seed) for seed in range(5)])
SIGNED = np.stack([generate.noise((31, 40), 12, signed=True, seed=seed) for seed in range(5)])
DEEP = np.stack([generate.noise((31, 40), 32, seed=seed) for seed in range(5)])


@pytest.fixture
def extract(tmp_path):
    """Write a cine and extract it."""

    def run(clip, name, interpretation=None, *, elements=(), **options):
        interpretation = interpretation or ("RGB" if clip.ndim == 4 else "MONOCHROME2")
        source = clips.write(tmp_path / "cine.dcm", clip, interpretation, **dict(elements))
        cinemill.extract(source, tmp_path / "out", format=name, threads=2, **options)
        return sorted((tmp_path / "out").iterdir())

    return run


@pytest.mark.parametrize("frames", [GREY, COLOUR, GREY_16], ids=["grey", "colour", "16 bits"])
@pytest.mark.parametrize("name", ["png", "npy", "tiff", "npz", "zarr"])
def test_stored_samples_are_exact(extract, frames, name):
    assert np.array_equal(read_frames(extract(frames, name, mode="stored"), name), frames)


@pytest.mark.parametrize("frames", [SIGNED, DEEP], ids=["signed", "32 bits"])
@pytest.mark.parametrize("name", ["npy", "tiff", "npz", "zarr"])
def test_signed_and_deep_samples_are_exact(extract, frames, name):
    back = read_frames(extract(frames, name, mode="stored"), name)
    assert back.dtype == frames.dtype
    assert np.array_equal(back, frames)


def read_frames(paths, name):
    if name == "png":
        return np.stack([imagecodecs.png_decode(path.read_bytes()) for path in paths])
    if name == "npy":
        return np.stack([np.load(path) for path in paths])
    (path,) = paths
    if name == "tiff":
        return tifffile.imread(path)
    if name == "npz":
        with np.load(path) as archive:
            return archive["frames"]
    held: Any = zarr.open_group(path, mode="r")
    return held["frames"][:]


@given(
    arrays.arrays(
        st.sampled_from((np.uint8, np.uint16)),
        st.tuples(st.integers(1, 20), st.integers(1, 20))
        | st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
    )
)
def test_png(frame):
    png = encode_png(frame)
    assert np.array_equal(imagecodecs.png_decode(png), frame)
    if frame.dtype == np.uint8:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), frame)


@pytest.mark.parametrize("frames", [GREY, COLOUR], ids=["grey", "colour"])
def test_jpeg_is_close(extract, frames):
    for path, frame in zip(
        extract(generate.smooth(frames.shape[1:])[None].repeat(5, 0), "jpeg"), range(5), strict=True
    ):
        assert path.name == f"cine_{frame:04}.jpg"
        back = np.asarray(Image.open(path)).astype(int)
        assert np.abs(back - generate.smooth(frames.shape[1:])).mean() < 3


@pytest.mark.parametrize("mode", ["stored", "display"])
def test_jpeg_of_jpeg_is_the_codestream(tmp_path, mode):
    cinemill.extract(CINE, tmp_path, format="jpeg", mode=mode, frames="3,4")
    with cinemill.open(CINE) as cine:
        for index in (3, 4):
            path = tmp_path / f"examples_ybr_color_{index:04}.jpg"
            assert path.read_bytes() == bytes(cine.source.frame(index)).rstrip(b"\0")
            shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
            assert np.abs(shown - cine.render(index)).max() <= 2


def test_jpeg_is_encoded_anew_where_display_changes_samples(tmp_path):
    grey = generate.smooth((16, 16))
    header = generate.header(grey[None], "MONOCHROME1")
    pixels = generate.encapsulated_element([[generate.jpeg(grey)]])
    source = tmp_path / "inverse.dcm"
    source.write_bytes(generate.part10(header, pixels, generate.JPEG_BASELINE))
    cinemill.extract(source, tmp_path / "a.jpg")
    assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int) - (255 - grey.astype(int))).max() < 8
    cinemill.extract(source, tmp_path / "b.jpg", mode="stored")
    assert (tmp_path / "b.jpg").read_bytes() == generate.jpeg(grey)


def test_npz_and_zarr_know_the_time(extract):
    elements = {"FrameTimeVector": ["0", "10", "30", "10", "20"]}
    (archive,) = extract(GREY, "npz", elements=elements, frames="1:4")
    with np.load(archive) as held:
        assert held["index"].tolist() == [1, 2, 3]
        assert held["time_ms"].tolist() == [10, 40, 50]
    (group,) = (
        path for path in extract(GREY, "zarr", elements=elements, frames="1:4") if path.suffix == ".zarr"
    )
    metadata = json.loads((group / "frames" / "zarr.json").read_text())
    assert metadata["zarr_format"] == 3
    assert metadata["dimension_names"] == ["frame", "row", "column"]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 31, 40]
    opened: Any = zarr.open_group(group, mode="r")
    assert opened["time"][:].tolist() == [10, 40, 50]
    assert opened["index"][:].tolist() == [1, 2, 3]


def test_tiff_pages_tell_frame_and_time(extract):
    (path,) = extract(COLOUR, "tiff", elements={"FrameTime": "25"}, frames="2,4")
    with tifffile.TiffFile(path) as file:
        pages: Any = list(file.pages)
        told = [json.loads(page.description) for page in pages]
        assert [page.photometric.name for page in pages] == ["RGB", "RGB"]
    assert told == [{"frame": 2, "time_ms": 50.0}, {"frame": 4, "time_ms": 100.0}]


def probe(path):
    command = ["ffprobe", "-v", "error", "-show_frames", "-show_streams", "-of", "json", str(path)]
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


VECTOR = ["0", "40", "20", "20", "60"]


@pytest.mark.tools
@pytest.mark.parametrize("frames", [GREY, COLOUR], ids=["grey, odd rows", "colour, odd columns"])
@pytest.mark.parametrize(
    ("elements", "times", "end"),
    [
        ({"FrameTimeVector": VECTOR, "FrameDelay": "7"}, [0, 40, 60, 80, 140], 200),
        ({"FrameTime": "33.333"}, np.arange(5) * 33.333, 5 * 33.333),
        ({"CineRate": "24"}, np.arange(5) * 1000 / 24, 5000 / 24),
    ],
)
def test_mp4_plays_at_the_cines_own_times(extract, frames, elements, times, end):
    (path,) = extract(frames, "mp4", elements=elements)
    found = probe(path)
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["pix_fmt"], stream["color_space"]) == ("h264", "yuv420p", "bt709")
    assert (stream["height"], stream["width"]) == tuple(size + size % 2 for size in frames.shape[1:3])
    assert [1000 * float(frame["pts_time"]) for frame in found["frames"]] == pytest.approx(times, abs=0.02)
    assert 1000 * float(stream["duration"]) == pytest.approx(end, abs=0.05)


def test_mp4_is_made_without_what_x264_does_not_do_the_same_way_each_time(extract):
    (path,) = extract(GREY, "mp4")
    made = path.read_bytes()
    assert b"mbtree=0" in made  # x264 writes down its options
    cinemill.extract(path.parent.parent / "cine.dcm", path.parent / "again.mp4")
    assert (path.parent / "again.mp4").read_bytes() == made


def test_mp4_shows_the_frames(tmp_path):
    import av

    cinemill.extract(CINE, tmp_path / "clip.mp4")
    with cinemill.open(CINE) as cine, av.open(str(tmp_path / "clip.mp4")) as video:
        for index, image in enumerate(video.decode(video=0)):
            shown = image.to_ndarray(format="rgb24").astype(int)
            assert np.abs(shown - cine.render(index)).mean() < 2.5
        assert index == len(cine) - 1


@pytest.mark.tools
def test_gif_plays_at_the_cines_own_times(extract):
    (path,) = extract(GREY, "gif", elements={"FrameTimeVector": VECTOR})
    found = probe(path)["frames"]
    assert [1000 * float(frame["pts_time"]) for frame in found] == [0, 40, 60, 80, 140]


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_animations_hold_every_frame(extract, name):
    frozen = np.concatenate([COLOUR, COLOUR[-1:], COLOUR[-1:]])
    (path,) = extract(frozen, name, elements={"FrameTime": "33.333"})
    with Image.open(path) as image:
        pages = [
            (np.asarray(page.convert("RGB")), page.info["duration"]) for page in ImageSequence.Iterator(image)
        ]
        assert image.info.get("loop") == 0
    assert len(pages) == 7
    assert sum(duration for _, duration in pages) == pytest.approx(
        7 * 33.333, abs=5 if name == "gif" else 0.5
    )
    for (shown, _), frame in zip(pages, frozen, strict=True):
        assert np.median(np.abs(shown.astype(int) - frame)) < 6


def test_grey_gif_is_exact(extract):
    (path,) = extract(GREY, "gif")
    with Image.open(path) as image:
        for page, frame in zip(ImageSequence.Iterator(image), GREY, strict=True):
            assert np.array_equal(np.asarray(page.convert("L")), frame)


@pytest.mark.parametrize("shape", [(2, 128, 128), (1, 1, 20000), (1, 1025, 1023), (1, 3, 65535), (2, 1, 1)])
def test_gif_of_noise_is_exact(extract, shape):
    """LZW makes noise larger than it is."""
    frames = generate.noise(shape)
    (path,) = extract(frames, "gif")
    with Image.open(path) as image:
        found = [np.asarray(page.convert("L")) for page in ImageSequence.Iterator(image)]
    assert np.array_equal(found, frames)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_gif_of_content_that_never_repeats(extract, order):
    """Every pair of entries once: each code of LZW stands for one pixel as long as the table grows."""
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2)
    frame = np.random.default_rng(order).permutation(pairs).reshape(1, 512, 256).astype(np.uint8)
    (path,) = extract(frame, "gif")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("L")), frame[0])


@pytest.mark.parametrize("shape", [(2, 129, 131), (2, 129, 131, 3), (1, 1, 5000), (1, 3000, 1, 3)])
@pytest.mark.parametrize("name", ["png", "jpeg", "tiff", "gif", "webp", "mp4", "jpeg-ls", "jpeg-2000"])
def test_noise_of_any_shape_fits_every_format(extract, shape, name):
    assert all(path.stat().st_size for path in extract(generate.noise(shape), name))


@pytest.mark.parametrize("time", ["0.001", "0.5", "12345.6", "1e8"])
@pytest.mark.parametrize("name", ["mp4", "gif", "webp"])
def test_frame_times_of_any_size(tmp_path, name, time):
    source = clips.write(tmp_path / "x.dcm", generate.noise((3, 16, 16)), FrameTime=time)
    receipt = cinemill.extract(source, tmp_path / f"x.{name}")
    assert any("less than 20 ms" in warning for warning in receipt.warnings) == (
        name == "gif" and float(time) < 20
    )


@pytest.mark.parametrize(("name", "most"), [("mp4", 16384), ("webp", 16382)])
def test_pictures_that_are_too_large(tmp_path, name, most):
    source = clips.write(tmp_path / "x.dcm", np.zeros((1, 2, most + 1), np.uint8))
    with pytest.raises(UnsupportedPixelFormat, match=f"{name} holds up to {most} pixels.*use --scale"):
        cinemill.extract(source, tmp_path / f"x.{name}")
    cinemill.extract(source, tmp_path / f"x.{name}", size=(most, 0))


@given(st.lists(st.floats(0.5, 200), min_size=1, max_size=50), st.sampled_from((1, 10)))
def test_delays_do_not_drift(durations, step):
    delays = whole_steps(np.array(durations), step, 0xFFFF)
    assert min(delays) >= 1
    if min(durations) > step:
        drift = np.cumsum(delays) * step - np.cumsum(durations)
        assert np.abs(drift).max() <= step / 2 + 1e-6


def test_raw_codestreams_and_samples(tmp_path):
    cinemill.extract(CINE, tmp_path, format="raw", frames="7")
    with cinemill.open(CINE) as cine:
        assert (tmp_path / "examples_ybr_color_0007.jpg").read_bytes() == bytes(cine.source.frame(7)).rstrip(
            b"\0"
        )
    source = clips.write(tmp_path / "native.dcm", GREY_16)
    cinemill.extract(source, tmp_path, format="raw", frames="1")
    assert np.array_equal(np.fromfile(tmp_path / "native_0001.raw", "<u2").reshape(31, 40), GREY_16[1])


@pytest.mark.parametrize("frames", [GREY, COLOUR, GREY_16], ids=["grey", "colour", "16 bits"])
def test_jpeg_ls_codestreams(extract, frames):
    for path, frame in zip(extract(frames, "jpeg-ls"), frames, strict=True):
        assert path.suffix == ".jls"
        assert np.array_equal(jpeg_ls.decode(np.frombuffer(path.read_bytes(), np.uint8)), frame)


@pytest.mark.parametrize("frames", [GREY, COLOUR, GREY_16], ids=["grey", "colour", "16 bits"])
def test_jpeg_2000_codestreams(extract, frames):
    for path, frame in zip(extract(frames, "jpeg-2000"), frames, strict=True):
        assert path.suffix == ".j2k"
        assert np.array_equal(imagecodecs.jpeg2k_decode(path.read_bytes()), frame)


def test_codestreams_of_samples_that_exceed_bits_stored(tmp_path):
    """Codestreams of 12 bits under Bits Stored 10 say that their samples need them."""
    stream = generate.jpeg_lossless(GREY_16[0] >> 4, 12)
    source = tmp_path / "cine.dcm"
    header = generate.header(GREY_16[:1], bits_stored=10)
    source.write_bytes(
        generate.part10(header, generate.encapsulated_element([[stream]]), generate.JPEG_LOSSLESS_SV1)
    )
    cinemill.extract(source, tmp_path / "out", format="jpeg-ls")
    (path,) = (tmp_path / "out").iterdir()
    assert np.array_equal(jpeg_ls.decode(np.frombuffer(path.read_bytes(), np.uint8)), GREY_16[0] >> 4)


def test_single_frame_instances(tmp_path):
    cinemill.extract(CINE, tmp_path / "a", format="dicom", frames="0,17")
    whole = pydicom.dcmread(CINE)
    first, second = (pydicom.dcmread(path) for path in sorted((tmp_path / "a").iterdir()))
    assert second.SOPClassUID == "1.2.840.10008.5.1.4.1.1.6.1"
    assert second.file_meta.MediaStorageSOPInstanceUID == second.SOPInstanceUID
    assert len({whole.SOPInstanceUID, first.SOPInstanceUID, second.SOPInstanceUID}) == 3
    assert whole.SeriesInstanceUID != first.SeriesInstanceUID == second.SeriesInstanceUID
    assert second.StudyInstanceUID == whole.StudyInstanceUID
    assert second.ImageType[0] == "DERIVED"
    assert "NumberOfFrames" not in second
    assert "FrameTime" not in second
    (origin,) = second.SourceImageSequence
    assert (origin.ReferencedSOPInstanceUID, origin.ReferencedFrameNumber) == (whole.SOPInstanceUID, 18)
    assert np.array_equal(second.pixel_array, whole.pixel_array[17])
    assert second.PatientName == whole.PatientName
    cinemill.extract(CINE, tmp_path / "b", format="dicom", frames="17")
    again = pydicom.dcmread(tmp_path / "b" / "examples_ybr_color_0017.dcm")
    assert again.SOPInstanceUID == second.SOPInstanceUID


def test_single_frames_need_an_instance_to_point_back_to(tmp_path):
    source = clips.write(tmp_path / "x.dcm", clips.numbered(), SOPInstanceUID=None)
    with pytest.raises(DamagedFile, match="SOP Instance UID is absent"):
        cinemill.extract(source, tmp_path / "out", format="dicom")


def test_single_frames_of_big_endian_files_are_little_endian(tmp_path):
    palette: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = np.array([0x1234, 0xFF00], ">u2").tobytes()
    header = generate.header(GREY, "PALETTE COLOR", **palette)
    pixels = generate.native_element(generate.native_bytes(GREY), generate.BIG_ENDIAN, b"OB")
    source = tmp_path / "big.dcm"
    source.write_bytes(generate.part10(header, pixels, generate.BIG_ENDIAN))
    cinemill.extract(source, tmp_path / "one.dcm", frames=1)
    one = pydicom.dcmread(tmp_path / "one.dcm")
    assert one.RedPaletteColorLookupTableData == np.array([0x1234, 0xFF00], "<u2").tobytes()
    assert np.array_equal(one.pixel_array, GREY[1])


@pytest.mark.parametrize("name", ["dicom", "raw"])
def test_codestreams_of_0_bits_are_not_copied(tmp_path, name):
    stream = bytearray(imagecodecs.jpeg8_encode(COLOUR[0]))
    stream[stream.index(b"\xff\xc0") + 4] = 0
    header = generate.header(COLOUR[:1], "YBR_FULL_422", samples=3)
    element = generate.encapsulated_element([[bytes(stream)]])
    source = tmp_path / "x.dcm"
    source.write_bytes(generate.part10(header, element, generate.JPEG_BASELINE))
    with pytest.raises(CodecError, match="0 bits"):
        cinemill.extract(source, tmp_path / "out", format=name)


@pytest.mark.parametrize("name", ["jpeg", "raw"])
def test_copied_codestreams_get_their_end_marker(tmp_path, name):
    streams = [bytes(imagecodecs.jpeg8_encode(frame)) for frame in COLOUR]
    element = generate.encapsulated_element([[stream[:-2]] for stream in streams])
    header = generate.header(COLOUR, "YBR_FULL_422", samples=3)
    source = tmp_path / "x.dcm"
    source.write_bytes(generate.part10(header, element, generate.JPEG_BASELINE))
    cinemill.extract(source, tmp_path / "out", format=name)
    for path, stream in zip(sorted((tmp_path / "out").iterdir()), streams, strict=True):
        assert path.read_bytes().replace(b"\0\xff\xd9", b"\xff\xd9") == stream
    short = generate.encapsulated_element([[stream[: len(stream) // 2]] for stream in streams])
    source.write_bytes(generate.part10(header, short, generate.JPEG_BASELINE))
    with pytest.raises(CodecError, match="frame"):
        cinemill.extract(source, tmp_path / "short", format=name)
    assert not any((tmp_path / "short").iterdir())


@pytest.mark.parametrize("name", ["jpeg-2000", "raw"])
def test_copied_jpeg_2000_is_whole(tmp_path, name):
    stream = bytes(imagecodecs.jpeg2k_encode(GREY[0], level=0, reversible=True, codecformat="J2K"))
    element = generate.encapsulated_element([[stream[: len(stream) // 2]]])
    source = tmp_path / "x.dcm"
    source.write_bytes(generate.part10(generate.header(GREY[:1]), element, generate.JPEG_2000))
    with pytest.raises(CodecError, match="frame 0"):
        cinemill.extract(source, tmp_path / "out", format=name)


def test_single_frames_need_a_class(tmp_path):
    source = clips.write(tmp_path / "x.dcm", clips.numbered(), SOPClassUID=None)
    with pytest.raises(DamagedFile, match="SOP Class UID is absent"):
        cinemill.extract(source, tmp_path / "out", format="dicom")


def test_functional_groups_that_can_not_be_read(tmp_path):
    source = clips.write(tmp_path / "x.dcm", clips.numbered(2))
    whole = source.read_bytes()
    pixels = whole.index(b"\xe0\x7f\x10\x00")
    groups = b"\x00\x52\x30\x92UN\0\0\x04\0\0\0none"
    source.write_bytes(whole[:pixels] + groups + whole[pixels:])
    with pytest.raises(DamagedFile, match="functional groups can't be read"):
        cinemill.extract(source, tmp_path / "out", format="dicom")


def test_functional_groups_that_do_not_fit_the_frames(tmp_path):
    groups = [pydicom.Dataset() for _ in range(2)]
    source = clips.write(tmp_path / "x.dcm", clips.numbered(3), PerFrameFunctionalGroupsSequence=groups)
    with pytest.raises(DamagedFile, match="2 per-frame functional groups for 3 frames"):
        cinemill.extract(source, tmp_path / "out", format="dicom")


def test_single_frames_in_a_transfer_syntax_that_pydicom_cannot_write(tmp_path):
    frame = np.zeros((1, 4, 4), np.uint8)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    element = generate.encapsulated_element([[deflater.compress(frame.tobytes()) + deflater.flush()]])
    source = tmp_path / "deflated.dcm"
    source.write_bytes(generate.part10(generate.header(frame), element, generate.DEFLATED_FRAME))
    cinemill.extract(source, tmp_path / "out", format="dicom")
    (single,) = (tmp_path / "out").iterdir()
    with cinemill.open(single) as cine:
        np.testing.assert_array_equal(cine[0], frame[0])


@pytest.mark.tools
def test_single_frame_instances_conform(tmp_path):
    cinemill.extract(CINE, tmp_path, format="dicom", frames="3")

    def complaints(path):
        done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}

    new = complaints(tmp_path / "examples_ybr_color_0003.dcm") - complaints(CINE)
    assert not new


def test_native_frames_of_odd_size_and_functional_groups(tmp_path):
    groups = [pydicom.Dataset() for _ in range(3)]
    for number, group in enumerate(groups):
        window = pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = str(number), "10"
        group.FrameVOILUTSequence = [window]
    frames = generate.noise((3, 5, 7))
    source = clips.write(tmp_path / "x.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    cinemill.extract(source, tmp_path / "one.dcm", frames=1)
    one = pydicom.dcmread(tmp_path / "one.dcm")
    assert one.NumberOfFrames == 1
    assert one.SOPClassUID == generate.SECONDARY_CAPTURE
    assert [group.FrameVOILUTSequence[0].WindowCenter for group in one.PerFrameFunctionalGroupsSequence] == [
        1
    ]
    assert np.array_equal(one.pixel_array, frames[1])


@pytest.mark.parametrize(
    ("frames", "name", "able"),
    [
        (GREY_16, "jpeg", "png, tiff, npy, npz, zarr"),
        (SIGNED, "png", "tiff, npy, npz, zarr"),
        (DEEP, "jpeg-ls", "tiff, npy, npz, zarr"),
    ],
)
def test_formats_that_cannot_hold_the_samples_name_those_that_can(extract, frames, name, able):
    with pytest.raises(UnsupportedPixelFormat, match=able):
        extract(frames, name, mode="stored")


def test_palette_entries_are_no_jpeg(tmp_path):
    with pytest.raises(UnsupportedPixelFormat, match="--display"):
        cinemill.extract(bundled("examples_palette.dcm"), tmp_path, format="jpeg", mode="stored")


@pytest.mark.parametrize("name", ["mp4", "gif", "webp"])
def test_video_shows_pictures_only(tmp_path, name):
    with pytest.raises(UsageError, match=r"display frames only.*npy"):
        cinemill.extract(CINE, tmp_path, format=name, mode="stored")


@pytest.mark.parametrize("name", ["dicom", "raw"])
def test_copies_are_not_cropped(tmp_path, name):
    with pytest.raises(UsageError, match="as they are coded"):
        cinemill.extract(CINE, tmp_path, format=name, mask_outside_regions=True)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cinemill.operations.extract.formats.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'cinemill\[video\]'"):
        cinemill.extract(CINE, tmp_path, format="mp4")
    with pytest.raises(UsageError, match="unknown format 'bmp'; choose one of png, jpeg"):
        cinemill.extract(CINE, tmp_path, format="bmp")


def test_cropping_needs_regions(extract):
    with pytest.raises(NotInFile, match="no ultrasound regions"):
        extract(GREY, "png", crop_to_region=True)
