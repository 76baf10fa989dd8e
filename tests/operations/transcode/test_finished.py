"""What counts as finished: an output of this very source, by these options, that nobody touched since."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import xxhash
from pydicom.uid import UID

import cinemill
from cinemill.errors import DamagedFile, OutputExists
from cinemill.storage.file import OutputFile, label_of
from tests.support.files import bundled, standing
from tests.support.generate import EXPLICIT, header, native_bytes, native_element, noise, part10
from tests.support.tools import conformance_errors

ULTRASOUND = bundled("examples_ybr_color.dcm")
REPORT = bundled("reportsi.dcm")
FRAMES = noise((5, 40, 48))
PAST = 1_500_000_000_123_456_789


def write(path: Path, frames=FRAMES, *, then: int = PAST, **elements) -> Path:
    data = part10(header(frames, **elements), native_element(native_bytes(frames), EXPLICIT), EXPLICIT)
    path.write_bytes(data)
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def pair(tmp_path):
    source = write(tmp_path / "in.dcm")
    assert cinemill.transcode(source, tmp_path / "out.dcm", to="jpeg-ls").status == "transcoded"
    return source, tmp_path / "out.dcm"


def again(pair, **options):
    return cinemill.transcode(*pair, **{"to": "jpeg-ls", **options})


def damage(path: Path, at: float = 0.5) -> None:
    """Change one byte, so that neither size nor time tell."""
    before = path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    path.write_bytes(data)
    os.utime(path, ns=(before, before))


def test_an_untouched_pair_is_kept_and_has_its_whole_receipt(pair):
    first = cinemill.transcode(pair[0], pair[1].with_name("other.dcm"), to="jpeg-ls")
    kept = again(pair)
    assert kept.status == "kept"
    differing = {name for name, value in kept.to_dict().items() if value != first.to_dict()[name]}
    assert differing == {"status", "output", "seconds"}
    assert kept.source_digest == f"xxh3-128:{xxhash.xxh3_128_hexdigest(pair[0].read_bytes())}"
    assert kept.verification


@pytest.mark.parametrize("size_stays", [True, False])
def test_other_pixels_under_the_same_uid_are_no_finished_output(pair, size_stays):
    frames = FRAMES[::-1] if size_stays else FRAMES[:3]
    write(pair[0], frames, then=PAST + 1)
    done = again(pair)
    assert done.status == "transcoded"
    assert done.warnings == (
        "the output that stood there was made from another state of the source; it was made anew",
    )
    assert np.array_equal(pydicom.dcmread(pair[1]).pixel_array, frames)
    assert again(pair).status == "kept"


def test_another_patient_name_is_no_finished_output(pair):
    write(pair[0], PatientName="Doe^John", then=PAST + 1)
    assert again(pair).status == "transcoded"
    assert pydicom.dcmread(pair[1]).PatientName == "Doe^John"


def test_a_source_that_was_only_touched_is_finished(pair):
    os.utime(pair[0])
    before = standing(pair[1])
    assert again(pair).status == "kept"
    assert standing(pair[1]) == before


@pytest.mark.parametrize("options", [{"colour": "keep"}, {"repair": True}, {"verify": "independent"}])
def test_other_options_make_another_output(pair, options):
    assert again(pair, **options).status == "transcoded"
    assert again(pair, **options).status == "kept"


def test_a_proof_that_is_more_than_asked_for_is_enough_and_one_that_is_less_is_not(pair):
    assert [again(pair, verify=level).status for level in ("full", "sample", "none")] == ["kept"] * 3
    other = pair[0], pair[1].with_name("other.dcm")
    levels = ("none", "none", "sample", "full", "independent", "full")
    done = [again(other, verify=level).status for level in levels]
    assert done == ["transcoded", "kept", "transcoded", "transcoded", "transcoded", "transcoded"]


@pytest.mark.parametrize("target", ["jpeg-ls", "rle", "deflated", "implicit", "htj2k"])
@pytest.mark.parametrize("at", [0.26, 0.5, 0.99])
def test_damage_that_neither_size_nor_time_tell_is_found_when_it_is_read(tmp_path, target, at):
    pair = write(tmp_path / "in.dcm", noise((9, 40, 48))), tmp_path / "out.dcm"
    again(pair, to=target)
    whole = pair[1].read_bytes()
    assert again(pair, to=target, recheck=True).status == "kept"
    damage(pair[1], at)
    assert again(pair, to=target).status == "kept"
    done = again(pair, to=target, recheck=True)
    assert done.status == "transcoded"
    assert "made anew" in done.warnings[-1]
    assert pair[1].read_bytes() == whole


def test_damage_that_size_or_time_tell_is_found_by_every_run(pair):
    whole = pair[1].read_bytes()
    for damaged in (whole[:-1], whole[:-4000], whole + b"\0", whole[:-99] + b"x" + whole[-98:]):
        pair[1].write_bytes(damaged)
        assert again(pair).status == "transcoded"
        assert pair[1].read_bytes() == whole
    pair[1].touch()
    assert again(pair).status == "kept"


def test_damage_to_what_is_remembered_is_noticed(pair):
    whole = pair[1].read_bytes()
    pair[1].write_bytes(whole.replace(b'"frames":5', b'"frames":6'))
    assert again(pair).warnings[-1].startswith("the output that stood there does not say what")
    assert pair[1].read_bytes() == whole


def test_what_is_not_ours_or_another_instance_is_not_replaced(pair, tmp_path):
    other = write(tmp_path / "other.dcm", SOPInstanceUID="1.2.3.5")
    foreign = pydicom.dcmread(pair[1])
    foreign.file_meta.ImplementationClassUID = UID("1.2.3")
    foreign.save_as(tmp_path / "foreign.dcm")
    (tmp_path / "text").write_text("nothing here" * 99)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for source, output in (
        (other, pair[1]),
        (pair[0], tmp_path / "foreign.dcm"),
        (pair[0], tmp_path / "text"),
        (pair[0], tmp_path / "empty"),
        (pair[0], tmp_path / "pipe"),
        (pair[0], tmp_path),
    ):
        for recheck in (False, True):
            with pytest.raises(OutputExists, match="--overwrite"):
                cinemill.transcode(source, output, to="jpeg-ls", recheck=recheck)


def test_an_output_without_a_record_is_made_anew(pair):
    """As an earlier version wrote it."""
    old = pydicom.dcmread(pair[1])
    del old.file_meta.PrivateInformationCreatorUID, old.file_meta.PrivateInformation
    old.save_as(pair[1])
    done = again(pair)
    assert done.status == "transcoded"
    assert "does not say what it was made from" in done.warnings[-1]


def test_private_information_of_others_stays_and_the_output_is_known_by_what_is_attached_to_it(tmp_path):
    source, output = write(tmp_path / "in.dcm"), tmp_path / "o.dcm"
    dataset = pydicom.dcmread(source)
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.3")
    dataset.file_meta.PrivateInformation = b"theirs"
    dataset.save_as(source)
    made = cinemill.transcode(source, output, to="rle")
    meta = pydicom.dcmread(output).file_meta
    assert (meta.PrivateInformationCreatorUID, meta.PrivateInformation) == ("1.2.3", b"theirs")
    if not label_of(output):
        pytest.skip("this file system keeps no extended attributes")
    kept = cinemill.transcode(source, output, to="rle", recheck=True)
    assert (kept.status, kept.digest, kept.bytes_after) == ("kept", made.digest, output.stat().st_size)
    data = output.read_bytes()
    output.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for done in ("transcoded", "kept"):
        assert cinemill.transcode(source, output, to="rle").status == done
    assert cinemill.transcode(source, output, to="deflated", overwrite=True).status == "transcoded"
    os.removexattr(output, "user.cinemill")
    assert cinemill.transcode(source, output, to="deflated").status == "transcoded"


def test_an_output_that_becomes_a_source_hands_nothing_on_of_what_it_remembers(pair, tmp_path):
    cinemill.transcode(pair[1], tmp_path / "rle.dcm", to="rle")
    told = json.loads(pydicom.dcmread(tmp_path / "rle.dcm").file_meta.PrivateInformation)
    assert told["source"]["digest"] == f"xxh3-128:{xxhash.xxh3_128_hexdigest(pair[1].read_bytes())}"
    (part,) = cinemill.split(pair[1], tmp_path / "parts", frames_per_instance=5)
    told = json.loads(pydicom.dcmread(part.output).file_meta.PrivateInformation)
    assert told["source"]["size"] == pair[1].stat().st_size
    cinemill.extract(pair[1], tmp_path / "frames", format="dicom", frames=0)
    (frame,) = (tmp_path / "frames").iterdir()
    assert "PrivateInformation" not in pydicom.dcmread(frame).file_meta


def test_what_is_remembered_names_no_patient_and_no_path(pair):
    text = pydicom.dcmread(pair[1]).file_meta.PrivateInformation.decode()
    assert "Doe" not in text
    assert str(pair[0].parent) not in text
    assert set(json.loads(text)) == {"source", "options", "output", "receipt", "seal"}


def test_many_warnings_find_room_or_are_counted(tmp_path, monkeypatch):
    from cinemill.operations.transcode import stages

    monkeypatch.setattr(
        stages._Stages, "warnings", lambda self: [f"warning {n} " + "é" * 60 for n in range(40)]
    )
    pair = write(tmp_path / "in.dcm"), tmp_path / "out.dcm"
    assert len(again(pair).warnings) == 40
    kept = again(pair)
    assert kept.status == "kept"
    assert 1 < len(kept.warnings) < 40
    assert "more warnings were not kept" in kept.warnings[-1]


@pytest.mark.tools
@pytest.mark.parametrize("target", ["jpeg-ls", "explicit"])
def test_tools_of_others_read_what_has_private_information(tmp_path, target):
    cinemill.transcode(ULTRASOUND, tmp_path / "out.dcm", to=target)
    assert UID(pydicom.dcmread(tmp_path / "out.dcm").file_meta.PrivateInformationCreatorUID or "").is_valid
    for tool in ("dcmdump", "gdcmdump"):
        done = subprocess.run([tool, tmp_path / "out.dcm"], capture_output=True, text=True, check=True)
        assert "(0002,0102)" in done.stdout
        assert not done.stderr
    assert conformance_errors(tmp_path / "out.dcm") <= conformance_errors(ULTRASOUND)


def test_a_copy_is_kept_by_time_or_else_by_its_bytes(tmp_path):
    source, output = Path(shutil.copy(REPORT, tmp_path / "in.dcm")), tmp_path / "out.dcm"
    os.utime(source, ns=(PAST, PAST))
    assert again((source, output)).status == "copied"
    assert output.stat().st_mtime_ns == PAST
    assert again((source, output)).status == "kept"
    output.touch()
    assert again((source, output)).status == "kept"
    assert again((source, output), preserve=False).status == "kept"


def test_a_copy_of_a_source_that_changed_is_made_anew(tmp_path):
    source, output = Path(shutil.copy(REPORT, tmp_path / "in.dcm")), tmp_path / "out.dcm"
    os.utime(source, ns=(PAST, PAST))
    again((source, output))
    source.write_bytes(REPORT.read_bytes().replace(b"Last Name", b"Name Last"))
    assert again((source, output)).status == "copied"
    assert output.read_bytes() == source.read_bytes()


def test_a_copy_that_was_changed_itself_is_replaced_only_when_that_is_asked_for(tmp_path):
    source, output = Path(shutil.copy(REPORT, tmp_path / "in.dcm")), tmp_path / "out.dcm"
    os.utime(source, ns=(PAST, PAST))
    again((source, output))
    damage(output)
    assert again((source, output)).status == "kept"
    output.touch()
    with pytest.raises(OutputExists, match="--recheck copies"):
        again((source, output))
    assert again((source, output), recheck=True).status == "copied"
    assert output.read_bytes() == source.read_bytes()


def test_a_copy_of_the_source_gives_way_to_its_output(tmp_path):
    source = write(tmp_path / "in.dcm")
    shutil.copy2(source, tmp_path / "out.dcm")
    done = again((source, tmp_path / "out.dcm"))
    assert done.status == "transcoded"
    assert "was a copy of the source" in done.warnings[-1]


@pytest.mark.parametrize("target", ["jpeg-ls", "explicit", "implicit"])
def test_a_source_that_changes_while_it_is_read_gives_no_output(tmp_path, target, monkeypatch):
    source = write(tmp_path / "in.dcm")
    write_plainly = OutputFile.write

    def write_and_touch(sink, *parts):
        source.touch()
        write_plainly(sink, *parts)

    monkeypatch.setattr(OutputFile, "write", write_and_touch)
    with pytest.raises(DamagedFile, match="changed while it was read"):
        cinemill.transcode(source, tmp_path / "out.dcm", to=target)
    assert os.listdir(tmp_path) == ["in.dcm"]


@pytest.mark.parametrize("told", ["{}", "[]", '{"source": 1, "options": {}, "output": {}, "receipt": {}}'])
def test_what_is_remembered_in_another_form_is_no_memory(pair, told):
    content = json.loads(told)
    if isinstance(content, dict):
        content["seal"] = xxhash.xxh3_64_hexdigest(json.dumps(content, separators=(",", ":")).encode())
    output = pydicom.dcmread(pair[1])
    output.file_meta.PrivateInformation = json.dumps(content).encode()
    output.save_as(pair[1])
    assert again(pair).warnings[-1].startswith("the output that stood there does not say what")
    assert again(pair).status == "kept"
