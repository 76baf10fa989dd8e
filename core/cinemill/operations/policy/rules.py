"""Policies: rules in order, of which the first that matches an instance says what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from cinemill.errors import UsageError
from cinemill.operations.policy.readers import not_read, readable
from cinemill.operations.policy.targets import Wanted, read_wanted

if TYPE_CHECKING:
    from cinemill.operations.policy.match import Condition
    from cinemill.operations.policy.words import Options


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    name
        What receipts call it.
    line
        Of the file where it begins; 0 where it stands in none.
    when
        What it matches; None for everything.
    wanted
        The targets; None where sources are kept as they are.
    options
        Those that it sets, by the names of `cinemill.operations.policy.words.Options`.
    """

    name: str
    line: int
    when: Condition | None
    wanted: Wanted | None
    options: Mapping[str, Any] = MappingProxyType({})

    def applied(self, options: Options) -> Options:
        """Return the options that hold for what it matches."""
        return replace(options, **self.options) if self.options else options


class Policy(NamedTuple):
    """Rules in order.

    Attributes
    ----------
    name
        What receipts call it; empty where a target was named.
    digest
        XXH3-128 of its text.
    """

    name: str
    digest: str
    rules: tuple[Rule, ...]

    def check(self, readable_by: str) -> None:
        """Check that every rule leaves a target.

        Parameters
        ----------
        readable_by
            Readers that have to read it, where the rule names none.

        Raises
        ------
        UsageError
            One leaves none; the message names the line.
        """
        for rule in self.rules:
            readers = rule.options.get("readable_by", readable_by)
            if rule.wanted is not None and not rule.wanted.within(readable(readers)).targets:
                raise UsageError(
                    f"line {rule.line}: rule {rule.name!r} leaves no target: {not_read(rule.wanted.named, readers)}"
                )

    def check_order(self) -> None:
        """Check that every rule can be reached.

        Raises
        ------
        UsageError
            One can't be; the message names the line.
        """
        from cinemill.operations.policy.match import complementary, covers, impossible

        for number, rule in enumerate(self.rules):
            if impossible(rule.when):
                raise UsageError(
                    f"line {rule.line}: rule {rule.name!r} matches nothing: its conditions exclude each other"
                )
            earlier = self.rules[:number]
            above = next((each for each in earlier if covers(each.when, rule.when)), None)
            together = any(complementary(one.when, other.when) for one, other in combinations(earlier, 2))
            if above is None and not together:
                continue
            by = f"rule {above.name!r} (line {above.line})" if above else "the rules before it, which"
            takes = "takes" if above else "take"
            raise UsageError(
                f"line {rule.line}: rule {rule.name!r} is never reached: {by} {takes} all that it matches"
            )


@lru_cache(maxsize=8)
def one_target(to: str) -> Policy:
    """Return the policy that ``--to`` is: everything becomes that."""
    return Policy("", "", (Rule("", 0, None, read_wanted(to)),))
