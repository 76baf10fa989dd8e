"""What is compared with what: one row a promise. The tests measure all rows, the guard those that have a floor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import convert_color_space

import cinemill
from cinemill.codecs import table
from cinemill.codecs.jpeg.libjpeg_turbo import LibjpegTurbo
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, takes_colour_transform
from cinemill.codecs.jpeg_ls.charls import CharLS
from cinemill.pixel_format import PixelFormat
from cines import (
    MONO_8,
    MONO_12,
    RGB,
    SHAPES,
    TRANSFER_SYNTAXES,
    Array,
    Shape,
    compress,
    real_cines,
    sector,
    write_cine,
)
from measure import Call, Floor, masking, transcoding


@dataclass(frozen=True)
class Prepared:
    """A pair of calls that do the same to as many bytes of pixels, and what has to be done before each."""

    ours: Call
    reference: Call
    nbytes: int
    before: Call = lambda: None


@dataclass(frozen=True)
class Comparison:
    """One row: what is measured, against what, and how to set it up.

    Attributes
    ----------
    void
        Whether ours is the reference itself here, because the own kernels don't run on this machine.
    """

    name: str
    prepare: Callable[[], Prepared]
    void: Callable[[], bool] = lambda: False

    def __str__(self) -> str:
        return self.name


class _LibraryRle:
    """RLE by the fastest libraries: pylibjpeg-rle encodes, imagecodecs decodes."""

    def encode(self, frames: Sequence[Array], pixels: PixelFormat) -> list[bytes]:
        return [compress(frame, "rle", pixels.bits_stored) for frame in frames]

    def decode(self, codestreams: Sequence[bytes], pixels: PixelFormat) -> list[Array]:
        """Decode colour by plane, which spares imagecodecs the work of putting pixels together."""
        planes = (imagecodecs.dicomrle_decode(stream, pixels.dtype) for stream in codestreams)
        return [np.frombuffer(samples, pixels.dtype) for samples in planes]


class _BareOpenJph:
    """OpenJPH without what `OpenJph` does to samples of fewer bits than their bytes have."""

    def encode(self, frames: Sequence[Array], pixels: PixelFormat) -> list[bytes]:
        rgb = takes_colour_transform(pixels)
        return [
            bytes(imagecodecs.htj2k_encode(frame, reversible=True, rgb=rgb, planar=False, tlm=True))
            for frame in frames
        ]

    def decode(self, codestreams: Sequence[bytes], _: PixelFormat) -> list[Array]:
        return [imagecodecs.htj2k_decode(codestream) for codestream in codestreams]


_LIBRARIES: dict[str, tuple[str, type[Any]]] = {
    "jpeg-ls": ("CharLS", CharLS),
    "jpeg-2000": ("OpenJPEG", OpenJpeg),
    "htj2k": ("OpenJPH", _BareOpenJph),
    "rle": ("pylibjpeg-rle, imagecodecs", _LibraryRle),
    "jpeg": ("libjpeg-turbo", LibjpegTurbo),
    "jpeg-lossless": ("libjpeg-turbo", LibjpegTurbo),
}


def _frames(cine: Shape | str, count: int) -> tuple[PixelFormat, list[Array]]:
    if isinstance(cine, Shape):
        return cine.pixels, list(sector(cine, count))
    with cinemill.open(real_cines()[cine]) as opened:
        return opened.pixels, opened[:count]


def encoding(coding: str, cine: Shape | str, count: int) -> Comparison:
    """Compare our encoder with the library's."""
    name, library = _LIBRARIES[coding]

    def prepare() -> Prepared:
        pixels, frames = _frames(cine, count)
        ours, theirs = table.encoder(coding), library()
        return Prepared(
            lambda: ours.encode(frames, pixels),
            lambda: theirs.encode(frames, pixels),
            pixels.nbytes * count,
        )

    return Comparison(
        f"{coding} encode, {count} × {cine} / {name}",
        prepare,
        lambda: not table.encoder(coding).name.startswith("cinemill"),
    )


def decoding(coding: str, cine: Shape | str, count: int) -> Comparison:
    """Compare our decoder with the library's; those of JPEG are the library's, others ours."""
    name, library = _LIBRARIES[coding]

    def prepare() -> Prepared:
        pixels, frames = _frames(cine, count)
        ours, theirs = table.decoder(coding), library()
        if coding in {"jpeg", "jpeg-lossless"}:
            codestreams = [compress(frame, coding, pixels.bits_stored) for frame in frames]
        else:
            codestreams = table.encoder(coding).encode(frames, pixels)
        return Prepared(
            lambda: ours.decode(codestreams, pixels),
            lambda: theirs.decode(codestreams, pixels),
            pixels.nbytes * count,
        )

    return Comparison(
        f"{coding} decode, {count} × {cine} / {name}",
        prepare,
        lambda: isinstance(table.decoder(coding), library | OpenJpeg),
    )


def colour(shape: Shape) -> Comparison:
    """Compare the conversion of YBR_FULL to RGB with pydicom's."""

    def prepare() -> Prepared:
        from cinemill.kernels.colour import ybr_full_to_rgb

        (ybr,) = sector(shape, 1)
        return Prepared(
            lambda: ybr_full_to_rgb(ybr), lambda: convert_color_space(ybr, "YBR_FULL", "RGB"), ybr.nbytes
        )

    return Comparison(f"YBR_FULL → RGB, {shape} / pydicom", prepare)


@cache
def folder() -> Path:
    """Return a folder for this process's cines; the operating system's temporary folder is on a disk or in memory."""
    holder = tempfile.TemporaryDirectory(prefix="cinemill-bench-")
    _held.append(holder)
    return Path(holder.name)


_held: list[tempfile.TemporaryDirectory[str]] = []


@cache
def source(coding: str, shape: Shape, frames: int) -> Path:
    """Return the file of a synthetic cine."""
    name = f"{coding}-{shape.columns}x{shape.rows}x{shape.samples}x{shape.bits}-{frames}.dcm"
    return write_cine(folder() / name, shape, frames, coding)


def _removal(output: Path) -> Call:
    """Return a call that removes an output: to replace it would cost the time to free its pages."""
    return lambda: output.unlink(missing_ok=True)


def pipeline(coding: str, to: str, shape: Shape = RGB, frames: int = 48) -> Comparison:
    """Compare a whole transcoding, one thread, not verified, with the bare codec calls on the same frames."""

    def prepare() -> Prepared:
        path, output = source(coding, shape, frames), folder() / "output.dcm"
        floor = Floor(path, to)
        return Prepared(transcoding(path, output, to), floor, floor.nbytes, _removal(output))

    return Comparison(f"transcode {coding} → {to}, {frames} × {shape} / codec floor", prepare)


def masked(coding: str, to: str, shape: Shape = RGB, frames: int = 48) -> Comparison:
    """Compare a verified transcoding with a band and a box blackened with the same without; JPEG in its own coefficients."""

    def prepare() -> Prepared:
        path, output = source(coding, shape, frames), folder() / "output.dcm"
        boxes = [
            (0, 0, shape.columns - 1, shape.rows // 12),
            (8, shape.rows // 2, shape.columns // 4, shape.rows - 9),
        ]
        plain = transcoding(path, output, to or "jpeg-ls", verify="full")

        nbytes = shape.pixels.nbytes * frames
        return Prepared(masking(path, output, to, boxes), plain, nbytes, _removal(output))

    return Comparison(
        f"mask {coding} → {to or coding}, {frames} × {shape} / plain {to or 'jpeg-ls'}", prepare
    )


def pydicom_peer(coding: str, to: str, shape: Shape = RGB, frames: int = 16) -> Comparison:
    """Compare a whole transcoding with pydicom's own, both in process, one thread, not verified."""

    def prepare() -> Prepared:
        path, output = source(coding, shape, frames), folder() / "output.dcm"

        def compress_by_pydicom() -> None:
            dataset = dcmread(path)
            dataset.decompress(generate_instance_uid=False)
            dataset.compress(TRANSFER_SYNTAXES[to], generate_instance_uid=False)
            dataset.save_as(output)

        nbytes = shape.pixels.nbytes * frames
        return Prepared(transcoding(path, output, to), compress_by_pydicom, nbytes, _removal(output))

    return Comparison(f"transcode {coding} → {to}, {frames} × {shape} / pydicom", prepare)


def start_up(command: str, *words: str) -> Comparison:
    """Compare a command on a small file, or on none, with an interpreter that imports numpy; both find their bytecode."""
    start = "from cinemill_workers.cli.main import main; main()"

    def prepare() -> Prepared:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        output = folder() / "started"
        files = (
            [str(get_testdata_file("examples_ybr_color.dcm", download=False)), str(output)] if words else []
        )

        def child(code: str, *arguments: str) -> Call:
            line = [sys.executable, "-c", code, *arguments]
            return lambda: subprocess.run(line, check=True, env=environment, capture_output=True)

        def remove() -> None:
            output.unlink(missing_ok=True) if output.is_file() else shutil.rmtree(output, ignore_errors=True)

        return Prepared(child(start, command, *files, *words), child("import numpy"), 0, remove)

    return Comparison(f"cinemill {command} / import numpy", prepare)


_EVERY: tuple[Shape | str, ...] = (*SHAPES, *real_cines())

CODECS = [
    *(encoding("jpeg-ls", cine, 16) for cine in _EVERY),
    *(encoding("jpeg-ls", cine, 1) for cine in (RGB, MONO_8, MONO_12)),
    *(decoding("jpeg-ls", cine, 16) for cine in _EVERY),
    *(decoding("jpeg-ls", cine, 1) for cine in (RGB, MONO_8, MONO_12)),
    *(encoding("rle", cine, 16) for cine in _EVERY),
    *(decoding("rle", cine, 16) for cine in _EVERY),
    *(decoding("jpeg", cine, 4) for cine in (RGB, MONO_8)),
    *(decoding("jpeg-lossless", cine, 4) for cine in (RGB, MONO_8, MONO_12)),
    *(encoding("jpeg-2000", cine, 4) for cine in (RGB, MONO_8, MONO_12)),
    *(encoding("jpeg-2000", cine, 8) for cine in ("pydicom 320×240",)),
    *(encoding("htj2k", cine, 16) for cine in _EVERY),
    *(decoding("htj2k", cine, 8) for cine in _EVERY),
    *(decoding("jpeg-2000", cine, 8) for cine in (RGB, MONO_8, MONO_12, "pydicom 320×240")),
    *(decoding("jpeg-2000", cine, 1) for cine in (RGB, MONO_8)),
]
KERNELS = [colour(RGB)]
PIPELINES = [
    pipeline("jpeg", "jpeg-ls"),
    pipeline("rle", "jpeg-ls"),
    pipeline("native", "jpeg-ls"),
    pipeline("native", "htj2k"),
    pipeline("native", "jpeg-2000", frames=16),
    pipeline("jpeg-lossless", "jpeg-ls"),
    pipeline("native", "rle"),
    pipeline("native", "jpeg-ls", MONO_12),
]
MASKS = [
    masked("native", "jpeg-ls"),
    masked("rle", "jpeg-ls"),
    masked("jpeg", "jpeg-ls"),
    masked("native", "htj2k"),
    masked("jpeg", ""),
]
PEERS = [pydicom_peer("jpeg", "jpeg-ls"), pydicom_peer("native", "jpeg-2000", frames=4)]
START = [
    start_up("--help"),
    start_up("transcode", "--to", "jpeg-ls"),
    start_up("extract", "--frames", "7"),
]
