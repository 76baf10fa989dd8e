"""JPEG-LS by cinemill's own kernels: single frames one sample after the other, batches one frame a SIMD lane."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.codecs.jpegls_markers import Interval, Scan
    from cinemill.model import Buffer, PixelFormat, Samples

LONGEST_CODESTREAM = (1 << 32) - 2
"""What the length of a DICOM fragment can express (PS3.5 A.4)."""


def _version() -> str:
    try:
        return version("cinemill")
    except PackageNotFoundError:
        return "unknown"


class JpegLs:
    """Decodes lossless and near-lossless JPEG-LS (T.87); encodes lossless, colour interleaved by line."""

    name = "cinemill-jpegls"
    version = _version()
    batch = 16

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, in the codestream's colour space."""
        frames: list[Samples] = []
        for index, codestream in enumerate(codestreams):
            try:
                frames.append(_decode(codestream, pixels))
            except CodecError as error:
                error.locate(frame=index)
                raise
        return frames

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype`` losslessly, one codestream a frame.

        Bits above ``pixels.bits_stored`` are dropped; signed samples keep their sign as the highest of those left.
        """
        _require_encodable(pixels)
        return [_encode(_unsigned(frame, pixels), pixels) for frame in frames]


def _require_encodable(pixels: PixelFormat) -> None:
    """Refuse what JPEG-LS, or DICOM's use of it, has no room for (PS3.5 8.2.3)."""
    if pixels.samples not in (1, 3):
        raise UnsupportedPixelFormat(f"JPEG-LS frames have 1 or 3 samples per pixel, not {pixels.samples}")
    if not 2 <= pixels.bits_stored <= 16 or pixels.bits_allocated not in (8, 16):
        raise UnsupportedPixelFormat(
            f"JPEG-LS holds 2 to 16 bits stored in 8 or 16 allocated, not {pixels.bits_stored} in {pixels.bits_allocated}"
        )
    if not (1 <= pixels.rows <= 65535 and 1 <= pixels.columns <= 65535):
        raise UnsupportedPixelFormat(
            f"JPEG-LS frames have 1 to 65535 rows and columns, not {pixels.rows} and {pixels.columns}"
        )
    worst = pixels.rows * pixels.columns * pixels.samples * max(32, 4 * pixels.bits_stored) // 7
    if worst > LONGEST_CODESTREAM:
        raise UnsupportedPixelFormat(
            f"a frame of {pixels.nbytes} bytes may need {worst} bytes in JPEG-LS, more than a fragment holds"
        )


def _unsigned(frame: Samples, pixels: PixelFormat) -> NDArray[Any]:
    """View a frame as contiguous unsigned samples."""
    if frame.shape != pixels.shape or frame.dtype != pixels.dtype:
        raise UnsupportedPixelFormat(
            f"expected a frame of {pixels.shape} {pixels.dtype}, found {frame.shape} {frame.dtype}"
        )
    return np.ascontiguousarray(frame).view(f"u{frame.itemsize}")


def _encode(frame: NDArray[Any], pixels: PixelFormat) -> bytes:
    from cinemill.codecs.jpegls_markers import EPILOGUE, FrameHeader, frame_prologue
    from cinemill.kernels.jpegls_encode import encode_scan
    from cinemill.kernels.jpegls_parameters import coding_parameters

    header = FrameHeader(pixels.bits_stored, pixels.rows, pixels.columns, tuple(range(1, pixels.samples + 1)))
    coding = coding_parameters((1 << pixels.bits_stored) - 1)
    return b"".join((frame_prologue(header, coding), encode_scan(frame, coding), EPILOGUE))


def _decode(codestream: Buffer, pixels: PixelFormat) -> Samples:
    from cinemill.codecs.jpegls_markers import read_scans

    frame = np.empty(pixels.shape, f"u{pixels.dtype.itemsize}")
    for scan in read_scans(codestream):
        _require_geometry(scan, pixels)
        _decode_scan(scan, frame)
    return _with_sign(frame, pixels)


def _require_geometry(scan: Scan, pixels: PixelFormat) -> None:
    """Refuse a codestream that does not hold the frame that was promised.

    Samples may have more bits than are stored (12 bits coded as 16 are common), but not more than are allocated.
    """
    header = scan.header
    found = header.rows, header.columns, len(header.components)
    expected = pixels.rows, pixels.columns, pixels.samples
    if found != expected:
        raise CodecError(f"expected {expected} rows, columns and samples, found {found}")
    if header.precision > 8 * pixels.dtype.itemsize:
        raise CodecError(f"expected at most {pixels.bits_allocated} bits a sample, found {header.precision}")


def _decode_scan(scan: Scan, frame: NDArray[Any]) -> None:
    from cinemill.codecs.jpegls_markers import INTERLEAVE_SAMPLE
    from cinemill.kernels.jpegls_decode import decode_scan

    by_pixel = scan.interleave == INTERLEAVE_SAMPLE and scan.components > 1
    lines = scan.restart_lines or len(frame)
    for interval, top in zip(scan.intervals, range(0, len(frame), lines), strict=True):
        strip = frame[top : top + lines]
        position = decode_scan(
            interval.plain, interval.bits, scan.coding, strip, scan.first, scan.components, by_pixel=by_pixel
        )
        _require_end(interval, position)


def _require_end(interval: Interval, position: int) -> None:
    """Check that decoding ended where the code does: at most a byte's fill bits, or a whole zero byte, may be left."""
    left = interval.bits - position
    if left < 0:
        raise CodecError(
            "the codestream is truncated: its code ends before the samples do",
            offset=interval.offset + interval.bits // 8,
        )
    byte = position // 8
    rest = int.from_bytes(interval.plain[byte : byte + 3].tobytes(), "big") & ((1 << (24 - position % 8)) - 1)
    if left >= 16 or (left >= 8 and rest):
        raise CodecError(
            f"{left // 8} bytes of code are left after the last sample: the codestream is damaged",
            offset=interval.offset + byte,
        )


def _with_sign(frame: NDArray[Any], pixels: PixelFormat) -> Samples:
    """Give signed samples back the sign that their highest stored bit stands for."""
    if not pixels.signed:
        return frame
    signed = frame.view(pixels.dtype)
    unused = 8 * signed.itemsize - pixels.bits_stored
    if unused:
        signed <<= unused
        signed >>= unused
    return signed
