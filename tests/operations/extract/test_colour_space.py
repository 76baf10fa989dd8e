"""Arrays say their colour space, and can be had in RGB; images without a window can be shown from least to greatest value."""

from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from PIL import Image

import cinemill
from cinemill.errors import Refused, UsageError
from tests.cli.test_cli import cinemill as command
from tests.support import clips, generate
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")
GREY = bundled("CT_small.dcm")
PALETTE = bundled("examples_palette.dcm")


def rgb(ybr):
    """PS3.3 C.7.6.3.1.2 turned round, in double precision."""
    y, cb, cr = np.moveaxis(ybr.astype(float), -1, 0) - np.array([0.0, 128.0, 128.0])[:, None, None]
    planes = y + 1.402 * cr, y - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr, y + 1.772 * cb
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255)


def npz(folder):
    with np.load(next(folder.glob("*.npz"))) as file:
        return file["frames"], str(file["photometric_interpretation"])


def zarr_group(folder):
    group: Any = zarr.open_group(next(folder.glob("*.zarr")), mode="r")
    return group["frames"][:], group["frames"].attrs["photometric_interpretation"]


def tiff(folder):
    with tifffile.TiffFile(next(folder.glob("*.tif"))) as file:
        names = {"YCBCR": "YBR_FULL", "MINISBLACK": "MONOCHROME2", "RGB": "RGB"}
        pages: Any = list(file.pages)
        return np.stack([page.asarray() for page in pages]), names[pages[0].photometric.name]


READERS = {"npz": npz, "zarr": zarr_group, "tiff": tiff}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("source", "colour", "said"),
    [
        (CINE, "auto", "YBR_FULL"),
        (CINE, "keep", "YBR_FULL"),
        (CINE, "rgb", "RGB"),
        (GREY, "auto", "MONOCHROME2"),
        (GREY, "rgb", "MONOCHROME2"),
    ],
)
def test_stored_frames_say_their_colour_space(tmp_path, name, source, colour, said):
    receipt = cinemill.extract(source, tmp_path, format=name, frames=0, mode="stored", colour=colour)
    frames, photometric = READERS[name](tmp_path)
    with cinemill.open(source) as cine:
        stored = cine[0]
        assert cine.photometric_interpretation == ("YBR_FULL" if source == CINE else "MONOCHROME2")
    expected = rgb(stored) if said == "RGB" else stored
    assert np.abs(frames[0].astype(float) - expected).max() <= (1 if said == "RGB" else 0)
    assert photometric == receipt.photometric_interpretation_after == said


def test_a_tiff_of_ybr_is_shown_in_its_colours(tmp_path):
    cinemill.extract(CINE, tmp_path, format="tiff", frames=0, mode="stored")
    shown = np.asarray(Image.open(next(tmp_path.glob("*.tif"))).convert("RGB")).astype(int)
    with cinemill.open(CINE) as cine:
        assert np.abs(shown - rgb(cine[0])).max() <= 2


@pytest.mark.parametrize(("name", "decode"), [("jpeg-ls", "jpegls_decode"), ("jpeg-2000", "jpeg2k_decode")])
def test_codestreams_in_rgb(tmp_path, name, decode):
    cinemill.extract(CINE, tmp_path, format=name, frames=0, colour="rgb")
    (path,) = tmp_path.iterdir()
    with cinemill.open(CINE) as cine:
        (expected,) = cine.decode([0], "RGB")
        assert np.array_equal(getattr(imagecodecs, decode)(path.read_bytes()), expected)
        assert np.abs(expected - rgb(cine[0])).max() <= 1


def test_a_jpeg_2000_source_in_ybr_is_not_copied_when_rgb_is_wanted(tmp_path):
    frames = generate.smooth((20, 30, 3))[None]
    element = generate.encapsulated_element([[generate.jpeg_2000(frames[0], colour_transform=False)]])
    header = generate.header(frames, "YBR_FULL", samples=3)
    data = generate.part10(header, element, generate.JPEG_2000)
    cinemill.extract(data, tmp_path, format="jpeg-2000", colour="rgb")
    decoded = imagecodecs.jpeg2k_decode(next(tmp_path.iterdir()).read_bytes())
    assert np.abs(decoded - rgb(frames[0])).max() <= 1


def test_nothing_but_the_colour_space_changes(tmp_path):
    """Neither square pixels nor a window; what lies outside the regions is black in RGB too."""
    header = pydicom.dcmread(CINE)
    header.PixelAspectRatio = [2, 1]
    (region,) = header.SequenceOfUltrasoundRegions[:1]
    header.SequenceOfUltrasoundRegions = [region]
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 10, 20
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 100, 90
    cinemill.extract(header, tmp_path, format="npy", frames=0, colour="rgb", mask_outside_regions=True)
    frame = np.load(next(tmp_path.iterdir()))
    with cinemill.open(CINE) as cine:
        (expected,) = cine.decode([0], "RGB")
    assert frame.shape == expected.shape
    inside = np.s_[20:91, 10:101]
    assert np.array_equal(frame[inside], expected[inside])
    frame[inside] = 0
    assert not frame.any()


def test_formats_that_can_not_say_it_warn_unless_there_is_a_sidecar(tmp_path):
    bare = cinemill.extract(CINE, tmp_path / "1", format="npy", frames=0)
    assert any(
        "YBR_FULL, which npy can't say; see --sidecar and --colour rgb" in each for each in bare.warnings
    )
    for options in ({"sidecar": True}, {"colour": "rgb"}):
        told: Any = cinemill.extract(CINE, tmp_path / str(options), format="npy", frames=0, **options)
        assert not [each for each in told.warnings if "can't say" in each]
    assert '"photometric_interpretation": "YBR_FULL"' in next((tmp_path).rglob("*.json")).read_text()


def test_palettes_and_copies_are_refused(tmp_path):
    with pytest.raises(Refused, match="entries of a palette; use --display"):
        cinemill.extract(PALETTE, tmp_path, format="npy", colour="rgb")
    for name in ("raw", "dicom"):
        with pytest.raises(UsageError, match=f"{name} copies frames as they are coded; leave out --colour"):
            cinemill.extract(CINE, tmp_path, format=name, colour="rgb")
    wrong: Any = "pink"
    with pytest.raises(UsageError, match="unknown --colour 'pink'; choose one of auto, keep, rgb"):
        cinemill.extract(CINE, tmp_path, format="npy", colour=wrong)


def grey(frames, **elements):
    header = generate.header(frames, **elements)
    element = generate.native_element(generate.native_bytes(frames), generate.EXPLICIT)
    return generate.part10(header, element, generate.EXPLICIT)


def shown(data, folder):
    receipt = cinemill.extract(data, folder, format="npy", mode="display", window="auto")
    assert not [each for each in receipt.warnings if "flat" in each]
    return np.stack([np.load(path) for path in sorted(folder.glob("*.npy"))])


def stretched(frames, low, high):
    return np.clip(np.rint((frames.astype(float) - low) * 255 / (high - low)), 0, 255)


RAMPS = np.stack([np.arange(600, dtype="<u2").reshape(20, 30) + 1000 * index for index in range(1, 4)])


@pytest.mark.parametrize(
    "elements",
    [{}, {"RescaleSlope": "0.5", "RescaleIntercept": "-3"}, {"RescaleSlope": "-2", "RescaleIntercept": "0"}],
    ids=["plain", "rescaled", "falling"],
)
def test_without_a_window_auto_shows_the_least_value_black_and_the_greatest_white(tmp_path, elements):
    picture = shown(grey(RAMPS, bits_stored=12, **elements), tmp_path)
    slope = float(elements.get("RescaleSlope", 1))
    expected = stretched(RAMPS * np.sign(slope), *sorted((np.sign(slope) * 1000, np.sign(slope) * 3599)))
    assert np.abs(picture - expected).max() <= 1
    assert (picture.min(), picture.max()) == (0, 255)


def test_padding_does_not_count(tmp_path):
    frames = RAMPS.astype("<i2")
    frames[:, 0, :5] = -2000
    picture = shown(grey(frames, PixelPaddingValue=-2000), tmp_path)
    assert np.abs(picture - stretched(frames, 1005, 3599)).max() <= 1


def test_auto_keeps_the_window_of_the_header(tmp_path):
    data = grey(RAMPS, bits_stored=12, WindowCenter="2000", WindowWidth="500")
    plain = cinemill.extract(data, tmp_path / "plain", format="npy", mode="display")
    assert plain.status == "extracted"
    expected = [np.load(path) for path in sorted((tmp_path / "plain").glob("*.npy"))]
    assert np.array_equal(shown(data, tmp_path / "auto"), expected)


@pytest.mark.parametrize("source", [CINE, PALETTE])
def test_auto_changes_no_colour(tmp_path, source):
    with cinemill.open(source) as cine:
        assert np.array_equal(
            cine.renderer(window="auto").render(cine[0], 0), cine.renderer().render(cine[0], 0)
        )


def test_one_value_everywhere(tmp_path):
    assert len(np.unique(shown(grey(np.full((2, 9, 9), 700, "<u2")), tmp_path))) == 1


def test_auto_and_rgb_as_they_are_typed(tmp_path):
    clips.write(tmp_path / "x.dcm", RAMPS)
    done = command(
        "extract", "x.dcm", "out", "--window", "auto", "--frames", "0,2", "--sidecar", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    pictures = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("*.png"))]
    assert (pictures[0].min(), pictures[1].max()) == (0, 255)
    assert '"voi": "window"' in next((tmp_path / "out").glob("*.json")).read_text()
    again = command(
        "extract", "x.dcm", "out", "--window", "auto", "--frames", "0,2", "--sidecar", cwd=tmp_path
    )
    assert "finished already" in again.stderr
    done = command("extract", CINE, "rgb", "--format", "npz", "--colour", "rgb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert npz(tmp_path / "rgb")[1] == "RGB"
    done = command("extract", "x.dcm", "out2", "--window", "automatic", cwd=tmp_path)
    assert "can't read the window 'automatic'" in done.stderr
