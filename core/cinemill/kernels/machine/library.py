"""Compiled kernels in files, and how they are called without the compiler: by ctypes, with the GIL released.

A file has a digest of all that follows, a line that says what it holds, and an image (`cinemill.kernels.machine.link`). It is
written whole or not at all, and what a power cut damaged is no kernel.

A compiled kernel has one function for each of its signatures. It takes the address of its arguments, 8 bytes each:
numbers as they are, arrays as their address and shape, tuples part by part; and the address of what it returns. Its own
result is 0, or says that there is an exception.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from cinemill.kernels.machine.link import Image
from cinemill.kernels.machine.types import Array, Nothing, Number, Signature, Tuple, Type

Call = Callable[..., Any]

CALLS = frozenset({"memcpy", "memset", "memmove", "memcmp", "bcmp", "malloc", "free"})
"""What kernels may call, all of it in the C library."""

_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE_ANONYMOUS = 0x22
_OK, _NONE = 0, -2
_DIGEST = 64


def save(path: Path, name: str, image: Image) -> None:
    """Write a file that `load` reads.

    Parameters
    ----------
    path
        Where; it appears whole.
    name
        What the kernel was made of; only who asks for exactly this gets it.
    image
        The kernel.
    """
    about = {"name": name, "entries": list(image.entries.values()), "slots": image.slots}
    body = json.dumps(about | {"addresses": image.addresses}).encode() + b"\n" + image.code
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(_digest(body) + body)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def load(path: Path, name: str, signatures: Sequence[Signature]) -> Call | None:
    """Return a kernel from its file; None where there is none, or not this one, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, body = data[:_DIGEST], data[_DIGEST:]
    if _digest(body) != digest:
        return None
    text, _, code = body.partition(b"\n")
    about = json.loads(text)
    if about["name"] != name or len(about["entries"]) != len(signatures):
        return None
    start = _placed(code, about["slots"], about["addresses"])
    calls = [
        _call(start + entry, signature, name)
        for entry, signature in zip(about["entries"], signatures, strict=True)
    ]
    return calls[0] if len(calls) == 1 else _first_that_fits(calls)


def _digest(body: bytes) -> bytes:
    return f"xxh3-128:{xxhash.xxh3_128_hexdigest(body)}".ljust(_DIGEST).encode()


@cache
def _c() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long
    library.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return library


def _placed(code: bytes, slots: dict[str, int], addresses: list[int]) -> int:
    """Put an image into memory that stays to the end of the process, writable first and executable then."""
    c = _c()
    start = c.mmap(None, len(code), _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if start in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    ctypes.memmove(start, code, len(code))
    for name, slot in slots.items():
        target = ctypes.cast(getattr(c, name), ctypes.c_void_p).value
        ctypes.c_uint64.from_address(start + slot).value = target or 0
    for place in addresses:
        ctypes.c_uint64.from_address(start + place).value += start
    if c.mprotect(start, len(code), _READ | _EXECUTE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(start)


def callable_without_compiler(signature: Any) -> bool:
    """Whether a kernel of this signature can be called here: it takes and returns numbers, C arrays and tuples."""
    if not isinstance(signature, Signature):
        return False
    result = signature.result
    parts = result.parts if isinstance(result, Tuple) else (result,)
    return all(isinstance(part, Number | Nothing) for part in parts) and all(
        _passable(argument) for argument in signature.arguments
    )


def _passable(argument: Type) -> bool:
    if isinstance(argument, Tuple):
        return all(_passable(part) for part in argument.parts)
    return isinstance(argument, Number) or (isinstance(argument, Array) and argument.layout == "C")


def _call(address: int, signature: Signature, name: str) -> Call:
    """Make a Python callable of a compiled function; it keeps no state, and arrays live as long as the caller has them."""
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)(address)
    flatteners = [_flattener(argument) for argument in signature.arguments]
    pack = struct.Struct("".join(_format(argument) for argument in signature.arguments)).pack
    result = signature.result
    unpack = struct.Struct(_format(result)).unpack
    room = ctypes.c_char * max(struct.calcsize(_format(result)), 8)
    whole = (result.named or tuple) if isinstance(result, Tuple) else None

    def call(*values: Any) -> Any:
        if len(values) != len(flatteners):
            raise TypeError(f"{name} takes {len(flatteners)} arguments, not {len(values)}")
        flat: list[Any] = []
        try:
            for flatten, value in zip(flatteners, values, strict=True):
                flatten(value, flat)
            packed = pack(*flat)
        except (TypeError, struct.error) as error:
            raise TypeError(f"{name}: {error}") from None
        returned = room()
        status = function(packed, ctypes.addressof(returned))
        if status not in (_OK, _NONE):
            raise _exception(status, returned.raw, name)
        if whole:
            return whole(unpack(returned.raw)) if whole is tuple else whole(*unpack(returned.raw))
        return unpack(returned.raw)[0] if returns else None

    returns = not isinstance(result, Nothing)
    return call


def _first_that_fits(calls: Sequence[Call]) -> Call:
    """Make a callable of those for several signatures, which their arrays tell apart."""

    def call(*values: Any) -> Any:
        for one in calls[:-1]:
            try:
                return one(*values)
            except TypeError:
                continue
        return calls[-1](*values)

    return call


def _format(part: Type) -> str:
    if isinstance(part, Tuple):
        return "".join(_format(each) for each in part.parts)
    if isinstance(part, Array):
        return "q" * (1 + part.ndim)
    if isinstance(part, Number):
        return {"boolean": "?7x", "uint64": "Q", "float32": "d", "float64": "d"}.get(part.name, "q")
    return ""


def _flattener(argument: Type) -> Callable[[Any, list[Any]], None]:
    """Make what appends the numbers of an argument to a list, or says that it is no such argument."""
    if isinstance(argument, Array):
        return _array_flattener(argument)
    if not isinstance(argument, Tuple):
        return lambda value, flat: flat.append(value)
    kind, parts = argument.named or tuple, [_flattener(part) for part in argument.parts]

    def flatten(value: Any, flat: list[Any]) -> None:
        if not isinstance(value, kind) or len(value) != len(parts):
            raise TypeError(f"expected {kind.__name__} of {len(parts)}, found {type(value).__name__}")
        for part, each in zip(parts, value, strict=True):
            part(each, flat)

    return flatten


def _array_flattener(argument: Array) -> Callable[[Any, list[Any]], None]:
    dtype, ndim, readonly = (
        np.dtype(argument.dtype.name.replace("boolean", "bool")),
        argument.ndim,
        argument.readonly,
    )

    def flatten(value: Any, flat: list[Any]) -> None:
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != ndim:
            raise TypeError(f"expected an array of {dtype} with {ndim} dimensions, found {_shown(value)}")
        flags = value.flags
        if not (flags.c_contiguous and flags.aligned if readonly else flags.carray):
            what = "contiguous" if readonly else "contiguous and writable"
            raise TypeError(f"expected an array that is {what}, found {_shown(value)}")
        flat.append(address(value))
        flat += value.shape

    address = _address_of()
    return flatten


def _described_address(array: Any) -> int:
    data: tuple[int, bool] = array.__array_interface__["data"]
    return data[0]


@cache
def _address_of() -> Callable[[Any], int]:
    """Return what tells where an array's data are: its first field behind the object's head, in every numpy there was.

    To have numpy describe the array would take longer than all else of a call. It is asked whether this holds here.
    """
    field, read = object.__basicsize__, ctypes.c_void_p.from_address

    def address(array: Any) -> int:
        return read(id(array) + field).value or 0

    tried = np.zeros(3, np.uint8), np.zeros((2, 5), np.int64)[1:], np.zeros((4, 4), np.uint16)[:, 1:]
    holds = sys.implementation.name == "cpython" and all(
        address(each) == _described_address(each) for each in tried
    )
    return address if holds else _described_address


def _shown(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"one of {value.dtype}, shape {value.shape}, strides {value.strides}, writable {value.flags.writeable}"


def _exception(status: int, returned: bytes, name: str) -> BaseException:
    """Make the exception that a kernel raised; it lies among its constants, as numba keeps it: pickled."""
    if status < 0:
        return RuntimeError(f"{name}: status {status}")
    import pickle

    (where,) = struct.unpack_from("<Q", returned)
    pickled, size = struct.unpack("<Qi", ctypes.string_at(where, 12))
    kind, arguments, _ = pickle.loads(ctypes.string_at(pickled, size))  # noqa: S301  # a constant of our own
    return kind(*(arguments or ()))
