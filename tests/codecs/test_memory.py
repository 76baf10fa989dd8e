"""Memory that calls of several kinds share holds what one of them needs, and no array lies in another."""

import numpy as np

from cinemill.codecs.memory import SharedMemory


def test_arrays_of_a_call_lie_side_by_side_however_they_grow():
    memory = SharedMemory()
    memory.begin()
    sizes = {"a": 1000, "b": 3, "c": 40 << 20, "d": 100}
    arrays = {name: memory.array(name, (size,), np.uint8) for name, size in sizes.items()}
    arrays["b"] = memory.array("b", (500, 2), np.int32)
    for number, array in enumerate(arrays.values()):
        array[:] = number
    for number, array in enumerate(arrays.values()):
        assert (array == number).all()


def test_the_next_call_takes_the_place_of_the_last_one():
    memory = SharedMemory()
    memory.begin()
    first = memory.array("coefficients", (1 << 20,), np.int32)
    memory.begin()
    second = memory.array("samples", (1 << 21,), np.int16)
    assert np.shares_memory(first, second)
    assert second.shape == (1 << 21,)
