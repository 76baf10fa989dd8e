"""DCMTK, GDCM, CharLS, OpenJPEG and libjpeg decode every output to the same samples."""

from __future__ import annotations

import tempfile
from pathlib import Path

import imagecodecs
import jpeg_ls
import libjpeg
import numpy as np
import openjpeg
import pydicom
import pytest
from pydicom.encaps import generate_frames

import cinemill
from cinemill.errors import CinemillError
from tests.support import oracle, tools
from tests.support.files import corpus_files, pydicom_files

SMALL = [path for path in [*pydicom_files(), *corpus_files()[::5]] if path.stat().st_size < 300_000]


def transcode_or_skip(path: Path, output: Path, target: str, *, coded: bool = False) -> pydicom.Dataset:
    try:
        receipt = cinemill.transcode(path, output, to=target, threads=1, verify="none")
    except CinemillError as error:
        pytest.skip(f"{error.kind}: {error.message}")
    if receipt.status != "transcoded":
        pytest.skip("copied: not our output")
    if receipt.rows is None:
        pytest.skip("no pixel data")
    if coded and not receipt.encoder:
        pytest.skip("carried over: not our codestreams")
    return pydicom.dcmread(output)


@pytest.mark.tools
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.name)
@pytest.mark.parametrize("target", tools.DECODERS)
def test_tools_decode_the_same_samples(path: Path, target: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        output, native = Path(directory) / "output.dcm", Path(directory) / "native.dcm"
        dataset = transcode_or_skip(path, output, target)
        limits = [tools.known_limit(command[0], target, dataset) for command in tools.DECODERS[target]]
        if all(limits):
            pytest.skip("; ".join(sorted({*map(str, limits)})))
        expected = oracle.read(output)
        for command, limit in zip(tools.DECODERS[target], limits, strict=True):
            if not limit:
                tools.decode(command, output, native)
                problem = oracle.difference(expected, oracle.read(native), limit=expected.bits_stored)
                assert problem is None, command


def frames_of(dataset: pydicom.Dataset) -> list[bytes]:
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.name)
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k"])
def test_libraries_decode_the_same_samples(path: Path, target: str, tmp_path: Path) -> None:
    dataset = transcode_or_skip(path, tmp_path / "output.dcm", target, coded=True)
    for stream in frames_of(dataset):
        if target == "jpeg-ls":
            buffer, info = jpeg_ls.decode_pixel_data(stream)
            first = np.frombuffer(buffer, "u1" if info["bits_per_sample"] <= 8 else "<u2")
            others = [libjpeg.decode(stream, 0), imagecodecs.jpegls_decode(stream)]
        else:
            first = openjpeg.decode(stream)
            others = [imagecodecs.jpeg2k_decode(stream)]
            if target == "htj2k":
                others.append(imagecodecs.htj2k_decode(stream, planar=False))
        for other in others:
            assert np.array_equal(first.ravel(), other.ravel())
