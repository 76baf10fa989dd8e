"""How the contact sheet of a review looks, and what its buttons do."""

from __future__ import annotations

STYLE = """
:root{--on:#fff;--yes:#15803d;--no:#b91c1c}
@media (prefers-color-scheme:dark){:root{--on:#10151c;--yes:#4ade80;--no:#f87171}}
main{max-width:1400px;margin:0 auto;padding:24px 20px 96px}
h2{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
p{max-width:none}.lead{max-width:80ch}.note,article p{color:var(--soft);font-size:.88rem}
.warning{color:var(--mark);font-weight:600}.problem{color:var(--mark)!important}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:20px;margin-top:20px}
article{background:var(--card);border-radius:8px;padding:14px;border:2px solid var(--rule);min-width:0}
article.accepted{border-color:var(--yes)}article.rejected{border-color:var(--no)}
.stage{position:relative;line-height:0;margin:6px 0 8px;background:#000;border-radius:4px;overflow:hidden}
.stage img{width:100%;height:auto;display:block}
.stage svg{position:absolute;inset:0;width:100%;height:100%;cursor:crosshair;touch-action:none}
.stage rect{vector-effect:non-scaling-stroke}
.mask{fill:#000;fill-opacity:.62;stroke:#ffb020;stroke-width:1.5;cursor:move}
.mask.chosen{stroke:#4cc2ff;stroke-width:3}
.corner{fill:#4cc2ff;stroke:none;cursor:nwse-resize}
.text{fill:none;stroke:#ff5d8f;stroke-width:1.5;stroke-dasharray:4 3;pointer-events:none}
article.rejected .stage{opacity:.5}
.buttons{display:flex;flex-wrap:wrap;gap:6px;margin-bottom:8px}
button{font:inherit;font-size:.88rem;padding:5px 11px;border:1px solid var(--rule);border-radius:6px;background:var(--ground);
color:var(--text);cursor:pointer}
button:focus-visible{outline:2px solid var(--strong);outline-offset:1px}
.accepted [data-do=accept]{background:var(--yes);border-color:var(--yes);color:var(--on)}
.rejected [data-do=reject]{background:var(--no);border-color:var(--no);color:var(--on)}
button.strong{background:var(--strong);border-color:var(--strong);color:var(--on)}
details{font-size:.85rem;color:var(--soft)}ul{margin:4px 0;padding-left:20px}li{overflow-wrap:anywhere}
footer{position:fixed;left:0;right:0;bottom:0;display:flex;gap:14px;align-items:center;justify-content:space-between;
padding:10px 20px;background:var(--card);border-top:1px solid var(--rule)}
@media (max-width:520px){main{padding:16px 12px 96px}footer{padding:10px 12px;font-size:.88rem}}
@media print{footer,.buttons{display:none}article{break-inside:avoid}}
""".strip()

SCRIPT = """
"use strict";
const groups = JSON.parse(document.getElementById("groups").textContent);
const shapes = "http://www.w3.org/2000/svg";
let unsaved = false;
for (const group of groups) Object.assign(group, {masks: group.boxes.map(b => [...b]), verdict: "", chosen: -1});

function rectangle(svg, kind, [x, y, width, height]) {
  const shape = document.createElementNS(shapes, "rect");
  for (const [name, value] of Object.entries({x, y, width, height, class: kind})) shape.setAttribute(name, value);
  return svg.appendChild(shape);
}
function draw(group) {
  const svg = group.svg;
  svg.replaceChildren();
  group.masks.forEach((box, number) => {
    const shape = rectangle(svg, "mask" + (number === group.chosen ? " chosen" : ""), box);
    shape.dataset.mask = number;
  });
  for (const box of group.text) rectangle(svg, "text", box);
  const box = group.masks[group.chosen];
  if (box) {
    const size = Math.max(6, group.columns / 60);
    rectangle(svg, "corner", [box[0] + box[2] - size / 2, box[1] + box[3] - size / 2, size, size]);
  }
  group.card.className = group.verdict;
  const decided = groups.filter(one => one.verdict);
  const standing = decided.reduce((sum, one) => sum + one.instances, 0);
  document.getElementById("state").textContent =
    `${decided.length} of ${groups.length} kinds decided, ${standing.toLocaleString("en")} instances`;
}
function changed(group, verdict = "") {
  group.verdict = verdict;
  unsaved = true;
  draw(group);
}
function place(group, event) {
  const frame = group.svg.getBoundingClientRect();
  const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
  return [within((event.clientX - frame.left) * group.columns / frame.width, group.columns),
          within((event.clientY - frame.top) * group.rows / frame.height, group.rows)];
}
function between(group, [x0, y0], [x1, y1]) {
  const left = Math.min(x0, x1, group.columns - 1), top = Math.min(y0, y1, group.rows - 1);
  return [left, top, Math.max(Math.max(x0, x1) - left, 1), Math.max(Math.max(y0, y1) - top, 1)];
}
function press(group, event) {
  event.preventDefault();
  group.svg.setPointerCapture(event.pointerId);
  const start = place(group, event), target = event.target;
  let drag;
  if (target.classList.contains("corner")) {
    const [x, y] = group.masks[group.chosen];
    drag = at => { group.masks[group.chosen] = between(group, [x, y], at); };
  } else if (target.dataset.mask !== undefined) {
    group.chosen = Number(target.dataset.mask);
    const [x, y, width, height] = group.masks[group.chosen];
    drag = at => {
      group.masks[group.chosen] = [
        Math.min(Math.max(x + at[0] - start[0], 0), group.columns - width),
        Math.min(Math.max(y + at[1] - start[1], 0), group.rows - height), width, height];
    };
  } else {
    group.chosen = -1;
    drag = at => {
      if (group.chosen < 0 && Math.hypot(at[0] - start[0], at[1] - start[1]) < 4) return;
      if (group.chosen < 0) group.chosen = group.masks.push([0, 0, 1, 1]) - 1;
      group.masks[group.chosen] = between(group, start, at);
    };
  }
  let moved = false;
  group.svg.onpointermove = move => {
    const at = place(group, move);
    if (at[0] !== start[0] || at[1] !== start[1]) moved = true;
    if (moved) { drag(at); changed(group); }
  };
  group.svg.onpointerup = group.svg.onpointercancel = () => {
    group.svg.onpointermove = group.svg.onpointerup = group.svg.onpointercancel = null;
  };
  draw(group);
}
function remove(group) {
  if (group.chosen < 0) return;
  group.masks.splice(group.chosen, 1);
  group.chosen = -1;
  changed(group);
}
const actions = {
  accept: group => changed(group, "accepted"),
  reject: group => changed(group, "rejected"),
  delete: remove,
  text: group => { group.masks.push(...group.text.map(b => [...b])); changed(group); },
  clear: group => { group.masks = []; group.chosen = -1; changed(group); },
  reset: group => { group.masks = group.boxes.map(b => [...b]); group.chosen = -1; changed(group); },
};
function rules() {
  const accepted = groups.filter(group => group.verdict === "accepted");
  return accepted.map(group => group.rule + "blacken = " + JSON.stringify(group.masks) + "\\n").join("\\n");
}
document.querySelectorAll("article").forEach(card => {
  const group = groups[Number(card.dataset.group)];
  group.card = card;
  group.svg = card.querySelector("svg");
  if (!group.svg) return;
  group.svg.addEventListener("pointerdown", event => press(group, event));
  card.querySelectorAll("button").forEach(button =>
    button.addEventListener("click", () => actions[button.dataset.do](group)));
  draw(group);
});
document.addEventListener("keydown", event => {
  if (event.key !== "Delete" && event.key !== "Backspace") return;
  const group = groups.find(one => one.svg && one.chosen >= 0 && one.card.matches(":hover"));
  if (group) { event.preventDefault(); remove(group); }
});
document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rules()], {type: "application/toml"}));
  link.download = "masks.toml";
  link.click();
  unsaved = false;
});
window.addEventListener("beforeunload", event => { if (unsaved) event.preventDefault(); });
""".strip()
