"""Queries a node by C-FIND; copes with what archives leave out, and with answers that are cut off or never end (PS3.4 Annex C)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from cinemill.errors import NodeError, UsageError
from cinemill.network import commands
from cinemill.network.association import Association
from cinemill.network.commands import Field
from cinemill.network.connect import associate
from cinemill.network.outcomes import refused_by_status
from cinemill.network.pdu import Context, Proposed
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from pydicom import Dataset

    from cinemill.network.nodes import Node

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IDENTIFIER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
FIND_CONTEXT = Proposed(STUDY_ROOT_FIND, IDENTIFIER_SYNTAXES)
MOST_ANSWERS = 50_000
"""Answers that one question may have; with more, it is asked again in parts."""

_ENDLESS = 2 * MOST_ANSWERS
"""Answers after which a node is not listened to any more, whatever they hold."""

_LARGEST = 1 << 20
"""Bytes of an answer."""

_LONGEST = 1 << 10
"""Characters of a value."""

_LONGEST_COUNT = 12
"""Characters of an Integer String (PS3.5 §6.2)."""

_MEDIUM = 0
_OF_PARTS = {
    "Modality": "ModalitiesInStudy",
    "SOPClassUID": "SOPClassesInStudy",
    "SeriesInstanceUID": "StudyInstanceUID",
    "SOPInstanceUID": "StudyInstanceUID",
}
"""Attributes of series and instances, and that of studies which is told instead (PS3.4 C.6.2.1)."""
_FIRST_DAY = date(1895, 11, 8)
_OF_STUDY = ("StudyInstanceUID", "StudyDate", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
_OF_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
_OF_IMAGE = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
    "AvailableTransferSyntaxUID",
)


@dataclass(frozen=True, slots=True)
class Study:
    """A study that a node has.

    Attributes
    ----------
    date
        As the node has it; empty where it does not say.
    instances
        How many it has, None where the node does not say.
    """

    uid: str
    date: str = ""
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """An instance that a node has; empty is what the node does not say."""

    sop_instance: str
    sop_class: str = ""
    series: str = ""
    transfer_syntax: str = ""


def parse_query(text: str) -> dict[str, str]:
    """Read ``StudyDate=20150101-20201231,ModalitiesInStudy=US``.

    Raises
    ------
    UsageError
        It is something else.
    """
    from pydicom.datadict import tag_for_keyword

    from cinemill.dicom.dictionary import keywords

    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        keyword, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"--query: expected Keyword=value with commas between, found {part!r}")
        if tag_for_keyword(keyword) is None:
            near = difflib.get_close_matches(keyword, keywords(), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--query: {keyword!r} is no keyword of the standard{meant}")
        if value and keyword in _OF_PARTS:
            raise UsageError(f"--query: studies have no {keyword}; name {_OF_PARTS[keyword]}")
        found[keyword] = value
    if not found:
        raise UsageError(
            "--query: expected Keyword=value, such as StudyDate=20200101-20201231, found nothing"
        )
    if "StudyDate" in found:
        days_of(found["StudyDate"])
    return found


def days_of(value: str) -> tuple[date, date] | None:
    """Return the first and the last day of a StudyDate to match, None where it is empty.

    Raises
    ------
    UsageError
        It is no date, nor a range of dates.
    """
    if not value:
        return None
    first, dash, last = (part.strip() for part in value.partition("-"))
    try:
        begin = _day(first) if first else _FIRST_DAY
        end = begin if not dash else _day(last) if last else date.today() + timedelta(days=1)  # noqa: DTZ011
    except ValueError:
        raise UsageError(
            f"StudyDate: expected YYYYMMDD or a range such as 20150101-20201231, found {value!r}"
        ) from None
    return begin, end


def _day(text: str) -> date:
    if len(text) != 8 or not text.isdigit():
        raise ValueError(text)
    return date.fromisoformat(text)


def studies(node: Node, criteria: Mapping[str, str], *, most: int = MOST_ANSWERS) -> Iterator[Study]:
    """Yield the studies that match, each once; a question whose answers are cut off is asked again for parts of its days.

    Parameters
    ----------
    node
        Reached by DIMSE.
    criteria
        Values by keyword: see `parse_query`.
    most
        Answers of one question.

    Raises
    ------
    NodeError
        The node can't be asked, fails, or cuts off the answers for a single day.
    """
    most = min(most, node.limits.answers or most)
    known: set[str] = set()
    spans = [days_of(criteria.get("StudyDate", ""))]
    while spans:
        span = spans.pop()
        found, cut_off = _studies_of(
            node, criteria if span is None else {**criteria, "StudyDate": span_text(span)}, most
        )
        for study in found:
            if study.uid not in known:
                known.add(study.uid)
                yield study
        if cut_off:
            spans += reversed(halves(span))


def halves(span: tuple[date, date] | None) -> list[tuple[date, date]]:
    """Return the two halves of some days, or of all days.

    Raises
    ------
    NodeError
        It is a single day.
    """
    begin, end = span or (_FIRST_DAY, date.today() + timedelta(days=1))  # noqa: DTZ011
    if begin >= end:
        raise NodeError(
            f"the node cuts off its answers even for the single day {begin:%Y%m%d}; add StudyTime or another keyword "
            "to --query, or raise the limit of the node",
            outcome="truncated",
        )
    middle = begin + (end - begin) // 2
    return [(begin, middle), (middle + timedelta(days=1), end)]


def span_text(span: tuple[date, date]) -> str:
    """Return days as a range to match."""
    return f"{span[0]:%Y%m%d}-{span[1]:%Y%m%d}"


def _studies_of(node: Node, criteria: Mapping[str, str], most: int) -> tuple[list[Study], bool]:
    """Return the answers to one question, and whether there would be more."""
    found: list[Study] = []
    with associate(node, [FIND_CONTEXT]) as association:
        answers = find(association, "STUDY", {**dict.fromkeys(_OF_STUDY, ""), **criteria})
        try:
            for answer in answers:
                if len(found) >= most:
                    association.abort()
                    return found, True
                uid = text_of(answer, "StudyInstanceUID")
                if uid:
                    number = text_of(answer, "NumberOfStudyRelatedInstances")
                    found.append(Study(uid, text_of(answer, "StudyDate"), count_of(number)))
        except NodeError as error:
            if error.outcome not in {"no-room", "truncated"}:
                raise
            return found, True
    return found, node.limits.answers is not None and len(found) >= node.limits.answers


def count_of(text: str) -> int | None:
    """Return how many instances a node says there are, None where it says nothing that can be."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT else None


def instances(node: Node, study: str) -> list[Listed]:
    """Return the instances of a study; nothing where the node does not answer on that level.

    Raises
    ------
    NodeError
        The node can't be asked.
    """
    found: dict[str, Listed] = {}
    answers = 0
    with associate(node, [FIND_CONTEXT]) as association:
        try:
            of_study = {**dict.fromkeys(_OF_SERIES, ""), "StudyInstanceUID": study}
            for series in list(find(association, "SERIES", of_study)):
                uid = text_of(series, "SeriesInstanceUID")
                asked = {**dict.fromkeys(_OF_IMAGE, ""), "StudyInstanceUID": study, "SeriesInstanceUID": uid}
                for image in find(association, "IMAGE", asked):
                    listed = _listed(image, uid)
                    if listed.sop_instance:
                        found[listed.sop_instance] = listed
                    answers += 1
                    if answers > MOST_ANSWERS:
                        raise NodeError(
                            f"more than {MOST_ANSWERS} instances were listed for one study",
                            outcome="nonsense",
                        )
        except NodeError as error:
            if error.outcome in {"failed", "not-understood", "does-not-match"} and not found:
                return []
            raise
    return list(found.values())


def _listed(image: Dataset, series: str) -> Listed:
    syntax = text_of(image, "AvailableTransferSyntaxUID").partition("\\")[0]
    return Listed(
        text_of(image, "SOPInstanceUID"),
        text_of(image, "SOPClassUID"),
        text_of(image, "SeriesInstanceUID") or series,
        syntax if syntax in TRANSFER_SYNTAXES else "",
    )


def find(association: Association, level: str, criteria: Mapping[str, str]) -> Iterator[Dataset]:
    """Ask one question, and yield the answers as they come.

    Parameters
    ----------
    association
        Has a context for C-FIND in the Study Root model.
    level
        ``STUDY``, ``SERIES`` or ``IMAGE``.
    criteria
        Values to match, or empty ones to be returned, by keyword.

    Raises
    ------
    NodeError
        The node fails; ``truncated`` where it ended with another status than success after some answers, ``nonsense`` where
        it does not end.
    """
    context = context_of(association, STUDY_ROOT_FIND, "C-FIND in the Study Root model")
    request = {
        "AffectedSOPClassUID": STUDY_ROOT_FIND,
        "CommandField": Field.FIND_RQ,
        "MessageID": association.next_message(),
        "Priority": _MEDIUM,
    }
    association.send(
        context, request, encoded_identifier({"QueryRetrieveLevel": level, **criteria}, context.syntax)
    )
    answered = 0
    while True:
        _, answer = association.receive()
        commands.check_answer(answer, request)
        data = association.data_set(_LARGEST)
        status = commands.status_of(answer)
        if status not in commands.PENDING:
            break
        answered += 1
        if answered > _ENDLESS:
            raise NodeError(f"more than {_ENDLESS} answers came to one question", outcome="nonsense")
        yield decoded_identifier(data, context.syntax)
    if status:
        raise refused_by_status("C-FIND", status, answer, answered)


def context_of(association: Association, sop_class: str, what: str) -> Context:
    """Return the accepted context of a class.

    Parameters
    ----------
    association
        With the node.
    sop_class
        Whose context.
    what
        The node does not offer otherwise.

    Raises
    ------
    NodeError
        The node did not accept it.
    """
    context = association.context_for(sop_class)
    if context is None:
        raise NodeError(f"the node does not offer {what}", outcome="class-refused")
    return context


def encoded_identifier(values: Mapping[str, Any], syntax: str) -> bytes:
    """Return a data set of these values by keyword."""
    from pydicom import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    identifier = Dataset()
    for keyword, value in values.items():
        setattr(identifier, keyword, value or None)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax == "1.2.840.10008.1.2", True
    write_dataset(stream, identifier)
    encoded: bytes = stream.getvalue()
    return encoded


def decoded_identifier(data: bytes, syntax: str) -> Dataset:
    """Read a small data set.

    Raises
    ------
    NodeError
        It is none.
    """
    import warnings

    from pydicom.filereader import read_dataset

    try:
        with warnings.catch_warnings(action="ignore"):
            return read_dataset(BytesIO(data), syntax == "1.2.840.10008.1.2", is_little_endian=True)
    except Exception as error:  # noqa: BLE001  # pydicom has no family of errors
        raise NodeError(
            f"an answer of {len(data)} bytes is no data set: {error}", outcome="nonsense"
        ) from None


def text_of(answer: Dataset, keyword: str) -> str:
    """Return a value of an answer as text, empty where it is not there or can't be read."""
    import warnings

    from pydicom.multival import MultiValue

    try:
        with warnings.catch_warnings(action="ignore"):
            value = answer.get(keyword)
    except Exception:  # noqa: BLE001  # pydicom has no family of errors
        return ""
    if value is None:
        return ""
    parts = value if isinstance(value, MultiValue | list) else [value]
    return "\\".join(str(part).strip(" \0") for part in parts)[:_LONGEST]
