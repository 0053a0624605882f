// The board as SVG. A piece is a wedge with one kanji in the reader's font; gote's are upside down.

import { HAND_ORDER, START, kanji, move, name, parse } from "./sfen.js";

export const [W, H] = [44, 48]; // a square
export const [LEFT, TOP] = [30, 66]; // the board's corner
const HAND_TOP = 8 + 9 * H + TOP; // the lower stand
export const [WIDTH, HEIGHT] = [LEFT + 9 * W + 24, TOP + 9 * H + 50];
const SIZE = { K: 1, R: 0.97, B: 0.97, G: 0.94, S: 0.94, N: 0.9, L: 0.88, P: 0.84 };
const RANKS = "一二三四五六七八九";

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class BoardView {
  #shown = new Map(); // square -> {code, node}
  #drawn = null; // arguments of the last call of `draw`

  constructor(parent) {
    this.parent = parent;
    this.flipped = false; // whether gote sits below
    this.western = false; // whether pieces show letters
    this.marks = svg("g");
    this.pieces = svg("g", { class: "pieces" });
    this.hands = svg("g", { class: "pieces" });
    this.share = svg("rect", { class: "share", x: 3, width: 8 });
    this.labels = svg("g");
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.svg.append(...ground(), this.marks, ...lines(), this.labels, this.pieces, this.hands, ...this.#bar());
    parent.append(this.svg);
    this.show({ sfen: START, last_move: null, value: null });
    parent.classList.add("waiting");
  }

  /** Draw the position of a board event. */
  show({ sfen, last_move: last, value }) {
    this.draw(parse(sfen), last, value);
  }

  /** Draw a position as `parse` returns it; `value` is the mover's, in [-1, 1], or null. */
  draw(position, last, value) {
    this.#drawn = [position, last, value];
    this.parent.classList.remove("waiting");
    this.labels.replaceChildren(...labels(this.flipped));
    this.#pieces(position.pieces);
    this.#marks(move(last));
    this.hands.replaceChildren(...[true, false].flatMap((sente) => this.#stand(position.hands, sente)));
    const share = value === null ? 0 : (1 + (position.sente !== this.flipped ? value : -value)) / 2;
    this.share.setAttribute("y", TOP + 9 * H * (1 - share));
    this.share.setAttribute("height", 9 * H * share);
    this.svg.setAttribute("aria-label", describe(position, last));
  }

  /** Turn the board, or change the letters on the pieces. */
  change({ flipped = this.flipped, western: letters = this.western }) {
    [this.flipped, this.western] = [flipped, letters];
    for (const { node } of this.#shown.values()) node.remove();
    this.#shown.clear();
    this.draw(...this.#drawn);
  }

  /** Return the upper left corner of a square such as "77". */
  corner(square) {
    const [file, rank] = [...square].map(Number);
    const [column, row] = this.flipped ? [file - 1, 9 - rank] : [9 - file, rank - 1];
    return [LEFT + column * W, TOP + row * H];
  }

  /** Return the square at a point of the drawing, or null. */
  squareAt(x, y) {
    const [column, row] = [Math.floor((x - LEFT) / W), Math.floor((y - TOP) / H)];
    if (column < 0 || column > 8 || row < 0 || row > 8) return null;
    return this.flipped ? `${column + 1}${9 - row}` : `${9 - column}${row + 1}`;
  }

  /** Return the node of the piece on a square, or null. */
  pieceOn(square) {
    return this.#shown.get(square)?.node ?? null;
  }

  /** Return the middle of each kind of piece in a side's hand: [[kind, number, x, y]]. */
  places(held, sente) {
    const below = sente !== this.flipped;
    const places = [];
    let x = 0;
    for (const kind of HAND_ORDER.filter((kind) => held[kind])) {
      const at = below ? LEFT + 24 + x : LEFT + 9 * W - 24 - x;
      places.push([kind, held[kind], at, below ? HAND_TOP + 21 : 21]);
      x += 38 + (held[kind] > 9 ? 20 : held[kind] > 1 ? 12 : 0);
    }
    return places;
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
      const [x, y] = this.corner(square);
      const node = this.koma(piece, x + W / 2, y + H / 2);
      this.pieces.append(node);
      this.#shown.set(square, { code: piece.kind + piece.sente, node });
    }
  }

  #marks(last) {
    this.marks.replaceChildren();
    if (!last) return;
    for (const [square, kind] of [[last.from, "left"], [last.to, "moved"]]) {
      if (!square) continue;
      const [x, y] = this.corner(square);
      this.marks.append(svg("rect", { class: kind, x, y, width: W, height: H }));
    }
  }

  koma(piece, x, y, scale = 1) {
    const size = scale * SIZE[piece.kind.replace("+", "")];
    const turn = piece.sente !== this.flipped ? "" : " rotate(180)";
    const style = piece.kind.startsWith("+") ? "promoted" : "plain";
    const [text, font] = this.western ? [piece.kind, 21] : [kanji(piece), 25];
    return svg(
      "g",
      { class: style, transform: `translate(${x} ${y}) scale(${size})${turn}` },
      svg("path", { class: "koma", d: "M0-21 13.2-15.4 17.6 20.5H-17.6L-13.2-15.4Z" }),
      svg("text", { class: this.western ? "glyph letter" : "glyph", x: 0, y: 11.5, "font-size": font }, text),
    );
  }

  /** Draw the pieces in hand of one side; the upper side's are drawn from right to left. */
  #stand(hands, sente) {
    const below = sente !== this.flipped;
    return this.places(sente ? hands.sente : hands.gote, sente).flatMap(([kind, number, x, y]) => {
      const piece = this.koma({ kind, sente }, x, y, 0.9);
      if (number < 2) return [piece];
      const anchor = below ? "start" : "end";
      const beside = { class: "count", x: below ? x + 20 : x - 20, y: y + 5, "text-anchor": anchor };
      return [piece, svg("text", beside, String(number))];
    });
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
    svg("rect", { class: "stand", y: HAND_TOP, ...strip }),
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
  return drawn;
}

function labels(flipped) {
  const drawn = [];
  for (let i = 0; i < 9; i++) {
    const [file, rank] = flipped ? [i + 1, 8 - i] : [9 - i, i];
    drawn.push(svg("text", { class: "label", x: LEFT + (i + 0.5) * W, y: TOP - 8 }, String(file)));
    drawn.push(svg("text", { class: "label", x: LEFT + 9 * W + 13, y: TOP + (i + 0.5) * H + 4 }, RANKS[rank]));
  }
  return drawn;
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
