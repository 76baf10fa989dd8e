"""Builds small DICOM files byte by byte: any encoding, any fragmentation, and any defect a test needs."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID
from rle.utils import encode_pixel_data as rle_encode

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"
HTJ2K = "1.2.840.10008.1.2.4.201"
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
JPEG_XL_JPEG = "1.2.840.10008.1.2.4.111"
JPEG_XL = "1.2.840.10008.1.2.4.112"

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
ULTRASOUND_CINE = "1.2.840.10008.5.1.4.1.1.3.1"

Array = NDArray[Any]


def noise(shape: tuple[int, ...], bits: int = 8, *, signed: bool = False, seed: int = 0) -> Array:
    """Samples that use all their bits, extremes included."""
    lowest = -(1 << bits - 1) if signed else 0
    width = 8 if bits <= 8 else 16 if bits <= 16 else 32
    values = np.random.default_rng(seed).integers(lowest, lowest + (1 << bits), shape)
    values.flat[0], values.flat[-1] = lowest, lowest + (1 << bits) - 1
    return values.astype(f"{'i' if signed else 'u'}{width // 8}")


def smooth(shape: tuple[int, ...], seed: int = 0) -> Array:
    """8-bit colour that survives lossy JPEG recognisably."""
    rows, columns, *samples = shape
    ramp = np.linspace(0, 200, rows)[:, None] + np.linspace(0, 55, columns)[None, :]
    if not samples:
        return ramp.astype(np.uint8)
    offsets = np.random.default_rng(seed).integers(0, 128, samples[0])
    return np.stack([(ramp + offset) % 256 for offset in offsets], axis=-1).astype(np.uint8)


def header(
    frames: Array,
    interpretation: str = "MONOCHROME2",
    *,
    samples: int = 1,
    bits_stored: int | None = None,
    sop_class: str = SECONDARY_CAPTURE,
    **elements: Any,
) -> Dataset:
    """Describe frames of shape (frames, rows, columns[, samples]); ``None`` leaves an element out."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientName = "Doe^Jane"
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = interpretation
    if samples > 1:
        dataset.PlanarConfiguration = 0
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.BitsAllocated = 8 * frames.dtype.itemsize
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(frames.dtype.kind == "i")
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def part10(dataset: Dataset, pixels: bytes, syntax: str, *, after: bytes = b"") -> bytes:
    """Put a file together: the header encoded as the syntax says, a pixel data element, and what follows it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3.4")
    meta.ImplementationClassUID = UID("1.2.3")
    head = DicomBytesIO()
    write_file_meta_info(head, meta, enforce_standard=True)
    body = encode(dataset, syntax) + pixels + after
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
        body += bytes(len(body) % 2)
    return bytes(128) + b"DICM" + head.getvalue() + body


def encode(dataset: Dataset, syntax: str) -> bytes:
    """Encode elements without pixel data as a transfer syntax says."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax == IMPLICIT
    buffer.is_little_endian = syntax != BIG_ENDIAN
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def native_element(data: bytes, syntax: str, vr: bytes = b"OW", tag: int = 0x7FE00010) -> bytes:
    """Encode native pixel data that is in the byte order of the syntax already."""
    data += bytes(len(data) % 2)
    order = ">" if syntax == BIG_ENDIAN else "<"
    if syntax == IMPLICIT:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(data)) + data
    return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(data)) + data


def native_bytes(
    frames: Array, *, planar: bool = False, big_endian: bool = False, words: bool = False
) -> bytes:
    """Encode samples; ``words`` swaps the bytes of 8-bit samples in big endian, as VR OW has it."""
    if planar:
        frames = np.moveaxis(frames, -1, 1)
    data = frames.astype(frames.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    if words and big_endian and frames.dtype.itemsize == 1:
        data += bytes(len(data) % 2)
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    return data


def item(data: bytes) -> bytes:
    """Encode an item; data of odd length is padded."""
    data += bytes(len(data) % 2)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data


DELIMITER = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def encapsulated_element(
    frames: list[list[bytes]],
    *,
    table: str = "basic",
    delimiter: bool = True,
    entries: list[int] | None = None,
) -> bytes:
    """Encode frames as fragments.

    Parameters
    ----------
    table
        ``basic``, ``empty`` or ``extended``.
    entries
        What the Basic Offset Table holds instead of the truth.
    """
    offsets, lengths, position, items = [], [], 0, b""
    for fragments in frames:
        offsets.append(position)
        lengths.append(sum(len(fragment) for fragment in fragments))
        encoded = b"".join(item(fragment) for fragment in fragments)
        items += encoded
        position += len(encoded)
    extended = b""
    if table == "extended":
        for tag, values in ((1, offsets), (2, lengths)):
            content = np.array(values, "<u8").tobytes()
            extended += struct.pack("<HH2sHL", 0x7FE0, tag, b"OV", 0, len(content)) + content
    basic = (
        np.array(entries if entries is not None else offsets, "<u4").tobytes() if table == "basic" else b""
    )
    head = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return extended + head + item(basic) + items + (DELIMITER if delimiter else b"")


def with_length(whole: bytes, end: int | None = None) -> bytes:
    """Give encapsulated Pixel Data, which ends with the file or here, a defined length."""
    value = whole.index(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 12
    return whole[: value - 4] + struct.pack("<L", (end or len(whole)) - value) + whole[value:]


def split(codestream: bytes, pieces: int) -> list[bytes]:
    """Cut a codestream into fragments of even length but for the last."""
    size = max(2, -(-len(codestream) // pieces) // 2 * 2)
    cuts = [codestream[start : start + size] for start in range(0, len(codestream), size)]
    return cuts if len(cuts) <= pieces else [*cuts[: pieces - 1], b"".join(cuts[pieces - 1 :])]


def jpeg(frame: Array, **options: Any) -> bytes:
    """JPEG Baseline by Pillow: JFIF YCbCr unless ``keep_rgb`` (then Adobe with transform 0)."""
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def without_segments(codestream: bytes) -> bytes:
    """Drop the marker segments of JFIF and Adobe from the head of a JPEG codestream."""
    kept, position = codestream[:2], 2
    while codestream[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
        if codestream[position + 1] not in b"\xe0\xee":
            kept += codestream[position:end]
        position = end
    return kept + codestream[position:]


def jpeg_lossless(frame: Array, bits: int, predictor: int = 1) -> bytes:
    """JPEG Lossless (SOF3) by libjpeg-turbo."""
    space = "GRAYSCALE" if frame.ndim == 2 else "RGB"
    return bytes(
        imagecodecs.jpeg8_encode(
            frame,
            lossless=True,
            predictor=predictor,
            bitspersample=bits,
            colorspace=space,
            outcolorspace=space,
        )
    )


def jpeg_ls_stream(
    frame: Array, *, interleave: int = 0, near: int = 0, bits: int | None = None, roomy: bool = False
) -> bytes:
    """JPEG-LS by CharLS (through pyjpegls), in any interleave mode.

    ``roomy`` is for small frames that grow: by imagecodecs, of 8 or 16 bits, colour interleaved by sample.
    """
    if roomy:
        return bytes(imagecodecs.jpegls_encode(frame, level=near, out=2 * frame.nbytes + 1024))
    samples = 1 if frame.ndim == 2 else frame.shape[2]
    ordered = np.moveaxis(frame, -1, 0) if samples > 1 and interleave == 0 else frame
    stored = bits or 8 * frame.dtype.itemsize
    return bytes(
        jpeg_ls.encode_buffer(ordered.tobytes(), *frame.shape[:2], samples, stored, near, interleave)
    )


def jpeg_2000(
    frame: Array,
    *,
    bits: int | None = None,
    colour_transform: bool = True,
    jp2: bool = False,
    level: int = 0,
    wavelet: str = "",
) -> bytes:
    """JPEG 2000 by OpenJPEG; ``level`` other than 0 is lossy: by the wavelet 9-7, or by leaving out the end of ``5-3``."""
    return bytes(
        imagecodecs.jpeg2k_encode(
            frame,
            level=level,
            reversible=not level or wavelet == "5-3",
            codecformat="JP2" if jp2 else "J2K",
            bitspersample=bits,
            mct=colour_transform and frame.ndim == 3,
        )
    )


def htj2k(frame: Array, *, colour_transform: bool = True) -> bytes:
    """HTJ2K lossless by OpenJPH."""
    return bytes(
        imagecodecs.htj2k_encode(
            frame, reversible=True, rgb=colour_transform and frame.ndim == 3, planar=False
        )
    )


def jpeg_xl(frame: Array, *, bits: int | None = None, distance: float = 0, boxes: bool = False) -> bytes:
    """JPEG XL by libjxl; a distance other than 0 is lossy."""
    return bytes(
        imagecodecs.jpegxl_encode(
            frame,
            lossless=not distance,
            distance=distance or None,
            effort=3,
            bitspersample=bits or 8 * frame.dtype.itemsize,
            usecontainer=boxes,
        )
    )


def rle_stream(frame: Array) -> bytes:
    """RLE Lossless by pylibjpeg-rle."""
    return rle_encode(
        frame.tobytes(),
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=1 if frame.ndim == 2 else frame.shape[2],
        bits_allocated=8 * frame.dtype.itemsize,
        number_of_frames=1,
        byteorder="<",
    )
