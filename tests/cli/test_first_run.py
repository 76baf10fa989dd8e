"""The first run on a machine says what it compiles, and how far it is."""

import ast
import io
import os
import shutil
from importlib import import_module
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import cinemill as package
from cinemill import warmup
from cinemill.cli import show
from cinemill.codecs.jpeg import lossless
from cinemill.codecs.jpeg_2000 import decode, htj2k
from cinemill.kernels.machine.jit import kernels
from tests.cli.test_cli import cinemill
from tests.support.files import bundled
from tests.support.generate import JPEG_BASELINE, JPEG_LOSSLESS, encapsulated_element, header, part10


def is_kernel(node):
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "jit"
        for each in node.decorator_list
    )


def test_all_kernels_are_counted(monkeypatch, tmp_path):
    sources = (Path(package.__file__).parent / "kernels").rglob("*.py")
    expected = sum(is_kernel(node) for path in sources for node in ast.walk(ast.parse(path.read_text())))
    assert warmup.compiled()[1] == expected > 80
    monkeypatch.setenv("CINEMILL_CACHE_DIR", str(tmp_path))
    assert warmup.compiled() == (0, expected)


@pytest.mark.parametrize("count", [1, 2], ids=["in this process", "in children"])
def test_without_a_terminal_one_line_says_it(tmp_path, count):
    (tmp_path / "in").mkdir()
    for number in range(count):
        shutil.copy(bundled("CT_small.dcm"), tmp_path / "in" / f"{number}.dcm")
    source = tmp_path / "in" if count > 1 else tmp_path / "in" / "0.dcm"
    fresh = {**os.environ, "CINEMILL_CACHE_DIR": str(tmp_path / "cache")}
    done = cinemill("transcode", source, tmp_path / "out", "--to", "rle", "--verify", "none", env=fresh)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiling kernels for this processor, once; `cinemill warmup`") == 1
    again = cinemill("transcode", source, tmp_path / "again", "--to", "rle", "--verify", "none", env=fresh)
    assert "compiling" not in again.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_counts_and_names_kernels(monkeypatch, terminal):
    written = io.StringIO()
    monkeypatch.setattr(show, "console", Console(file=written, force_terminal=terminal))
    bar = show.Bar(progress := Progress(console=show.console, disable=not terminal))
    for kernel in (
        "cinemill.kernels.rle.encode",
        "cinemill.kernels.rle.decode",
        "cinemill.kernels.rle.encode",
    ):
        bar.compiling(kernel)
    assert progress.tasks[0].fields["frames"] == "compiling kernel 2, once: encode"
    assert written.getvalue().count("cinemill warmup") == (0 if terminal else 1)


@pytest.mark.parametrize(("without_loss", "spared"), [(False, "walk_scan"), (True, "decode_two_scans")])
def test_a_few_frames_of_jpeg_do_not_wait_for_kernels_that_they_can_do_without(
    tmp_path, without_loss, spared
):
    frames = [
        bytes(imagecodecs.jpeg8_encode(np.full((24, 30), 7 * n, np.uint8), lossless=without_loss))
        for n in range(3)
    ]
    syntax = JPEG_LOSSLESS if without_loss else JPEG_BASELINE
    source, cache = tmp_path / "in.dcm", tmp_path / "cache"
    element = encapsulated_element([[frame] for frame in frames])
    source.write_bytes(part10(header(np.zeros((3, 24, 30), np.uint8)), element, syntax))
    fresh = {**os.environ, "CINEMILL_CACHE_DIR": str(cache)}
    done = cinemill("transcode", source, tmp_path / "out.dcm", "--to", "explicit", env=fresh)
    assert done.returncode == 0, done.stderr
    compiled = {path.stem for path in cache.rglob("*.ready")}
    assert "decode_scan" in compiled
    assert spared not in compiled


def test_kernels_that_may_be_spared_have_the_names_that_are_asked_for():
    for spared in (decode._spared, htj2k._spared, lossless._spared):
        module, _, name = spared.kernel.rpartition(".")
        assert getattr(import_module(module), name) is kernels[spared.kernel]
