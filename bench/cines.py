"""The cines that are measured: real ones from pip-installable packages, and a synthetic ultrasound sector.

The synthetic sector imitates what makes ultrasound easy or hard to compress: a fan on black, speckle (complex Gaussian
noise, blurred along and across the beam, log-compressed) that moves with the tissue, attenuation with depth, a dark
chamber that beats, a colour Doppler box, letters, a depth scale, a grey wedge and an ECG trace. The same arguments give
the same samples, up to the rounding of numpy's mathematical functions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rle as pylibjpeg_rle
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from cinemill.pixel_format import PixelFormat

Array = NDArray[Any]

TRANSFER_SYNTAXES = {
    "native": "1.2.840.10008.1.2.1",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "htj2k": "1.2.840.10008.1.2.4.201",
    "jpeg-xl": "1.2.840.10008.1.2.4.110",
    "jpeg-xl-jpeg": "1.2.840.10008.1.2.4.111",
}
_DISTINCT = 16
_ULTRASOUND_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
_WORD_SECONDARY_CAPTURE_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.7.3"


@dataclass(frozen=True)
class Shape:
    """Rows, columns, samples and bits of a synthetic cine."""

    rows: int = 480
    columns: int = 640
    samples: int = 3
    bits: int = 8

    def __str__(self) -> str:
        return f"{'RGB' if self.samples == 3 else f'mono {self.bits}'} {self.columns}×{self.rows}"

    @property
    def pixels(self) -> PixelFormat:
        """The same in cinemill's words."""
        return PixelFormat(
            rows=self.rows,
            columns=self.columns,
            samples=self.samples,
            bits_allocated=8 if self.bits <= 8 else 16,
            bits_stored=self.bits,
            signed=False,
            photometric_interpretation="RGB" if self.samples == 3 else "MONOCHROME2",
        )


RGB, MONO_8, MONO_12 = Shape(), Shape(samples=1), Shape(samples=1, bits=12)
LARGE_RGB, LARGE_MONO_8, LARGE_MONO_12 = (
    Shape(768, 1024),
    Shape(768, 1024, samples=1),
    Shape(768, 1024, samples=1, bits=12),
)
SHAPES = RGB, MONO_8, MONO_12, LARGE_RGB, LARGE_MONO_8, LARGE_MONO_12


def real_cines() -> dict[str, Path]:
    """Return the ultrasound cines of those packages that are installed: pydicom, pydicom-data, deid-data."""
    found = {"pydicom 320×240": Path(str(get_testdata_file("examples_ybr_color.dcm", download=False)))}
    if large := get_testdata_file("color3d_jpeg_baseline.dcm", download=False):
        found["pydicom-data 640×480"] = Path(str(large))
    deid = find_spec("deid_data")
    if deid is not None and deid.origin is not None:
        for path in sorted(Path(deid.origin).parent.rglob("GREYSCALE_CINE.dcm"))[:1]:
            found["deid-data 800×600"] = path
    return found


@cache
def sector(shape: Shape, frames: int) -> Array:
    """Return a synthetic cine, read-only, of shape (frames, rows, columns) or (frames, rows, columns, 3)."""
    scanner = _Scanner(shape)
    cine = np.stack([scanner.frame(index) for index in range(frames)])
    cine.flags.writeable = False
    return cine


def long_sector(shape: Shape, frames: int) -> Iterator[Array]:
    """Yield many frames, each different: `long_frame` one after the other."""
    return (long_frame(shape, index) for index in range(frames))


def long_frame(shape: Shape, index: int) -> Array:
    """Return one frame of a long cine: one of 16 in turn, with its number as a bar code at the upper left."""
    return numbered(sector(shape, _DISTINCT)[index % _DISTINCT], index)


def numbered(frame: Array, number: int) -> Array:
    """Write a frame's number as 32 black or white blocks of 8 by 8 pixels, the most significant bit first."""
    marked = frame.copy()
    white = (1 << 12) - 1 if frame.dtype.itemsize == 2 else 255
    for bit in range(32):
        marked[8:16, 8 * bit : 8 * bit + 8] = white if number >> (31 - bit) & 1 else 0
    return marked


class _Scanner:
    """Makes the frames of one synthetic cine."""

    _HALF_ANGLE = 0.7
    _LINES = 192
    _PERIOD = 24

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._random = np.random.default_rng(2026)
        rows, columns = shape.rows, shape.columns
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        depth = np.hypot(x - columns / 2, y + rows * 0.05) / (rows * 1.02)
        angle = np.arctan2(x - columns / 2, y + rows * 0.05)
        self._fan = (np.abs(angle) < self._HALF_ANGLE) & (depth > 0.12) & (depth < 1)
        self._depth, self._angle = depth[self._fan], angle[self._fan]
        self._samples = rows * 3 // 4
        self._speckle = self._scatter()
        self._background = self._overlays()

    def _scatter(self) -> Array:
        """Return the echo amplitude of fully developed speckle, (depth samples, scan lines)."""
        size = self._samples + 64, self._LINES + 16
        field = self._random.standard_normal(size) + 1j * self._random.standard_normal(size)
        along, across = np.hanning(9), np.hanning(7)
        for axis, pulse in ((0, along), (1, across)):
            field = np.apply_along_axis(np.convolve, axis, field, pulse / np.linalg.norm(pulse), mode="same")
        return np.abs(field).astype(np.float32)

    def frame(self, index: int) -> Array:
        """Return one frame."""
        beat = np.sin(2 * np.pi * index / self._PERIOD)
        r, line = self._depth, self._angle / self._HALF_ANGLE
        moved = np.clip(r + 0.015 * beat * np.sin(np.pi * r), 0, 1)
        amplitude = self._interpolate(
            moved * (self._samples - 1) + 16, (line + 1) / 2 * (self._LINES - 1) + 4 + 2 * beat
        )
        chamber = ((r - 0.55) / 0.2) ** 2 + (line / 0.45) ** 2 < 1 + 0.25 * beat
        wall = np.abs(((r - 0.55) / 0.24) ** 2 + (line / 0.54) ** 2 - 1 - 0.25 * beat) < 0.15
        gain = np.where(chamber, 0.002, np.where(wall, 0.5, 0.1)) * np.exp(-1.6 * r)
        level = np.clip(1 + np.log10(amplitude * gain + 1e-4) / 3, 0, 1)
        noise = self._random.normal(0, 0.002, level.shape)
        grey = np.clip(level + noise * (level > 0.05), 0, 1)
        image = self._background.copy()
        image[self._fan] = grey if image.ndim == 2 else grey[:, None]
        if image.ndim == 3:
            self._add_doppler(image, beat)
            self._add_ecg(image, index)
        most = (1 << self._shape.bits) - 1
        samples: Array = np.rint(image * most).astype(np.uint8 if self._shape.bits <= 8 else np.uint16)
        return samples

    def _interpolate(self, row: Array, column: Array) -> Array:
        """Scan-convert: sample the speckle between its grid points."""
        top, left = row.astype(np.int32), column.astype(np.int32)
        down, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
        field = self._speckle
        upper = field[top, left] * (1 - right) + field[top, left + 1] * right
        lower = field[top + 1, left] * (1 - right) + field[top + 1, left + 1] * right
        blended: Array = upper * (1 - down) + lower * down
        return blended

    def _overlays(self) -> Array:
        """Return what does not move: letters, a depth scale and a grey wedge on black."""
        rows, columns = self._shape.rows, self._shape.columns
        image = np.zeros((rows, columns), np.float32)
        for line in range(4):
            for letter in range(14 - 2 * line):
                glyph = np.kron(self._random.random((7, 5)) < 0.45, np.ones((2, 1)))
                top, left = 24 + 20 * line, columns - 120 + 8 * letter
                image[top : top + 14, left : left + 5] = 0.8 * glyph
        image[rows // 8 :: rows // 16, columns - 14 : columns - 6] = 1
        wedge = np.linspace(1, 0, rows // 3, dtype=np.float32)
        image[rows // 4 : rows // 4 + len(wedge), 8:20] = wedge[:, None]
        return image if self._shape.samples == 1 else np.repeat(image[:, :, None], 3, 2)

    def _add_doppler(self, image: Array, beat: float) -> None:
        """Paint flow towards (red) and away from (blue) the probe over part of the chamber."""
        r, line = self._depth, self._angle / self._HALF_ANGLE
        flow = beat * np.sin(9 * r) * np.cos(7 * line)
        shown = (np.abs(r - 0.55) < 0.18) & (np.abs(line) < 0.35) & (np.abs(flow) > 0.25)
        speed = np.abs(flow[shown])
        colour = np.stack([speed, speed**2 * 0.6, np.zeros_like(speed)], -1)
        colour[flow[shown] < 0] = colour[flow[shown] < 0][:, ::-1]
        painted = image[self._fan]
        painted[shown] = np.round(colour * 24) / 24
        image[self._fan] = painted

    def _add_ecg(self, image: Array, index: int) -> None:
        rows, columns = self._shape.rows, self._shape.columns
        x = np.arange(columns // 8, columns * 7 // 8)
        phase = (x + index * columns // self._PERIOD) % (columns // 3) / (columns // 3)
        height = 0.06 * np.exp(-(((phase - 0.5) / 0.02) ** 2)) + 0.015 * np.exp(
            -(((phase - 0.7) / 0.05) ** 2)
        )
        image[np.rint(rows * (0.96 - height)).astype(int), x] = (0, 1, 0.2)


def compress(frame: Array, coding: str, bits: int) -> bytes:
    """Encode one frame by a library, as scanners write it: JPEG Baseline is YCbCr 4:2:2 of quality 90."""
    if coding == "native":
        return frame.tobytes()
    if coding == "rle":
        return _rle(frame)
    space = "GRAYSCALE" if frame.ndim == 2 else "RGB"
    if coding == "jpeg":
        ycbcr: dict[str, Any] = {} if frame.ndim == 2 else {"subsampling": "422"}
        out = space if frame.ndim == 2 else "YCBCR"
        return bytes(imagecodecs.jpeg8_encode(frame, level=90, colorspace=space, outcolorspace=out, **ycbcr))
    if coding == "jpeg-lossless":
        return bytes(
            imagecodecs.jpeg8_encode(
                frame, lossless=True, predictor=1, bitspersample=bits, colorspace=space, outcolorspace=space
            )
        )
    raise ValueError(f"no source is written as {coding}")


def _rle(frame: Array) -> bytes:
    return bytes(
        pylibjpeg_rle.encode_pixel_data(
            frame.tobytes(),
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=1 if frame.ndim == 2 else 3,
            bits_allocated=8 * frame.itemsize,
            number_of_frames=1,
            byteorder="<",
        )
    )


def write_cine(path: Path, shape: Shape, frames: int, coding: str, *, table: str = "basic") -> Path:
    """Write a synthetic cine, frame by frame, so that its length does not matter.

    Parameters
    ----------
    coding
        ``native``, ``rle``, ``jpeg`` or ``jpeg-lossless``.
    table
        ``basic``, ``extended`` or ``empty``: the offset table of an encapsulated cine.
    """
    codestreams = (compress(frame, coding, shape.bits) for frame in long_sector(shape, frames))
    return write(path, shape.pixels, frames, coding, codestreams, table=table)


def write(
    path: Path,
    pixels: PixelFormat,
    frames: int,
    coding: str,
    codestreams: Iterable[bytes],
    *,
    table: str = "basic",
    **elements: str,
) -> Path:
    """Write a DICOM file around frames that are encoded already, as they come.

    Parameters
    ----------
    **elements
        By keyword: what the header says besides.
    """
    with path.open("wb") as file:
        file.write(_header(pixels, frames, coding, elements))
        if coding == "native":
            size = pixels.nbytes * frames
            undefined = 0xFFFFFFFF
            length = size + size % 2
            if length >= undefined:
                raise ValueError(f"native pixel data holds less than 4 GiB, not {size} bytes")
            file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, length))
            for samples in codestreams:
                file.write(samples)
            file.write(bytes(size % 2))
            return path
        start = file.tell()
        file.write(_tables(table, [0] * frames, [0] * frames))
        offsets, lengths, first = [], [], file.tell()
        for codestream in codestreams:
            offsets.append(file.tell() - first)
            lengths.append(len(codestream) + len(codestream) % 2)
            file.write(struct.pack("<HHL", 0xFFFE, 0xE000, lengths[-1]))
            file.write(codestream.ljust(lengths[-1], b"\0"))
        file.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
        file.seek(start)
        file.write(_tables(table, offsets, lengths))
    return path


def _tables(table: str, offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """Encode the offset tables and the head of the Pixel Data element (PS3.5 §A.4)."""
    extended = b""
    if table == "extended":
        for element, values in ((1, offsets), (2, lengths)):
            value = np.array(values, "<u8").tobytes()
            extended += struct.pack("<HH2sHL", 0x7FE0, element, b"OV", 0, len(value)) + value
    basic = np.array(offsets, "<u4").tobytes() if table == "basic" else b""
    head = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return extended + head + struct.pack("<HHL", 0xFFFE, 0xE000, len(basic)) + basic


def _header(pixels: PixelFormat, frames: int, coding: str, more: Mapping[str, str]) -> bytes:
    header = Dataset()
    ultrasound = pixels.bits_allocated == 8
    header.SOPClassUID = _ULTRASOUND_MULTIFRAME if ultrasound else _WORD_SECONDARY_CAPTURE_MULTIFRAME
    header.SOPInstanceUID = "2.25.20261122"
    header.StudyInstanceUID, header.SeriesInstanceUID = "2.25.1", "2.25.2"
    header.Modality = "US" if ultrasound else "OT"
    header.PatientName, header.PatientID = "Sector^Synthetic", "bench"
    header.FrameTime = "33.3"
    header.FrameIncrementPointer = 0x00181063
    header.SamplesPerPixel = pixels.samples
    header.PhotometricInterpretation = pixels.photometric_interpretation
    if pixels.samples == 3:
        header.PlanarConfiguration = int(coding == "rle")
        if coding == "jpeg":
            header.PhotometricInterpretation = "YBR_FULL_422"
    if coding == "jpeg":
        header.LossyImageCompression = "01"
    header.NumberOfFrames = frames
    header.Rows, header.Columns = pixels.rows, pixels.columns
    header.BitsAllocated, header.BitsStored = pixels.bits_allocated, pixels.bits_stored
    header.HighBit, header.PixelRepresentation = pixels.bits_stored - 1, int(pixels.signed)
    for keyword, value in more.items():
        setattr(header, keyword, value)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(TRANSFER_SYNTAXES[coding])
    meta.MediaStorageSOPClassUID = header.SOPClassUID
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    meta.ImplementationClassUID = UID("2.25.3")
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    encoded.write(bytes(128) + b"DICM")
    write_file_meta_info(encoded, meta, enforce_standard=True)
    write_dataset(encoded, header)
    return encoded.getvalue()
