// The form in which a person chooses the opponent, the colour, and the start of a game.

import { get } from "./api.js";
import { count } from "./format.js";

const STARTS = {
  "": { "Usual start position": "startpos", "An SFEN or moves": "other" },
  Openings: {
    "Double wing attack 相掛かり": "startpos moves 2g2f 8c8d 2f2e 8d8e 6i7h 4a3b",
    "Bishop exchange 角換わり": "startpos moves 7g7f 8c8d 2g2f 8d8e 8h7g 3c3d 7i8h 2b7g+ 8h7g",
    "Side pawn 横歩取り": "startpos moves 7g7f 3c3d 2g2f 8c8d 2f2e 8d8e 6i7h 4a3b 2e2d 2c2d 2h2d",
    "Fourth-file rook 四間飛車": "startpos moves 7g7f 3c3d 6g6f 8c8d 2h6h",
  },
  "Handicap: gote lacks": {
    "a lance 香落ち": "lnsgkgsn1/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
    "the bishop 角落ち": "lnsgkgsnl/1r7/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
    "the rook 飛車落ち": "lnsgkgsnl/7b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
    "two pieces 二枚落ち": "lnsgkgsnl/9/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
    "four pieces 四枚落ち": "1nsgkgsn1/9/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
    "six pieces 六枚落ち": "2sgkgs2/9/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
  },
};
const NAMED = { current: "the network in training", shipped: "the shipped network", best: "the run’s best network" };

const form = document.getElementById("play-form");
const fields = form.elements;

/** Name a network as the form does. */
export function nameOf(model) {
  return NAMED[model] ?? model;
}

function group(label, entries) {
  const options = Object.entries(entries).map(([text, value]) => new Option(text, value));
  if (!label) return options;
  const made = document.createElement("optgroup");
  made.label = label;
  made.append(...options);
  return [made];
}

/** Fill in what the address names: `#/play?start=...&colour=white&model=...`. */
export function fillSetup(parameters) {
  const start = parameters.get("start");
  if (start !== null) [fields.start.value, fields.sfen.value] = ["other", start];
  for (const name of ["colour", "simulations", "temperature", "person"]) {
    if (parameters.has(name)) fields[name].value = parameters.get(name);
  }
  if (parameters.has("model")) {
    choose(parameters.get("model"));
  }
  showSfen();
}

/** Fill in the networks that may play: the run's, and those of other runs. */
export async function loadPlayers() {
  const [{ run }, { checkpoints }, { runs }] = await Promise.all([get("api/status"), get("api/checkpoints"), get("api/runs?limit=100")]);
  const chosen = fields.model.value;
  const steps = checkpoints.filter(({ error }) => !error).map(({ step }) => [`step ${count(step)}`, `${run}/${step}`]);
  const others = runs.filter((one) => !one.this && one.step).map(({ id }) => [id, id]);
  const named = Object.entries(NAMED).slice(0, 2).map(([value, text]) => [text, value]);
  fields.model.replaceChildren(
    ...group("", Object.fromEntries(named)),
    ...(steps.length ? group("Checkpoints of this run", Object.fromEntries(steps)) : []),
    ...(others.length ? group("Other runs", Object.fromEntries(others)) : []),
  );
  if (chosen) choose(chosen);
}

/** Choose a network, even if the list does not have it. */
function choose(model) {
  if (![...fields.model.options].some(({ value }) => value === model)) fields.model.append(new Option(model, model));
  fields.model.value = model;
}

/** Return what the form says. `parse` reads the text of a start position. */
export function readSetup(parse) {
  const start = fields.start.value === "other" ? fields.sfen.value : fields.start.value;
  const temperature = Number(fields.temperature.value);
  const { value } = fields.colour;
  return {
    ...parse(start),
    colour: value === "random" ? (Math.random() < 0.5 ? "black" : "white") : value,
    model: fields.model.value || "current",
    person: fields.person.value.trim(),
    simulations: Number(fields.simulations.value),
    greedy: temperature === 0,
    temperature: temperature || 1,
  };
}

function showSfen() {
  const other = fields.start.value === "other";
  fields.sfen.hidden = document.getElementById("play-sfen-label").hidden = !other;
  fields.sfen.required = other;
}

fields.start.append(...Object.entries(STARTS).flatMap(([label, entries]) => group(label, entries)));
fields.start.addEventListener("change", showSfen);
