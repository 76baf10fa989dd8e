"""Hypothesis strategies: whole DICOM files of any pixel format, encoding and fragmentation, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID

from tests.support import generate

NATIVE = (generate.EXPLICIT, generate.IMPLICIT, generate.BIG_ENDIAN, generate.DEFLATED)
TEXT = st.text("abcdefgXYZ0123456789 ", max_size=9)


@dataclass(frozen=True)
class File:
    """A file, the samples that went into it, and its header."""

    data: bytes
    frames: NDArray[Any]
    header: Dataset
    description: str

    def __repr__(self) -> str:
        return self.description


@st.composite
def samples(draw: st.DrawFn) -> tuple[NDArray[Any], str, int]:
    """Frames, photometric interpretation, and Bits Stored."""
    shape: tuple[int, ...] = draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    label = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"]))
    bits = draw(st.integers(1, 8) if label == "YBR_FULL" else st.integers(1, 16))
    signed = label.startswith("MONO") and bits > 1 and draw(st.booleans())
    if label in {"RGB", "YBR_FULL"}:
        shape = (*shape, 3)
    allocated = 16 if bits > 8 or (label != "YBR_FULL" and draw(st.booleans())) else 8
    lowest = -(1 << bits - 1) if signed else 0
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    smoothness = draw(st.sampled_from([1, 16, 256]))
    values = random.integers(0, 1 << bits, shape) // smoothness * smoothness + lowest
    return values.astype(f"{'i' if signed else 'u'}{allocated // 8}"), label, bits


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    """Elements that have nothing to do with pixels: private, nested, of odd length."""
    dataset = Dataset()
    for keyword, value in draw(
        st.fixed_dictionaries(
            {},
            optional={
                "StudyDescription": TEXT,
                "PatientComments": TEXT,
                "FrameTime": st.integers(0, 999),
                "FrameTimeVector": st.lists(st.integers(0, 99), max_size=4),
                "SimpleFrameList": st.lists(st.integers(0, 1 << 31), max_size=4),
                "ReferencePixelPhysicalValueX": st.floats(allow_nan=False, allow_infinity=False),
            },
        )
    ).items():
        setattr(dataset, keyword, value)
    if draw(st.booleans()):
        block = dataset.private_block(0x0019, "MAKER", create=True)
        block.add_new(0x01, "UN", draw(st.binary(max_size=8)).ljust(8, b"\1"))
        block.add_new(0x02, "OB", draw(st.binary(max_size=7)).ljust(8, b"\1"))
    depth = draw(st.integers(0, 3))
    inner = Dataset()
    inner.CodeMeaning = draw(TEXT)
    for _ in range(depth):
        outer = Dataset()
        outer.ConceptNameCodeSequence = [inner] * draw(st.integers(0, 2))
        outer["ConceptNameCodeSequence"].is_undefined_length = draw(st.booleans())
        inner = outer
    if depth:
        dataset.ConceptNameCodeSequence = [inner]
    return dataset


@st.composite
def files(draw: st.DrawFn) -> File:
    """Any file that this program has to transcode exactly."""
    frames, label, bits = draw(samples())
    colour = frames.ndim == 4
    sop_class = draw(st.sampled_from([generate.SECONDARY_CAPTURE, generate.ULTRASOUND_CINE]))
    if sop_class == generate.ULTRASOUND_CINE and label == "YBR_FULL":
        label = "RGB"
    header = generate.header(frames, label, samples=3 if colour else 1, bits_stored=bits, sop_class=sop_class)
    header.update(draw(data_sets()))
    syntax = draw(st.sampled_from([*NATIVE, *_ENCODERS]))
    if syntax in NATIVE:
        pixels, how = _native(draw, frames, header, syntax)
    else:
        pixels, how = _encapsulated(draw, frames, bits, syntax)
    described = f"{frames.shape} {frames.dtype} {label} {bits} bits, {UID(syntax).name}, {how}"
    return File(generate.part10(header, pixels, syntax), frames, header, described)


def _native(draw: st.DrawFn, frames: NDArray[Any], header: Dataset, syntax: str) -> tuple[bytes, str]:
    planar = frames.ndim == 4 and draw(st.booleans())
    if frames.ndim == 4:
        header.PlanarConfiguration = int(planar)
    words = frames.itemsize > 1 or syntax == generate.IMPLICIT or draw(st.booleans())
    data = generate.native_bytes(frames, planar=planar, big_endian=syntax == generate.BIG_ENDIAN, words=words)
    return generate.native_element(data, syntax, b"OW" if words else b"OB"), f"{planar=}, {words=}"


def _encapsulated(draw: st.DrawFn, frames: NDArray[Any], bits: int, syntax: str) -> tuple[bytes, str]:
    streams = _ENCODERS[syntax](frames, bits)
    pieces = [draw(st.integers(1, 4)) for _ in streams]
    fragments = [generate.split(stream, number) for stream, number in zip(streams, pieces, strict=True)]
    if draw(st.booleans()):
        fragments[-1].append(b"")
    table = draw(st.sampled_from(["basic", "empty", "extended"]))
    delimiter = draw(st.booleans())
    return generate.encapsulated_element(
        fragments, table=table, delimiter=delimiter
    ), f"{pieces=}, {table=}, {delimiter=}"


def _narrow(frames: NDArray[Any], bits: int) -> NDArray[Any]:
    """The two's complement of the low bits, in as many bytes as they need."""
    unsigned = frames.view(f"u{frames.itemsize}") & ((1 << bits) - 1)
    return unsigned.astype(np.uint8 if bits <= 8 else np.uint16)


def _jpeg_ls(frames: NDArray[Any], bits: int) -> list[bytes]:
    """All frames of one depth: CharLS has no room for some small frames of odd depths."""
    coded = _narrow(frames, bits)
    try:
        return [generate.jpeg_ls_stream(frame, bits=max(bits, 2)) for frame in coded]
    except RuntimeError:
        return [generate.jpeg_ls_stream(frame, roomy=True) for frame in coded]


_ENCODERS: dict[str, Any] = {
    generate.RLE: lambda frames, _: [generate.rle_stream(frame) for frame in frames],
    generate.JPEG_LS: _jpeg_ls,
    generate.JPEG_LOSSLESS_SV1: lambda frames, bits: [
        generate.jpeg_lossless(frame, max(bits, 2)) for frame in _narrow(frames, bits)
    ],
    generate.JPEG_2000: lambda frames, bits: [
        generate.jpeg_2000(frame, bits=bits, colour_transform=False)
        for frame in frames.astype(f"{frames.dtype.kind}{1 if bits <= 8 else 2}")
    ],
    generate.HTJ2K: lambda frames, _: [generate.htj2k(frame, colour_transform=False) for frame in frames],
}
