"""Transcodes the frames of one instance: decode → transform → encode → write → read back, on threads, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from cinemill import party
from cinemill.codecs import table, together
from cinemill.dicom.pixel_writers import EncapsulatedWriter
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import VerificationError
from cinemill.frames.depth import DepthExceeded, restrict
from cinemill.frames.equality import same_samples
from cinemill.frames.icons import native_icons
from cinemill.frames.overlays import EmbeddedOverlays
from cinemill.operations.clock import Clock, record
from cinemill.operations.origin import uid_of
from cinemill.operations.transcode.changes import lossy_contradiction, pixel_changes, wrong_high_bit
from cinemill.operations.transcode.grey import TOLD, one_sample
from cinemill.operations.transcode.transform import transformed
from cinemill.operations.transcode.verify import FrameVerifier, heard_twice
from cinemill.pipeline import Pipeline, chunks, pipeline
from cinemill.storage.digests import named
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness

if TYPE_CHECKING:
    from cinemill.dicom.pixel_writers import FrameWriter
    from cinemill.dicom.recode import ItemChange
    from cinemill.dicom.source import Source
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.operation import Control
    from cinemill.operations.origin import Origin
    from cinemill.operations.policy.words import Level
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.plan import Plan
    from cinemill.operations.transcode.request import Transcode
    from cinemill.pixel_format import Samples

_GROWTH = 1.25
"""No lossless coding here makes noise larger than this; decides whether offsets might pass 32 bits."""

_LARGE = 4 << 20
"""Bytes of samples of so many frames as are coded at once; of larger ones fewer are under way."""

_ROUNDED = "YBR_FULL of a lossless source became RGB, rounded once (PS3.3 C.7.6.3.1.2); --colour keep keeps the coded samples"
_NOT_INDEPENDENT = "--verify independent: no decoder is installed that shares no code with {}, which encoded the frames and verified them"


@dataclass(slots=True)
class _Chunk:
    """Some frames on their way, as samples and as codestreams."""

    indices: range
    frames: list[Samples]
    codestreams: Sequence[bytes]
    unmasked: list[Samples] | None


class _Stages:
    """What is done to every chunk. `encode` and `compare` are called from several threads, `write` from one."""

    def __init__(self, decoder: FrameDecoder, plan: Plan, level: Level) -> None:
        self.decoder, self.plan = decoder, plan
        self.encoder = table.encoder(plan.target.coding)
        self.batch = max(decoder.batch, self.encoder.batch)
        source = decoder.source
        uid, frames = uid_of(source), len(source)
        verifiers = table.verifiers(
            plan.target.coding,
            first=level == "full" and not heard_twice(uid, frames),
            transient=party.current() is None,  # in a party, others make calls before this one compares
        )
        self.verifier = FrameVerifier(level, verifiers, plan.encoded, uid, frames)
        self.clock = Clock()
        self.digest = xxhash.xxh3_128()
        self.masked = False
        self.overlays: EmbeddedOverlays | None = None
        if plan.masked and plan.limit is not None:
            self.overlays = EmbeddedOverlays.find(decoder.source)

    def cut(self, threads: int) -> Iterator[range]:
        """Cut the cine into chunks that both codecs like."""
        frames, nbytes = len(self.decoder.source), self.plan.encoded.nbytes
        return chunks(frames, nbytes, self.batch, threads, lanes_first=True)

    def encode(self, indices: range) -> _Chunk:
        """Decode, transform and encode frames."""
        plan = self.plan
        with self.clock("decode"):
            decoded = self.decoder.decode(indices, plan.interpretation)
        if plan.grey:
            decoded = [one_sample(frame, index) for index, frame in zip(indices, decoded, strict=True)]
        frames = [
            transformed(plan.transform, frame, index) for index, frame in zip(indices, decoded, strict=True)
        ]
        unmasked = None
        if plan.limit is not None:
            with self.clock("restrict"):
                restricted = [restrict(frame, plan.limit, masked=plan.masked) for frame in frames]
                if any(changed for _, changed in restricted):
                    unmasked = frames
                frames = [frame for frame, _ in restricted]
        with self.clock("encode"):
            codestreams = self._encode_each_once(frames)
        return _Chunk(indices, frames, codestreams, unmasked)

    def _encode_each_once(self, frames: list[Samples]) -> list[bytes]:
        """Encode frames, a run of identical ones (a frozen loop) once."""
        distinct: list[Samples] = []
        place = []
        for frame in frames:
            if not (distinct and _identical(distinct[-1], frame)):
                distinct.append(frame)
            place.append(len(distinct) - 1)
        codestreams = together.encode(self.encoder, distinct, self.plan.encoded)
        return [codestreams[at] for at in place]

    def write(self, chunk: _Chunk, writer: FrameWriter) -> _Chunk:
        """Append the frames to the output."""
        with self.clock("write"):
            for frame, codestream in zip(chunk.frames, chunk.codestreams, strict=True):
                self.digest.update(frame.data)
                writer.add(codestream)
        chunk.codestreams = ()
        if chunk.unmasked is not None:
            self.masked = True
        if self.overlays is not None:
            for frame in chunk.unmasked or chunk.frames:
                self.overlays.collect(frame)
        return chunk

    def compare(self, chunk: _Chunk, writer: FrameWriter) -> range:
        """Read the frames back from the output and compare them with what was encoded; return which they were."""
        if isinstance(writer, EncapsulatedWriter) and self.verifier.active:
            with self.clock("verify"):
                back = [writer.read(index) for index in chunk.indices]
                self.verifier.compare(chunk.indices, back, chunk.frames)
        return chunk.indices

    def warnings(self) -> list[str]:
        """Return what was done to the samples beside coding them."""
        told = [TOLD] if self.plan.grey else []
        if self._colour_is_rounded():
            told.append(_ROUNDED)
        if not self.verifier.independent_of(self.encoder):
            told.append(_NOT_INDEPENDENT.format(self.encoder.name))
        if self.overlays is not None:
            return [*told, str(self.overlays)]
        return [*told, str(self.decoder.depth)] if self.masked else told

    def _colour_is_rounded(self) -> bool:
        """Whether coded samples can't be had back from those that were written, though the source's coding is lossless."""
        found, wanted = self.decoder.pixels.photometric_interpretation, self.plan.interpretation
        return found == "YBR_FULL" and wanted == "RGB" and not self.decoder.lossy


def _identical(one: Samples, other: Samples) -> bool:
    """Compare two frames: few rows tell nearly all that differ, at little cost."""
    some = (slice(len(one) // 2, len(one) // 2 + 1), slice(0, None, 16))
    return all(np.array_equal(one[rows], other[rows]) for rows in some) and same_samples(one, other)


def transcode_frames(
    decoder: FrameDecoder,
    plan: Plan,
    origin: Origin,
    output: Path,
    request: Transcode,
    control: Control,
    told: Mapping[str, Any],
    *,
    change_item: ItemChange | None = None,
) -> Receipt:
    """Write one instance with all its frames encoded anew.

    Parameters
    ----------
    decoder
        Of the source's frames.
    plan
        How they are written.
    origin
        What the output is made from.
    output
        Where the instance will appear.
    request
        The options.
    control
        Threads, cancellation and progress.
    told
        What the receipt says besides.
    change_item
        What becomes of images in sequences; they are made native by default.

    Raises
    ------
    CinemillError
        Nothing was written.
    DepthExceeded
        The plan's depth is too small for the samples.
    """
    source, target = decoder.source, plan.target
    stages = _Stages(decoder, plan, request.verify)
    clock = stages.clock
    changes = pixel_changes(source, decoder, plan)
    if stages.overlays is not None:
        changes.update(stages.overlays.placeholders())
    changes |= origin.changes
    likeness = Likeness.of(source.path, preserve=request.preserve)
    most = len(source.file) if request.if_larger == "keep" else None
    with (
        together.within(plan.encoded.nbytes * len(source)),
        Sink(output, overwrite=request.overwrite, likeness=likeness, most=most) as sink,
        pipeline(control.cores_for(len(source)), control.cancelled) as pipe,
    ):
        instance = InstanceWriter(
            sink, source, target, changes, change_item or native_icons(source), origin.room
        )
        expected = int(plan.written.nbytes * len(source) * _GROWTH)
        writer = instance.begin_frames(plan.written, len(source), expected)
        _run(pipe, stages, writer, control)
        writer.end()
        with clock("write"):
            receipt = _receipt(stages, origin, output, told)
            overlays = None if stages.overlays is None else stages.overlays.data()
            instance.end(overlays, origin.remembered(receipt))
        if request.verify != "none":
            with clock("verify"), instance.read_back() as written:
                if not target.encapsulated:
                    _compare_native(pipe, stages, written, control)
        return clock.commit(sink, receipt)


def as_deep_as_needed(decoder: FrameDecoder, written: Callable[..., Receipt]) -> Receipt:
    """Call ``written(keep_coded_depth=False)``; where samples need more than Bits Stored, have it raised, and say so.

    Raises
    ------
    CinemillError
        Nothing was written.
    """
    try:
        return written(keep_coded_depth=False)
    except DepthExceeded:
        decoder.warnings.append(
            f"Bits Stored is {decoder.source.pixels.bits_stored}, but samples need the codestream's "
            f"{decoder.pixels.bits_stored}; Bits Stored was raised"
        )
        return written(keep_coded_depth=True)


def _receipt(stages: _Stages, origin: Origin, output: Path, told: Mapping[str, Any]) -> Receipt:
    """Return what is known of an output once all its frames are written.

    Parameters
    ----------
    stages
        What its frames went through.
    origin
        What it is made from.
    output
        Where it will appear.
    told
        What is said besides.
    """
    source, decoder, plan = origin.source, stages.decoder, stages.plan
    known = {
        "photometric_interpretation_after": plan.written.photometric_interpretation,
        "bits_allocated": plan.written.bits_allocated,
        "bits_stored": plan.written.bits_stored,
        "samples": plan.written.samples,
        "frames": len(source),
        "decoder": decoder.decoded_by,
        "encoder": f"{stages.encoder.name} {stages.encoder.version}",
        "digest": named(stages.digest),
        "lossy_source": decoder.lossy,
        "pixel_bytes": plan.encoded.nbytes * len(source),
        "verification": str(stages.verifier),
        "mask": plan.transform.told(),
        "warnings": (
            *source.warnings,
            *decoder.warnings,
            *lossy_contradiction(source, decoder),
            *wrong_high_bit(source),
            *stages.warnings(),
        ),
        "source_digest": origin.digest,
    }
    return record(source, output, "transcoded", plan.target, **{**known, **told})


def _run(pipe: Pipeline, stages: _Stages, writer: FrameWriter, control: Control) -> None:
    frames = len(stages.decoder.source)
    write, compare = partial(stages.write, writer=writer), partial(stages.compare, writer=writer)
    large = stages.batch * stages.plan.encoded.nbytes > _LARGE
    for indices in pipe.written(stages.encode, write, compare, stages.cut(control.cores), large=large):
        control.advance(indices.stop, frames)


def _compare_native(pipe: Pipeline, stages: _Stages, written: Source, control: Control) -> None:
    """Decode the source a second time and compare it with the native frames that were written."""

    def compare(indices: range) -> None:
        for index, frame in zip(indices, stages.encode(indices).codestreams, strict=True):
            if written.frame(index) != frame:
                raise VerificationError("the samples differ in the output; nothing was kept", frame=index)

    for _ in pipe.stage(compare, stages.cut(control.cores)):
        pass
