"""Loads what transcoding needs into a process before it forks, so that no child compiles anything."""

from __future__ import annotations


def load() -> None:
    """Import the core with all its codecs; the first time on a machine this compiles the kernels."""
    import cinemill

    cinemill.transcode  # noqa: B018
