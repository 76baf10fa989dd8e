"""The one place where numba is configured: the decorators every kernel uses and the cache it compiles into."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
from numba.core.caching import FunctionCache
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
        directory = cache_directory()
        kernel = f"{function.__module__}.{function.__qualname__}"
        with _locked(directory / f"{kernel}.lock"):
            ready = directory / f"{kernel}.ready"
            if not ready.exists():
                for announce in on_compile:
                    announce(kernel)
            dispatcher: Any = numba.njit(nogil=True, **options)(function)
            with _cache_in(directory):
                dispatcher._cache = _KernelCache(function)  # noqa: SLF001  # as Dispatcher.enable_caching does
            for one in signature if isinstance(signature, list) else [signature]:
                dispatcher.compile(one)
            dispatcher.disable_compile()
            ready.touch()
        compiled: Function = dispatcher
        return compiled

    return decorate


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Loads compiled kernels without preparing the compiler first, as numba does: a fifth of a warm start."""

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
    """Return a writable directory for compiled kernels of exactly these sources on exactly this processor.

    ``CINEMILL_CACHE_DIR`` names its parent; else the user's cache directory. A directory that is there but can't
    be written (a read-only image with warm kernels) is copied to a temporary one.
    """
    parent = Path(os.environ.get("CINEMILL_CACHE_DIR") or _user_cache()) / "kernels"
    wanted = parent / _fingerprint()
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


def _fingerprint() -> str:
    """Hash of all kernel sources: numba alone does not notice a change in an imported kernel."""
    machine = numba.__version__, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    digest = hashlib.sha256(repr(machine).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time compile a kernel; the others then find it in the cache."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _cache_in(directory: Path) -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
