"""Fixtures shared by all tests: the corpus of real files, pydicom's bundled images, and command-line tools."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import cinemill
from tests.support.files import corpus_files, pydicom_files

if TYPE_CHECKING:
    import pydicom

    from tests.support import oracle

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

WAITING = ("tests/workers/", "tests/network/")
TOOLS = ("dcmdjpls", "dcmdrle", "dcmconv", "gdcmconv", "dciodvfy")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test one corpus file (``corpus_file``) or one bundled file (``pydicom_file``) at a time."""
    if "corpus_file" in metafunc.fixturenames:
        missing = pytest.param(
            None, marks=pytest.mark.skip(reason="no corpus: set CINEMILL_CORPUS"), id="none"
        )
        files = [pytest.param(path, id=path.name) for path in corpus_files()] or [missing]
        metafunc.parametrize("corpus_file", files)
    if "pydicom_file" in metafunc.fixturenames:
        metafunc.parametrize("pydicom_file", pydicom_files(), ids=lambda path: path.name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Run one process more than there are processors: tests of the service and of networks wait most of their time."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait, and so leave none of the long ones for the end.

    Measure no coverage where it costs most and shows least: real files run through the same lines again, and kernels
    are left out of it. Skip what needs tools that are not installed; CI has them all, so there it fails instead.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(WAITING))
    for item in items:
        if item.get_closest_marker("corpus") or item.nodeid.startswith("tests/kernels/"):
            item.add_marker("no_cover")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and not os.environ.get("CI"):
        skip = pytest.mark.skip(reason=f"not installed: {', '.join(missing)}")
        for item in items:
            if item.get_closest_marker("tools"):
                item.add_marker(skip)


@pytest.fixture
def corpus() -> Path:
    """The folder of real files."""
    if not corpus_files():
        pytest.skip("no corpus: set CINEMILL_CORPUS")
    return corpus_files()[0].parent


@dataclass(frozen=True)
class Transcoded:
    """An output, with what cinemill, pydicom and the oracle say of it."""

    path: Path
    receipt: cinemill.Receipt
    dataset: pydicom.Dataset

    @cached_property
    def reading(self) -> oracle.Reading:
        """The samples of the output."""
        from tests.support import oracle

        return oracle.read(self.path)


@pytest.fixture
def source(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write the bytes of a source file."""

    def write(data: bytes) -> Path:
        path = tmp_path / "source.dcm"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def transcode(source: Callable[[bytes], Path], tmp_path: Path) -> Callable[..., Transcoded]:
    """Write a source, transcode it, and read the output."""
    import pydicom

    def run(data: bytes, to: str, **options: Any) -> Transcoded:
        output = tmp_path / f"{to}.dcm"
        receipt = cinemill.transcode(source(data), output, to=to, overwrite=True, threads=1, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(output)
        return Transcoded(output, receipt, dataset)

    return run
