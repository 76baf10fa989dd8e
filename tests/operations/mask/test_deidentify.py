"""Masks of the command that de-identifies: black where it was asked for, and nothing written where nobody knows."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.errors import NoMask, Refused, UsageError
from cinemill.operations.deidentify.deidentify import deidentify
from cinemill.operations.deidentify.keys import make_key
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.mask import detect
from cinemill.operations.mask.detect import Text
from tests.support import clips, oracle
from tests.support.files import bundled
from tests.support.generate import ULTRASOUND_CINE, noise

ULTRASOUND = bundled("examples_ybr_color.dcm")
RULES = '[[rule]]\nname = "mine"\nmanufacturer = "Acme"\nblacken = [[0, 0, 50, 4]]\n'


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "study.key")
    return tmp_path / "study.key"


@pytest.fixture
def instance(tmp_path):
    frames = noise((2, 20, 50, 3))
    return clips.write(
        tmp_path / "in.dcm",
        frames,
        "RGB",
        sop_class=ULTRASOUND_CINE,
        Manufacturer="Acme",
        BurnedInAnnotation="YES",
    )


def frames_of(path) -> np.ndarray:
    return np.stack(oracle.read(path).frames)


def test_a_jpeg_cine_stays_jpeg_and_says_that_nothing_is_burned_in(tmp_path, key):
    receipt = deidentify(ULTRASOUND, tmp_path / "out.dcm", key=str(key), mask="rect:0,0,320,20")
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert receipt.status == "deidentified"
    assert receipt.transfer_syntax_after == receipt.transfer_syntax_before
    assert written.BurnedInAnnotation == "NO"
    assert "113101" in [item.CodeValue for item in written.DeidentificationMethodCodeSequence]
    assert receipt.mask is not None
    assert receipt.mask["origin"] == "rect"
    assert receipt.mask["outside_before"] == receipt.mask["outside_after"] != ""
    found = frames_of(tmp_path / "out.dcm")
    assert (found[:, :20] == (0, 128, 128)).all()
    again = deidentify(ULTRASOUND, tmp_path / "out.dcm", key=str(key), mask="rect:0,0,320,20")
    assert again.status == "kept"
    assert again.mask is not None
    other = deidentify(ULTRASOUND, tmp_path / "out.dcm", key=str(key), mask="rect:0,0,320,21")
    assert other.status == "deidentified"


@pytest.mark.parametrize("to", ["", "jpeg-ls"])
def test_an_output_with_many_rectangles_is_known_again(tmp_path, key, to):
    mask = "+".join(f"rect:{10 * (number % 20)},{100 + 10 * (number // 20)},6,5" for number in range(60))
    first, again = (
        deidentify(ULTRASOUND, tmp_path / "out.dcm", key=str(key), mask=mask, to=to) for _ in range(2)
    )
    assert (first.status, again.status) == ("deidentified", "kept")
    assert again.mask == first.mask


@pytest.mark.parametrize("to", ["", "jpeg-ls", "jpeg-2000"])
def test_rules_of_a_file_come_first(tmp_path, key, instance, to):
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    receipt = deidentify(
        instance, tmp_path / "out.dcm", key=str(key), mask="rules", mask_rules=str(rules), to=to
    )
    found, frames = frames_of(tmp_path / "out.dcm"), frames_of(instance)
    assert not found[:, :4].any()
    np.testing.assert_array_equal(found[:, 4:], frames[:, 4:])
    assert receipt.mask is not None
    assert receipt.mask["origin"] == "rules: mine"
    assert pydicom.dcmread(tmp_path / "out.dcm").BurnedInAnnotation == "NO"


def test_a_rule_that_nothing_is_burned_in_carries_pixels_over(tmp_path, key, instance):
    rules = RULES.replace("[[0, 0, 50, 4]]", "[]")
    receipt = deidentify(instance, tmp_path / "out.dcm", key=str(key), mask="rules", mask_rules=rules)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.dcm"), frames_of(instance))
    assert receipt.mask == {"origin": "rules: mine", "rectangles": []}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("outside-regions", "no ultrasound regions"),
        ("rules", "no rule fits Acme"),
        ("review", "waits for review"),
        ("rect:0,0,5,5+outside-regions", "no ultrasound regions"),
        ("rect:500,0,5,5", "no given rectangle"),
    ],
)
def test_whose_mask_is_not_known_is_not_written(tmp_path, key, instance, mask, message):
    with pytest.raises(NoMask, match=message):
        deidentify(instance, tmp_path / "out" / "out.dcm", key=str(key), mask=mask)
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_what_is_detected_is_black_and_a_detector_that_fails_is_no_mask(tmp_path, key, instance, monkeypatch):
    monkeypatch.setattr(detect, "check_installed", lambda: None)
    monkeypatch.setattr(detect, "read_text", lambda picture: [Text((-2, 3, 20, 9), "DOE JANE", 0.9)])
    receipt = deidentify(instance, tmp_path / "out.dcm", key=str(key), mask="detected")
    found, frames = frames_of(tmp_path / "out.dcm"), frames_of(instance)
    assert not found[:, 3:10, :21].any()
    np.testing.assert_array_equal(found[:, :, 21:], frames[:, :, 21:])
    assert receipt.mask is not None
    assert receipt.mask["origin"] == "detected"

    class Engine:
        def __call__(self, picture):
            raise RuntimeError("out of memory")

    monkeypatch.undo()
    monkeypatch.setattr(detect, "check_installed", lambda: None)
    monkeypatch.setattr(detect, "_engine", Engine)
    with pytest.raises(NoMask, match="the detector of text failed: RuntimeError"):
        deidentify(instance, tmp_path / "second.dcm", key=str(key), mask="detected")
    assert not (tmp_path / "second.dcm").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "black"}, "expected outside-regions"),
        ({"mask": "rect:0,0,5,5", "mask_rules": RULES}, "--rules is for --mask rules"),
        ({"mask": "rules", "mask_rules": "[[rule]]\nblack = 4\n"}, "unknown black"),
        ({"mask": "none+rules"}, "none stands alone"),
    ],
)
def test_options_that_contradict_each_other(tmp_path, key, instance, options, message):
    with pytest.raises(UsageError, match=message):
        deidentify(instance, tmp_path / "out.dcm", key=str(key), **options)


def test_looking_for_text_needs_the_extra(tmp_path, key, monkeypatch):
    monkeypatch.setattr(detect, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cinemill\[ocr\]'"):
        Deidentify(key=str(key), mask="rect:0,0,1,1+detected").aimed_at([], tmp_path / "out")


def test_overlays_in_unused_bits_would_stay_beside_the_mask(tmp_path, key):
    frames = noise((1, 20, 50), 12) | 1 << 13
    from tests.support.generate import EXPLICIT, header, native_element, part10

    dataset = header(frames, bits_stored=12)
    planes = ((0x10, "US", 20), (0x11, "US", 50), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 16))
    for element, vr, value in (*planes, (0x102, "US", 13)):
        dataset.add_new(0x60000000 | element, vr, value)
    path = tmp_path / "in.dcm"
    path.write_bytes(part10(dataset, native_element(frames.tobytes(), EXPLICIT), EXPLICIT))
    with pytest.raises(Refused, match="overlays in unused bits"):
        deidentify(path, tmp_path / "out.dcm", key=str(key), mask="rect:0,0,5,5")
    deidentify(path, tmp_path / "out.dcm", key=str(key), mask="rect:0,0,5,5", to="jpeg-ls")
    with cinemill.open(tmp_path / "out.dcm") as cine:
        assert not cine[0][:5, :5].any()
    assert not [element for element in pydicom.dcmread(tmp_path / "out.dcm") if element.tag.group == 0x6000]
