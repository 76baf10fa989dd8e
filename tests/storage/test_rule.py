"""What opens, maps, names or syncs files stands in storage, so that a location can later mean an object store."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cinemill

CORE = Path(cinemill.__file__).parent
OF_STORAGE = {
    "os": {"open", "rename", "replace", "link", "unlink", "fsync", "fdatasync", "pread", "pwrite", "writev"},
    "mmap": {"mmap"},
    "sqlite3": {"connect"},
    "shutil": {"copyfile", "copy", "copy2", "move"},
}
MODULES = [
    path
    for path in sorted(CORE.rglob("*.py"))
    if path.relative_to(CORE).parts[0] not in {"storage", "kernels"}
]


def uses(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in OF_STORAGE.get(node.value.id, ()):
                found.append(f"{node.value.id}.{node.attr}")
            if node.attr in {"read_bytes", "write_bytes", "rename"} and node.value.id != "os":
                found.append(f".{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module in OF_STORAGE:
            found += [
                f"{node.module}.{a.name}" for a in node.names if a.name in OF_STORAGE[node.module or ""]
            ]
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_only_storage_touches_files(module):
    assert uses(ast.parse(module.read_text())) == []
