"""Conditions of rules: what an instance must be for a rule to take it, joined by and, or, not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from cinemill.operations.policy.facts import Facts, Value


class Condition(Protocol):
    """Matches instances, or not."""

    def matches(self, facts: Facts) -> bool:
        """Whether an instance is such."""
        ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text, in which ``*`` and ``?`` stand for any; case does not matter."""

    text: str

    def accepts(self, value: Value) -> bool:
        """Whether a value is such."""
        return fnmatchcase(str(value).lower(), self.text)

    @property
    def literal(self) -> bool:
        """Whether it stands for one text only."""
        return not any(wild in self.text for wild in "*?[")

    def covers(self, other: Test) -> bool:
        """Whether it accepts all that another test does, as far as that can be told."""
        return isinstance(other, Pattern) and (
            self.text in {"*", other.text} or (other.literal and self.accepts(other.text))
        )

    def excludes(self, other: Test) -> bool:
        """Whether no value passes both, as far as that can be told."""
        return isinstance(other, Pattern) and self.literal and other.literal and not self.accepts(other.text)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Numbers from `low` to `high`, each within or not."""

    low: float = -math.inf
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True

    def accepts(self, value: Value) -> bool:
        """Whether a value is such a number."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            return False
        above = number >= self.low if self.with_low else number > self.low
        return above and (number <= self.high if self.with_high else number < self.high)

    def covers(self, other: Test) -> bool:
        """Whether it accepts all that another test does."""
        return (
            isinstance(other, Bounds)
            and (self.low, not self.with_low) <= (other.low, not other.with_low)
            and (self.high, self.with_high) >= (other.high, other.with_high)
        )

    def excludes(self, other: Test) -> bool:
        """Whether no value passes both."""
        return isinstance(other, Bounds) and self.both(other).empty

    def both(self, other: Bounds) -> Bounds:
        """Return what passes both."""
        low, outside = max((self.low, not self.with_low), (other.low, not other.with_low))
        high, inside = min((self.high, self.with_high), (other.high, other.with_high))
        return Bounds(low, high, not outside, inside)

    @property
    def empty(self) -> bool:
        """Whether nothing passes."""
        return self.low > self.high or (self.low == self.high and not (self.with_low and self.with_high))


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    value: bool

    def accepts(self, value: Value) -> bool:
        """Whether a value is that."""
        return bool(value) == self.value

    def covers(self, other: Test) -> bool:
        """Whether it accepts all that another test does."""
        return self == other

    def excludes(self, other: Test) -> bool:
        """Whether no value passes both."""
        return isinstance(other, Flag) and self != other


YES, NO = Flag(value=True), Flag(value=False)

Test: TypeAlias = Pattern | Bounds | Flag


@dataclass(frozen=True, slots=True)
class Leaf:
    """A fact that passes any of some tests.

    Attributes
    ----------
    key
        Of the fact: see `cinemill.operations.policy.facts.Facts.values`.
    """

    key: str
    tests: tuple[Test, ...]

    def matches(self, facts: Facts) -> bool:
        """Whether an instance has such a value, or one such among several."""
        values = facts.values(self.key)
        if all(isinstance(test, Flag) for test in self.tests) and self.key != "lossy":
            there = any(value not in {"", None} for value in values)
            return any(test.accepts(there) for test in self.tests)
        return any(test.accepts(value) for value in values for test in self.tests)


@dataclass(frozen=True, slots=True)
class Every:
    """All of some conditions."""

    parts: tuple[Condition, ...]

    def matches(self, facts: Facts) -> bool:
        """Whether all of them match."""
        return all(part.matches(facts) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """One of some conditions, at least."""

    parts: tuple[Condition, ...]

    def matches(self, facts: Facts) -> bool:
        """Whether one of them matches."""
        return any(part.matches(facts) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """What does not match a condition."""

    part: Condition

    def matches(self, facts: Facts) -> bool:
        """Whether it does not match."""
        return not self.part.matches(facts)


def parts_of(condition: Condition | None) -> Iterator[Condition]:
    """Yield what all has to hold for a condition to match; nothing for None."""
    if isinstance(condition, Every):
        for part in condition.parts:
            yield from parts_of(part)
    elif condition is not None:
        yield condition


def covers(one: Condition | None, other: Condition | None) -> bool:
    """Whether a condition matches all that another one does, as far as that can be told; None matches all."""
    needed = list(parts_of(other))
    return all(any(_covers(part, there) for there in needed) for part in parts_of(one))


def _covers(one: Condition, other: Condition) -> bool:
    if isinstance(one, Leaf) and isinstance(other, Leaf) and one.key == other.key:
        return all(any(mine.covers(theirs) for mine in one.tests) for theirs in other.tests)
    if isinstance(one, Either):
        return any(covers(part, other) for part in one.parts) or one == other
    return one == other


def impossible(condition: Condition | None) -> bool:
    """Whether nothing can match, as far as that can be told."""
    parts = list(parts_of(condition))
    leaves = [part for part in parts if isinstance(part, Leaf)]
    return any(
        all(mine.excludes(theirs) for mine in one.tests for theirs in other.tests)
        for index, one in enumerate(leaves)
        for other in leaves[:index]
        if one.key == other.key
    ) or any(Not(part) in parts for part in parts)


def complementary(one: Condition | None, other: Condition | None) -> bool:
    """Whether of two conditions one matches whatever the other one does not."""
    return any(
        second == Not(first)
        or (
            isinstance(first, Leaf)
            and isinstance(second, Leaf)
            and first.key == second.key
            and {*first.tests, *second.tests} == {YES, NO}
        )
        for first, second in ((one, other), (other, one))
        if first is not None
    )
