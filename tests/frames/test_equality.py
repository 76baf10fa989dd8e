"""Frames are the same if every sample is, however they lie in memory."""

import numpy as np
import pytest

from cinemill.frames.equality import same_samples


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 4), (8, 16), (7, 9, 3)])
def test_each_sample_counts(kind, shape):
    frame = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    assert same_samples(frame, frame.copy())
    for place in np.ndindex(shape):
        other = frame.copy()
        other[place] += 1
        assert not same_samples(frame, other)


def test_shape_and_order_in_memory_do_not_hide_a_difference():
    frame = np.arange(60, dtype=np.uint8).reshape(6, 10)
    assert same_samples(frame, np.asfortranarray(frame))
    assert same_samples(frame[:, ::2], frame[:, ::2].copy())
    assert not same_samples(frame[:, ::2], frame[:, 1::2].copy())
    assert not same_samples(frame, frame.reshape(10, 6))
    assert same_samples(frame, frame.astype(np.uint16))
