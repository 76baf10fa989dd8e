"""Operations that go wrong in a child process, or tell what goes on in it."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cinemill.errors import NoRoom
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt
from cinemill.operations.split.request import Split
from cinemill.operations.transcode.request import Transcode
from cinemill.party import waiting


@dataclass(frozen=True, kw_only=True)
class Crashing(Transcode):
    """Segfaults at text files."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """Transcode, or crash."""
        if src.suffix == ".txt":
            signal.raise_signal(signal.SIGSEGV)
        return super().apply(src, dst, control)


@dataclass(frozen=True, kw_only=True)
class KilledWhileSplitting(Split):
    """Is killed in the middle of the second part."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """Leave what a killed process leaves."""
        dst.mkdir(exist_ok=True)
        (dst / f".{src.stem}_0002.dcm.0.part").touch()
        signal.raise_signal(signal.SIGSEGV)
        return super().apply(src, dst, control)


@dataclass(frozen=True, kw_only=True)
class KilledWhileAsking(Transcode):
    """Is killed while its threads ask whether to stop."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """End this process."""

        def ask() -> None:
            while control.cancelled is not None:
                control.cancelled()

        for _ in range(4):
            threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class KilledWhileWriting(Transcode):
    """Is killed, as for its memory, once frames have been written."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """End this process."""
        killing = Control(control.threads, control.cancelled, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        return super().apply(src, dst, killing)


@dataclass(frozen=True, kw_only=True)
class NoRoomBehindTheFirst(Transcode):
    """Finds the disk full at every file whose name is greater than "1"."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """Pretend."""
        if src.name > "1":
            raise NoRoom("full")
        return Receipt(str(src), str(dst), "transcoded")


_under_way: set[str] = set()
_most_under_way = 0


@dataclass(frozen=True, kw_only=True)
class CountingCompany(Transcode):
    """Tells in a warning how many instances its process was at work on at most; names end in how many are to be."""

    def apply(self, src: Path, dst: Path, control: Control) -> Receipt:
        """Wait until so many have come, and a moment for more; and pretend."""
        global _most_under_way  # noqa: PLW0603
        _under_way.add(src.name)
        _most_under_way = max(_most_under_way, len(_under_way))
        end = time.monotonic() + 120
        while _most_under_way < int(src.suffix[1:]) and time.monotonic() < end:
            with waiting():
                time.sleep(0.01)
        with waiting():
            time.sleep(0.2)
        _under_way.remove(src.name)
        return Receipt(str(src), str(dst), "transcoded", warnings=(str(_most_under_way),))
