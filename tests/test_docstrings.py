"""What a function takes is said where it is defined."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import REPOSITORY

CORE = REPOSITORY / "core" / "cinemill"
UNDOCUMENTED = {"kernels", "cli"}
"""Kernels say what they take in their signatures; what a command takes is said by its ``--help``."""


def modules() -> list[Path]:
    found = (path for path in CORE.rglob("*.py") if path.relative_to(CORE).parts[0] not in UNDOCUMENTED)
    return sorted(found)


def public_functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, int, str]]:
    """Name, number of parameters and docstring of each public function, and of the methods of public classes."""
    for node in body:
        match node:
            case ast.ClassDef() if not node.name.startswith("_"):
                yield from public_functions(node.body, f"{node.name}.")
            case ast.FunctionDef() if not node.name.startswith("_"):
                takes = node.args
                names = [each.arg for each in (*takes.posonlyargs, *takes.args, *takes.kwonlyargs)]
                count = len([name for name in names if name not in {"self", "cls"}])
                yield owner + node.name, count, ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(CORE).as_posix())
def test_a_function_of_three_parameters_says_what_each_is(path):
    functions = public_functions(ast.parse(path.read_text()).body)
    bare = [name for name, count, text in functions if count >= 3 and "Parameters\n----------" not in text]
    assert bare == []
