// The view that a page shows first: the run's numbers, one self-play game, charts, evaluations, alerts.

import { get } from "./api.js";
import { BoardView } from "./board.js";
import { Charts } from "./chart.js";
import { Evaluations } from "./evaluations.js";
import { clock, count, decimal, duration, percent, short, signed } from "./format.js";
import { notice } from "./notice.js";
import { Series } from "./series.js";
import { move, name as pieceName, parse } from "./sfen.js";
import { Trace } from "./trace.js";

const CHARTS = [
  {
    id: "chart-ends", title: "How games end", top: 1, format: percent, tick: percent,
    describe: "Shares of finished games by how they ended, over training steps.",
    lines: [
      { name: "games/checkmate", label: "checkmate", color: "--ai" },
      { name: "games/declaration", label: "declared", color: "--koke" },
      { name: "games/repetition", label: "repeated", color: "--kin" },
      { name: "games/truncated", label: "cut off", color: "--shu" },
    ],
  },
  {
    id: "chart-learning", title: "Learning, in nats", format: decimal, tick: (value) => String(+value.toPrecision(4)),
    describe: "Entropy of the policy and loss of the value head in nats, over training steps.",
    lines: [
      { name: "train/entropy", label: "entropy", color: "--ai" },
      { name: "train/loss_value", label: "value loss", color: "--shu" },
    ],
  },
  {
    id: "chart-speed", title: "Speed", format: count, tick: short,
    describe: "Training steps per second, over training steps.",
    lines: [{ name: "speed/steps_per_second", label: "steps per second", color: "--ai" }],
  },
];
const METRICS = CHARTS.flatMap(({ lines }) => lines.map(({ name }) => name));
const ALERTS_SHOWN = 20;

const $ = (id) => document.getElementById(id);
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };

const series = new Series();
const charts = new Charts(series, CHARTS.map((spec) => ({ ...spec, figure: $(spec.id) })));
const board = new BoardView($("board"));
const trace = new Trace($("trace"));
const evaluations = new Evaluations(notice);

let newest = null; // the newest board event, if it is not drawn yet
let reload = () => {}; // asks the frame to load everything again

// ---------------------------------------------------------------- what the frame calls

export function show() {
  charts.draw();
}

export function hide() {}

/** Load everything that this view shows. `again` loads it anew when the history is too long. */
export async function load(again) {
  reload = again;
  await Promise.all([loadHistory(), loadMeanings(), loadAlerts(), evaluations.load()]);
}

export function onStatus(status, state) {
  text("step", count(status.step));
  text("speed", state === "running" ? count(status.steps_per_second) : "–");
  text("iteration", count(status.iteration));
  text("elapsed", duration(status.elapsed));
  text("network", status.net ? `${status.net}, ${status.dtype} on ${status.device}` : "–");
}

export function onEvent(name, data) {
  if (name === "iteration") {
    append(data);
    if (series.tooLong && late === null) reload();
    charts.draw();
  } else if (name === "board") {
    if (newest === null) requestAnimationFrame(drawBoard);
    newest = data;
  } else if (name === "evaluation") evaluations.show(data);
  else if (name === "alert") drawAlert(data);
}

// ---------------------------------------------------------------- history

let late = null; // iterations that arrived while the history was loading

async function loadHistory() {
  late = [];
  try {
    const { series: history } = await get(`api/metrics?keys=${METRICS.join(",")}`);
    series.load(history);
    for (const [step, values] of late) series.append(step, values);
  } finally {
    late = null;
  }
  charts.draw();
}

function append({ step, values }) {
  const shown = Object.fromEntries(METRICS.filter((name) => name in values).map((name) => [name, values[name]]));
  late?.push([step, shown]);
  series.append(step, shown);
}

async function loadMeanings() {
  const { metrics } = await get("api/metrics/catalog");
  charts.explain(new Map(metrics.map(({ name, meaning }) => [name, meaning])));
}

async function loadAlerts() {
  const { events } = await get("api/log?limit=100");
  $("alerts").replaceChildren();
  for (const event of events.filter(({ topic }) => topic === "alert").reverse()) drawAlert(event);
}

// ---------------------------------------------------------------- board and alerts

function drawBoard() {
  const data = newest;
  newest = null;
  const { pieces, sente } = parse(data.sfen);
  board.show(data);
  text("game", `game ${count(data.game)}, ply ${data.ply}`);
  const last = move(data.last_move);
  text("turn", `${sente ? "☗ Sente" : "☖ Gote"} to move`);
  text("last", last ? `Last move ${data.last_move}, ${pieceName(pieces.get(last.to).kind)}` : "");
  const value = data.value === null ? null : sente ? data.value : -data.value;
  text("value", value === null ? "" : `Value for sente ${signed(value)}`);
  trace.add(data.game, data.ply, value);
  $("likely").hidden = !data.top_moves.length;
  $("top").replaceChildren(...data.top_moves.slice(0, 5).map(likely));
}

function likely([usi, probability]) {
  const item = document.createElement("li");
  const [label, rod, share] = ["span", "span", "span"].map((tag) => document.createElement(tag));
  label.textContent = usi;
  rod.className = "rod";
  const filled = document.createElement("i");
  filled.style.width = `${probability * 100}%`;
  rod.append(filled);
  share.textContent = percent(probability);
  item.append(label, rod, share);
  return item;
}

function drawAlert({ time, name, level, message }) {
  const key = `${time} ${name} ${message}`;
  // An alert can arrive twice: in the list of past alerts and in the stream.
  if ([...$("alerts").children].some((item) => item.dataset.key === key)) return;
  $("alerts-empty").hidden = true;
  const item = document.createElement("li");
  item.dataset.key = key;
  item.className = level;
  const when = document.createElement("time");
  when.dateTime = new Date(time * 1000).toISOString();
  when.textContent = clock(time);
  const said = document.createElement("p");
  const title = document.createElement("b");
  title.textContent = name.replaceAll("_", " ");
  said.append(title, ` ${message}`);
  item.append(when, said);
  $("alerts").prepend(item);
  if ($("alerts").children.length > ALERTS_SHOWN) $("alerts").lastElementChild.remove();
}
