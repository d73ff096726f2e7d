// Changes of layers: by palette, buttons, keys, and by drag and drop, which is a shortcut for them.

import * as page from "./builder.js";
import { byId, change, drawing, keys, layerPart, layerWords, layout, runName, runs, say } from "./builder.js";
import { openText } from "./panel.js";

// ---- Layers ----

/** Replace layers in every list that has a word for each of them. */
function splice(state, names, start, removed, added) {
  const { each, count } = layerPart(state);
  for (const name of each) state.config[name].splice(start, removed, ...added.map((layer) => layer.words[name]));
  names.splice(start, removed, ...added.map((layer) => layer.key));
  state.config[count] = names.length;
}

const isFull = () => keys().length >= page.schema.limits.layers;
const sayFull = () => say(`At most ${page.schema.limits.layers} layers can be drawn`);

/** A layer that was touched shows on its own, so that no row folds away under the hand. */
function keepApart(...touched) {
  if (layerPart().each.length) touched.forEach((key) => page.apart.add(key));
}

function insertLayer(to, set, label) {
  if (isFull()) return sayFull();
  const source = keys().length ? layerWords(drawing(), Math.max(to - 1, 0)) : layerWords(layout().default, 0);
  const key = page.newKey();
  keepApart(key);
  return change((state, names) => splice(state, names, to, 0, [{ key, words: { ...source, ...set } }]),
    `${label} added as layer ${to + 1} of ${keys().length + 1}`);
}

function moveLayers(run, to, where) {
  const { start, count } = run;
  if (to >= start && to <= start + count) return say(`${runName(run)} not moved`);
  if (count === 1) keepApart(run.key);
  return change((state, names) => {
    const words = (key, index) => ({ key, words: layerWords(state, start + index) });
    const moved = names.slice(start, start + count).map(words);
    splice(state, names, start, count, []);
    splice(state, names, to > start ? to - count : to, 0, moved);
  }, `${runName(run)} of ${keys().length} moved ${where}`);
}

function step(run, direction) {
  const rows = runs();
  const next = rows[rows.findIndex((row) => row.key === run.key) + direction];
  if (!next) return say(`${runName(run)} is already ${direction < 0 ? "first" : "last"}`);
  return direction < 0 ? moveLayers(run, next.start, "up") : moveLayers(run, next.start + next.count, "down");
}

function duplicate(run) {
  if (isFull()) return sayFull();
  const key = page.newKey();
  if (run.count === 1) keepApart(run.key, key);
  return change((state, names) =>
    splice(state, names, run.start + run.count, 0, [{ key, words: layerWords(state, run.start) }]),
  `${runName(run)} duplicated; ${keys().length + 1} layers`);
}

function remove(run) {
  const last = run.start + run.count - 1;
  const place = runs().findIndex((row) => row.key === run.key);
  change((state, names) => splice(state, names, last, 1, []), `Layer ${last + 1} of ${keys().length} removed`);
  const next = runs()[Math.min(place, runs().length - 1)];
  if (run.count === 1) (next ? page.layerRows.get(next.key).element : byId("stack")).focus();
}

/** What the four buttons of a row do. */
export const tools = [(run) => step(run, -1), (run) => step(run, 1), duplicate, remove];

export function unfold(run) {
  keepApart(...keys().slice(run.start, run.start + run.count));
  page.render();
  page.layerRows.get(run.key).element.focus();
  say(`${runName(run)} are shown one by one`);
}

export function setLayers(run, set, label) {
  change((state) => {
    for (const [name, word] of Object.entries(set)) state.config[name].fill(word, run.start, run.start + run.count);
  }, `${runName(run)}: ${label}`);
}

export function rowKey(event, run) {
  const [up, down, add, away] = tools;
  const acts = event.altKey ? { ArrowUp: up, ArrowDown: down, KeyD: add }
    : { Delete: away, Backspace: away, Escape: () => page.select(null) };
  const typing = event.target.matches("input, select"); // whose keys are their own
  if (!Object.hasOwn(acts, event.code) || typing) return;
  event.preventDefault();
  acts[event.code](run);
}

// ---- Palette ----

const setsLayer = ({ slot, set }) => slot === "layers" && Object.keys(set).length > 0;

export function apply(item) {
  const run = page.selectedRun();
  if (item.slot !== "layers") applyToSlot(item);
  else if (run && setsLayer(item)) setLayers(run, item.set, item.label);
  else insertLayer(run ? run.start + run.count : keys().length, item.set, item.label);
}

function applyToSlot(item) {
  const { title } = layout().rows.find((row) => row.slot === item.slot);
  const head = layout().heads.find(({ auto }) => auto === item.head);
  if (!head) change((state) => Object.assign(state.config, item.set), `${title}: ${item.label}`);
  else if (drawing().heads.includes(item.head)) say(`${head.label} is there already`);
  else page.toggleHead(head);
}

// ---- Drag and drop ----

let dragged = null; // {item} of the palette or {run} of the stack; a drop's data cannot be read while it hovers

const itemOf = (id) => layout().palette.flatMap((group) => group.items).find((item) => item.id === id);

function start(event) {
  const source = event.target.closest?.("[draggable]");
  if (!source) return;
  const row = source.closest(".layer");
  dragged = row ? { run: page.layerRows.get(row.dataset.key).run } : { item: itemOf(source.dataset.item) };
  event.dataTransfer.effectAllowed = "copyMove";
  event.dataTransfer.setData("text/plain", source.textContent); // Firefox drags nothing without data
  event.dataTransfer.setDragImage(row ?? source, 12, 12);
  document.body.dataset.drag = dragged.item?.slot ?? "layers";
}

function end() {
  dragged = null;
  delete document.body.dataset.drag;
  mark(null);
}

/** Where a drop would go: onto a row, or into the gap before or after one. */
function spotOf(event) {
  const { item } = dragged;
  if (item && item.slot !== "layers") {
    return { row: byId("stack").querySelector(`.row[data-slot="${CSS.escape(item.slot)}"]`), place: "on" };
  }
  const element = event.target.closest(".layer");
  if (!element) return endOf(event);
  const { run } = page.layerRows.get(element.dataset.key);
  const box = element.getBoundingClientRect();
  const share = (event.clientY - box.top) / box.height;
  if (item && setsLayer(item) && share >= 0.25 && share <= 0.75) return { row: element, place: "on", run };
  return share < 0.5 ? gap(element, "before", run.start) : gap(element, "after", run.start + run.count);
}

const gap = (row, place, to) => ({ row, place, to });

/** A drop beside the layers goes to their nearer end. */
function endOf(event) {
  const list = byId("layers");
  const above = event.clientY < list.getBoundingClientRect().top;
  const row = above ? list.firstElementChild : list.lastElementChild;
  return gap(row ?? list, above ? "before" : "after", above ? 0 : keys().length);
}

function mark(spot) {
  for (const element of document.querySelectorAll("[data-drop]")) delete element.dataset.drop;
  if (spot?.row) spot.row.dataset.drop = spot.place;
}

function finish(event) {
  const { row, run: target, place, to } = spotOf(event);
  const { item, run } = dragged;
  end();
  if (!row) return;
  if (item && item.slot !== "layers") applyToSlot(item);
  else if (target) setLayers(target, item.set, item.label);
  else if (item) insertLayer(to, item.set, item.label);
  else moveLayers(run, to, place === "before" ? `before layer ${to + 1}` : `after layer ${to}`);
}

export function begin() {
  const stack = byId("middle");
  document.addEventListener("dragstart", start);
  document.addEventListener("dragend", end);
  document.addEventListener("dragover", (event) => {
    const inside = dragged && byId("layers") && stack.contains(event.target);
    if (inside || event.dataTransfer.types.includes("Files")) event.preventDefault();
    mark(inside ? spotOf(event) : null);
  });
  document.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file && !dragged) return;
    event.preventDefault();
    if (file) openText(await file.text());
    else if (stack.contains(event.target)) finish(event);
  });
  document.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!event.target.closest("input, textarea") && text.trim().startsWith("{")) openText(text);
  });
}
