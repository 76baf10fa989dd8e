"""`cinemill.verify` on outputs of other programs, and on real files: all that is equal is verified, all else is named."""

import shutil
import subprocess

import pytest

import cinemill
from cinemill.errors import CinemillError, VerificationError
from cinemill.syntaxes import TARGETS
from tests.support.files import bundled, corpus_files
from tests.support.generate import (
    EXPLICIT,
    ULTRASOUND_CINE,
    header,
    native_bytes,
    native_element,
    noise,
    part10,
    smooth,
)

GREY, COLOUR = (3, 32, 48), (3, 32, 48, 3)
EXACT = {
    "dcmcjpls": (),
    "dcmcrle": (),
    "dcmconv +ti": (),
    "dcmconv +tb": (),
    "dcmconv +td": (),
    "dcmconv -e": (),
    "dcmcjpeg +e1": ("DerivationDescription",),
    "dcmcjpeg +el": ("DerivationDescription",),
    "gdcmconv --jpegls": (),
    "gdcmconv --j2k": (),
    "gdcmconv --jpeg": (),
    "gdcmconv --rle": (),
    "gdcmconv --raw": (),
    "gdcmconv --raw --explicit": (),
}
"""Commands that keep every sample, with the elements that they add."""


def run(command, source, output):
    words = [*command.split(), source, output]
    return (
        subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0
        and output.exists()
    )


def instance(frames, interpretation, bits):
    described = header(
        frames,
        interpretation,
        samples=1 if frames.ndim == 3 else 3,
        bits_stored=bits,
        sop_class=ULTRASOUND_CINE,
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.1",
        ImageType=["ORIGINAL", "PRIMARY"],
        NumberOfFrames=len(frames),
    )
    block = described.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "LO", "odd")
    vr = b"OW" if frames.dtype.itemsize > 1 else b"OB"
    return part10(described, native_element(native_bytes(frames), EXPLICIT, vr), EXPLICIT)


@pytest.mark.tools
@pytest.mark.parametrize("command", EXACT)
@pytest.mark.parametrize(
    ("shape", "bits", "signed"), [(GREY, 8, False), (GREY, 12, False), (GREY, 16, True), (COLOUR, 8, False)]
)
def test_what_others_coded_losslessly_is_verified_but_for_what_they_added(
    tmp_path, command, shape, bits, signed
):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frames = noise(shape, bits, signed=signed)
    source.write_bytes(instance(frames, "MONOCHROME2" if len(shape) == 3 else "RGB", bits))
    if not run(command, source, output):
        pytest.skip(f"{command} gives up on this")
    added = EXACT[command]
    if not added:
        assert cinemill.verify(source, output).status == "verified"
        return
    with pytest.raises(VerificationError) as error:
        cinemill.verify(source, output)
    assert error.value.message.startswith(f"{len(added)} element differs: ")
    assert all(name in error.value.message for name in added)


@pytest.mark.tools
@pytest.mark.parametrize(
    "command", ["dcmdrle", "dcmdjpls", "gdcmconv --raw", "gdcmconv --j2k", "gdcmconv --jpegls"]
)
@pytest.mark.parametrize("target", ["rle", "jpeg-ls"])
def test_what_others_made_of_our_outputs_is_verified_against_the_first_source(tmp_path, command, target):
    ours, output = tmp_path / "ours.dcm", tmp_path / "out.dcm"
    source = bundled("examples_ybr_color.dcm")
    cinemill.transcode(source, ours, to=target)
    if not run(command, ours, output):
        pytest.skip(f"{command} does not read {target}")
    assert cinemill.verify(source, output).status == "verified"


@pytest.mark.tools
@pytest.mark.parametrize("command", ["dcmcjpls +en", "dcmcjpeg +eb"])
def test_a_lossy_output_of_others_is_told_with_its_new_instance(tmp_path, command):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(instance(smooth((2, 32, 48)) ^ noise((2, 32, 48)) % 16, "MONOCHROME2", 8))
    assert run(command, source, output)
    with pytest.raises(VerificationError) as error:
        cinemill.verify(source, output)
    assert "the output is lossy: 2 of 2 frames differ" in error.value.message
    assert "(0008,0018) SOPInstanceUID: expected '1.2.3.4', found '1.2.276.0.7230010." in error.value.message


@pytest.mark.tools
def test_a_tree_of_others_is_verified_where_they_chose_the_names(tmp_path):
    from cinemill.batch import run_all
    from cinemill.operations.verify.request import Verify

    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    output.mkdir()
    for number, name in enumerate(("CT_small.dcm", "ExplVR_BigEnd.dcm", "image_dfl.dcm")):
        shutil.copy(bundled(name), source / name)
        assert run("dcmcjpls", source / name, output / f"IMG{number}.jls")
    found = list(run_all(Verify().discover([source], output), Verify(), jobs=1))
    assert [(each.status, each.error) for each in found] == [("verified", None)] * 3


@pytest.mark.corpus
@pytest.mark.parametrize("target", [row.name for row in TARGETS if row.lossless])
def test_a_slice_of_the_real_files_is_verified_in_every_target(tmp_path, target, corpus):
    output = tmp_path / "out.dcm"
    verified = 0
    for path in corpus_files()[:: max(1, len(corpus_files()) // 30)]:
        output.unlink(missing_ok=True)
        try:
            written = cinemill.transcode(path, output, to=target, verify="none")
        except CinemillError:
            continue
        receipt = cinemill.verify(path, output)
        assert receipt.status == "verified", path
        assert receipt.digest in {written.digest, ""}, path
        verified += 1
    assert verified > 10
