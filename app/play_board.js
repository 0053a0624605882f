// A board on which a person moves pieces: by clicks, by dragging, and by keys.
//
// Buttons lie on the drawing, one on each square and one on each kind of piece in hand.

import { BoardView, H, HEIGHT, LEFT, TOP, W, WIDTH } from "./board.js";
import { byOrigin } from "./game.js";
import { START, move, name, parse, usiSquare } from "./sfen.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 6; // pixels after which a press is a drag

export class PlayBoard {
  #legal = new Map(); // origin -> Map(square -> moves); empty if the person may not move
  #chosen = null; // origin of the piece that was taken
  #position = null;
  #press = null; // the press that may become a drag: {origin, x, y, ghost}
  #squares = []; // buttons, row by row
  #hand = ""; // what the buttons of the hand show

  /** `on.move(usi)`: a legal move. `on.key(key)`: another key. `on.promote(kind)`: asks. */
  constructor(parent, on) {
    this.parent = parent;
    this.view = new BoardView(parent);
    this.on = on;
    this.#lay();
    this.draw(parse(START), null, null);
    parent.classList.add("waiting");
    parent.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointermove", (event) => this.#drag(event));
    document.addEventListener("pointerup", (event) => this.#drop(event));
    document.addEventListener("pointercancel", () => this.#release());
  }

  /** Draw a position (see `BoardView.draw`). No move is offered until `offer` is called. */
  draw(position, last, value) {
    this.#release();
    this.view.draw(position, last, value);
    this.#position = position;
    this.offer([]);
  }

  focus() {
    this.#focus(this.#squares.findIndex((button) => button.tabIndex === 0));
  }

  /** Turn the board, or change the letters on the pieces (see `BoardView.change`). */
  change(look) {
    this.view.change(look);
    this.#hand = "";
    this.#name();
  }

  /** Let the person make one of these moves (USI); an empty list: none. */
  offer(legal) {
    this.#legal = byOrigin(legal, move);
    this.#choose(null);
  }

  #lay() {
    const grid = document.createElement("div");
    grid.className = "squares";
    grid.setAttribute("role", "group");
    grid.setAttribute("aria-label", "Squares of the board");
    grid.style.left = share(LEFT, WIDTH);
    grid.style.top = share(TOP, HEIGHT);
    grid.style.width = share(9 * W, WIDTH);
    grid.style.height = share(9 * H, HEIGHT);
    for (let i = 0; i < 81; i++) {
      const button = this.#button(() => this.#squareOf(i));
      button.tabIndex = i === 40 ? 0 : -1;
      this.#squares.push(button);
      grid.append(button);
    }
    this.held = document.createElement("div");
    this.held.className = "held";
    this.parent.append(grid, this.held);
  }

  /** Make a button; `place` returns its square, or the origin of a drop. */
  #button(place) {
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => this.#click(place()));
    button.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button || !this.#legal.has(place())) return;
      this.#press = { origin: place(), x: event.clientX, y: event.clientY, ghost: null };
      button.setPointerCapture(event.pointerId);
    });
    return button;
  }

  #squareOf(index) {
    return this.view.squareAt(LEFT + ((index % 9) + 0.5) * W, TOP + (Math.floor(index / 9) + 0.5) * H);
  }

  /** Give every button its name and its marks. */
  #name() {
    const targets = this.#legal.get(this.#chosen);
    this.#squares.forEach((button, index) => {
      const square = this.#squareOf(index);
      const piece = this.#position.pieces.get(square);
      const what = piece ? `${piece.sente ? "sente" : "gote"} ${name(piece.kind)}` : "empty";
      button.ariaLabel = `${usiSquare(square)} ${what}${targets?.has(square) ? ", legal" : ""}`;
      button.ariaPressed = String(this.#chosen === square);
      button.classList.toggle("movable", this.#legal.has(square));
      button.classList.toggle("target", Boolean(targets?.has(square)));
      button.classList.toggle("taken", Boolean(piece));
    });
    this.#nameHand();
  }

  #nameHand() {
    const { hands, sente } = this.#position;
    const places = this.#legal.size ? this.view.places(sente ? hands.sente : hands.gote, sente) : [];
    // A button must not be replaced while its piece is dragged, or while it has the focus.
    if (this.#hand !== JSON.stringify(places)) {
      this.#hand = JSON.stringify(places);
      this.held.replaceChildren(...places.map((place) => this.#handButton(place)));
    }
    for (const button of this.held.children) {
      const origin = `${button.dataset.kind}*`;
      button.ariaPressed = String(this.#chosen === origin);
      button.classList.toggle("movable", this.#legal.has(origin));
    }
  }

  #handButton([kind, number, x, y]) {
    const button = this.#button(() => `${kind}*`);
    button.dataset.kind = kind;
    button.ariaLabel = `${name(kind)} in hand${number > 1 ? `, ${number}` : ""}`;
    button.style.left = share(x, WIDTH);
    button.style.top = share(y, HEIGHT);
    button.style.width = share(38, WIDTH);
    button.style.height = share(42, HEIGHT);
    return button;
  }

  #click(place) {
    if (this.#press === "dragged") return;
    if (this.#legal.get(this.#chosen)?.has(place)) this.#make(this.#chosen, place);
    else this.#choose(this.#legal.has(place) && place !== this.#chosen ? place : null);
  }

  #choose(origin) {
    this.#chosen = origin;
    this.#name();
  }

  async #make(origin, square) {
    const moves = this.#legal.get(origin).get(square);
    this.#choose(null);
    const usi = moves.length === 1 ? moves[0] : await this.on.promote(this.#position.pieces.get(origin).kind, moves);
    if (usi && this.#legal.get(origin)?.get(square)?.includes(usi)) this.on.move(usi);
  }

  // -------------------------------------------------------------- dragging

  #drag(event) {
    const press = this.#press;
    if (!press?.origin) return;
    if (!press.ghost) {
      if (Math.hypot(event.clientX - press.x, event.clientY - press.y) < FAR) return;
      this.#choose(press.origin);
      this.#lift(press);
    }
    const [x, y] = this.#point(event);
    press.ghost.setAttribute("transform", `translate(${x} ${y})`);
  }

  #lift(press) {
    const kind = press.origin[1] === "*" ? press.origin[0] : this.#position.pieces.get(press.origin).kind;
    const piece = this.view.koma({ kind, sente: this.#position.sente }, 0, 0, 1.15);
    press.ghost = document.createElementNS("http://www.w3.org/2000/svg", "g");
    press.ghost.setAttribute("class", "dragged");
    press.ghost.append(piece);
    this.view.svg.append(press.ghost);
    this.view.pieceOn(press.origin)?.setAttribute("opacity", "0.3");
    this.parent.classList.add("dragging");
  }

  #drop(event) {
    const press = this.#press;
    if (!press?.ghost) {
      this.#press = null;
      return;
    }
    this.#release();
    this.#press = "dragged"; // the browser sends a click after this event
    setTimeout(() => { this.#press = null; });
    const square = this.view.squareAt(...this.#point(event));
    if (this.#legal.get(press.origin)?.has(square)) this.#make(press.origin, square);
    else this.#choose(null);
  }

  #release() {
    if (this.#press?.ghost) {
      this.#press.ghost.remove();
      this.view.pieceOn(this.#press.origin)?.removeAttribute("opacity");
      this.parent.classList.remove("dragging");
    }
    this.#press = null;
  }

  /** Return where a pointer is in the drawing. */
  #point({ clientX, clientY }) {
    const { left, top, width, height } = this.view.svg.getBoundingClientRect();
    return [((clientX - left) / width) * WIDTH, ((clientY - top) / height) * HEIGHT];
  }

  // -------------------------------------------------------------- keys

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const drop = `${event.key.toUpperCase()}*`;
    if (event.key in STEPS) this.#step(event.key);
    else if (event.key === "Escape") this.#choose(null);
    else if (this.#legal.has(drop)) this.#choose(drop);
    else if (!this.on.key(event.key)) return;
    event.preventDefault();
  }

  #step(key) {
    const at = this.#squares.indexOf(document.activeElement);
    if (at < 0) {
      this.focus();
      return;
    }
    const [right, down] = STEPS[key];
    const [column, row] = [(at % 9) + right, Math.floor(at / 9) + down];
    if (column >= 0 && column < 9 && row >= 0 && row < 9) this.#focus(row * 9 + column);
  }

  #focus(index) {
    this.#squares.forEach((button, i) => { button.tabIndex = i === index ? 0 : -1; });
    this.#squares[index].focus();
  }
}

function share(part, whole) {
  return `${(part / whole) * 100}%`;
}
