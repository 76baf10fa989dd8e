"""Stages keep their order, draw no more than they must, and stop at the first failure."""

import contextlib
import gc
import threading
import weakref
from collections import deque
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinemill.errors import Cancelled
from cinemill.pipeline import chunks, pipeline
from tests.support.harness import wait_until


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads):
    with pipeline(threads) as pipe:
        assert list(pipe.stage(lambda n: n * n, range(100))) == [n * n for n in range(100)]


@pytest.mark.parametrize("threads", [1, 3])
def test_only_a_few_items_are_drawn_ahead(threads):
    drawn = 0

    def items():
        nonlocal drawn
        for drawn in range(1, 1001):
            yield drawn

    with pipeline(threads) as pipe:
        for taken, _ in enumerate(pipe.stage(lambda n: n, items()), 1):
            assert drawn - taken <= threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_what_is_made_is_written_in_order_and_checked(threads):
    written: list[int] = []

    def write(n):
        written.append(n)
        return n

    with pipeline(threads) as pipe:
        told = list(pipe.written(lambda n: n * n, write, lambda n: -n, range(100)))
    assert written == [n * n for n in range(100)]
    assert told == [-n for n in written]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("large", [False, True])
def test_no_more_items_are_held_than_threads_and_one_unless_they_are_large(threads, large):
    held: deque[None] = deque()
    making = threading.Lock()
    most = threads if large else threads + 1

    class Item:
        def __init__(self):
            held.append(None)

        def __del__(self):
            held.pop()

    def make(_):
        with making:  # a thread that has handed an item over lets go of it when it runs next
            wait_until(lambda: len(held) < most, 20, pause=0.001)
            return Item()

    with pipeline(threads) as pipe:
        told = pipe.written(make, lambda item: item, lambda _: None, range(200), large=large)
        assert sum(1 for _ in told) == 200


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fails", ["make", "write", "check"])
def test_a_failure_of_any_step_ends_it(threads, fails):
    def step(name):
        def work(n):
            if name == fails and n == 7:
                raise ValueError(name)
            return n

        return work

    written: list[int] = []
    with pipeline(threads) as pipe, pytest.raises(ValueError, match=fails):
        written.extend(pipe.written(step("make"), step("write"), step("check"), range(1000)))
    assert written == list(range(len(written)))
    assert len(written) <= 7


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_failure_in_order_wins(threads):
    def work(n):
        if n in {7, 8}:
            raise ValueError(n)
        return n

    done: list[int] = []
    with pipeline(threads) as pipe, pytest.raises(ValueError, match="7"):
        done.extend(pipe.stage(work, range(1000)))


@pytest.mark.parametrize("threads", [1, 4])
def test_cancelling_ends_after_the_items_under_way(threads):
    stop = threading.Event()
    begun = []

    def work(n):
        begun.append(n)
        if n == 10:
            stop.set()
        return n

    with pytest.raises(Cancelled), pipeline(threads, stop.is_set) as pipe:
        list(pipe.stage(work, range(1000)))
    assert len(begun) <= 11 + 2 * threads


@given(
    frames=st.integers(1, 500),
    frame_bytes=st.integers(0, 200_000_000),
    batch=st.sampled_from([1, 16, 32]),
    threads=st.integers(1, 8),
    lanes_first=st.booleans(),
)
def test_chunks_cover_all_frames_once_and_stay_small(frames, frame_bytes, batch, threads, lanes_first):
    cut = list(chunks(frames, frame_bytes, batch, threads, lanes_first=lanes_first))
    assert [index for chunk in cut for index in chunk] == list(range(frames))
    assert all(len(chunk) * frame_bytes <= max(40 << 20, frame_bytes) for chunk in cut)


def test_a_batch_that_is_too_large_is_halved():
    assert [len(chunk) for chunk in chunks(96, 2 << 20, 32, threads=1)] == [16] * 6


def test_what_is_left_of_large_frames_is_no_larger_than_a_chunk():
    cut = chunks(39, 8 << 20, 32, threads=8, lanes_first=True)
    assert max(map(len, cut)) * (8 << 20) <= 40 << 20


def test_threads_share_what_is_left():
    """A last chunk of eight would keep one thread busy while the other has nothing to do."""
    sizes = [len(chunk) for chunk in chunks(200, 1 << 20, 16, threads=2)]
    assert sizes == [16] * 12 + [4, 4]


@pytest.mark.parametrize(
    ("frames", "sizes"), [(4, [2, 2]), (11, [11]), (16, [16]), (22, [11, 11]), (75, [16] * 4 + [11])]
)
def test_lanes_are_filled_before_threads_where_nothing_but_coding_is_done(frames, sizes):
    """Eleven frames cost a codec of sixteen lanes what six do."""
    assert [len(chunk) for chunk in chunks(frames, 1 << 20, 32, threads=2, lanes_first=True)] == sizes


class _Frames:
    """What is large."""


@pytest.mark.parametrize("stage", ["make", "check", "stage"])
def test_what_fails_on_threads_leaves_no_frames_for_somebody_to_look_for(stage):
    there: list[weakref.ref[_Frames]] = []

    def failing(number, name):
        frames = _Frames()
        there.append(weakref.ref(frames))
        if name == stage and number == 5:
            raise ValueError(number)
        return number

    def run():
        with pipeline(3) as pipe:
            if stage == "stage":
                list(pipe.stage(lambda number: failing(number, "stage"), range(9)))
            else:
                make, check = partial(failing, name="make"), partial(failing, name="check")
                list(pipe.written(make, lambda made: made, check, range(9)))

    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            run()
        assert [each() for each in there] == [None] * len(there)
        assert len(there) > 5
    finally:
        gc.enable()
