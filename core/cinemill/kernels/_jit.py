"""The one place where numba is configured: the decorator every kernel uses and the cache it compiles into."""

from __future__ import annotations

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

Function = TypeVar("Function", bound=Callable[..., Any])

if llvm.get_default_triple().startswith("x86_64"):
    # LLVM turns the coders' conditional moves into branches that noise mispredicts: half the speed.
    llvm.set_option("", "-x86-cmov-converter=false")


def jit(signature: Any, **options: Any) -> Callable[[Function], Function]:
    """Compile a module-level function for the given signatures, without the GIL, cached for the next process."""

    def decorate(function: Function) -> Function:
        with _cache_in(cache_directory()):
            compiled: Function = numba.njit(signature, nogil=True, cache=True, **options)(function)
        return compiled

    return decorate


@cache
def cache_directory() -> Path:
    """Return a writable directory for compiled kernels of exactly these sources.

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
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _cache_in(directory: Path) -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
