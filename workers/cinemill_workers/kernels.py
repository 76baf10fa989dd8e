"""Loads all kernels and codecs before a process forks; the first time on a machine this compiles them.

``python -m cinemill_workers.kernels`` compiles them ahead of time, e.g. into an image.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import cinemill.codecs
import cinemill.kernels


def load() -> None:
    """Import all kernels, which are compiled on import, the codecs, and the way that uses them."""
    for package in (cinemill.kernels, cinemill.codecs):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    import_module("cinemill.transcoding")


if __name__ == "__main__":
    load()
