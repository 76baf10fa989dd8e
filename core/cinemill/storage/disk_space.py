"""Claims disk space before it is written and has the disk begin early, where the system and the file system can."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_KEEP_SIZE = 1
_WRITE = 2
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def claim(file: int, size: int) -> None:
    """Set disk blocks aside behind the end of an open file, whose length stays as it is.

    Linux's own call is made, because the C library's writes to every block where a file system can't do it.

    Raises
    ------
    OSError
        The disk has less than so many bytes left, or the quota, or a file may not be as large.
    """
    disk = os.fstatvfs(file)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise OSError(errno.ENOSPC, f"{size} bytes are needed, {free} are free")
    if sys.platform != "linux" or not size:
        return
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(file, _KEEP_SIZE, os.fstat(file).st_size, size) and ctypes.get_errno() in _NO_ROOM:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def begin_writing(file: int, start: int, end: int) -> None:
    """Have the disk begin with a part of an open file, so that fsync has little left to wait for.

    Parameters
    ----------
    file
        Descriptor of the open file.
    start, end
        Byte offsets of the part.
    """
    if sys.platform == "linux":
        sync_file_range = ctypes.CDLL(None).sync_file_range
        sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
        sync_file_range(file, start, end - start, _WRITE)
