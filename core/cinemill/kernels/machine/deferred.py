"""The compiler's modules, which are imported when one of their names is used: to run compiled kernels takes none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


class _Deferred:
    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._module), name)


ir: Any = _Deferred("llvmlite.ir")
cgutils: Any = _Deferred("numba.core.cgutils")
numba_types: Any = _Deferred("numba.core.types")


class Operation:
    """What `numba.extending.intrinsic` makes of a function, made when numba compiles a kernel that calls it."""

    def __init__(self, function: Callable[..., Any], typed: Callable[[Any], Any]) -> None:
        self.__wrapped__ = function
        self.__name__ = self.__qualname__ = function.__name__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self._typed = typed
        self._type: Any = None

    def __call__(self, *_: Any) -> Any:
        """Refuse: there is no Python to run."""
        raise NotImplementedError(f"{self.__name__} is for kernels")

    def __deepcopy__(self, _: dict[int, Any]) -> Operation:
        return self

    @property
    def _numba_type_(self) -> Any:
        if self._type is None:
            from numba.core.registry import cpu_target
            from numba.extending import intrinsic as numba_intrinsic

            made = numba_intrinsic(self._typed(self.__wrapped__))
            cpu_target.typing_context.refresh()
            self._type = cpu_target.typing_context.resolve_value_type(made)
        return self._type


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make an operation for kernels from a function over numba's types, as numba's decorator of this name does."""
    return Operation(function, lambda typed: typed)
