"""Where compiled kernels are kept.

Below CINEMILL_CACHE_DIR, or the user's cache directory, compiled kernels are in ``kernels/MACHINE/MODULE-SOURCES/``: MACHINE
names the versions of Python, numba and llvmlite and the processor, SOURCES is a hash of the module that a kernel is in and
of the kernel modules that it imports, itself or through others. A change makes a new directory, and no other module's
kernels are compiled for it. Old directories stay, for whoever still runs them; all may be deleted at any time. Beside the
directory of exactly this processor there may be those of kinds of processors (`cinemill warmup --processor`): the best
of them that fits has what the first lacks. Who can't write there has a directory of their own among temporary files (TMPDIR).
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from cinemill.kernels.machine import processor
from cinemill.kernels.machine.sources import sources_hash
from cinemill.processes import expanded


def cache_directory() -> Path:
    """Return a writable directory for kernels compiled by this Python and numba on exactly this processor."""
    return _writable(cache_parent() / _machine(*processor.compiled_for[:1]))


@cache
def _writable(wanted: Path) -> Path:
    """Return a directory, or where it can't be written (a read-only image, a user without a home) a copy among the temporary files.

    There the user's next process finds it.
    """
    import shutil
    import tempfile

    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        private = _private_parent() / wanted.name
        if wanted.is_dir() and not private.is_dir():
            shutil.copytree(wanted, private, dirs_exist_ok=True)
        private.mkdir(exist_ok=True)
        return private


def _private_parent() -> Path:
    """Make the user's directory among temporary files; where somebody else has its name, one for this process alone."""
    import atexit
    import shutil
    import tempfile

    place = Path(tempfile.gettempdir()) / f"cinemill-kernels-{os.getuid()}"
    with suppress(OSError):
        place.mkdir(mode=0o700)
    if not _is_ours(place):
        place = Path(tempfile.mkdtemp(prefix="cinemill-kernels-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _is_ours(place: Path) -> bool:
    """Whether a directory is this user's, and nobody else can have written what is in it."""
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def cache_parent() -> Path:
    """Return where the directories of all processors are."""
    user = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("CINEMILL_CACHE_DIR") or user / "cinemill") / "kernels"


def _machine(kind: str = "") -> str:
    versions = (f"{package}-{_installed(package)}" for package in ("numba", "llvmlite"))
    return "-".join((str(sys.implementation.cache_tag), *versions, kind or processor.this().key))


@cache
def _installed(package: str) -> str:
    """Find a package's version where it keeps it: to ask `importlib.metadata` takes ten times as long."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        with suppress(OSError):
            text = (Path(folder) / "_version.py").read_text(encoding="utf-8")
            if found := re.search(r"""(?:"version": "|version_version = ')([^"']+)""", text):
                return found[1]
    from importlib.metadata import version

    return version(package)


def module_directory(module: str, source: Path) -> Path:
    """Return where a module's kernels are compiled into."""
    return cache_directory() / f"{module}-{sources_hash(source)}"


def module_directories(module: str, source: Path) -> Iterator[Path]:
    """Yield where a module's kernels may be: in this processor's place, in those of the kinds it is of, or where they can be written."""
    folder = f"{module}-{sources_hash(source)}"
    for kind in () if processor.compiled_for else ("", *processor.this().kinds):
        yield cache_parent() / _machine(kind) / folder
    yield cache_directory() / folder
