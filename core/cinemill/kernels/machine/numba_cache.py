"""Kernels that numba itself calls, where `cinemill.kernels.machine.library` can't, and its cache of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.runtime import rtsys

from cinemill.kernels.machine.cache import module_directory

if llvm.get_default_triple().startswith("x86_64"):
    # LLVM turns the coders' conditional moves into branches that noise mispredicts: half the speed.
    llvm.set_option("", "-x86-cmov-converter=false")


def dispatcher(function: Callable[..., Any], signatures: Sequence[Any], options: dict[str, Any]) -> Any:
    """Have numba compile a function for the given signatures, or load it from the cache.

    Parameters
    ----------
    function
        A module-level function.
    signatures
        In numba's words.
    options
        Further options of `numba.njit`.
    """
    made: Any = numba.njit(nogil=True, **options)(function)
    made._cache = _KernelCache(function)  # noqa: SLF001  # as Dispatcher.enable_caching does
    for signature in signatures:
        made.compile(signature)
    made.disable_compile()
    return made


class _Locator:
    """Tells numba that a kernel's files are in its module's directory, whose name says what they were made of."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.directory = module_directory(function.__module__, Path(function.__code__.co_filename))
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
