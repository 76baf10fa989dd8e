"""Facts of an instance in words, the same on terminals and on pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cinemill.dicom.dictionary import uid_names
from cinemill.frames.regions import Region
from cinemill.operations.inspect.model import Finding, Severity
from cinemill.operations.pages import counted, in_bytes

if TYPE_CHECKING:
    from cinemill.operations.inspect.model import (
        Facts,
        Inspection,
        Measurement,
        Presentation,
        Reference,
    )

_TABLES = {"none": "native", "empty": "no offset table"}


def sections(inspection: Inspection) -> Iterator[tuple[str, list[str]]]:
    """Yield what is known of an instance: a heading, and the lines below it; what is not known is left out."""
    facts = inspection.facts
    for heading, lines in (
        ("patient", [f"{keyword}: {value}" for keyword, value in inspection.patient.items()]),
        ("instance", _instance(facts)),
        ("device", _device(facts)),
        ("syntax", _syntax(facts)),
        ("pixels", _pixels(facts)),
        ("frames", _frames(facts)),
        ("time", _time(facts)),
        ("regions", [f"{number}: {region(each)}" for number, each in enumerate(inspection.regions, 1)]),
        ("lossy", _lossy(facts)),
        ("besides", _besides(facts)),
        ("document", [inspection.title.meaning or inspection.title.value] if inspection.title else []),
        ("measured", [measured(each) for each in inspection.measurements]),
        ("shows", _shows(inspection.presentation)),
        ("refers to", _refers(inspection.references)),
    ):
        told = [line for line in lines if line]
        if told:
            yield heading, told


def line(facts: Facts) -> str:
    """Return what an instance is, in one line."""
    parts = [
        facts.modality or "no modality",
        f"{facts.columns} × {facts.rows}" if facts.rows and facts.columns else facts.sop_class or "",
        counted(facts.frames, "frame") if facts.frames and facts.frames > 1 else "",
        f"{facts.frame_rate:.4g}/s" if facts.frame_rate else "",
        facts.photometric_interpretation or "",
        uid_names(facts.transfer_syntax_uid)[1] if facts.transfer_syntax_uid else "",
        in_bytes(facts.file_bytes),
    ]
    return "  ".join(part for part in parts if part)


def counts(findings: Iterable[Finding]) -> str:
    """Return how many findings there are of each severity: ``2 errors, 1 notice``; empty where there are none."""
    many = Counter(finding.severity for finding in findings)
    return ", ".join(counted(many[severity], severity.value) for severity in Severity if many[severity])


def region(region: Region) -> str:
    """Return what a region shows, where it lies and what its pixels measure."""
    left, top, right, bottom = region.bounds
    shows = f"{region.spatial_format or '?'} {region.data_type}".strip()
    sizes = " × ".join(
        f"{delta:.4g} {unit}" if delta is not None else "?"
        for delta, unit in zip(region.deltas, region.units, strict=True)
    )
    measured = all(unit not in {"", "none"} for unit in region.units)
    return f"{shows}, columns {left} to {right}, rows {top} to {bottom}" + (
        f", a pixel is {sizes}" if measured else ", not calibrated"
    )


def measured(measurement: Measurement) -> str:
    """Return a measurement: what, where, how much, and what qualifies it."""
    named = measurement.concept.meaning or measurement.concept.value or "?"
    where = (code.meaning for code in (measurement.laterality, measurement.site) if code)
    unit = measurement.unit.value if measurement.unit and measurement.unit.value != "1" else ""
    value = f"{measurement.text} {unit}".strip() or "no value"
    more = [
        *([measurement.qualifier.meaning] if measurement.qualifier else []),
        *(f"{name.meaning}: {text}" for name, text in (*measurement.modifiers, *measurement.context)),
        *map(_referred, measurement.references),
    ]
    site = " ".join(where)
    return f"{measurement.position}  {named}{f' of {site}' if site else ''}: {value}" + "".join(
        f"; {each}" for each in more
    )


def _referred(reference: Reference) -> str:
    frames = ", ".join(map(str, reference.frames))
    return f"image {reference.sop_instance_uid}" + (f" frames {frames}" if frames else "")


def _refers(references: tuple[Reference, ...]) -> list[str]:
    """Return how many instances each attribute names."""
    named: dict[str, set[str]] = {}
    for each in references:
        named.setdefault(each.attribute, set()).add(each.sop_instance_uid)
    return [f"{counted(len(uids), 'instance')} by {attribute}" for attribute, uids in named.items()]


def _shows(presentation: Presentation | None) -> list[str]:
    if presentation is None:
        return []
    label = f"{presentation.label}, " if presentation.label else ""
    changes = [
        f"{each.what}: {each.how}" + (f" (of {counted(each.images, 'image')})" if each.images else "")
        for each in presentation.changes
    ]
    return [f"{label}of {counted(len(presentation.images), 'image')}", *changes]


def _instance(facts: Facts) -> list[str]:
    return [
        ", ".join(filter(None, (facts.sop_class or "no SOP class", facts.modality, facts.body_part))),
        f"SOP Instance UID {facts.sop_instance_uid}" if facts.sop_instance_uid else "",
        in_bytes(facts.file_bytes),
    ]


def _device(facts: Facts) -> list[str]:
    software = f"software {facts.software}" if facts.software else None
    return [", ".join(filter(None, (facts.manufacturer, facts.model, software)))]


def _syntax(facts: Facts) -> list[str]:
    if facts.transfer_syntax == facts.transfer_syntax_uid:
        return [facts.transfer_syntax or ""]
    return [f"{facts.transfer_syntax} ({facts.transfer_syntax_uid})"]


def _pixels(facts: Facts) -> list[str]:
    if not facts.rows or not facts.columns:
        return []
    sign = {True: "signed", False: "unsigned", None: None}[facts.signed]
    samples = f" × {facts.samples_per_pixel}" if (facts.samples_per_pixel or 1) > 1 else ""
    stored, allocated = facts.bits_stored, facts.bits_allocated
    bits = f"{stored} bits" if stored == allocated else f"{stored} of {allocated} bits"
    shape = f"{facts.columns} × {facts.rows}{samples}"
    position = f"patient position {facts.patient_position}" if facts.patient_position else None
    return [", ".join(filter(None, (shape, bits, sign, facts.photometric_interpretation))), position or ""]


def _frames(facts: Facts) -> list[str]:
    if facts.pixel_bytes is None or facts.frames is None:
        return []
    kind = facts.offset_table or ""
    parts = [
        counted(facts.frames, "frame"),
        f"in {counted(facts.fragments, 'fragment')}" if facts.fragments is not None else "",
    ]
    each = f"{in_bytes(facts.frame_bytes)} each" if facts.frame_bytes else None
    ratio = f"{facts.ratio:.3g}:1" if facts.ratio and kind != "none" else None
    stored = _TABLES.get(kind, f"{kind} offset table")
    return [", ".join(filter(None, (" ".join(filter(None, parts)), stored, each, ratio)))]


def _time(facts: Facts) -> list[str]:
    if facts.duration is None:
        return []
    return [f"{facts.duration:.4g} s, {facts.frame_rate:.4g} frames/s by {facts.frame_rate_source}"]


def _lossy(facts: Facts) -> list[str]:
    if not facts.lossy:
        return ["no"] if facts.lossy is False else []
    ratios = [f"{ratio:.4g}:1" for ratio in facts.lossy_ratios]
    return [", ".join(["yes", *facts.lossy_methods, *ratios])]


def _besides(facts: Facts) -> list[str]:
    return [
        f"overlays: {facts.overlays}" if facts.overlays else "",
        "icon image" if facts.icon else "",
        f"burned-in annotation: {facts.burned_in_annotation}" if facts.burned_in_annotation else "",
        f"functional groups: {', '.join(facts.functional_groups)}" if facts.functional_groups else "",
        f"private elements of: {', '.join(facts.private_creators)}" if facts.private_creators else "",
    ]
