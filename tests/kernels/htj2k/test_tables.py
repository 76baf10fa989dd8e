"""The tables of T.814: what is coded by them is decoded by them, and no code word begins with another."""

import numpy as np
import pytest

from cinemill.kernels.htj2k import tables

ROWS = ("first row", tables._FIRST_ROW), ("other rows", tables._OTHER_ROWS)


@pytest.mark.parametrize("row", [0, 1], ids=["first row", "other rows"])
def test_code_words_of_a_context_use_all_of_the_code_space(row):
    codes = tables._codes(ROWS[row][1])
    for context in range(8):
        of_context = {(code.word, code.length) for code in codes if code.context == context}
        assert sum(2.0**-length for _, length in of_context) <= 1
        for word, length in of_context:
            beginnings = [(word & (1 << shorter) - 1, shorter) for shorter in range(1, length)]
            assert of_context.isdisjoint(beginnings)


@pytest.mark.parametrize("row", [0, 1], ids=["first row", "other rows"])
def test_every_quad_is_found_again(row):
    """Of each context, significance, and samples that reach the bound, if u follows."""
    encoding, decoding = tables.vlc_encoding()[row], tables.vlc_decoding()[row]
    seen = 0
    for context in range(8):
        place = context if row == 0 else (context & 1) | context >> 1 & 2 | context << 1 & 4
        for key in range(256):
            significance, reaching = key >> 4, key & 15
            if reaching & ~significance or (context == 0 and significance == 0):
                continue
            entry = int(encoding[context << 8 | key])
            word, length = entry >> 1 & 0x7F, entry >> 9 & 7
            known = sum((entry >> 8 * sample & 1) << sample for sample in range(4))
            assert length
            for rest in {0, (1 << 7 - length) - 1}:
                found = int(decoding[place << 7 | rest << length | word])
                assert found & 63 == length
                assert found >> 16 & 15 == significance
                assert (found >> 6 & 1) == (reaching != 0)
                assert found >> 24 & 15 == known
                assert found >> 20 & 15 == known & reaching
            seen += 1
    assert seen == 8 * 81 - 1


@pytest.mark.parametrize("row", [0, 1], ids=["first row", "other rows"])
def test_every_pair_of_u_is_found_again(row):
    encoding, decoding = tables.u_encoding()[row], tables.u_decoding()[row]
    for first, second in np.ndindex(32, 32):
        entry = int(encoding[first | second << 5])
        word, length = entry & 0xFFFFFFFF, entry >> 32
        event = row == 0 and min(first, second) > 2
        found = int(decoding[word & 63 | (first > 0) << 6 | (second > 0) << 7 | event << 8])
        assert found & 63 == length
        assert word >> length == 0
        suffixes = word >> (found >> 8 & 63)
        masks = found >> 16 & 255, found >> 24 & 255
        u = (found >> 32 & 255) + (suffixes & masks[0])
        assert u == first
        assert (found >> 40 & 255) + (suffixes >> masks[0].bit_count() & masks[1]) == second


def test_runs_of_zeros_are_found_again():
    encoding, decoding = tables.mel_encoding(), tables.mel_decoding()
    for state in range(13):
        for zeros in range(64):
            entry = int(encoding[state << 6 | zeros])
            at, found = state, 0
            for _ in range(entry & 255):
                step = int(decoding[at << 6 | 63])
                assert step & 63 == 1
                assert not step >> 16 & 1
                found += step >> 8 & 255
                at = step >> 20 & 15
            assert at == entry >> 16 & 15
            assert entry >> 20 == tables.MEL_EXPONENTS[at]
            assert found + (entry >> 8 & 255) == zeros
            # A one after them ends the run: a zero, and how many zeros it is after.
            left = entry >> 8 & 255
            step = int(decoding[at << 6 | left << 5 - tables.MEL_EXPONENTS[at]])
            assert step & 63 == 1 + tables.MEL_EXPONENTS[at]
            assert step >> 8 & 255 == left + 1
            assert step >> 16 & 1


def test_tables_are_not_to_be_changed():
    for table in (tables.vlc_encoding(), tables.u_encoding(), tables.mel_encoding(), tables.vlc_decoding()):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
