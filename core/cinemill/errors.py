"""One exception family: every error says which file, which frame, what was expected and what was found.

::

    CinemillError
    ├── UsageError                    the call itself can't be carried out (also ValueError)
    ├── SourceError                   something is wrong with the input
    │   ├── NotDicom                  no Part 10 file
    │   ├── DamagedFile               truncated or inconsistent; both numbers are in the message
    │   ├── Unreadable                the system does not let it be read (also OSError)
    │   │   ├── MissingFile           (also FileNotFoundError)
    │   │   ├── NotAFile              (also IsADirectoryError)
    │   │   └── NotPermitted          (also PermissionError)
    │   └── CodecError                a frame's codestream does not decode (offset where known)
    ├── Refused                       the standard, or this program, has no exact way to do it
    │   ├── UnsupportedTransferSyntax (UnknownTarget: also UsageError)
    │   ├── UnsupportedPixelFormat    (also raised by encoders)
    │   ├── NotInFile                 no such frame, region or time
    │   └── NoMask                    nobody knows what is to be black: for review
    ├── DecoderCrashed                a native library took its process down, more than once
    ├── InternalError                 a fault of this program, to be reported
    ├── VerificationError             what was written is not what was read
    │   ├── MissingOutput             a source has no output
    │   └── ExtraOutput               an output has no source
    ├── Cancelled                     stopped between two frames, on request
    ├── NodeError                     a node of the network did not do what was asked of it
    ├── WouldGrow                     the output would be larger than it may be
    └── OutputError                   the output can't be written (also OSError)
        ├── OutputExists
        └── NoRoom                    the disk is full, or the quota exhausted: no other output fits either
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Self


def printable(text: str) -> str:
    """Return one line in which everything is escaped that a terminal would obey, or could not print.

    Headers, names and paths hold anything: control characters, escape sequences, marks that turn the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def not_installed(what: str, packages: str, extra: str) -> str:
    """Return the message for something that needs packages which are not installed.

    Parameters
    ----------
    what
        What was asked for.
    packages
        The packages that it needs.
    extra
        The extra of this distribution that brings them.
    """
    return (
        f"{what} needs {packages}; "
        f"install it with: pip install 'cinemill[{extra}]', in a clone: pip install '.[{extra}]'"
    )


class CinemillError(Exception):
    """Root of the family.

    Parameters
    ----------
    message
        What was expected, what was found, and what to do: becomes one line.
    path
        The file concerned.
    frame
        The frame index concerned, counted from 0.
    transfer_syntax
        The transfer syntax UID concerned.
    """

    exit_code = 1
    """What a command ends with that this error ends."""

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        frame: int | None = None,
        transfer_syntax: str | None = None,
    ) -> None:
        message = printable(message)
        super().__init__(message)
        self.message = message
        self.path = None if path is None else Path(path)
        self.frame = frame
        self.transfer_syntax = transfer_syntax

    @property
    def kind(self) -> str:
        """Name of the error class, as reports and the queue know it."""
        return type(self).__name__

    def locate(
        self,
        *,
        path: str | PathLike[str] | None = None,
        frame: int | None = None,
        transfer_syntax: str | None = None,
    ) -> CinemillError:
        """Fill in what the raiser did not know, and return the same error.

        Parameters
        ----------
        path
            The file concerned.
        frame
            The frame index concerned.
        transfer_syntax
            The transfer syntax UID concerned.
        """
        self.path = self.path if path is None or self.path is not None else Path(path)
        self.frame = frame if self.frame is None else self.frame
        self.transfer_syntax = transfer_syntax if self.transfer_syntax is None else self.transfer_syntax
        return self

    def __str__(self) -> str:
        where = [printable(str(self.path))] if self.path is not None else []
        if self.frame is not None:
            where.append(f"frame {self.frame}")
        return ": ".join([*where, self.message])


class UsageError(CinemillError, ValueError):
    """The call itself can't be carried out, whatever the files hold."""

    exit_code = 2


class SourceError(CinemillError):
    """Something is wrong with the input."""


class NotDicom(SourceError):
    """The file is not a DICOM Part 10 file (PS3.10 §7.1)."""


class DamagedFile(SourceError):
    """The file is truncated or contradicts itself."""


class Unreadable(SourceError, OSError):
    """The system does not let the file be read; ``errno`` says why."""


class MissingFile(Unreadable, FileNotFoundError):
    """There is no such file."""


class NotAFile(Unreadable, IsADirectoryError):
    """A directory stands where a file should be."""


class NotPermitted(Unreadable, PermissionError):
    """The file may not be read by this user."""


class CodecError(SourceError):
    """A codestream does not decode to the frame that was promised.

    Parameters
    ----------
    offset
        Byte offset in the codestream where decoding stopped, where known.
    """

    def __init__(self, message: str, *, offset: int | None = None, frame: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})", frame=frame)
        self.offset = offset


class Refused(CinemillError):
    """There is no exact way to do what was asked: the standard has none, or this program does not know it."""


class UnsupportedTransferSyntax(Refused):
    """The transfer syntax can't be read, or can't be written."""


class UnknownTarget(UsageError, UnsupportedTransferSyntax):
    """Nothing that can be written has that name."""


class UnsupportedPixelFormat(Refused):
    """The transfer syntax, or the encoder, can't hold such pixels (PS3.5 §8.2)."""


class NoMask(Refused):
    """What is to be black in an instance is not known; it is not written, and waits for review by people."""


class DecoderCrashed(CinemillError):
    """A native library took its process down on this file, more than once."""


class InternalError(CinemillError):
    """A fault of this program; nothing was written."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the error for an exception that should not have come up."""
        return cls(f"unexpected {type(error).__name__}: {error}; please report it with this file")


class NotInFile(Refused):
    """The file does not hold what was asked for: the message says what it holds."""


class VerificationError(CinemillError):
    """What was read back from the output differs from what went in."""


class MissingOutput(VerificationError):
    """There is no output for a source."""


class ExtraOutput(VerificationError):
    """There is no source for an output."""


class Cancelled(CinemillError):
    """The work was stopped on request, between two frames."""


class NodeError(CinemillError):
    """A node of the network did not do what was asked of it.

    Parameters
    ----------
    message
        What was asked, what came back, and what to do.
    outcome
        Its name in `cinemill.network.outcomes`, which says whether it is worth trying again.
    after
        Seconds that the node asks to wait before that.
    """

    def __init__(self, message: str, *, outcome: str, after: float | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.after = after

    def __reduce__(self) -> tuple[object, ...]:
        return _node_error, (self.message, self.outcome, self.after)


def _node_error(message: str, outcome: str, after: float | None) -> NodeError:
    return NodeError(message, outcome=outcome, after=after)


class WouldGrow(CinemillError):
    """The output would be larger than it may be; nothing was left behind.

    Parameters
    ----------
    size
        Bytes that it would take at least.
    """

    def __init__(self, message: str, *, size: int, path: str | PathLike[str] | None = None) -> None:
        super().__init__(message, path=path)
        self.size = size


class OutputError(CinemillError, OSError):
    """The output can't be written; nothing was left behind."""


class OutputExists(OutputError):
    """The output is there already and overwriting was not asked for."""


class NoRoom(OutputError):
    """The disk is full or the quota is exhausted: what comes next would not fit either."""
