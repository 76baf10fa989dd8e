"""Compares the frames that were written with those that were encoded: decoded again, by decoders that share no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from cinemill.codecs import together
from cinemill.codecs.codec import credited, named
from cinemill.errors import CodecError, UnsupportedPixelFormat, VerificationError
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.equality import same_samples
from cinemill.operations.jpegs import SAMPLE_EVERY
from cinemill.operations.origin import uid_of

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.dicom.source import Source
    from cinemill.operations.policy.words import Level
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_SECOND_OPINION_EVERY: Mapping[Level, int] = {"full": SAMPLE_EVERY, "independent": 1, "sample": 0, "none": 0}
"""By level: of how many frames of a source one is decoded by a second decoder as well."""


def heard_twice(sop_instance_uid: str, frames: int) -> range:
    """Return the frames of an instance that all verifiers decode: every sixteenth of a cine, and every sixteenth still.

    Stills are chosen by a digest of their UID, so that every process and every run chooses the same; one without a UID always is.
    """
    everything = range(0, frames, SAMPLE_EVERY)
    if frames > 1 or not sop_instance_uid:
        return everything
    digest = xxhash.xxh3_64_intdigest(sop_instance_uid.encode())
    return everything if digest % SAMPLE_EVERY == 0 else everything[:0]


def decoder_of(source: Source, level: Level) -> FrameDecoder:
    """Open the decoder of a source's frames, some of which a second one decodes as well; of lossy stills, those of `heard_twice`."""
    chosen = level != "full" or bool(heard_twice(uid_of(source), len(source)))
    return FrameDecoder(source, confirm_every=_SECOND_OPINION_EVERY.get(level, 0), confirm_lossy=chosen)


class FrameVerifier:
    """Decodes written codestreams and compares them with the samples that were encoded.

    Parameters
    ----------
    level
        ``full``: every frame by the first verifier, those of `heard_twice` by the others too. ``independent``: every
        frame by the last one. ``sample``: every sixteenth frame by the first. ``none``: nothing.
    verifiers
        Decoders that share no code with the encoder.
    pixels
        Format of the samples that were encoded.
    sop_instance_uid, frames
        Of the source: see `heard_twice`.
    """

    def __init__(
        self,
        level: Level,
        verifiers: Sequence[Codec],
        pixels: PixelFormat,
        sop_instance_uid: str,
        frames: int,
    ) -> None:
        self._level = level
        self._verifiers = verifiers
        self._pixels = pixels
        self._by: dict[str, set[str]] = {verifier.name: set() for verifier in verifiers}
        self._still = frames == 1
        self._sample = (
            range(0, frames, SAMPLE_EVERY) if level == "sample" else heard_twice(sop_instance_uid, frames)
        )

    @property
    def active(self) -> bool:
        """Whether any frame is going to be decoded."""
        return self._level != "none"

    def independent_of(self, encoder: Codec) -> bool:
        """Whether another implementation than the encoder's verifies, where that was asked for and there is something coded."""
        return (
            self._level != "independent"
            or self._verifiers[-1].name != encoder.name
            or encoder.name == "native"
        )

    @property
    def _second_opinions(self) -> list[Codec]:
        """The other verifiers, but for the one to which the first leaves everything."""
        first, *others = self._verifiers
        return [other for other in others if self._by[first.name] != {named(other)}]

    def compare(
        self, indices: Sequence[int], codestreams: Sequence[Buffer], frames: Sequence[Samples]
    ) -> None:
        """Decode the frames that the level asks for and compare them.

        Parameters
        ----------
        indices
            Of the frames, counted from 0.
        codestreams
            As read back from the output.
        frames
            The samples that were encoded.

        Raises
        ------
        VerificationError
            A frame differs, or does not decode; ``frame`` says which.
        """
        chosen = [position for position, index in enumerate(indices) if index in self._sample]
        if self._level in {"full", "independent"}:
            verifier = self._verifiers[-1 if self._level == "independent" else 0]
            self._compare(verifier, indices, codestreams, frames)
        others = {"full": self._second_opinions, "sample": self._verifiers[:1]}.get(self._level, [])
        for verifier in others if chosen else []:
            self._compare(
                verifier,
                [indices[i] for i in chosen],
                [codestreams[i] for i in chosen],
                [frames[i] for i in chosen],
            )

    def _compare(
        self,
        verifier: Codec,
        indices: Sequence[int],
        codestreams: Sequence[Buffer],
        frames: Sequence[Samples],
    ) -> None:
        """Compare as many frames at a time as the verifier likes: what it decodes is let go before the next."""
        for start in range(0, len(indices), verifier.batch):
            some = slice(start, start + verifier.batch)
            self._compare_some(verifier, indices[some], codestreams[some], frames[some])

    def _compare_some(
        self,
        verifier: Codec,
        indices: Sequence[int],
        codestreams: Sequence[Buffer],
        frames: Sequence[Samples],
    ) -> None:
        try:
            told = together.attributed(verifier, codestreams, self._pixels)
        except (CodecError, UnsupportedPixelFormat) as error:
            raise VerificationError(
                f"what was written does not decode ({verifier.name}: {error.message}); nothing was kept",
                frame=indices[error.frame or 0],
            ) from None
        self._by[verifier.name].update({named(codec) for _, codec in told})
        for index, (written, _), read in zip(indices, told, frames, strict=True):
            if not same_samples(written, read):
                different = int(np.count_nonzero(written != read))
                raise VerificationError(
                    f"{different} of {read.size} samples differ when {verifier.name} {verifier.version} "
                    "decodes what was written; nothing was kept",
                    frame=index,
                )

    def __str__(self) -> str:
        first, *others = dict.fromkeys(credited(codec, self._by[codec.name]) for codec in self._verifiers)
        if self._level == "none":
            return "none"
        if self._level == "sample":
            return f"every {SAMPLE_EVERY}th frame by {first}"
        if self._level == "independent":
            return f"every frame by {([first, *others])[-1]}"
        if self._still:
            return f"every frame by {' and '.join([first, *others] if self._sample else [first])}"
        return "; ".join(
            [f"every frame by {first}", *(f"every {SAMPLE_EVERY}th by {other}" for other in others)]
        )
