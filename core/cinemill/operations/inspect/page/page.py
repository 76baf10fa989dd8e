"""Gathers inspections, and writes one page of them: findings first, then the tree, then each instance.

Memory and size are bounded, whatever the number of instances: beyond some there are no pictures, then no facts, then counts only,
and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from cinemill.operations.inspect.model import Severity
from cinemill.operations.inspect.page.found import Found
from cinemill.operations.inspect.page.instance import article, clipped, is_image
from cinemill.operations.inspect.page.pictures import may_show
from cinemill.operations.inspect.page.style import STYLE
from cinemill.operations.inspect.words import counts, line
from cinemill.operations.pages import (
    END,
    begin,
    check_place,
    check_replaced,
    counted,
    figure,
    in_bytes,
    publish,
    section,
    text,
)
from cinemill.storage.foreign import check_free

if TYPE_CHECKING:
    from types import TracebackType

    from cinemill.operations.inspect.model import Finding, Inspection

_NAME = 120
_PUBLIC = (
    "Nothing in the header that names the patient is told here. Pictures show what is burned in within ultrasound regions; "
    "paths are those of the files. Look at both before the page is passed on."
)
_PRIVATE = "This page tells patients’ names, and shows what is burned in. Keep it where the sources are."
_FIGURES = {
    Severity.ERROR: "with errors",
    Severity.WARNING: "with warnings, no errors",
    Severity.NOTICE: "with notices only",
    None: "without findings",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there may be on a page.

    Attributes
    ----------
    pictured
        Instances with pictures, as long as what is told of all is no longer than `pictures`.
    pictures
        Characters of instances behind which none has pictures.
    described
        Instances with facts, as long as that is no longer than `articles`.
    articles
        Characters of instances behind which none has facts.
    listed
        Instances of the tree.
    """

    pictured: int = 200
    pictures: int = 11_000_000
    described: int = 2000
    articles: int = 15_000_000
    listed: int = 4000


_BOUNDS = Bounds()


class InspectionPage:
    """A page in the making. Leaving the context without an error writes it, whole or not at all.

    Parameters
    ----------
    path
        Where it is written.
    sources
        What is inspected: the page can't lie there.
    called
        What sources are called that stand in a file of another name.
    overwrite
        Replace the page that stands there.
    phi
        Whether the patient may be told, and shown.
    bounds
        How much there may be on it.

    Raises
    ------
    UsageError
        The page would be one of the sources, or lie among them, or replace what is no page of ours.
    OutputExists
        Something stands there already.
    """

    def __init__(
        self,
        path: Path,
        sources: Iterable[Path],
        *,
        called: Mapping[Path, Path] = MappingProxyType({}),
        overwrite: bool = False,
        phi: bool = False,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        check_place(path, sources)
        (check_replaced if overwrite else check_free)(path)
        self._path, self._overwrite, self._phi, self._bounds = path, overwrite, phi, bounds
        self._files = {name: file for file, name in called.items()}
        self._found = Found()
        self._tree = _Tree(bounds.listed)
        self._articles: list[str] = []
        self._written = self._pictured = self._plain = self._instances = self._bytes = 0
        self._worst = dict.fromkeys((*Severity, None), 0)
        self._anchors: dict[Path, str] = {}

    def add(self, inspection: Inspection) -> None:
        """Put an instance on the page."""
        facts, bounds = inspection.facts, self._bounds
        self._instances += 1
        self._bytes += facts.file_bytes
        self._worst[inspection.findings[0].severity if inspection.findings else None] += 1
        anchor = None
        if len(self._articles) < bounds.described and self._written < bounds.articles:
            anchor = f"i{self._instances}"
            shows = is_image(facts) and may_show(inspection, phi=self._phi)
            fits = self._pictured < bounds.pictured and self._written < bounds.pictures
            file = self._files.get(facts.path, facts.path)
            self._articles.append(
                article(inspection, anchor, file, phi=self._phi, pictured=fits or not shows)
            )
            self._written += len(self._articles[-1])
            self._pictured += shows and fits
            self._plain += shows and not fits
            self._anchors[facts.path] = anchor
        self._tree.add(inspection, anchor)
        for finding in inspection.findings:
            self._found.add(finding, facts.path, anchor)

    def add_findings(self, located: Iterable[tuple[Path, Finding]]) -> None:
        """Put findings on the page that are known once all instances are: each with the file that it is about."""
        for path, finding in located:
            self._found.add(finding, path, self._anchors.get(path))

    def _pieces(self) -> Iterator[str]:
        yield begin("Inspection", STYLE)
        yield f"<main>\n<h1>What was found in {counted(self._instances, 'instance')}</h1>\n"
        yield (
            f'<p class="private">{text(_PRIVATE)}</p>'
            if self._phi
            else f'<p class="lead">{text(_PUBLIC)}</p>'
        )
        yield '<p class="lead">Frames are counted from 0; where reports refer to frames, from 1, as in the standard.</p>'
        yield f'<div class="figures">{"".join(self._figures())}</div>\n'
        yield section("Findings", "".join(self._found.parts()) or "<p>None.</p>")
        yield section("Studies and series", f"{self._tree.html()}{self._left_out()}")
        yield f"<section><h2>Instances</h2>{self._without_pictures()}\n"
        yield from self._articles
        yield f"</section>\n</main>{END}"

    def _figures(self) -> Iterator[str]:
        yield figure("instances", f"{self._instances:,}", in_bytes(self._bytes))
        for severity, name in _FIGURES.items():
            yield figure(name, f"{self._worst[severity]:,}", "instances")

    def _left_out(self) -> str:
        more = self._instances - self._tree.listed
        return f'<p class="note">{counted(more, "more instance")} not listed here.</p>' if more else ""

    def _without_pictures(self) -> str:
        more = self._instances - len(self._articles)
        notes = []
        if self._plain:
            notes.append(
                f"The first {counted(self._pictured, 'image')} have pictures here, the others have none."
            )
        if more:
            notes.append(f"{counted(more, 'more instance')} not described here; inspect --json tells all.")
        return "".join(f'<p class="note">{text(note)}</p>' for note in notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            publish(self._path, self._pieces(), overwrite=self._overwrite)


class _Tree:
    """Studies, series and instances, in the order in which they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[str] = []
        self._place: tuple[str | None, str | None] | None = None
        self.listed = 0

    def add(self, inspection: Inspection, anchor: str | None) -> None:
        """Take an instance in, where there is room."""
        if self.listed >= self._most:
            return
        facts = inspection.facts
        study, series = facts.study_instance_uid, facts.series_instance_uid
        if self._place is None or self._place[0] != study:
            self._parts.append("" if self._place is None else "</ul></li></ul></li>")
            patient = "".join(f"; {clipped(value, _NAME)}" for value in inspection.patient.values())
            self._parts.append(f"<li>study {clipped(study or 'without UID', _NAME)}{patient}<ul>")
        if self._place != (study, series):
            same = self._place is not None and self._place[0] == study
            self._parts.append("</ul></li>" if same else "")
            device = ", ".join(filter(None, (facts.manufacturer, facts.model)))
            told = f" ({clipped(device, _NAME)})" if device else ""
            self._parts.append(f"<li>series {clipped(series or 'without UID', _NAME)}{told}<ul>")
        self._place = study, series
        name = clipped(facts.path.name, _NAME)
        link = f'<a href="#{anchor}">{name}</a>' if anchor else name
        found = counts(inspection.findings)
        self._parts.append(
            f"<li>{link} <small>{clipped(line(facts), _NAME)}{f'; {found}' if found else ''}</small></li>"
        )
        self.listed += 1

    def html(self) -> str:
        """Return all of it."""
        end = "</ul></li></ul></li>" if self._parts else ""
        return f'<ul class="tree">{"".join(self._parts)}{end}</ul>'
