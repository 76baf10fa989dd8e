"""Checks of codestreams against the header: what their markers say of geometry, depth, sign, colour and loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cinemill.codecs.codestream import Codestream
from cinemill.errors import CinemillError
from cinemill.frames.colour import decoded_interpretation
from cinemill.operations.inspect.checks.check import Problem, Problems, Subject, check, gathered
from cinemill.operations.inspect.model import Severity

_ANEW = "transcode the file: outputs say what their codestreams hold"
_DECLARED = "transcode the file, which is read as it is coded; others may refuse it, or show it wrongly"


def _gathered(subject: Subject, fault: Callable[[Codestream], str | None]) -> Iterator[Problem]:
    """Yield the first fault of frames whose codestreams can be read, with how many others have one."""
    yield from gathered(
        Problem(found, number)
        for number, stream in enumerate(subject.streams)
        if isinstance(stream, Codestream) and (found := fault(stream))
    )


@check(
    "codestream.markers",
    Severity.ERROR,
    "PS3.5 8.2",
    about="every frame is a codestream whose markers can be read",
    remedy="fetch the file again from where it came; these frames are lost here",
    counted=True,
)
def markers(subject: Subject) -> Problems:
    """Yield frames that are none, or damaged ones."""
    yield from gathered(
        Problem(f"frame {number}: {stream.message}", number)
        for number, stream in enumerate(subject.streams)
        if isinstance(stream, CinemillError)
    )


@check(
    "codestream.coding",
    Severity.ERROR,
    "PS3.5 10",
    about="codestreams are of the coding that the transfer syntax names",
    remedy=_DECLARED,
    counted=True,
)
def coding(subject: Subject) -> Problems:
    """Yield another coding."""
    syntax = subject.source.transfer_syntax
    yield from _gathered(
        subject,
        lambda stream: (
            f"{syntax.keyword} is declared, the codestream is {stream.process}"
            if stream.coding != syntax.coding
            else None
        ),
    )


@check(
    "codestream.geometry",
    Severity.ERROR,
    "PS3.3 C.7.6.3",
    about="rows, columns and samples are those of the header",
    remedy="correct the header by the codestream, if it is the one that is right; viewers show garbage or nothing",
    counted=True,
)
def geometry(subject: Subject) -> Problems:
    """Yield another geometry."""
    facts = subject.facts
    expected = facts.rows, facts.columns, facts.samples_per_pixel
    if None in expected:
        return
    yield from _gathered(
        subject,
        lambda stream: (
            f"the header has {expected[0]} rows, {expected[1]} columns and {expected[2]} samples, the codestream "
            f"{stream.rows}, {stream.columns} and {stream.components}"
            if (stream.rows, stream.columns, stream.components) != expected
            else None
        ),
    )


@check(
    "codestream.depth",
    Severity.WARNING,
    "PS3.5 8.2",
    about="samples have Bits Stored bits in the codestream",
    remedy=_ANEW,
    counted=True,
)
def depth(subject: Subject) -> Problems:
    """Yield another precision."""
    stored, allocated = subject.facts.bits_stored, subject.facts.bits_allocated
    if stored is None or allocated is None:
        return
    yield from _gathered(
        subject,
        lambda stream: (
            f"Bits Stored is {stored} of {allocated}, the codestream has {stream.precision} bits a sample"
            if not stored <= stream.precision <= allocated or _deeper(stream, stored, allocated)
            else None
        ),
    )


def _deeper(stream: Codestream, stored: int, allocated: int) -> bool:
    """Whether a codestream is deeper than what is stored, and not by what JPEG with DCT can't say (8 or 12 bits)."""
    return stream.precision not in {stored, allocated} and stream.coding != "jpeg"


@check(
    "codestream.sign",
    Severity.WARNING,
    "PS3.5 8.2.4",
    about="samples of JPEG 2000 have the sign of Pixel Representation",
    remedy=_ANEW,
    counted=True,
)
def sign(subject: Subject) -> Problems:
    """Yield another sign."""
    signed = subject.facts.signed
    words = "unsigned", "signed"
    yield from _gathered(
        subject,
        lambda stream: (
            f"Pixel Representation says {words[bool(signed)]}, the codestream is {words[bool(stream.signed)]}"
            if None not in {signed, stream.signed} and stream.signed != signed
            else None
        ),
    )


@check(
    "codestream.colour",
    Severity.WARNING,
    "PS3.3 C.7.6.3.1.2",
    about="Photometric Interpretation is the colour that the codestream speaks of",
    remedy=_ANEW,
    counted=True,
)
def colour(subject: Subject) -> Problems:
    """Yield another colour."""
    label, samples = subject.facts.photometric_interpretation or "", subject.facts.samples_per_pixel or 1

    def fault(stream: Codestream) -> str | None:
        try:
            return decoded_interpretation(label, samples, stream)[1]
        except CinemillError as error:
            return error.message

    yield from _gathered(subject, fault)


@check(
    "codestream.lossy",
    Severity.WARNING,
    "PS3.5 10",
    about="codestreams of a lossless transfer syntax are lossless",
    remedy="never count it as lossless; transcode says so in the header of its output",
    counted=True,
)
def lossy(subject: Subject) -> Problems:
    """Yield a lossy codestream under a lossless syntax."""
    syntax = subject.source.transfer_syntax
    if syntax.lossless:
        yield from _gathered(
            subject,
            lambda stream: (
                None
                if stream.lossless
                else f"{syntax.keyword} is declared, the codestream is lossy ({stream.process})"
            ),
        )


@check(
    "codestream.history",
    Severity.WARNING,
    "PS3.3 C.7.6.1.1.5",
    about="Lossy Image Compression is 01 where codestreams are lossy",
    remedy="transcode the file: outputs say 01, and by which method",
    counted=True,
)
def history(subject: Subject) -> Problems:
    """Yield a lossy codestream of what is said never to have been compressed lossily."""
    told = subject.source.text(0x00282110)
    possible = not subject.source.transfer_syntax.lossless and subject.source.transfer_syntax.coding != "jpeg"
    if told != "01" and possible:
        yield from _gathered(
            subject,
            lambda stream: (
                None
                if stream.lossless
                else f"Lossy Image Compression is {told or 'absent'}, the codestream is lossy ({stream.process})"
            ),
        )
