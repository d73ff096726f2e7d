// The builder's page. A drawing is plain data; the page is made from it and from the server's schema, so that nothing
// here knows a field or a kind of attention by name. Text of users and of the server enters as text, never as HTML.
// Here is what the first paint needs: the drawing, its history, its link, and the controls that show it.
// Then come edit.js (changes of layers, drag and drop) and panel.js (what the server says of the drawing).

export const byId = (id) => document.getElementById(id);
export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const FOLD = 3; // equal layers that show as one row; two are as easily read apart

/** An element; a function among its attributes is a listener, false and null leave an attribute out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const button = (text, click, more = {}) => make("button", { type: "button", click, ...more }, text);

let fading;
export function say(text) {
  byId("status").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => byId("status").replaceChildren(), 6000);
}

// ---- The server ----

export class Mistake extends Error {} // the server's own line about what was asked; any other error: it is gone

export async function send(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const options = body ? { method: "POST", headers, body: JSON.stringify(body), signal } : {};
  const answer = await fetch(`api/${path}`, options);
  if (!answer.ok) throw new Mistake((await answer.json()).error);
  return answer;
}

export const ask = async (path, body, signal) => (await send(path, body, signal)).json();

let retry = 0;
export function serverGone(again) {
  byId("gone").textContent = "The server does not answer. Editing still works. Numbers return when the server does.";
  byId("gone").hidden = false;
  clearTimeout(retry);
  retry = setTimeout(again, 2000);
  later.panel?.showState();
}

export function serverBack() {
  clearTimeout(retry);
  if (byId("gone").hidden) return;
  byId("gone").hidden = true;
  say("The server is back");
}

// ---- The drawing and its history ----

export let schema = null;
const later = {}; // the modules that come after the first paint
let loaded = null;
const ready = new Promise((resolve) => { loaded = resolve; });
const soon = (act) => () => ready.then(() => act(later)); // a click that comes before them is not lost
const history = []; // {state, keys}: a key names a layer, so that its row stays itself while it moves
let at = -1;
let merging = ""; // the field whose typing is one step of the history
let lastKey = 0;
let selected = null; // key of the row that palette items go to
export const apart = new Set(); // keys of layers that show on their own although their neighbours are equal

export const drawing = () => history[at]?.state;
export const keys = () => history[at].keys;
export const layout = (state = drawing()) => schema.architectures[state.architecture];
export const layerPart = (state) => layout(state).rows.find((row) => row.slot === "layers");
export const newKey = () => `layer-${++lastKey}`;
export const layerWords = (state, index) =>
  Object.fromEntries(layerPart(state).each.map((name) => [name, state.config[name]?.[index]]));

function keysFor(state, old = []) {
  const count = state.config[layerPart(state)?.count];
  const most = Number.isInteger(count) ? Math.min(Math.max(count, 0), schema.limits.layers) : old.length;
  return Array.from({ length: most }, (_, index) => old[index] ?? newKey());
}

function record(next, merge) {
  history.splice(merge ? at : at + 1, Infinity, next);
  at = history.length - 1;
}

/** One step of the history, unless nothing is changed; typing in one field stays one step. */
export function change(edit, text = "", field = "") {
  const next = structuredClone(history[at]);
  edit(next.state, next.keys);
  if (same(next.state, drawing())) history[at] = next;
  else {
    record(next, field && field === merging);
    merging = field;
  }
  render();
  if (text) say(text);
}

export function show(state, text = "") {
  if (at < 0 || !same(state, drawing())) record({ state: structuredClone(state), keys: keysFor(state) });
  merging = "";
  selected = null;
  apart.clear();
  byId("notes").replaceChildren();
  render();
  if (text) say(text);
}

function travel(step) {
  if (!history[at + step]) return say(step < 0 ? "Nothing to undo" : "Nothing to redo");
  at += step;
  merging = "";
  render();
  return say(step < 0 ? "Undone" : "Redone");
}

/** Lists with a word for each layer: cut at the end, or the last word repeated. */
function fitLists(state, names, wanted) {
  for (const name of names) {
    const list = state.config[name];
    const usual = list.at(-1) ?? layout(state).default.config[name][0];
    state.config[name] = wanted.map((_, index) => list[index] ?? usual);
  }
}

function setLayerCount(value) {
  change((state, names) => {
    const { count, each } = layerPart(state);
    state.config[count] = value;
    const wanted = keysFor(state, names);
    fitLists(state, each, wanted);
    names.splice(0, Infinity, ...wanted);
  }, "", "count");
}

/** The rows to show: layers with the same words next to each other are one, from three on. */
export function runs() {
  const each = layerPart()?.each ?? [];
  const list = [];
  keys().forEach((key, start) => {
    const words = JSON.stringify(layerWords(drawing(), start));
    const last = list.at(-1);
    if (last?.words === words && !apart.has(key) && !apart.has(last.key)) last.count += 1;
    else list.push({ key, start, count: 1, words });
  });
  const single = (start) => ({ key: keys()[start], start, count: 1 });
  const isPair = (run) => run.count === FOLD - 1 && each.length;
  return list.flatMap((run) => (isPair(run) ? [single(run.start), single(run.start + 1)] : [run]));
}

export const runName = ({ start, count }) =>
  (count > 1 ? `Layers ${start + 1} to ${start + count}` : `Layer ${start + 1}`);

// ---- The link: only what differs from the architecture's default ----

const OWN = ["prefix", "model_type", "heads", "unknown"];
const wordText = (word) => encodeURIComponent(word).replaceAll("*", "%2A");
const isList = (name, state) => name === "heads" || Boolean(layerPart(state)?.each.includes(name));

/** A text that reads as something else, such as a number, is quoted, so that it comes back as a text. */
const valueText = (value) => (typeof value === "string" && textValue(wordText(value)) === value
  ? wordText(value) : encodeURIComponent(JSON.stringify(value)));

function textValue(text) {
  const plain = decodeURIComponent(text);
  try {
    return JSON.parse(plain);
  } catch {
    return plain;
  }
}

function listText(words) {
  const parts = [];
  for (const word of words) {
    if (parts.at(-1)?.word === word) parts.at(-1).count += 1;
    else parts.push({ word, count: 1 });
  }
  return parts.map(({ word, count }) => wordText(word) + (count > 1 ? `*${count}` : "")).join(",");
}

const textList = (text) => (text ? text.split(",") : []).flatMap((part) => {
  const [word, count = 1] = part.split("*");
  return Array(Math.min(Number(count), schema.limits.layers)).fill(decodeURIComponent(word));
});

function linkOf(state) {
  const usual = layout(state).default;
  const parts = [state.architecture];
  const count = layerPart(state)?.count;
  const resized = !same(state.config[count], usual.config[count]); // lists are fitted to their number: written, always
  const add = (name, label, value, base) => {
    const list = isList(name, state);
    if (same(value, base) && !(list && resized && name !== "heads")) return;
    parts.push(`${label}=${list ? listText(value) : valueText(value)}`);
  };
  for (const name of OWN) add(name, name, state[name], usual[name]);
  for (const [name, value] of Object.entries(state.config)) {
    add(name, OWN.includes(name) ? `config.${name}` : name, value, usual.config[name]);
  }
  return `#${parts.join("&")}`;
}

/** The drawing of a link; null where it names none of the architectures, or is damaged. */
function drawingOf(link) {
  const [architecture, ...parts] = link.replace(/^#/, "").split("&");
  if (!Object.hasOwn(schema.architectures, architecture)) return null;
  const state = structuredClone(schema.architectures[architecture].default);
  try {
    const lists = new Set(layerPart(state)?.each);
    for (const part of parts) {
      const [, label, text] = /^([^=]*)=(.*)$/.exec(part);
      const name = label.replace(/^config\./, "");
      const value = isList(name, state) ? textList(text) : textValue(text);
      lists.delete(name);
      if (OWN.includes(label)) state[name] = value;
      else if (Object.hasOwn(state.config, name)) state.config[name] = value;
    }
    fitLists(state, lists, keysFor(state)); // a link that was written by hand
    return state;
  } catch {
    return null;
  }
}

// ---- Controls ----

let controls = []; // functions that show the drawing in a control
let serial = 0;
const NUMBER = { integer: /^-?\d{1,15}$/, number: /^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i };
const textOf = (value) => (value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

function valueOf(input, { kind, none }) {
  if (kind === "truth") return input.checked;
  const text = input.value.trim();
  if (text === "" && none) return null;
  if (kind === "list") return textValue(encodeURIComponent(text));
  return NUMBER[kind]?.test(text) ? Number(text) : text; // the server says what is wrong with what is not a number
}

function optionList({ options, none }) {
  const list = options.map(({ value, label, help }) => make("option", { value, title: help }, label));
  return none ? [make("option", { value: "" }, "Default"), ...list] : list;
}

function inputOf(spec, attributes) {
  if (spec.kind === "word") return make("select", attributes, ...optionList(spec));
  if (spec.kind === "truth") return make("input", { ...attributes, type: "checkbox" });
  return make("input", { ...attributes, autocomplete: "off", spellcheck: "false",
    inputmode: spec.kind === "integer" && "numeric", placeholder: spec.none && "default" });
}

/** A labelled control of one field, and the function that shows a value in it. */
export function control(name, spec, write) {
  const id = `field-${++serial}`;
  const event = spec.kind === "word" || spec.kind === "truth" ? "change" : "input";
  const listener = { [event]: () => write(valueOf(input, spec)) };
  const input = inputOf(spec, { id, "data-field": name, title: spec.help, ...listener });
  const label = make("label", { for: id }, spec.label);
  const parts = spec.kind === "truth" ? [input, label] : [label, input];
  const element = make("div", { class: `field ${spec.kind}` }, ...parts);
  const update = (value) => {
    if (same(valueOf(input, spec), value)) return; // what is being typed stays as it is
    const text = textOf(value);
    input.checked = value === true;
    input.value = text;
    if (spec.kind !== "word" || input.value === text) return;
    input.append(make("option", { value: text, selected: true }, text)); // a word that the schema does not know
  };
  return { element, update };
}

function following({ element, update }, read) {
  controls.push(() => update(read(drawing())));
  return element;
}

function configControl(name) {
  const spec = layout().fields[name] ?? { kind: "text", label: name };
  const set = (value) => change((state) => { state.config[name] = value; }, "", name);
  const write = layerPart()?.count === name ? setLayerCount : set;
  return following(control(name, spec, write), (state) => state.config[name]);
}

function nameControl(name, label, help) {
  const set = (value) => change((state) => { state[name] = value; }, "", name);
  return following(control(name, { kind: "text", label, help }, set), (state) => state[name]);
}

const fields = (names) => make("div", { class: "fields" }, ...names.map(configControl));

// ---- The frame of an architecture: palette, rows, forms ----

let framed = "";

function frame() {
  if (framed === drawing().architecture) return;
  framed = drawing().architecture;
  controls = [];
  layerRows.clear();
  const { palette = [], rows, sizes, attention, more } = layout();
  byId("palette").hidden = !palette.length;
  byId("items").replaceChildren(...palette.map(paletteGroup));
  byId("stack").hidden = !rows.length;
  byId("stack").replaceChildren(...rows.flatMap(slotRow));
  const forms = [["Sizes", sizes], ["Attention", attention]].filter(([, names]) => names?.length);
  byId("forms").replaceChildren(
    ...forms.map(([title, names]) => make("fieldset", {}, make("legend", {}, title), fields(names))));
  const folded = () => make("details", { class: "more" }, make("summary", {}, "More settings"), fields(more));
  if (more?.length) byId("forms").append(folded());
  byId("names").replaceChildren(
    nameControl("prefix", "Class prefix", "Such as Chapter: the classes are ChapterConfig, ChapterModel and so on"),
    nameControl("model_type", "Model type", "Such as chapter: what config.json says, and what files are called by"));
  byId("architecture").value = framed;
  byId("panes").classList.toggle("plain", !rows.length);
}

function paletteGroup({ title, items }) {
  const add = (item) => button(item.label, soon(({ edit }) => edit.apply(item)),
    { draggable: "true", title: item.help, "data-item": item.id });
  return make("div", { class: "group", role: "group", "aria-label": title }, make("h3", {}, title), ...items.map(add));
}

function slotRow(row) {
  if (row.slot === "layers") {
    const fold = button("Fold equal layers", () => {
      apart.clear();
      render();
      say("Equal layers are folded");
    }, { id: "fold" });
    const head = make("li", { class: "layers-head" }, fields(row.count in layout().fields ? [row.count] : []), fold);
    return [head, make("li", {}, make("ol", { id: "layers" }))];
  }
  const content = row.slot === "head" ? [headBoxes(), headFields(row)] : [fields(row.fields)];
  const title = make("div", { class: "title" }, make("strong", {}, row.title), make("span", { class: "facts" }));
  const attributes = { class: "row", "data-slot": row.slot, tabindex: "0", "aria-label": row.title };
  return [make("li", attributes, title, ...content)];
}

function headBoxes() {
  const has = (auto) => (state) => state.heads.includes(auto);
  const boxes = layout().heads.map((head) => following(
    control(head.auto, { kind: "truth", ...head }, () => toggleHead(head)), has(head.auto)));
  const options = layout().heads.map(({ auto, label }) => ({ value: auto, label }));
  const spec = { kind: "word", label: "Checkpoint's head", options, help: "What config.json names" };
  const toFront = (auto) => change((state) => {
    state.heads = [auto, ...state.heads.filter((each) => each !== auto)];
  });
  const first = following(control("heads", spec, toFront), (state) => state.heads[0]);
  controls.push(() => {
    first.hidden = drawing().heads.length < 2;
    for (const option of first.querySelectorAll("option")) option.disabled = !has(option.value)(drawing());
  });
  const group = make("div", { class: "boxes", role: "group", "aria-label": "Heads" }, ...boxes);
  return make("div", { class: "fields" }, group, first);
}

/** The row's own fields, and those of the heads that are chosen. */
function headFields(row) {
  const names = [...new Set([...row.fields, ...layout().heads.flatMap((head) => head.fields)])];
  const parts = names.map((name) => [name, configControl(name)]);
  controls.push(() => {
    const chosen = layout().heads.filter((head) => drawing().heads.includes(head.auto));
    const used = [...row.fields, ...chosen.flatMap((head) => head.fields)];
    for (const [name, element] of parts) element.hidden = !used.includes(name);
  });
  return make("div", { class: "fields" }, ...parts.map(([, element]) => element));
}

export function toggleHead({ auto, label }) {
  const has = drawing().heads.includes(auto);
  change((state) => {
    state.heads = has ? state.heads.filter((each) => each !== auto) : [...state.heads, auto];
  }, `${label} ${has ? "removed" : "added"}`);
}

// ---- Layer rows: kept by key, so that focus stays on a row that moves ----

export const layerRows = new Map();

function layerRow(key) {
  const { each } = layerPart();
  const hidden = !each.length || !layout().attention?.length;
  const mask = make("canvas", { class: "mask", role: "img", "aria-label": "Mask, not drawn yet", hidden });
  const row = { run: null, facts: make("span", { class: "facts" }), mask };
  const name = make("strong", { id: `${key}-name` });
  const choices = each.map((field) => {
    const spec = layout().fields[field];
    const label = (word) => spec.options.find(({ value }) => value === word)?.label ?? word;
    const set = (word) => soon(({ edit }) => edit.setLayers(row.run, { [field]: word }, label(word)))();
    return [field, control(field, spec, set)];
  });
  const open = button("Show each", soon(({ edit }) => edit.unfold(row.run)));
  const tool = (sign, index) => button(sign, soon(({ edit }) => edit.tools[index](row.run)));
  const tools = ["↑", "↓", "+", "×"].map(tool);
  const grip = make("div", { class: "title grip", draggable: "true" },
    make("span", { class: "dots", "aria-hidden": "true" }, "⠿"), name, row.facts);
  row.element = make("li", { class: "row layer", tabindex: "0", "aria-labelledby": name.id, "data-key": key,
    focusin: () => select(key), keydown: (event) => later.edit?.rowKey(event, row.run) },
  grip, make("div", { class: "fields" }, ...choices.map(([, { element }]) => element), open), mask,
  make("div", { class: "tools" }, ...tools));
  row.update = (run) => {
    const { start, count } = row.run = run;
    const words = layerWords(drawing(), start);
    const said = runName(run).toLowerCase();
    name.textContent = count > 1 ? `Layers ${start + 1}–${start + count} ×${count}` : `Layer ${start + 1}`;
    for (const [field, { update }] of choices) update(words[field]);
    open.hidden = count < 2 || !each.length;
    if (selected === key) row.element.setAttribute("aria-current", "true");
    else row.element.removeAttribute("aria-current");
    nameTools(tools, [`Move ${said} up`, `Move ${said} down`, `Add one more like ${said}`,
      `Remove ${count > 1 ? "one of " : ""}${said}`]);
    tools[0].setAttribute("aria-disabled", String(start === 0));
    tools[1].setAttribute("aria-disabled", String(start + count === keys().length));
  };
  return row;
}

function nameTools(tools, labels) {
  tools.forEach((tool, index) => {
    tool.title = labels[index];
    tool.setAttribute("aria-label", labels[index]);
  });
}

function renderLayers() {
  const list = byId("layers");
  if (!list) return;
  const focused = document.activeElement;
  const shown = runs();
  for (const [key, { element }] of layerRows) {
    if (shown.some((run) => run.key === key)) continue;
    element.remove();
    layerRows.delete(key);
  }
  shown.forEach((run, index) => {
    if (!layerRows.has(run.key)) layerRows.set(run.key, layerRow(run.key));
    const row = layerRows.get(run.key);
    row.update(run);
    if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
  });
  if (focused !== document.activeElement && focused.isConnected) focused.focus(); // an element that is moved loses it
  byId("fold").hidden = !apart.size;
  showTarget();
}

export const selectedRun = () => layerRows.get(selected)?.run;

function showTarget() {
  const run = selectedRun();
  const text = "Adds a layer at the end, or changes the one that is selected.";
  byId("target").replaceChildren(run ? `Changes ${runName(run).toLowerCase()}. ` : text,
    run ? button("Clear", () => select(null), { class: "link" }) : "");
}

export function select(key) {
  if (selected === key) return;
  selected = key;
  renderLayers();
}

// ---- The page ----

let hashLater = 0;

export function render() {
  byId("start").hidden = true;
  byId("panes").hidden = false;
  frame();
  for (const update of controls) update();
  renderLayers();
  byId("undo").setAttribute("aria-disabled", String(at === 0));
  byId("redo").setAttribute("aria-disabled", String(at === history.length - 1));
  clearTimeout(hashLater); // browsers limit how often an address may change
  hashLater = setTimeout(() => window.history.replaceState(null, "", linkOf(drawing())), 200);
  later.panel?.check();
}

function presetButton({ label, text, state }) {
  const open = () => {
    byId("presets").open = false;
    show(state, `${label} opened`);
    byId("stack").focus();
  };
  return make("button", { type: "button", class: "preset", click: open },
    make("strong", {}, label), make("span", { class: "muted" }, text));
}

function showStart() {
  const first = schema.architectures[schema.start];
  if (!first.presets?.length) return show(first.default);
  const others = Object.values(schema.architectures).filter((other) => other !== first);
  byId("start").replaceChildren(make("h2", {}, "Draw a model"), make("p", { class: "muted" }, first.text),
    make("div", { class: "presets" }, ...first.presets.map(presetButton)),
    make("p", { class: "bar" },
      ...others.map((other) => button(other.title, () => show(other.default, `${other.title} opened`))),
      button("Open a config.json", soon(({ panel }) => panel.openConfig()))));
  byId("start").hidden = false;
  return null;
}

function toolbar() {
  const architectures = Object.entries(schema.architectures);
  const choose = (event) => show(schema.architectures[event.target.value].default);
  byId("toolbar").replaceChildren(
    make("select", { id: "architecture", "aria-label": "Architecture", change: choose },
      ...architectures.map(([value, { title }]) => make("option", { value }, title))),
    button("Undo", () => travel(-1), { id: "undo", title: "Ctrl+Z" }),
    button("Redo", () => travel(1), { id: "redo", title: "Ctrl+Y" }),
    make("details", { class: "menu", id: "presets" }, make("summary", {}, "Presets"),
      make("div", {}, ...architectures.flatMap(([, { presets = [] }]) => presets.map(presetButton)))),
    button("Open", soon(({ panel }) => panel.openConfig())),
    button("Copy link", soon(({ panel }) => panel.copy(new URL(linkOf(drawing()), location.href).href))),
    button("config.json", soon(({ panel }) => panel.showConfig())));
}

function pageKey(event) {
  const letter = event.key.toLowerCase();
  if (event.key === "Escape") byId("presets").open = false;
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !"zy".includes(letter)) return;
  if (!drawing() || event.target.closest("dialog, #compare")) return;
  event.preventDefault();
  travel(letter === "y" || event.shiftKey ? 1 : -1);
}

function chooseTab(name) {
  for (const tab of ["build", "compare"]) {
    byId(tab).hidden = tab !== name;
    byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    byId(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  byId("skip").hidden = name !== "build";
  byId(`tab-${name}`).focus();
  if (name === "compare") load(["compare"]);
}

function listen() {
  document.addEventListener("keydown", pageKey);
  document.addEventListener("focusout", () => { merging = ""; });
  addEventListener("hashchange", () => {
    const state = drawingOf(location.hash);
    if (state) show(state, "The link's drawing is opened");
  });
  const first = () => (drawing() ? byId("stack") : byId("start").querySelector("button"));
  byId("skip").addEventListener("click", () => first().focus());
  for (const [name, other] of [["build", "compare"], ["compare", "build"]]) {
    byId(`tab-${name}`).addEventListener("click", () => chooseTab(name));
    byId(`tab-${name}`).addEventListener("keydown", ({ key }) => key.match(/^Arrow(Left|Right)$/) && chooseTab(other));
  }
}

async function load(names) {
  try {
    for (const name of names) {
      later[name] ??= await import(`./${name}.js`);
      later[name].begin();
    }
  } catch {
    await new Promise((again) => serverGone(again));
    await load(names);
  }
}

async function begin() {
  try {
    schema = await ask("schema");
  } catch {
    return serverGone(begin);
  }
  serverBack();
  const { pinfold, torch, transformers, machine } = schema;
  byId("versions").textContent = `pinfold ${pinfold} · torch ${torch} · transformers ${transformers} · ${machine}`;
  toolbar();
  listen();
  byId("palette").open = matchMedia("(min-width: 48rem)").matches;
  const state = drawingOf(location.hash);
  if (state) show(state);
  else showStart();
  await load(["edit", "panel"]);
  return loaded();
}

begin();
