"""Files that can't be read: what is wrong is said by an error that is also the system's own."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cinemill
from cinemill.errors import (
    DamagedFile,
    MissingFile,
    NotAFile,
    NotPermitted,
    SourceError,
    Unreadable,
)


def calls(source: Path, folder: Path):
    yield lambda: cinemill.open(source)
    yield lambda: cinemill.transcode(source, folder / "out.dcm", to="rle")
    yield lambda: cinemill.extract(source, folder / "out")
    yield lambda: cinemill.split(source, folder / "parts", frames_per_instance=1)


def refusing(source: Path, error: OSError, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Open anything but one file, whichever way."""

    def open_(path: Any, *rest: Any, **options: Any) -> Any:
        if path == source or path == str(source):
            raise error
        return plain(path, *rest, **options)

    return open_


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize(
    ("kind", "builtin", "number", "words"),
    [
        (MissingFile, FileNotFoundError, errno.ENOENT, "no such file; check the path"),
        (
            NotAFile,
            IsADirectoryError,
            errno.EISDIR,
            "is a directory and no file, or failed to be listed; name files in it",
        ),
        (
            NotPermitted,
            PermissionError,
            errno.EACCES,
            "can't be read: Permission denied; let this user read it",
        ),
        (Unreadable, OSError, errno.EIO, "can't be read: Input/output error"),
    ],
)
def test_what_can_not_be_read_is_no_damaged_file(tmp_path, monkeypatch, which, kind, builtin, number, words):
    source = tmp_path / "source.dcm"
    if kind is NotAFile:
        source.mkdir()
    elif kind is not MissingFile:
        source.write_bytes(bytes(1000))
        reason = "Permission denied" if number == errno.EACCES else "Input/output error"
        for owner in (Path, os):
            monkeypatch.setattr(owner, "open", refusing(source, OSError(number, reason), owner.open))
    with pytest.raises(kind, match=words) as raised:
        list(calls(source, tmp_path))[which]()
    error: Any = raised.value
    assert {kind, builtin, SourceError} <= set(type(error).__mro__)
    assert DamagedFile not in type(error).__mro__
    assert (error.errno, error.path, error.kind) == (number, source, kind.__name__)
    assert error.filename == str(source)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
