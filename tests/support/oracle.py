"""Reads the samples of a DICOM file without any of cinemill: pydicom for header and framing, other decoders for frames.

Decoders of lossy codestreams round differently: JPEG is judged by libjpeg-turbo, JPEG 2000 and HTJ2K by OpenJPEG, JPEG XL by
jxl-oxide, or by libjxl where that is not installed.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import libjpeg
import numpy as np
import openjpeg
import pydicom
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from pydicom.encaps import generate_frames
from pydicom.pixels import convert_color_space, iter_pixels, pixel_array
from pydicom.uid import RLELossless
from rle.rle import decode_segment

try:
    import micro_reader_codecs
except ImportError:
    micro_reader_codecs = None

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
LABELS = {"YBR_FULL_422": "YBR_FULL", "YBR_RCT": "RGB", "YBR_ICT": "RGB"}
"""Photometric interpretations that decoded samples do not have any more."""


class UnreadableError(Exception):
    """The oracle has no opinion."""


@dataclass(frozen=True)
class Reading:
    """The samples of one file, in the colour space that is coded."""

    frames: list[NDArray[Any]]
    interpretation: str
    bits_stored: int
    signed: bool
    lossy: bool

    @cached_property
    def as_rgb(self) -> list[NDArray[Any]]:
        """The frames with YBR_FULL converted by pydicom."""
        if self.interpretation != "YBR_FULL":
            return self.frames
        return [convert_color_space(frame, "YBR_FULL", "RGB") for frame in self.frames]


def read(path: Path) -> Reading:
    """Read all frames.

    Raises
    ------
    UnreadableError
        Whatever the reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            if FLOATS.keys() & {element.keyword for element in dataset}:
                return _read_floats(dataset)
            return _read(dataset) if "PixelData" in dataset else _read_unended(path)
        except UnreadableError:
            raise
        except Exception as error:
            raise UnreadableError(repr(error)) from error


def pydicom_reads(path: Path) -> bool:
    """Whether pydicom with its plug-ins decodes every frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attempt in (lambda: pydicom.dcmread(path).pixel_array, lambda: list(iter_pixels(path))):
            try:
                return len(attempt()) > 0
            except Exception:  # noqa: BLE001
                continue
        return False


def difference(expected: Reading, found: Reading, *, limit: int | None = None) -> str | None:
    """Say where two readings differ, None where they don't.

    RGB in ``found`` may stand for YBR_FULL in ``expected``.

    Parameters
    ----------
    limit
        Compare as many low bits only: what lies above them may be cleared.
    """
    if len(expected.frames) != len(found.frames):
        return f"{len(expected.frames)} frames expected, {len(found.frames)} found"
    frames = expected.frames
    if expected.interpretation != found.interpretation:
        if (expected.interpretation, found.interpretation) != ("YBR_FULL", "RGB"):
            return f"{expected.interpretation} expected, {found.interpretation} found"
        frames = expected.as_rgb
    for index, (one, other) in enumerate(zip(frames, found.frames, strict=True)):
        if one.shape != other.shape or expected.signed != found.signed:
            return f"frame {index}: {one.shape} {one.dtype} expected, {other.shape} {other.dtype} found"
        if limit is not None and one.dtype.kind != "f":
            one, other = (low_bits(frame, limit, signed=expected.signed) for frame in (one, other))  # noqa: PLW2901
        if not np.array_equal(one, other):
            return f"frame {index}: {np.count_nonzero(one != other)} of {one.size} samples differ"
    return None


def low_bits(frame: NDArray[Any], bits: int, *, signed: bool) -> NDArray[Any]:
    """Keep the low bits of each sample, as unsigned or two's complement."""
    if bits >= 8 * frame.itemsize and frame.dtype.kind == ("i" if signed else "u"):
        return frame
    kept = frame.astype(np.int64) & ((1 << bits) - 1)
    return kept - ((kept >> (bits - 1)) << bits) if signed else kept


def _read(dataset: pydicom.Dataset) -> Reading:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    label = dataset.PhotometricInterpretation
    shape = _Shape.of(dataset)
    if not dataset["PixelData"].is_undefined_length:
        return shape.reading(_native_frames(dataset, shape), LABELS.get(label, label))
    encoded = _encoded_frames(dataset)
    if syntax == ENCAPSULATED_UNCOMPRESSED:
        return shape.reading(
            [_native_frame(data, shape, label) for data in encoded], LABELS.get(label, label)
        )
    if syntax == DEFLATED_FRAME:
        inflated = [zlib.decompress(data, -zlib.MAX_WBITS) for data in encoded]
        return shape.reading(
            [_native_frame(data, shape, label) for data in inflated], LABELS.get(label, label)
        )
    if syntax == RLELossless:
        return shape.reading([_rle_frame(data, shape) for data in encoded], LABELS.get(label, label))
    decoded = [_decode(data, shape) for data in encoded]
    spaces = {_coded_colour(data) if shape.samples == 3 else None for data in encoded}
    if len(spaces) > 1:
        raise UnreadableError(f"the frames have different colour spaces: {spaces}")
    interpretation = spaces.pop() or LABELS.get(label, label)
    return shape.reading(decoded, interpretation, lossy=any(is_lossy(data) for data in encoded))


def _read_floats(dataset: pydicom.Dataset) -> Reading:
    (keyword,) = FLOATS.keys() & {element.keyword for element in dataset}
    order = "<" if dataset.original_encoding[1] else ">"
    shape = int(dataset.get("NumberOfFrames") or 1), dataset.Rows, dataset.Columns
    samples = np.frombuffer(dataset[keyword].value, order + FLOATS[keyword]).reshape(shape)
    label = dataset.PhotometricInterpretation
    return Reading(list(samples), label, dataset.BitsAllocated, signed=True, lossy=False)


def _read_unended(path: Path) -> Reading:
    """Read a file without a sequence delimiter, whose pixel data pydicom gives up: hand it one."""
    delimiter = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return _read(pydicom.dcmread(BytesIO(path.read_bytes() + delimiter), force=True))


@dataclass(frozen=True)
class _Shape:
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    planar: bool

    @classmethod
    def of(cls, dataset: pydicom.Dataset) -> _Shape:
        return cls(
            dataset.Rows,
            dataset.Columns,
            dataset.get("SamplesPerPixel") or 1,
            dataset.BitsAllocated,
            dataset.get("BitsStored") or dataset.BitsAllocated,
            bool(dataset.get("PixelRepresentation")),
            dataset.get("PlanarConfiguration") == 1,
        )

    @property
    def array(self) -> tuple[int, ...]:
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def size(self) -> int:
        return self.rows * self.columns * self.samples

    def reading(self, frames: list[NDArray[Any]], interpretation: str, *, lossy: bool = False) -> Reading:
        return Reading(frames, interpretation, self.stored, self.signed, lossy)


def _encoded_frames(dataset: pydicom.Dataset) -> list[bytes]:
    tables = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    count = int(dataset.get("NumberOfFrames") or 1)
    extended = tables if tables[0] and tables[1] else None
    frames = list(generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=extended))
    if len(frames) != count:
        raise UnreadableError(f"{count} frames promised, {len(frames)} found")
    return frames


def _native_frames(dataset: pydicom.Dataset, shape: _Shape) -> list[NDArray[Any]]:
    label = dataset.PhotometricInterpretation
    count = int(dataset.get("NumberOfFrames") or 1)
    data = _little_endian(dataset, shape)
    if shape.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * shape.size]
        return list(bits.reshape(count, *shape.array))
    size = shape.size * shape.allocated // 8
    if label == "YBR_FULL_422" and len(data) < count * size:
        size = shape.rows * ((shape.columns + 1) // 2) * 4
    elif label == "YBR_FULL_422":
        label = "YBR_FULL"
    if len(data) < count * size:
        raise UnreadableError(f"{count * size} bytes expected, {len(data)} found")
    starts = range(0, count * size, size)
    return [_native_frame(data[start : start + size], shape, label) for start in starts]


def _little_endian(dataset: pydicom.Dataset, shape: _Shape) -> bytes:
    data: bytes = dataset.PixelData
    if dataset.original_encoding[1] is not False:
        return data
    word = max(shape.allocated // 8, 2 if dataset["PixelData"].VR == "OW" else 1)
    data += b"\0" * (-len(data) % word)
    return np.frombuffer(data, f">u{word}").astype(f"<u{word}").tobytes()


def _native_frame(data: bytes, shape: _Shape, label: str) -> NDArray[Any]:
    if label == "YBR_FULL_422":
        quads = np.frombuffer(data, np.uint8).reshape(shape.rows, -1, 4)
        pairs = quads[:, :, [0, 2, 3, 1, 2, 3]].reshape(shape.rows, -1, 3)
        return pairs[:, : shape.columns]
    if shape.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: shape.size]
        return bits.reshape(shape.array)
    kind = f"<{'i' if shape.signed else 'u'}{shape.allocated // 8}"
    samples = np.frombuffer(data, kind, shape.size)
    if shape.samples > 1 and shape.planar:
        return np.moveaxis(samples.reshape(shape.samples, shape.rows, shape.columns), 0, -1)
    return samples.reshape(shape.array)


def _rle_frame(data: bytes, shape: _Shape) -> NDArray[Any]:
    """Decode PS3.5 Annex G; single bits have a byte each (G.2), and old files eight pixels a byte."""
    (segments,) = struct.unpack_from("<L", data)
    bounds = [*struct.unpack_from(f"<{segments}L", data, 4), len(data)]
    pixels = shape.rows * shape.columns
    planes = [bytes(decode_segment(data[start:end]))[:pixels] for start, end in pairwise(bounds)]
    if shape.allocated == 1 and len(planes[0]) < pixels:
        return _native_frame(planes[0], shape, "")
    if shape.allocated == 1:
        return np.frombuffer(planes[0], np.uint8).reshape(shape.array)
    width = shape.allocated // 8
    joined = np.array([np.frombuffer(plane, np.uint8) for plane in planes]).reshape(shape.samples, width, -1)
    samples = np.ascontiguousarray(joined.transpose(2, 0, 1)).view(f">u{width}").astype(f"<u{width}")
    return samples.view(f"<{'i' if shape.signed else 'u'}{width}").reshape(shape.array)


def _decode(data: bytes, shape: _Shape) -> NDArray[Any]:
    process = codestream_process(data)
    if process == "jpeg":
        space = "GRAYSCALE" if shape.samples == 1 else "YCBCR"
        samples = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space)
        precision = 8 if samples.dtype.itemsize == 1 else 12
    elif process == "jpeg-lossless":
        samples = libjpeg.decode(data, 0)
        precision = data[data.index(b"\xff\xc3") + 4]
        if not np.array_equal(samples, imagecodecs.ljpeg_decode(data)):
            raise UnreadableError("two decoders of JPEG Lossless disagree")
    elif process == "jpeg-ls":
        samples, precision = _decode_jpeg_ls(data)
    elif process == "jpeg-xl":
        samples, precision = jpeg_xl_frame(data, shape.array), shape.stored
    else:
        samples = openjpeg.decode(data)
        precision = int(openjpeg.get_parameters(data)["precision"])
    if samples.shape != shape.array:
        raise UnreadableError(f"{shape.array} expected, the codestream has {samples.shape}")
    width = max(shape.allocated, 8 if precision <= 8 else 16) // 8
    return low_bits(samples, precision, signed=shape.signed).astype(f"{'i' if shape.signed else 'u'}{width}")


def jpeg_xl_frame(data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """The samples of a lossless JPEG XL codestream; jxl-oxide widens them to 8 or 16 bits."""
    if micro_reader_codecs is None:
        return imagecodecs.jpegxl_decode(data)
    for width in (1, 2):
        samples = np.zeros(shape, f"u{width}")
        try:
            *_, bits = micro_reader_codecs.jxl_decode_into(data, samples.reshape(-1).view("u1"))
        except ValueError:
            continue
        return np.rint(samples.astype(float) * ((1 << bits) - 1) / ((1 << 8 * width) - 1)).astype(f"u{width}")
    raise UnreadableError("jxl-oxide reads it as neither 8 nor 16 bits")


def _decode_jpeg_ls(data: bytes) -> tuple[NDArray[Any], int]:
    try:
        buffer, info = jpeg_ls.decode_pixel_data(data)
    except RuntimeError:  # CharLS reads no streams with fill bytes or bytes it does not expect
        return libjpeg.decode(data, 0), libjpeg.get_parameters(data)["precision"]
    rows, columns, samples = info["height"], info["width"], info["components"]
    values = np.frombuffer(buffer, "u1" if info["bits_per_sample"] <= 8 else "<u2")
    if samples == 1:
        return values.reshape(rows, columns), info["bits_per_sample"]
    if info["interleave_mode"] == 0:
        return np.moveaxis(values.reshape(samples, rows, columns), 0, -1), info["bits_per_sample"]
    return values.reshape(rows, columns, samples), info["bits_per_sample"]


def codestream_process(data: bytes) -> str:
    """Name what a codestream is by its markers: jpeg, jpeg-lossless, jpeg-ls, jpeg-2000 or jpeg-xl."""
    if data.startswith(b"\xff\x0a"):
        return "jpeg-xl"
    if not data.startswith(b"\xff\xd8"):
        return "jpeg-2000"
    position = 2
    while True:
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        if marker == 0xF7:
            return "jpeg-ls"
        if marker == 0xC3:
            return "jpeg-lossless"
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return "jpeg"
        position += 1 + int.from_bytes(data[position + 1 : position + 3], "big")


def is_lossy(data: bytes) -> bool:
    """Whether a codestream's own markers say that it is lossy."""
    process = codestream_process(data)
    if process == "jpeg-ls":
        scan = data.index(b"\xff\xda")
        return data[scan + 2 + data[scan + 3] - 3] != 0
    if process == "jpeg-2000":
        return coding_style(data)[9] != 1
    return process == "jpeg"


def coding_style(data: bytes) -> bytes:
    """The parameters of COD, the marker segment with the transforms (T.800 A.6.1)."""
    position = data.index(b"\xff\x4f\xff\x51") + 2
    while data[position : position + 2] != b"\xff\x52":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data[position + 4 : position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")]


def _coded_colour(data: bytes) -> str | None:
    """The colour space that a codestream tells of its decoded samples, None where it does not."""
    process = codestream_process(data)
    if process == "jpeg-2000":
        return "RGB" if coding_style(data)[4] else _jp2_colour(data)
    if process != "jpeg":
        return None
    with Image.open(BytesIO(data)) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            raise UnreadableError("Pillow sees no JPEG")
        components = bytes(layer[0] for layer in image.layer)
        subsampled = len({layer[1:3] for layer in image.layer}) > 1
        if "jfif" in image.info:
            return "YBR_FULL"
        if "adobe_transform" in image.info:
            return "YBR_FULL" if image.info["adobe_transform"] else "RGB"
    if components == b"RGB":
        return "RGB"
    return "YBR_FULL" if subsampled else None


def _jp2_colour(data: bytes) -> str | None:
    position = data.find(b"colr\x01")
    if not data.startswith(b"\0\0\0\x0cjP  ") or position < 0:
        return None
    return {16: "RGB", 18: "YBR_FULL"}.get(int.from_bytes(data[position + 7 : position + 11], "big"))


_PYDICOM_DECODERS = {
    "1.2.840.10008.1.2.4.57": "pylibjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",
}


def pydicom_frame(dataset: pydicom.Dataset, index: int = 0, *, raw: bool = False) -> NDArray[Any]:
    """One frame as pydicom reads it, by a named decoder: which of its plug-ins are installed changes lossy samples.

    JPEG is decoded by Pillow, which is libjpeg-turbo, up to 8 bits.
    """
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax in {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}:
        decoder = "pillow" if dataset.BitsStored <= 8 else "pylibjpeg"
    else:
        decoder = _PYDICOM_DECODERS.get(syntax, "")
    return pixel_array(dataset, index=index, raw=raw, decoding_plugin=decoder)
