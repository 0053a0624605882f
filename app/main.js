// The page. It loads the state of the run once and then follows the event stream.

import { get, post } from "./api.js";
import { BoardView } from "./board.js";
import { Charts } from "./chart.js";
import { Evaluations } from "./evaluations.js";
import { clock, count, decimal, duration, percent, short, signed } from "./format.js";
import { Series } from "./series.js";
import { loadSession } from "./session.js";
import { move, name as pieceName, parse } from "./sfen.js";
import { Stream } from "./stream.js";
import { Trace } from "./trace.js";

const STATES = {
  starting: "Starting", compiling: "Compiling kernels", running: "Training", paused: "Paused",
  stopping: "Stopping", finished: "Finished", stopped: "Stopped", failed: "Failed",
  stale: "No news", killed: "Killed",
};
const WAITS = {
  starting: "loading PyTorch and opening the run",
  compiling: "about 15 seconds the first time, later a few",
  stopping: "saving a checkpoint",
};
const ENDED = ["finished", "stopped", "failed", "killed"];
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

const notice = {
  say(message) { show(message, false); },
  bad(message) { show(message, true); },
  clear() { $("notice").hidden = true; },
};
function show(message, bad) {
  $("notice").textContent = message;
  $("notice").classList.toggle("bad", bad);
  $("notice").hidden = false;
}

const series = new Series();
const charts = new Charts(series, CHARTS.map((spec) => ({ ...spec, figure: $(spec.id) })));
const board = new BoardView($("board"));
const trace = new Trace($("trace"));
const evaluations = new Evaluations(notice);

let status = null;
let connected = false;
let newest = null; // the newest board event, if it is not drawn yet
let acting = false; // whether a command waits for its answer
let saving = false; // whether this page asked for a checkpoint; only then it announces the save

// ---------------------------------------------------------------- state

function setStatus(changes) {
  status = { ...status, ...changes };
  drawStatus();
}

function drawStatus() {
  const away = status ? "reconnecting" : "connecting";
  const state = connected || ENDED.includes(status?.state) ? status?.state ?? "connecting" : away;
  const said = { connecting: "Connecting", reconnecting: "Reconnecting" }[state] ?? STATES[state] ?? state;
  const busy = ["starting", "compiling", "stopping", "failed", "stale", "killed"].includes(state);
  const more = busy ? status.message || WAITS[state] : "";
  text("state", more ? `${said}: ${more}` : said);
  $("state").title = $("state").textContent;
  $("dot").dataset.state = state;
  const live = connected && ["running", "paused", "compiling", "starting"].includes(state);
  $("pause").disabled = !live || acting;
  $("checkpoint").disabled = !live || acting;
  $("watched").hidden = !status?.watched;
  text("pause", state === "paused" ? "Resume" : "Pause");
  if (!status) return;
  text("run", status.run ?? "");
  text("step", count(status.step));
  text("speed", state === "running" ? count(status.steps_per_second) : "–");
  text("iteration", count(status.iteration));
  text("network", status.net ? `${status.net}, ${status.dtype} on ${status.device}` : "–");
  document.title = `${said.split(":")[0]} · ${short(status.step ?? 0)} steps · Keisei`;
}

let ticked = performance.now();

/** Advance the training time while the run trains; the service sends it only now and then. */
function tick() {
  const now = performance.now();
  if (connected && status?.state === "running") status.elapsed += (now - ticked) / 1000;
  ticked = now;
  if (status) text("elapsed", duration(status.elapsed));
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

let loads = Promise.resolve();

/** Load the whole state. A second call waits for the first. */
function loadAll() {
  loads = loads.then(async () => {
    setStatus(await get("api/status"));
    await Promise.all([loadSession(), loadHistory(), loadMeanings(), loadAlerts(), evaluations.load()]);
  }).catch((error) => {
    if (connected) notice.bad(`The history could not be read. ${error.message}`);
  });
}

// ---------------------------------------------------------------- events

function onEvent(name, data) {
  if (name === "iteration") {
    append(data);
    setStatus({ step: data.step, iteration: data.iteration, steps_per_second: data.values["speed/steps_per_second"] });
    if (series.tooLong && late === null) loadAll();
    charts.draw();
  } else if (name === "board") {
    if (newest === null) requestAnimationFrame(drawBoard);
    newest = data;
  } else if (name === "evaluation") evaluations.show(data);
  else if (name === "alert") drawAlert(data);
  else if (name === "reset") loadAll();
  else {
    if (name === "bye") return;
    // The message of a checkpoint event is a path, which does not describe the state.
    const message = name === "checkpoint" ? status?.message : data.message;
    setStatus({ state: data.state, message: message ?? "", step: data.step, run: data.run });
    if (name === "checkpoint" && saving) notice.say(`Checkpoint saved at step ${count(data.step)}.`);
    if (name === "checkpoint") saving = false;
  }
}

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

// ---------------------------------------------------------------- controls

async function act(command) {
  acting = true;
  saving ||= command === "checkpoint";
  notice.clear();
  drawStatus();
  try {
    await post(`api/control/${command}`); // accepted; the stream announces when it is done
    if (command === "checkpoint" && saving) notice.say("A checkpoint will be saved after this iteration.");
  } catch (error) {
    if (command === "checkpoint") saving = false;
    notice.bad(`Could not ${command}. ${error.message}`);
  } finally {
    acting = false;
    drawStatus();
  }
}

$("pause").addEventListener("click", () => act(status.state === "paused" ? "resume" : "pause"));
$("checkpoint").addEventListener("click", () => act("checkpoint"));

const stream = new Stream({
  open() {
    connected = true;
    notice.clear();
    loadAll();
  },
  down() {
    connected = false;
    if (!ENDED.includes(status?.state)) notice.say("The connection was lost. Reconnecting.");
    drawStatus();
    loadSession().catch(() => {}); // shows the page to sign in if the session has ended
  },
  event: onEvent,
});

loadAll();
stream.connect();
setInterval(tick, 500);
