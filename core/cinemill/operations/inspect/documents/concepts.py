"""Concepts that reports share, whether they are written in SNOMED CT, in SNOMED RT, or in the standard's own codes."""

from __future__ import annotations

from functools import cache

from cinemill.operations.inspect.model import Code

_SNOMED_RT = frozenset(("SRT", "SNM3", "99SDM"))
"""Designators that SNOMED RT codes were written with (PS3.16 §8.2)."""

FINDING_SITE = ("363698007", "SCT")
LATERALITY = ("272741003", "SCT")
TOPOGRAPHY = ("106233006", "SCT")
METHOD = ("370129005", "SCT")
MODE = ("399264008", "SCT")
CARDIAC_PHASE = ("272518008", "SCT")
RESPIRATORY_PHASE = ("272517003", "SCT")
FLOW_DIRECTION = ("260674002", "SCT")
VIEW = ("111031", "DCM")
DERIVATION = ("121401", "DCM")
SELECTION = ("121404", "DCM")
SHORT_LABEL = ("125309", "DCM")
TRACKING_IDENTIFIER = ("112039", "DCM")
TRACKING_UID = ("112040", "DCM")
FETUS_ID = ("11951-1", "LN")
FETUS_NUMBER = ("121037", "DCM")
SUBJECT_ID = ("121030", "DCM")
SUBJECT_CLASS = ("121024", "DCM")
SUBJECT_AGE = ("121033", "DCM")
MOTHER = ("121036", "DCM")
MEASUREMENT_GROUP = ("125007", "DCM")

FETUS = frozenset((("121026", "DCM"), ("83418008", "SCT")))
"""Subject classes: a fetus (PS3.16 CID 271)."""
FREE_TEXT = "CORNERSTONEFREETEXT"
"""Code Value of what a reader typed in: its Code Meaning is a text, and no concept's name."""
LANGUAGES = frozenset((("121046", "DCM"), ("121049", "DCM")))
"""What is said of the document's language says nothing of what was measured."""
_TIME_POINTS = (("C67447", "NCIt"), ("C2348792", "UMLS"), ("126070", "DCM"))
HARMLESS_TEXTS = frozenset(
    (
        *(TRACKING_IDENTIFIER, FETUS_ID, SHORT_LABEL, *_TIME_POINTS),
        *(("111001", "DCM"), ("111003", "DCM")),  # algorithm, its version
        *((f"12142{number}", "DCM") for number in range(5)),  # equations, tables, methods and their citations
        *(("125203", "DCM"), ("18139-6", "LN"), ("125010", "DCM")),  # acquisition protocol, stage, identifier
    )
)
"""Concepts whose text is about the measurement, and not written about a person."""
HARMLESS_CONTEXT = frozenset(
    (TRACKING_IDENTIFIER, TRACKING_UID, FETUS_ID, FETUS_NUMBER, SUBJECT_CLASS, *_TIME_POINTS)
)
"""Observation context that names neither the patient nor an observer."""
ABOUT_A_PERSON = frozenset((SUBJECT_AGE, ("30525-0", "LN"), ("424144002", "SCT"), ("397669002", "SCT")))
"""Numbers that are attributes of the patient: the age."""
OF_GROUPS = frozenset((("121071", "DCM"), ("276214006", "SCT"), FINDING_SITE, LATERALITY))
"""Codes that a group of measurements contains, and that hold for all of them: finding, its category, and its site."""


@cache
def _other_codes(scheme: str) -> dict[str, str]:
    """Return SNOMED CT codes by those of SNOMED RT (``SRT``), or the other way round (``SCT``)."""
    from pydicom.sr._snomed_dict import mapping

    return mapping[scheme]


def concept_key(code: Code | None) -> tuple[str, str]:
    """Return what a code is compared by: the same for a concept of SNOMED RT and its successor in SNOMED CT."""
    if code is None:
        return "", ""
    if code.scheme in _SNOMED_RT:
        successor = _other_codes("SRT").get(code.value)
        return (code.value, "SRT") if successor is None else (successor, "SCT")
    return code.value, code.scheme


def is_anatomy(code: Code | None) -> bool:
    """Tell whether a code names a part of the body: its SNOMED RT code is on the axis of topography."""
    if code is None:
        return False
    former = code.value if code.scheme in _SNOMED_RT else ""
    if code.scheme == "SCT":
        former = _other_codes("SCT").get(code.value, "")
    return former.startswith("T-")
