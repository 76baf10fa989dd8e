"""Stills: decoded once for their verification, and of which a second decoder is asked too."""

from collections import Counter

import numpy as np
import pytest

import cinemill
from cinemill.codecs import table
from cinemill.errors import VerificationError
from cinemill.operations.transcode.verify import heard_twice
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
    return counts


def instance(path, number, frames=1):
    samples = noise((frames, 9, 11), seed=number)
    dataset = header(samples)
    dataset.SOPInstanceUID = f"2.25.{number}"
    path.write_bytes(part10(dataset, native_element(native_bytes(samples), EXPLICIT), EXPLICIT))
    return path


def transcoded(folder, number, target, verify="full", frames=1):
    source = instance(folder / "source.dcm", number, frames)
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
