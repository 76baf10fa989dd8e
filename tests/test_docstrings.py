"""What a function takes is said where it is defined, and what texts refer to is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import REPOSITORY

CORE = REPOSITORY / "core" / "cinemill"
UNDOCUMENTED = {"kernels", "cli"}
"""Kernels say what they take in their signatures; what a command takes is said by its ``--help``."""

_REFERENCE = re.compile(
    r"`((?:cinemill|cinemill_workers)(?:\.\w+)+)`|\b((?:tests|bench|docs|core|workers)/[\w/-]+\.(?:py|md|toml))\b"
)


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


def is_there(dotted: str) -> bool:
    """Whether a module is there, and every name that is said to be in it."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = (REPOSITORY / ("core" if parts[0] == "cinemill" else "workers")).joinpath(*parts[:count])
        for module in (place.with_suffix(".py"), place / "__init__.py"):
            if module.is_file():
                text = module.read_text()
                return all(re.search(rf"\b{name}\b", text) for name in parts[count:])
    return False


def test_what_texts_refer_to_is_there():
    missing = [
        f"{path.relative_to(REPOSITORY)}: {dotted or file}"
        for folder in ("core", "workers", "bench", "tests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for dotted, file in _REFERENCE.findall(path.read_text())
        if not (is_there(dotted) if dotted else (REPOSITORY / file).is_file())
    ]
    assert missing == []
