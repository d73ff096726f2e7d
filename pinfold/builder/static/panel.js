// What the server says of a drawing: numbers and problems, pictures of masks, a run, an export, an opened config.json.

import * as page from "./builder.js";
import { ask, byId, button, drawing, make, Mistake, say, send } from "./builder.js";

const SHAPES_AFTER = 250; // milliseconds without a change; a forward on meta tensors is too slow for every key
const LAST_WAIT = 15_000; // milliseconds for a cancelled job to end
const MASK = 128; // most tokens of a small picture

// ---- Numbers ----

export const digits = (number) => number.toLocaleString("en");
export const percent = (share) => `${Number((share * 100).toPrecision(3))} %`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
export const shapeText = (shape) => `[${shape.join(", ")}]`;

export function short(number, unit = "") {
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [size, letter] = steps.find(([step]) => number >= step) ?? [1, ""];
  return `${Number((number / size).toPrecision(3))} ${letter}${unit}`.trim();
}

// ---- The check ----

let number = 0; // of the last question; an answer to an earlier one is dropped
let fresh = false; // whether `answered` is about the drawing as it is now
let answered = null;
let asking = null;
let shapesLater = 0;
const input = { batch: 1, length: 128 };

export function check() {
  if (!drawing()) return;
  fresh = false;
  asking?.abort();
  asking = new AbortController();
  number += 1;
  showState();
  const { signal } = asking;
  question(false, signal);
  clearTimeout(shapesLater);
  shapesLater = setTimeout(async () => {
    if (await question(true, signal)) showMasks(signal);
  }, SHAPES_AFTER);
}

/** Ask for the numbers, or for the shapes as well; whether the drawing is valid. */
async function question(shapes, signal) {
  const mine = number;
  try {
    const answer = await ask("check", { state: drawing(), ...input, shapes, number: mine }, signal);
    if (mine !== number || answer.number !== number) return false;
    page.serverBack();
    accept(answer, shapes);
    return answer.ok;
  } catch (error) {
    if (mine !== number || signal.aborted) return false;
    if (!(error instanceof Mistake)) return page.serverGone(check);
    page.serverBack();
    accept({ ok: false, problems: [{ say: error.message }], warnings: [] }, shapes);
    return false;
  }
}

function accept(answer, shapes) {
  answered = answer;
  fresh = true;
  showState();
  showProblems();
  if (!answer.ok) return;
  showCosts(answer.costs);
  showRowFacts(shapes);
}

function verdict() {
  if (!fresh) return [byId("gone").hidden ? "checking…" : "no server", ""];
  return answered.ok ? ["valid", "good"] : [plural(answered.problems.length, "problem"), "bad"];
}

export function showState() {
  const [text, kind] = verdict();
  const stale = kind !== "good";
  byId("verdict").textContent = text;
  byId("verdict").className = `badge ${kind}`;
  byId("costs").classList.toggle("stale", stale);
  byId("costs").setAttribute("aria-busy", String(!fresh));
  byId("stack").classList.toggle("stale", stale);
  showJobs();
}

function showCosts({ parameters, flops, useful_flops: useful = flops, memory, density = [] }) {
  const known = density.filter((share) => share !== null);
  const mean = known.reduce((sum, share) => sum + share, 0) / known.length;
  const lines = [["Parameters", digits(parameters)], ["FLOPs of a forward pass", short(flops)]];
  if (useful !== flops) lines.push(["FLOPs for pairs that are seen", short(useful)]);
  lines.push(["Memory to run", short(memory.inference, "B")], ["Memory to train", short(memory.training, "B")]);
  if (known.length) lines.push(["Attention density, mean", percent(mean)]);
  byId("costs").replaceChildren(
    ...lines.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function showRowFacts(withShapes) {
  for (const { run, facts } of page.layerRows.values()) {
    const rows = answered.rows.filter((row) => row.slot === "layers" && row.layer === run.start);
    fillFacts(facts, rows, run.count, withShapes);
  }
  for (const element of byId("stack").querySelectorAll(".row:not(.layer)")) {
    const rows = answered.rows.filter((row) => row.slot === element.dataset.slot);
    fillFacts(element.querySelector(".facts"), rows, 1, withShapes);
  }
}

function fillFacts(facts, rows, count, withShapes) {
  const shape = facts.querySelector(".shape") ?? make("span", { class: "shape" });
  shape.classList.toggle("stale", !withShapes);
  if (withShapes) shape.textContent = rows.at(-1)?.shape ? shapeText(rows.at(-1).shape) : "";
  const parameters = rows.reduce((sum, row) => sum + row.parameters, 0);
  const text = `${short(parameters)} parameters${count > 1 ? " each" : ""}`;
  facts.replaceChildren(make("span", {}, rows.length ? text : ""), shape);
}

// ---- Problems: in the panel, and at the row and field that cause them ----

function culprit({ field, layer, slot }) {
  const named = `[data-field="${CSS.escape(field ?? "")}"]`;
  const holds = ({ run }) => layer >= run.start && layer < run.start + run.count;
  const row = layer == null ? null : [...page.layerRows.values()].find(holds)?.element;
  return row?.querySelector(named) ?? byId("build").querySelector(named) ?? row
    ?? byId("stack").querySelector(`.row[data-slot="${CSS.escape(slot ?? "")}"]`);
}

function showProblems() {
  for (const element of byId("build").querySelectorAll("[data-message]")) {
    element.removeAttribute("aria-invalid");
    element.removeAttribute("aria-describedby");
    delete element.dataset.message;
  }
  for (const element of byId("build").querySelectorAll(".culprit")) element.classList.remove("culprit");
  for (const element of byId("build").querySelectorAll(".message")) element.remove();
  const lines = [["bad", answered.problems], ["warn", answered.warnings]];
  byId("problems").replaceChildren(...lines.flatMap(([kind, list]) => list.map((problem, index) => {
    const text = `${problem.say} ${problem.cure ?? ""}`.trim();
    const element = culprit(problem);
    if (element && kind === "bad") pointAt(element, text, `message-${index}`);
    return problemLine(kind, text, problem, element);
  })));
}

function pointAt(element, text, id) {
  const block = element.closest(".row, fieldset, .more, .pair, .layers-head") ?? element;
  block.classList.add("culprit");
  block.append(make("p", { class: "message", id }, text));
  if (element.matches("input, select")) element.setAttribute("aria-invalid", "true");
  element.setAttribute("aria-describedby", id);
  element.dataset.message = id;
}

function problemLine(kind, text, problem, element) {
  const word = make("strong", {}, kind === "bad" ? "Problem" : "Warning");
  const label = `Go to: ${problem.say}`;
  const there = () => button("Go to", () => goTo(culprit(problem)), { class: "link", "aria-label": label });
  return make("li", { class: `note ${kind}` }, word, ` ${text} `, element && there());
}

function goTo(element) {
  const folded = element?.closest("details");
  if (folded) folded.open = true;
  element?.scrollIntoView({ block: "center" });
  element?.focus({ preventScroll: true });
}

// ---- Masks ----

const masks = new Map(); // answers by what was asked
const hexBytes = (hex) => [1, 3, 5].map((start) => parseInt(hex.trim().slice(start, start + 2), 16)).concat(255);

/** The reasons of a mask as bytes, drawn into a canvas with a pixel for each pair. */
export function paintMask(canvas, { length, reasons }) {
  const bytes = Uint8Array.from(atob(reasons), (letter) => letter.charCodeAt(0));
  const style = getComputedStyle(document.documentElement);
  const colours = Array.from({ length: 7 }, (_, index) => hexBytes(style.getPropertyValue(`--reason-${index}`)));
  const image = new ImageData(length, length);
  bytes.forEach((reason, index) => image.data.set(colours[reason] ?? colours[1], index * 4));
  canvas.width = length;
  canvas.height = length;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return bytes;
}

/** Show the mask of every row, one question after the other; a later change of the drawing ends it. */
async function showMasks(signal) {
  const state = drawing();
  const sizes = page.layout().attention?.map((name) => state.config[name]);
  const length = Math.min(input.length, MASK);
  for (const { mask, run } of [...page.layerRows.values()].filter((row) => !row.mask.hidden)) {
    const asked = JSON.stringify([state.architecture, page.layerWords(state, run.start), sizes, run.start, length]);
    try {
      const question = { state, layer: run.start, length, pads: 0 };
      if (!masks.has(asked)) masks.set(asked, await ask("masks", question, signal));
    } catch {
      return; // the check says what is wrong
    }
    if (signal.aborted) return;
    const answer = masks.get(asked);
    paintMask(mask, answer);
    mask.title = `Mask of ${length} tokens: ${percent(answer.density)} of pairs seen`;
    mask.setAttribute("aria-label", mask.title);
  }
}

// ---- Jobs: what the server takes seconds for, step by step ----

let working = ""; // the job that runs; one at a time
const WORDS = { run: "the run", export: "the export", compare: "the comparison" };
const GONE = {
  run: "The server stopped while running. Start it again and press Run.",
  export: "The server stopped while exporting; nothing was written. Start it again and press Export.",
  compare: "The server stopped while comparing. Start it again and press Compare.",
};
const MARKS = { doing: "…", done: "✓", failed: "✗" };

/** Why a job cannot start now, or "". */
export function reasonAgainst(name) {
  if (working) return `Wait until ${WORDS[working]} is done, or cancel it.`;
  if (name === "compare") return "";
  if (!byId("gone").hidden) return "The server does not answer.";
  if (!fresh) return "The drawing is being checked.";
  return answered.ok ? "" : "Solve the problem first.";
}

export function showJobs() {
  for (const name of Object.keys(WORDS)) {
    if (!byId(`${name}-go`)) continue;
    const reason = reasonAgainst(name);
    byId(`${name}-go`).setAttribute("aria-disabled", String(Boolean(reason)));
    byId(`${name}-reason`).textContent = working === name ? "" : reason;
    byId(`${name}-cancel`).hidden = working !== name;
  }
  for (const result of document.querySelectorAll("[data-drawing]")) {
    const earlier = result.dataset.drawing !== JSON.stringify(drawing());
    result.classList.toggle("stale", earlier);
    result.querySelector(".earlier").hidden = !earlier;
  }
}

async function* events(path, body, signal) {
  const answer = await send(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim()) yield JSON.parse(line);
  }
}

/** List the steps of a job while they come; its result, or null where it failed or was cancelled. */
export async function job(name, body) {
  if (reasonAgainst(name)) return say(reasonAgainst(name));
  const [list, cancel] = [byId(`${name}-steps`), byId(`${name}-cancel`)];
  const stop = new AbortController();
  let cancelled = false;
  cancel.onclick = async () => {
    cancelled = true;
    say("Cancelling");
    setTimeout(() => stop.abort(), LAST_WAIT);
    const answer = await ask("cancel", {}).catch(() => ({}));
    if (!answer.cancelled) stop.abort(); // else the server says when it has ended: until then it takes no other job
  };
  list.replaceChildren();
  byId(`${name}-result`).replaceChildren();
  working = name;
  showJobs();
  say(`${WORDS[name].replace("the ", "The ")} has started`);
  const { result, ...end } = await follow(name, body, stop.signal, list);
  const fault = end.fault && cancelled ? "Cancelled." : end.fault;
  if (fault) list.append(stepLine({ state: "failed", say: fault }));
  if (document.activeElement === cancel) byId(`${name}-go`).focus();
  working = "";
  showJobs();
  say(fault || `${WORDS[name].replace("the ", "The ")} is done`);
  return result;
}

async function follow(name, body, signal, list) {
  const lines = new Map();
  try {
    for await (const event of events(name, body, signal)) {
      if (event.event === "result") return { result: event };
      if (event.event === "error") return { fault: event.say };
      const line = stepLine(event);
      if (lines.has(event.id)) lines.get(event.id).replaceWith(line);
      else list.append(line);
      lines.set(event.id, line);
    }
    return { fault: GONE[name] };
  } catch (error) {
    return { fault: error instanceof Mistake ? error.message : GONE[name] };
  } finally {
    for (const line of list.querySelectorAll(".doing")) {
      line.className = "failed";
      line.firstChild.textContent = MARKS.failed;
    }
  }
}

function stepLine({ state, say: text, seconds, share }) {
  const part = state === "doing" && share ? ` ${percent(share)}` : "";
  const time = make("span", { class: "muted" }, seconds == null ? part : ` ${seconds.toFixed(1)} s`);
  return make("li", { class: state }, make("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? ""),
    make("span", {}, text, time));
}

/** A table that scrolls by itself; the first column is text, the others are figures. */
export function table(caption, heads, rows) {
  const cell = (tag, text, index) => make(tag, { class: index ? "figure" : null, scope: tag === "th" && "col" }, text);
  const line = (tag, row) => make("tr", {}, ...row.map((text, index) => cell(tag, text, index)));
  const content = make("table", {}, make("caption", { class: "unseen" }, caption),
    make("thead", {}, line("th", heads)), make("tbody", {}, ...rows.map((row) => line("td", row))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, content);
}

function fillResult(name, state, ...content) {
  const result = byId(`${name}-result`);
  result.dataset.drawing = JSON.stringify(state);
  const earlier = make("p", { class: "earlier small", hidden: true }, "From before the last change.");
  result.replaceChildren(earlier, ...content);
  result.scrollIntoView({ block: "nearest" });
  showJobs();
}

async function run() {
  const state = drawing();
  const result = await job("run", { state, ...input });
  if (!result) return;
  const { median, least, most } = result.milliseconds;
  const outputs = Object.entries(result.outputs).map(([name, shape]) => [name, shapeText(shape), ""]);
  const line = (row) => [row.name, row.shape ? shapeText(row.shape) : "", row.milliseconds?.toFixed(2) ?? ""];
  const rows = (result.rows ?? []).map(line);
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  fillResult("run", state,
    make("p", { class: "large" }, `${median.toFixed(1)} ms`),
    make("p", { class: "muted small" },
      `Median of ${result.repeats}, from ${least.toFixed(1)} to ${most.toFixed(1)} ms. `,
      result.finite ? "All numbers are finite." : "Some numbers are not finite."),
    table("Shapes and milliseconds", ["Part", "Shape", "ms"], [...rows, ...outputs]),
    make("p", { class: "muted small" }, `${result.note}, ${versions}`));
}

async function exportFolder() {
  const state = drawing();
  const result = await job("export", { state });
  if (!result) return;
  const command = make("code", {}, result.command);
  fillResult("export", state,
    make("p", {}, make("a", { class: "button main", href: result.download.replace(/^\//, ""), download: true },
      `Download ${state.model_type}.zip`), make("span", { class: "muted small" }, ` ${short(result.bytes, "B")}`)),
    make("p", { class: "muted small" }, "Publish it with:"),
    make("div", { class: "code" }, make("pre", { tabindex: "0" }, command),
      button("Copy", () => copy(result.command), { "aria-label": "Copy the command" })),
    make("details", {}, make("summary", {}, "Report"),
      reportList({ folder: result.folder, ...result.report, drawing: null }))); // the drawing is on the page
}

/** A report as the server has it: names and values, nested ones indented. */
function reportList(report) {
  const lines = Object.entries(report).filter(([, value]) => value != null && value.length !== 0);
  return make("dl", { class: "report" }, ...lines.flatMap(([name, value]) => [
    make("dt", {}, name.replaceAll("_", " ")),
    make("dd", {}, value.constructor === Object ? reportList(value) : reportText(value))]));
}

function reportText(value) {
  const text = (each) => (typeof each === "object" ? JSON.stringify(each) : String(each));
  return Array.isArray(value) ? value.map(text).join(", ") : text(value);
}

// ---- Open, copy, config.json ----

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text); // missing on plain http from another machine
    say("Copied");
  } catch {
    showText("Copying is not allowed here: press Ctrl+C", text);
  }
}

function showText(title, text) {
  const area = make("textarea", { readonly: true, rows: 16, "aria-labelledby": "dialog-title", spellcheck: "false" });
  area.value = text;
  openDialog(title, [area], button("Copy", () => copy(text)));
  area.select();
}

function openDialog(title, content, ...buttons) {
  const close = button("Close", () => byId("dialog").close());
  byId("dialog").replaceChildren(make("h2", { id: "dialog-title" }, title), ...content,
    make("div", { class: "bar" }, ...buttons, close));
  if (!byId("dialog").open) byId("dialog").showModal();
}

export function showConfig() {
  const { model_type, config, unknown } = drawing();
  showText("config.json", JSON.stringify({ model_type, ...config, ...unknown }, null, 2));
}

export function openConfig() {
  const text = make("textarea", { id: "open-text", rows: 8, spellcheck: "false", placeholder: "{ … }" });
  const file = make("input", { id: "open-file", type: "file", accept: ".json,application/json" });
  const folder = make("input", { id: "open-folder", autocomplete: "off", spellcheck: "false" });
  const fault = make("p", { class: "message", role: "alert", id: "open-fault" });
  file.addEventListener("change", async () => { text.value = await file.files[0].text(); });
  const go = async () => {
    const asked = folder.value.trim() ? { folder: folder.value.trim() } : { text: text.value };
    fault.textContent = await take(asked);
    if (!fault.textContent) byId("dialog").close();
  };
  const field = (input, label) => make("div", { class: "field" }, make("label", { for: input.id }, label), input);
  openDialog("Open a config.json",
    [field(text, "Paste its text"), field(file, "or choose the file"), field(folder, "or name a model folder"), fault],
    button("Open", go, { class: "main" }));
}

/** Import what is asked for; the fault in one line, or "". */
async function take(asked) {
  try {
    const { state, notes } = await ask("import", asked);
    page.show(state, "config.json opened");
    byId("notes").replaceChildren(...notes.map((note) => make("p", { class: "note" }, note)));
    return "";
  } catch (error) {
    return error instanceof Mistake ? error.message : "The server does not answer. Start it and try again.";
  }
}

export async function openText(text) {
  const fault = await take({ text });
  if (!fault) return;
  openConfig();
  byId("open-text").value = text;
  byId("open-fault").textContent = fault;
}

// ---- Begin ----

function inputSize() {
  const { batch, length } = page.schema.limits;
  const parts = [["batch", "Batch", batch], ["length", "Length", length]].map(([name, label, most]) => {
    const spec = { kind: "integer", label, help: `1 to ${digits(most)}` };
    const { element, update } = page.control(name, spec, (value) => {
      input[name] = value;
      check();
    });
    update(input[name]);
    return element;
  });
  byId("input-size").replaceChildren(...parts);
}

export function begin() {
  document.head.append(make("link", { rel: "stylesheet", href: "builder.css" }));
  inputSize();
  byId("run-go").addEventListener("click", run);
  byId("export-go").addEventListener("click", exportFolder);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", check);
  check();
}
