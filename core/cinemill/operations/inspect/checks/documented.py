"""What should be, by the id of the check that finds it otherwise."""

from __future__ import annotations

from cinemill.operations.inspect.checks.among import AMONG
from cinemill.operations.inspect.checks.table import CHECKS
from cinemill.operations.inspect.checks.unresolved import UNRESOLVED

_ALL = {each.id: each for each in (*CHECKS, *AMONG, *UNRESOLVED)}


def about(name: str) -> str:
    """Return what should be, by the id of a check; empty where another program's is meant."""
    return _ALL[name].about if name in _ALL else ""
