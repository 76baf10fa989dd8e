"""What becomes of an error."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinemill import errors
from cinemill.storage.file import Sink
from cinemill_workers.engine.outcomes import Fate, WorkerLost, fate_of, waits_for


def _from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (errors.NotDicom("x"), Fate.IGNORE),
        (errors.DamagedFile("x"), Fate.FAIL),
        (errors.CodecError("x"), Fate.FAIL),
        (errors.UnsupportedTransferSyntax("x"), Fate.FAIL),
        (errors.OutputExists("x"), Fate.FAIL),
        (errors.VerificationError("x"), Fate.QUARANTINE),
        (errors.OutputError("x"), Fate.RETRY),
        (errors.NoRoom("x"), Fate.HOLD),
        (_from(errors.OutputError("x"), OSError(errno.ENOSPC, "full")), Fate.HOLD),
        (_from(errors.OutputError("x"), OSError(errno.EACCES, "denied")), Fate.RETRY),
        (OSError(errno.EDQUOT, "quota"), Fate.HOLD),
        *(
            (_from(errors.OutputError("x"), OSError(number, "x")), Fate.FAIL)
            for number in (
                errno.EROFS,
                errno.EFBIG,
                errno.ENAMETOOLONG,
                errno.ENOTDIR,
                errno.EISDIR,
                errno.ELOOP,
            )
        ),
        *(
            (_from(errors.OutputError("x"), OSError(number, "x")), Fate.RETRY)
            for number in (errno.EPERM, errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.EBUSY)
        ),
        (FileNotFoundError("x"), Fate.FAIL),
        (OSError(errno.EIO, "x"), Fate.RETRY),
        (_from(errors.DamagedFile("x"), OSError(errno.ESTALE, "x")), Fate.RETRY),
        (_from(errors.DamagedFile("x"), FileNotFoundError(errno.ENOENT, "x")), Fate.FAIL),
        (MemoryError(), Fate.RETRY),
        (WorkerLost("x"), Fate.RETRY),
        (ZeroDivisionError(), Fate.RETRY),
    ],
)
def test_every_error_has_a_fate(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            _from(errors.OutputError("x", path="/out/a"), OSError(errno.ENOSPC, "x")),
            "the disk is full at /out/a",
        ),
        (OSError(errno.EDQUOT, "x", "/tmp/spool"), "the quota is exhausted at /tmp/spool"),
        (OSError(errno.ENOSPC, "x"), "the disk is full"),
    ],
)
def test_it_is_said_where_there_is_no_room(error: Exception, text: str) -> None:
    assert waits_for(error).startswith(f"no room: {text}; free some space")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    command = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_read_only_destination_fails_and_says_so(read_only: Path) -> None:
    with pytest.raises(errors.OutputError, match="read-only") as caught:
        Sink(read_only / "a.dcm")
    assert fate_of(caught.value) is Fate.FAIL
