"""Runs many small instances through the service, and says what one of them costs more than in `cinemill transcode`.

    python bench/service.py [--instances 10000] [--workers 1] [--jobs 2] [--redis URL] [--record FILE.json]

makes instances of 1 KB, a thousand to a directory, and transcodes them by ``cinemill transcode`` and by a job of the
service, upon the server at URL or a private one. What is measured lies between the submission and the end of the job:
processor time of workers, stewards and server, commands of the server, and memory over time. What the memory grows by is
fitted to the second half of the job, without the end where nothing is listed any more, and carried on to 100 million
instances. Take at least 50,000, and a folder in memory: an output is synced, which a disk does a hundred times a second.
Exit code 1: an instance is missing, or stands twice in the report.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from cinemill_workers.local.embedded import Server
from instances import make_instances

MANY = 100_000_000
FEW = 200
"""Instances of the run that shows what starting costs."""

MOST_WAITING = 256 * 32
"""Instances that are listed ahead: they leave the server's memory towards the end of a job."""
COMMAND = (sys.executable, "-m", "cinemill_workers.cli")
_PR_SET_CHILD_SUBREAPER = 36
_PAGE, _TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_COMMAND = """
import atexit, sys
from cinemill_workers.cli.main import main
@atexit.register
def tell():
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
main()
"""
TRANSCODE = ("--to", "jpeg-ls", "--if-larger", "write")
"""So small an instance grows by what its output remembers."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1, help="how many are started")
    parser.add_argument(
        "--jobs", type=int, default=2, help="children of each; processes of `transcode` altogether"
    )
    parser.add_argument("--redis", help="a server's URL; it should hold nothing else")
    parser.add_argument("--folder", type=Path, help="where all is made and removed again")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--record", type=Path, help="a JSON file for the figures and all samples")
    arguments = parser.parse_args()
    _adopt_orphans()
    subprocess.run([sys.executable, "-c", "from cinemill.warmup import load_all; load_all()"], check=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="cm-") as made:
        folder = Path(made)
        make_instances(folder / "few", FEW)
        make_instances(folder / "in", arguments.instances)
        alone = transcode(folder, arguments.instances, arguments.workers * arguments.jobs)
        with _server(arguments.redis, folder) as url:
            service = Service(url, folder, arguments.every)
            found = service.run(arguments.workers, arguments.jobs)
    figures = {"transcode_ms": alone, **found}
    if arguments.record:
        arguments.record.write_text(
            json.dumps({"figures": figures, "samples": [asdict(each) for each in service.samples]}, indent=1)
        )
    print_tables(figures, service.samples, arguments.instances)
    whole = found["settled"] == found["rows"] == found["sources"] == arguments.instances
    return 0 if whole else 1


def transcode(folder: Path, count: int, jobs: int) -> float:
    """Return the milliseconds of processor time that `cinemill transcode` takes for an instance, without its start."""
    seconds = []
    for name in ("few", "in"):
        began = _children_seconds()
        options = [
            *TRANSCODE,
            "--jobs",
            str(jobs),
            "--quiet",
            "--report",
            str(folder / f"{name}.jsonl"),
        ]
        arguments = ["transcode", str(folder / name), str(folder / f"{name}-alone"), *options]
        subprocess.run([*COMMAND, *arguments], check=True)
        _wait_for_orphans()
        seconds.append(_children_seconds() - began)
    return 1e3 * (seconds[1] - seconds[0]) / (count - FEW)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends: its workers' processor time is counted then."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


@contextlib.contextmanager
def _server(url: str | None, folder: Path) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with Server(folder / "state", folder / "s") as server:
        yield f"unix://{server.socket}"


@dataclass(frozen=True)
class Sample:
    """What the service had used at one moment; memory in bytes, processor time in seconds."""

    seconds: float
    settled: int
    server_memory: int
    append_only_file: int
    stewards_memory: int
    mains_memory: int
    children_memory: int
    largest_child_memory: int
    workers_processor: float
    stewards_processor: float
    server_processor: float
    commands: int
    reads: int


class Service:
    """Workers upon a server, and what they use.

    Parameters
    ----------
    url
        The server.
    folder
        Holds the instances, ``in``.
    every
        Seconds between two samples.
    """

    def __init__(self, url: str, folder: Path, every: float) -> None:
        self._folder = folder
        self._every = every
        self._environment = {**os.environ, "CINEMILL_BROKER_URL": url, "CINEMILL_METRICS_PORT": ""}
        self._redis: Any = Redis.from_url(url)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._began = 0.0
        self.samples: list[Sample] = []

    def run(self, workers: int, jobs: int) -> dict[str, Any]:
        """Have all instances done by a job; return the figures."""
        command = [*COMMAND, "worker", "--jobs", str(jobs)]
        log = self._folder / "workers.log"
        with log.open("wb") as file:
            for _ in range(workers):
                self._workers.append(
                    subprocess.Popen(command, env=self._environment, stdout=file, stderr=file)
                )
        try:
            while log.read_text(errors="replace").count("ready") < workers:
                time.sleep(0.2)
            few = self._submit("few", "--wait")
            assert few["counts"]["done"] == FEW
            return self._run_job()
        finally:
            for worker in self._workers:
                worker.send_signal(signal.SIGTERM)
            for worker in self._workers:
                worker.wait(60)

    def _submit(self, name: str, *options: str) -> dict[str, Any]:
        trees = [str(self._folder / name), str(self._folder / f"{name}-out")]
        done = subprocess.run(
            [*COMMAND, "submit", *trees, *TRANSCODE, "--json", *options],
            env=self._environment,
            check=True,
            capture_output=True,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def _run_job(self) -> dict[str, Any]:
        job = self._submit("in")["id"]
        self._redis.execute_command("CONFIG", "RESETSTAT")
        self._began = time.monotonic()
        self.samples = [self._sample(0)]
        key = f"cinemill:job:{job}"
        finished = False
        while not finished:
            time.sleep(self._every)
            found = {name.decode(): value for name, value in self._redis.hgetall(key).items()}
            finished = float(found.get("finished", 0)) > 0
            states = ("done", "copied", "skipped", "failed", "quarantined")
            self.samples.append(self._sample(sum(int(found[state]) for state in states)))
        calls = self._redis.info("commandstats")
        report = self._report(job)
        kept = sum(
            path.stat().st_size for path in (self._folder / "in-out").glob(".cinemill/**/*") if path.is_file()
        )
        return self._figures(calls) | report | {"receipts_on_disk": kept}

    def _report(self, job: str) -> dict[str, Any]:
        path = self._folder / "report.jsonl"
        began, processor = time.monotonic(), _children_seconds()
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, "jobs", "report", job, "--output", str(path)],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        figures = {
            "report_seconds": time.monotonic() - began,
            "report_processor_seconds": _children_seconds() - processor,
            "report_peak_mb": int(done.stderr.split()[-1]) * 1024 / 1e6,
            "rows": 0,
        }
        sources = set()
        with path.open() as lines:
            for line in lines:
                figures["rows"] += 1
                sources.add(json.loads(line)["source"])
        return figures | {"sources": len(sources)}

    def _figures(self, calls: dict[str, Any]) -> dict[str, Any]:
        first, last = self.samples[0], self.samples[-1]
        items, own = last.settled or 1, 2 * len(self.samples)

        def each(name: str) -> float:
            return float(getattr(last, name) - getattr(first, name)) / items

        counted = {
            name.removeprefix("cmdstat_"): round(told["calls"] / items, 3)
            for name, told in sorted(calls.items(), key=lambda call: -int(call[1]["calls"]))
        }
        return {
            "settled": last.settled,
            "wall_seconds": last.seconds,
            "workers_ms": 1e3 * each("workers_processor"),
            "stewards_ms": 1e3 * each("stewards_processor"),
            "server_ms": 1e3 * each("server_processor"),
            "commands": each("commands") - own / items,
            "reads": each("reads") - own / items,
            "commands_by_name": {name: count for name, count in counted.items() if count > 0.01},
            **{f"{name}_slope": slope(self.samples, name) for name in GROWING},
        }

    def _sample(self, settled: int) -> Sample:
        about = self._redis.info()
        mains, stewards, children = self._processes()
        memory = {pid: _memory(pid) for pid in (*mains, *stewards, *children)}
        return Sample(
            seconds=time.monotonic() - self._began,
            settled=settled,
            server_memory=about["used_memory"],
            append_only_file=about.get("aof_current_size", 0),
            stewards_memory=sum(memory[pid] for pid in stewards),
            mains_memory=sum(memory[pid] for pid in mains),
            children_memory=sum(memory[pid] for pid in children),
            largest_child_memory=max((memory[pid] for pid in children), default=0),
            workers_processor=sum(_processor(pid, reaped=pid in mains) for pid in (*mains, *children)),
            stewards_processor=sum(_processor(pid, reaped=True) for pid in stewards),
            server_processor=about["used_cpu_user"] + about["used_cpu_sys"],
            commands=about["total_commands_processed"],
            reads=about.get("total_reads_processed", 0),
        )

    def _processes(self) -> tuple[list[int], list[int], list[int]]:
        """Return the process ids of workers, stewards and children."""
        mains = [worker.pid for worker in self._workers]
        stewards: list[int] = []
        children: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in mains:
                    is_steward = b"steward" in (folder / "cmdline").read_bytes()
                    (stewards if is_steward else children).append(int(folder.name))
        return mains, stewards, children


GROWING = (
    "server_memory",
    "append_only_file",
    "stewards_memory",
    "mains_memory",
    "children_memory",
)


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _processor(pid: int, *, reaped: bool) -> float:
    """Return the processor seconds of a process, with those of its children that have ended if wanted."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if reaped else 13])) / _TICK
    return 0.0


def slope(samples: list[Sample], name: str) -> float:
    """Return by how much a figure grows with an instance, over the second half of the job, while all that may wait does."""
    total = samples[-1].settled
    half = [sample for sample in samples if total <= 2 * sample.settled]
    half = [sample for sample in half if sample.settled <= total - MOST_WAITING] or half
    settled = np.array([sample.settled for sample in half], dtype=float)
    if len(half) < 3 or settled[0] == settled[-1]:
        return float("nan")
    return float(np.polyfit(settled, [float(getattr(sample, name)) for sample in half], 1)[0])


def print_tables(figures: dict[str, Any], samples: list[Sample], count: int) -> None:
    """Print what an instance costs, what the memory did, and both carried on."""
    print(
        f"\n{count} instances, {figures['wall_seconds']:.0f} s: {count / figures['wall_seconds']:.0f} a second\n"
    )
    print("| an instance | transcode | service | workers | stewards | server |\n|---|---|---|---|---|---|")
    parts = [figures[f"{name}_ms"] for name in ("workers", "stewards", "server")]
    alone, total = figures["transcode_ms"], sum(parts)
    print(
        f"| ms of processor time | {alone:.2f} | {total:.2f} | "
        + " | ".join(f"{x:.2f}" for x in parts)
        + " |"
    )
    print(
        f"\nover transcode: {total - alone:.2f} ms; {figures['commands']:.1f} commands of the server an instance "
        f"(in scripts too), {figures['reads']:.2f} reads of its sockets"
    )
    names = (f"{name} {calls:.2f}" for name, calls in figures["commands_by_name"].items())
    print("by name: " + ", ".join(names))
    print(
        f"report: {figures['rows']} rows in {figures['report_seconds']:.1f} s "
        f"({figures['report_processor_seconds']:.1f} s of the processor), peak {figures['report_peak_mb']:.0f} MB"
    )
    print(
        f"\n| MB | at first | half-way | at the end | bytes an instance | at {MANY:,} |\n|---|---|---|---|---|---|"
    )
    middle = next(sample for sample in samples if 2 * sample.settled >= samples[-1].settled)
    for name in GROWING:
        three = [getattr(sample, name) / 1e6 for sample in (samples[0], middle, samples[-1])]
        grows = figures[f"{name}_slope"]
        cells = [
            *(f"{x:.1f}" for x in three),
            f"{grows:.1f}",
            f"{three[2] + grows * (MANY - count) / 1e6:,.0f}",
        ]
        print(f"| {re.sub('_', ' ', name)} | " + " | ".join(cells) + " |")
    kept = figures["receipts_on_disk"] / count
    print(f"| receipts on disk | | | {kept * count / 1e6:.1f} | {kept:.1f} | {kept * MANY / 1e6:,.0f} |")
    hours = total * MANY / 3.6e6
    print(
        f"\nat {MANY:,}: {hours:,.0f} hours of one core ({(total - alone) * MANY / 3.6e6:,.0f} over transcode), "
        f"a report of {figures['report_seconds'] * MANY / count / 3600:.1f} hours"
    )


if __name__ == "__main__":
    sys.exit(main())
