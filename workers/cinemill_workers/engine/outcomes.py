"""One table: what becomes of an item whose transcoding raised an error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from enum import Enum

from cinemill import errors
from cinemill.network.outcomes import OF_THE_NODE, OUTCOMES
from cinemill.storage.atomic import NO_ROOM, is_no_room


class Fate(Enum):
    """What to do next with an item."""

    FAIL = "failed"
    """The same input gives the same error: report it."""

    QUARANTINE = "quarantined"
    """Something is wrong that a person must look at."""

    RETRY = "retry"
    """May pass: try again alone, quarantine after too many attempts."""

    HOLD = "hold"
    """No item of the job can succeed now: let the whole job rest, and count no attempt."""

    IGNORE = "skipped"
    """Not an input at all."""


FATES: tuple[tuple[type[BaseException], Fate], ...] = (
    (errors.NotDicom, Fate.IGNORE),
    (errors.NoRoom, Fate.HOLD),
    (errors.SourceError, Fate.FAIL),
    (errors.Refused, Fate.FAIL),
    (errors.UsageError, Fate.FAIL),
    (errors.OutputExists, Fate.FAIL),
    (errors.VerificationError, Fate.QUARANTINE),
    (FileNotFoundError, Fate.FAIL),
    (Exception, Fate.RETRY),
)
"""The first row whose class matches counts."""

STORAGE_AWAY = (
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EREMOTEIO),
    *(errno.ENODEV, errno.ENXIO),
)

SYSTEM_FATES = {
    **dict.fromkeys(NO_ROOM, Fate.HOLD),
    **dict.fromkeys((errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG), Fate.FAIL),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ELOOP), Fate.FAIL),
    **dict.fromkeys(STORAGE_AWAY, Fate.RETRY),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN), Fate.RETRY),
}
"""What an error of the operating system says, whatever it caused: no room; a place that takes no such file until
a person changes it; a file server or disk that is away; this machine short of something. All else goes by the class of
the error: what is not permitted, or has gone, may be mended between two attempts.
"""


class WorkerLost(errors.CinemillError):
    """The process that worked on the item died: a crash in native code, or killed for its memory."""


class OutsideRoots(errors.Refused):
    """The path does not lie in any of the configured roots once symbolic links are followed."""


def fate_of(error: BaseException) -> Fate:
    """Look the error, and whatever caused it, up in the table; what a node did, in that of its outcomes."""
    if isinstance(error, errors.NodeError):
        if error.outcome in OF_THE_NODE:
            return Fate.HOLD
        return Fate.RETRY if OUTCOMES[error.outcome].again else Fate.FAIL
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in SYSTEM_FATES:
            return SYSTEM_FATES[each.errno]
    return next(fate for kind, fate in FATES if isinstance(error, kind))


def storage_away(error: BaseException) -> str:
    """Say what the storage or the node answered, if it is one that answers so to whatever is asked of it; else nothing.

    An output that is not permitted is such an answer too: exports change under running jobs. A source that is not may be
    a single one.
    """
    if isinstance(error, errors.NodeError):
        return OUTCOMES[error.outcome].meaning if OUTCOMES[error.outcome].again else ""
    for each in _chain(error):
        if isinstance(each, OSError):
            of_output = isinstance(error, errors.OutputError) and each.errno in {errno.EPERM, errno.EACCES}
            if each.errno in STORAGE_AWAY or of_output:
                return os.strerror(each.errno or 0)
    return ""


def waits_for(error: BaseException) -> str:
    """Say what a job has to wait for, and what to do about it."""
    if isinstance(error, errors.NodeError):
        return f"{error.message}; the job tries again by itself"
    return f"{_no_room(error)}; free some space there, the job then goes on by itself"


def _no_room(error: BaseException) -> str:
    """Say in which way there is no room, and where if that is known."""
    for each in _chain(error):
        if isinstance(each, OSError) and is_no_room(each):
            what = "the quota is exhausted" if each.errno == errno.EDQUOT else "the disk is full"
            where = getattr(error, "path", None) or each.filename
            return f"no room: {what} at {where}" if where else f"no room: {what}"
    return "no room"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
