"""What is compiled ahead of time: every kernel of every folder."""

from __future__ import annotations

import ast
from pathlib import Path

import cinemill
from cinemill import warmup
from cinemill.kernels.machine import cache, jit

CORE = Path(cinemill.__file__).parents[1]


def test_every_kernel_and_every_codec_on_disk_is_loaded(monkeypatch):
    loaded: list[str] = []
    monkeypatch.setattr(warmup, "import_module", loaded.append)
    warmup.load_all()
    files = [
        file.relative_to(CORE)
        for folder in ("kernels", "codecs")
        for file in (CORE / "cinemill" / folder).rglob("*.py")
    ]
    modules = {
        ".".join(file.parent.parts if file.stem == "__init__" else file.with_suffix("").parts)
        for file in files
    }
    compilers = {f"cinemill.kernels.machine.{name}" for name in ("compiler", "frontend", "numba_cache")}
    assert len(modules) > 40
    assert set(loaded) | {"cinemill.kernels", "cinemill.codecs"} | compilers == modules
    assert not compilers & set(loaded)


def test_who_asked_is_told_of_kernels_only_while_all_are_loaded(monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(
        warmup, "import_module", lambda _: [announce("a kernel") for announce in jit.on_compile]
    )
    before = list(jit.on_compile)
    warmup.load_all(told.append)
    assert "a kernel" in told
    assert jit.on_compile == before


def test_kernels_that_others_call_wait_to_be_compiled_though_they_are_parts_of_other_kernels(
    monkeypatch, tmp_path
):
    """Each of these was announced as ready once a kernel was compiled that it is a part of, and then compiled in mid-work."""
    monkeypatch.setenv("CINEMILL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "compile_waiting", lambda: None)
    warmup.load_all()
    waiting = {kernel.name for kernel in jit.waiting()}
    called = {
        f"{module}.{name}"
        for source in (CORE / "cinemill").rglob("*.py")
        if not source.is_relative_to(CORE / "cinemill" / "kernels")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom) and (module := str(node.module)).startswith("cinemill.kernels")
        for name in (alias.name for alias in node.names)
    }
    assert len(called & set(jit.kernels)) > 10
    assert called & set(jit.kernels) <= waiting
    one = jit.kernels["cinemill.kernels.jpeg_2000.decode_rows.reach"]
    cache.module_directory(*one.where).mkdir()
    (cache.module_directory(*one.where) / "reach.part").touch()
    assert one in jit.waiting()
