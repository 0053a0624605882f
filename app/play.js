// The view in which a person plays against a network of the run.

import { get, post } from "./api.js";
import { ask } from "./ask.js";
import { percent, signed } from "./format.js";
import { Game, parseStart } from "./game.js";
import { list as listGames } from "./kept_games.js";
import { say, write } from "./notation.js";
import { PlayBoard } from "./play_board.js";
import { kanji, name } from "./sfen.js";
import { fillSetup, loadPlayers, nameOf, readSetup } from "./setup.js";

const KEPT = "keisei game"; // name in the browser's storage, for this tab only
const ENDS = {
  checkmate: "checkmate", no_moves: "having no legal move", repetition: "fourfold repetition",
  perpetual_check: "perpetual check", resignation: "resignation", declaration: "declaration",
};

const $ = (id) => document.getElementById(id);

let game = null;
let facts = null; // what the server says about the newest position; null while it is asked
let looking = null; // the ply that is reviewed; null: the newest position
let asked = 0; // number of the newest question to the server; older answers are dropped
let retry = null; // what "Try again" does

const board = new PlayBoard($("play-board"), { move: makeMove, key: pressKey, promote });

// ---------------------------------------------------------------- what the frame calls

export function show(parameters) {
  fillSetup(parameters);
}

export function hide() {}

export async function load() {
  await Promise.all([loadPlayers(), listGames()]);
  if (game === null) restore();
}

export function onStatus({ watched }) {
  const off = document.body.classList.contains("read-only");
  $("play-off").hidden = !off || watched; // if the run is watched, the frame says so
  $("play-off").textContent = "This server is read-only (the setting server.read_only), so nobody can play here.";
}

// ---------------------------------------------------------------- the game

/** Begin a game, unless the server refuses its start. */
async function start(setup) {
  const refused = $("play-refused");
  try {
    const { outcome } = await post("api/position", { sfen: setup.sfen, moves: setup.moves });
    refused.hidden = outcome === null;
    refused.textContent = "The game is over in this position. Choose another start.";
    if (outcome === null) await begin(setup);
  } catch (error) {
    refused.textContent = error.message;
    refused.hidden = false;
  }
}

async function begin(setup) {
  game = new Game(setup);
  board.change({ flipped: game.colour === "white" });
  $("play-setup").hidden = true;
  $("play-game").hidden = false;
  board.focus();
  await advance();
}

/** Find out what may happen now: the person's move, the network's move, or the end. */
async function advance() {
  const number = ++asked;
  [facts, looking, retry] = [null, null, null];
  draw();
  try {
    const found = await post("api/position", game.request);
    if (number !== asked) return;
    facts = found;
    if (found.outcome) await end(found.outcome.reason, found.outcome.winner);
    else if (game.isMine) draw();
    else await answer(number);
  } catch (error) {
    if (number === asked) trouble(error, advance);
  }
}

async function answer(number) {
  draw();
  const { model, greedy, temperature, simulations } = game.options;
  const found = await post("api/move", { ...game.request, model, greedy, temperature, simulations });
  if (number !== asked) return;
  game.options.opponent = found.player;
  if (found.declares_win) await end("declaration", game.turn, { end: "declaration" });
  else {
    game.push(found.move, found);
    await advance();
  }
}

async function makeMove(usi) {
  game.push(usi);
  await advance();
}

async function end(reason, winner, more = {}) {
  asked++;
  retry = null;
  game.over = { reason, winner, number: null };
  draw();
  const { opponent, model, person } = game.options;
  const values = game.answers.map((found) => found?.value ?? null);
  const body = { ...game.request, colour: game.colour, opponent: opponent ?? model, values, ...more };
  try {
    const kept = await post("api/play/games", person ? { ...body, person } : body);
    game.over.number = kept.number;
    draw();
    await listGames();
  } catch (error) {
    trouble(error, () => end(reason, winner, more));
  }
}

function undo() {
  if (!game?.canUndo) return;
  game.undo();
  advance();
}

async function resign() {
  const answers = [["resign", "Resign"], [null, "Go on"]];
  if (await ask("Resign this game?", answers) !== "resign" || game.over) return;
  await end("resignation", game.colour === "black" ? "white" : "black", { end: "resignation" });
}

async function declare() {
  const winner = facts.declaration === "win" ? game.turn : null;
  await end("declaration", winner, { end: "declaration" });
}

function promote(kind, [first, second]) {
  const promoted = first.endsWith("+") ? first : second;
  const plain = first.endsWith("+") ? second : first;
  const label = (piece) => [name(piece), kanji({ kind: piece, sente: true })];
  return ask(`Promote the ${name(kind)}?`, [[promoted, "Promote to", ...label(`+${kind}`)], [plain, "Keep the", ...label(kind)]]);
}

/** Continue the game that this tab played before it was loaded again. */
function restore() {
  const kept = sessionStorage.getItem(KEPT);
  if (kept) begin(JSON.parse(kept));
}

function trouble(error, again) {
  retry = again;
  $("play-trouble-text").textContent = error.message;
  draw();
}

// ---------------------------------------------------------------- drawing

function draw() {
  if (game.over) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, JSON.stringify(game));
  const ply = looking ?? game.moves.length;
  const answer = game.answers[ply - 1] ?? null;
  const thinks = $("play-think").checked;
  board.draw(game.positions[ply], game.moves[ply - 1] ?? null, thinks && answer ? -answer.value : null);
  if (looking === null && game.isMine && facts && !game.over) board.offer(facts.legal_moves);
  $("play-who").textContent = `${game.options.person || "You"} against ${game.options.opponent ?? nameOf(game.options.model)}`;
  $("play-ply").textContent = ply ? `ply ${ply}` : "";
  $("play-trouble").hidden = retry === null;
  drawSaid(ply);
  drawButtons(ply);
  drawMoves(ply);
  drawThoughts(ply, thinks ? answer : null);
}

function drawSaid(ply) {
  const last = ply ? say(game.positions[ply - 1], game.moves[ply - 1]) : "";
  const said = looking === null ? `${last} ${situation()}` : `${last} You look at an earlier position.`;
  if ($("play-said").textContent !== said.trim()) $("play-said").textContent = said.trim();
}

/** Say whose turn it is, or how the game ended. */
function situation() {
  if (game.over) {
    const { reason, winner, number } = game.over;
    const result = winner === null ? "A draw" : winner === game.colour ? "You won" : "You lost";
    return `${result} by ${ENDS[reason]}.${number === null ? "" : ` Kept as game ${number}.`}`;
  }
  const notes = [];
  if (facts?.check) notes.push("Check.");
  if (facts?.occurrences > 1) notes.push(`This position has occurred ${facts.occurrences} times; the fourth time ends the game.`);
  if (facts?.declaration && game.isMine) notes.push(`You may declare a ${facts.declaration}.`);
  const turn = !game.isMine ? "The network thinks." : facts ? `Your turn (${game.colour === "black" ? "sente" : "gote"}).` : "";
  return [...notes, turn].join(" ");
}

function drawButtons(ply) {
  $("play-undo").disabled = !game.canUndo;
  $("play-resign").disabled = game.over !== null;
  $("play-declare").hidden = !(facts?.declaration && game.isMine && !game.over);
  $("play-first").disabled = $("play-back").disabled = ply === 0;
  $("play-forth").disabled = $("play-last").disabled = ply === game.moves.length;
}

function drawMoves(ply) {
  const western = $("play-western").checked;
  const items = game.moves.map((usi, at) => {
    const [item, button] = [document.createElement("li"), document.createElement("button")];
    button.type = "button";
    button.textContent = `${at + 1} ${write(game.positions[at], usi, game.moves[at - 1] ?? null, western)}`;
    if (at + 1 === ply) button.setAttribute("aria-current", "step");
    button.addEventListener("click", () => look(at + 1));
    item.append(button);
    return item;
  });
  $("play-moves").replaceChildren(...items);
  const [list, now] = [$("play-moves"), items[ply - 1]];
  if (now) list.scrollTop = now.offsetTop - list.offsetTop - list.clientHeight / 2;
}

function drawThoughts(ply, answer) {
  $("play-thoughts").hidden = answer === null;
  if (answer === null) return;
  const before = game.positions[ply - 1];
  const written = (usi) => write(before, usi, game.moves[ply - 2] ?? null, $("play-western").checked);
  const visits = new Map(answer.visits.map(({ move, visits: number }) => [move, number]));
  const mate = answer.mate ? `, mate in ${answer.mate}` : "";
  $("play-thoughts-title").textContent = `Its thoughts before ${written(game.moves[ply - 1])}`;
  $("play-value").textContent = `It expects to win ${percent((1 + answer.value) / 2)} (value ${signed(answer.value)}${mate}).`;
  $("play-top").replaceChildren(...answer.top_moves.map(({ move, probability }) => thought(written(move), probability, visits.get(move))));
  $("play-line").textContent = answer.line.length ? `Line: ${answer.line.join(" ")}` : "";
}

function thought(label, probability, visits) {
  const item = document.createElement("li");
  const [text, rod, share, seen] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
  text.textContent = label;
  rod.className = "rod";
  const filled = document.createElement("i");
  filled.style.width = `${probability * 100}%`;
  rod.append(filled);
  share.textContent = percent(probability);
  seen.textContent = visits === undefined ? "" : `${visits} visits`;
  item.append(text, rod, share, seen);
  return item;
}

// ---------------------------------------------------------------- controls

/** Look at the position after so many moves. */
function look(ply) {
  if (!game || ply < 0 || ply > game.moves.length) return;
  looking = ply === game.moves.length ? null : ply;
  draw();
}

function pressKey(key) {
  const ply = looking ?? game?.moves.length;
  const actions = {
    u: undo, f: flip, ",": () => look(ply - 1), ".": () => look(ply + 1),
  };
  const action = Object.hasOwn(actions, key.toLowerCase()) ? actions[key.toLowerCase()] : null;
  action?.();
  return action !== null;
}

function flip() {
  board.change({ flipped: !board.view.flipped });
}

/** Begin another game; ask first if one is in progress. */
async function anew() {
  const answers = [["new", "Leave it"], [null, "Go on"]];
  if (game.over === null && game.moves.length && await ask("Leave this game? It will not be kept.", answers) !== "new") return;
  asked++;
  sessionStorage.removeItem(KEPT);
  $("play-setup").hidden = false;
  $("play-game").hidden = true;
  $("play-model").focus();
}

$("play-form").addEventListener("submit", (event) => {
  event.preventDefault();
  start(readSetup(parseStart));
});
$("play-undo").addEventListener("click", undo);
$("play-resign").addEventListener("click", resign);
$("play-declare").addEventListener("click", declare);
$("play-new").addEventListener("click", anew);
$("play-again").addEventListener("click", () => retry?.());
$("play-flip").addEventListener("click", flip);
$("play-think").addEventListener("change", draw);
$("play-western").addEventListener("change", () => {
  board.change({ western: $("play-western").checked });
  if (game) draw();
});
const jumps = { first: () => 0, back: (ply) => ply - 1, forth: (ply) => ply + 1, last: () => game.moves.length };
for (const [id, to] of Object.entries(jumps)) {
  $(`play-${id}`).addEventListener("click", () => game && look(to(looking ?? game.moves.length)));
}
