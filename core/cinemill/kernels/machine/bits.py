"""Memory and bits of 64-bit integers for kernels, which say where they read and write, and by how much they shift.

Addresses are plain integers and nothing is checked: whoever computes one states why it lies inside its buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cinemill.kernels.machine.deferred import cgutils, intrinsic, ir
from cinemill.kernels.machine.deferred import numba_types as types
from cinemill.kernels.machine.instructions import Value, instructions


@intrinsic
def address(typing_context: Any, array: Any) -> Any:
    """Return the address of a contiguous array's first element; the caller keeps the array alive."""
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        header = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.ptrtoint(header.data, ir.IntType(64))

    return types.int64(array), emit


def _element(base: Value, index: Value, bits: int) -> Any:
    """Point at an element in the way LLVM's loop vectoriser understands: a base and a scaled index."""
    first = base.builder.inttoptr(base.value, ir.IntType(bits).as_pointer())
    return base.builder.gep(first, [index.value])


def _loader(bits: int, *, signed: bool) -> Any:
    def load(base: Value, index: Value) -> Value:
        element = Value(base.builder, base.builder.load(_element(base, index, bits), align=1))
        if bits == 64:
            return element
        return element.extended(64) if signed else element.resized(64)

    return instructions(load)


def _storer(bits: int) -> Any:
    def store(base: Value, index: Value, value: Value) -> None:
        base.builder.store(value.resized(bits).value, _element(base, index, bits), align=1)

    return instructions(store)


load_u8, load_u16, load_u32 = (_loader(bits, signed=False) for bits in (8, 16, 32))
load_i16, load_i32, load_i64 = (_loader(bits, signed=True) for bits in (16, 32, 64))
store_8, store_16, store_32, store_64 = (_storer(bits) for bits in (8, 16, 32, 64))
"""Elements of memory as 64-bit integers: ``load_u16(base, index)``, ``store_16(base, index, value)``."""


@instructions
def load_word(where: Value) -> Value:
    """Read 8 bytes at an address as a big-endian integer."""
    return where.load(64).bytes_reversed()


@instructions
def store_word(where: Value, word: Value) -> None:
    """Write 8 bytes at an address as a big-endian integer."""
    word.bytes_reversed().store(where)


@instructions
def load_bits(base: Value, position: Value) -> Value:
    """Read 57 bits or more from a bit position on, the first one lowest; up to 8 bytes after its own are read."""
    return (base + position.shifted_down(3)).load(64).shifted_down(position & 7)


@instructions
def shift_up(value: Value, count: Value) -> Value:
    """Shift left by 0 to 63, without numba's handling of larger counts."""
    return value << (count & 63)


@instructions
def shift_down(value: Value, count: Value) -> Value:
    """Shift right by 0 to 63, filling with zeros."""
    return value.shifted_down(count & 63)


@instructions
def shift_signed(value: Value, count: Value) -> Value:
    """Shift right by 0 to 63, filling with copies of the sign."""
    return value >> (count & 63)


@instructions
def leading_zeros(value: Value) -> Value:
    """Count zero bits from the top: 64 for 0."""
    return value.leading_zeros()


@instructions
def trailing_zeros(value: Value) -> Value:
    """Count zero bits from the bottom: 64 for 0."""
    return value.trailing_zeros()


@instructions
def signed_from(value: Value, bits: Value) -> Value:
    """Read the lowest ``bits`` bits, 1 to 64, as a signed integer."""
    return value.signed_from(bits)


@instructions
def rarely(value: Value) -> Value:
    """Return a value that is nearly always 0: LLVM then branches where it would compute both ways and select."""
    return value.mostly(0)


@instructions
def has_byte_ff(word: Value) -> Value:
    """Tell (as non-zero) whether one of eight bytes is 0xFF."""
    inverted = ~word
    return (inverted - 0x0101010101010101) & word & -0x7F7F7F7F7F7F7F80


@instructions
def choose(condition: Value, true: Value, false: Value) -> Value:
    """Select without a branch."""
    return condition.differs(0).choose(true, false)


@intrinsic
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy ``count`` bytes between two addresses that do not overlap."""
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        to, from_, size = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(values, signature.args, strict=True)
        )
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(to, byte), builder.inttoptr(from_, byte), size, 1)
        return context.get_dummy_value()

    return types.void(target, source, count), emit


@intrinsic
def clear_bytes(typing_context: Any, target: Any, count: Any) -> Any:
    """Clear ``count`` bytes at an address."""
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        to, size = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(values, signature.args, strict=True)
        )
        cgutils.memset(builder, builder.inttoptr(to, ir.IntType(8).as_pointer()), size, 0)
        return context.get_dummy_value()

    return types.void(target, count), emit
