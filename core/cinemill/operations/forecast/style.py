"""How the page of a forecast looks besides what all pages have."""

from __future__ import annotations

STYLE = """
:root{--before:#aeb4bb;--after:#7fb0e6}
@media (prefers-color-scheme:dark){:root{--before:#646b74;--after:#3f6fa8}}
main{max-width:1160px;margin:0 auto;padding:24px 20px 48px}
h1{margin-bottom:4px}h1 em{font-style:normal;color:var(--strong)}
section{margin-top:36px}
p{max-width:75ch}
.note{margin-top:8px}
.advice{background:var(--card);border-left:4px solid var(--strong);border-radius:4px;padding:14px 18px 8px}
svg{display:block;max-width:800px;overflow:visible}
.labels{display:flex;justify-content:space-between;gap:12px;font-size:13px;line-height:19px;white-space:nowrap}
.labels span:first-child{overflow:hidden;text-overflow:ellipsis;min-width:0}
.labels span:last-child{font-variant-numeric:tabular-nums}
.labels .strong{font-weight:600}
rect.before{fill:var(--before)}rect.after{fill:var(--after)}rect.strong{fill:var(--strong)}
line.interval{stroke:var(--text);stroke-width:1.5}
line.now{stroke:var(--mark);stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 18px;font-size:.85rem;color:var(--soft)}
.legend span{display:flex;align-items:center;gap:6px}
.legend i{width:14px;height:10px;border-radius:2px}
i.before{background:var(--before)}i.after{background:var(--after)}i.strong{background:var(--strong)}
i.now{width:2px!important;height:14px!important;background:var(--mark)}
td:first-child{min-width:7em}
@media (max-width:520px){main{padding:16px 14px 32px}}
@media print{:root{--before:#aeb4bb;--after:#7fb0e6}
main{max-width:none;padding:0}section{margin-top:18pt}
.advice{border:1px solid var(--rule);border-left:4px solid var(--strong);break-inside:avoid}
table{font-size:7pt}td:first-child{min-width:0}
th,td{padding:3px 5px 3px 0}td:nth-child(3){overflow-wrap:anywhere}}
""".strip()
