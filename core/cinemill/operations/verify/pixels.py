"""Compares the frames of two files: their bytes where these are meant to be equal, else their samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import VerificationError
from cinemill.operations.verify.allowed import carried_over, coded_anew, is_collapsed
from cinemill.operations.verify.samples import Reader, within
from cinemill.pipeline import chunks, pipeline
from cinemill.storage.digests import named

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.operation import Control
    from cinemill.pixel_format import Samples

_COLOURS = frozenset(("RGB", "YBR_FULL"))
_ROUNDED = 8
"""How much decoders of JPEG with DCT, or conversions of colours, may differ."""


class Deviation(NamedTuple):
    """How one frame of an output differs.

    Attributes
    ----------
    samples, most
        How many samples differ, and by how much at most.
    where, expected, found
        The first of them: its place in the frame's array, and its values.
    digests
        Of the source's frame and of the output's.
    """

    frame: int
    samples: int
    most: int
    where: tuple[int, ...]
    expected: int
    found: int
    digests: tuple[bytes, bytes]


@dataclass(slots=True)
class Comparison:
    """What was found about the pixels of a pair.

    Attributes
    ----------
    may_change
        Tags that may differ by rule.
    how
        What was compared, by which decoders.
    wrong
        A sentence for each thing that differs.
    frame
        The first frame that differs.
    more
        Fields of the receipt.
    """

    may_change: set[int]
    how: str
    wrong: list[str] = field(default_factory=list)
    frame: int | None = None
    more: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def compare_pixels(source: Source, output: Source, control: Control) -> Comparison:
    """Compare all frames.

    Parameters
    ----------
    source, output
        The open files, both with pixel data.
    control
        Threads, cancellation and progress.

    Raises
    ------
    VerificationError
        There are other frames, or frames of another kind, so that there is nothing to compare.
    CinemillError
        One of the files is damaged, or can't be decoded.
    """
    for file in (source, output):
        file.check()
    _check_alike(source, output)
    if _same_container(source, output):
        frame = _first_other_bytes(source, output, control)
        if frame is None:
            return Comparison(
                carried_over(source, output), "every frame's bytes", more={"frames": len(source)}
            )
        if source.transfer_syntax.coding == "video" or not _holds_integers(source):
            return Comparison(carried_over(source, output), "", ["the bytes of the pixel data differ"], frame)
    return _compare_samples(Reader(source), Reader(output), control)


def _check_alike(source: Source, output: Source) -> None:
    before, after = source.pixels, output.pixels
    for name, expected, found in (
        ("frames", len(source), len(output)),
        ("rows", before.rows, after.rows),
        ("columns", before.columns, after.columns),
        (
            "samples per pixel",
            before.samples,
            before.samples if is_collapsed(source, output) else after.samples,
        ),
        ("Pixel Representation", int(before.signed), int(after.signed)),
    ):
        if expected != found:
            raise VerificationError(
                f"the pixels are not the source's: expected {name} {expected}, found {found}"
            )


def _holds_integers(source: Source) -> bool:
    return source.pixel_data is not None and source.pixel_data.tag == PIXEL_DATA


def _same_container(source: Source, output: Source) -> bool:
    """Whether frames of equal bytes are equal frames."""
    assert source.pixel_data is not None
    assert output.pixel_data is not None
    return (
        source.transfer_syntax.coding == output.transfer_syntax.coding
        and source.pixel_data.tag == output.pixel_data.tag
        and (source.pixels, source.layout, source.high_bit) == (output.pixels, output.layout, output.high_bit)
    )


def _first_other_bytes(source: Source, output: Source, control: Control) -> int | None:
    """Return the first frame whose bytes differ by more than a padding byte."""
    if source.transfer_syntax.coding == "video":
        return (
            None if bytes(source.bitstream()).rstrip(b"\0") == bytes(output.bitstream()).rstrip(b"\0") else 0
        )
    for index in range(len(source)):
        control.check()
        expected, found = source.frame(index), output.frame(index)
        if expected != found:
            short, long = sorted((bytes(expected), bytes(found)), key=len)
            if source.native or long != short + b"\0":
                return index
        control.advance(index + 1, len(source))
    return None


def _compare_samples(before: Reader, after: Reader, control: Control) -> Comparison:
    compared = _Compared(before, after)
    decoded = after.decoder.pixels
    with pipeline(control.cores_for(len(before.source)), control.cancelled) as pipe:
        cut = chunks(len(before.source), decoded.nbytes, before.decoder.batch, control.cores)
        for indices in pipe.stage(compared.look_at, cut):
            compared.add(indices)
            control.advance(compared.frames, len(before.source))
    how = f"every frame, decoded by {before} and {after}"
    more = {
        "frames": compared.frames,
        "decoder": str(after),
        "digest": named(compared.digest),
        "lossy_source": before.decoder.lossy,
        "pixel_bytes": decoded.nbytes * compared.frames,
        "bits_allocated": after.source.pixels.bits_allocated,
        "bits_stored": after.source.pixels.bits_stored,
    }
    found = Comparison(coded_anew(before, after), how, more=more)
    found.warnings = [*before.warnings, *(f"output: {each}" for each in after.warnings)]
    if compared.cleared:
        found.warnings.append(
            f"bits above Bits Stored {compared.bits} are no part of the samples; they were not compared"
        )
    if compared.deviations:
        found.frame = compared.deviations[0].frame
        found.wrong.append(compared.told())
    if compared.overlays:
        index, group = compared.overlays[0]
        found.frame = index if found.frame is None else min(index, found.frame)
        found.wrong.append(f"the overlay of group {group:04X} differs, first in frame {index}")
    return found


class _Compared:
    """What the frames of a pair are found to be. `look_at` is called from several threads, `add` from one."""

    def __init__(self, before: Reader, after: Reader) -> None:
        self.before, self.after = before, after
        self.frames = 0
        self.cleared = False
        self.digest = xxhash.xxh3_128()
        self.deviations: list[Deviation] = []
        self.overlays: list[tuple[int, int]] = []
        self.interpretation = after.decoder.pixels.photometric_interpretation
        coded = before.decoder.pixels.photometric_interpretation
        self.collapsed = is_collapsed(before.source, after.source)
        self.converted = coded != self.interpretation and not self.collapsed
        if self.converted and not {coded, self.interpretation} <= _COLOURS:
            raise VerificationError(
                f"expected samples in {coded} as in the source, found {self.interpretation}"
            )
        stored = max(file.source.pixels.bits_stored for file in (before, after))
        self.bits = stored if before.aligned and after.aligned else 64

    def look_at(self, indices: range) -> list[tuple[Samples, Deviation | None, bool, list[int]]]:
        """Decode frames of both files; return the output's, how each differs, and whether bits were left out."""
        space = "RGB" if self.collapsed else self.interpretation
        pairs = zip(
            self.before.read(indices, space), self.after.read(indices, self.interpretation), strict=True
        )
        return [self._look_at(index, *pair) for index, pair in zip(indices, pairs, strict=True)]

    def _widened(self, frame: Samples) -> Samples:
        """Return a grey frame as colour, where the source has that."""
        return np.repeat(frame[..., None], 3, axis=-1) if self.collapsed else frame

    def _look_at(
        self, index: int, one: Samples, other: Samples
    ) -> tuple[Samples, Deviation | None, bool, list[int]]:
        expected, cleared = within(one, self.bits)
        found, _ = within(self._widened(other), self.bits)
        if not np.array_equal(expected, found):
            # One of the decoders may be wrong: have others look at it.
            space = "RGB" if self.collapsed else self.interpretation
            (one,) = self.before.council.decode([index], space)
            (other,) = self.after.council.decode([index], self.interpretation)
            expected, found = within(one, self.bits)[0], within(self._widened(other), self.bits)[0]
        wrong = []
        for group in self.before.overlays:
            plane, there = self.before.overlay(group, index, one), self.after.overlay(group, index, other)
            if plane is not None and (there is None or not np.array_equal(plane, there)):
                wrong.append(group)
        return other, _deviation(index, expected, found), cleared, wrong

    def add(self, looked_at: list[tuple[Samples, Deviation | None, bool, list[int]]]) -> None:
        """Take up what was found about the next frames."""
        for decoded, deviation, cleared, overlays in looked_at:
            self.digest.update(np.ascontiguousarray(decoded).data)
            self.cleared |= cleared
            self.overlays += [(self.frames, group) for group in overlays]
            if deviation is not None:
                self.deviations.append(deviation)
            self.frames += 1

    def told(self) -> str:
        """Say how the frames differ."""
        first = self.deviations[0]
        lossy = "the output is lossy: " if self.after.decoder.lossy and not self.before.decoder.lossy else ""
        total = self.frames * self.after.decoder.pixels.nbytes // self.after.decoder.pixels.dtype.itemsize
        most = max(each.most for each in self.deviations)
        places = ", ".join(
            f"{name} {at}" for name, at in zip(("row", "column", "sample"), first.where, strict=False)
        )
        notes = dict.fromkeys((*self.before.source.warnings, *self.before.decoder.warnings))
        text = (
            f"{lossy}{len(self.deviations)} of {self.frames} frames differ, "
            f"{sum(each.samples for each in self.deviations)} of {total} samples by up to {most}, "
            f"first at {places} of frame {first.frame}: expected {first.expected}, found {first.found}"
        )
        if order := self._order():
            text += f"; the frames are the source's in another order: {order}"
        elif most <= _ROUNDED and self.before.decoder.lossy and not self.after.decoder.lossy:
            text += "; the source is lossy, and decoders of it round differently"
        elif most <= _ROUNDED and self.converted:
            text += f"; colours were converted to {self.interpretation}, which programs round differently"
        return "; ".join((text, *(f"source: {each}" for each in notes)))

    def _order(self) -> str:
        """Say which frame stands where, if only the order is wrong."""
        belongs = {each.digests[0]: each.frame for each in self.deviations}
        there = sorted(each.digests[1] for each in self.deviations)
        if there != sorted(each.digests[0] for each in self.deviations):
            return ""
        first = self.deviations[0]
        return f"frame {first.frame} is the source's frame {belongs[first.digests[1]]}"


def _deviation(index: int, expected: Samples, found: Samples) -> Deviation | None:
    if np.array_equal(expected, found):
        return None
    where = tuple(int(at) for at in np.unravel_index(np.argmax(expected != found), expected.shape))
    apart = np.abs(expected.astype(np.int64) - found.astype(np.int64))
    one, other = (np.ascontiguousarray(frame) for frame in (expected, found))
    return Deviation(
        frame=index,
        samples=int(np.count_nonzero(apart)),
        most=int(apart.max()),
        where=where,
        expected=int(expected[where]),
        found=int(found[where]),
        digests=(xxhash.xxh3_128_digest(one.data), xxhash.xxh3_128_digest(other.data)),
    )
