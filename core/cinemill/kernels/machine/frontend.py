"""numba's way from a function to LLVM's code, by those of its steps that kernels need, which ask nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from numba.core import base, ir, postproc, transforms, typing
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass
from numba.core.cpu import CPUContext
from numba.core.registry import cpu_target
from numba.core.runtime.context import NRTContext
from numba.core.typed_passes import (
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.types import Function
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    InlineClosureLikes,
    InlineInlinables,
    IRProcessing,
    ReconstructSSA,
    RewriteSemanticConstants,
    TranslateByteCode,
)


@register_pass(mutates_CFG=True, analysis_only=False)
class _EndLives(AnalysisPass):  # type: ignore[misc]
    """Notes where variables end whose memory is counted: numba's own step notes all, most of them numbers."""

    _name = "cinemill_end_lives"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Add what numba calls Del."""
        postproc.PostProcessor(state.func_ir).run(emit_dels=True)
        counted = {name for name, kind in state.typemap.items() if state.targetctx.counts(kind)}
        for block in state.func_ir.blocks.values():
            block.body = [one for one in block.body if not isinstance(one, ir.Del) or one.value in counted]
        return True


_STEPS = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    InlineClosureLikes,
    RewriteSemanticConstants,
    DeadBranchPrune,
    GenericRewrites,
    InlineInlinables,
    ReconstructSSA,
    DeadBranchPrune,
    NopythonTypeInference,
    PreLowerStripPhis,
    _EndLives,
    NativeLowering,
    NoPythonBackend,
)


class Steps(CompilerBase):  # type: ignore[misc]
    """The steps from a kernel to LLVM's code: none for contexts, parallel loops, object mode, or literals on demand.

    There are none for expressions of whole arrays either, nor for what overloads have inlined: kernels have neither.
    """

    def define_pipelines(self) -> list[Any]:
        """Return the steps."""
        manager = PassManager("kernel")
        for step in _STEPS:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class _Lives(postproc.PostProcessor):  # type: ignore[misc]
    """Finds out how long variables live when that is asked for, which it is once, not after each step."""

    def run(self, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:  # noqa: FBT002
        """Bring the blocks into order, and forget what was known of variables before."""
        self.func_ir.blocks = transforms.canonicalize_cfg(self.func_ir.blocks)
        self.func_ir.variable_lifetime = postproc.VariableLifetime(self.func_ir.blocks)
        self.func_ir.generator_info = None
        if emit_dels:
            self._insert_var_dels(extend_lifetimes=extend_lifetimes)


_NO_VARIABLES = frozenset({str, int, bool, type(None), ir.Loc, ir.Const, ir.Global, ir.FreeVar, ir.Arg})


def _variables(instruction: Any, held: Any) -> list[Any]:
    """List the variables in what an instruction holds: most of that is told by its type alone."""
    if type(held) is ir.Var:
        return [held]
    found = []
    for each in held.values() if type(held) is dict else held if type(held) in (list, tuple) else (held,):
        kind = type(each)
        if kind is ir.Var:
            found.append(each)
        elif kind is ir.Expr:
            found += _variables(each, each._kws)  # noqa: SLF001  # as its own method does
        elif kind in (list, tuple, dict):
            found += _variables(instruction, each)
        elif kind not in _NO_VARIABLES and isinstance(each, ir.Inst):
            found += each.list_vars()
    return found


_has_loc = base._has_loc  # noqa: SLF001


def _takes_location(function: Any) -> bool:
    """Whether a function has a parameter ``loc``: of most, their code tells it, and no signature is made."""
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return bool(_has_loc(function))
    code = function.__code__
    return "loc" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


_FASTER: tuple[tuple[Any, str, Any], ...] = (
    (postproc, "PostProcessor", _Lives),
    (ir.Inst, "_rec_list_vars", _variables),
    (base, "_has_loc", _takes_location),
)


@contextmanager
def hastened() -> Iterator[None]:
    """Have numba's steps use what is faster for the time of the context; who enters it holds numba's lock."""
    before = [getattr(place, name) for place, name, _ in _FASTER]
    for place, name, faster in _FASTER:
        setattr(place, name, faster)
    try:
        yield
    finally:
        for (place, name, _), numbas in zip(_FASTER, before, strict=True):
            setattr(place, name, numbas)


class _Types(typing.Context):  # type: ignore[misc]
    """What numba knows of types, shared with its own; what an operator makes of some types is found out once."""

    def __init__(self) -> None:
        self.__dict__.update(vars(cpu_target.typing_context))
        self._found: dict[Any, Any] = {}
        self._known = _registered(self)

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        if kws or type(func) is not Function:
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = super().resolve_function_type(func, args, kws)
        return found

    def refresh(self) -> None:
        """Take up what was registered since, if anything was."""
        if (now := _registered(self)) != self._known:
            super().refresh()
            self._known = now


class _Counting(NRTContext):  # type: ignore[misc]
    """Counts who uses memory; numba would take apart what has none, too."""

    def get_meminfos(self, builder: Any, kind: Any, value: Any) -> list[Any]:
        """Return what is counted in a value."""
        return super().get_meminfos(builder, kind, value) if self._context.counts(kind) else []


class _Lowering(CPUContext):  # type: ignore[misc]
    """How numba lowers what has types, shared with its own."""

    def __init__(self) -> None:
        self.__dict__.update(vars(cpu_target.target_context))
        self._known = _registered(self)
        self._sizes: dict[Any, int] = {}
        self._counted: dict[Any, bool] = {}

    def counts(self, kind: Any) -> bool:
        """Whether values of a type have memory with a count of who uses it, which is found out once of each."""
        found = self._counted.get(kind)
        if found is None:
            found = self._counted[kind] = self.data_model_manager[kind].contains_nrt_meminfo()
        return found

    @property
    def nrt(self) -> Any:
        """Return what counts who uses memory."""
        return _Counting(self, self.enable_nrt)

    def get_abi_sizeof(self, ty: Any) -> int:
        """Return the bytes of LLVM's type, which is asked once of each."""
        size = self._sizes.get(ty)
        if size is None:
            size = self._sizes[ty] = super().get_abi_sizeof(ty)
        return size

    def refresh(self) -> None:
        """Take up what was registered since, if anything was."""
        if (now := _registered(self)) != self._known:
            super().refresh()
            self._known = now


def _registered(context: Any) -> int:
    """Count the functions that a context could know."""
    registries = context._registries  # noqa: SLF001  # of numba's types and of its code
    return sum(len(each.functions) + len(getattr(each, "globals", ())) for each in registries)


def contexts(codegen: Any) -> tuple[Any, Any]:
    """Return what numba types functions in, and what it lowers them in, to generate code by ``codegen``."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    types = _Types()
    return types, _Lowering().subtarget(typing_context=types, _internal_codegen=codegen)
