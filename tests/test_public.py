"""What cinemill offers under its own name."""

from __future__ import annotations

import pytest

import cinemill


def test_the_public_names():
    names = [
        "Cine",
        "CinemillError",
        "Receipt",
        "__version__",
        "extract",
        "open",
        "split",
        "transcode",
        "verify",
    ]
    assert sorted(cinemill.__all__) == names
    assert set(names) <= set(dir(cinemill))


@pytest.mark.parametrize("name", sorted(set(cinemill.__all__) - {"__version__"}))
def test_a_public_name_is_there_and_described(name):
    assert getattr(cinemill, name).__doc__


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'decode_everything'"):
        _ = cinemill.decode_everything
