"""Command sets of DIMSE messages (PS3.7 §6.3.1, §9.3 and §10.3), read and written as they are: elements by number."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cinemill.network.receive.pdus import Violation

C_STORE, C_ECHO, C_CANCEL, N_EVENT_REPORT, N_ACTION = 0x0001, 0x0030, 0x0FFF, 0x0100, 0x0130
RESPONSE = 0x8000
"""Bit of the commands that answer."""

AFFECTED_CLASS, REQUESTED_CLASS, FIELD, MESSAGE_ID, ANSWERED_ID = 0x0002, 0x0003, 0x0100, 0x0110, 0x0120
DATA_SET_TYPE, STATUS, COMMENT = 0x0800, 0x0900, 0x0902
AFFECTED_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE, ACTION_TYPE = 0x1000, 0x1001, 0x1002, 0x1008
"""Numbers of elements in group 0000."""

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

_NO_DATA_SET, _SOME_DATA_SET = 0x0101, 0x0001
_ELEMENT = struct.Struct("<HHL")
_LONGEST_COMMENT = 64
Value: TypeAlias = "int | str"


@dataclass(frozen=True, slots=True)
class Command:
    """A command set.

    Attributes
    ----------
    context
        The presentation context that it came by.
    values
        Encoded values, by element number.
    """

    context: int
    values: Mapping[int, bytes]

    @property
    def field(self) -> int:
        """Which command it is."""
        return self.number(FIELD)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(DATA_SET_TYPE) != _NO_DATA_SET

    def number(self, element: int) -> int:
        """Return a value of VR US.

        Raises
        ------
        Violation
            It is absent, or has another length.
        """
        value = self.values.get(element, b"")
        if len(value) != 2:
            raise Violation(f"(0000,{element:04X}) of a command is absent or no number")
        return int.from_bytes(value, "little")

    def text(self, element: int) -> str:
        """Return a text, padding stripped; empty where it is absent."""
        return self.values.get(element, b"").decode("latin-1").strip(" \0")


def parse(context: int, encoded: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    Violation
        It is none.
    """
    values: dict[int, bytes] = {}
    offset = 0
    while offset < len(encoded):
        if offset + 8 > len(encoded):
            raise Violation("a command set ends inside an element's header")
        group, element, length = _ELEMENT.unpack_from(encoded, offset)
        offset += 8 + length
        if group or offset > len(encoded):
            raise Violation(
                "a command set has elements of other groups, or promises more bytes than are there"
            )
        values[element] = encoded[offset - length : offset]
    return Command(context, values)


def encode(values: Mapping[int, Value], *, data_set: bool = False) -> bytes:
    """Return a command set: numbers are of VR US, texts are padded."""
    told: dict[int, Value] = {**values, DATA_SET_TYPE: _SOME_DATA_SET if data_set else _NO_DATA_SET}
    body = b"".join(_element(number, told[number]) for number in sorted(told))
    return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def answer(command: Command, status: int, comment: str = "", **more: Value) -> bytes:
    """Return the answer to a command.

    Parameters
    ----------
    command
        That is answered.
    status
        What became of it.
    comment
        Why, without anything of a patient.
    **more
        ``action_type`` of an N-ACTION.
    """
    values: dict[int, Value] = {
        FIELD: command.field | RESPONSE,
        ANSWERED_ID: command.number(MESSAGE_ID),
        STATUS: status,
    }
    for affected, asked in (
        (AFFECTED_CLASS, REQUESTED_CLASS),
        (AFFECTED_INSTANCE, REQUESTED_INSTANCE),
    ):
        if uid := command.text(affected) or command.text(asked):
            values[affected] = uid[:64]
    if comment and status != SUCCESS:
        values[COMMENT] = comment.encode("ascii", "replace").decode()[:_LONGEST_COMMENT]
    if "action_type" in more:
        values[ACTION_TYPE] = more["action_type"]
    return encode(values)


def _element(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        encoded = value.to_bytes(2, "little")
    else:
        encoded = value.encode("latin-1", "replace")
        if len(encoded) % 2:
            encoded += b" " if number == COMMENT else b"\0"
    return _ELEMENT.pack(0, number, len(encoded)) + encoded
