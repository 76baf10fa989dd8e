"""Self-contained HTML pages: their beginning and style (light, dark, narrow, printed), tables, pictures, publishing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.errors import UsageError, printable
from cinemill.storage.file import Sink
from cinemill.storage.foreign import begins, check_ours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STYLE = """
:root{--ground:#fff;--card:#f5f6f8;--text:#1c1e21;--soft:#5b6168;--rule:#dcdfe3;--strong:#1f6fc4;--mark:#c2410c}
@media (prefers-color-scheme:dark){:root{--ground:#15171a;--card:#1f2226;--text:#e8eaed;--soft:#a3a9b1;--rule:#363b41;
--strong:#6cb0ff;--mark:#fb923c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 8px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 12px}
p{margin:0 0 8px;max-width:80ch;overflow-wrap:anywhere}
.lead,.note,small{color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin-top:20px}
.figure{background:var(--card);border-radius:8px;padding:12px 14px;display:flex;flex-direction:column}
.figure span{color:var(--soft);font-size:.85rem}.figure b{font-size:1.6rem;line-height:1.3}.figure small{font-size:.8rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.82rem;line-height:1.35}
th,td{text-align:left;vertical-align:top;padding:6px 10px 6px 0;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-weight:600;vertical-align:bottom}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}th.number{white-space:normal}
code{font-size:.95em}
@media (max-width:520px){h1{font-size:1.35rem}.figures{grid-template-columns:1fr 1fr}.figure b{font-size:1.25rem}}
@media print{@page{size:A4;margin:14mm 12mm}
:root{--ground:#fff;--card:#fff;--text:#000;--soft:#444;--rule:#bbb;--strong:#1f6fc4;--mark:#c2410c}
body{font-size:10.5pt}.figure{border:1px solid var(--rule)}.wide{overflow:visible}
tr,.figure,h2{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
""".strip()

END = "</body></html>\n"
_BEGIN = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="cinemill">'
)


def begin(title: str, style: str) -> str:
    """Return a page as far as its body.

    Parameters
    ----------
    title
        Of the window, plain.
    style
        What this page has besides, and in place of, what all pages look like.
    """
    return (
        f'{_BEGIN}<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{_STYLE}\n{style}</style></head>\n<body>"
    )


def text(plain: str) -> str:
    """Return any text as HTML, in one line: control characters are shown, not sent."""
    return escape(printable(plain))


def section(title: str, content: str, kind: str = "") -> str:
    """Return a section with its heading.

    Parameters
    ----------
    title
        Plain.
    content
        HTML.
    kind
        Its class.
    """
    return f'<section class="{kind}"><h2>{text(title)}</h2>{content}</section>'


def figure(name: str, value: str, more: str) -> str:
    """Return a number that is seen at once; all is plain.

    Parameters
    ----------
    name, value
        What it is, and the number.
    more
        What else is to be said of it.
    """
    return (
        f'<div class="figure"><span>{text(name)}</span><b>{text(value)}</b><small>{text(more)}</small></div>'
    )


def counted(number: int, noun: str) -> str:
    """Return how many there are: ``1 frame``, ``2,000 frames``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_bytes(size: float) -> str:
    """Return a size as people read it: ``24 bytes``, ``6.33 kB``, ``1.2 GB``."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:,.0f} {unit}"
    return counted(round(size), "byte")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int, *, stacked: bool = False) -> str:
    """Return a table whose first columns are words, and the others numbers.

    Parameters
    ----------
    heads
        Plain.
    rows
        Cells, in HTML.
    words
        How many columns are words.
    stacked
        Where the page is narrow, cells stand one below the other, each with its head: the page's style does that.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        marked = []
        for at, (cell, head) in enumerate(zip(cells, heads, strict=True)):
            kind = "" if at < words else " class=number"
            named = f' data-head="{text(head)}"' if stacked and tag == "td" else ""
            marked.append(f"<{tag}{kind}{named}>{cell}</{tag}>")
        return f"<tr>{''.join(marked)}</tr>"

    head = row([text(head) for head in heads], "th")
    body = "".join(row(cells, "td") for cells in rows)
    kind = "stacked" if stacked else "wide"
    return f'<div class="{kind}"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def embedded(picture: NDArray[np.uint8], quality: int) -> str:
    """Return the address of a picture that holds it.

    Parameters
    ----------
    picture
        Grey (rows, columns), or RGB (rows, columns, 3).
    quality
        Of JPEG, 1 to 95.
    """
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def check_place(path: Path, sources: Iterable[Path]) -> None:
    """Raise where a page would be one of the sources, or lie among them.

    Raises
    ------
    UsageError
        It would.
    """
    if any(path.resolve().is_relative_to(source.resolve()) for source in sources):
        raise UsageError("the page would be, or lie among, the sources; choose another place", path=path)


def check_replaced(path: Path) -> None:
    """Raise where something else than a page of ours would be replaced.

    Raises
    ------
    UsageError
        It would.
    """
    check_ours(path, _is_page, "page of cinemill")


def _is_page(path: Path) -> bool:
    return begins(path, _BEGIN.encode())


def publish(path: Path, pieces: Iterable[str], *, overwrite: bool = True) -> None:
    """Write a page: whole, or not at all.

    Parameters
    ----------
    path
        Where it stands then.
    pieces
        Of its HTML, one after the other.
    overwrite
        Replace what stands there.

    Raises
    ------
    OutputError
        It can't be written.
    """
    with Sink(path, overwrite=overwrite) as sink:
        for piece in pieces:
            sink.write(piece.encode("utf-8", "backslashreplace"))
        sink.finish()
        sink.commit()
