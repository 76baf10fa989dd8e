"""The page of the server: studies that can be searched, and cines that are played, by the addresses that others use."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from cinemill.operations.pages import END, begin

_STYLE = """
body{display:grid;grid-template-columns:minmax(16rem,24rem) 1fr;min-height:100vh}
nav{border-right:1px solid var(--rule);padding:14px;overflow:auto;height:100vh;position:sticky;top:0}
main{padding:14px 20px;min-width:0}
h1{font-size:1.1rem}
form{display:grid;grid-template-columns:1fr 1fr;gap:8px;margin:0 0 12px}
input,button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--rule);border-radius:6px;
padding:6px 8px;min-width:0}
button{cursor:pointer}
.study{display:block;width:100%;text-align:left;margin:0 0 8px}
.study[aria-current=true],.thumb[aria-current=true]{border-color:var(--strong);box-shadow:0 0 0 1px var(--strong)}
.study b,.study span{display:block;overflow-wrap:anywhere}.study span{color:var(--soft);font-size:.82rem}
#thumbs{max-height:34vh;overflow:auto;margin:0 0 14px}
.thumbs{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 14px}
.thumb{width:112px;padding:4px;font-size:.72rem;color:var(--soft);overflow-wrap:anywhere}
.thumb img{width:100%;height:80px;object-fit:contain;background:#000;border-radius:3px;display:block}
#screen{background:#000;width:100%;max-height:66vh;object-fit:contain;display:block;border-radius:4px}
.controls{display:flex;gap:10px;align-items:center;margin:10px 0}.controls input{flex:1}
[hidden]{display:none}
@media (max-width:760px){body{grid-template-columns:1fr}
nav{height:auto;max-height:45vh;position:static;border-right:0;border-bottom:1px solid var(--rule)}}
"""


@cache
def page(service: str) -> str:
    """Return the page.

    Parameters
    ----------
    service
        Path of the DICOMweb service.
    """
    script = files("cinemill.serve").joinpath("page.js").read_text(encoding="utf-8")
    body = files("cinemill.serve").joinpath("page.html").read_text(encoding="utf-8")
    return begin("cinemill", _STYLE) + body + f'<script>const SERVICE = "{service}";\n{script}</script>' + END
