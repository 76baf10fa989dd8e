"""Instructions of x86-64 processors with AVX2 and BMI2 that the JPEG 2000 kernels rest on."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils

from cinemill.kernels.bits import Value, instructions

_NEEDED = "avx2", "bmi2", "popcnt"
_SLOW = "bdver4", "znver1", "znver2"
"""Processors that have PEXT and PDEP, but take hundreds of cycles for one."""


def available() -> bool:
    """Whether numba compiles for a processor that has these instructions, and is fast at them."""
    if numba.config.CPU_NAME not in (None, "", "host") or numba.config.CPU_FEATURES is not None:
        return False
    features = llvm.get_host_cpu_features() if llvm.get_default_triple().startswith("x86_64") else {}
    return all(features.get(name, False) for name in _NEEDED) and llvm.get_host_cpu_name() not in _SLOW


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
    return _call("llvm.x86.avx2.pshuf.b", table.value.type, table, keys)


def packed_bytes(low: Value, high: Value) -> Value:
    """Undo `Value.interleaved` of bytes, for numbers that fit a signed one (VPACKSSWB)."""
    return _call("llvm.x86.avx2.packsswb", ir.VectorType(ir.IntType(8), 2 * low.lanes), low, high)


def added_saturating(left: Value, right: Value) -> Value:
    """Add unsigned bytes, 255 at most (VPADDUSB)."""
    return _call(f"llvm.uadd.sat.v{left.lanes}i8", left.value.type, left, right)


def any_bits(words: Value) -> Value:
    """Combine all lanes of a vector by OR, in 64 bits."""
    name = f"llvm.vector.reduce.or.v{words.lanes}i{words.bits}"
    return _call(name, ir.IntType(words.bits), words).resized(64)


def mask_of(bits: Value, lanes: int) -> Value:
    """Turn the lowest bits of an integer into a mask of lanes."""
    return bits.resized(lanes).recast(1, lanes)


@instructions
def extract_bits(word: Value, mask: Value) -> Value:
    """Pack the bits of ``word`` that ``mask`` selects, from bit 0 on (PEXT)."""
    return _call("llvm.x86.bmi.pext.64", ir.IntType(64), word, mask)


@instructions
def deposit_bits(word: Value, mask: Value) -> Value:
    """Spread the bits of ``word``, from bit 0 on, to where ``mask`` is set (PDEP)."""
    return _call("llvm.x86.bmi.pdep.64", ir.IntType(64), word, mask)


@instructions
def move_bits(word: Value, chosen: Value, slots: Value) -> Value:
    """Move the chosen bits of ``word`` into slots, one each."""
    packed = _call("llvm.x86.bmi.pext.64", ir.IntType(64), word, chosen)
    return _call("llvm.x86.bmi.pdep.64", ir.IntType(64), packed, slots)


@instructions
def count_ones(word: Value) -> Value:
    """Count bits that are set (POPCNT)."""
    return _call("llvm.ctpop.i64", ir.IntType(64), word)
