"""What is compiled ahead of time: every kernel of every folder."""

from __future__ import annotations

from pathlib import Path

import cinemill
from cinemill import warmup
from cinemill.kernels.machine import jit

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
