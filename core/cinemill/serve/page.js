"use strict";

const at = id => document.getElementById(id);
const FEW = 50;
const AHEAD = 6;
const KEPT = 400;
const UNTOLD = 40;
const LONGEST = 2000;

const plain = value => typeof value === "string" ? value.replace(/[\u202a-\u202e\u2066-\u2069]/g, "") : value;
const first = (item, tag) => plain(item[tag]?.Value?.[0] ?? "");
const person = item => {
  const { Alphabetic, Ideographic, Phonetic } = first(item, "00100010");
  return plain(Alphabetic ?? Ideographic ?? Phonetic ?? "").replaceAll("^", " ").trim() || "no name";
};
const day = text => String(text).replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3");

async function ask(path) {
  const answer = await fetch(SERVICE + path, { headers: { Accept: "application/dicom+json" } });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

function made(kind, text, className) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function choose(element) {
  for (const other of element.parentNode.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
  element.setAttribute("aria-current", "true");
}

function tell(error) {
  at("told").textContent = error.message;
}

let query = "";
let offset = 0;

async function list() {
  const found = await ask(`/studies?limit=${FEW}&offset=${offset}${query}`);
  offset += found.length;
  at("more").hidden = found.length < FEW;
  for (const study of found) {
    const button = made("button", "", "study");
    const modalities = (study["00080061"]?.Value ?? []).join(", ");
    const count = first(study, "00201208");
    button.append(
      made("b", person(study)),
      made("span", [first(study, "00100020"), day(first(study, "00080020")), modalities].filter(Boolean).join(" · ")),
      made("span", [first(study, "00081030"), `${count} instance${count === 1 ? "" : "s"}`].filter(Boolean).join(" · ")),
    );
    button.onclick = () => { choose(button); open(first(study, "0020000D")).catch(tell); };
    at("studies").append(button);
  }
  if (!offset) at("studies").append(made("p", "Nothing was found.", "note"));
}

function search() {
  at("studies").replaceChildren();
  offset = 0;
  const keys = [...new FormData(at("search"))].filter(([, value]) => value);
  query = keys.map(([name, value]) => {
    const wanted = name === "PatientName" && !/[*?]/.test(value) ? `*${value.trim().replaceAll(" ", "*")}*` : value.trim();
    return `&${name}=${encodeURIComponent(wanted)}`;
  }).join("");
  list().catch(tell);
}

async function open(study) {
  stop();
  at("player").hidden = true;
  at("thumbs").replaceChildren();
  const instances = await ask(`/studies/${study}/instances?includefield=Modality,SeriesDescription,SeriesNumber`);
  at("told").textContent = instances.length ? "Choose an instance." : "Nothing is in this study.";
  let series = "";
  let row;
  for (const instance of instances) {
    if (first(instance, "0020000E") !== series) {
      series = first(instance, "0020000E");
      const name = [first(instance, "00080060"), first(instance, "00200011"), first(instance, "0008103E")];
      row = made("div", "", "thumbs");
      at("thumbs").append(made("h2", name.filter(part => part !== "").join(" · ")), row);
    }
    const url = `${SERVICE}/studies/${study}/series/${series}/instances/${first(instance, "00080018")}`;
    const frames = Number(first(instance, "00280008") || 1);
    const button = made("button", "", "thumb");
    const pixels = first(instance, "00280010") !== "";
    if (pixels) {
      const image = new Image();
      image.loading = "lazy";
      image.alt = "";
      image.src = `${url}/thumbnail`;
      button.append(image);
    }
    const said = pixels ? `${frames} frame${frames === 1 ? "" : "s"}` : "no image";
    button.append(made("span", said));
    button.onclick = () => { choose(button); show(url, frames, pixels).catch(tell); };
    row.append(button);
  }
}

let cine = null;

async function show(url, frames, pixels) {
  stop();
  at("player").hidden = !pixels;
  if (!pixels) {
    at("told").textContent = "There is no image in this instance.";
    return;
  }
  const [header] = await ask(url.slice(SERVICE.length) + "/metadata");
  const rate = Number(first(header, "00180040")) || Number(first(header, "00082144"));
  const told = Number(first(header, "00181063")) || 1000 / rate;
  const times = header["00181065"]?.Value?.slice(1) ?? [];
  const mean = times.length ? times.reduce((sum, time) => sum + Number(time), 0) / times.length : told;
  const pace = Number.isFinite(mean) && mean > 0 ? mean : UNTOLD;
  cine = { url, frames, pace, times, kept: new Map(), shown: 0 };
  at("told").textContent = [first(header, "00080070"), first(header, "00081090"), first(header, "00082111")].filter(Boolean).join(" · ");
  at("facts").textContent = `${first(header, "00280011")}×${first(header, "00280010")} · ${first(header, "00280004")} · ` +
    `${first(header, "00083002")}${frames > 1 ? ` · ${frames} frames, ${(1000 / pace).toFixed(1)} a second` : ""}`;
  at("frame").max = frames;
  at("frame").disabled = at("play").disabled = frames === 1;
  at("player").scrollIntoView({ block: "nearest" });
  await draw(cine, 1);
  if (frames > 1) play(cine);
}

function load(of, number) {
  if (!of.kept.has(number)) {
    if (of.kept.size >= KEPT) of.kept.delete(of.kept.keys().next().value);
    const wanted = fetch(`${of.url}/frames/${number}/rendered`, { headers: { Accept: "image/jpeg" } })
      .then(async answer => {
        if (!answer.ok) throw new Error((await answer.text()).trim());
        return createImageBitmap(await answer.blob());
      });
    wanted.catch(() => {});
    of.kept.set(number, wanted);
  }
  return of.kept.get(number);
}

async function draw(of, number) {
  const picture = await load(of, number);
  if (of !== cine) return;
  const screen = at("screen");
  if (screen.width !== picture.width || screen.height !== picture.height) {
    screen.width = picture.width;
    screen.height = picture.height;
  }
  screen.getContext("2d").drawImage(picture, 0, 0);
  of.shown = number;
  at("frame").value = number;
  at("number").textContent = `${number} of ${of.frames}`;
}

async function play(of) {
  of.playing = true;
  at("play").textContent = "Pause";
  let due = performance.now();
  while (of === cine && of.playing) {
    const next = of.shown % of.frames + 1;
    for (let more = 1; more <= AHEAD; more++) load(of, (next + more - 1) % of.frames + 1);
    const wait = Number(of.times[of.shown - 1]) || of.pace;
    due = Math.max(due + Math.min(wait, LONGEST), performance.now());
    await new Promise(done => setTimeout(done, due - performance.now()));
    if (of !== cine || !of.playing) return;
    try {
      await draw(of, next);
    } catch (error) {
      tell(error);
      pause(of);
    }
  }
}

function pause(of) {
  if (of) of.playing = false;
  at("play").textContent = "Play";
}

function stop() {
  pause(cine);
  cine = null;
}

at("search").onsubmit = event => { event.preventDefault(); search(); };
at("more").onclick = () => list().catch(tell);
at("play").onclick = () => cine.playing ? pause(cine) : play(cine);
at("frame").oninput = () => { pause(cine); draw(cine, Number(at("frame").value)).catch(tell); };
search();
