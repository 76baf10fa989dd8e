"""One fixture that measures a call, beside a reference in the same rounds, and the table of MB/s at the end.

`pytest bench` runs everything once and checks results; `pytest bench -n0 --benchmark-enable` measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cinemill.warmup import load_all
from measure import Call, processor_seconds, ratio, summarise

_ROUNDS = 7
_results: list[tuple[str, dict[str, Any]]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Count processor time, which other people's work on the machine does not add to; compile beforehand."""
    config.option.benchmark_timer = "measure.processor_seconds"
    if config.option.benchmark_enable:
        load_all()


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Measure ``call`` and return its result; with ``reference``, that one too before each round.

    ``before`` is called ahead of each of them, and does not count.
    """

    def run(
        call: Call,
        nbytes: int = 0,
        *,
        reference: Call | None = None,
        rounds: int = _ROUNDS,
        before: Call = lambda: None,
    ) -> Any:
        theirs: list[float] = []
        if not benchmark.enabled:
            return benchmark.pedantic(call, setup=before)

        def turn() -> None:
            before()
            if reference is not None:
                started = processor_seconds()
                reference()
                theirs.append(processor_seconds() - started)
            before()

        result = benchmark.pedantic(call, setup=turn, rounds=rounds, warmup_rounds=1)
        assert benchmark.stats is not None
        ours = benchmark.stats.stats
        info = benchmark.extra_info
        info["ms"] = round(1e3 * ours.median, 2)
        if nbytes:
            info["MB/s"] = round(nbytes / 1e6 / ours.median)
        if reference is not None:
            info["ratio"] = round(ratio(theirs[-rounds:], ours.data), 2)
        _results.append((request.node.nodeid.removeprefix("bench/"), dict(info)))
        return result

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured: MB/s of uncompressed pixels, and the ratio to the reference of the same rounds."""
    if not _results:
        return
    terminalreporter.section("cinemill: processor time, medians")
    width = max(len(name) for name, _ in _results)
    for name, info in _results:
        speed = f"{info['MB/s']:>6} MB/s" if "MB/s" in info else f"{info['ms']:>8} ms"
        against = f"  {info['ratio']:>6} × the reference" if "ratio" in info else ""
        terminalreporter.write_line(f"{name:<{width}} {speed:>12}{against}")
    rows = [
        (name, *(str(info.get(column, "")) for column in ("MB/s", "ms", "ratio"))) for name, info in _results
    ]
    summarise("pytest bench: processor time, medians", ("benchmark", "MB/s", "ms", "× the reference"), rows)
