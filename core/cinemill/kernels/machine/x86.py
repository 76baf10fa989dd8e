"""Instructions of x86-64 processors with AVX2 and BMI2 that the JPEG 2000 kernels rest on."""

from __future__ import annotations

from typing import Any

from cinemill.kernels.machine import processor
from cinemill.kernels.machine.deferred import cgutils, ir
from cinemill.kernels.machine.instructions import Value, instructions

_NEEDED = frozenset({"avx2", "bmi2", "popcnt"})


def available() -> bool:
    """Whether kernels are compiled for a processor that has these instructions, and is fast at them."""
    here = processor.this()
    # AMD's before Zen 3 take hundreds of cycles for one PEXT or PDEP.
    slow = here.vendor == "AuthenticAMD" and int(here.family or 0) < 25
    return (
        here.architecture in ("x86_64", "AMD64")
        and here.flags >= _NEEDED
        and not slow
        and not processor.chosen()
    )


REGISTER = 64 if processor.has("avx512bw") else 32
"""Bytes of a vector register."""


def _call(name: str, result: Any, *operands: Value) -> Value:
    builder = operands[0].builder
    signature = ir.FunctionType(result, [operand.value.type for operand in operands])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return Value(builder, builder.call(function, [operand.value for operand in operands]))


def constant(like: Value, lanes: list[int]) -> Value:
    """Return a vector of constants, of the type of another one."""
    mask = (1 << like.bits) - 1
    return Value(like.builder, ir.Constant(like.value.type, [lane & mask for lane in lanes]))


def shuffled_bytes(table: Value, keys: Value) -> Value:
    """Pick bytes of each 128 bits of a table by the low 4 bits of the keys; 0 where a key is 128 or more (VPSHUFB)."""
    name = "avx2.pshuf.b" if keys.lanes == 32 else "avx512.pshuf.b.512"
    return _call(f"llvm.x86.{name}", table.value.type, table, keys)


def packed_bytes(low: Value, high: Value) -> Value:
    """Undo `Value.interleaved` of 32 or 64 bytes, for numbers that fit a signed one (VPACKSSWB)."""
    if low.lanes == 16:
        return _call("llvm.x86.avx2.packsswb", ir.VectorType(ir.IntType(8), 32), low, high)
    if processor.has("avx512bw"):
        return _call("llvm.x86.avx512.packsswb.512", ir.VectorType(ir.IntType(8), 64), low, high)
    first, second = (
        _call(
            "llvm.x86.avx2.packsswb",
            ir.VectorType(ir.IntType(8), 32),
            low.shuffled(range(at, at + 16)),
            high.shuffled(range(at, at + 16)),
        )
        for at in (0, 16)
    )
    return first.shuffled(range(64), second)


def packed_words(low: Value, high: Value) -> Value:
    """Cut 8 and 8 integers of 32 bits to 16, those of each 128 bits side by side; they saturate (VPACKSSDW)."""
    return _call("llvm.x86.avx2.packssdw", ir.VectorType(ir.IntType(16), 16), low, high)


def summed_products(pairs: Value, factor: int, other: int) -> Value:
    """Multiply 8 pairs of signed 16-bit integers by two factors, and add each pair's products in 32 bits (VPMADDWD)."""
    factors = constant(pairs, [factor, other] * 8)
    return _call("llvm.x86.avx2.pmadd.wd", ir.VectorType(ir.IntType(32), 8), pairs, factors)


def added_saturating(left: Value, right: Value) -> Value:
    """Add unsigned bytes, 255 at most (VPADDUSB)."""
    return _call(f"llvm.uadd.sat.v{left.lanes}i8", left.value.type, left, right)


def subtracted_saturating(left: Value, right: Value | int) -> Value:
    """Subtract unsigned integers of 8 or 16 bits, 0 at least (VPSUBUSB, VPSUBUSW)."""
    return _call(f"llvm.usub.sat.v{left.lanes}i{left.bits}", left.value.type, left, left.like(right))


def entries(table: Value, index: Value) -> Value:
    """Look up as many entries, as wide as the indices, as a register of 32 bytes has (VPGATHERDD, VPGATHERQQ)."""
    builder, kind = table.builder, index.value.type
    byte = ir.IntType(8).as_pointer()
    letter = {32: "d", 64: "q"}[index.bits]
    signature = ir.FunctionType(kind, [kind, byte, kind, kind, ir.IntType(8)])
    name = f"llvm.x86.avx2.gather.{letter}.{letter}.256"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    nothing, every = constant(index, [0] * index.lanes).value, constant(index, [-1] * index.lanes).value
    operands = [
        nothing,
        builder.inttoptr(table.value, byte),
        index.value,
        every,
        ir.IntType(8)(index.bits // 8),
    ]
    return Value(builder, builder.call(function, operands))


def any_bits(words: Value) -> Value:
    """Combine all lanes of a vector by OR, in 64 bits."""
    name = f"llvm.vector.reduce.or.v{words.lanes}i{words.bits}"
    return _call(name, ir.IntType(words.bits), words).resized(64)


def mask_of(bits: Value, lanes: int) -> Value:
    """Turn the lowest bits of an integer into a mask of lanes."""
    if lanes < 64 or processor.has("avx512bw"):
        return bits.resized(lanes).recast(1, lanes)
    # AVX2 has no masks of bits, and LLVM would take 64 of them apart one by one.
    eighths = ir.Constant(ir.VectorType(ir.IntType(64), 8), ir.Undefined)
    every = Value(bits.builder, eighths).like(bits).recast(8, 64).shuffled([lane // 8 for lane in range(64)])
    own = constant(every, [1 << lane % 8 for lane in range(64)])
    return (every & own).equals(own)


def high_product(left: Value, right: Value) -> Value:
    """Multiply unsigned 16-bit integers, and keep the upper 16 bits (VPMULHUW)."""
    return (left.resized(32) * right.resized(32)).shifted_down(16).resized(16)


def looked_up_16(keys: Value, table: list[int]) -> Value:
    """Pick bytes of a table of 16 by keys of 0 to 15, or 0 by negative ones."""
    return shuffled_bytes(constant(keys, table * (keys.lanes // 16)), keys)


def looked_up(keys: Value, table: list[int]) -> Value:
    """Pick bytes of a table of up to 48 by the low 6 bits of 32 or 64 keys; bit 6 must be clear."""
    if keys.lanes == 32:
        return _looked_up_32(keys, table)
    if processor.has("avx512vbmi"):
        padded = constant(keys, table + [0] * (64 - len(table)))
        return _call("llvm.x86.avx512.permvar.qi.512", keys.value.type, padded, keys)
    halves = [_looked_up_32(keys.shuffled(range(first, first + 32)), table) for first in (0, 32)]
    return halves[0].shuffled(range(64), halves[1])


def _looked_up_32(keys: Value, table: list[int]) -> Value:
    padded = table + [0] * (48 - len(table))
    index = keys & 0x3F
    first, second, third = (
        shuffled_bytes(
            constant(keys, padded[at : at + 16] * 2), added_saturating(index ^ at, index.like(0x70))
        )
        for at in (0, 16, 32)
    )
    return first | second | third


def bits_deposited(word: Value, mask: Value) -> Value:
    """Spread the bits of ``word``, from bit 0 on, to where ``mask`` is set (PDEP)."""
    return _call("llvm.x86.bmi.pdep.64", ir.IntType(64), word, mask)


def ones_counted(word: Value) -> Value:
    """Count bits that are set (POPCNT)."""
    return _call("llvm.ctpop.i64", ir.IntType(64), word)


@instructions
def extract_bits(word: Value, mask: Value) -> Value:
    """Pack the bits of ``word`` that ``mask`` selects, from bit 0 on (PEXT)."""
    return _call("llvm.x86.bmi.pext.64", ir.IntType(64), word, mask)


@instructions
def deposit_bits(word: Value, mask: Value) -> Value:
    """Spread the bits of ``word``, from bit 0 on, to where ``mask`` is set (PDEP)."""
    return bits_deposited(word, mask)


@instructions
def move_bits(word: Value, chosen: Value, slots: Value) -> Value:
    """Move the chosen bits of ``word`` into slots, one each."""
    packed = _call("llvm.x86.bmi.pext.64", ir.IntType(64), word, chosen)
    return _call("llvm.x86.bmi.pdep.64", ir.IntType(64), packed, slots)


@instructions
def count_ones(word: Value) -> Value:
    """Count bits that are set (POPCNT)."""
    return _call("llvm.ctpop.i64", ir.IntType(64), word)
