"""Reads the answers of DICOMweb servers: HTTP status codes, results of storing, attributes in JSON (PS3.18 Annex F)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from cinemill.errors import NodeError
from cinemill.network.outcomes import of_http, of_status
from cinemill.network.query import count_of

if TYPE_CHECKING:
    from cinemill.network.web_client import Answer

_SHOWN = 200
LARGEST = 1 << 26
"""Bytes that an answer may have, but for one with instances."""
_FAILED, _REFERENCED, _REASON, _REFERENCED_UID = "00081198", "00081199", "00081197", "00081155"
_WARNING = "00081196"
_NOT_ALL = 202
"""Of what was sent, some has failed, or was changed (PS3.18 §10.5.3.1)."""


def stored(answer: Answer, sop_instance: str) -> tuple[str, str]:
    """Return the name of the outcome that an answer to STOW-RS says of an instance, and what it says besides.

    Parameters
    ----------
    answer
        Of the server.
    sop_instance
        Which was sent.

    Raises
    ------
    NodeError
        The answer is no success, and says nothing of the instance.
    """
    told = _told(answer)
    for item in _items(told, _FAILED):
        if text_of(item, _REFERENCED_UID) in {sop_instance, ""}:
            reason = number_of(item, _REASON)
            return _of_reason(reason), "no reason given" if reason is None else f"failure reason {reason:04X}"
    if answer.code == 409 and told.get(_REFERENCED):
        return "coerced", "status 409, but the instance is among those that were stored"
    check_status(answer)
    for item in _items(told, _REFERENCED):
        if text_of(item, _REFERENCED_UID) == sop_instance:
            return ("coerced", "with a warning") if _WARNING in item else ("stored", "")
    if not told:
        if answer.code == _NOT_ALL:
            return "failed", f"status {_NOT_ALL}, and not a word about the instance; see the log of the node"
        return "stored", ""
    raise NodeError("the answer names other instances than the one that was sent", outcome="different")


def _of_reason(reason: int | None) -> str:
    name = "failed" if reason is None else of_status(reason)
    return "failed" if name in {"stored", "coerced"} else name


def _told(answer: Answer) -> dict[str, Any]:
    try:
        told = json.loads(answer.whole(LARGEST).strip() or b"{}")
    except (ValueError, RecursionError):
        if 200 <= answer.code < 300 and "xml" not in answer.field("content-type"):
            raise NodeError(
                f"{answer.url} answers {answer.code}, and not what became of the instance; check url in the nodes file",
                outcome="nonsense",
            ) from None
        return {}
    except NodeError:
        if 200 <= answer.code < 300:
            raise
        return {}  # the status says enough
    if isinstance(told, list):
        told = told[0] if told else {}
    return told if isinstance(told, dict) else {}


def _items(told: Mapping[str, Any], tag: str) -> list[dict[str, Any]]:
    element = told.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def check_status(answer: Answer) -> None:
    """Raise the error for a status of HTTP that is no success.

    Raises
    ------
    NodeError
        It is none: named, with what the server says, and how long it asks to wait.
    """
    code = answer.code
    if 200 <= code < 300:
        return
    name = of_http(code)
    said = ""
    if name == "redirected":
        said = f" to {answer.field('location') or 'nowhere'}; name that address in url"
    elif name == "not-authorized":
        said = "; check user and secret of the node"
    raise NodeError(
        f"{answer.url} answers {code} {answer.reason}{said}"[:_SHOWN],
        outcome=name,
        after=retry_after(answer.field("retry-after")),
    )


def retry_after(text: str) -> float | None:
    """Return the seconds that a server asks to wait: as a number or as a date; no more than an hour."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), 3600.0)


def _value(answer: Mapping[str, Any], tag: str) -> Any:
    element = answer.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def text_of(answer: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute as text, empty where it has none."""
    found = _value(answer, tag)
    return found.strip() if isinstance(found, str) else ""


def number_of(answer: Mapping[str, Any], tag: str) -> int | None:
    """Return the first value of an attribute as a number, None where it has none."""
    found = _value(answer, tag)
    try:
        return None if found is None else count_of(str(int(found)))
    except (TypeError, ValueError, OverflowError):
        return None
