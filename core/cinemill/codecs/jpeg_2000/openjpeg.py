"""JPEG 2000 Part 1, and the decoding of Part 15, by OpenJPEG (through imagecodecs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.codecs.jpeg_2000.boxes import bare_codestream
from cinemill.codecs.jpeg_2000.markers import MainHeader, check_room, check_tile_parts, read_main_header
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class OpenJpeg:
    """OpenJPEG as an `cinemill.codecs.codec.Encoder`.

    It encodes bare codestreams, without JP2 boxes (PS3.5 8.2.4): one tile, LRCP, 64 x 64 code-blocks, the
    reversible 5-3 wavelet, and the reversible colour transform for RGB.
    """

    name = "openjpeg"
    version: str = imagecodecs.jpeg2k_version().rpartition(" ")[2]
    batch = 1
    tolerant = False
    """Whether marker codes in packets are accepted."""

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames; JP2 boxes around a codestream are skipped.

        Where SIZ and ``pixels`` disagree about the sign, the bits of each sample (as many as SIZ has) are
        read with the sign of ``pixels``.

        Returns
        -------
        list of arrays of ``pixels.shape`` and ``pixels.dtype``; RGB if the codestream has a colour transform.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        UnsupportedPixelFormat
            A codestream has components of different resolution or depth.
        """
        return [
            decode_checked(
                *check_codestream(codestream, pixels, frame, tolerant=self.tolerant), pixels, frame
            )
            for frame, codestream in enumerate(codestreams)
        ]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype``: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, values beyond ``bits_stored``, or noise of 1 bit, which OpenJPEG has no room for.
        """
        check_encodable(pixels)
        return [_encode(frame, pixels) for frame in frames]


def check_encodable(pixels: PixelFormat) -> None:
    """Raise `UnsupportedPixelFormat` for what the JPEG 2000 encoders can't hold."""
    if pixels.samples not in (1, 3) or not 1 <= pixels.bits_stored <= pixels.bits_allocated <= 16:
        raise UnsupportedPixelFormat(
            f"JPEG 2000: expected 1 or 3 samples of 1 to 16 bits in at most 16, which decoders in use read, found {pixels.samples} "
            f"of {pixels.bits_stored} bits in {pixels.bits_allocated}; use explicit, implicit or deflated"
        )
    if not (1 <= pixels.rows <= 65535 and 1 <= pixels.columns <= 65535):
        raise UnsupportedPixelFormat(
            f"JPEG 2000: expected 1 to 65535 rows and columns, found {pixels.rows} and {pixels.columns}"
        )


def takes_colour_transform(pixels: PixelFormat) -> bool:
    """Whether such samples are encoded with the reversible colour transform: the label is then YBR_RCT."""
    return pixels.samples == 3 and pixels.photometric_interpretation == "RGB"


def check_codestream(
    data: Buffer, pixels: PixelFormat, frame: int, *, tolerant: bool = False
) -> tuple[Buffer, MainHeader]:
    """Return the bare codestream and its main header, without decoding, if all is there and fits ``pixels``.

    Parameters
    ----------
    data, pixels, frame
        A codestream, what it is expected to hold, and what errors call it.
    tolerant
        Accept marker codes in packets.

    Raises
    ------
    CodecError
        As `OpenJpeg.decode`.
    """
    try:
        codestream = bare_codestream(data)
        header = read_main_header(codestream)
        _check_geometry(header, pixels)
        check_room(codestream, header)
        check_tile_parts(codestream, header, tolerant=tolerant)
    except (CodecError, UnsupportedPixelFormat) as error:
        raise error.locate(frame=frame) from None
    return codestream, header


def decode_checked(codestream: Buffer, header: MainHeader, pixels: PixelFormat, frame: int) -> Samples:
    """Decode what `check_codestream` returned.

    Parameters
    ----------
    codestream
        Bare, and whole.
    header
        Its main header.
    pixels
        Format of the frame.
    frame
        Index of the frame, for errors.

    Raises
    ------
    CodecError
        A codestream is damaged.
    """
    try:
        samples: Samples = imagecodecs.jpeg2k_decode(codestream)  # type: ignore[arg-type]  # takes any buffer
    except imagecodecs.Jpeg2kError as error:
        raise CodecError(
            f"{len(codestream)} bytes of JPEG 2000 can't be decoded: {error}", frame=frame
        ) from error
    if header.signed != pixels.signed:
        samples = flip_sign(samples, header)
    if samples.shape != pixels.shape:
        raise CodecError(
            f"JPEG 2000: expected an array of {pixels.shape}, found {samples.shape}", frame=frame
        )
    return np.ascontiguousarray(samples, dtype=pixels.dtype)


def _check_geometry(header: MainHeader, pixels: PixelFormat) -> None:
    if not header.alike:
        raise UnsupportedPixelFormat("JPEG 2000 with components of different depths is not read")
    expected = pixels.rows, pixels.columns, pixels.samples
    found = header.rows, header.columns, header.samples
    if found != expected:
        raise CodecError(f"JPEG 2000: expected rows, columns, samples {expected}, found {found} in SIZ")
    if header.subsampled:
        raise UnsupportedPixelFormat("JPEG 2000 with subsampled components is not read")
    capacity = 8 * pixels.dtype.itemsize
    if header.precision > capacity:
        raise CodecError(
            f"JPEG 2000: expected at most {capacity} bits a sample, found {header.precision} in SIZ"
        )


def flip_sign(samples: Samples, header: MainHeader) -> Samples:
    """Read unsigned samples as two's complement of the codestream's precision, or signed ones as unsigned."""
    modulus = 1 << header.precision
    wide = samples.astype(np.int64)
    return wide % modulus if header.signed else wide - modulus * (wide >= modulus // 2)


def _encode(samples: Samples, pixels: PixelFormat) -> bytes:
    check_values(samples, pixels)
    if pixels.bits_stored <= 8:
        samples = samples.astype(f"{samples.dtype.kind}1", copy=False)
    try:
        encoded = imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            reversible=True,
            codecformat="J2K",
            planar=False,
            bitspersample=pixels.bits_stored,
            mct=takes_colour_transform(pixels),
        )
    except imagecodecs.Jpeg2kError as error:
        # Known of noise of 1 bit: it does not fit the room for the uncompressed samples.
        raise UnsupportedPixelFormat(
            f"OpenJPEG can't encode {pixels.samples} samples of {pixels.bits_stored} bits: {error}"
        ) from error
    return bytes(encoded)


def check_values(samples: Samples, pixels: PixelFormat) -> None:
    """Raise `UnsupportedPixelFormat` for values that need more than ``bits_stored``."""
    if pixels.bits_stored == 8 * pixels.dtype.itemsize:
        return
    lowest = -(1 << (pixels.bits_stored - 1)) if pixels.signed else 0
    highest = lowest + (1 << pixels.bits_stored) - 1
    if samples.min() < lowest or samples.max() > highest:
        raise UnsupportedPixelFormat(
            f"JPEG 2000: expected values from {lowest} to {highest} ({pixels.bits_stored} bits stored), "
            f"found {samples.min()} to {samples.max()}; mask what lies above BitsStored first"
        )
