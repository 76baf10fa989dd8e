"""Arrays of kernels live as long as their addresses are used: numba frees one after the last line that names it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cinemill.kernels

MODULES = sorted(Path(cinemill.kernels.__path__[0]).rglob("*.py"))


def own_arrays(function: ast.FunctionDef) -> set[str]:
    """Names of arrays that a function makes itself."""
    found: set[str] = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        targets, values = [node.targets[0]], [node.value]
        if isinstance(targets[0], ast.Tuple) and isinstance(values[0], ast.Tuple):
            targets, values = targets[0].elts, values[0].elts
        for target, value in zip(targets, values, strict=False):
            made = isinstance(value, ast.Call) and ast.unparse(value.func).startswith("np.")
            if made and isinstance(target, ast.Name):
                found.add(target.id)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_an_array_whose_address_is_taken_is_named_again_behind(path):
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        for name in own_arrays(function):
            lines = [n.lineno for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == name]
            taken = [
                node.lineno
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and ast.unparse(node) == f"address({name})"
            ]
            assert not taken or max(lines) > max(taken), f"{function.name}: {name}"
