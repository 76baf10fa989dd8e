"""What becomes of an error."""

from __future__ import annotations

import errno

import pytest

from cinemill import errors
from cinemill_workers.engine.outcomes import Fate, WorkerLost, fate_of


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
        (_from(errors.OutputError("x"), OSError(errno.ENOSPC, "full")), Fate.HOLD),
        (_from(errors.OutputError("x"), OSError(errno.EACCES, "denied")), Fate.RETRY),
        (OSError(errno.EDQUOT, "quota"), Fate.HOLD),
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
