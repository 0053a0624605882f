// The page's modules that need no browser. test_modules.py runs this file with Node.

import assert from "node:assert/strict";
import test from "node:test";

import { Game, byOrigin, parseStart } from "../../app/game.js";
import { say, write } from "../../app/notation.js";
import { START, move, parse, play, usiSquare } from "../../app/sfen.js";

const after = (...moves) => moves.reduce(play, parse(START));

test("a start is read as an SFEN or as a line of USI", () => {
  assert.deepEqual(parseStart(" startpos "), { sfen: "startpos", moves: [] });
  assert.deepEqual(parseStart("position startpos moves 7g7f 3c3d"), { sfen: "startpos", moves: ["7g7f", "3c3d"] });
  assert.deepEqual(parseStart("sfen 4k4/9 b  -  1 moves"), { sfen: "4k4/9 b - 1", moves: [] });
  assert.deepEqual(parseStart(""), { sfen: "startpos", moves: [] });
});

test("captures go to the hand unpromoted, and drops leave it", () => {
  const { pieces, hands, sente } = after("7g7f", "3c3d", "8h2b+", "3a2b", "B*5e");
  assert.deepEqual(hands, { sente: {}, gote: { B: 1 } });
  assert.deepEqual(pieces.get("55"), { kind: "B", sente: true });
  assert.deepEqual(pieces.get("22"), { kind: "S", sente: false });
  assert.equal(pieces.has("31"), false);
  assert.equal(sente, false);
});

test("a promoted piece keeps its promotion", () => {
  const { pieces } = after("7g7f", "3c3d", "8h2b+", "9c9d", "2b3a");
  assert.deepEqual(pieces.get("31"), { kind: "+B", sente: true });
});

test("legal moves are grouped by where the piece comes from", () => {
  const found = byOrigin(["8h2b", "8h2b+", "P*5e", "P*5d"], move);
  assert.deepEqual(found.get("88").get("22"), ["8h2b", "8h2b+"]);
  assert.deepEqual([...found.get("P*").keys()], ["55", "54"]);
});

test("only the person's own moves are taken back, with the answers to them", () => {
  const game = new Game({ sfen: "startpos", moves: ["7g7f"], colour: "white", model: "current" });
  assert.equal(game.canUndo, false);
  game.push("3c3d");
  game.push("2g2f", { value: 0.5 });
  assert.equal(game.canUndo, true);
  game.undo();
  assert.deepEqual(game.moves, ["7g7f"]);
  game.push("8c8d"); // the network thinks
  game.undo();
  assert.deepEqual([game.moves, game.positions.length, game.canUndo], [["7g7f"], 2, false]);
});

test("a game is the same after it was written as JSON and read", () => {
  const game = new Game({ sfen: "startpos", moves: [], colour: "black", model: "shipped" });
  game.push("7g7f");
  game.push("3c3d", { value: 0.25 });
  const again = new Game(JSON.parse(JSON.stringify(game)));
  assert.deepEqual(again, game);
  assert.equal(again.canUndo, true);
});

test("moves are written with Japanese and with Western letters", () => {
  const start = parse(START);
  assert.equal(write(start, "7g7f", null, false), "☗７六歩(77)");
  assert.equal(write(start, "7g7f", null, true), "☗P7g-7f");
  const open = after("7g7f", "3c3d");
  assert.equal(write(open, "8h2b+", "3c3d", false), "☗２二角成(88)");
  assert.equal(write(open, "8h2b+", "3c3d", true), "☗B8hx2b+");
  const taken = after("7g7f", "3c3d", "8h2b+");
  assert.equal(write(taken, "3a2b", "8h2b+", false), "☖同　銀(31)");
  assert.equal(write(after("7g7f", "3c3d", "8h2b+", "3a2b"), "B*5e", null, false), "☗５五角打");
  assert.equal(say(open, "8h2b+"), "Sente: bishop to 2b, takes the bishop, promotes.");
  assert.equal(usiSquare("77"), "7g");
});
