"""What the doctor says of a machine on which something is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cinemill_workers.cli.doctor import examine
from cinemill_workers.settings import Settings


def test_a_directory_that_can_not_be_written_is_named_with_what_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "/tmpq7")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    found = {each.check: each for each in examine(Settings(state_dir=tmp_path / "state"))}
    state = found["state directory"]
    assert (state.well, state.found) == (False, f"{tmp_path / 'state'} can't be written: Permission denied")
    assert state.remedy.endswith(f"write to {tmp_path}, or name another directory in CINEMILL_STATE_DIR")
    assert found["temporary directory"].remedy.endswith("or name another directory in TMPDIR")
