// Moves as text for people: ７六歩(77) with Japanese letters, P7g-7f with Western ones.

import { kanji, move, name, usiSquare } from "./sfen.js";

const FILES = "１２３４５６７８９";
const RANKS = "一二三四五六七八九";
const COLOURS = { true: "Sente", false: "Gote" };

/** Write a move; `before` is the position, and `last` the move that led to it, or null. */
export function write(before, usi, last, western) {
  const made = move(usi);
  const piece = { kind: made.drop ?? before.pieces.get(made.from).kind, sente: before.sente };
  const mark = before.sente ? "☗" : "☖";
  return mark + (western ? letters(before, made, piece) : japanese(made, piece, move(last)));
}

function letters(before, { from, to, drop, promotes }, { kind }) {
  if (drop) return `${kind}*${usiSquare(to)}`;
  const takes = before.pieces.has(to) ? "x" : "-";
  return `${kind}${usiSquare(from)}${takes}${usiSquare(to)}${promotes ? "+" : ""}`;
}

function japanese({ from, to, drop, promotes }, piece, last) {
  const place = last?.to === to ? "同　" : FILES[to[0] - 1] + RANKS[to[1] - 1];
  const letter = kanji({ ...piece, sente: true });
  return place + letter + (drop ? "打" : `${promotes ? "成" : ""}(${from})`);
}

/** Say a move in English: "Sente: pawn to 7f". */
export function say(before, usi) {
  const { from, to, drop, promotes } = move(usi);
  const kind = drop ?? before.pieces.get(from).kind;
  const taken = before.pieces.get(to);
  const takes = taken ? `, takes the ${name(taken.kind)}` : "";
  return `${COLOURS[before.sente]}: ${name(kind)} ${drop ? "dropped on" : "to"} ${usiSquare(to)}${takes}${promotes ? ", promotes" : ""}.`;
}
