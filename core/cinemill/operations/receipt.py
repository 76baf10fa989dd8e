"""The machine-readable record of what happened to one instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cinemill.errors import CinemillError, NotDicom, Refused
from cinemill.storage.location import size

Status: TypeAlias = Literal[
    "transcoded",
    "deidentified",
    "extracted",
    "verified",
    "fetched",
    "sent",
    "migrated",
    "copied",
    "kept",
    "skipped",
    "ignored",
    "refused",
    "failed",
]

Reason: TypeAlias = Literal[
    "target-syntax", "no-image", "lossy-source", "would-grow", "no-target", "policy", "rest"
]
"""Why an instance was copied, and not coded anew."""

_COPIED = {
    "lossy-source": "lossy",
    "would-grow": "would grow",
    "no-target": "no target",
    "policy": "by policy",
}
_RECOMPRESSED = "1.2.840.10008.1.2.4.111"

DONE = (
    *(
        "transcoded",
        "recompressed",
        "restored",
        "split",
        "deidentified",
        "extracted",
        "verified",
        "fetched",
        "sent",
        "migrated",
        "copied",
    ),
    *(f"copied, {why}" for why in _COPIED.values()),
    *("kept", "skipped", "ignored", "refused", "failed"),
)
"""What `Receipt.done` may say, in the order of tables."""

NOT_COPIED = "not copied:"
"""How a warning begins that says why what was to be copied unchanged was not."""

SHARED_PSEUDONYM = "all patients who have it share one pseudonym, and are not told apart"
"""How a warning ends that says that a patient is called as nobody is."""

SUCCESSES: frozenset[str] = frozenset(get_args(Status)) - {"refused", "failed"}
"""Statuses that need nobody's attention."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What happened to one instance.

    Attributes
    ----------
    status
        ``transcoded``, ``deidentified``, ``extracted``, ``verified``, ``fetched`` (a study from a node), ``sent`` (to one),
        ``migrated`` (a study of one), ``copied`` (byte for byte), ``kept`` (finished by an earlier run), ``skipped`` (not
        attempted), ``ignored`` (not DICOM), ``refused`` (by rule) or ``failed`` (by damage).
    error
        ``kind``, ``frame`` and ``message`` of a refusal or failure.
    digest
        XXH3-128 of the decoded samples as the encoder got them: all frames in order, colour by pixel, little endian.
    jpeg_digest
        XXH3-128 of the JPEGs that were recompressed or restored: the bytes of all frames, one after the other.
    lossy_source
        Whether the source's codestreams are lossy.
    lossy_history
        Whether its header says that the pixels were compressed lossily at any time (Lossy Image Compression 01).
    pixel_bytes
        Size of the decoded samples, uncompressed.
    seconds
        Time per stage, summed over threads, and ``total`` by the clock: small files that share SIMD lanes wait for each other in both.
    verification
        What was compared, and by which decoder.
    outputs
        The parts of a cine that was split; `output` is their directory.
    source_digest
        XXH3-128 of the bytes of the source file; empty where not all of them were read.
    reason
        Why the source was copied: it is in a ``target-syntax`` already, it has ``no-image``, it is a ``lossy-source``, its
        output ``would-grow``, a ``policy`` keeps it or has ``no-target`` that can hold it, or it is the ``rest``: refused or
        failed.
    bytes_otherwise
        For ``would-grow``: the size that the output would have had, estimated by a trial; or the size at which writing was
        stopped, which it would have had at least.
    mask
        What was blackened: ``origin``; ``rectangles`` as left, top, width and height; the ``value`` of every pixel inside;
        XXH3-128 of the samples outside, ``outside_before`` and ``outside_after``. For JPEG also the rectangles as ``grown``
        to whole MCUs, and those whose pixels decoders ``touched`` by interpolation.
    policy, policy_digest
        Name and XXH3-128 of the policy; empty where a target was named.
    rule
        The rule of the policy that decided.
    profile
        The profile of de-identification, with its options.
    elements
        How many elements of the header were changed, by what was done to them.
    findings
        What the checks of `cinemill.inspect` find wrong with the pixels, from the header, as ``id: found``, unless a warning
        says the same. Only in reports of ``transcode``, and not for outputs that are ``kept``.
    instances
        For an exchange with a node: how many instances, by what became of them (`cinemill.network.outcomes`).
    """

    source: str
    output: str
    status: Status
    error: dict[str, Any] | None = None
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_before: str = ""
    transfer_syntax_after: str = ""
    rows: int | None = None
    columns: int | None = None
    samples: int | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    photometric_interpretation_before: str = ""
    photometric_interpretation_after: str = ""
    frames: int | None = None
    decoder: str = ""
    encoder: str = ""
    digest: str = ""
    jpeg_digest: str = ""
    lossy_source: bool | None = None
    lossy_history: bool | None = None
    bytes_before: int = 0
    bytes_after: int = 0
    pixel_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    verification: str = ""
    warnings: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    source_digest: str = ""
    reason: Reason | Literal[""] = ""
    bytes_otherwise: int = 0
    mask: dict[str, Any] | None = None
    policy: str = ""
    policy_digest: str = ""
    rule: str = ""
    profile: str = ""
    elements: dict[str, int] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    instances: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> str:
        """What was done, in a word or two: the status, and why a source was copied where that saves or costs room."""
        if self.status == "transcoded":
            return self._written
        if self.status == "copied" and self.reason in _COPIED:
            return f"copied, {_COPIED[self.reason]}"
        return self.status

    @property
    def _written(self) -> str:
        """What was done where the status is ``transcoded``."""
        if self.outputs:
            return "split"
        if self.transfer_syntax_after == _RECOMPRESSED:
            return "recompressed"
        restored = self.jpeg_digest and self.transfer_syntax_before == _RECOMPRESSED
        return "restored" if restored else "transcoded"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return {name: value.copy() if isinstance(value, dict) else value for name, value in told.items()}


def is_not_copied(warning: str) -> bool:
    """Whether a warning says that something was not copied."""
    return warning.startswith(NOT_COPIED)


def failure(source: Path, output: Path, error: CinemillError) -> Receipt:
    """Return the record of an instance that was not written: ``ignored``, ``refused`` or ``failed``.

    Parameters
    ----------
    source, output
        The file, and the place that its output would have.
    error
        Why there is none.
    """
    status: Status = "failed"
    if isinstance(error, NotDicom):
        status = "ignored"
    elif isinstance(error, Refused):
        status = "refused"
    elsewhere = error.path is not None and error.path != source
    message = f"{error.path}: {error.message}" if elsewhere else error.message
    return Receipt(
        source=str(source),
        output=str(output),
        status=status,
        error={"kind": error.kind, "frame": error.frame, "message": message},
        transfer_syntax_before=error.transfer_syntax or "",
        bytes_before=size(source),
    )
