"""Runs that never grow: what is chosen by trial, what is kept and why, and what a rerun believes."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.errors import CodecError, DamagedFile, NoRoom, UnsupportedPixelFormat
from cinemill.operations.operation import Control
from cinemill.operations.transcode import choose, transcode
from cinemill.operations.transcode.request import Transcode
from cinemill.storage import file as storage_file
from tests.support import oracle
from tests.support.files import bundled, standing
from tests.support.generate import (
    DEFLATED,
    EXPLICIT,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    RLE,
    encapsulated_element,
    header,
    jpeg,
    jpeg_lossless,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
    smooth,
)

ULTRASOUND = bundled("examples_ybr_color.dcm")
BULK = Transcode().in_bulk()


def native(frames, interpretation="MONOCHROME2", **elements) -> bytes:
    samples = 1 if frames.ndim == 3 else 3
    described = header(frames, interpretation, samples=samples, **elements)
    return part10(described, native_element(native_bytes(frames), EXPLICIT), EXPLICIT)


def deflated(frames) -> bytes:
    return part10(header(frames), native_element(native_bytes(frames), EXPLICIT), DEFLATED)


def run(source: Path, output: Path, asked: Transcode = BULK, control: Control | None = None):
    return transcode.run(asked, source, output, control or Control(1))


FINE = np.stack([np.rot90(smooth((96, 96)), turn) for turn in (0, 1, 2, 3, 0, 1)])
"""Frames that every codec makes smaller."""

LIE = "JPEGLosslessSV1 is declared, but the codestream is lossy (JPEG SOF0)"

ALIKE = np.repeat(noise((1, 64, 64), seed=3), 24, axis=0)
"""Noise, the same in all frames: what looks across frames holds it in next to nothing, and no codec does."""


def test_a_directory_keeps_what_is_lossy_and_says_so(tmp_path):
    done = run(ULTRASOUND, tmp_path / "out.dcm")
    assert (done.status, done.reason, done.policy, done.rule) == (
        "copied",
        "lossy-source",
        "archive",
        "lossless",
    )
    assert done.policy_digest.startswith("xxh3-128:")
    assert (tmp_path / "out.dcm").read_bytes() == ULTRASOUND.read_bytes()
    assert run(ULTRASOUND, tmp_path / "out.dcm").status == "kept"


def test_one_named_file_with_a_target_is_written_whatever_it_takes(tmp_path):
    done = cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to="jpeg-ls")
    assert done.status == "transcoded"
    assert done.bytes_after > 3 * done.bytes_before
    assert cinemill.transcode(ULTRASOUND, tmp_path / "kept.dcm").reason == "lossy-source"


def test_the_smaller_of_two_is_chosen_by_trial(tmp_path, source):
    path = source(native(FINE))
    sizes = {}
    for target in ("jpeg-ls", "jpeg-2000"):
        sizes[target] = cinemill.transcode(path, tmp_path / target, to=target).bytes_after
    done = run(path, tmp_path / "out.dcm")
    assert done.bytes_after == min(sizes.values())
    assert done.status == "transcoded"
    assert oracle.difference(oracle.read(path), oracle.read(tmp_path / "out.dcm")) is None


def test_what_would_grow_is_copied_by_a_trial_or_when_its_size_is_passed(tmp_path, source, monkeypatch):
    path = source(deflated(ALIKE))
    tried = run(path, tmp_path / "tried.dcm", replace(BULK, to="jpeg-ls"))
    assert (tried.status, tried.reason) == ("copied", "would-grow")
    assert tried.bytes_otherwise > tried.bytes_before == tried.bytes_after
    monkeypatch.setattr(choose, "_needs_trial", lambda *_: False)
    late = run(path, tmp_path / "late.dcm", replace(BULK, to="jpeg-ls"))
    assert (late.status, late.reason) == ("copied", "would-grow")
    assert late.bytes_otherwise > late.bytes_before
    assert {each.name for each in tmp_path.iterdir()} == {"source.dcm", "tried.dcm", "late.dcm"}
    for name in ("tried.dcm", "late.dcm"):
        assert (tmp_path / name).read_bytes() == path.read_bytes()
    written = run(path, tmp_path / "written.dcm", replace(BULK, to="jpeg-ls", if_larger="write"))
    assert written.bytes_after > written.bytes_before


def test_growth_that_the_trial_could_not_see_is_noticed_while_writing(tmp_path, source):
    """The frames that the trial takes are of one colour each."""
    frames = np.repeat(smooth((64, 64))[None], 40, axis=0)
    frames[[0, 13, 26, 39]] = 7
    codestreams = [[jpeg_lossless(frame, 8)] for frame in frames]
    path = source(part10(header(frames), encapsulated_element(codestreams), JPEG_LOSSLESS_SV1))
    done = run(path, tmp_path / "out.dcm", replace(BULK, to="rle"))
    size = path.stat().st_size
    assert (done.status, done.reason) == ("copied", "would-grow")
    assert size < done.bytes_otherwise < size + 2 * 64 * 64
    assert sorted(os.listdir(tmp_path)) == ["out.dcm", "source.dcm"]


@pytest.mark.parametrize("target", ["explicit", "implicit", "deflated", "rle", "jpeg-2000", "htj2k"])
def test_no_target_grows_unasked(tmp_path, target):
    done = run(ULTRASOUND, tmp_path / "out.dcm", replace(BULK, to=target, lossy_source="transcode"))
    assert (done.status, done.reason) == ("copied", "would-grow")
    assert (tmp_path / "out.dcm").read_bytes() == ULTRASOUND.read_bytes()


def test_a_trial_that_fails_decides_nothing(tmp_path, source):
    frames = [[jpeg_lossless(frame, 8)] for frame in FINE]
    frames[5] = [frames[5][0][:60]]
    path = source(part10(header(FINE), encapsulated_element(frames), JPEG_LOSSLESS_SV1))
    with pytest.raises(CodecError) as found:
        run(path, tmp_path / "out.dcm")
    assert found.value.frame == 5
    assert os.listdir(tmp_path) == ["source.dcm"]


def test_a_target_that_can_not_hold_it_leaves_the_others(tmp_path, source):
    bits = (noise((2, 32, 32), seed=2) & 1).astype(np.uint8)
    described = header(bits, bits_stored=1)
    path = source(part10(described, native_element(native_bytes(bits), EXPLICIT), EXPLICIT))
    done = run(path, tmp_path / "out.dcm", replace(BULK, if_larger="write"))
    assert done.transfer_syntax_after.endswith("4.90")


def test_smallest_is_the_smallest_and_fastest_does_not_grow(tmp_path, source):
    path = source(native(FINE))
    smallest = run(path, tmp_path / "smallest", replace(BULK, to="smallest"))
    others = {
        target: cinemill.transcode(path, tmp_path / target, to=target).bytes_after
        for target in ("jpeg-ls", "jpeg-2000", "htj2k", "rle", "deflated", "explicit", "implicit")
    }
    assert smallest.bytes_after == min(others.values())
    fastest = run(path, tmp_path / "fastest", replace(BULK, to="fastest"))
    assert fastest.status == "transcoded"
    assert fastest.bytes_after <= fastest.bytes_before


def test_the_smallest_is_found_of_what_has_large_values_beside_its_pixels(tmp_path, source):
    described = header(FINE)
    described.add_new(0x00090010, "LO", "VOLUMES 01")
    described.add_new(0x00091001, "OB", bytes(5 << 20))
    element = encapsulated_element([[rle_stream(frame)] for frame in FINE])
    path = source(part10(described, element, RLE))
    done = run(path, tmp_path / "out.dcm", replace(BULK, to="smallest"))
    assert (done.status, done.transfer_syntax_after) == ("transcoded", DEFLATED)


def test_the_smallest_of_what_no_codec_holds_is_deflated(tmp_path, source):
    numbers = np.zeros((2, 32, 32), "<f4")
    described = header(numbers.view("<u4"), BitsStored=None, HighBit=None, PixelRepresentation=None)
    pixels = native_element(numbers.tobytes(), EXPLICIT, b"OF", 0x7FE00008)
    path = source(part10(described, pixels, EXPLICIT))
    done = run(path, tmp_path / "out.dcm", replace(BULK, to="smallest"))
    assert (done.status, done.transfer_syntax_after) == ("transcoded", DEFLATED)
    assert done.bytes_after < done.bytes_before


def test_a_rerun_believes_a_copy_that_a_trial_decided_while_nothing_changes(tmp_path, source, monkeypatch):
    path, output = source(deflated(ALIKE)), tmp_path / "out.dcm"
    asked = replace(BULK, to="jpeg-ls,jpeg-2000")
    first = run(path, output, asked)
    if not storage_file.label_of(output):
        pytest.skip("this file system keeps no extended attributes")
    before = standing(output)
    tries = []

    def counted(*given, **how):
        tries.append(given)
        return choose.choose(*given, **how)

    monkeypatch.setattr(transcode, "choose", counted)
    again = run(path, output, asked)
    assert (again.status, again.reason) == ("kept", "would-grow")
    assert again.bytes_otherwise == first.bytes_otherwise
    assert not tries
    assert standing(output) == before
    assert run(path, output, replace(asked, colour="keep")).status == "kept"
    assert len(tries) == 1
    path.touch()
    assert run(path, output, replace(asked, colour="keep")).status == "kept"
    assert len(tries) == 2
    assert standing(output) == before
    os.removexattr(output, "user.cinemill")
    assert run(path, output, asked).status == "kept"
    assert len(tries) == 3
    assert run(path, output, replace(asked, if_larger="write")).status == "transcoded"
    done = run(path, output, asked)
    assert done.status == "copied"
    assert "is larger than its source; it was made anew" in done.warnings[-1]


def test_a_rerun_believes_an_output_without_a_trial_while_the_decision_is_the_same(
    tmp_path, source, monkeypatch
):
    path, output = source(native(FINE)), tmp_path / "out.dcm"
    assert run(path, output).status == "transcoded"
    monkeypatch.setattr(choose, "try_out", lambda *_, **__: pytest.fail("a trial was made"))
    kept = run(path, output)
    assert (kept.status, kept.policy, kept.rule) == ("kept", "archive", "lossless")
    monkeypatch.undo()
    done = run(path, output, Transcode(to="htj2k,rle").in_bulk())
    assert done.status == "transcoded"
    assert "was made with other options" in done.warnings[-1]
    keep = 'name = "none"\n[[rule]]\nkeep = true\n'
    done = run(path, output, Transcode(policy=keep).in_bulk())
    assert (done.status, done.reason, done.policy, done.rule) == ("copied", "policy", "none", "rule 1")
    assert output.read_bytes() == path.read_bytes()
    assert run(path, output).status == "transcoded"


RULES = """
name = "three kinds"
[[rule]]
name = "lossy ultrasound"
when = { lossy = true }
keep = true
[[rule]]
name = "one frame"
when = { frames = 1 }
to = "rle"
if-larger = "write"
[[rule]]
name = "cines"
to = ["jpeg-ls", "jpeg-2000", "htj2k"]
"""


def test_receipts_and_outputs_name_the_rule(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cine.dcm").write_bytes(native(FINE))
    (tmp_path / "in" / "one.dcm").write_bytes(native(FINE[:1]))
    shutil.copy(ULTRASOUND, tmp_path / "in" / "lossy.dcm")
    asked = Transcode(policy=RULES).in_bulk()
    found = {
        path.name: run(path, tmp_path / "out" / path.name, asked) for path in (tmp_path / "in").iterdir()
    }
    told = {name: (each.rule, each.status, each.transfer_syntax_after) for name, each in found.items()}
    assert told["lossy.dcm"] == ("lossy ultrasound", "copied", JPEG_BASELINE)
    assert told["one.dcm"] == ("one frame", "transcoded", RLE)
    assert told["cine.dcm"][:2] == ("cines", "transcoded")
    assert {each.policy_digest for each in found.values()} == {asked.rules.digest}
    again = run(tmp_path / "in" / "one.dcm", tmp_path / "out" / "one.dcm", asked)
    assert (again.status, again.rule, again.policy) == ("kept", "one frame", "three kinds")


def test_a_full_disk_leaves_nothing(tmp_path, source, monkeypatch):
    path = source(native(FINE))

    def no_room(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "writev", no_room)
    with pytest.raises(NoRoom):
        run(path, tmp_path / "out.dcm")
    assert os.listdir(tmp_path) == ["source.dcm"]


def test_a_run_killed_in_a_trial_leaves_nothing_and_goes_on(tmp_path, source):
    path = source(native(np.concatenate([FINE, FINE])))
    script = (
        "import sys, time\nfrom cinemill.operations.transcode import choose\n"
        "def slowly(*a, **k):\n    print('trial', flush=True); time.sleep(60)\n"
        "choose.try_out = slowly\nimport cinemill\ncinemill.transcode(sys.argv[1], sys.argv[2])"
    )
    words = [sys.executable, "-c", script, path, tmp_path / "out.dcm"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"trial\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert os.listdir(tmp_path) == ["source.dcm"]
    assert run(path, tmp_path / "out.dcm").status == "transcoded"


def test_a_trial_stops_on_request(tmp_path, source):
    from cinemill.errors import Cancelled

    path = source(native(FINE))
    with pytest.raises(Cancelled):
        run(path, tmp_path / "out.dcm", BULK, Control(1, lambda: True))
    assert os.listdir(tmp_path) == ["source.dcm"]


def grey_in_colour(*, frames=5) -> np.ndarray:
    grey = np.stack([smooth((48, 48), seed) for seed in range(frames)])
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "rle", "explicit"])
def test_grey_colour_becomes_one_sample_on_request_only(tmp_path, source, target):
    frames = grey_in_colour()
    path = source(part10(header(frames, "RGB", samples=3),
                         encapsulated_element([[rle_stream(frame)] for frame in frames]), RLE))  # fmt: skip
    if target == "rle":
        path.write_bytes(native(frames, "RGB"))
    plain = cinemill.transcode(path, tmp_path / "plain.dcm", to=target)
    done = cinemill.transcode(path, tmp_path / "grey.dcm", to=target, collapse_grey=True)
    assert (plain.samples, done.samples, done.photometric_interpretation_after) == (3, 1, "MONOCHROME2")
    assert any("R = G = B" in warning for warning in done.warnings)
    dataset = pydicom.dcmread(tmp_path / "grey.dcm")
    assert "PlanarConfiguration" not in dataset
    assert np.array_equal(dataset.pixel_array, frames[..., 0])
    assert cinemill.verify(path, tmp_path / "grey.dcm").status == "verified"
    assert cinemill.transcode(path, tmp_path / "grey.dcm", to=target, collapse_grey=True).status == "kept"
    assert cinemill.transcode(path, tmp_path / "grey.dcm", to=target).status == "transcoded"


def test_colour_in_one_pixel_of_one_frame_is_colour(tmp_path, source):
    frames = grey_in_colour(frames=20)
    frames[17, 31, 5, 2] += 1
    done = cinemill.transcode(
        source(native(frames, "RGB")), tmp_path / "o.dcm", to="jpeg-ls", collapse_grey=True
    )
    assert done.samples == 3
    assert np.array_equal(pydicom.dcmread(tmp_path / "o.dcm").pixel_array, frames)


def test_colour_that_the_header_speaks_of_stays(tmp_path, source):
    region = pydicom.Dataset()
    region.RegionDataType, region.RegionSpatialFormat = 2, 1
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1 = region.RegionLocationMaxY1 = 40
    frames = grey_in_colour()
    for elements in ({"UltrasoundColorDataPresent": 1}, {"SequenceOfUltrasoundRegions": [region]}):
        path = source(native(frames, "RGB", **elements))
        done = cinemill.transcode(path, tmp_path / "o.dcm", to="rle", collapse_grey=True, overwrite=True)
        assert done.samples == 3


def test_verify_finds_colour_that_was_lost(tmp_path, source):
    frames = grey_in_colour()
    path = source(native(frames, "RGB"))
    cinemill.transcode(path, tmp_path / "grey.dcm", to="rle", collapse_grey=True)
    frames[3, 4, 5, 1] += 9
    path.write_bytes(native(frames, "RGB"))
    with pytest.raises(cinemill.CinemillError, match="1 of 5 frames differ"):
        cinemill.verify(path, tmp_path / "grey.dcm")


def test_a_source_that_lies_is_treated_by_its_codestream_and_named(tmp_path, source):
    frame = smooth((64, 64))
    lossy = part10(header(frame[None]), encapsulated_element([[jpeg(frame)]]), JPEG_LOSSLESS_SV1)
    done = run(source(lossy), tmp_path / "lossy.dcm")
    assert (done.status, done.reason) == ("copied", "lossy-source")
    assert LIE in done.warnings
    lossless = part10(header(frame[None]), encapsulated_element([[jpeg_lossless(frame, 8)]]), JPEG_BASELINE)
    done = run(source(lossless), tmp_path / "lossless.dcm", replace(BULK, if_larger="write"))
    assert done.status == "transcoded"
    assert not done.lossy_source
    assert any(
        "JPEGBaseline8Bit is declared, but the codestream is JPEG SOF3" in each for each in done.warnings
    )


def test_video_is_copied_whatever_is_asked_for_and_refused_as_a_target(tmp_path, source):
    from cinemill.errors import UsageError

    described = header(np.zeros((3, 16, 16, 3), np.uint8), "YBR_FULL_422", samples=3)
    path = source(part10(described, encapsulated_element([[bytes(range(64))]]), "1.2.840.10008.1.2.4.103.1"))
    for asked in (BULK, replace(BULK, to="jpeg-ls"), replace(BULK, to="smallest")):
        done = run(path, tmp_path / "out.dcm", replace(asked, overwrite=True))
        assert (done.status, done.reason) == ("copied", "lossy-source")
        assert (tmp_path / "out.dcm").read_bytes() == path.read_bytes()
    done = cinemill.transcode(path, tmp_path / "other.dcm", to="rle")
    assert (done.status, done.reason) == ("copied", "lossy-source")
    assert (tmp_path / "other.dcm").read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match="can't write"):
        Transcode("MPEG4HP41F")


def test_jpeg_that_can_not_be_recompressed_is_kept_and_says_why(tmp_path, monkeypatch):
    from cinemill.errors import UnsupportedPixelFormat

    def refuse(*_):
        raise UnsupportedPixelFormat("arithmetic coding")

    monkeypatch.setattr(transcode, "write_instance", refuse)
    monkeypatch.setattr(choose, "_needs_trial", lambda *_: False)
    asked = replace(BULK, lossy_source="jpeg-xl")
    done = run(ULTRASOUND, tmp_path / "out.dcm", asked)
    assert (done.status, done.reason) == ("copied", "lossy-source")
    assert "JPEG XL can't hold it as it is: arithmetic coding" in done.warnings
    assert run(ULTRASOUND, tmp_path / "out.dcm", asked).status == "kept"


JPEG_XL = replace(BULK, lossy_source="jpeg-xl")


def test_lossy_jpeg_is_recompressed_where_that_was_asked_for(tmp_path):
    done = run(ULTRASOUND, tmp_path / "out.dcm", JPEG_XL)
    assert (done.status, done.transfer_syntax_after) == ("transcoded", "1.2.840.10008.1.2.4.111")
    assert done.bytes_after < done.bytes_before
    assert done.policy == "archive"
    assert run(ULTRASOUND, tmp_path / "out.dcm", JPEG_XL).status == "kept"
    cinemill.restore(tmp_path / "out.dcm", tmp_path / "back.dcm")
    jpegs = [list(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=30))
             for path in (ULTRASOUND, tmp_path / "back.dcm")]  # fmt: skip
    assert jpegs[0] == jpegs[1]


def test_a_jpeg_that_recompression_makes_larger_is_kept(tmp_path):
    source = tmp_path / "small.dcm"
    frame = smooth((16, 16))
    source.write_bytes(part10(header(frame[None]), encapsulated_element([[jpeg(frame)]]), JPEG_BASELINE))
    done = run(source, tmp_path / "out.dcm", JPEG_XL)
    assert (done.status, done.reason) == ("copied", "would-grow")
    assert done.bytes_otherwise > done.bytes_before == done.bytes_after
    assert (tmp_path / "out.dcm").read_bytes() == source.read_bytes()


NO_TARGET = "no target of the policy can hold it: "


def floats() -> bytes:
    described = header(np.zeros((1, 4, 4), np.uint16))
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(described, keyword)
    described.BitsAllocated = 32
    value = np.linspace(0, 1, 16, dtype="<f4").tobytes()
    element = struct.pack("<HH2s2xI", 0x7FE0, 0x0008, b"OF", len(value)) + value
    return part10(described, element, EXPLICIT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bundled("rtdose.dcm").read_bytes, "jpeg-ls holds 2 to 16 bits of MONOCHROME2"),
        (bundled("rtdose_rle.dcm").read_bytes, "jpeg-ls holds 2 to 16 bits of MONOCHROME2"),
        (floats, "floating point pixel data has no codec"),
    ],
    ids=["native", "rle", "float"],
)
def test_what_no_target_of_a_policy_can_hold_is_copied_like_what_is_no_image(tmp_path, source, content, why):
    path, output = source(content()), tmp_path / "out.dcm"
    done = run(path, output)
    assert (done.status, done.reason, done.done) == ("copied", "no-target", "copied, no target")
    assert done.warnings[-1].startswith(NO_TARGET + why)
    assert (done.policy, done.rule) == ("archive", "lossless")
    assert output.read_bytes() == path.read_bytes()
    again = run(path, output)
    assert (again.status, again.reason) == ("kept", "no-target")
    with pytest.raises(UnsupportedPixelFormat):
        run(path, output, replace(BULK, to="jpeg-ls"))
    with pytest.raises(UnsupportedPixelFormat):
        run(path, tmp_path / "named.dcm", replace(BULK, to="jpeg-ls,jpeg-2000"))
    with pytest.raises(UnsupportedPixelFormat):
        run(path, output, replace(BULK, to="jpeg-ls,jpeg-2000"))
    assert output.read_bytes() == path.read_bytes()


def test_a_rule_that_names_a_target_for_all_depths_uses_it(tmp_path, source):
    path = source(bundled("rtdose.dcm").read_bytes())
    rules = 'name = "mine"\n[[rule]]\nname = "all"\nto = ["jpeg-ls", "deflated"]\n'
    done = run(path, tmp_path / "out.dcm", replace(BULK, policy=rules))
    assert (done.status, done.transfer_syntax_after) == ("transcoded", DEFLATED)
    assert oracle.difference(oracle.read(path), oracle.read(tmp_path / "out.dcm")) is None


def test_damage_is_no_matter_of_targets(tmp_path, source):
    path = source(bundled("rtdose.dcm").read_bytes()[:-500])
    with pytest.raises(DamagedFile):
        run(path, tmp_path / "out.dcm")
    assert not (tmp_path / "out.dcm").exists()
