"""Command sets of DIMSE messages: encoded and decoded as byte strings (PS3.7 §6.3, Annex E)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeAlias

from cinemill.errors import NodeError
from cinemill.network.pdu import Violation

Command: TypeAlias = Mapping[str, Any]
"""Values by the keywords of `_ELEMENTS`."""

NO_DATA_SET, SOME_DATA_SET = 0x0101, 0x0001
PENDING = frozenset((0xFF00, 0xFF01))
LARGEST = 1 << 16
"""Bytes that a command may have."""


class Field(IntEnum):
    """Values of Command Field."""

    STORE_RQ = 0x0001
    STORE_RSP = 0x8001
    GET_RQ = 0x0010
    GET_RSP = 0x8010
    FIND_RQ = 0x0020
    FIND_RSP = 0x8020
    MOVE_RQ = 0x0021
    MOVE_RSP = 0x8021
    ECHO_RQ = 0x0030
    ECHO_RSP = 0x8030
    EVENT_RQ = 0x0100
    EVENT_RSP = 0x8100
    ACTION_RQ = 0x0130
    ACTION_RSP = 0x8130
    CANCEL_RQ = 0x0FFF


RESPONSE = 0x8000
"""Bit of the commands that answer."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
INVALID_INSTANCE = 0x0117
CLASS_INSTANCE_CONFLICT = 0x0119
CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
UNRECOGNISED_OPERATION = 0x0211
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
NOT_UNDERSTOOD = 0xC000
"""Statuses (PS3.7 Annex C, PS3.4 §B.2.3)."""

_ELEMENTS = {
    "AffectedSOPClassUID": (0x0002, "UI"),
    "RequestedSOPClassUID": (0x0003, "UI"),
    "CommandField": (0x0100, "US"),
    "MessageID": (0x0110, "US"),
    "MessageIDBeingRespondedTo": (0x0120, "US"),
    "MoveDestination": (0x0600, "AE"),
    "Priority": (0x0700, "US"),
    "CommandDataSetType": (0x0800, "US"),
    "Status": (0x0900, "US"),
    "ErrorComment": (0x0902, "LO"),
    "AffectedSOPInstanceUID": (0x1000, "UI"),
    "RequestedSOPInstanceUID": (0x1001, "UI"),
    "EventTypeID": (0x1002, "US"),
    "ActionTypeID": (0x1008, "US"),
    "NumberOfRemainingSuboperations": (0x1020, "US"),
    "NumberOfCompletedSuboperations": (0x1021, "US"),
    "NumberOfFailedSuboperations": (0x1022, "US"),
    "NumberOfWarningSuboperations": (0x1023, "US"),
}
_NAMES = {number: (name, vr) for name, (number, vr) in _ELEMENTS.items()}
_ELEMENT = struct.Struct("<HHL")
_LONGEST_COMMENT = 64
_LONGEST_UID = 64
_LONGEST = 256
"""Characters that are kept of a value: more than any may have."""


def encode(command: Command) -> bytes:
    """Return a command set in Implicit VR Little Endian, with its group length."""
    elements = sorted((*_ELEMENTS[name], value) for name, value in command.items())
    body = b"".join(_element(number, _value(vr, value)) for number, vr, value in elements)
    return _element(0, len(body).to_bytes(4, "little")) + body


def decode(data: bytes) -> dict[str, Any]:
    """Read a command set.

    Raises
    ------
    Violation
        It is none.
    """
    found: dict[str, Any] = {}
    offset = 0
    while offset < len(data):
        if offset + _ELEMENT.size > len(data):
            raise Violation(f"a command of {len(data)} bytes ends in an element")
        group, number, length = _ELEMENT.unpack_from(data, offset)
        offset += _ELEMENT.size + length
        if offset > len(data):
            raise Violation(
                f"a command has the element ({group:04X},{number:04X}) of {length} bytes, which are not there"
            )
        if not group and number in _NAMES:  # some nodes put what they say of a failure behind the command
            name, vr = _NAMES[number]
            if vr == "US" and length not in {0, 2}:
                raise Violation(f"(0000,{number:04X}) of a command has {length} bytes, and is no number")
            if length:
                found[name] = _read(vr, data[offset - length : offset])
    if "CommandField" not in found:
        raise Violation("a command came without Command Field (0000,0100)")
    return found


def has_data_set(command: Command) -> bool:
    """Whether a data set follows."""
    return bool(command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET)


def status_of(command: Command) -> int:
    """Return the status of a response; a response without one is a failure."""
    return int(command.get("Status", PROCESSING_FAILURE))


def check_answer(answer: Command, request: Command) -> None:
    """Look whether a message answers a request.

    Raises
    ------
    NodeError
        It is no response, or one to another request.
    """
    expected = request["CommandField"] | RESPONSE
    if answer["CommandField"] != expected:
        raise NodeError(
            f"command {answer['CommandField']:04X} came as an answer, expected {expected:04X}",
            outcome="nonsense",
        )
    number, about = request["MessageID"], answer.get("MessageIDBeingRespondedTo")
    if about not in {None, number}:
        raise NodeError(
            f"an answer to message {about} came, expected one to message {number}", outcome="nonsense"
        )


def response(request: Command, status: int, comment: str = "") -> dict[str, Any]:
    """Return the response to a request, without a data set.

    Parameters
    ----------
    request
        That is answered.
    status
        What became of it.
    comment
        Why it is no success, without anything of a patient.
    """
    told = {
        "CommandField": request["CommandField"] | RESPONSE,
        "MessageIDBeingRespondedTo": request.get("MessageID", 0),
        "CommandDataSetType": NO_DATA_SET,
        "Status": status,
    }
    if comment and status != SUCCESS:
        told["ErrorComment"] = comment.encode("ascii", "replace").decode()[:_LONGEST_COMMENT]
    for what in ("SOPClassUID", "SOPInstanceUID"):
        if uid := request.get(f"Affected{what}") or request.get(f"Requested{what}"):
            told[f"Affected{what}"] = uid[:_LONGEST_UID]
    same = ("EventTypeID", "ActionTypeID") if status == SUCCESS else ()
    return told | {name: request[name] for name in same if name in request}


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


def _value(vr: str, value: Any) -> bytes:
    if vr == "US":
        return struct.pack("<H", value)
    text: bytes = value.encode("latin-1", "replace")
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _read(vr: str, value: bytes) -> Any:
    if vr == "US":
        return int.from_bytes(value, "little")
    return value.decode("latin-1").strip(" \0")[:_LONGEST]
