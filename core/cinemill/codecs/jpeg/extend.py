"""Huffman tables with more symbols than they had, for what is written into codestreams of others (T.81 Annex K.2)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache

_LONGEST = 16
_RESERVED = -1
"""A symbol that is never written: no code word may be all ones (Annex C)."""


@lru_cache(maxsize=64)
def extended(table: bytes, needed: Sequence[int]) -> bytes:
    """Return a table, as 16 counts and symbols, that has all symbols of another one and those that are needed.

    Code words stay about as long as they were: each counts for as much as its length says, and a new one for little.

    Parameters
    ----------
    table
        As it stands in a DHT segment.
    needed
        Symbols that it must have.
    """
    symbols = iter(table[_LONGEST:])
    counts = {
        next(symbols): 1 << _LONGEST + 1 - length
        for length, number in enumerate(table[:_LONGEST], 1)
        for _ in range(number)
    }
    counts |= dict.fromkeys((symbol for symbol in needed if symbol not in counts), 1)
    lengths = _limited(_code_lengths({_RESERVED: 0, **counts}))
    order = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return bytes(lengths) + bytes(order)


def _code_lengths(counts: dict[int, int]) -> list[int]:
    """Return how many code words of each length the best code has, by length - 1 (Figures K.1, K.2)."""
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(count, symbol, (symbol,)) for symbol, count in counts.items()]
    heapq.heapify(heap)
    lengths = dict.fromkeys(counts, 0)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*first[2], *second[2]):
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], first[1], (*first[2], *second[2])))
    numbers = [0] * max(_LONGEST, *lengths.values())
    for length in lengths.values():
        numbers[length - 1] += 1
    return numbers


def _limited(numbers: list[int]) -> list[int]:
    """Shorten code words to 16 bits, and take out the reserved one, which is among the longest (Figure K.3)."""
    for length in range(len(numbers) - 1, _LONGEST - 1, -1):
        while numbers[length]:
            shorter = next(at for at in range(length - 2, -1, -1) if numbers[at])
            numbers[length] -= 2
            numbers[length - 1] += 1
            numbers[shorter + 1] += 2
            numbers[shorter] -= 1
    longest = max(at for at in range(_LONGEST) if numbers[at])
    numbers[longest] -= 1
    return numbers[:_LONGEST]
