"""The guard: its floors belong to rows, and a slower encoder falls through them."""

import numpy as np
import pytest

import guard
import measure
from comparisons import Comparison, Prepared

MEASURED = ["znver3 AVX2", "znver4 AVX2", "znver5 AVX-512"]


def test_every_floor_belongs_to_a_row():
    for processor in (*MEASURED, "another"):
        assert guard.read_floors(processor).keys() <= guard._ROWS.keys()


@pytest.mark.parametrize("processor", MEASURED)
def test_a_measured_processor_has_higher_floors(processor):
    measured, promised = guard.read_floors(processor), guard.read_floors("another")
    assert all(measured[name] >= promised[name] for name in promised)


def test_the_best_rounds_count():
    assert measure.ratio([2.0, 9.0, 3.0], [1.0, 1.5, 8.0]) == 2.0


def busy(size):
    values = np.random.default_rng(0).random(size)
    return lambda: np.sort(values)


@pytest.mark.parametrize(("floor", "code"), [(0.02, 0), (50.0, 1)])
def test_exit_code(monkeypatch, capsys, floor, code):
    row = Comparison("row", lambda: Prepared(busy(200_000), busy(200_000), 0))
    monkeypatch.setattr(guard, "_ROWS", {"row": row})
    monkeypatch.setattr(guard, "read_floors", lambda _: {"row": floor})
    monkeypatch.setattr("sys.argv", ["guard.py"])
    assert guard.main() == code
    assert ("BELOW" in capsys.readouterr().out) == bool(code)
