"""Indexes a large tree: instances a second, memory, sizes, and how long queries of the tables take.

    python bench/index.py [SRC...] [--instances N] [--folder DIR] [--jobs N]

makes a tree of N hard links to a few files (those given, or small ones that are made), 500 to a folder; runs ``cinemill index``
on it to Parquet, once anew and once with everything there; reads the headers of a sample by pydicom's dcmread in the same
run, with and without what the facts need; and runs the queries of the README in DuckDB. Memory is the sum of what the
processes of the command hold of their own (Pss), sampled ten times a second, at most. Exit code 1: a row is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from pydicom import dcmread

from instances import make_instances

_IN_FOLDER = 500
_MADE = 40
_SAMPLE = 2_000
_COMMAND = [sys.executable, "-c", "from cinemill.cli import main; main()", "index"]
_README = Path(__file__).parents[1] / "README.md"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", type=Path, help="files that are linked to")
    parser.add_argument("--instances", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the tree is made and removed again")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        here = Path(folder)
        tree, output = here / "archive", here / "2019.parquet"
        files = _link(_files(arguments.sources, here / "made"), tree, arguments.instances)
        print(f"{files:,} files, {arguments.jobs} processes, load {os.getloadavg()[0]:.1f}")
        print("| run | seconds | processor seconds | instances a second | of a core | peak MB |")
        print("|---|---|---|---|---|---|", flush=True)
        well = True
        for run in ("anew", "all there"):
            well &= _index(run, tree, output, arguments.jobs) == files
        _pydicom(tree)
        _show_sizes(here, files)
        _query(here)
    return 0 if well else 1


def _files(given: Sequence[Path], made: Path) -> list[Path]:
    if not given:
        make_instances(made, _MADE)
        given = [made]
    found = (path for each in given for path in ([each] if each.is_file() else sorted(each.rglob("*"))))
    return [path for path in found if path.is_file()]


def _link(files: Sequence[Path], tree: Path, count: int) -> int:
    """Link to files in turn; return how many of the links are DICOM, as pydicom sees them."""
    for number in range(count):
        folder = tree / f"{number // _IN_FOLDER:05}"
        if number % _IN_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(files[number % len(files)], folder / f"{number:07}.dcm")
    return count


def _index(run: str, tree: Path, output: Path, jobs: int) -> int:
    started = time.perf_counter()
    command = [*_COMMAND, str(tree), "-o", str(output), "--jobs", str(jobs), "--json", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process, _watching(process.pid) as watched:
        told, _ = process.communicate()
    seconds = time.perf_counter() - started
    found = json.loads(told)
    number = found["instances"] + found["not_dicom"]
    busy = watched.processor
    print(
        f"| {run} | {seconds:.1f} | {busy:.1f} | {number / seconds:,.0f} | {number / busy:,.0f} | {watched.peak:.0f} |",
        flush=True,
    )
    return int(number)


class _Watched:
    """What was seen of processes."""

    peak = 0.0
    processor = 0.0


@contextmanager
def _watching(session: int) -> Iterator[_Watched]:
    """Sample the processes of a session until the context is left."""
    seen, over, ticks = _Watched(), threading.Event(), os.sysconf("SC_CLK_TCK")
    used: dict[str, float] = {}

    def watch() -> None:
        while not over.wait(0.1):
            total = 0
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, ValueError, IndexError, StopIteration):
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == session:
                        rollup = (process / "smaps_rollup").read_text()
                        total += int(re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE)[0])
                        used[process.name] = (int(fields[11]) + int(fields[12])) / ticks
            seen.peak = max(seen.peak, total * 1024 / 1e6)
            seen.processor = max(sum(used.values()), 1e-9)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _pydicom(tree: Path) -> None:
    """Read a sample of headers, as scripts do: as they come, and with each element's value."""
    paths = sorted(tree.rglob("*.dcm"))
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    for name, values in (("pydicom dcmread(stop_before_pixels)", False), ("… and all values", True)):
        started = time.process_time()
        for path in sample:
            with warnings.catch_warnings(), suppress(Exception):
                warnings.simplefilter("ignore")
                dataset = dcmread(path, stop_before_pixels=True, force=False)
                if values:
                    for element in dataset:
                        _ = element.value
        busy = time.process_time() - started
        print(f"| {name} | | {busy:.1f} | | {len(sample) / busy:,.0f} | |", flush=True)


def _show_sizes(here: Path, files: int) -> None:
    print("\n| output | MB | bytes an instance |\n|---|---|---|")
    for path in sorted(here.glob("2019.*")):
        size = path.stat().st_size
        print(f"| {path.name} | {size / 1e6:.1f} | {size / files:.0f} |")


def _query(here: Path) -> None:
    print("\n| query | ms | rows |\n|---|---|---|")
    text = _README.read_text().replace("'2019.parquet'", f"'{here}/2019.parquet'")
    for query in re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if "2019.parquet" in query:
            started = time.perf_counter()
            rows = duckdb.execute(query).fetchall()
            took = 1e3 * (time.perf_counter() - started)
            print(f"| {' '.join(query.split())[:70]} … | {took:.0f} | {len(rows)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
