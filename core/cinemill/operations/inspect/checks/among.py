"""Checks of several instances together: UIDs that stand for two, and series that are none."""

from __future__ import annotations

from collections.abc import Iterator

import xxhash

from cinemill.operations.inspect.checks.check import Check
from cinemill.operations.inspect.checks.table import finding
from cinemill.operations.inspect.model import Facts, Finding, Severity

_WARNING = Severity.WARNING
_GIVE = "have new UIDs given throughout the study (cinemill deidentify does)"

INSTANCE_TWICE = Check(
    "among.instance-twice",
    _WARNING,
    "PS3.5 9",
    "a SOP Instance UID stands in one file",
    "keep one of the files; archives keep the first or the last one, whatever the pixels are",
)
SERIES_ELSEWHERE = Check(
    "among.series-elsewhere",
    _WARNING,
    "PS3.3 A.1.2",
    "a series belongs to one study",
    _GIVE,
)
MODALITIES = Check(
    "among.modalities",
    _WARNING,
    "PS3.3 C.7.3.1.1.1",
    "a series has one modality",
    "divide the series by modality; viewers choose tools and layouts by it",
)
NUMBER_TWICE = Check(
    "among.number-twice",
    Severity.NOTICE,
    "PS3.3 C.7.6.1",
    "images of a series have Instance Numbers of their own",
    "sort by Acquisition or Content Time in place of Instance Number",
)

AMONG = (INSTANCE_TWICE, SERIES_ELSEWHERE, MODALITIES, NUMBER_TWICE)
"""The checks of several instances."""


class Seen:
    """What was seen of instances so far. Memory: about 300 bytes an instance."""

    def __init__(self) -> None:
        self._instances: dict[int, str] = {}
        self._series: dict[str, tuple[str | None, str | None]] = {}
        self._numbers: set[int] = set()

    def add(self, facts: Facts) -> Iterator[Finding]:
        """Yield what is wrong with an instance, given those before it."""
        instance, series = facts.sop_instance_uid, facts.series_instance_uid
        if instance:
            key, known = _key(instance), len(self._instances)
            earlier = self._instances.setdefault(key, str(facts.path))
            if earlier != str(facts.path):
                yield finding(INSTANCE_TWICE, f"SOP Instance UID {instance} is that of {earlier}, too")
            if len(self._instances) == known:
                return
        if not series:
            return
        study, modality = self._series.setdefault(series, (facts.study_instance_uid, facts.modality))
        if study != facts.study_instance_uid:
            yield finding(
                SERIES_ELSEWHERE,
                f"series {series} is in study {study or 'unknown'} and {facts.study_instance_uid or 'unknown'}",
            )
        if modality != facts.modality:
            yield finding(
                MODALITIES,
                f"series {series} has {modality or 'no modality'} and {facts.modality or 'no modality'}",
            )
        if facts.instance_number is not None:
            number = _key(f"{series} {facts.instance_number}")
            if number in self._numbers:
                yield finding(
                    NUMBER_TWICE, f"Instance Number {facts.instance_number} stands twice in series {series}"
                )
            self._numbers.add(number)


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
