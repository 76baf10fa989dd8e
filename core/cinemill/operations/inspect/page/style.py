"""How the page of an inspection looks besides what all pages have."""

from __future__ import annotations

STYLE = """
:root{--error:#b91c1c;--warning:#9a5b00;--notice:#1f6fc4}
@media (prefers-color-scheme:dark){:root{--error:#f87171;--warning:#f5b041;--notice:#6cb0ff}}
main{max-width:1200px;margin:0 auto;padding:24px 20px 48px}
h2{font-size:1.3rem}h3{font-size:1.05rem;margin:0 0 4px;overflow-wrap:anywhere}h4{font-size:.92rem;margin:18px 0 6px}
section{margin-top:36px}
a{color:var(--strong)}
.private{color:var(--mark);font-weight:600}
.card{background:var(--card);border-radius:8px;padding:14px 16px;margin-top:16px;min-width:0}
.finding{border-left:4px solid var(--notice)}.finding.error{border-color:var(--error)}.finding.warning{border-color:var(--warning)}
.severity{font-weight:700;color:var(--notice)}.severity.error{color:var(--error)}.severity.warning{color:var(--warning)}
.card p{font-size:.92rem;margin-bottom:4px}
ul{margin:6px 0 0;padding-left:20px;font-size:.86rem}li{overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--strong);font-size:.88rem;margin-top:4px}
.tree,.tree ul{list-style:none;padding-left:0}.tree ul{padding-left:14px;margin:2px 0 8px;border-left:1px solid var(--rule)}
.tree li{margin-bottom:3px}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 14px;margin:10px 0 0;font-size:.88rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(126px,1fr));gap:8px;list-style:none;padding:0;margin:0}
.strip.one{grid-template-columns:minmax(0,480px)}
.strip figure,.stage{margin:0}
.strip img{width:100%;height:auto;display:block;background:#000;border-radius:4px}
figcaption{font-size:.78rem;color:var(--soft);overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.strip .missing{border:1px dashed var(--rule);border-radius:4px;padding:6px 8px;font-size:.78rem;color:var(--mark);overflow-wrap:anywhere}
.stage{position:relative;line-height:0;max-width:720px;background:#000;border-radius:4px;overflow:hidden;margin-bottom:8px}
.stage img{width:100%;height:auto;display:block}
.stage svg{display:block;width:100%;height:auto}.stage img+svg{position:absolute;inset:0;height:100%}
.stage rect{fill:none;stroke:#4cc2ff;stroke-width:2;vector-effect:non-scaling-stroke}
.stage rect.tag{fill:#4cc2ff;stroke:none}.stage text{fill:#000;font-weight:700;font-family:inherit;text-anchor:middle}
.plot{max-width:720px}
.plot svg{display:block;width:100%;height:110px;background:var(--ground);border:1px solid var(--rule)}
.plot path{fill:none;stroke:var(--strong);stroke-width:1.5;vector-effect:non-scaling-stroke}
.ends{display:flex;justify-content:space-between;gap:12px;font-size:.78rem;color:var(--soft);font-variant-numeric:tabular-nums}
.stacked td{overflow-wrap:anywhere;min-width:4.6em}
@media (max-width:640px){main{padding:16px 12px 32px}.card{padding:12px}
dl{grid-template-columns:minmax(0,1fr)}dt{margin-top:5px}
.strip{grid-template-columns:1fr 1fr}.strip.one{grid-template-columns:minmax(0,1fr)}
.stacked thead{display:none}.stacked table,.stacked tbody,.stacked tr,.stacked td{display:block;width:100%}
.stacked tr{padding:6px 0;border-bottom:1px solid var(--rule)}
.stacked td{border:0;min-width:0;padding:1px 0;text-align:left;white-space:normal}.stacked td:empty{display:none}
.stacked td::before{content:attr(data-head) ": ";color:var(--soft)}}
@media print{:root{--error:#b91c1c;--warning:#9a5b00;--notice:#1f6fc4}
main{max-width:none;padding:0}section{margin-top:18pt}
.card{border:1px solid var(--rule)}.finding{border-left-width:4px}
a{color:inherit;text-decoration:none}
.strip{grid-template-columns:repeat(4,1fr)}.strip.one{grid-template-columns:minmax(0,9cm)}.stage,.plot{max-width:12cm}
table{font-size:7.5pt}th,td{padding:3px 5px 3px 0}
h3,h4{break-after:avoid}.strip li,.stage,.plot,.finding{break-inside:avoid}
details::details-content{content-visibility:visible;height:auto}summary{display:none}}
""".strip()
