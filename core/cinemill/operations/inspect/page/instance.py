"""One instance on the page: facts, findings, pictures, times, regions, measurements, and what a presentation state changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from cinemill.operations.inspect.page.pictures import Pictures, pictures_of, reason
from cinemill.operations.inspect.page.times import plot, times_of
from cinemill.operations.inspect.words import region as told_region
from cinemill.operations.inspect.words import sections
from cinemill.operations.pages import counted, table, text

if TYPE_CHECKING:
    from pathlib import Path

    from cinemill.frames.regions import Region
    from cinemill.operations.inspect.model import Code, Facts, Finding, Inspection, Measurement, Presentation
    from cinemill.operations.inspect.page.pictures import Picture

_ELSEWHERE = frozenset(("patient", "regions", "measured", "shows"))
"""Headings of facts that have a place of their own here."""

_FACT, _FOUND, _NAME = 600, 1200, 120
"""Characters of a text at most."""

_DRAWN = 480
"""Pixels that regions are wide, and high, where there is no picture."""

_LINES, _FINDINGS, _REGIONS, _MEASUREMENTS, _CHANGES, _IMAGES = 24, 40, 40, 400, 60, 40
"""Of each at most."""


def clipped(plain: str, most: int = _FOUND) -> str:
    """Return any text as HTML, cut where it is too long."""
    return text(plain if len(plain) <= most else plain[: most - 1] + "…")


def article(inspection: Inspection, anchor: str, file: Path, *, phi: bool, pictured: bool) -> str:
    """Return an instance as HTML.

    Parameters
    ----------
    inspection
        What is known of it.
    anchor
        Its id on the page.
    file
        Where its frames are read.
    phi
        Whether the patient may be told.
    pictured
        Whether frames may be decoded.
    """
    parts = [
        f'<article class="card" id="{anchor}"><h3>{clipped(inspection.facts.path.name, _NAME)}</h3>',
        f'<p class="note">{clipped(str(inspection.facts.path.parent))}</p>',
        *_patient(inspection),
        _findings(inspection.findings),
        _facts(inspection),
        *_seen(inspection, file, phi=phi, pictured=pictured),
        *_measurements(inspection.measurements),
        *_presentation(inspection.presentation),
        "</article>\n",
    ]
    return "".join(parts)


def _patient(inspection: Inspection) -> Iterator[str]:
    if inspection.patient:
        told = "; ".join(
            f"{clipped(keyword, _NAME)}: {clipped(value)}" for keyword, value in inspection.patient.items()
        )
        yield f'<p class="private">{told}</p>'


def _findings(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "<p>No findings.</p>"
    lines = [f"<li>{_finding(each)}</li>" for each in findings[:_FINDINGS]]
    if len(findings) > _FINDINGS:
        lines.append(f"<li>and {counted(len(findings) - _FINDINGS, 'more finding')}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _finding(finding: Finding) -> str:
    return (
        f'<b class="severity {finding.severity}">{finding.severity}</b> '
        f"{text(finding.check)}{told_frame(finding)}: {clipped(finding.found)}"
    )


def told_frame(finding: Finding) -> str:
    """Return the frame that a finding is about, empty where there is none or it says so itself."""
    if finding.frame is None or finding.found.startswith(f"frame {finding.frame}"):
        return ""
    return f", frame {finding.frame}"


def _facts(inspection: Inspection) -> str:
    rows = []
    for heading, lines in sections(inspection):
        if heading not in _ELSEWHERE:
            told = "<br>".join(clipped(line, _FACT) for line in lines[:_LINES])
            rows.append(f"<dt>{text(heading)}</dt><dd>{told}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _seen(inspection: Inspection, file: Path, *, phi: bool, pictured: bool) -> Iterator[str]:
    """Yield frames, times and regions."""
    facts, found = inspection.facts, Pictures()
    drawn = ""
    if is_image(facts):
        try:
            with _opened(file) as source:
                drawn = plot(*times_of(source, facts), facts.frame_rate)
                if pictured:
                    found = pictures_of(source, inspection, phi=phi)
        except Exception as error:  # noqa: BLE001  # what a header holds raises anything
            found = Pictures(notes=(f"No pictures: {reason(error)}",))
    if found.strip or found.notes:
        alone = " one" if len(found.strip) == 1 else ""
        strip = "".join(f"<li>{_framed(each, inspection)}</li>" for each in found.strip)
        notes = "".join(f'<p class="note">{clipped(note)}</p>' for note in found.notes)
        frames = f'<ol class="strip{alone}">{strip}</ol>' if strip else ""
        yield f"<h4>Frames</h4>{notes}{frames}"
    if drawn:
        yield f"<h4>Times</h4>{drawn}"
    if inspection.regions:
        yield "<h4>Ultrasound regions</h4>"
        yield _stage(found.stage, inspection)
        yield _regions(inspection.regions)


def is_image(facts: Facts) -> bool:
    """Whether there is, or should be, pixel data."""
    return facts.pixel_bytes is not None or bool(facts.rows and facts.columns)


def _opened(path: Path) -> Source:
    """Open a file as it is, or what of it can be read."""
    try:
        return Source(path, scan=False)
    except CinemillError:
        return Source(path, repair=True)


def _framed(picture: Picture, inspection: Inspection) -> str:
    told = f"frame {picture.frame}" + (f" of {inspection.facts.frames:,}" if inspection.facts.frames else "")
    if not picture.address:
        return f'<p class="missing">{told}: {clipped(picture.problem)}</p>'
    width, height = picture.size
    return (
        f'<figure><img alt="{told}" width="{width}" height="{height}" src="{picture.address}">'
        f"<figcaption>frame {picture.frame}</figcaption></figure>"
    )


def _stage(picture: Picture | None, inspection: Inspection) -> str:
    """Return the regions, drawn over a picture where there is one."""
    facts, regions = inspection.facts, inspection.regions
    columns, rows = facts.columns or 1, facts.rows or 1
    scale = min(1.0, _DRAWN / columns, _DRAWN / rows)
    width, height = picture.size if picture else (columns * scale, rows * scale)
    shapes = "".join(
        _shape(number, region, width / columns, height / rows, max(13.0, width / 30))
        for number, region in enumerate(regions[:_REGIONS], 1)
        if not region.empty
    )
    shown, told = "", counted(len(regions), "ultrasound region")
    if picture:
        alternative = f"frame {picture.frame} with {told}"
        shown = f'<img alt="{alternative}" width="{width}" height="{height}" src="{picture.address}">'
    drawing = (
        f'<svg role="img" aria-label="{told}" viewBox="0 0 {width:.6g} {height:.6g}" '
        f'preserveAspectRatio="none">{shapes}</svg>'
    )
    return f'<div class="stage" style="max-width:{width:.6g}px">{shown}{drawing}</div>'


def _shape(number: int, region: Region, across: float, down: float, size: float) -> str:
    """Return a region as a rectangle with its number.

    Parameters
    ----------
    number
        Counted from 1.
    region
        In pixels of the frame.
    across, down
        By which the drawing is larger.
    size
        Height of the number's tag.
    """
    left, top, right, bottom = region.bounds
    x, y = left * across, top * down
    wide, high = (right + 1 - left) * across, (bottom + 1 - top) * down
    return (
        f'<rect x="{x:.6g}" y="{y:.6g}" width="{wide:.6g}" height="{high:.6g}">'
        f"<title>{number}: {clipped(told_region(region), _FACT)}</title></rect>"
        f'<rect class="tag" x="{x:.6g}" y="{y:.6g}" width="{size * 1.2:.6g}" height="{size:.6g}"/>'
        f'<text x="{x + size * 0.6:.6g}" y="{y + size * 0.82:.6g}" font-size="{size * 0.85:.6g}">{number}</text>'
    )


def _regions(regions: tuple[Region, ...]) -> str:
    heads = (
        "number",
        "format",
        "type",
        "columns",
        "rows",
        "a pixel across",
        "a pixel down",
        "reference pixel",
    )
    rows = []
    for number, region in enumerate(regions[:_REGIONS], 1):
        left, top, right, bottom = region.bounds
        sizes = [
            f"{delta:.4g} {unit}" if delta is not None and unit not in {"", "none"} else ""
            for delta, unit in zip(region.deltas, region.units, strict=True)
        ]
        reference = [str(at) for at in region.reference_pixel if at is not None]
        values = [f"{value:.4g}" for value in region.reference_values if value is not None]
        at = ", ".join(reference) + (f" is {', '.join(values)}" if reference and values else "")
        cells = (
            *(str(number), region.spatial_format, region.data_type),
            *(f"{left} to {right}", f"{top} to {bottom}", *sizes, at),
        )
        rows.append([clipped(cell, _FACT) for cell in cells])
    return table(heads, rows, len(heads), stacked=True) + _more(len(regions) - _REGIONS, "region")


def _measurements(measurements: tuple[Measurement, ...]) -> Iterator[str]:
    if not measurements:
        return
    yield f"<h4>{counted(len(measurements), 'measurement')}</h4>"
    images: dict[str, int] = {}
    heads = ("what", "value", "unit", "site", "of", "besides", "image")
    rows = [_measurement(each, images) for each in measurements[:_MEASUREMENTS]]
    yield table(heads, rows, len(heads), stacked=True)
    yield _more(len(measurements) - _MEASUREMENTS, "measurement")
    if images:
        listed = [f"<li>image {number}: {clipped(uid, _NAME)}</li>" for uid, number in images.items()]
        yield f"<ul>{''.join(listed[:_IMAGES])}</ul>{_more(len(listed) - _IMAGES, 'image')}"


def _measurement(measurement: Measurement, images: dict[str, int]) -> list[str]:
    """Return the cells of a measurement, and number the images that it points to."""
    concept, unit, qualifier = measurement.concept, measurement.unit, measurement.qualifier
    value = measurement.text if measurement.value is not None or measurement.text else "no value"
    besides = [f"{_meaning(name)}: {told}" for name, told in (*measurement.modifiers, *measurement.context)]
    seen = []
    for each in measurement.references:
        number = images.setdefault(each.sop_instance_uid, len(images) + 1)
        frames = f", frame {', '.join(map(str, each.frames[:_LINES]))}" if each.frames else ""
        seen.append(f"{number}{frames}")
    cells = (
        f"{_meaning(concept)} ({concept.value}, {concept.scheme})",
        value + (f" ({_meaning(qualifier)})" if qualifier else ""),
        unit.value if unit else "",
        " ".join(_meaning(code) for code in (measurement.laterality, measurement.site) if code),
        " › ".join(measurement.group),
        "; ".join(besides),
        "; ".join(seen),
    )
    return [clipped(cell, _FACT) for cell in cells]


def _meaning(code: Code) -> str:
    return code.meaning or code.value or "?"


def _presentation(presentation: Presentation | None) -> Iterator[str]:
    if presentation is None:
        return
    label = f" {clipped(presentation.label, _NAME)}" if presentation.label else ""
    yield f"<h4>Presentation state{label}, of {counted(len(presentation.images), 'image')}</h4>"
    rows = [
        [
            clipped(each.what, _NAME),
            clipped(each.how, _FACT),
            "all" if each.images is None else str(each.images),
        ]
        for each in presentation.changes[:_CHANGES]
    ]
    if rows:
        yield table(("what it changes", "how", "in images"), rows, 3, stacked=True)
    else:
        yield "<p>It changes nothing.</p>"
    yield _more(len(presentation.changes) - _CHANGES, "change")
    listed = [f"<li>{clipped(each.sop_instance_uid, _NAME)}</li>" for each in presentation.images[:_IMAGES]]
    yield f"<ul>{''.join(listed)}</ul>{_more(len(presentation.images) - _IMAGES, 'image')}"


def _more(number: int, noun: str) -> str:
    return f'<p class="note">{counted(number, f"more {noun}")} left out here.</p>' if number > 0 else ""
