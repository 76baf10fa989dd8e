"""JPEG XL by libjxl in imagecodecs: lossless encoding, decoding of all kinds, and JPEGs that come back byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs

from cinemill.codecs.jpeg.libjpeg_turbo import sign_extended
from cinemill.codecs.jpeg_xl.boxes import bare_codestream, reconstructable
from cinemill.codecs.jpeg_xl.headers import ImageHeader, read_header
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

NAME = "libjxl"
VERSION: str = imagecodecs.jpegxl_version().rpartition(" ")[2]
_EFFORT = 1
"""On ultrasound 40 to 52 % of JPEG-LS, as fast as that; effort 2 leaves 89 % of this in 7 times the time."""

_LEAST_ROOM, _EXPANSION = 16 << 20, 64
"""How large a JPEG may become that is rebuilt: what stands behind its EOI is compressed, and could be anything."""


class Libjxl:
    """libjxl as an `cinemill.codecs.codec.Encoder`: bare codestreams, whose precision is Bits Stored.

    JPEG XL has no signed samples: those of DICOM are their two's complement in Bits Stored, as in JPEG-LS.
    """

    name = NAME
    version = VERSION
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``; lossy colours come out as RGB.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        UnsupportedPixelFormat
            A codestream holds something that no DICOM image is.
        """
        return [_decode(data, pixels, frame) for frame, data in enumerate(codestreams)]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype`` losslessly: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, or values beyond ``bits_stored``.
        """
        if pixels.bits_stored > 16 or pixels.samples not in {1, 3}:
            raise UnsupportedPixelFormat(
                f"JPEG XL of {pixels.samples} samples of {pixels.bits_stored} bits can't be written; "
                "expected 1 or 3 samples of 1 to 16 bits"
            )
        return [_encode(frame, pixels) for frame in frames]


def check_geometry(data: Buffer, pixels: PixelFormat, frame: int) -> ImageHeader:
    """Check that a codestream holds a frame of such a size, before memory is spent on it, and return its header.

    Parameters
    ----------
    data
        Bare or in boxes.
    pixels
        What is expected.
    frame
        Its index, for the error.

    Raises
    ------
    CodecError
        It holds another one.
    UnsupportedPixelFormat
        It holds something that no DICOM image is.
    """
    try:
        header = read_header(data)
    except (CodecError, UnsupportedPixelFormat) as error:
        raise error.locate(frame=frame) from None
    found = header.rows, header.columns, header.components
    if found != (pixels.rows, pixels.columns, pixels.samples):
        raise CodecError(
            f"expected {pixels.rows} rows, {pixels.columns} columns, {pixels.samples} samples, the JPEG XL "
            "codestream has {}, {}, {}".format(*found),
            frame=frame,
        )
    return header


def _decode(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    header = check_geometry(data, pixels, frame)
    if header.orientation != 1:
        raise UnsupportedPixelFormat(
            f"JPEG XL with orientation {header.orientation} is not read; DICOM has its image as it is coded",
            frame=frame,
        )
    try:
        samples: Samples = imagecodecs.jpegxl_decode(bytes(bare_codestream(data)), numthreads=1)
    except (imagecodecs.JpegxlError, ValueError) as error:
        raise CodecError(f"libjxl: {error}", frame=frame) from error
    if samples.shape != pixels.shape or samples.dtype.kind != "u":
        raise CodecError(
            f"expected a frame of shape {pixels.shape}, the codestream holds {samples.shape}", frame=frame
        )
    return sign_extended(samples, pixels) if pixels.signed else samples.astype(pixels.dtype, copy=False)


def _encode(frame: Samples, pixels: PixelFormat) -> bytes:
    bits = pixels.bits_stored
    lowest = -(1 << bits - 1) if pixels.signed else 0
    highest = lowest + (1 << bits) - 1
    if bits < 8 * frame.itemsize and (frame.min() < lowest or frame.max() > highest):
        raise UnsupportedPixelFormat(
            f"JPEG XL: expected values from {lowest} to {highest} ({bits} bits stored), "
            f"found {frame.min()} to {frame.max()}; mask what lies above Bits Stored first"
        )
    samples = frame.astype("u1" if bits <= 8 else "u2", copy=False)
    if pixels.signed and bits < 8 * samples.itemsize:
        samples &= (1 << bits) - 1
    coded = imagecodecs.jpegxl_encode(
        samples, lossless=True, effort=_EFFORT, bitspersample=bits, usecontainer=False, numthreads=1
    )
    return bytes(bare_codestream(bytes(coded)))


def from_jpeg(jpeg: Buffer, frame: int) -> bytes:
    """Recompress a JPEG: boxes with a codestream and what rebuilds the JPEG from it, all that stands behind its EOI included.

    Parameters
    ----------
    jpeg
        Baseline, extended or progressive, of 8 bits, with Huffman coding.
    frame
        Its index, for the error.

    Raises
    ------
    UnsupportedPixelFormat
        libjxl can't hold this JPEG so that it comes back.
    """
    try:
        return bytes(imagecodecs.jpegxl_encode_jpeg(bytes(jpeg), usecontainer=True, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError) as error:
        raise UnsupportedPixelFormat(
            f"libjxl can't recompress this JPEG so that it comes back byte for byte ({error})", frame=frame
        ) from None


def to_jpeg(data: Buffer, frame: int) -> bytes:
    """Rebuild the JPEG that a codestream in boxes was made from.

    Parameters
    ----------
    data
        Boxes, with or without padding behind them.
    frame
        Its index, for the error.

    Raises
    ------
    CodecError
        There is nothing to rebuild one from, or it is damaged.
    """
    boxes = reconstructable(data)
    if boxes is None:
        raise CodecError(
            "expected JPEG XL boxes that a JPEG can be rebuilt from (jbrd), found none", frame=frame
        )
    try:
        most = _LEAST_ROOM + _EXPANSION * len(boxes)
        return bytes(imagecodecs.jpegxl_decode_jpeg(bytes(boxes), numthreads=1, out=most))
    except (imagecodecs.JpegxlError, ValueError) as error:
        raise CodecError(f"the JPEG can't be rebuilt (libjxl: {error})", frame=frame) from None
