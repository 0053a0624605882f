// The list of evaluations: start one, follow it, show its score with the interval.

import { get, post, remove } from "./api.js";
import { percent } from "./format.js";

const SHOWN = 12; // rows in each of the two lists

/** Whether an evaluation ended before its first game. The page folds these away. */
const unbegun = ({ state, score }) => ["cancelled", "failed", "interrupted"].includes(state) && (score ?? null) === null;

export class Evaluations {
  #rows = new Map(); // id -> {data, item}

  constructor(notice) {
    this.notice = notice;
    this.list = document.getElementById("results");
    this.folded = document.getElementById("unbegun-results");
    this.form = document.getElementById("evaluate");
    this.form.addEventListener("submit", (event) => this.#start(event));
  }

  async load() {
    const { evaluations } = await get("api/eval");
    this.#rows.clear(); // a service that was restarted knows none of the old ones
    this.list.replaceChildren();
    this.folded.replaceChildren();
    document.getElementById("evaluation-empty").hidden = false;
    const shown = (some) => evaluations.filter(some).slice(0, SHOWN).reverse();
    for (const evaluation of [...shown(unbegun), ...shown((one) => !unbegun(one))]) this.show(evaluation);
    this.#fold();
  }

  /** `data`: an evaluation event, or an entry of /api/eval. */
  show(data) {
    document.getElementById("evaluation-empty").hidden = true;
    let row = this.#rows.get(data.id);
    if (!row) {
      row = { item: document.createElement("li") };
      this.#rows.set(data.id, row);
      // A row never changes its list: an evaluation must not vanish while somebody watches it.
      const list = unbegun(data) ? this.folded : this.list;
      list.prepend(row.item);
      if (list.children.length > SHOWN) list.lastElementChild.remove();
    }
    row.data = { ...row.data, ...data };
    row.item.replaceChildren(...this.#render(row.data));
    this.#fold();
  }

  #fold() {
    document.getElementById("unbegun").hidden = !this.folded.children.length;
  }

  async #start(event) {
    event.preventDefault();
    const button = event.submitter;
    button.disabled = true;
    try {
      const games = this.form.elements.games.valueAsNumber;
      this.show(await post("api/eval", { opponent: button.value, games }));
      this.notice.clear();
    } catch (error) {
      this.notice.bad(`The evaluation did not start. ${error.message}`);
    } finally {
      button.disabled = false;
    }
  }

  #render(data) {
    const line = element("p", "line");
    line.append(element("span", "", `${data.games} games against ${data.opponent}`));
    if (data.state === "queued") line.append(element("span", "soft", "waiting"), this.#cancel(data));
    if (data.state === "running") line.append(element("span", "soft", percent(data.progress)), this.#cancel(data));
    if (["cancelled", "interrupted"].includes(data.state)) line.append(element("span", "soft", data.state));
    if (data.score !== null && data.score !== undefined) line.append(element("span", "score", `scored ${percent(data.score)}`));
    if (data.interval) line.append(element("span", "interval", `${percent(data.interval[0])} to ${percent(data.interval[1])}`));
    const parts = [line];
    if (data.state === "queued" || data.state === "running") parts.push(progress(data));
    if (data.interval && data.state === "done") parts.push(whisker(data));
    if (data.state === "failed") parts.push(element("p", "how", `Failed. ${data.message}`));
    for (const match of data.result?.matches ?? (data.result ? [data.result] : [])) {
      const who = data.result.matches ? `${match.agent} against ${match.opponent}: ` : "";
      parts.push(element("p", "how", who + describeMatch(match)));
    }
    return parts;
  }

  #cancel({ id, opponent }) {
    const button = element("button", "text writes", "cancel");
    button.type = "button";
    button.setAttribute("aria-label", `Cancel the games against ${opponent}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        this.show(await remove(`api/eval/${encodeURIComponent(id)}`));
      } catch (error) {
        this.notice.bad(error.message);
      }
    });
    return button;
  }
}

function element(tag, style, text = "") {
  const made = document.createElement(tag);
  if (style) made.className = style;
  made.textContent = text;
  return made;
}

function progress({ progress: share, opponent }) {
  const bar = element("progress", "");
  bar.max = 1;
  bar.value = share ?? 0;
  bar.setAttribute("aria-label", `Progress against ${opponent}`);
  return bar;
}

/** Draw the score and its 95 % interval on a scale from 0 to 1, with a mark at 0.5. */
function whisker({ score, interval: [low, high] }) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("aria-hidden", "true");
  const place = (value) => `${1 + value * 98}%`;
  const add = (tag, style, attributes) => {
    const made = document.createElementNS(space, tag);
    made.setAttribute("class", style);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    drawing.append(made);
  };
  add("line", "track", { x1: "1%", x2: "99%", y1: 9, y2: 9 });
  add("line", "half", { x1: "50%", x2: "50%", y1: 4, y2: 14 });
  add("line", "whisker", { x1: place(low), x2: place(high), y1: 9, y2: 9 });
  add("circle", "point", { cx: place(score), cy: 9, r: 5 });
  return drawing;
}

/** Describe the result of one match. A match without games has no counts. */
function describeMatch({ games, wins, losses, draws, capped, by_reason: reasons, error }) {
  if (!games) return error ? `failed: ${error}` : "no games";
  const ends = Object.entries(reasons?.wins ?? {}).filter(([, number]) => number);
  const by = ends.length ? ` (won by ${ends.map(([reason, number]) => `${reason.replaceAll("_", " ")} ${number}`).join(", ")})` : "";
  return `${wins} won, ${losses} lost, ${draws} drawn, ${capped} cut off${by}`;
}
