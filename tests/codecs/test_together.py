"""Calls of several threads made as one: who gets what, whose error it is, and that nobody waits for ever."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cinemill.codecs import together
from cinemill.codecs.table import encoder
from cinemill.errors import CodecError
from cinemill.party import Party, waiting
from tests.support.generate import noise

PIXELS = object()
encode: Any = together.encode
decode: Any = together.decode


class Doubling:
    """Doubles numbers; fails of any that is negative."""

    name, version, batch = "doubling", "1", 16

    def __init__(self):
        self.calls = []

    def encode(self, frames, pixels):
        self.calls.append(len(frames))
        for index, frame in enumerate(frames):
            if frame < 0:
                raise CodecError("negative", frame=index)
        return [2 * frame for frame in frames]

    decode = encode


def outcomes(works):
    """What the threads of a party return, or the error of each."""
    caller = ThreadPoolExecutor(1)
    party = Party(len(works), caller)

    def one(work):
        with party.joined():
            try:
                return work()
            except CodecError as error:
                return error

    with caller, ThreadPoolExecutor(len(works)) as executor:
        return [future.result(timeout=120) for future in [executor.submit(one, work) for work in works]]


def test_calls_are_made_as_one_and_each_gets_its_own():
    codec = Doubling()
    works = [lambda given=[n, n + 100][: 1 + n % 2]: encode(codec, given, PIXELS) for n in range(7)]
    assert outcomes(works) == [[2 * n, 2 * n + 200][: 1 + n % 2] for n in range(7)]
    assert codec.calls == [10]


def test_other_formats_are_other_calls():
    codec = Doubling()
    works = [lambda n=n: encode(codec, [n], n % 2) for n in range(6)]
    assert outcomes(works) == [[2 * n] for n in range(6)]
    assert codec.calls == [3, 3]


def test_an_error_is_that_of_its_own_frames():
    codec = Doubling()
    works = [lambda n=n: decode(codec, [1, n], PIXELS) for n in (3, -4, 5)]
    first, second, third = outcomes(works)
    assert (first, third) == ([2, 6], [2, 10])
    assert isinstance(second, CodecError)
    assert second.frame == 1


def test_threads_with_other_numbers_of_calls_wait_for_nobody_who_has_left():
    codec = Doubling()

    def work(calls):
        return [encode(codec, [number], PIXELS) for number in range(calls)]

    assert outcomes([lambda n=n: work(n) for n in range(5)]) == [
        [[2 * i] for i in range(n)] for n in range(5)
    ]
    assert codec.calls == [4, 3, 2, 1]


def test_a_codec_that_takes_one_frame_at_a_time_is_not_waited_for():
    codec = Doubling()
    codec.batch = 1
    called = threading.Event()

    def first():
        encode(codec, [1], PIXELS)
        called.set()

    def second():
        with waiting():
            return called.wait(20)

    assert outcomes([first, second]) == [None, True]


@pytest.mark.parametrize("batch", [1, 16])
def test_a_party_makes_one_call_at_a_time(monkeypatch, batch):
    codec, under_way = Doubling(), threading.Lock()
    codec.batch = batch

    def exclusive(frames, pixels, honest=codec.encode):
        assert under_way.acquire(blocking=False)
        time.sleep(0.01)
        under_way.release()
        return honest(frames, pixels)

    monkeypatch.setattr(codec, "encode", exclusive)
    assert outcomes([lambda n=n: encode(codec, [n], n) for n in range(6)]) == [[2 * n] for n in range(6)]


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("large", [0, 1, 3, 6])
def test_large_instances_take_turns_and_stills_go_on(large, batch):
    codec, at_once, most = Doubling(), [0], [0]

    def work(nbytes):
        with together.within(nbytes):
            if nbytes > 1:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            made = encode(codec, [1], PIXELS) + decode(codec, [2], PIXELS)
            at_once[0] -= nbytes > 1
        return made

    codec.batch = batch
    works = [lambda n=n: work(1 << 30 if n < large else 1) for n in range(6)]
    assert outcomes(works) == [[2, 4]] * 6
    assert most[0] == min(large, 1)


@pytest.mark.parametrize("name", ["jpeg-ls", "jpeg-2000"])
def test_stills_in_a_party_have_the_bytes_that_they_have_alone(name):
    from cinemill.pixel_format import PixelFormat

    pixels = PixelFormat(40, 50, 1, 8, 8, False, "MONOCHROME2")  # noqa: FBT003
    codec, frames = encoder(name), list(noise((9, 40, 50)))
    alone = [codec.encode([frame], pixels) for frame in frames]
    works = [lambda frame=frame: encode(codec, [frame], pixels) for frame in frames]
    assert outcomes(works) == alone
