// The frame of the page: the header, the run's state, the event stream, and the views.
//
// A view is a module with `show(parameters)` and `hide()`. It may also have `load(again)`, which reads
// its data from the service, `onStatus(status, state)` and `onEvent(name, data)`.

import { get, post } from "./api.js";
import { count, short } from "./format.js";
import { notice } from "./notice.js";
import { loadSession } from "./session.js";
import { Stream } from "./stream.js";

const VIEWS = { "": "overview", play: "play" }; // address after "#/" -> module, and id of its element
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

const $ = (id) => document.getElementById(id);
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };

let status = null;
let connected = false;
let acting = false; // whether a command waits for its answer
let saving = false; // whether this page asked for a checkpoint; only then it announces the save

// ---------------------------------------------------------------- views

const shown = new Map(); // address -> module, of all views that were shown
let current = null; // address
let routes = 0;

/** Show the view that the address names. */
async function route() {
  const [address, query] = location.hash.replace(/^#?\/?/, "").split("?");
  if (!Object.hasOwn(VIEWS, address)) {
    location.replace("#/");
    return;
  }
  const number = ++routes;
  const view = await import(`./${VIEWS[address]}.js`);
  if (number !== routes) return; // meanwhile the address has changed again
  const first = !shown.has(address);
  shown.set(address, view);
  if (current !== address) {
    shown.get(current)?.hide();
    turnTo(address, current !== null);
  }
  view.show(new URLSearchParams(query));
  if (!first) return;
  if (status) view.onStatus?.(status, visibleState());
  enqueue(() => view.load?.(loadAll));
}

function turnTo(address, focus) {
  current = address;
  for (const [name, id] of Object.entries(VIEWS)) $(id).hidden = name !== address;
  for (const link of $("views").children) {
    if (link.hash === `#/${address}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (focus) {
    $(VIEWS[address]).focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  drawStatus();
}

// ---------------------------------------------------------------- state

function setStatus(changes) {
  status = { ...status, ...changes };
  drawStatus();
}

function visibleState() {
  const away = status ? "reconnecting" : "connecting";
  return connected || ENDED.includes(status?.state) ? status?.state ?? "connecting" : away;
}

function drawStatus() {
  const state = visibleState();
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
  for (const view of shown.values()) view.onStatus?.(status, state);
  const where = current ? `${$(VIEWS[current]).ariaLabel} · ` : "";
  document.title = `${where}${said.split(":")[0]} · ${short(status.step ?? 0)} steps · Keisei`;
}

let ticked = performance.now();

/** Advance the training time while the run trains; the service sends it only now and then. */
function tick() {
  const now = performance.now();
  if (connected && status?.state === "running") status.elapsed += (now - ticked) / 1000;
  ticked = now;
  if (status) for (const view of shown.values()) view.onStatus?.(status, visibleState());
}

let loads = Promise.resolve();

/** Load something after everything that is being loaded. */
function enqueue(load) {
  loads = loads.then(load).catch((error) => {
    if (connected) notice.bad(`The history could not be read. ${error.message}`);
  });
}

/** Load the whole state. */
function loadAll() {
  enqueue(async () => {
    setStatus(await get("api/status"));
    await Promise.all([loadSession(), ...[...shown.values()].map((view) => view.load?.(loadAll))]);
  });
}

// ---------------------------------------------------------------- events

function onEvent(name, data) {
  for (const view of shown.values()) view.onEvent?.(name, data);
  if (name === "iteration") {
    setStatus({ step: data.step, iteration: data.iteration, steps_per_second: data.values["speed/steps_per_second"] });
  } else if (name === "reset") loadAll();
  else if (!["bye", "board", "game", "evaluation", "alert"].includes(name)) {
    // The message of a checkpoint event is a path, which does not describe the state.
    const message = name === "checkpoint" ? status?.message : data.message;
    setStatus({ state: data.state, message: message ?? "", step: data.step, run: data.run });
    if (name === "checkpoint" && saving) notice.say(`Checkpoint saved at step ${count(data.step)}.`);
    if (name === "checkpoint") saving = false;
  }
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

addEventListener("hashchange", route);
route();
loadAll();
stream.connect();
setInterval(tick, 500);
