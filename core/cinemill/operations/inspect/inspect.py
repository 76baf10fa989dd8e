"""Inspects one instance: what is known of it and what is wrong with it; a damaged file is a finding, not an error."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cinemill.dicom.elements import bounded, walk
from cinemill.dicom.part10 import read_part10
from cinemill.dicom.source import PIXEL_TAGS, Source
from cinemill.errors import CinemillError, DamagedFile, NotDicom, UnsupportedTransferSyntax
from cinemill.operations.inspect.checks.check import Problem, Subject
from cinemill.operations.inspect.checks.table import (
    CHECKS,
    DAMAGED,
    HEADER_CHECKS,
    NO_DICOM,
    finding,
    findings_of,
    in_order,
)
from cinemill.operations.inspect.documents.measurements import measurements_of
from cinemill.operations.inspect.documents.presentation import presentation_of
from cinemill.operations.inspect.documents.references import references_of
from cinemill.operations.inspect.facts import facts_of, patient_of, regions_of
from cinemill.operations.inspect.model import Facts, Finding, Inspection
from cinemill.storage.location import located, size

_OTHER_SYNTAX = (
    "ask for an export in a transfer syntax of the standard; where its UID was mistyped, correct it"
)


def inspect(
    path: str | os.PathLike[str], *, expect_model: str | None = None, phi: bool = False
) -> Inspection:
    """Report what an instance is and what is wrong with it, without decoding a frame.

    A damaged file raises no error: the damage is one of the findings.

    Parameters
    ----------
    path
        Path of the file.
    expect_model
        The Manufacturer's Model Name that the file should have; another one is a finding.
    phi
        Include the values that identify the patient and the study (protected health information).

    Returns
    -------
    Inspection
        Facts, ultrasound regions, findings, measurements and references.
    """
    path = located(path)
    try:
        with Source(path, scan=False) as source:
            return _inspected(source, expect_model, phi=phi)
    except NotDicom as error:
        return Inspection(Facts(path, size(path)), (), (finding(NO_DICOM, error.message),), (), ())
    except UnsupportedTransferSyntax as error:
        damage = finding(DAMAGED, Problem(error.message, remedy=_OTHER_SYNTAX))
    except CinemillError as error:
        damage = finding(DAMAGED, error.message)
    for attempt in (_repaired, _header_alone):
        try:
            with attempt(path) as source:
                return _inspected(source, expect_model, damage, phi=phi)
        except CinemillError:
            continue
    return Inspection(Facts(path, size(path)), (), (damage,), (), ())


def _inspected(
    source: Source, expect_model: str | None, damage: Finding | None = None, *, phi: bool
) -> Inspection:
    """Return what is known of an open file, and what it could not be opened for as it is."""
    whole = not source.in_memory
    facts = replace(facts_of(source, counted=whole), file_bytes=size(source.path))
    subject = Subject(source, facts, whole=whole, expected_model=expect_model)
    found = findings_of(subject, CHECKS if whole else HEADER_CHECKS)
    patient = patient_of(source) if phi else {}
    findings = in_order(found if damage is None else dict.fromkeys([damage, *found]))
    told = Inspection(facts, regions_of(source), tuple(findings), (), (), patient)
    try:
        return _documented(subject, told, phi=phi)
    except CinemillError as error:
        if any(each.check == DAMAGED.id for each in findings):
            return told
        return replace(told, findings=(finding(DAMAGED, error.message), *findings))


def _documented(subject: Subject, told: Inspection, *, phi: bool) -> Inspection:
    """Return an inspection with what was measured, and what the instance refers to and would change."""
    header = subject.header
    return replace(
        told,
        measurements=measurements_of(header, phi=phi, content=subject.content),
        references=references_of(header),
        title=subject.content.title,
        presentation=presentation_of(header),
    )


def _repaired(path: Path) -> Source:
    return Source(path, repair=True)


def _header_alone(path: Path) -> Source:
    """Open what stands before the pixel data, or before the element that can't be read."""
    opened = read_part10(path, None, [])
    end = opened.start
    with suppress(DamagedFile, RecursionError):
        elements = walk(opened.data, opened.start, len(opened.data), opened.encoding, until=PIXEL_TAGS)
        for element in bounded(elements):
            end = element.end
    if opened.transfer_syntax.deflated:
        raise DamagedFile("what is deflated can't be cut")
    return Source(path, data=bytes(opened.file[:end]))


def to_record(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as JSON-ready values."""
    told = asdict(inspection)
    told["facts"]["path"] = str(inspection.facts.path)
    return told
