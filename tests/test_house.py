"""The house: every module stands in the table of ARCHITECTURE.md, and none, and no function, is too long to read at once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.files import REPOSITORY

BASES = REPOSITORY / "core" / "cinemill", REPOSITORY / "workers" / "cinemill_workers"
MODULES = sorted(path for base in BASES for path in base.rglob("*.py"))


def name_of(path: Path) -> str:
    """The path below the repository; a package's is that of its folder."""
    return path.relative_to(REPOSITORY).as_posix().removesuffix("__init__.py")


def rows() -> list[tuple[str, str]]:
    """Name and description of each row of the tables of modules; the names below a package's follow its row."""
    found, base = [], ""
    for line in (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text().splitlines():
        if match := re.fullmatch(r"\| `((?:core|workers)/[^`]+/)` \| (.*) \|", line):
            base = match[1]
            found.append((base, match[2]))
        elif base and (match := re.fullmatch(r"\| `([^`]+)` \| (.*) \|", line)):
            found.append((base + match[1], match[2]))
        elif not line.startswith("|"):
            base = ""
    return found


def test_every_module_stands_in_the_table_once():
    assert Counter(name for name, _ in rows()) == Counter(name_of(path) for path in MODULES)


def test_every_row_says_what_the_module_is_for():
    assert [name for name, text in rows() if not text.strip()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_can_be_read_at_once(path):
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), "the first line says what the module is for"
    assert len(source.splitlines()) <= 400


@pytest.mark.parametrize("path", [path for path in MODULES if "kernels" not in path.parts], ids=name_of)
def test_a_function_can_be_read_at_once(path):
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    long = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in long.items() if lines > 80} == {}
