"""Reads policies from TOML, and checks them: whatever can't be is an error that names the line."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from cinemill.errors import UsageError
from cinemill.operations.policy.archive import archive
from cinemill.operations.policy.conditions import Wrong, read_condition
from cinemill.operations.policy.match import YES, Leaf, parts_of
from cinemill.operations.policy.readers import readable
from cinemill.operations.policy.rules import Policy, Rule
from cinemill.operations.policy.targets import read_wanted
from cinemill.operations.policy.words import WORDS, check_word
from cinemill.storage.digests import named

_RULE = re.compile(r"""\s*\[\[\s*["']?rule["']?\s*\]\]""")
_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")
_OF_RULE = (
    "name",
    "when",
    "keep",
    "to",
    "readable-by",
    "collapse-grey",
    *(name.replace("_", "-") for name in WORDS),
)
_LONGEST = 1 << 20


def read_file(path: str) -> str:
    """Return the text of a policy, once it is known to be one.

    Raises
    ------
    UsageError
        It can't be read, or is none; the message names the line.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode()
    except OSError as error:
        raise UsageError(f"the policy can't be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"line {line}: a policy is a text in UTF-8, as TOML is", path=path) from None
    try:
        parse(text)
    except UsageError as error:
        raise UsageError(error.message, path=path) from None
    return text


@lru_cache(maxsize=8)
def policy_of(text: str, readable_by: str) -> Policy:
    """Return what decides: a policy by its text, or ``archive`` for none.

    Parameters
    ----------
    text, readable_by
        As the options ``policy`` and ``readable_by`` have them.

    Raises
    ------
    UsageError
        It is none.
    """
    return parse(text or archive(readers_named=bool(readable_by)))


def parse(text: str) -> Policy:
    """Read a policy, and check it.

    Raises
    ------
    UsageError
        It is none; the message names the line.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"line 1: a policy has at most {_LONGEST} characters")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        raise UsageError(f"line {line}: no TOML: {_LINE.sub('', str(error))}") from None
    except RecursionError:
        raise UsageError("line 1: tables are nested too deeply") from None
    lines = _Lines(text, len(content.get("rule", [])) if isinstance(content.get("rule"), list) else 0)
    try:
        rules = _rules(content, lines)
    except (Wrong, UsageError) as error:
        raise UsageError(f"line {lines.line}: {error}") from None
    digest = named(xxhash.xxh3_128(text.encode()))
    policy = Policy(content["name"], digest, rules)
    policy.check_order()
    policy.check("")
    return policy


class _Lines:
    """Follows the keys of a policy through its text, in their order."""

    def __init__(self, text: str, rules: int) -> None:
        self._lines = text.splitlines() or [""]
        starts = [number for number, line in enumerate(self._lines) if _RULE.match(line)]
        self._starts = starts if len(starts) == rules else [0] * rules
        self._here, self._column = 0, 0
        self._first, self._end = 0, len(self._lines)

    @property
    def line(self) -> int:
        """Where the last key stands, counted from 1."""
        return self._here + 1

    def begin(self, rule: int) -> int:
        """Go to where a rule begins, and return its line."""
        self._first = self._here = self._starts[rule]
        later = [start for start in self._starts[rule + 1 :] if start > self._first]
        self._end = later[0] if later else len(self._lines)
        self._column = 0
        return self.line

    def at(self, key: str) -> None:
        """Go to the next place of a key, or else to its first one in the rule."""
        pattern = re.compile(rf"""(?<![\w-])["']?{re.escape(key)}["']?\s*[=.\]]""")
        for first, column in ((self._here, self._column), (self._first, 0)):
            for number in range(first, self._end):
                line = self._lines[number]
                start = column if number == first else 0
                found = None if line.lstrip().startswith("#") else pattern.search(line, start)
                if found:
                    self._here, self._column = number, found.end()
                    return


def _rules(content: dict[str, Any], lines: _Lines) -> tuple[Rule, ...]:
    for key in content:
        if key not in {"name", "rule"}:
            lines.at(key)
            raise Wrong(f"unknown keyword {key!r}; a policy has a name, and rules that begin with [[rule]]")
    name = content.get("name")
    if not isinstance(name, str) or not name.strip():
        lines.at("name")
        raise Wrong('a policy has a name, such as name = "echo archive"')
    tables = content.get("rule")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        lines.at("rule")
        raise Wrong("a policy has rules, each of which begins with [[rule]]")
    rules: list[Rule] = []
    for number, table in enumerate(tables):
        line = lines.begin(number)
        rules.append(_rule(table, f"rule {number + 1}", line, lines))
        if any(rules[-1].name == other.name for other in rules[:-1]):
            lines.begin(number)
            raise Wrong(f"another rule is called {rules[-1].name!r} as well")
    return tuple(rules)


def _rule(table: dict[str, Any], otherwise: str, line: int, lines: _Lines) -> Rule:
    name, when, wanted = otherwise, None, None
    options: dict[str, Any] = {}
    for key, value in table.items():
        lines.at(key)
        if key == "name":
            name = _text(key, value)
        elif key == "when":
            when = read_condition(value, lines.at)
        elif key == "to":
            wanted = read_wanted(_listed(key, value))
        elif key != "keep":
            options |= _option(key, value)
        elif value is not True:
            raise Wrong("keep is true, or left out")
    if ("keep" in table) == (wanted is not None):
        lines.at("keep" if "keep" in table else "name")
        raise Wrong("a rule has either to, with its targets, or keep = true")
    if Leaf("lossy", (YES,)) in parts_of(when):
        options.setdefault("lossy_source", "transcode")
    return Rule(name, line, when, wanted, options)


def _option(key: str, value: object) -> dict[str, Any]:
    """Return an option that a rule sets, by the name of its field."""
    option = key.replace("-", "_")
    if key not in _OF_RULE:
        import difflib

        near = difflib.get_close_matches(key, _OF_RULE, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise Wrong(f"unknown keyword {key!r}{meant} A rule has {', '.join(_OF_RULE)}")
    if key == "readable-by":
        readers = _listed(key, value)
        readable(readers)
        return {option: readers}
    if key == "collapse-grey":
        if not isinstance(value, bool):
            raise Wrong("collapse-grey is true or false")
        return {option: value}
    check_word(option, _text(key, value))
    if value == "auto" and option != "colour":
        raise Wrong(f"{key} is one of {', '.join(word for word in WORDS[option] if word != 'auto')}")
    return {option: value}


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"{key} is a text, found {value!r}")
    return value


def _listed(key: str, value: object) -> str:
    """Return a text, or a list of texts, with commas between."""
    values = value if isinstance(value, list) else [value]
    return ",".join(_text(key, each) for each in values)
