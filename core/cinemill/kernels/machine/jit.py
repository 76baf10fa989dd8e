"""The decorators that every kernel uses: it is compiled when it is first called, into a cache.

What was compiled is called without numba, which is not even imported, on Linux on x86-64; elsewhere, and where a kernel needs
more of numba than `library` provides, numba calls it.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from cinemill.kernels.machine import processor
from cinemill.kernels.machine.cache import module_directories, module_directory
from cinemill.kernels.machine.library import Call, callable_without_compiler, load, save
from cinemill.kernels.machine.sources import KERNELS, imports, sources_hash
from cinemill.kernels.machine.sources import imported_kernels as imported_kernels  # noqa: PLC0414  # known here
from cinemill.kernels.machine.types import Signature, parsed
from cinemill.locks import hold

Function = TypeVar("Function", bound=Callable[..., Any])

on_compile: list[Callable[[str], None]] = []
"""Called with a kernel's name before it is compiled, which takes seconds, but not when it comes from the cache."""

kernels: dict[str, Kernel] = {}
"""All kernels that have been imported."""

_PACKAGE = "cinemill.kernels"
_compiling = threading.RLock()


class Count:
    """How many kernels this process has begun to compile, and how many they will be; 0 while it compiles nothing."""

    begun = 0
    expected = 0


def jit(signature: Any, **options: Any) -> Callable[[Function], Function]:
    """Make a module-level function a kernel: compiled for the given signatures, without the GIL, once on this machine."""

    def decorate(function: Function) -> Function:
        made: Any = Kernel(function, signature if isinstance(signature, list) else [signature], options)
        kernels[made.name] = made
        return made

    return decorate


def inlined(function: Function) -> Function:
    """Make a function part of each kernel that calls it; it is compiled with them, not by itself.

    Not `register_jitable`: specialised for a literal argument, a function was compiled without its stores (numba 0.68).
    """
    made: Any = Inlined(function)
    return made


class _Compiled:
    """A function that numba finds in the modules of those it compiles, but not before."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = self.__wrapped__ = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.folder = function.__module__.rpartition(".")[0]
        self.where = function.__module__, Path(function.__code__.co_filename)
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__
        self.__module__, self.__doc__ = function.__module__, function.__doc__

    def __deepcopy__(self, _: dict[int, Any]) -> _Compiled:
        return self

    @property
    def _numba_type_(self) -> Any:
        return self.part._numba_type_

    @cached_property
    def part(self) -> Any:
        """What numba calls this function by. Kernels that it calls come first: their options are not its own."""
        for other in self.parts:
            other.part  # noqa: B018
        return self._part()

    def _part(self) -> Any:
        raise NotImplementedError

    @cached_property
    def parts(self) -> list[_Compiled]:
        """The kernels and inlined functions that this one calls."""
        names, left = set[str](), [self.py_func.__code__]
        while left:
            code = left.pop()
            names.update(code.co_names)
            left += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        found = [self.py_func.__globals__.get(name) for name in sorted(names)]
        for cell in self.py_func.__closure__ or ():
            with suppress(ValueError):  # it is filled later
                found.append(cell.cell_contents)
        return [other for other in found if isinstance(other, _Compiled) and other is not self]


class Inlined(_Compiled):
    """A function that is part of kernels; see `inlined`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.targetoptions = {"forceinline": True, "error_model": "numpy"}

    @cached_property
    def _alone(self) -> Any:
        import numba

        return numba.njit(nogil=True, **self.targetoptions)(self.py_func)

    def _part(self) -> Any:
        if not without_numba():
            return self._alone
        from cinemill.kernels.machine import compiler

        return compiler.part(self.py_func, None, self.targetoptions)

    def __call__(self, *arguments: Any) -> Any:
        """Have numba compile the function by itself, and call it."""
        return self._alone(*arguments)


class Kernel(_Compiled):
    """A function that is called in compiled form; see `jit`."""

    def __init__(self, function: Callable[..., Any], signatures: list[Any], options: dict[str, Any]) -> None:
        super().__init__(function)
        self.signatures = [parsed(signature) for signature in signatures]
        self.targetoptions = options
        self._called: Call = self._first_called

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function; arguments of other types than the kernel's are a TypeError."""
        return self._called(*arguments)

    def _first_called(self, *arguments: Any) -> Any:
        found = self._loaded()
        if not found:
            if self.folder != _PACKAGE:  # what needs one kernel there needs few of the others
                compile_waiting(self.folder)
            found = self._made()
        self._called = found
        return found(*arguments)

    def prepare(self) -> None:
        """Compile the kernel if that has never been done."""
        self._called = self._loaded() or self._made()

    @property
    def _portable(self) -> bool:
        return without_numba() and all(callable_without_compiler(each) for each in self.signatures)

    def _loaded(self) -> Call | None:
        if not self._portable:
            return None
        files = (place / f"{self.__qualname__}.code" for place in module_directories(*self.where))
        return next(filter(None, (load(file, self._made_of, self.signatures) for file in files)), None)

    @cached_property
    def _made_of(self) -> str:
        return f"{self.name} {sources_hash(self.where[1])}"

    def _made(self) -> Call:
        directory = module_directory(*self.where)
        directory.mkdir(exist_ok=True)
        place = directory / self.__qualname__
        with _locked(place.with_name(f"{self.__qualname__}.lock")):
            if found := self._loaded():
                return found
            by_numba = place.with_name(f"{self.__qualname__}.numba")
            if not self.is_made():
                Count.begun += 1
                for announce in on_compile:
                    announce(self.name)
            if self._portable and not by_numba.exists():
                found = self._compiled(place.with_name(f"{self.__qualname__}.code"))
            if not found:
                by_numba.touch()
                found = self._dispatcher
            self._note_ready()
            return found

    def is_made(self) -> bool:
        """Whether the kernel has been compiled by itself, not only as a part of others."""
        return _is_marked(*self.where, self.__qualname__, "ready")

    def _compiled(self, path: Path) -> Call | None:
        from cinemill.kernels.machine import compiler

        try:
            save(path, self._made_of, compiler.image(lambda: self.part, self.name))
        except Exception:  # noqa: BLE001  # numba's own way either works, or says what is wrong with the kernel
            return None
        return load(path, self._made_of, self.signatures)

    def _note_ready(self) -> None:
        """Note that this kernel is compiled, and with it those that are its parts."""
        left: list[_Compiled] = [self]
        seen = set[str]()
        while left:
            one = left.pop()
            if one.name in seen:
                continue
            seen.add(one.name)
            left += one.parts
            if isinstance(one, Kernel):
                directory = module_directory(*one.where)
                directory.mkdir(exist_ok=True)
                (directory / f"{one.__qualname__}.{'ready' if one is self else 'part'}").touch()

    def _part(self) -> Any:
        if not without_numba():
            return self._dispatcher
        from cinemill.kernels.machine import compiler

        return compiler.part(self.py_func, self._numba_signatures, self.targetoptions)

    @cached_property
    def _dispatcher(self) -> Any:
        from cinemill.kernels.machine.numba_cache import dispatcher

        for other in self.parts:
            other.part  # noqa: B018
        return dispatcher(self.py_func, self._numba_signatures, self.targetoptions)

    @property
    def _numba_signatures(self) -> list[Any]:
        return [each.numba() if isinstance(each, Signature) else each for each in self.signatures]


def waiting(folder: str = "") -> list[Kernel]:
    """Return the imported kernels, of one folder or all, that are to be compiled: those that are not only parts of others."""
    imported = dict(kernels)  # another thread may be importing more
    parts = {other.name for kernel in imported.values() for other in _all_parts(kernel)}
    called, later = _names_imported()
    return [
        kernel
        for name, kernel in imported.items()
        if folder in ("", kernel.folder)
        and (name in called or name not in parts | later)
        and not kernel.is_made()
    ]


def _names_imported() -> tuple[set[str], set[str]]:
    """Find which kernels other modules than theirs import, to call them, and which are parts of kernels not imported yet."""
    called, later = set[str](), set[str]()
    for source in KERNELS.parent.rglob("*.py"):
        name = ".".join(source.relative_to(KERNELS.parents[1]).with_suffix("").parts)
        module, within = sys.modules.get(name), source.is_relative_to(KERNELS)
        if within and module is not None and not getattr(module.__spec__, "_initializing", False):
            continue
        for place, names in imports(source):
            found = re.findall(r"\w+", names.decode())
            (later if within else called).update(f"{_PACKAGE}{place.decode()}.{each}" for each in found)
    return called, later


def compile_waiting(folder: str = "") -> None:
    """Compile the imported kernels of a folder that have never been: what needs one of them will need the others."""
    with _compiling:
        wanted = waiting(folder)
        Count.expected = Count.begun + len(wanted)
        try:
            for kernel in wanted:
                kernel.prepare()
        finally:
            Count.expected = 0


def _all_parts(one: _Compiled) -> Iterator[_Compiled]:
    for other in one.parts:
        yield other
        yield from _all_parts(other)


def without_numba() -> bool:
    """Whether kernels can be called without numba here: on Linux on x86-64, for the processor that this is."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and not processor.chosen()


def is_compiled(kernel: str) -> bool:
    """Whether a kernel of that name needs no compiler, without importing it, so that it is not among those that wait for one."""
    module, _, name = kernel.rpartition(".")
    return _is_marked(
        module, KERNELS.parents[1].joinpath(*module.split(".")).with_suffix(".py"), name, "ready"
    )


def is_ready(module: str, source: Path, name: str) -> bool:
    """Whether a kernel has been compiled, be it as a part of others."""
    return _is_marked(module, source, name, "ready", "part")


def _is_marked(module: str, source: Path, name: str, *marks: str) -> bool:
    places = module_directories(module, source)
    return any((place / f"{name}.{mark}").exists() for place in places for mark in marks)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time compile a kernel; the others then find it in the cache."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        hold(file)
        yield
