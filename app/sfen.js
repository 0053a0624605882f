// Parse SFEN positions and USI moves. A square is two digits: file 1-9, then rank 1-9.

export const START = "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1";

const KANJI = {
  P: "歩", L: "香", N: "桂", S: "銀", G: "金", B: "角", R: "飛", K: "玉",
  "+P": "と", "+L": "杏", "+N": "圭", "+S": "全", "+B": "馬", "+R": "龍",
};
const NAMES = {
  P: "pawn", L: "lance", N: "knight", S: "silver", G: "gold", B: "bishop", R: "rook", K: "king",
};
export const HAND_ORDER = ["R", "B", "G", "S", "N", "L", "P"];

/**
 * Parse an SFEN. Return
 * {pieces: Map("77" -> {kind: "+P", sente}), hands: {sente: {P: 2}, gote: {}}, sente: to move}.
 */
export function parse(sfen) {
  const [board, side, hand] = sfen.split(" ");
  const pieces = new Map();
  board.split("/").forEach((row, index) => {
    let file = 9;
    for (const [token] of row.matchAll(/\+?[A-Za-z]|\d/g)) {
      if (/\d/.test(token)) file -= Number(token);
      else pieces.set(`${file--}${index + 1}`, { kind: token.toUpperCase(), sente: token === token.toUpperCase() });
    }
  });
  const hands = { sente: {}, gote: {} };
  for (const [, number, letter] of hand.matchAll(/(\d*)([A-Za-z])/g)) {
    const owner = letter === letter.toUpperCase() ? hands.sente : hands.gote;
    owner[letter.toUpperCase()] = Number(number || 1);
  }
  return { pieces, hands, sente: side === "b" };
}

/** Write a square such as "77" as USI does: "7g". */
export function usiSquare(square) {
  return square[0] + "abcdefghi"[Number(square[1]) - 1];
}

/** Return the position after a legal USI move. */
export function play({ pieces, hands, sente }, usi) {
  const { from, to, drop, promotes } = move(usi);
  const after = { pieces: new Map(pieces), hands: { sente: { ...hands.sente }, gote: { ...hands.gote } }, sente: !sente };
  const held = sente ? after.hands.sente : after.hands.gote;
  const kind = drop ?? pieces.get(from).kind;
  const taken = pieces.get(to)?.kind.replace("+", "");
  if (taken) held[taken] = (held[taken] ?? 0) + 1;
  if (drop && !(held[drop] -= 1)) delete held[drop];
  if (!drop) after.pieces.delete(from);
  after.pieces.set(to, { kind: promotes ? `+${kind}` : kind, sente });
  return after;
}

export function kanji({ kind, sente }) {
  return kind === "K" && !sente ? "王" : KANJI[kind];
}

export function name(kind) {
  const plain = NAMES[kind.replace("+", "")];
  return kind.startsWith("+") ? `promoted ${plain}` : plain;
}

/**
 * Parse a USI move. Return {from: "77" (null for a drop), to: "76", promotes, drop: "P"}, or null
 * if it is not a move.
 */
export function move(usi) {
  const match = /^(?:([1-9])([a-i])|([PLNSGBR])\*)([1-9])([a-i])(\+?)$/.exec(usi ?? "");
  if (!match) return null;
  const [, file, rank, drop, toFile, toRank, plus] = match;
  const number = (letter) => letter.charCodeAt(0) - 96;
  return {
    from: drop ? null : `${file}${number(rank)}`,
    to: `${toFile}${number(toRank)}`,
    drop: drop ?? null,
    promotes: plus === "+",
  };
}
