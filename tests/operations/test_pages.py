"""How people read what pages and commands tell."""

import pytest

from cinemill.operations.inspect import words
from cinemill.operations.inspect.inspect import inspect
from cinemill.operations.pages import in_bytes
from tests.support.files import bundled


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (6328, "6.33 kB"),
        (999_900, "1,000 kB"),
        (1 << 20, "1.05 MB"),
        (2.5e9, "2.5 GB"),
        (4e16, "40,000 TB"),
    ],
)
def test_sizes_are_told_in_decimal_units(size, told):
    assert in_bytes(size) == told


def test_an_inspection_counts_as_all_commands_do():
    facts = inspect(bundled("CT_small.dcm")).facts
    assert words.line(facts).endswith(in_bytes(facts.file_bytes))
    assert "39.2 kB" in words.line(facts)
