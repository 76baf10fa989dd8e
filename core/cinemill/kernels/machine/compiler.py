"""Compiles kernels: numba makes LLVM's code of them, of which this makes objects that run without numba.

This is the only module that imports numba's insides, and it is imported only to compile. Functions that are parts of
kernels are lowered and no more: they are optimised once, together with the kernel that calls them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, compiler, sigutils
from numba.core.codegen import AOTCodeLibrary, AOTCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from cinemill.kernels.machine import frontend, processor
from cinemill.kernels.machine.deferred import numba_types as types
from cinemill.kernels.machine.library import CALLS
from cinemill.kernels.machine.link import Image, Unlinkable, linked

_WORD, _POINTER = ir.IntType(64), ir.IntType(8).as_pointer()

if llvm.get_default_triple().startswith("x86_64"):
    # LLVM turns the coders' conditional moves into branches that noise mispredicts: half the speed.
    llvm.set_option("", "-x86-cmov-converter=false")


class _Library(AOTCodeLibrary):  # type: ignore[misc]
    """What a function was lowered to; what it calls is linked to it, and optimised, only if it is all of a kernel."""

    whole = False
    _linking_libraries: list[Any]

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001  # as what this overrides

    def finalize(self) -> None:
        """Link and optimise a kernel; leave a part of one as it is."""
        if self.whole:
            self._link()
            super().finalize()
        self._finalized = True

    def _link(self) -> None:
        """Take in what this calls, and what that calls, each once."""
        seen, left = {self}, [*self._linking_libraries]
        while left:
            library = left.pop(0)
            if library in seen:
                continue
            seen.add(library)
            if isinstance(library, _Library):
                left += library._linking_libraries  # noqa: SLF001  # of its own kind
                module = library._alone()  # noqa: SLF001
            else:
                module = library._get_module_for_linking()  # noqa: SLF001  # as numba does
            self._final_module.link_in(module, preserve=True)
        self._linking_libraries = []

    def _alone(self) -> Any:
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """Return a part and what it calls, for a kernel that numba makes: it looks no further than this."""
        if self._linking_libraries:
            self._link()
            self._shared_module = None
        return self._alone()


class _Codegen(AOTCPUCodegen):  # type: ignore[misc]
    _library_class = _Library

    def _customize_tm_features(self) -> str:
        return "" if processor.compiled_for else str(llvm.get_host_cpu_features().flatten())

    def _customize_tm_options(self, options: dict[str, Any]) -> None:
        options["cpu"] = processor.compiled_for[0] if processor.compiled_for else llvm.get_host_cpu_name()
        options["features"] = self._tm_features
        options["reloc"] = "pic"
        options["codemodel"] = "small"


class _Target:
    """numba's description of a processor, with code that can lie anywhere."""

    options = cpu_target.options
    typing_context, target_context = frontend.contexts(_Codegen("cinemill"))


class Part(Dispatcher):
    """A function that numba finds when it compiles one that calls it."""

    targetdescr = _Target

    def compile(self, sig: Any) -> Any:
        """Lower the function for a signature; return what stands for the result among numba's functions."""
        arguments, result = sigutils.normalize_signature(sig)
        with global_compiler_lock:
            found = self.overloads.get(tuple(arguments))
            if found is None:
                with self._compiling_counter:
                    found = self._lowered(arguments, result)
        return found.entry_point

    def _lowered(self, arguments: Any, result: Any) -> Any:
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        context = self.targetdescr.target_context
        made = compiler.compile_extra(
            self.targetdescr.typing_context,
            context,
            self.py_func,
            args=arguments,
            return_type=result,
            flags=flags,
            locals=self.locals,
            pipeline_class=frontend.Steps,
        )
        made = made._replace(entry_point=object())
        context.insert_user_function(made.entry_point, made.fndesc, [made.library])
        self.overloads[tuple(made.signature.args)] = made
        return made


def part(function: Callable[..., Any], signatures: Sequence[Any] | None, options: dict[str, Any]) -> Part:
    """Make a function known to numba: one that has signatures, in its words, is lowered for these, another as it is called."""
    dispatcher = Part(function, targetoptions={"nopython": True, "nogil": True, **options})
    for signature in signatures or ():
        dispatcher.compile(signature)
    if signatures is not None:
        dispatcher.disable_compile()
    return dispatcher


def image(lowered: Callable[[], Part], name: str) -> Image:
    """Generate a kernel's code for all signatures that it is lowered for.

    Raises
    ------
    Unlinkable
        It needs more than `cinemill.kernels.machine.library` provides.
    """
    with global_compiler_lock, frontend.hastened(), _no_garbage_collection():
        library = _Target.target_context.codegen().create_library(name)
        library.whole = True
        entries = []
        for number, made in enumerate(lowered().overloads.values()):
            entries.append(f"kernel.{number}")
            library.add_ir_module(_entry(library, made, entries[-1]))
            library.add_linking_library(made.library)
        library.add_ir_module(_memory(library))
        library.finalize()
        if library.has_dynamic_globals:
            raise Unlinkable("an address of this process")
        return linked(_object(library._final_module, entries), entries, CALLS)  # noqa: SLF001  # as numba.pycc does


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Let Python not look for circles among numba's many small objects: a twelfth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _object(module: Any, entries: list[str]) -> bytes:
    """Generate code of what the entries need."""
    machine = _Target.target_context.codegen()._tm  # noqa: SLF001  # as numba.pycc does
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in entries else "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return bytes(machine.emit_object(module))


def _entry(library: Any, made: Any, name: str) -> Any:
    """Write the function that takes arguments from memory, calls numba's, and puts the result into memory."""
    context, described = _Target.target_context, made.fndesc
    module = library.create_ir_module(name)
    callee = ir.Function(
        module,
        context.call_conv.get_function_type(described.restype, described.argtypes),
        described.llvm_func_name,
    )
    words = _WORD.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [words, words]), name)
    builder = ir.IRBuilder(function.append_basic_block())
    given, returned = function.args
    with context.push_code_library(library):
        reader = _Reader(context, builder, given)
        arguments = [reader.value(kind) for kind in described.argtypes]
    status, result = context.call_conv.call_function(
        builder, callee, described.restype, described.argtypes, arguments, attrs=("noinline",)
    )
    with builder.if_else(status.is_error) as (failed, well):
        with failed:
            builder.store(builder.ptrtoint(status.excinfoptr, _WORD), returned)
        with well:
            for place, word in enumerate(_words(context, builder, described.restype, result)):
                builder.store(word, builder.gep(returned, [_WORD(place)]))
    builder.ret(status.code)
    return module


class _Reader:
    """Takes arguments of numba's types from consecutive words."""

    def __init__(self, context: Any, builder: Any, given: Any) -> None:
        self._context, self._builder, self._given = context, builder, given
        self._read = 0

    def _word(self) -> Any:
        place = self._builder.gep(self._given, [_WORD(self._read)])
        self._read += 1
        return self._builder.load(place)

    def value(self, kind: Any) -> Any:
        """Return the next argument."""
        context, builder = self._context, self._builder
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, [self.value(each) for each in kind.types])
        if isinstance(kind, types.Array):
            return self._array(kind)
        word = self._word()
        if isinstance(kind, types.Float):
            return context.cast(builder, builder.bitcast(word, ir.DoubleType()), types.float64, kind)
        return context.cast(builder, word, types.int64, kind)

    def _array(self, kind: Any) -> Any:
        context, builder = self._context, self._builder
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(self._word(), array.data.type)
        shape = [self._word() for _ in range(kind.ndim)]
        size = _WORD(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        strides = [size]
        for length in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        context.populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()  # noqa: SLF001  # as numba's own implementations do


def _words(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Return a result as words."""
    if isinstance(kind, types.BaseTuple):
        parts = [builder.extract_value(value, place) for place in range(len(kind.types))]
        return [
            word
            for each, part in zip(kind.types, parts, strict=True)
            for word in _words(context, builder, each, part)
        ]
    if isinstance(kind, types.Float):
        return [builder.bitcast(context.cast(builder, value, kind, types.float64), _WORD)]
    if isinstance(kind, types.NoneType):
        return []
    return [context.cast(builder, value, kind, types.int64)]


def _memory(library: Any) -> Any:
    """Write what numba's arrays take of its run-time library: memory with a count of who uses it in front."""
    module = library.create_ir_module("memory")
    size, header = _WORD, ir.LiteralStructType([_WORD, _POINTER, _POINTER, _POINTER, _WORD, _POINTER])
    malloc = cgutils.get_or_insert_function(module, ir.FunctionType(_POINTER, [size]), "malloc")
    free = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), "free")

    def define(name: str, kind: Any) -> tuple[Any, Any]:
        function = ir.Function(module, kind, name)
        return function, ir.IRBuilder(function.append_basic_block())

    def allocate(builder: Any, wanted: Any, alignment: Any) -> None:
        room = builder.add(wanted, builder.add(alignment, _WORD(64)))
        start = builder.call(malloc, [room])
        with builder.if_then(cgutils.is_null(builder, start)):
            builder.ret(start)
        memory = builder.bitcast(start, header.as_pointer())
        after = builder.add(builder.ptrtoint(start, _WORD), builder.add(alignment, _WORD(63)))
        data = builder.inttoptr(builder.and_(after, builder.neg(alignment)), _POINTER)
        null = cgutils.get_null_value(_POINTER)
        for place, value in enumerate((_WORD(1), null, null, data, wanted, null)):
            builder.store(value, cgutils.gep_inbounds(builder, memory, 0, place))
        builder.ret(start)

    function, builder = define("NRT_MemInfo_alloc", ir.FunctionType(_POINTER, [size]))
    allocate(builder, function.args[0], _WORD(16))
    function, builder = define("NRT_MemInfo_alloc_aligned", ir.FunctionType(_POINTER, [size, ir.IntType(32)]))
    allocate(builder, function.args[0], builder.zext(function.args[1], _WORD))
    for name in ("NRT_MemInfo_call_dtor", "NRT_Free"):
        function, builder = define(name, ir.FunctionType(ir.VoidType(), [_POINTER]))
        builder.call(free, [function.args[0]])
        builder.ret_void()
    function, builder = define("NRT_Allocate", ir.FunctionType(_POINTER, [size]))
    builder.ret(builder.call(malloc, [function.args[0]]))
    return module
