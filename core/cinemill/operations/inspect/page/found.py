"""What was found in all instances, by check: the worst first, with the instances that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cinemill.operations.inspect.checks.documented import about
from cinemill.operations.inspect.checks.table import in_order
from cinemill.operations.inspect.page.instance import clipped, told_frame
from cinemill.operations.pages import counted, text

if TYPE_CHECKING:
    from pathlib import Path

    from cinemill.operations.inspect.model import Finding

_NAMED, _OPEN = 24, 4
"""Instances that are named for a check, and those of them that are seen at once."""

_CHECKS = 300
_NAME, _FOUND = 120, 600


@dataclass(slots=True)
class _Kind:
    """What one check found.

    Attributes
    ----------
    finding
        The first one.
    instances, findings
        How many there are.
    last
        Path of the instance that was counted last.
    named
        Lines for some of them, in HTML.
    """

    finding: Finding
    instances: int = 0
    findings: int = 0
    last: Path | None = None
    named: list[str] = field(default_factory=list)


class Found:
    """Counts findings by check, and names some of the instances. Memory: 24 lines a check."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, finding: Finding, path: Path, anchor: str | None) -> None:
        """Take a finding in.

        Parameters
        ----------
        finding
            What was found.
        path
            Of its instance.
        anchor
            Id of its instance on the page, None where it has none.
        """
        if finding.check not in self._kinds and len(self._kinds) >= _CHECKS:
            return
        kind = self._kinds.setdefault(finding.check, _Kind(finding))
        kind.findings += 1
        kind.instances += path != kind.last
        kind.last = path
        if len(kind.named) < _NAMED:
            told = clipped(path.name, _NAME)
            link = f'<a href="#{anchor}">{told}</a>' if anchor else told
            kind.named.append(f"<li>{link}{told_frame(finding)}: {clipped(finding.found, _FOUND)}</li>")

    def parts(self) -> Iterator[str]:
        """Yield each check that found something, as HTML."""
        often = sorted(self._kinds.values(), key=lambda kind: (-kind.instances, kind.finding.check))
        by_check = {kind.finding.check: kind for kind in often}
        for finding in in_order(kind.finding for kind in often):
            yield _part(by_check[finding.check])


def _part(kind: _Kind) -> str:
    finding = kind.finding
    should = about(finding.check)
    expected = f"<p>What should be: {text(should)}.</p>" if should else ""
    shown, hidden = "".join(kind.named[:_OPEN]), "".join(kind.named[_OPEN:])
    rest = kind.findings - len(kind.named)
    if rest:
        hidden += f"<li>and {counted(rest, 'more finding')}</li>"
    count = kind.findings - min(len(kind.named), _OPEN)
    more = f"<details><summary>{count:,} more</summary><ul>{hidden}</ul></details>" if count else ""
    return (
        f'<article class="card finding {finding.severity}"><h3>{text(finding.check)}</h3>'
        f'<p><span class="severity {finding.severity}">{finding.severity}</span>, '
        f"{counted(kind.instances, 'instance')}, {text(finding.section)}</p>{expected}"
        f"<p>To mend it: {clipped(finding.remedy)}</p><ul>{shown}</ul>{more}</article>\n"
    )
