"""Stills: decoded once for their verification, and of which a second decoder is asked too."""

import gc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import cinemill
from cinemill.batch import attempt
from cinemill.codecs import table
from cinemill.codecs.jpeg_2000 import decode
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_ls.codec import Transient
from cinemill.dicom.source import Source
from cinemill.errors import VerificationError
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill.operations.transcode.verify import heard_twice
from cinemill.party import Party
from cinemill.storage.tree import Item
from tests.support.generate import EXPLICIT, header, native_bytes, native_element, noise, part10

STILLS = 64
TARGETS = ("jpeg-ls", "jpeg-2000", "rle")


@pytest.fixture
def asked(monkeypatch):
    """Count the frames that each decoder is given."""
    counts: Counter[str] = Counter()
    for target in TARGETS:
        for kind in {type(codec) for codec in table.verifiers(target)}:

            def counted(self, codestreams, pixels, honest=kind.decode):
                counts[self.name] += len(codestreams)
                return honest(self, codestreams, pixels)

            monkeypatch.setattr(kind, "decode", counted)
            if hasattr(kind, "attributed"):

                def attributed(self, codestreams, pixels, honest=kind.attributed):
                    told = honest(self, codestreams, pixels)
                    counts.update(codec.name for _, codec in told)
                    return told

                monkeypatch.setattr(kind, "attributed", attributed)
    return counts


def instance(path, number, frames=1, size=(9, 11)):
    samples = noise((frames, *size), seed=number)
    dataset = header(samples)
    dataset.SOPInstanceUID = f"2.25.{number}"
    path.write_bytes(part10(dataset, native_element(native_bytes(samples), EXPLICIT), EXPLICIT))
    return path


def transcoded(folder, number, target, verify="full", frames=1):
    """Transcode noise; as JPEG 2000 it has to be large enough for the kernels."""
    size = (280, 280) if target == "jpeg-2000" else (9, 11)
    source = instance(folder / "source.dcm", number, frames, size)
    return cinemill.transcode(
        source, folder / "output.dcm", to=target, verify=verify, threads=1, overwrite=True
    )


@pytest.mark.parametrize("target", TARGETS)
def test_a_second_decoder_is_asked_of_about_every_sixteenth_still_and_receipts_say_of_which(
    tmp_path, asked, target
):
    first, second = (codec.name for codec in table.verifiers(target))
    told = [transcoded(tmp_path, number, target).verification for number in range(STILLS)]
    assert asked[first] == STILLS
    assert 1 <= asked[second] <= STILLS // 4
    assert asked[second] == sum(f" and {second} " in verification for verification in told)
    assert all(verification.startswith(f"every frame by {first}") for verification in told)
    assert "16th" not in "".join(told)


def test_what_is_left_to_the_second_decoder_is_decoded_once(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(decode._spared, "worth_compiling", lambda _: False)
    receipt = transcoded(tmp_path, 0, "jpeg-2000", frames=20)
    assert asked == {"openjpeg": 20}
    assert receipt.verification == f"every frame by openjpeg {OpenJpeg.version}"


def test_every_run_and_every_process_chooses_the_same_stills(tmp_path):
    chosen = [
        number for number in range(60) if "charls" in transcoded(tmp_path, number, "jpeg-ls").verification
    ]
    assert chosen == [10, 12, 47, 49, 52, 57]


def test_a_still_without_a_uid_is_always_chosen():
    assert list(heard_twice("", 1)) == [0]


@pytest.mark.parametrize("number", range(3))
def test_cines_keep_their_samples_whatever_they_are_called(tmp_path, asked, number):
    receipt = transcoded(tmp_path, number, "jpeg-ls", frames=20)
    assert asked["charls"] == 2
    assert "every 16th by charls" in receipt.verification


@pytest.mark.parametrize(("verify", "name"), [("independent", "charls"), ("sample", "cinemill-jpegls")])
def test_of_the_other_levels_every_still_is_decoded_as_before(tmp_path, asked, verify, name):
    for number in range(5):
        transcoded(tmp_path, number, "jpeg-ls", verify)
    assert asked == {name: 5}


@pytest.mark.parametrize("number", range(3))
def test_one_decoder_is_enough_to_find_a_still_that_was_encoded_wrongly(tmp_path, monkeypatch, number):
    encoder = table.encoder("jpeg-ls")
    honest = type(encoder).encode
    monkeypatch.setattr(
        type(encoder),
        "encode",
        lambda self, frames, pixels: honest(self, [np.flip(f) for f in frames], pixels),
    )
    with pytest.raises(VerificationError, match="samples differ when cinemill-jpegls"):
        transcoded(tmp_path, number, "jpeg-ls")
    assert not (tmp_path / "output.dcm").exists()


@contextmanager
def collected():
    """What Python finds that only refers to itself, made within the context."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        kinds = (Source, np.ndarray, memoryview, BaseException)
        found += [each for each in gc.garbage if isinstance(each, kinds)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def together(items, to):
    """The statuses of instances that are worked on as one party."""
    operation, control = Transcode(to=to), Control(1)
    with ThreadPoolExecutor(len(items)) as executor, ThreadPoolExecutor(1) as caller:
        party = Party(len(items), caller)

        def one(item):
            with party.joined():
                return attempt(item, operation, control).status

        return list(executor.map(one, items))


def test_stills_that_are_done_or_fail_leave_no_memory_for_somebody_to_look_for(tmp_path):
    sources = [instance(tmp_path / f"{number}.dcm", number) for number in range(6)]
    coded = [Item(source, tmp_path / "coded" / source.name) for source in sources]
    again = [Item(item.output, tmp_path / "again" / item.output.name) for item in coded]
    together(coded, "jpeg-ls")
    together(again, "htj2k")  # what compiles kernels leaves memory
    for item in coded[::2]:
        data = item.output.read_bytes()
        place = data.rindex(b"\xff\xd9") - 40
        item.output.write_bytes(data[:place] + bytes(30) + data[place + 30 :])
    last = [Item(item.output, tmp_path / "last" / item.output.name) for item in coded]
    with collected() as found:
        assert together(last, "htj2k") == ["failed", "transcoded"] * 3
    assert found == []


def test_frames_of_a_party_stay_until_each_has_compared_its_own(tmp_path, monkeypatch):
    def refused(*_):
        raise AssertionError("these frames would be gone with the next call")

    monkeypatch.setattr(Transient, "_room", refused)
    sources = [instance(tmp_path / f"{number}.dcm", number) for number in range(3)]
    items = [Item(source, tmp_path / "coded" / source.name) for source in sources]
    assert together(items, "jpeg-ls") == ["transcoded"] * 3
    with pytest.raises(AssertionError, match="would be gone"):
        transcoded(tmp_path, 3, "jpeg-ls")
