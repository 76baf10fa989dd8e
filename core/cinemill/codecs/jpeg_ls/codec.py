"""JPEG-LS by cinemill's own kernels: single frames one sample after the other, batches one frame a SIMD lane."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill._version import __version__
from cinemill.codecs.jpeg_ls.markers import (
    EPILOGUE,
    INTERLEAVE_SAMPLE,
    FrameHeader,
    frame_prologue,
    read_another,
    read_scans,
)
from cinemill.codecs.memory import shared
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_ls.parameters import (
    BREAK_EVEN,
    DEFAULT_RESET,
    LANES,
    LARGEST_THRESHOLD,
    coding_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cinemill.codecs.jpeg_ls.markers import Interval, Scan
    from cinemill.kernels.jpeg_ls.parameters import Coding
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

LONGEST_CODESTREAM = (1 << 32) - 2
"""What the length of a DICOM fragment can express (PS3.5 A.4)."""

MOST_BITS_IN_LANES = 1 << 26
"""Lanes count bits in 32 bits, from the first code on."""

LARGEST_BATCH = 1 << 31
"""Bytes of address space, of which only what codes really take is used, that a batch may reserve for them."""


class JpegLs:
    """Decodes lossless and near-lossless JPEG-LS (T.87); encodes lossless, colour interleaved by line."""

    name = "cinemill-jpegls"
    version = __version__
    batch = 2 * LANES  # what decodes best; the encoder takes half at a time

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, in the codestream's colour space."""
        alike: dict[object, list[int]] = {}
        scans: list[list[Scan]] = []
        for index, codestream in enumerate(codestreams):
            with _in_frame(index):
                another = read_another(codestream, codestreams[index - 1], scans[-1]) if scans else None
                scans.append([another] if another else _read(codestream, pixels))
            alike.setdefault(_fit_for_lanes(scans[index]), []).append(index)
        frames = self._room(len(codestreams), pixels)
        for fit, members in alike.items():
            for start in range(0, len(members), self.batch):
                some = members[start : start + self.batch]
                if fit and len(some) >= BREAK_EVEN:
                    _decode_in_lanes(some, scans, frames)
                else:
                    _decode_one_by_one(some, scans, frames)
        return [_with_sign(frame, pixels) for frame in frames]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype`` losslessly, one codestream a frame.

        Bits above ``pixels.bits_stored`` are dropped; signed samples keep their sign as the highest of those left.
        """
        _require_encodable(pixels)
        header = FrameHeader(
            pixels.bits_stored, pixels.rows, pixels.columns, tuple(range(1, pixels.samples + 1))
        )
        coding = coding_parameters((1 << pixels.bits_stored) - 1)
        prologue = frame_prologue(header, coding)
        codestreams: list[bytes] = []
        for start in range(0, len(frames), LANES):
            some = [_unsigned(frame, pixels) for frame in frames[start : start + LANES]]
            codestreams += _encode_some(some, coding, prologue)
        return codestreams

    def _room(self, frames: int, pixels: PixelFormat) -> list[NDArray[Any]]:
        """Return arrays for decoded frames."""
        return [np.empty(pixels.shape, f"u{pixels.dtype.itemsize}") for _ in range(frames)]


class Transient(JpegLs):
    """Decodes frames that are gone with the next call that their thread makes of a codec: for those that are compared and let go."""

    def _room(self, frames: int, pixels: PixelFormat) -> list[NDArray[Any]]:
        shared.begin()
        kind = np.uint8 if pixels.dtype.itemsize == 1 else np.uint16
        return list(shared.array("frames", (frames, *pixels.shape), kind))


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


def _encode_some(frames: list[NDArray[Any]], coding: Coding, prologue: bytes) -> list[bytes]:
    """Encode up to `LANES` frames, in lanes if there are enough of them and memory for the worst case of each."""
    if len(frames) >= BREAK_EVEN and LANES * 4 * frames[0].nbytes <= LARGEST_BATCH:
        from cinemill.kernels.jpeg_ls.encode_lanes import encode_scans

        return encode_scans(frames, coding, prologue, EPILOGUE)
    from cinemill.kernels.jpeg_ls.encode import encode_scan

    return [encode_scan(frame, coding, prologue, EPILOGUE) for frame in frames]


@contextmanager
def _in_frame(index: int) -> Iterator[None]:
    """Say which frame of a call an error concerns."""
    try:
        yield
    except (CodecError, UnsupportedPixelFormat) as error:
        raise error.locate(frame=index) from None


def _read(codestream: Buffer, pixels: PixelFormat) -> list[Scan]:
    scans = []
    for scan in read_scans(codestream):
        _require_geometry(scan, pixels)
        scans.append(scan)
    return scans


def _fit_for_lanes(scans: list[Scan]) -> object:
    """Return what frames must have in common to be decoded in lanes, or None if the lanes can't decode such scans."""
    fit = all(
        scan.coding.exact
        and scan.coding.reset == DEFAULT_RESET
        and scan.coding.t3 <= LARGEST_THRESHOLD
        and scan.restart_lines == 0
        and scan.interleave != INTERLEAVE_SAMPLE
        and scan.components in (1, 3)
        and scan.intervals[0].bits < MOST_BITS_IN_LANES
        for scan in scans
    )
    return tuple((scan.first, scan.components, scan.coding) for scan in scans) if fit else None


def _decode_in_lanes(members: list[int], scans: list[list[Scan]], frames: list[NDArray[Any]]) -> None:
    from cinemill.kernels.jpeg_ls.decode_lanes import decode_scans

    targets = [frames[member] for member in members]
    for number, scan in enumerate(scans[members[0]]):
        intervals = [scans[member][number].intervals[0] for member in members]
        codes = [(interval.plain, interval.bits) for interval in intervals]
        positions = decode_scans(codes, scan.coding, targets, scan.first, scan.components)
        for member, interval, position in zip(members, intervals, positions, strict=True):
            with _in_frame(member):
                _require_end(interval, position)


def _decode_one_by_one(members: list[int], scans: list[list[Scan]], frames: list[NDArray[Any]]) -> None:
    for member in members:
        with _in_frame(member):
            for scan in scans[member]:
                _decode_scan(scan, frames[member])


def _require_geometry(scan: Scan, pixels: PixelFormat) -> None:
    """Refuse a codestream that does not hold the frame that was promised.

    Samples may have more bits than are stored (12 bits coded as 16 are common), but not more than are allocated.
    """
    header, offset = scan.header, scan.intervals[0].offset
    found = header.rows, header.columns, len(header.components)
    expected = pixels.rows, pixels.columns, pixels.samples
    if found != expected:
        raise CodecError(f"expected {expected} rows, columns and samples, found {found}", offset=offset)
    if header.precision > 8 * pixels.dtype.itemsize:
        raise CodecError(
            f"expected at most {pixels.bits_allocated} bits a sample, found {header.precision}", offset=offset
        )


def _decode_scan(scan: Scan, frame: NDArray[Any]) -> None:
    from cinemill.kernels.jpeg_ls.decode import decode_scan

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
