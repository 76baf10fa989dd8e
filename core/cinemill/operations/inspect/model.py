"""What is known of an instance: facts, regions, findings, measurements, and what it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cinemill.frames.regions import Region


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Frames can't be read, or are read wrongly."""
    WARNING = "warning"
    """Against the standard, or misleading; some programs stumble over it."""
    NOTICE = "notice"
    """Good to know before an exchange."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    check
        Its id, such as ``frames.count``.
    section
        Where the standard says so: ``PS3.3 C.7.6.6.1.1``.
    found
        What was expected and what is there, with both values.
    remedy
        How to mend it.
    frame
        The frame that it is about, counted from 0.
    """

    check: str
    severity: Severity
    section: str
    found: str
    remedy: str
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an instance is. Nothing here names the patient; None where the file does not tell.

    Attributes
    ----------
    path
        The file.
    file_bytes
        Its size.
    sop_instance_uid, series_instance_uid, study_instance_uid
        As they stand in the data set.
    sop_class, sop_class_uid, transfer_syntax, transfer_syntax_uid
        Names of PS3.6, and the UIDs.
    modality, manufacturer, model, software, body_part, patient_position
        Modality, Manufacturer (0008,0070), Manufacturer's Model Name, Software Versions, Body Part Examined, Patient
        Position.
    photometric_interpretation, samples_per_pixel, rows, columns, bits_allocated, bits_stored, signed
        Image Pixel.
    frames
        Number of Frames, 1 where it is absent from an image.
    frame_rate
        Frames a second: the mean over the cine.
    frame_rate_source
        The attribute that the times come from, by its keyword.
    duration
        Seconds from the first frame to the end of the last one.
    regions, calibrated_regions
        How many there are, and how many have a physical size in both directions.
    offset_table
        ``basic``, ``extended``, ``empty`` or ``none`` (native).
    fragments
        In Pixel Data; None where they were not counted.
    pixel_bytes
        Of Pixel Data as it is stored.
    frame_bytes
        Of a stored frame, on average.
    ratio
        Uncompressed size over stored size.
    lossy
        Lossy Image Compression is 01, or the transfer syntax can only be lossy.
    lossy_methods, lossy_ratios
        Lossy Image Compression Method and Ratio, oldest first.
    overlays
        Overlay planes.
    icon
        Whether there is an Icon Image Sequence.
    private_creators
        In the order of the file, each once.
    burned_in_annotation
        ``YES`` or ``NO``.
    functional_groups
        Keywords of the functional groups, shared ones first.
    series_number, instance_number
        As they stand in the data set.
    """

    path: Path
    file_bytes: int
    sop_instance_uid: str | None = None
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    sop_class: str | None = None
    sop_class_uid: str | None = None
    transfer_syntax: str | None = None
    transfer_syntax_uid: str | None = None
    modality: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    software: str | None = None
    body_part: str | None = None
    patient_position: str | None = None
    photometric_interpretation: str | None = None
    samples_per_pixel: int | None = None
    rows: int | None = None
    columns: int | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    signed: bool | None = None
    frames: int | None = None
    frame_rate: float | None = None
    frame_rate_source: str | None = None
    duration: float | None = None
    regions: int = 0
    calibrated_regions: int = 0
    offset_table: str | None = None
    fragments: int | None = None
    pixel_bytes: int | None = None
    frame_bytes: float | None = None
    ratio: float | None = None
    lossy: bool | None = None
    lossy_methods: tuple[str, ...] = ()
    lossy_ratios: tuple[float, ...] = ()
    overlays: int = 0
    icon: bool = False
    private_creators: tuple[str, ...] = ()
    burned_in_annotation: str | None = None
    functional_groups: tuple[str, ...] = ()
    series_number: int | None = None
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 Table 8.8-1).

    Attributes
    ----------
    value, scheme, meaning
        Code Value (or its long or URN form), Coding Scheme Designator, Code Meaning.
    """

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Another instance that this one points to.

    Attributes
    ----------
    sop_instance_uid, sop_class_uid
        Of the instance.
    frames
        Its frames, counted from 1 as in the standard; empty for all.
    attribute
        Keyword of the sequence that holds the reference.
    study_instance_uid, series_instance_uid
        Of the instance, where the reference says so.
    """

    sop_instance_uid: str
    sop_class_uid: str | None
    frames: tuple[int, ...]
    attribute: str
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A numeric value of a structured report, with what its tree says of it (PS3.3 C.17.3, PS3.16).

    Attributes
    ----------
    position
        Of its content item in the tree, as in ``1.4.2``.
    template
        Template ID of the nearest item above that has one.
    concept
        What was measured.
    value
        Numeric Value; None where the report has a reason in its place.
    text
        Numeric Value as it stands in the file.
    unit
        In UCUM, as a rule.
    qualifier
        Why there is no value, or what it is worth.
    site
        Finding site.
    group
        Meanings of the containers above, outermost first.
    modifiers
        Other concept modifiers and acquisition context: pairs of name and value, such as view, mode, phase, derivation.
    references
        Images that it was inferred from.
    laterality
        Of the finding site.
    coded
        Those of the modifiers that have coded values: pairs of name and value.
    context
        Observation context: pairs of name and value, such as fetus and tracking identifier.
    inferred_from
        Positions of the measurements that it was computed from.
    """

    position: str
    template: str | None
    concept: Code
    value: float | None
    text: str
    unit: Code | None
    qualifier: Code | None
    site: Code | None
    group: tuple[str, ...]
    modifiers: tuple[tuple[Code, str], ...]
    references: tuple[Reference, ...]
    laterality: Code | None = None
    coded: tuple[tuple[Code, Code], ...] = ()
    context: tuple[tuple[Code, str], ...] = ()
    inferred_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a presentation state does to what is shown.

    Attributes
    ----------
    what
        ``VOI``, ``shutter``, ``rotation`` …
    how
        Its values as they stand in the file.
    images
        How many of the images it is for; None for all of them.
    """

    what: str
    how: str
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Presentation:
    """What a presentation state would change, and in which images (PS3.3 A.33).

    Attributes
    ----------
    label
        Content Label.
    images
        That it applies to.
    changes
        In the order in which they are made: grey values, geometry, annotations.
    """

    label: str | None
    images: tuple[Reference, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is known of one instance.

    Attributes
    ----------
    facts
        What it is.
    regions
        Ultrasound regions, in the order of the header.
    findings
        Of all checks, the worst first.
    measurements
        Of a structured report, in the order of its tree.
    references
        All instances that it points to, once each.
    patient
        What names the patient and the study, by keyword; empty unless it was asked for.
    title
        Of a document: the name of its root. None of anything else.
    presentation
        What a presentation state would change; None of anything else.
    """

    facts: Facts
    regions: tuple[Region, ...]
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    references: tuple[Reference, ...]
    patient: Mapping[str, str] = field(default_factory=dict)
    title: Code | None = None
    presentation: Presentation | None = None
