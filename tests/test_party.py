"""Threads that work by turns: who works when, what is done once for all, and whose error it is."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cinemill.errors import OutputError
from cinemill.party import Party, current, once, waiting
from cinemill.storage.atomic import sync
from cinemill.storage.file import Sink


def outcomes(*works):
    """What the threads of a party return, or the error of each."""
    with ThreadPoolExecutor(1) as caller, ThreadPoolExecutor(len(works)) as executor:
        party = Party(len(works), caller)

        def one(work):
            with party.joined():
                try:
                    return work()
                except OutputError as error:
                    return error

        return [future.result(timeout=120) for future in [executor.submit(one, work) for work in works]]


def test_one_thread_works_at_a_time_and_lets_the_others_while_it_waits():
    at_work, most_at_work = 0, 0
    all_wait = threading.Barrier(5)

    def worked():
        nonlocal at_work, most_at_work
        at_work += 1
        most_at_work = max(most_at_work, at_work)
        time.sleep(0.002)
        at_work -= 1

    def work():
        worked()
        with waiting():
            all_wait.wait(timeout=120)
        worked()

    outcomes(*[work] * 5)
    assert at_work == 0
    assert most_at_work == 1


def test_calls_of_all_threads_are_made_by_one_that_is_none_of_them():
    callers, members = set(), set()

    def doubled(given):
        callers.add(threading.get_ident())
        return [2 * each for each in given]

    def work(number):
        members.add(threading.get_ident())
        party: Any = current()
        together = party.call("alike", doubled, [number])
        alone = party.alone(lambda: doubled([9])[0])
        return [*together, *party.call(number, doubled, [number]), alone]

    assert outcomes(*(lambda n=n: work(n) for n in range(4))) == [[2 * n, 2 * n, 18] for n in range(4)]
    assert len(callers) == 1
    assert len(members) == 4
    assert not callers & members


def test_what_is_done_once_is_done_when_all_have_come():
    said = []

    def work(number):
        said.append(number)
        once(said.append, "even" if number % 2 == 0 else "odd")
        said.append(number)

    outcomes(*(lambda n=n: work(n) for n in range(5)))
    assert set(said[:5]) == set(said[7:]) == set(range(5))
    assert set(said[5:7]) == {"even", "odd"}


def test_what_goes_wrong_once_goes_wrong_for_all_that_asked_for_it():
    def done(_):
        pass

    def refused(folder):
        raise OutputError(folder)

    works: list[Any] = [done, refused, refused]
    told = outcomes(*(lambda work=work: once(work, "folder") for work in works))
    assert [isinstance(each, OutputError) for each in told] == [False, True, True]


def test_without_a_party_nobody_is_waited_for():
    said: list[int] = []
    with waiting():
        once(said.append, 1)
    assert said == [1]
    assert current() is None


@pytest.mark.parametrize("folders", [1, 2])
def test_a_directory_is_synced_once_for_the_files_of_a_party_which_all_have_their_names(
    tmp_path, monkeypatch, folders
):
    synced = []
    paths = [tmp_path / str(number % folders) / f"file{number}" for number in range(4)]

    def noted(path):
        synced.append((path, len(list(path.iterdir()))))
        sync(path)

    monkeypatch.setattr("cinemill.storage.file.sync", noted)

    def work(path):
        with Sink(path) as sink:
            sink.write(b"bytes")
            sink.finish()
            assert not path.exists()
            sink.commit()
            assert any(path.parent == folder for folder, _ in synced)

    outcomes(*(lambda path=path: work(path) for path in paths))
    assert sorted(synced) == [(tmp_path / str(number), 2 * 4 // folders) for number in range(folders)]
    assert [path.read_bytes() for path in paths] == [b"bytes"] * 4


def test_who_waited_longest_works_next():
    nobody: Any = None
    party, worked = Party(6, nobody), []

    def work(number):
        with party.joined():
            worked.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in (4, 1, 3, 0, 2)]
    with party.joined():
        for place, thread in enumerate(threads, 1):
            thread.start()
            while len(party._in_line) < place:
                time.sleep(0.001)
        assert worked == []
    for thread in threads:
        thread.join(20)
    assert worked == [4, 1, 3, 0, 2]


def test_threads_that_wait_call_and_fail_at_random_all_get_what_is_theirs():
    def checked(given):
        if any(each % 7 == 3 for each in given):
            raise ValueError("three")
        return [3 * each for each in given]

    def work(number):
        chance, made = random.Random(number), 0
        party: Any = current()
        for each in range(40):
            with waiting():
                time.sleep(chance.choice((0, 0, 1e-4)))
            if chance.random() < 0.5:
                given = 100 * number + each
                try:
                    assert party.call(each % 3, checked, [given]) == [3 * given]
                    assert given % 7 != 3
                except ValueError:
                    assert given % 7 == 3
                made += 1
        return made

    assert min(outcomes(*(lambda n=n: work(n) for n in range(8)))) > 0
