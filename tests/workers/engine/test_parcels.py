"""What a worker does with a parcel."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from cinemill_workers.engine.parcels import STATES, codec_threads


def test_every_success_of_the_core_has_a_state() -> None:
    from cinemill.operations.receipt import SUCCESSES

    assert set(STATES) == set(SUCCESSES) - {"verified"}, "verifying is no job"


@given(st.integers(1, 1000))
def test_threads_never_exceed_the_cores(outstanding: int) -> None:
    cores = len(os.sched_getaffinity(0))
    assert 1 <= codec_threads(outstanding) <= max(1, cores // min(outstanding, cores))
