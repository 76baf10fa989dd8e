"""What kernels take and return, in numba's words but without numba, which is told when it compiles one."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any


class Type:
    """A type of values; called with those of a kernel's arguments, it makes the signature of one that returns it."""

    def __call__(self, *arguments: Type) -> Signature:
        """Return the signature of a kernel that takes such arguments and returns this type."""
        return Signature(self, arguments)

    def numba(self) -> Any:
        """Return numba's type."""
        raise NotImplementedError


class Number(Type):
    """A number; indexed with as many slices as dimensions, the last of them ``::1``, it makes a contiguous array's type."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, slices: slice | tuple[slice, ...]) -> Array:
        every = slices if isinstance(slices, tuple) else (slices,)
        return Array(self, len(every), "C" if every[-1].step == 1 else "A")

    def numba(self) -> Any:
        """Return numba's type."""
        from numba import types

        return getattr(types, self.name)


class Array(Type):
    """An array: its numbers, its dimensions, "C" if it is contiguous, and whether the kernel only reads it."""

    def __init__(self, dtype: Number, ndim: int, layout: str, *, readonly: bool = False) -> None:
        self.dtype, self.ndim, self.layout, self.readonly = dtype, ndim, layout, readonly

    def numba(self) -> Any:
        """Return numba's type."""
        from numba import types

        return types.Array(self.dtype.numba(), self.ndim, self.layout, readonly=self.readonly)


class Tuple(Type):
    """A tuple, or a named one."""

    def __init__(self, parts: tuple[Type, ...], named: type[tuple[Any, ...]] | None = None) -> None:
        self.parts, self.named = parts, named

    def numba(self) -> Any:
        """Return numba's type."""
        from numba import types

        return types.BaseTuple.from_types([part.numba() for part in self.parts], self.named)


class Nothing(Type):
    """What a kernel returns that only writes to its arrays."""

    def numba(self) -> Any:
        """Return numba's type."""
        from numba import types

        return types.void


class Signature(typing.NamedTuple):
    """A kernel's types."""

    result: Type
    arguments: tuple[Type, ...]

    def numba(self) -> Any:
        """Return numba's signature."""
        return self.result.numba()(*(argument.numba() for argument in self.arguments))


int8, int16, int32, int64 = (Number(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (Number(f"uint{bits}") for bits in (8, 16, 32, 64))
float32, float64, boolean = Number("float32"), Number("float64"), Number("boolean")
void = Nothing()


def UniTuple(part: Type, count: int) -> Tuple:  # noqa: N802  # as in numba
    """Make the type of a tuple of equal parts."""
    return Tuple((part,) * count)


def NamedTuple(parts: Sequence[Type], named: type[tuple[Any, ...]]) -> Tuple:  # noqa: N802
    """Make the type of a named tuple."""
    return Tuple(tuple(parts), named)


def NamedUniTuple(part: Type, count: int, named: type[tuple[Any, ...]]) -> Tuple:  # noqa: N802
    """Make the type of a named tuple of equal parts."""
    return Tuple((part,) * count, named)


def parsed(signature: Any) -> Any:
    """Read a signature that was written as text; anything else is returned as it is."""
    return eval(signature, dict(globals())) if isinstance(signature, str) else signature  # noqa: S307
