"""Work on file systems without locks and links among files, as network file systems may be."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

import cinemill
from cinemill.cli import app
from cinemill.errors import OutputError, UsageError
from cinemill.kernels.machine import jit
from cinemill.operations.exchange.ledger import _occupied
from cinemill.storage import atomic, folder, workroom
from cinemill_workers.local.embedded import InUse, Server
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def bare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory where files have no locks and only one name."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    if request.param != errno.ENOLCK:
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_outputs_are_made_without_locks(bare: Path) -> None:
    for _ in range(2):
        assert cinemill.transcode(CINE, bare / "rle.dcm", to="rle").status in {"transcoded", "kept"}
        assert cinemill.extract(CINE, bare / "png", format="png").status in {"extracted", "kept"}
    assert sorted(path.name for path in bare.iterdir()) == ["png", "rle.dcm"]


def test_a_report_is_written_without_locks(bare: Path) -> None:
    words = ["transcode", str(CINE), str(bare / "rle.dcm"), "--to", "rle", "--report", str(bare / "r.csv")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (bare / "r.csv").read_text().count("rle.dcm") == 1


def test_what_is_made_over_several_runs_is_made_without_locks(bare: Path) -> None:
    with workroom.Workroom(bare / "set", "purpose") as room:
        made = room.fresh("made")
        workroom.put(room.path / "one", b"1")
        workroom.link(room.path / "one", made / "1")
        room.publish(made, overwrite=False)
    assert (bare / "set" / "1").read_bytes() == b"1"


def test_without_locks_nothing_is_taken_for_left_behind(bare: Path) -> None:
    """Whoever makes it may still be at work."""
    temporary, file = atomic.open_temporary(bare / "a")
    (bare / ".cinemill-0.part").mkdir()
    folder.clear(bare / "a.dcm", bare / "a")
    assert temporary.exists()
    assert (bare / ".cinemill-0.part").exists()
    file.close()


def test_kernels_are_compiled_without_locks(bare: Path) -> None:
    with jit._locked(bare / "kernel.lock"):
        pass


def test_a_mapping_table_says_that_it_needs_locks(bare: Path) -> None:
    assert CliRunner().invoke(app, ["key", "new", str(bare / "key")]).exit_code == 0
    options = ["--key", str(bare / "key"), "--mask", "none", "--map", str(bare / "map")]
    done = CliRunner().invoke(app, ["deidentify", str(CINE), str(bare / "out"), *options])
    assert isinstance(done.exception, OutputError)
    assert "its file system has no locks" in str(done.exception)


def test_what_must_not_be_shared_is_refused_without_locks(bare: Path) -> None:
    """Two servers of one state directory would write the same file; so would two migrations the same spool."""
    with pytest.raises(InUse):
        Server(bare / "state", bare / "state" / "socket").__enter__()
    with pytest.raises(UsageError, match="the spool can't be written"):
        _occupied(bare / "spool")
