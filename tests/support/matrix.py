"""Transcodes real files to each target and judges the outputs: ``python -m tests.support.matrix`` prints the tables."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pydicom

import cinemill
from cinemill.errors import CinemillError, NotDicom, Refused
from tests.support import oracle
from tests.support.files import CORPUS

TARGETS = (
    *("jpeg-ls", "jpeg-2000", "htj2k", "htj2k-rpcl", "jpeg-xl", "rle"),
    *("explicit", "implicit", "deflated", "encapsulated", "deflated-frame"),
)
_PARTIAL = ("jpeg-ls", "jpeg-2000", "htj2k", "htj2k-rpcl", "jpeg-xl")
"""Targets that hold Bits Stored only: what lies above is cleared."""


@dataclass(frozen=True)
class Verdict:
    """What became of one file: ``exact``, ``copied``, ``unjudged``, ``refused``, ``failed`` or ``wrong``."""

    status: str
    reason: str = ""


@lru_cache(maxsize=2)
def reading(path: Path) -> oracle.Reading | oracle.UnreadableError:
    """What the oracle says of a source."""
    try:
        return oracle.read(path)
    except oracle.UnreadableError as error:
        return error


def judge(path: Path, target: str, output: Path) -> Verdict:
    """Transcode one file and compare the output with the oracle's reading of the source."""
    before = path.stat(), path.read_bytes()
    try:
        receipt = cinemill.transcode(path, output, to=target, threads=1, verify="none")
    except CinemillError as error:
        if output.exists() or list(output.parent.glob(f".{output.name}*")):
            return Verdict("wrong", "an output was left behind")
        status = "refused" if isinstance(error, Refused | NotDicom) else "failed"
        return Verdict(status, f"{error.kind}: {error.message}")
    after = path.stat(), path.read_bytes()
    if before[1] != after[1] or before[0].st_mtime_ns != after[0].st_mtime_ns:
        return Verdict("wrong", "the source was touched")
    if receipt.status == "copied":
        return Verdict("copied" if output.read_bytes() == before[1] else "wrong", "not the same bytes")
    if receipt.rows is None:
        same = pydicom.dcmread(path, force=True) == pydicom.dcmread(output)
        return Verdict("exact") if same else Verdict("wrong", "the data set differs")
    source = reading(path)
    try:
        found = oracle.read(output)
    except oracle.UnreadableError as error:
        return Verdict("wrong", f"the oracle can't read the output: {error}")
    if isinstance(source, oracle.UnreadableError):
        return Verdict("unjudged", str(source))
    partial = target in _PARTIAL and found.bits_stored == source.bits_stored
    problem = oracle.difference(source, found, limit=source.bits_stored if partial else None)
    return Verdict("wrong", problem) if problem else Verdict("exact")


def main() -> None:
    """Print a table of statuses by target, and the reason of everything that is not exact or copied."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS / "files"
    counts: Counter[tuple[str, str]] = Counter()
    readable: Counter[str] = Counter()
    reasons: dict[tuple[str, str, str], list[str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for path in sorted(folder.iterdir()):
            by_pydicom = oracle.pydicom_reads(path)
            for target in TARGETS:
                output = Path(directory) / target
                try:
                    verdict = judge(path, target, output)
                except Exception as error:  # noqa: BLE001
                    verdict = Verdict("traceback", repr(error))
                output.unlink(missing_ok=True)
                counts[target, verdict.status] += 1
                good = verdict.status in {"exact", "copied"}
                if by_pydicom:
                    readable[f"{target} {'exact' if good else verdict.status}"] += 1
                if not good:
                    note = f"{path.name}{' (pydicom reads it)' if by_pydicom else ''}"
                    reasons.setdefault((verdict.status, verdict.reason, note), []).append(target)
    statuses = sorted({status for _, status in counts})
    lines = [" ".join([f"{'':12}", *(f"{status:>10}" for status in statuses)])]
    lines += [" ".join([f"{t:12}", *(f"{counts[t, status]:10}" for status in statuses)]) for t in TARGETS]
    lines += [
        "",
        "Of the files that pydicom reads:",
        *(f"{n:5} {what}" for what, n in sorted(readable.items())),
        "",
    ]
    lines += [
        f"{status}: {note}: {', '.join(targets)}: {reason}"
        for (status, reason, note), targets in sorted(reasons.items())
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
