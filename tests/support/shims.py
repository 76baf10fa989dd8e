"""Libraries that come before all others in a process, so that the machine it sees is not the one it runs on.

``SHIFT_SECONDS``: its wall clock is off by so much; monotonic clocks stay right. (libfaketime 0.9.10 breaks Python's
`sleep`.) ``ANSWER_EIO``: while this file exists, no file can be opened whose path begins with what the file holds.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

COMPILER = shutil.which("cc")

CLOCK = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long off(void) { const char *text = getenv("SHIFT_SECONDS"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
    int answer = syscall(SYS_clock_gettime, id, t);
    if (!answer && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += off();
    return answer;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec, t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""

STORAGE = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static int away(const char *path) {
    char prefix[4096];
    const char *flag = getenv("ANSWER_EIO");
    int file = flag ? syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    long length = syscall(SYS_read, file, prefix, sizeof prefix);
    syscall(SYS_close, file);
    return length > 0 && !strncmp(path, prefix, length);
}
static int reach(int folder, const char *path, int flags, int mode) {
    if (away(path)) { errno = EIO; return -1; }
    return syscall(SYS_openat, folder, path, flags, mode);
}
#define MODE int mode = 0; { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return reach(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return reach(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return reach(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return reach(folder, path, flags, mode); }
"""


def compiled(source: str, library: Path) -> str:
    """Compile one of them; return its path."""
    command = ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-x", "c", "-o", str(library), "-"]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    return str(library)
