"""Mutates files and inspects them: nothing is raised, and all that is told can be printed and written as JSON.

python -m tests.fuzz.inspections SECONDS [FILE...]
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from cinemill.operations.inspect.inspect import inspect, to_record
from cinemill.operations.inspect.words import line, sections
from tests.support.files import corpus_files, pydicom_files

_OURS = "AssertionError", "AttributeError", "IndexError", "KeyError", "NameError", "UnboundLocalError"
"""Reasons that are never those of a value."""


def mutated(data: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """Yield variants: cut, with bytes flipped, removed, repeated, most of them in the header."""
    for _ in range(count):
        changed = bytearray(data)
        header = min(len(data), 4096)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(max(1, header if chance.random() < 0.8 else len(changed)))
            kind = chance.randrange(5)
            if kind == 0:
                del changed[at:]
            elif kind == 1:
                del changed[at : at + chance.randrange(1, 9)]
            elif kind == 2:
                changed[at:at] = changed[at : at + chance.randrange(1, 9)]
            elif at < len(changed):
                changed[at] = chance.choice((0, 0xFF, 0x5C, chance.randrange(256)))
        yield bytes(changed)


def told_without_harm(path: Path, data: bytes) -> None:
    """Inspect a file that holds these bytes, and check what is told."""
    path.write_bytes(data)
    inspection = inspect(path, phi=True)
    json.dumps(to_record(inspection), allow_nan=False)
    assert line(inspection.facts)
    assert all(lines for _, lines in sections(inspection))
    for finding in inspection.findings:
        assert finding.found.isprintable()
        assert not any(reason in finding.found for reason in _OURS), finding


def main() -> None:
    """Go on until time is up, and say how many files were tried."""
    end, chance, tried = time.monotonic() + float(sys.argv[1]), random.Random(), 0
    files = [Path(each) for each in sys.argv[2:]] or [*corpus_files(), *pydicom_files()]
    files = [path for path in files if path.stat().st_size < 1 << 20]
    with TemporaryDirectory() as folder:
        while time.monotonic() < end:
            source = chance.choice(files)
            for data in mutated(source.read_bytes(), chance, 4):
                try:
                    told_without_harm(Path(folder) / "a.dcm", data)
                except BaseException:
                    kept = Path(f"failing-{source.name}")
                    kept.write_bytes(data)
                    print(f"{source.name}: kept as {kept}", file=sys.stderr)
                    raise
                tried += 1
    print(f"{tried} files")


if __name__ == "__main__":
    main()
