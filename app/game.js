// A game between a person and a network. It knows how pieces move, but no rules: the server has them.

import { START, parse, play } from "./sfen.js";

/**
 * Parse the text of a start position: an SFEN, "startpos moves 7g7f", or "sfen ... moves ...".
 * Return {sfen, moves}. The server checks both.
 */
export function parseStart(text) {
  const [start, moves = ""] = text.trim().replace(/^position\s+/, "").split(/\s*\bmoves\b\s*/);
  const sfen = start.trim().replace(/^sfen\s+/, "").replace(/\s+/g, " ");
  return { sfen: sfen || "startpos", moves: moves.split(/\s+/).filter(Boolean) };
}

/** Group legal moves: Map(origin -> Map(square -> [moves in USI])). A drop's origin is "P*". */
export function byOrigin(legal, move) {
  const found = new Map();
  for (const usi of legal) {
    const { from, to, drop } = move(usi);
    const origin = from ?? `${drop}*`;
    if (!found.has(origin)) found.set(origin, new Map());
    const targets = found.get(origin);
    targets.set(to, [...(targets.get(to) ?? []), usi]);
  }
  return found;
}

export class Game {
  /** `colour`: the person's, "black" or "white". `answers`: what the network said, by ply. */
  constructor({ sfen, moves, colour, begun = moves.length, answers = [], ...options }) {
    Object.assign(this, { sfen, colour, begun, options });
    this.moves = [];
    this.answers = [];
    this.positions = [parse(sfen === "startpos" ? START : sfen)];
    this.over = null; // how the game ended
    moves.forEach((usi, ply) => this.push(usi, answers[ply] ?? null));
  }

  get turn() {
    return this.positions.at(-1).sente ? "black" : "white";
  }

  get isMine() {
    return this.turn === this.colour;
  }

  /** Make a legal move; `answer` is what the network said with it. */
  push(usi, answer = null) {
    this.positions.push(play(this.positions.at(-1), usi));
    this.moves.push(usi);
    this.answers.push(answer);
  }

  get canUndo() {
    const mine = this.moves.length - (this.isMine ? 2 : 1);
    return this.over === null && mine >= this.begun;
  }

  /** Take back the person's last move, and the network's answer to it. */
  undo() {
    for (let number = this.isMine ? 2 : 1; number; number--) {
      for (const list of [this.moves, this.answers, this.positions]) list.pop();
    }
  }

  /** Return what a request to the server names. */
  get request() {
    return { sfen: this.sfen, moves: this.moves };
  }

  /** Return the arguments of the constructor that make this game again. */
  toJSON() {
    const { sfen, moves, colour, begun, answers, options } = this;
    return { sfen, moves, colour, begun, answers, ...options };
  }
}
