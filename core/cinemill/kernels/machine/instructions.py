"""SIMD lanes and single integers for kernels: the machine instructions that numba's Python has no words for.

`instructions` turns a Python function into an operation that kernels call like any other. The function sees each
argument as a `Value`, an LLVM integer or vector of integers, and its operators emit instructions, so that
vector code reads like the formula it computes. LLVM splits or joins vectors to fit the machine's registers.

Integers wrap around and nothing is checked: addresses are plain integers, and whoever computes one states why
it lies inside its buffer. Shift counts must be smaller than the width of the value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from cinemill.kernels.machine.deferred import Operation, cgutils, ir
from cinemill.kernels.machine.deferred import numba_types as types


class Value:
    """An LLVM integer or vector of integers under construction, signed unless a method says otherwise."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    @property
    def lanes(self) -> int:
        """Number of integers; 0 for a scalar."""
        return self.value.type.count if isinstance(self.value.type, ir.VectorType) else 0

    @property
    def bits(self) -> int:
        """Width of each integer."""
        return int((self.value.type.element if self.lanes else self.value.type).width)

    def like(self, other: Value | int) -> Value:
        """Return ``other`` with this value's type: integers become constants, scalars are cut and spread over the lanes."""
        if isinstance(other, int):
            other = Value(self.builder, ir.Constant(ir.IntType(self.bits), other & ((1 << self.bits) - 1)))
        if self.lanes and not other.lanes:
            one = other.resized(self.bits)
            empty = ir.Constant(ir.VectorType(one.value.type, self.lanes), ir.Undefined)
            first = Value(self.builder, self.builder.insert_element(empty, one.value, ir.IntType(32)(0)))
            return first.shuffled([0] * self.lanes)
        return other

    def _apply(self, name: str, other: Value | int) -> Value:
        return Value(self.builder, getattr(self.builder, name)(self.value, self.like(other).value))

    def _compare(self, relation: str, other: Value | int, *, signed: bool = True) -> Value:
        compare = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        return Value(self.builder, compare(relation, self.value, self.like(other).value))

    def _call(self, name: str, *arguments: Any) -> Value:
        kind = f"v{self.lanes}i{self.bits}" if self.lanes else f"i{self.bits}"
        operands = [self.value, *arguments]
        function_type = ir.FunctionType(self.value.type, [operand.type for operand in operands])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, f"llvm.{name}.{kind}")
        return Value(self.builder, self.builder.call(function, operands))

    def __add__(self, other: Value | int) -> Value:
        return self._apply("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._apply("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._apply("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self._apply("and_", other)

    def __or__(self, other: Value | int) -> Value:
        return self._apply("or_", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._apply("xor", other)

    def __lshift__(self, count: Value | int) -> Value:
        return self._apply("shl", count)

    def __rshift__(self, count: Value | int) -> Value:
        return self._apply("ashr", count)

    def __neg__(self) -> Value:
        return self.like(0) - self

    def __invert__(self) -> Value:
        return self ^ -1

    def __lt__(self, other: Value | int) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Value | int) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Value | int) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Value | int) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Value | int) -> Value:
        """Compare for equality, lane by lane."""
        return self._compare("==", other)

    def differs(self, other: Value | int) -> Value:
        """Compare for inequality, lane by lane."""
        return self._compare("!=", other)

    def at_least_unsigned(self, other: Value | int) -> Value:
        """Compare as unsigned integers."""
        return self._compare(">=", other, signed=False)

    def shifted_down(self, count: Value | int) -> Value:
        """Shift right, filling with zeros."""
        return self._apply("lshr", count)

    def choose(self, true: Value, false: Value | int) -> Value:
        """Select by this mask, without a branch."""
        return Value(self.builder, self.builder.select(self.value, true.value, true.like(false).value))

    def minimum(self, other: Value | int) -> Value:
        """Return the smaller of two signed integers."""
        return self._call("smin", self.like(other).value)

    def maximum(self, other: Value | int) -> Value:
        """Return the larger of two signed integers."""
        return self._call("smax", self.like(other).value)

    def minimum_unsigned(self, other: Value | int) -> Value:
        """Return the smaller of two unsigned integers."""
        return self._call("umin", self.like(other).value)

    def maximum_unsigned(self, other: Value | int) -> Value:
        """Return the larger of two unsigned integers."""
        return self._call("umax", self.like(other).value)

    def raised_by(self, other: Value | int) -> Value:
        """Add unsigned integers; the largest there is where the sum is larger."""
        return self._call("uadd.sat", self.like(other).value)

    def reduced_by(self, other: Value | int) -> Value:
        """Subtract an unsigned integer from another; 0 where it is larger."""
        return self._call("usub.sat", self.like(other).value)

    def clamped(self, low: Value | int, high: Value | int) -> Value:
        """Limit to a closed interval."""
        return self.minimum(high).maximum(low)

    def magnitude(self) -> Value:
        """Return the absolute value."""
        return self._call("abs", ir.IntType(1)(0))

    def leading_zeros(self) -> Value:
        """Count zero bits from the top; the width for 0."""
        return self._call("ctlz", ir.IntType(1)(0))

    def float_bits(self) -> Value:
        """Return the bits of a float of this value, for 32-bit integers from 0 to 2**24: the exponent, plus 127, above 23 bits.

        They grow as the value does. AVX2 has no instruction that counts zeros in a vector; counting them otherwise costs the
        lanes 4 to 8 % of their speed.
        """
        kind: Any = ir.FloatType()
        if self.lanes:
            kind = ir.VectorType(kind, self.lanes)
        return Value(
            self.builder, self.builder.bitcast(self.builder.sitofp(self.value, kind), self.value.type)
        )

    def floor_log2(self) -> Value:
        """Return the number of the highest bit set, for 32-bit integers from 1 to 2**24, plus 127."""
        return self.float_bits().shifted_down(23)

    def trailing_zeros(self) -> Value:
        """Count zero bits from the bottom; the width for 0."""
        return self._call("cttz", ir.IntType(1)(0))

    def bytes_reversed(self) -> Value:
        """Change the byte order."""
        return self._call("bswap")

    def mostly(self, expected: int) -> Value:
        """Return this value, of which LLVM is told what it is nearly always."""
        return self._call("expect", self.like(expected).value)

    def resized(self, bits: int) -> Value:
        """Cut to fewer bits, or fill up with zeros."""
        if bits == self.bits:
            return self
        target: Any = ir.IntType(bits)
        if self.lanes:
            target = ir.VectorType(target, self.lanes)
        return Value(
            self.builder, (self.builder.trunc if bits < self.bits else self.builder.zext)(self.value, target)
        )

    def extended(self, bits: int) -> Value:
        """Widen with copies of the sign bit."""
        target: Any = ir.IntType(bits)
        if self.lanes:
            target = ir.VectorType(target, self.lanes)
        return Value(self.builder, self.builder.sext(self.value, target))

    def signed_from(self, bits: Value | int) -> Value:
        """Read the lowest ``bits`` bits as a signed integer."""
        unused = self.like(self.bits) - bits
        return (self << unused) >> unused

    def least_unsigned(self) -> Value:
        """Return the smallest lane of all."""
        element = ir.IntType(self.bits)
        name = f"llvm.vector.reduce.umin.v{self.lanes}i{self.bits}"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(element, [self.value.type]), name
        )
        return Value(self.builder, self.builder.call(function, [self.value]))

    def packed(self) -> Value:
        """Collect a mask's lanes in the bits of one 64-bit integer, lane 0 lowest."""
        return Value(self.builder, self.builder.bitcast(self.value, ir.IntType(self.lanes))).resized(64)

    def recast(self, bits: int, lanes: int) -> Value:
        """View the same bytes as integers of another width."""
        return Value(self.builder, self.builder.bitcast(self.value, ir.VectorType(ir.IntType(bits), lanes)))

    def shuffled(self, order: Sequence[int], other: Value | None = None) -> Value:
        """Pick lanes by number; those of ``other`` count on from this value's."""
        second = self if other is None else other
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order))
        return Value(self.builder, self.builder.shuffle_vector(self.value, second.value, mask))

    def interleaved(self, other: Value) -> tuple[Value, Value]:
        """Interleave with another vector, one result from the low and one from the high halves of each 128 bits."""
        each = 128 // self.bits
        low = [
            lane
            for part in range(0, self.lanes, each)
            for number in range(part, part + each // 2)
            for lane in (number, self.lanes + number)
        ]
        return self.shuffled(low, other), self.shuffled([lane + each // 2 for lane in low], other)

    def lane(self, number: int) -> Value:
        """Take one lane out as a scalar."""
        return Value(self.builder, self.builder.extract_element(self.value, ir.IntType(32)(number)))

    def load(self, bits: int, lanes: int = 0) -> Value:
        """Read from this address, which needs no alignment."""
        kind: Any = ir.IntType(bits)
        if lanes:
            kind = ir.VectorType(kind, lanes)
        pointer = self.builder.inttoptr(self.value, kind.as_pointer())
        return Value(self.builder, self.builder.load(pointer, align=1))

    def store(self, address: Value) -> None:
        """Write to an address, which needs no alignment."""
        pointer = self.builder.inttoptr(address.value, self.value.type.as_pointer())
        self.builder.store(self.value, pointer, align=1)


def gathered(values: Sequence[Value]) -> Value:
    """Make a vector of scalars."""
    first = values[0]
    vector = ir.Constant(ir.VectorType(first.value.type, len(values)), ir.Undefined)
    for number, value in enumerate(values):
        vector = first.builder.insert_element(vector, value.value, ir.IntType(32)(number))
    return Value(first.builder, vector)


def _arguments(context: Any, builder: Any, values: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
    """Turn what a kernel passes into `Value` objects, named tuples of integers into named tuples of them."""
    return [
        kind.instance_class(*_arguments(context, builder, cgutils.unpack_tuple(builder, value), kind.types))
        if isinstance(kind, types.BaseNamedTuple)
        else Value(builder, context.cast(builder, value, kind, types.int64))
        for value, kind in zip(values, kinds, strict=True)
    ]


def instructions(function: Callable[..., Value | None]) -> Any:
    """Make an operation for kernels from a function over 64-bit `Value` arguments, or named tuples of them.

    The function returns one 64-bit integer `Value`, or None when ``-> None`` is what it declares.
    """
    return Operation(function, _typed)


def _typed(function: Callable[..., Value | None]) -> Any:
    """Make what `numba.extending.intrinsic` takes."""
    shape = inspect.signature(function)
    returns = types.void if shape.return_annotation == "None" else types.int64

    def typed(_: Any, *arguments: Any) -> tuple[Any, Callable[..., Any]]:
        def emit(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
            result = function(*_arguments(context, builder, values, signature.args))
            return context.get_dummy_value() if result is None else result.value

        return returns(*arguments), emit

    named = ["typing_context", *shape.parameters]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in named])
    typed.__dict__["__signature__"] = signature
    typed.__name__ = typed.__qualname__ = function.__name__
    typed.__module__ = function.__module__
    typed.__doc__ = function.__doc__
    return typed
