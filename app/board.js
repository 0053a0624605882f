// The board as SVG. A piece is a wedge with one kanji in the reader's font; gote's are upside down.

import { HAND_ORDER, START, kanji, move, name, parse } from "./sfen.js";

const [W, H] = [44, 48]; // a square
const [LEFT, TOP] = [30, 66]; // the board's corner
const [WIDTH, HEIGHT] = [LEFT + 9 * W + 24, TOP + 9 * H + 50];
const SIZE = { K: 1, R: 0.97, B: 0.97, G: 0.94, S: 0.94, N: 0.9, L: 0.88, P: 0.84 };
const RANKS = "一二三四五六七八九";

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function corner(square) {
  return [LEFT + (9 - Number(square[0])) * W, TOP + (Number(square[1]) - 1) * H];
}

export class BoardView {
  #shown = new Map(); // square -> {code, node}

  constructor(parent) {
    this.parent = parent;
    this.marks = svg("g");
    this.pieces = svg("g", { class: "pieces" });
    this.hands = svg("g", { class: "pieces" });
    this.share = svg("rect", { class: "share", x: 3, width: 8 });
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.svg.append(...ground(), this.marks, ...lines(), this.pieces, this.hands, ...this.#bar());
    parent.append(this.svg);
    this.show({ sfen: START, last_move: null, value: null });
    parent.classList.add("waiting");
  }

  /** Draw the position of a board event. */
  show({ sfen, last_move: last, value }) {
    const position = parse(sfen);
    this.parent.classList.remove("waiting");
    this.#pieces(position.pieces);
    this.#marks(move(last));
    this.hands.replaceChildren(...stand(position.hands, false), ...stand(position.hands, true));
    const sente = value === null ? 0 : (1 + (position.sente ? value : -value)) / 2;
    this.share.setAttribute("y", TOP + 9 * H * (1 - sente));
    this.share.setAttribute("height", 9 * H * sente);
    this.svg.setAttribute("aria-label", describe(position, last));
  }

  #pieces(pieces) {
    for (const [square, { code, node }] of this.#shown) {
      const piece = pieces.get(square);
      if (piece && code === piece.kind + piece.sente) continue;
      node.remove();
      this.#shown.delete(square);
    }
    for (const [square, piece] of pieces) {
      if (this.#shown.has(square)) continue;
      const [x, y] = corner(square);
      const node = koma(piece, x + W / 2, y + H / 2);
      this.pieces.append(node);
      this.#shown.set(square, { code: piece.kind + piece.sente, node });
    }
  }

  #marks(last) {
    this.marks.replaceChildren();
    if (!last) return;
    for (const [square, kind] of [[last.from, "left"], [last.to, "moved"]]) {
      if (!square) continue;
      const [x, y] = corner(square);
      this.marks.append(svg("rect", { class: kind, x, y, width: W, height: H }));
    }
  }

  #bar() {
    const [y, height] = [TOP, 9 * H];
    const middle = y + height / 2;
    return [
      svg("rect", { class: "scale", x: 3, y, width: 8, height }),
      this.share,
      svg("line", { class: "middle", x1: 0, x2: 14, y1: middle, y2: middle }),
    ];
  }
}

function ground() {
  const board = { x: LEFT - 1, y: TOP - 1, width: 9 * W + 2, height: 9 * H + 2 };
  const strip = { x: LEFT - 1, width: 9 * W + 2, height: 42, rx: 2 };
  return [
    svg("rect", { class: "stand", y: 0, ...strip }),
    svg("rect", { class: "stand", y: TOP + 9 * H + 8, ...strip }),
    svg("rect", { class: "wood", ...board }),
  ];
}

function lines() {
  const drawn = [];
  for (let i = 1; i < 9; i++) {
    const [x, y] = [LEFT + i * W, TOP + i * H];
    drawn.push(svg("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: TOP + 9 * H }));
    drawn.push(svg("line", { class: "grid", x1: LEFT, x2: LEFT + 9 * W, y1: y, y2: y }));
  }
  for (const i of [3, 6]) {
    for (const j of [3, 6]) drawn.push(svg("circle", { class: "star", cx: LEFT + i * W, cy: TOP + j * H, r: 2.4 }));
  }
  drawn.push(svg("rect", { class: "frame", x: LEFT, y: TOP, width: 9 * W, height: 9 * H }));
  for (let i = 0; i < 9; i++) {
    drawn.push(svg("text", { class: "label", x: LEFT + (i + 0.5) * W, y: TOP - 8 }, String(9 - i)));
    drawn.push(svg("text", { class: "label", x: LEFT + 9 * W + 13, y: TOP + (i + 0.5) * H + 4 }, RANKS[i]));
  }
  return drawn;
}

function koma(piece, x, y, scale = 1) {
  const size = scale * SIZE[piece.kind.replace("+", "")];
  const turn = piece.sente ? "" : " rotate(180)";
  const style = piece.kind.startsWith("+") ? "promoted" : "plain";
  return svg(
    "g",
    { class: style, transform: `translate(${x} ${y}) scale(${size})${turn}` },
    svg("path", { class: "koma", d: "M0-21 13.2-15.4 17.6 20.5H-17.6L-13.2-15.4Z" }),
    svg("text", { class: "glyph", x: 0, y: 11.5, "font-size": 25 }, kanji(piece)),
  );
}

/** Draw the pieces in hand of one side: gote's above the board, from right to left. */
function stand(hands, sente) {
  const held = sente ? hands.sente : hands.gote;
  const y = sente ? TOP + 9 * H + 29 : 21;
  const nodes = [];
  let x = 0;
  for (const kind of HAND_ORDER.filter((kind) => held[kind])) {
    const at = sente ? LEFT + 24 + x : LEFT + 9 * W - 24 - x;
    nodes.push(koma({ kind, sente }, at, y, 0.9));
    x += 38;
    if (held[kind] > 1) {
      const beside = sente ? at + 20 : at - 20;
      nodes.push(svg("text", { class: "count", x: beside, y: y + 5, "text-anchor": sente ? "start" : "end" }, String(held[kind])));
      x += held[kind] > 9 ? 20 : 12;
    }
  }
  return nodes;
}

function describe({ pieces, hands, sente }, last) {
  const side = (mine) => {
    const held = Object.entries(mine ? hands.sente : hands.gote);
    const hand = held.length ? held.map(([kind, number]) => `${number} ${name(kind)}`).join(", ") : "nothing";
    return `${mine ? "Sente" : "Gote"} holds ${hand}`;
  };
  const moved = last ? `Last move ${last}. ` : "";
  return `Shogi board, ${pieces.size} pieces. ${moved}${sente ? "Sente" : "Gote"} to move. ${side(true)}. ${side(false)}.`;
}
