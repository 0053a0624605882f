// The list of the games that people played here.

import { get } from "./api.js";

const SHOWN = 10;
const RESULTS = { black: "sente won", white: "gote won", draw: "a draw" };

export async function list() {
  const { games } = await get(`api/play/games?limit=${SHOWN}`);
  document.getElementById("play-kept").hidden = !games.length;
  document.getElementById("play-games").replaceChildren(...games.map(row));
}

function row({ number, black, white, result, reason, plies, time }) {
  const item = document.createElement("li");
  const [line, how] = [document.createElement("p"), document.createElement("p")];
  line.className = "line";
  line.append(`${number}. ☗ ${black}  ☖ ${white}`, ...["kif", "csa", "usi"].map((form) => link(number, form)));
  how.className = "how";
  const when = new Date(time * 1000).toLocaleString("en-GB");
  how.textContent = `${RESULTS[result] ?? result}, ${reason.replaceAll("_", " ")}, ${plies} moves, ${when}`;
  item.append(line, how);
  return item;
}

function link(number, form) {
  const made = document.createElement("a");
  made.href = `api/play/games/${number}.${form}`;
  made.textContent = form.toUpperCase();
  made.ariaLabel = `Game ${number} as ${form.toUpperCase()}`;
  return made;
}
