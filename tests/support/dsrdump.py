"""What DCMTK's dsrdump says of a structured report, as values: a second reader that shares no code with ours."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

OPTIONS = [
    "-q",
    "-Er",
    "-Ev",
    "-Ec",
    "-Ee",
    "-Dv",
    "+U8",
    "-Ph",
    "+Pn",
    "+Pl",
    "+Pu",
    "+Psu",
    "+Pc",
    "+Pi",
    "+Pt",
]
CODE = r'\((?P<{0}_value>[^,()]*),(?P<{0}_scheme>[^,()\[\]]*)(?:\[[^\]]*\])?,"(?P<{0}_meaning>[^"]*)"\)'
LINE = re.compile(
    r"(?P<position>[\d.]+)  <(?:(?P<relationship>[a-z ]+) )?"
    rf"(?:(?P<kind>[A-Z0-9]+):{CODE.format('name')}=(?P<rest>.*?)|(?P<target>[\d.]+))>(?:  # TID (?P<template>\S+).*| \{{.*)?"
)
NUMBER = re.compile(rf'(?:"(?P<text>[^"]*)" {CODE.format("unit")}|empty)(?: {CODE.format("qualifier")})?')
IMAGE = re.compile(r'\("(?P<sop_class>[\d.]*)","(?P<uid>[\d.]*)"(?P<frames>(?:,\d+)*)\)')


@dataclass(frozen=True)
class Line:
    position: str
    relationship: str
    kind: str
    name: tuple[str, str, str]
    rest: str
    target: str
    template: str | None

    def above(self) -> list[str]:
        """Its position and those above, nearest first."""
        parts = self.position.split(".")
        return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


@dataclass(frozen=True)
class Number:
    position: str
    template: str | None
    name: tuple[str, str, str]
    text: str
    unit: tuple[str, str, str] | None
    qualifier: tuple[str, str, str] | None
    images: frozenset[tuple[str, tuple[int, ...]]]
    numbers: frozenset[str]


def lines(path: Path) -> dict[str, Line]:
    """The content items by position."""
    done = subprocess.run(["dsrdump", *OPTIONS, path], capture_output=True, check=False, timeout=60)
    found = {}
    for each in done.stdout.decode("utf-8", "replace").splitlines():
        if match := LINE.fullmatch(each):
            name = match["name_value"] or "", match["name_scheme"] or "", match["name_meaning"] or ""
            found[match["position"]] = Line(
                match["position"],
                (match["relationship"] or "").upper(),
                match["kind"] or "",
                name,
                match["rest"] or "",
                match["target"] or "",
                match["template"],
            )
        else:
            assert not re.match(r"[\d.]+  <", each), f"not understood: {each}"
    return found


def numbers(path: Path) -> list[Number]:
    """The numeric values, in order, each with the images and values that it was inferred from."""
    tree = lines(path)
    return [_number(tree, line) for line in tree.values() if line.kind == "NUM"]


def _number(tree: dict[str, Line], line: Line) -> Number:
    match = NUMBER.fullmatch(line.rest)
    assert match, f"not understood: {line}"
    images, values = set(), set()
    waiting = [each for each in tree.values() if each.above()[1:2] == [line.position]]
    seen = set()
    while waiting:
        each = waiting.pop()
        there = tree.get(each.target, each) if each.target else each
        if there.position in seen:
            continue
        seen.add(there.position)
        if there.kind in {"IMAGE", "WAVEFORM", "COMPOSITE"}:
            for image in IMAGE.finditer(there.rest):
                images.add((image["uid"], tuple(map(int, image["frames"].split(",")[1:]))))
        elif there.kind == "NUM" and each.relationship == "INFERRED FROM" and there is not line:
            values.add(there.position)
        elif there.kind in {"SCOORD", "SCOORD3D", "TCOORD"}:
            waiting += [below for below in tree.values() if below.above()[1:2] == [there.position]]
    templates = (tree[place].template for place in line.above() if place in tree)
    return Number(
        line.position,
        next((template for template in templates if template), None),
        line.name,
        match["text"] or "",
        _code(match, "unit"),
        _code(match, "qualifier"),
        frozenset(images),
        frozenset(values),
    )


def _code(match: re.Match[str], name: str) -> tuple[str, str, str] | None:
    found = match[f"{name}_value"] or "", match[f"{name}_scheme"] or "", match[f"{name}_meaning"] or ""
    return found if any(found) else None
