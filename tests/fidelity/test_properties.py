"""Any file, by any two syntaxes in turn: the samples and all other elements arrive as they were."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cinemill
from cinemill.errors import UnsupportedPixelFormat
from tests.support import oracle
from tests.support.strategies import File, files

TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "htj2k-rpcl", "rle", "explicit", "implicit", "deflated")
PIXEL_ELEMENTS = {0x7FE00001, 0x7FE00002, 0x7FE00010, 0x00280004, 0x00280006}


def legal(target: str, label: str, bits: int) -> bool:
    """PS3.5 §8.2.2 to §8.2.4 for up to 16 bits."""
    if target == "jpeg-ls":
        return bits >= 2
    if target in {"rle", "explicit", "implicit", "deflated"}:
        return label != "YBR_FULL" or bits == 8
    return True


def inventory(path: Path) -> dict[int, object]:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return {element.tag: element.value for element in dataset if element.tag not in PIXEL_ELEMENTS}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(file=files(), first=st.sampled_from(TARGETS), second=st.sampled_from(TARGETS))
def test_any_file_by_any_two_syntaxes(file: File, first: str, second: str) -> None:
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = Path(directory) / "source.dcm"
        here.write_bytes(file.data)
        elements = inventory(here)
        for target in (first, second):
            there = here.with_name(f"{here.stem}-{target}.dcm")
            label, bits = file.header.PhotometricInterpretation, file.header.BitsStored
            try:
                receipt = cinemill.transcode(here, there, to=target, threads=1)
            except UnsupportedPixelFormat:
                assert not legal(target, label, bits)
                return
            if receipt.status == "copied":
                assert there.read_bytes() == here.read_bytes()
                here = there
                continue
            found = oracle.read(there)
            assert np.array_equal(found.frames, file.frames)
            assert found.interpretation == label
            with cinemill.open(there) as cine:
                assert np.array_equal(list(cine), file.frames)
                assert cine.pixels.photometric_interpretation == label
            assert inventory(there) == elements
            here = there
