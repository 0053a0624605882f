// The list of runs in a folder, read again every two seconds while the page is visible.

import { get } from "./api.js";
import { count, percent } from "./format.js";
import { loadSession } from "./session.js";

const EVERY = 2000; // milliseconds

const $ = (id) => document.getElementById(id);

function cell(content, style = "") {
  const made = document.createElement("td");
  if (style) made.className = style;
  made.append(content);
  return made;
}

function link(id) {
  const made = document.createElement("a");
  made.href = `runs/${encodeURIComponent(id)}/`;
  made.textContent = id;
  return made;
}

function row({ id, state, step, score, opponent, updated, problem }) {
  const made = document.createElement("tr");
  const result = score === null ? "–" : `${percent(score)} against ${opponent}`;
  const when = updated === null ? "–" : new Date(updated * 1000).toLocaleString("en-GB");
  made.append(cell(link(id)), cell(problem ?? state, problem ? "problem" : ""), cell(count(step ?? NaN), "number"), cell(result), cell(when));
  return made;
}

async function load() {
  try {
    const { runs, next } = await get("api/runs?limit=500");
    $("runs").tBodies[0].replaceChildren(...runs.map(row));
    $("runs").hidden = !runs.length;
    $("runs-empty").hidden = runs.length > 0;
    $("notice").hidden = next === null;
    $("notice").textContent = next === null ? "" : "The list shows the newest 500 runs.";
  } catch (error) {
    $("notice").textContent = `The runs could not be read. ${error.message}`;
    $("notice").hidden = false;
  }
}

async function keepLoading() {
  if (!document.hidden) await load();
  setTimeout(keepLoading, EVERY);
}

loadSession().catch(() => {});
keepLoading();
