"""Work that takes long, in turns."""

import threading

import pytest

from cinemill.errors import Cancelled
from cinemill.serve.turns import Busy, Turns


def test_one_at_a_time_some_wait_and_others_are_told_to_come_again():
    turns, began, end = Turns(), threading.Semaphore(0), threading.Event()
    working: list[int] = []
    most: list[int] = []

    def work(**options):
        began.release()
        with turns.turn(lambda: False, **options):
            working.append(1)
            most.append(len(working))
            end.wait(30)
            working.pop()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
        began.acquire(timeout=30)
    while turns._places._value:
        end.wait(0.01)
    with pytest.raises(Busy, match="ask again later"), turns.turn(lambda: False):
        pass
    going_on = threading.Thread(target=work, kwargs={"begun": True})
    going_on.start()
    end.set()
    going_on.join(30)
    for thread in threads:
        thread.join()
    assert most == [1] * 17
    with turns.turn(lambda: True):
        pass


def test_who_is_gone_waits_no_longer():
    turns = Turns()
    with turns.turn(lambda: False), pytest.raises(Cancelled), turns.turn(lambda: True):
        pass
    with turns.turn(lambda: False):
        pass
