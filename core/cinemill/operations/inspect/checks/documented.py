"""The table of checks as the documentation has it, and what each says should be."""

from __future__ import annotations

from cinemill.operations.inspect.checks.among import AMONG
from cinemill.operations.inspect.checks.table import CHECKS
from cinemill.operations.inspect.checks.unresolved import UNRESOLVED

_ALL = {each.id: each for each in (*CHECKS, *AMONG, *UNRESOLVED)}


def about(name: str) -> str:
    """Return what should be, by the id of a check; empty where another program's is meant."""
    return _ALL[name].about if name in _ALL else ""


def as_markdown() -> str:
    """Return the table of all checks."""
    rows = [
        f"| `{each.id}` | {each.severity} | {each.section} | {each.about} | {each.remedy} |"
        for each in _ALL.values()
    ]
    return (
        "\n".join(
            ["| id | severity | section | what should be | how to mend it |", "|---|---|---|---|---|", *rows]
        )
        + "\n"
    )
