"""A number is what its VR says it is, and none where that says it is no binary integer."""

from __future__ import annotations

import numpy as np
import pytest

import cinemill
from cinemill.errors import DamagedFile
from tests.support.generate import BIG_ENDIAN, EXPLICIT, header, native_bytes, native_element, noise, part10

FRAMES = noise((2, 9, 11), 16).astype(np.int16)


def described(syntax, old, new):
    """A file whose header has one element otherwise."""
    pixels = FRAMES.astype(">i2").tobytes() if syntax == BIG_ENDIAN else native_bytes(FRAMES)
    encoded = part10(header(FRAMES), native_element(pixels, syntax), syntax)
    assert encoded.count(old) == 1
    return encoded.replace(old, new)


@pytest.mark.parametrize("vr", [b"UL", b"SL"])
def test_a_long_integer_is_read_as_one(vr):
    big = described(BIG_ENDIAN, b"\0\x28\1\3US\0\2\0\1", b"\0\x28\1\3" + vr + b"\0\4\0\0\0\1")
    little = described(EXPLICIT, b"\x28\0\3\1US\2\0\1\0", b"\x28\0\3\1" + vr + b"\4\0\1\0\0\0")
    for encoded in (big, little):
        with cinemill.open(encoded) as cine:
            assert cine[0].dtype == np.int16
            np.testing.assert_array_equal(cine[0], FRAMES[0])


def test_text_is_no_number():
    encoded = described(EXPLICIT, b"\x28\0\x10\0US\2\0\x09\0", b"\x28\0\x10\0IS\2\0009 ")
    with (
        pytest.raises(DamagedFile, match=r"Rows \(0028,0010\) has the VR IS, expected US"),
        cinemill.open(encoded) as cine,
    ):
        cine[0]
