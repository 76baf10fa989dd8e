"""Vectors of LLVM IR with Python's operators, for loops that numba's scalar types don't express.

A function decorated with `vector_function` is run once, while numba compiles its caller: it is given 64-bit LLVM
integers (raw addresses, mostly) and emits instructions through `Code` and `Vector`. Nothing here checks bounds:
every address comes from `address` of an array whose size the caller has worked out, plus an offset within it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeAlias

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Operand: TypeAlias = "Vector | int | Sequence[int]"

_INT64 = ir.IntType(64)
_NEEDED = "avx2", "bmi2", "popcnt"


def available() -> bool:
    """Whether numba compiles for a processor with the instructions used here: x86-64 with AVX2 and BMI2."""
    if numba.config.CPU_NAME not in (None, "host") or numba.config.CPU_FEATURES is not None:
        return False
    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in _NEEDED)


class Vector:
    """A vector of ``lanes`` integers of ``bits`` each; masks are vectors of one-bit integers."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder = builder
        self.value = value

    @property
    def bits(self) -> int:
        """Bits of a lane."""
        return int(self.value.type.element.width)

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return int(self.value.type.count)

    def _operand(self, other: Operand) -> Any:
        if isinstance(other, Vector):
            return other.value
        lanes = [other] * self.lanes if isinstance(other, int) else other
        return ir.Constant(self.value.type, [lane & ((1 << self.bits) - 1) for lane in lanes])

    def _binary(self, operation: str, other: Operand) -> Vector:
        return Vector(self._builder, getattr(self._builder, operation)(self.value, self._operand(other)))

    def __and__(self, other: Operand) -> Vector:
        return self._binary("and_", other)

    def __or__(self, other: Operand) -> Vector:
        return self._binary("or_", other)

    def __xor__(self, other: Operand) -> Vector:
        return self._binary("xor", other)

    def __add__(self, other: Operand) -> Vector:
        return self._binary("add", other)

    def __sub__(self, other: Operand) -> Vector:
        return self._binary("sub", other)

    def __lshift__(self, other: Operand) -> Vector:
        return self._binary("shl", other)

    def __rshift__(self, other: Operand) -> Vector:
        """Shift zeros in."""
        return self._binary("lshr", other)

    def __invert__(self) -> Vector:
        return self ^ -1

    def equals(self, other: Operand) -> Vector:
        """Mask of the lanes that are equal."""
        return Vector(self._builder, self._builder.icmp_unsigned("==", self.value, self._operand(other)))

    def below(self, other: Operand) -> Vector:
        """Mask of the lanes that are less, compared as unsigned."""
        return Vector(self._builder, self._builder.icmp_unsigned("<", self.value, self._operand(other)))

    def top_bit(self) -> Vector:
        """Mask of the lanes whose most significant bit is set."""
        return Vector(self._builder, self._builder.icmp_signed("<", self.value, self._operand(0)))

    def choose(self, yes: Vector, no: Operand) -> Vector:
        """Lanes of ``yes`` where this mask is set, lanes of ``no`` elsewhere."""
        return Vector(self._builder, self._builder.select(self.value, yes.value, yes._operand(no)))  # noqa: SLF001

    def inverted(self) -> Vector:
        """Complement of this mask."""
        return Vector(self._builder, self._builder.not_(self.value))

    def extended(self, first: int, lanes: int) -> Vector:
        """Some neighbouring lanes, zero-extended to twice their width."""
        part = self.shuffle(self, range(first, first + lanes))
        return Vector(self._builder, self._builder.zext(part.value, _type(2 * self.bits, lanes)))

    def filled(self, bits: int) -> Vector:
        """Lanes of ``bits`` ones where this mask is set, zeros elsewhere."""
        return Vector(self._builder, self._builder.sext(self.value, _type(bits, self.lanes)))

    def as_lanes_of(self, bits: int) -> Vector:
        """Return the same bytes, cut into lanes of ``bits``."""
        return Vector(self._builder, self._builder.bitcast(self.value, _type(bits, self.lanes * self.bits // bits)))

    def as_integer(self) -> Any:
        """Return all bits as one integer: of a mask, a bit a lane."""
        return self._builder.bitcast(self.value, ir.IntType(self.lanes * self.bits))

    def shuffle(self, other: Vector, indices: Sequence[int]) -> Vector:
        """Gather lanes of this vector (indices from 0) and of ``other`` (indices from ``lanes``)."""
        pattern = ir.Constant(_type(32, len(indices)), list(indices))
        return Vector(self._builder, self._builder.shuffle_vector(self.value, other.value, pattern))


class Code:
    """Emits loads, stores and processor instructions into the function that numba compiles."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def load(self, base: Any, offset: int, bits: int, lanes: int) -> Vector:
        """Load from ``offset`` bytes after ``base``, of any alignment."""
        return Vector(self.builder, self.builder.load(self._pointer(base, offset, _type(bits, lanes)), align=1))

    def store(self, base: Any, offset: int, vector: Vector) -> None:
        """Store to ``offset`` bytes after ``base``, of any alignment."""
        self.builder.store(vector.value, self._pointer(base, offset, vector.value.type), align=1)

    def constant(self, bits: int, lanes: Sequence[int]) -> Vector:
        """Return a vector of constants."""
        values = [lane & ((1 << bits) - 1) for lane in lanes]
        return Vector(self.builder, ir.Constant(_type(bits, len(values)), values))

    def mask(self, bits: Any, lanes: int) -> Vector:
        """Return the lowest bits of an integer as a mask."""
        narrow = self.builder.trunc(bits, ir.IntType(lanes))
        return Vector(self.builder, self.builder.bitcast(narrow, _type(1, lanes)))

    def instruction(self, name: str, *operands: Vector) -> Vector:
        """Call an LLVM intrinsic whose result is of its first operand's shape, or half as wide for packs."""
        kind = operands[0].value.type
        result = _type(kind.element.width // 2, kind.count * 2) if ".pack" in name else kind
        return Vector(self.builder, self.call(name, result, *(operand.value for operand in operands)))

    def call(self, name: str, result: Any, *operands: Any) -> Any:
        """Call an LLVM intrinsic on LLVM values."""
        module = self.builder.module
        signature = ir.FunctionType(result, [operand.type for operand in operands])
        function = module.globals.get(name) or ir.Function(module, signature, name)
        return self.builder.call(function, operands)

    def _pointer(self, base: Any, offset: int, kind: Any) -> Any:
        return self.builder.inttoptr(self.builder.add(base, _INT64(offset)), kind.as_pointer())


def _type(bits: int, lanes: int) -> Any:
    return ir.VectorType(ir.IntType(bits), lanes)


def vector_function(body: Callable[..., Any]) -> Any:
    """Make ``body(code, *int64)`` callable from kernels; it returns an LLVM int64, or nothing."""

    def typed(_context: Any, *arguments: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            integers = [
                context.cast(builder, value, kind, types.int64)
                for value, kind in zip(values, signature.args, strict=True)
            ]
            result = body(Code(builder), *integers) or _INT64(0)
            return builder.zext(result, _INT64) if result.type.width < 64 else result

        return types.int64(*arguments), generate

    update_wrapper(typed, body)
    return intrinsic(typed)


@intrinsic
def address(_context: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    """Address of an array's first element; the array must outlive its use."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, _INT64)

    return types.int64(array), generate


@vector_function
def load_word(code: Code, base: Any) -> Any:
    """64 bits at an address."""
    return code.builder.load(code.builder.inttoptr(base, _INT64.as_pointer()), align=1)


@vector_function
def store_word(code: Code, base: Any, word: Any) -> None:
    """Store 64 bits at an address."""
    code.builder.store(word, code.builder.inttoptr(base, _INT64.as_pointer()), align=1)


@vector_function
def store_byte(code: Code, base: Any, byte: Any) -> None:
    """Store the lowest 8 bits at an address."""
    kind = ir.IntType(8)
    code.builder.store(code.builder.trunc(byte, kind), code.builder.inttoptr(base, kind.as_pointer()))


@vector_function
def extract_bits(code: Code, word: Any, mask: Any) -> Any:
    """Bits of ``word`` where ``mask`` is set, side by side from bit 0 (PEXT)."""
    return code.call("llvm.x86.bmi.pext.64", _INT64, word, mask)


@vector_function
def deposit_bits(code: Code, word: Any, mask: Any) -> Any:
    """Bits of ``word`` from bit 0 on, spread to where ``mask`` is set (PDEP)."""
    return code.call("llvm.x86.bmi.pdep.64", _INT64, word, mask)


@vector_function
def count_ones(code: Code, word: Any) -> Any:
    """Population count."""
    return code.builder.ctpop(word)


@vector_function
def trailing_zeros(code: Code, word: Any) -> Any:
    """Index of the lowest one; 64 if there is none."""
    return code.builder.cttz(word, ir.IntType(1)(0))


@vector_function
def leading_zeros(code: Code, word: Any) -> Any:
    """Zeros above the highest one; 64 if there is none."""
    return code.builder.ctlz(word, ir.IntType(1)(0))


@vector_function
def shift_left(code: Code, word: Any, count: Any) -> Any:
    """``word << count`` for counts from 0 to 63, without numba's test for larger ones."""
    return code.builder.shl(word, count)


@vector_function
def shift_right(code: Code, word: Any, count: Any) -> Any:
    """Shift zeros in, for counts from 0 to 63."""
    return code.builder.lshr(word, count)
