"""Confinement: which paths a job may read and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cinemill_workers.engine.outcomes import OutsideRoots


def confine(path: Path, roots: Sequence[Path]) -> None:
    """Refuse a path that leads out of all roots, by ``..`` or by a symbolic link.

    Parameters
    ----------
    path
        A source, or an output that need not exist yet.
    roots
        The allowed directories; none allows everything.

    Raises
    ------
    OutsideRoots
        The path, with every symbolic link followed, lies in none of them.
    """
    if roots and not any(path.resolve().is_relative_to(root.resolve()) for root in roots):
        raise OutsideRoots(
            "the path leads out of CINEMILL_ROOTS: move the files or extend the roots", path=path
        )
