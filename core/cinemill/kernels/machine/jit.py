"""The one place where numba is configured: the decorators every kernel uses and the cache it compiles into.

Below CINEMILL_CACHE_DIR, or the user's cache directory, compiled kernels are in ``kernels/MACHINE/MODULE-SOURCES/``:
MACHINE names the versions of Python and numba and the processor, SOURCES is a hash of the module that a kernel is
in and of the kernel modules that it imports, itself or through others. A change makes a new directory, and no
other module's kernels are compiled for it. Old directories stay, for whoever still runs what they were made
of; all may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.runtime import rtsys

Function = TypeVar("Function", bound=Callable[..., Any])

on_compile: list[Callable[[str], None]] = []
"""Called with a kernel's name before it is compiled, which takes seconds, but not when it comes from the cache."""

if llvm.get_default_triple().startswith("x86_64"):
    # LLVM turns the coders' conditional moves into branches that noise mispredicts: half the speed.
    llvm.set_option("", "-x86-cmov-converter=false")


def jit(signature: Any, **options: Any) -> Callable[[Function], Function]:
    """Compile a module-level function for the given signatures, without the GIL, cached for the next process."""

    def decorate(function: Function) -> Function:
        directory = _module_directory(function)
        directory.mkdir(exist_ok=True)
        with _locked(directory / f"{function.__qualname__}.lock"):
            ready = directory / f"{function.__qualname__}.ready"
            if not ready.exists():
                for announce in on_compile:
                    announce(f"{function.__module__}.{function.__qualname__}")
            dispatcher: Any = numba.njit(nogil=True, **options)(function)
            dispatcher._cache = _KernelCache(function)  # noqa: SLF001  # as Dispatcher.enable_caching does
            for one in signature if isinstance(signature, list) else [signature]:
                dispatcher.compile(one)
            dispatcher.disable_compile()
            ready.touch()
        compiled: Function = dispatcher
        return compiled

    return decorate


class _Locator:
    """Tells numba that a kernel's files are in its module's directory, whose name says what they were made of."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.directory = _module_directory(function)
        self.line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], _: str) -> _Locator:
        return cls(function)

    def get_cache_path(self) -> str:
        return str(self.directory)

    def ensure_cache_path(self) -> None:
        self.directory.mkdir(exist_ok=True)

    def get_source_stamp(self) -> str:
        return self.directory.name

    def get_disambiguator(self) -> str:
        return str(self.line)


class _KernelCacheFiles(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Loads compiled kernels without preparing the compiler first, as numba does: a fifth of a warm start."""

    _impl_class = _KernelCacheFiles

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature, None where nothing was, or a power cut damaged it."""
        rtsys.initialize(target_context)
        try:
            return self._load_overload(signature, target_context)
        except Exception:  # noqa: BLE001  # whatever unpickling damaged bytes raises
            self.flush()
            return None


def inlined(function: Function) -> Function:
    """Make a function part of each kernel that calls it; it is compiled with them, not by itself.

    Not `register_jitable`: specialised for a literal argument, a function was compiled without its stores (numba 0.68).
    """
    compiled: Function = numba.njit(nogil=True, forceinline=True, error_model="numpy")(function)
    return compiled


@cache
def cache_directory() -> Path:
    """Return a writable directory for kernels compiled by this Python and numba on exactly this processor.

    A directory that is there but can't be written (a read-only image with warm kernels) is copied to a temporary one.
    """
    parent = Path(os.environ.get("CINEMILL_CACHE_DIR") or _user_cache()) / "kernels"
    wanted = parent / _machine()
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        private = Path(tempfile.mkdtemp(prefix="cinemill-kernels-"))
        if wanted.is_dir():
            shutil.copytree(wanted, private, dirs_exist_ok=True)
        return private


def _user_cache() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cinemill")


def _machine() -> str:
    features = hashlib.sha256(llvm.get_host_cpu_features().flatten().encode()).hexdigest()[:8]
    return f"{sys.implementation.cache_tag}-numba-{numba.__version__}-{llvm.get_host_cpu_name()}-{features}"


def _module_directory(function: Callable[..., Any]) -> Path:
    return cache_directory() / f"{function.__module__}-{sources_hash(Path(function.__code__.co_filename))}"


@cache
def sources_hash(source: Path) -> str:
    """Hash a module and all kernel modules it imports: numba alone does not notice a change in these."""
    found, left = {source}, [source]
    while left:
        new = set(imported_kernels(left.pop())) - found
        found |= new
        left += new
    digests = sorted((path.name, hashlib.sha256(_text(path)).hexdigest()) for path in found)
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]


_KERNELS = Path(__file__).parents[1]
_IMPORT = re.compile(
    rb"^[ \t]*(?:from|import) cinemill\.kernels([.\w]*)(?: import (\([^)]*\)|.*))?", re.MULTILINE
)


@cache
def imported_kernels(source: Path) -> list[Path]:
    """Find the kernel modules that a module imports, at its start or in a function; to parse it would take too long."""
    imported = []
    for module, names in _IMPORT.findall(_text(source)):
        place = _KERNELS.joinpath(*module.decode().split("."))
        many = place.is_dir()
        imported += [place / name.decode() for name in re.findall(rb"\w+", names)] if many else [place]
    files = (place.with_suffix(".py") for place in imported)
    return [file for file in files if file.is_file()]


@cache
def _text(source: Path) -> bytes:
    return source.read_bytes()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time compile a kernel; the others then find it in the cache."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
