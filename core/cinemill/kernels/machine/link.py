"""Puts an object that LLVM made for x86-64 (ELF) in place: what remains to be done when it is loaded is little.

An image is one run of bytes: code, constants, and slots for the addresses of what it calls. All references within it are
relative, except for constants that are addresses: these are listed, for the image's own address to be added.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_ALLOCATED, _WRITABLE = 2, 1
_BITS, _SYMBOLS, _RELOCATIONS, _ZEROS = 1, 2, 4, 8
_ABSOLUTE_64, _RELATIVE_32, _CALL_32, _SLOT_32, _RELATIVE_64, _SLOT_32_X, _SLOT_32_REX_X = (
    1,
    2,
    4,
    9,
    24,
    41,
    42,
)
_UNUSED = {".eh_frame", ".note.GNU-stack"}
_JUMP_TO_SLOT = b"\xff\x25\0\0\0\0"


class Unlinkable(Exception):
    """An object has what an image can't hold."""


class Image(NamedTuple):
    """Position-independent code.

    Attributes
    ----------
    code
        Everything, the slots being zero.
    entries
        Where functions begin.
    slots
        Where the addresses of functions of the C library go.
    addresses
        Where there are offsets to which the image's address is added.
    """

    code: bytes
    entries: dict[str, int]
    slots: dict[str, int]
    addresses: list[int]


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int


class _Object:
    def __init__(self, data: bytes) -> None:
        if data[:5] != b"\x7fELF\x02" or struct.unpack_from("<HH", data, 16) != (1, 62):
            raise Unlinkable("not an object for x86-64")
        self.data = data
        table = struct.unpack_from("<Q", data, 40)[0]
        count, names = struct.unpack_from("<HH", data, 60)
        rows = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * number) for number in range(count)]
        strings = rows[names][4]
        self.sections = [
            _Section(self._text(strings + row[0]), row[1], row[2], row[4], row[5], row[6], row[7], row[8])
            for row in rows
        ]
        self.symbols = [symbol for section in self.sections for symbol in self._symbols(section)]

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def _symbols(self, section: _Section) -> Iterator[_Symbol]:
        if section.kind == _SYMBOLS:
            strings = self.sections[section.link].offset
            for at in range(section.offset, section.offset + section.size, 24):
                name, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", self.data, at)
                yield _Symbol(self._text(strings + name), index, value)


def linked(data: bytes, entries: list[str], allowed: frozenset[str]) -> Image:
    """Make an image of an object.

    Parameters
    ----------
    data
        The object, with one table of symbols.
    entries
        The functions that are called from outside.
    allowed
        What it may call of the C library.

    Raises
    ------
    Unlinkable
        The object calls something else, has data that it writes to, or anything not known here.
    """
    found = _Object(data)
    code = bytearray()

    def room(alignment: int) -> int:
        code.extend(b"\xcc" * (-len(code) % max(alignment, 1)))
        return len(code)

    places: dict[int, int] = {}
    for index, section in enumerate(found.sections):
        if not section.flags & _ALLOCATED or not section.size or section.name in _UNUSED:
            continue
        if section.kind == _ZEROS or (
            section.flags & _WRITABLE and not section.name.startswith(".data.rel.ro")
        ):
            raise Unlinkable(f"data that is written: {section.name}")
        places[index] = room(section.alignment)
        code += data[section.offset : section.offset + section.size]
    imports = sorted({symbol.name for symbol in found.symbols if symbol.section == 0 and symbol.name})
    if unknown := set(imports) - allowed:
        raise Unlinkable(f"calls of {', '.join(sorted(unknown))}")
    slots, stubs = {}, {}
    for name in imports:
        slots[name] = room(8)
        code += bytes(8)
        stubs[name] = room(16)
        code += _JUMP_TO_SLOT
        struct.pack_into("<i", code, stubs[name] + 2, slots[name] - len(code))
    addresses = _relocate(found, code, places, slots, stubs)
    known = {
        symbol.name: places[symbol.section] + symbol.value
        for symbol in found.symbols
        if symbol.section in places
    }
    return Image(bytes(code), {name: known[name] for name in entries}, slots, addresses)


def _relocate(
    found: _Object, code: bytearray, places: dict[int, int], slots: dict[str, int], stubs: dict[str, int]
) -> list[int]:
    """Write all references within the image; return where those are that need its address."""
    addresses = []
    for section in found.sections:
        if section.kind != _RELOCATIONS or section.info not in places:
            continue
        for at in range(section.offset, section.offset + section.size, 24):
            where, what, addend = struct.unpack_from("<QQq", found.data, at)
            symbol, how = found.symbols[what >> 32], what & 0xFFFFFFFF
            place = places[section.info] + where
            target = (
                places[symbol.section] + symbol.value if symbol.section in places else stubs.get(symbol.name)
            )
            if how in (_SLOT_32, _SLOT_32_X, _SLOT_32_REX_X) and symbol.name in slots:
                struct.pack_into("<i", code, place, slots[symbol.name] + addend - place)
            elif target is None:
                raise Unlinkable(f"a reference to {symbol.name or found.sections[symbol.section].name}")
            elif how in (_RELATIVE_32, _CALL_32):
                struct.pack_into("<i", code, place, target + addend - place)
            elif how == _RELATIVE_64:
                struct.pack_into("<q", code, place, target + addend - place)
            elif how == _ABSOLUTE_64 and symbol.section in places:
                struct.pack_into("<q", code, place, target + addend)
                addresses.append(place)
            else:
                raise Unlinkable(f"relocation {how} of {symbol.name}")
    return addresses
