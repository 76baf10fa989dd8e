"""How the page of a forecast looks: light, dark, narrow, and on paper."""

from __future__ import annotations

STYLE = """
:root{--ground:#fff;--card:#f5f6f8;--text:#1c1e21;--soft:#5b6168;--rule:#dcdfe3;
--before:#aeb4bb;--after:#7fb0e6;--strong:#1f6fc4;--mark:#c2410c}
@media (prefers-color-scheme:dark){:root{--ground:#15171a;--card:#1f2226;--text:#e8eaed;--soft:#a3a9b1;
--rule:#363b41;--before:#646b74;--after:#3f6fa8;--strong:#6cb0ff;--mark:#fb923c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1160px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}h1 em{font-style:normal;color:var(--strong)}
h2{font-size:1.15rem;margin:0 0 12px}
section{margin-top:36px}
p{margin:0 0 8px;max-width:75ch;overflow-wrap:anywhere}
.note{margin-top:8px}
.lead,.note,small{color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin-top:20px}
.figure{background:var(--card);border-radius:8px;padding:12px 14px;display:flex;flex-direction:column}
.figure span{color:var(--soft);font-size:.85rem}.figure b{font-size:1.6rem;line-height:1.3}.figure small{font-size:.8rem}
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
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.82rem;line-height:1.35}
th,td{text-align:left;vertical-align:top;padding:6px 10px 6px 0;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-weight:600;vertical-align:bottom}
td:first-child{min-width:7em}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}th.number{white-space:normal}
code{font-size:.95em}
@media (max-width:520px){main{padding:16px 14px 32px}h1{font-size:1.35rem}
.figures{grid-template-columns:1fr 1fr}.figure b{font-size:1.25rem}}
@media print{@page{size:A4;margin:14mm 12mm}
:root{--ground:#fff;--card:#fff;--text:#000;--soft:#444;--rule:#bbb;--before:#aeb4bb;--after:#7fb0e6;--strong:#1f6fc4;
--mark:#c2410c}
body{font-size:10.5pt}main{max-width:none;padding:0}section{margin-top:18pt}
.figure{border:1px solid var(--rule)}.advice{border:1px solid var(--rule);border-left:4px solid var(--strong)}
.wide{overflow:visible}table{font-size:7pt}td:first-child{min-width:0}
th,td{padding:3px 5px 3px 0}td:nth-child(3){overflow-wrap:anywhere}
tr,.figure,.advice,h2{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
""".strip()
