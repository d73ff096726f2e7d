// The Compare tab: kinds of attention side by side, drawn from the JSON that `pinfold compare --json` prints.

import { byId, button, control, make, schema } from "./builder.js";
import { digits, job, paintMask, percent, short, showJobs, table } from "./panel.js";

const asked = { length: 1024, window: 64, stride: 16, keys: 64, globals: 0, seed: 0, measure: true };
const NUMBERS = [["length", "Length"], ["window", "Window"], ["stride", "Stride"], ["keys", "Random keys"],
  ["globals", "Global tokens"], ["seed", "Seed"]];
const FEWEST = 2;
const MOST = 4;
let chosen = [];

/** The kinds of attention, as the first architecture whose layers have a choice of them lists them. */
function kindOptions() {
  const layered = Object.values(schema.architectures).find(({ rows }) => rows.some((row) => row.each?.length));
  const name = layered?.rows.find((row) => row.each?.length).each[0];
  return schema.compare?.kinds ?? layered?.fields[name].options ?? [];
}

/** A kind's colour and line are the same whichever others are beside it, and as its mask is drawn. */
const seriesOf = (kind) => `series-${kindOptions().findIndex(({ value }) => value === kind) % MOST}`;

export function begin() {
  if (byId("compare-go")) return;
  const options = kindOptions();
  chosen = options.slice(0, MOST).map(({ value }) => value);
  const boxes = options.map(({ value, label, help }) => choice(value, { kind: "truth", label, help }, true, (on) => {
    chosen = options.map((option) => option.value).filter((kind) => (kind === value ? on : chosen.includes(kind)));
  }));
  const into = (name) => (value) => { asked[name] = value; };
  const numbers = NUMBERS.map(([name, label]) => choice(name, { kind: "integer", label }, asked[name], into(name)));
  const measure = choice("measure", { kind: "truth", label: "Measure time and memory" }, true, into("measure"));
  byId("compare").replaceChildren(
    make("h2", {}, "Compare attention"),
    make("p", { class: "muted" }, "What each kind sees in one layer and through several, and what it costs here."),
    make("div", { class: "boxes", role: "group", "aria-label": "Kinds of attention" }, ...boxes),
    make("div", { class: "fields" }, ...numbers),
    measure,
    make("div", { class: "bar" }, button("Compare", compare, { id: "compare-go", class: "main" }),
      button("Cancel", null, { id: "compare-cancel", hidden: true })),
    make("p", { id: "compare-reason", class: "muted small" }),
    make("ol", { id: "compare-steps", class: "steps", "aria-live": "polite" }),
    make("div", { id: "compare-result" }));
  showJobs();
}

function choice(name, spec, value, write) {
  const { element, update } = control(`compare-${name}`, spec, write);
  update(value);
  return element;
}

async function compare() {
  const steps = byId("compare-steps");
  if (chosen.length < FEWEST || chosen.length > MOST) {
    return steps.replaceChildren(make("li", { class: "failed" }, `Choose ${FEWEST} to ${MOST} kinds.`));
  }
  const result = await job("compare", { kinds: chosen, ...asked });
  if (result) byId("compare-result").replaceChildren(...resultParts(result));
  return result;
}

function resultParts({ kinds, settings, machine }) {
  const all = Object.values(kinds);
  const measured = all.filter((kind) => kind.measured.length);
  return [
    make("ul", { class: "says" }, ...all.map(({ kind, say }) => make("li", {}, swatch(seriesOf(kind)), say))),
    make("h3", {}, `Which token sees which: the first ${all[0].map.length} of ${digits(settings.length)} tokens`),
    make("div", { class: "masks" }, ...all.map(maskFigure)),
    legend(all),
    seenTable(all),
    make("div", { class: "charts" }, reachChart(all),
      ...(measured.length ? [costChart("Milliseconds of a forward", measured, (at) => at.milliseconds),
        costChart("Peak memory, MB", measured, (at) => ({ median: at.bytes / 1e6 }))] : [])),
    ...(measured.length ? [costTable(measured)] : []),
    make("p", { class: "muted small" }, machineText(machine)),
  ];
}

const swatch = (kind) => make("span", { class: `swatch ${kind}`, "aria-hidden": "true" });

const machineText = ({ device, processor, cores, threads, dtype, torch, transformers }) => [`${device} (${processor})`,
  `${cores} cores`, `${threads} threads`, dtype, `torch ${torch}`, `transformers ${transformers}`].join(", ");

// ---- Masks ----

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A mask whose pairs can be read with the mouse, a finger, or the arrow keys. */
function maskFigure({ kind, map, density }) {
  const canvas = make("canvas", { role: "img", "aria-label": `${kind}: ${percent(density)} of pairs seen` });
  const reasons = paintMask(canvas, map);
  const cursor = make("span", { class: "cursor", "aria-hidden": "true", hidden: true });
  const text = make("p", { class: "small muted", "aria-live": "polite" }, "Point at a pair, or use the arrow keys.");
  const at = { query: 0, key: 0 };
  const read = (query, key) => {
    const last = map.length - 1;
    at.query = Math.min(Math.max(query, 0), last);
    at.key = Math.min(Math.max(key, 0), last);
    text.textContent = `Query ${at.query}, key ${at.key}: ${map.names[reasons[at.query * map.length + at.key]]}`;
    cursor.hidden = false;
    cursor.style.left = `${(at.key + 0.5) / map.length * 100}%`;
    cursor.style.top = `${(at.query + 0.5) / map.length * 100}%`;
  };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (share) => Math.floor(share * map.length);
    read(place((event.clientY - box.top) / box.height), place((event.clientX - box.left) / box.width));
  };
  const press = (event) => {
    if (!Object.hasOwn(ARROWS, event.key)) return;
    const [down, right] = ARROWS[event.key].map((step) => step * (event.shiftKey ? 8 : 1));
    event.preventDefault();
    read(at.query + down, at.key + right);
  };
  const area = make("div", { class: "map", tabindex: "0", role: "group",
    pointermove: point, pointerdown: point, keydown: press,
    "aria-label": `Mask of ${kind} attention, query down and key across; arrow keys read pairs` }, canvas, cursor);
  return make("figure", {}, make("figcaption", {}, make("strong", {}, kind), ` ${percent(density)}`), area, text);
}

/** The colours that are in the masks, with every name that one has. */
function legend(all) {
  const names = new Map();
  for (const { map } of all) {
    const used = new Set(atob(map.reasons));
    map.names.forEach((name, index) => {
      if (used.has(String.fromCharCode(index))) names.set(index, new Set([...names.get(index) ?? [], name]));
    });
  }
  const parts = [...names].sort(([one], [other]) => one - other);
  const line = ([index, words]) => make("li", {}, swatch(`reason-${index}`), [...words].join(" or "));
  return make("ul", { class: "legend small" }, ...parts.map(line));
}

// ---- Tables: what the pictures say, in text ----

const neverText = (tried) => (tried ? `over ${tried}` : "never");
const layersText = (kind) => (kind.layers_to_all ? String(kind.layers_to_all) : neverText(kind.layers_tried));
const ratioText = ({ median, low, high }) => `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
const span = ({ median, low, high }) => `${short(median)} (${short(low)} to ${short(high)})`;

const seenTable = (all) => table("What each kind sees",
  ["Kind", "Pairs seen", "Layers until all see all", "FLOPs of the pairs", "FLOPs computed",
    "Output difference", "Gradient difference"],
  all.map((kind) => [kind.kind, percent(kind.density), layersText(kind),
    short(kind.flops.density), short(kind.flops.implementation),
    kind.difference.outputs.toExponential(1), kind.difference.gradients.toExponential(1)]));

const costLine = (kind) => (at) =>
  [kind, digits(at.length), span(at.milliseconds), ratioText(at.ratio), short(at.bytes / 1e6)];
const costTable = (all) => table("What each kind costs",
  ["Kind", "Tokens", "Milliseconds (quartiles)", "Of full attention's time", "Peak MB"],
  all.flatMap(({ kind, measured }) => measured.map(costLine(kind))));

// ---- Charts ----

const SIZE = { width: 440, height: 280, left: 52, right: 78, top: 12, bottom: 40 };

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const reachPoints = (share, index) => ({ x: index + 1, y: share * 100 });
const reachChart = (all) => chart({
  title: "Share of pairs that are reached", x: "layers",
  series: all.map(({ kind, reach }) => ({ kind, points: reach.map(reachPoints) })),
  across: scale([1, all[0].reach.length], false), up: scale([0, 100], false), unit: " %",
});

function costChart(title, all, value) {
  const series = all.map(({ kind, measured }) => ({ kind, points: measured.map((at) => {
    const { median, low = median, high = median } = value(at);
    return { x: at.length, y: median, low, high };
  }) }));
  const points = series.flatMap((each) => each.points);
  return chart({ title, x: "tokens", series, unit: "",
    across: scale(points.map(({ x }) => x), true, [...new Set(points.map(({ x }) => x))]),
    up: scale(points.flatMap(({ low, high }) => [low, high]), true) });
}

/** Values to 0..1, and the ticks between; logarithmic ones start and end at ticks. */
function scale(values, logarithmic, ticks = logarithmic ? powers(values) : steps(values)) {
  const number = logarithmic ? Math.log : Number;
  const [least, most] = [Math.min(...values, ...ticks), Math.max(...values, ...ticks)].map((value) => number(value));
  const place = (value) => (number(value) - least) / (most - least || 1);
  return { place, ticks };
}

function powers(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)].map(Math.log10);
  const first = Math.floor(least);
  const every = Array.from({ length: Math.ceil(most) - first + 1 }, (_, index) => 10 ** (first + index));
  return every.length > 4 ? every : every.flatMap((power) => [power, 2 * power, 5 * power])
    .filter((tick) => tick >= 10 ** least / 2.5 && tick <= 10 ** most * 2.5);
}

function steps(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const step = [1, 2, 5, 10, 20, 25, 50].find((each) => (most - least) / each <= 6) ?? Math.ceil((most - least) / 6);
  const first = Math.ceil(least / step) * step;
  return Array.from({ length: Math.floor((most - first) / step) + 1 }, (_, index) => first + index * step);
}

function chart({ title, x: label, series, across, up, unit }) {
  const { width, height, left, right, top, bottom } = SIZE;
  const x = (value) => left + across.place(value) * (width - left - right);
  const y = (value) => height - bottom - up.place(value) * (height - top - bottom);
  const text = `${title}, by ${label}; the tables have the numbers`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text });
  for (const tick of up.ticks) {
    picture.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, `${tickText(tick)}${unit}`));
  }
  for (const tick of across.ticks) {
    picture.append(svg("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, digits(tick)));
  }
  picture.append(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, label));
  series.forEach(({ kind, points }) => picture.append(seriesLine(points, kind, x, y)));
  picture.append(...endLabels(series, x, y));
  return make("figure", {}, make("figcaption", {}, title), picture);
}

const tickText = (tick) => (tick >= 1000 ? short(tick) : String(Number(tick.toPrecision(2))));

function seriesLine(points, kind, x, y) {
  const line = points.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(" ");
  const bars = points.filter(({ low, high }) => high > low)
    .map((point) => svg("line", { x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high) }));
  const dots = points.map((point) => svg("circle", { cx: x(point.x), cy: y(point.y), r: 3 }));
  return svg("g", { class: seriesOf(kind) }, svg("polyline", { points: line }), ...bars, ...dots);
}

/** Names at the ends of the lines, moved apart where they would lie on each other. */
function endLabels(series, x, y) {
  const ends = series.map(({ kind, points }) => ({ kind, x: x(points.at(-1).x), y: y(points.at(-1).y) }));
  ends.sort((one, other) => one.y - other.y);
  ends.forEach((end, index) => {
    if (index) end.y = Math.max(end.y, ends[index - 1].y + 15);
  });
  const over = Math.max(0, ends.at(-1).y - (SIZE.height - SIZE.bottom));
  return ends.map((end) => svg("g", { class: seriesOf(end.kind) },
    svg("circle", { cx: end.x + 12, cy: end.y - over, r: 3 }),
    svg("text", { class: "name", x: end.x + 19, y: end.y - over + 4 }, end.kind)));
}
