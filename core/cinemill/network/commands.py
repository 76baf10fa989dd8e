"""Command sets of DIMSE messages: encoded and decoded as byte strings (PS3.7 §6.3, Annex E)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeAlias

from cinemill.errors import NodeError

Command: TypeAlias = Mapping[str, Any]
"""Values by the keywords of `_ELEMENTS`."""

NO_DATA_SET = 0x0101
PENDING = frozenset((0xFF00, 0xFF01))
CANCELLED = 0xFE00


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


def encode(command: Command) -> bytes:
    """Return a command set in Implicit VR Little Endian, with its group length."""
    elements = sorted((*_ELEMENTS[name], value) for name, value in command.items())
    body = b"".join(_element(number, _value(vr, value)) for number, vr, value in elements)
    return _element(0, struct.pack("<L", len(body))) + body


def decode(data: bytes) -> dict[str, Any]:
    """Read a command set.

    Raises
    ------
    NodeError
        It is none.
    """
    found: dict[str, Any] = {}
    offset = 0
    while offset < len(data):
        if offset + 8 > len(data):
            raise NodeError(f"a command of {len(data)} bytes ends in an element", outcome="nonsense")
        group, number, length = struct.unpack_from("<HHL", data, offset)
        value = data[offset + 8 : offset + 8 + length]
        if len(value) < length:
            raise NodeError(
                f"a command has the element ({group:04X},{number:04X}) of {length} bytes, {len(value)} came",
                outcome="nonsense",
            )
        if not group and number in _NAMES:  # some nodes put what they say of a failure behind the command
            name, vr = _NAMES[number]
            found[name] = _read(vr, value)
        offset += 8 + length
    if "CommandField" not in found:
        raise NodeError("a command came without Command Field (0000,0100)", outcome="nonsense")
    return found


def has_data_set(command: Command) -> bool:
    """Whether a data set follows."""
    return bool(command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET)


def status_of(command: Command) -> int:
    """Return the status of a response; a response without one is a failure."""
    return int(command.get("Status", 0x0110))


def response(request: Command, status: int) -> dict[str, Any]:
    """Return the response to a request, without a data set."""
    told = {
        "CommandField": request["CommandField"] | 0x8000,
        "MessageIDBeingRespondedTo": request.get("MessageID", 0),
        "CommandDataSetType": NO_DATA_SET,
        "Status": status,
    }
    same = ("AffectedSOPClassUID", "AffectedSOPInstanceUID", "EventTypeID")
    return told | {name: request[name] for name in same if name in request}


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _value(vr: str, value: Any) -> bytes:
    if vr == "US":
        return struct.pack("<H", value)
    text: bytes = value.encode("latin-1", "replace")
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _read(vr: str, value: bytes) -> Any:
    if vr == "US":
        return int.from_bytes(value[:2], "little")
    return value.decode("latin-1").strip(" \0")
