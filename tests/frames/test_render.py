"""Display values against pydicom's pipeline, on made images and on real ones."""

import contextlib
import json
import pickle
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

import cinemill
from cinemill.errors import NotInFile, UnsupportedPixelFormat
from cinemill.frames import transformations
from tests.support import clips, generate, oracle
from tests.support.files import bundled

GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def to_8_bits(values, low, high):
    scaled = (np.asarray(values, np.float64) - low) / (high - low) * 255
    return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)


def expected_display(dataset, frame):
    """Frame 0 by pydicom, then mapped from the range of possible values to 0-255."""
    interpretation = dataset.PhotometricInterpretation
    if interpretation == "PALETTE COLOR":
        colours = apply_color_lut(frame, dataset)[..., :3]
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    if frame.ndim == 3:
        return to_8_bits(frame, 0, 2**dataset.BitsStored - 1)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (dataset.get(groups) or ())[:1]:
            for name in GROUPS:
                for item in group.get(name) or ():
                    dataset.update(item)
    modality = apply_modality_lut(frame, dataset)
    voi = apply_voi_lut(modality, dataset)
    picture = to_8_bits(voi, *value_range(dataset))
    return 255 - picture if interpretation == "MONOCHROME1" else picture


def value_range(dataset):
    if dataset.get("VOILUTSequence"):
        return 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    bits = dataset.BitsStored
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is not None and intercept is not None:
        low, high = low * slope + intercept, high * slope + intercept
    return low, high


def lut(values, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.add_new("LUTData", "OW", np.asarray(values, "<u2").tobytes())
    return item


RAMP12 = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(1, 64, 64)
INVERSE = lut(np.arange(4095, -1, -1), 0, 12)
INVERSE_16 = lut(np.arange(65535, -1, -16), 0, 16)

CASES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "8 bits as they are": (np.arange(256, dtype=np.uint8).reshape(1, 16, 16), {}),
    "12 bits without transformation": (RAMP12, {"bits_stored": 12}),
    "window": (RAMP12, {"bits_stored": 12, "WindowCenter": "1000", "WindowWidth": "500"}),
    "first of several windows": (
        RAMP12,
        {"bits_stored": 12, "WindowCenter": ["1000", "5"], "WindowWidth": ["500", "9"]},
    ),
    "window of width 1": (RAMP12, {"bits_stored": 12, "WindowCenter": "1000", "WindowWidth": "1"}),
    "exact window": (
        RAMP12,
        {"bits_stored": 12, "WindowCenter": "99.5", "WindowWidth": "0.5", "VOILUTFunction": "LINEAR_EXACT"},
    ),
    "sigmoid": (
        RAMP12,
        {"bits_stored": 12, "WindowCenter": "1000", "WindowWidth": "500", "VOILUTFunction": "SIGMOID"},
    ),
    "rescale and window, signed": (
        SIGNED,
        {
            "bits_stored": 12,
            "RescaleSlope": "1.5",
            "RescaleIntercept": "-1024",
            "WindowCenter": "40",
            "WindowWidth": "400",
        },
    ),
    "rescale alone": (SIGNED, {"bits_stored": 12, "RescaleSlope": "2", "RescaleIntercept": "100"}),
    "modality LUT": (RAMP12, {"bits_stored": 12, "ModalityLUTSequence": [INVERSE_16]}),
    "VOI LUT": (RAMP12, {"bits_stored": 12, "VOILUTSequence": [lut(np.arange(0, 4000, 2), 100, 12)]}),
    "VOI LUT before a window": (
        RAMP12,
        {"bits_stored": 12, "VOILUTSequence": [INVERSE], "WindowCenter": "9", "WindowWidth": "9"},
    ),
    "signed VOI LUT": (SIGNED, {"bits_stored": 12, "VOILUTSequence": [lut(np.arange(1000), -500, 10)]}),
}


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("case", CASES)
def test_grey_is_that_of_pydicom(tmp_path, case, interpretation):
    frames, elements = CASES[case]
    path = clips.write(tmp_path / "grey.dcm", frames, interpretation, **elements)
    dataset = pydicom.dcmread(path)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine.render(0), expected_display(dataset, dataset.pixel_array))


def test_monochrome1_is_inverted_once(tmp_path):
    frames = np.array([[[0, 255, 10]]], np.uint8)
    path = clips.write(tmp_path / "x.dcm", frames, "MONOCHROME1", PresentationLUTShape="INVERSE")
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[255, 0, 245]]


def test_a_falling_rescale_shows_large_values_bright(tmp_path):
    frames = np.array([[[0, 100, 255]]], np.uint8)
    path = clips.write(tmp_path / "x.dcm", frames, RescaleSlope="-1", RescaleIntercept="0")
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[255, 155, 0]]


@pytest.mark.parametrize(("centre", "width"), [("0", "0"), ("0", "1e400"), ("-1e400", "9")])
def test_windows_that_the_standard_forbids_are_not_applied(tmp_path, centre, width):
    path = clips.write(
        tmp_path / "x.dcm", np.array([[[0, 200]]], np.uint8), WindowCenter=centre, WindowWidth=width
    )
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[0, 200]]
        assert cine.renderer().describe(0)["voi"] == "none"


@pytest.mark.parametrize("interpretation", ["RGB", "YBR_FULL"])
def test_colour_has_no_sign_whatever_the_header_says(tmp_path, interpretation):
    frames = generate.noise((1, 9, 11, 3))
    wrong = clips.write(tmp_path / "wrong.dcm", frames, interpretation, PixelRepresentation=1)
    right = clips.write(tmp_path / "right.dcm", frames, interpretation)
    with cinemill.open(wrong) as cine, cinemill.open(right) as expected:
        assert np.array_equal(cine[0], frames[0].view(np.int8))
        assert np.array_equal(cine.render(0), expected.render(0))
        assert any("colour has no sign" in warning for warning in cine.warnings)
    receipt = cinemill.transcode(wrong, tmp_path / "rgb.dcm", to="jpeg-ls", colour="rgb")
    assert any("colour has no sign" in warning for warning in receipt.warnings)
    with cinemill.open(tmp_path / "rgb.dcm") as cine, cinemill.open(right) as expected:
        assert np.array_equal(cine[0].view(np.uint8), expected.render(0))


def test_what_lies_above_bits_stored_is_not_shown(tmp_path):
    frames = np.array([[[0x0FFF, 0xF000, 0x1800]]], np.uint16)
    with cinemill.open(clips.write(tmp_path / "x.dcm", frames, bits_stored=12)) as cine:
        assert cine.render(0).tolist() == [[255, 0, 128]]


def test_a_voi_lut_of_8_bits_with_many_entries(tmp_path):
    table = lut(np.arange(4096) // 16, 0, 8)
    with cinemill.open(
        clips.write(tmp_path / "x.dcm", RAMP12, bits_stored=12, VOILUTSequence=[table])
    ) as cine:
        assert np.array_equal(cine.render(0), RAMP12[0] // 16)


def raw_lut(values, first, *, bits=16, vr="US"):
    """A LUT whose descriptor is written as unsigned whatever it holds; data of VR OW, or US."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) & 0xFFFF, first & 0xFFFF, bits])
    data = np.asarray(values, "<u2").tobytes() if bits > 8 else bytes(values)
    item.add_new("LUTData", vr, data if vr == "OW" else np.frombuffer(data, "<u2").tolist())
    return item


def test_a_negative_first_value_that_was_written_as_unsigned(tmp_path):
    signed = np.arange(-2048, 2048, dtype=np.int16).reshape(1, 64, 64)
    expected = np.clip(signed[0] + 500, 0, 999) * (255 / 65535)
    path = clips.write(
        tmp_path / "x.dcm", signed, bits_stored=12, VOILUTSequence=[raw_lut(np.arange(1000), -500)]
    )
    with cinemill.open(path) as cine:
        assert np.array_equal(cine.render(0), np.rint(expected))
    high = np.array([[[0, 63999, 64000, 65535]]], np.uint16)
    path = clips.write(tmp_path / "y.dcm", high, VOILUTSequence=[raw_lut([0, 65535], 64000)])
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[0, 0, 0, 255]]


@pytest.mark.parametrize("vr", ["OW", "US"])
def test_a_lut_of_8_bits_may_share_words(tmp_path, vr):
    table = raw_lut(list(range(255, -1, -1)), 0, bits=8, vr=vr)
    path = clips.write(tmp_path / "x.dcm", np.array([[[0, 1, 255]]], np.uint8), ModalityLUTSequence=[table])
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[255, 254, 0]]


def test_a_lut_of_65536_entries(tmp_path):
    table = raw_lut(np.arange(65535, -1, -1), 0, vr="OW")
    frames = np.array([[[0, 257, 65535]]], np.uint16)
    with cinemill.open(clips.write(tmp_path / "x.dcm", frames, VOILUTSequence=[table])) as cine:
        assert cine.render(0).tolist() == [[255, 254, 0]]


def test_a_lut_cut_short_is_an_error(tmp_path):
    table = raw_lut([0, 1, 2], 0)
    table.LUTDescriptor = [4, 0, 16]
    path = clips.write(tmp_path / "x.dcm", RAMP12, bits_stored=12, VOILUTSequence=[table])
    with (
        cinemill.open(path) as cine,
        pytest.raises(UnsupportedPixelFormat, match="4 entries, 3 are there.*--stored, or --window"),
    ):
        cine.render(0)


def test_a_slope_of_0_is_no_rescale(tmp_path):
    frames = np.array([[[0, 200, 255]]], np.uint8)
    path = clips.write(tmp_path / "x.dcm", frames, RescaleSlope="0", RescaleIntercept="0")
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == frames[0].tolist()


def test_a_rescale_without_finite_values_is_refused(tmp_path):
    path = clips.write(tmp_path / "x.dcm", clips.numbered(1), RescaleSlope="1e400", RescaleIntercept="0")
    with cinemill.open(path) as cine, pytest.raises(UnsupportedPixelFormat, match="use --stored"):
        cine.render(0)


def test_only_the_chosen_window_must_be_legal(tmp_path):
    path = clips.write(
        tmp_path / "x.dcm", RAMP12, bits_stored=12, WindowCenter=["9", "2000"], WindowWidth=["0", "500"]
    )
    with cinemill.open(path) as cine:
        assert cine.renderer().describe(0)["voi"] == "none"
        shown = cine.renderer(voi=1)
        assert shown.describe(0)["voi"] == "window"
        assert set(shown.render(cine[0], 0)[[0, -1], [0, -1]].tolist()) == {0, 255}


@pytest.mark.parametrize(
    "elements",
    [{"WindowCenter": "1", "WindowWidth": "9", "VOILUTFunction": "STEEP"}, {"WindowCenter": "abc"}],
)
def test_transformations_that_make_no_sense_are_an_error(tmp_path, elements):
    elements = {"WindowWidth": "9", **elements}
    path = clips.write(tmp_path / "x.dcm", RAMP12, bits_stored=12, **{**elements, "WindowCenter": "111"})
    path.write_bytes(path.read_bytes().replace(b"111 ", elements["WindowCenter"].encode().ljust(4)))
    with pytest.raises(UnsupportedPixelFormat, match=r"transformation can't be applied.*--window"):
        cinemill.extract(path, tmp_path / "out")


def test_a_palette_that_is_missing_or_short_is_an_error(tmp_path):
    path = clips.write(tmp_path / "x.dcm", clips.numbered(1), "PALETTE COLOR")
    with cinemill.open(path) as cine, pytest.raises(UnsupportedPixelFormat, match="palette .*it has none"):
        cine.render(0)
    elements: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        elements[f"{name}PaletteColorLookupTableData"] = bytes(100)
    path = clips.write(tmp_path / "y.dcm", clips.numbered(1), "PALETTE COLOR", **elements)
    with cinemill.open(path) as cine, pytest.raises(UnsupportedPixelFormat, match="256 entries, 100 are"):
        cine.render(0)


def test_segmented_palettes_are_those_of_pydicom(tmp_path):
    elements: dict[str, Any] = {}
    for number, name in enumerate(("Red", "Green", "Blue")):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        segments = [0, 2, 0, 1000 * number, 1, 254, 65000]  # two entries as they are, 254 on a line
        elements[f"Segmented{name}PaletteColorLookupTableData"] = np.array(segments, "<u2").tobytes()
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    path = clips.write(tmp_path / "x.dcm", frames, "PALETTE COLOR", **elements)
    dataset = pydicom.dcmread(path)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine.render(0), apply_color_lut(dataset.pixel_array, dataset) >> 8)


def test_a_supplemental_palette_is_left_out_by_name(tmp_path):
    elements = {"RedPaletteColorLookupTableDescriptor": [256, 0, 8]}
    path = clips.write(tmp_path / "x.dcm", clips.numbered(1), **elements)
    receipt = cinemill.extract(path, tmp_path / "out")
    assert any("Supplemental Palette" in warning for warning in receipt.warnings)


def test_window_and_alternative_by_choice(tmp_path):
    path = clips.write(
        tmp_path / "x.dcm", RAMP12, bits_stored=12, WindowCenter=["1000", "50"], WindowWidth=["500", "20"]
    )
    dataset = pydicom.dcmread(path)
    second = to_8_bits(apply_voi_lut(dataset.pixel_array, dataset, index=1), 0, 4095)
    dataset.WindowCenter, dataset.WindowWidth = 2000, 30
    chosen = to_8_bits(apply_voi_lut(dataset.pixel_array, dataset), 0, 4095)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine.renderer(voi=1).render(cine[0], 0), second)
        assert np.array_equal(cine.renderer(window=(2000, 30)).render(cine[0], 0), chosen)
        with pytest.raises(NotInFile, match="has 0 to 1"):
            cine.renderer(voi=2).render(cine[0], 0)


def test_functional_groups_apply_to_their_frame(tmp_path):
    def voi(centre):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, "101"
        group.FrameVOILUTSequence = [window]
        return group

    rescale, shared = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", "-100", "US"
    shared.PixelValueTransformationSequence = [rescale]
    frame = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    enhanced = clips.write(
        tmp_path / "enhanced.dcm",
        np.repeat(frame, 2, axis=0),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[voi("0"), voi("80")],
    )
    with cinemill.open(enhanced) as cine:
        for index, centre in enumerate(("0", "80")):
            plain = clips.write(
                tmp_path / f"{index}.dcm",
                frame,
                RescaleSlope="1",
                RescaleIntercept="-100",
                WindowCenter=centre,
                WindowWidth="101",
            )
            with cinemill.open(plain) as same:
                assert np.array_equal(cine.render(index), same.render(0))


def test_functional_groups_of_later_frames_only(tmp_path):
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "100", "2"
    group.FrameVOILUTSequence = [window]
    frames = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), 2, axis=0)
    path = clips.write(tmp_path / "x.dcm", frames, PerFrameFunctionalGroupsSequence=[Dataset(), group])
    with cinemill.open(path) as cine:
        assert np.array_equal(cine.render(0), frames[0])
        assert set(cine.render(1).flat) == {0, 255}
    cinemill.extract(path, tmp_path / "out", sidecar=True, format="png")
    told = json.loads((tmp_path / "out" / "x.json").read_text())
    assert [frame["rendering"]["voi"] for frame in told["frames"]] == ["none", "window"]


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257), (16, 256)])
def test_palettes_of_8_and_16_bits(tmp_path, bits, scale):
    entries = np.array([[10, 20, 30], [200, 100, 0], [255, 0, 255]]) * scale
    elements: dict[str, Any] = {}
    for name, values in zip(("Red", "Green", "Blue"), entries.T, strict=True):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [3, 1, bits]
        elements[f"{name}PaletteColorLookupTableData"] = (
            values.astype("<u2").tobytes() if bits == 16 else values.astype("u1").tobytes() + b"\0"
        )
    frames = np.array([[[0, 1, 2, 3, 200]]], np.uint8)
    path = clips.write(tmp_path / "palette.dcm", frames, "PALETTE COLOR", **elements)
    with cinemill.open(path) as cine:
        expected = [[10, 20, 30], [10, 20, 30], [200, 100, 0], [255, 0, 255], [255, 0, 255]]
        assert cine.render(0).tolist() == [expected]
        with pytest.raises(UnsupportedPixelFormat, match="windows apply to"):
            cine.renderer(window=(10, 10))


def test_big_endian_palettes(tmp_path):
    frames = np.array([[[0, 1]]], np.uint8)
    elements: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = np.array([0x1234, 0xFF00], ">u2").tobytes()
    header = generate.header(frames, "PALETTE COLOR", **elements)
    data = generate.native_bytes(frames, big_endian=True, words=True)
    path = tmp_path / "big.dcm"
    path.write_bytes(
        generate.part10(header, generate.native_element(data, generate.BIG_ENDIAN), generate.BIG_ENDIAN)
    )
    with cinemill.open(path) as cine:
        assert cine.render(0).tolist() == [[[0x12] * 3, [0xFF] * 3]]


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
@pytest.mark.parametrize(
    ("ratio", "shape"),
    [
        (["2", "1"], (8, 6)),
        (["1", "2"], (4, 12)),
        (["0", "0"], (4, 6)),
        (["1e308", "1"], (4, 6)),
        (["1", "1e308"], (4, 6)),
    ],
)
def test_pixel_aspect_ratio_makes_pixels_square(tmp_path, ratio, shape):
    path = clips.write(tmp_path / "x.dcm", clips.numbered(1, (4, 6)), PixelAspectRatio=ratio)
    with cinemill.open(path) as cine:
        assert cine.render(0).shape == shape


def test_ultrasound_is_not_stretched_by_physical_deltas(tmp_path):
    item = clips.region((0, 0, 5, 3), deltas=(0.1, 0.3))
    path = clips.write(tmp_path / "x.dcm", clips.numbered(1, (4, 6)), SequenceOfUltrasoundRegions=[item])
    with cinemill.open(path) as cine:
        assert cine.render(0).shape == (4, 6)


ROUNDED = "lossy JPEG that pydicom reads by pylibjpeg, which rounds differently: 12 bits, or a lossless label"
DIFFERENT = {
    "Enet4_dicom-test-files__SC_rgb_jpeg_lossy_gdcm.dcm": "JFIF under an RGB label; pydicom believes the label",
    "Enet4_dicom-test-files__OBXXXX1A_expb.dcm": "pydicom reads a big endian palette as little endian",
    "Enet4_dicom-test-files__OBXXXX1A_expb_2frame.dcm": "pydicom reads a big endian palette as little endian",
    "cornerstonejs_cornerstone3D__CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": ROUNDED,
    "cornerstonejs_cornerstone3D__CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": ROUNDED,
    "JPGExtended.dcm": ROUNDED,
    "dcmjs-org_dcmjs__sample-op.dcm": ROUNDED,
}


CANNOT = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RuntimeError),
    *(InvalidDicomError, TypeError, ValueError),
)
"""What pydicom and its plug-ins raise on what they can't read."""


def pydicom_reading(path):
    """The data set, frame 0 as stored, and frame 0 for display; skips what pydicom can't do."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(None):
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            stored = oracle.pydicom_frame(dataset, raw=True)
            return dataset, stored, expected_display(dataset, oracle.pydicom_frame(dataset))
        except CANNOT as error:
            return pytest.skip(f"pydicom: {error!r:.100}")


def assert_like_pydicom(path):
    dataset, stored, shown = pydicom_reading(path)
    name = path.name.removeprefix("pydicom_pydicom__")
    with cinemill.open(path) as cine:
        frame = cine[0]
        if DIFFERENT.get(name) != ROUNDED:
            assert np.array_equal(frame, stored.reshape(frame.shape))
        else:
            assert np.abs(frame.astype(int) - stored).max() == 1
        rendered = cine.renderer().render(frame, 0)
    assert rendered.shape == shown.shape
    assert np.array_equal(rendered, shown) == (name not in DIFFERENT), DIFFERENT.get(name, dataset.file_meta)


def test_bundled_images_are_those_of_pydicom(pydicom_file):
    assert_like_pydicom(pydicom_file)


@pytest.mark.corpus
def test_real_images_are_those_of_pydicom(corpus_file):
    assert_like_pydicom(corpus_file)


def test_a_cine_can_be_handed_to_other_processes():
    with cinemill.open(bundled("examples_ybr_color.dcm")) as cine:
        copy = pickle.loads(pickle.dumps(cine))
        assert np.array_equal(copy[3], cine[3])


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR", "none"), ("linear", "none"), ("", "none"), ("linear_exact", "window")],
)
def test_a_window_narrower_than_1_is_none_where_the_function_is_linear_however_that_is_written(
    function, expected
):
    found = {"WindowCenter": 1.0, "WindowWidth": 0.5, "VOILUTFunction": function}
    assert transformations.told_voi(found, None)[0] == expected
