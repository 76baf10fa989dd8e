"""Confinement to the roots."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinemill_workers.engine.outcomes import OutsideRoots
from cinemill_workers.engine.roots import confine, withdraw


def test_roots_hold_what_lies_in_them_and_nothing_else(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "root-secret"
    for folder in (root, secret):
        folder.mkdir()
    (root / "away").symlink_to(secret)
    (root / "home").symlink_to(root / "deeper")
    for inside in (root, root / "new" / "file", root / "home" / "x"):
        confine(inside, [root])
    for outside in (secret, root / "away" / "x", root / ".." / "root-secret", Path("/etc/passwd")):
        with pytest.raises(OutsideRoots):
            confine(outside, [root])
    confine(secret, [])


def test_what_was_written_in_a_strange_directory_is_withdrawn_with_what_was_made_for_it(
    tmp_path: Path,
) -> None:
    destination = tmp_path / "out"
    (destination / "a" / "b").mkdir(parents=True)
    (destination / "a" / "theirs").touch()
    (destination / "a" / "b" / "ours.dcm").touch()
    withdraw([destination / "a" / "b" / "ours.dcm", destination / "gone.dcm"], destination)
    assert [path.name for path in destination.rglob("*")] == ["a", "theirs"]
    withdraw([destination / "a" / "theirs"], destination)
    assert destination.is_dir()
    assert not list(destination.iterdir())
