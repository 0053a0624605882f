// A line of the network's value over the plies of one game, from sente's side; 0 is in the middle.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Trace {
  constructor(canvas) {
    this.canvas = canvas;
    this.game = null;
    this.points = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Add a point; `value` is sente's, in [-1, 1], or null. A new game starts a new line. */
  add(game, ply, value) {
    const last = this.points.at(-1);
    if (game !== this.game || (last && ply < last.ply)) this.points = [];
    this.game = game;
    if (value !== null && ply !== this.points.at(-1)?.ply) this.points.push({ ply, value });
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const y = (value) => height / 2 - value * (height / 2 - 3);
    pen.strokeStyle = css("--line");
    pen.beginPath();
    pen.moveTo(0, height / 2 + 0.5);
    pen.lineTo(width, height / 2 + 0.5);
    pen.stroke();
    if (!this.points.length) return;
    const first = this.points[0].ply;
    const span = Math.max(40, this.points.at(-1).ply - first);
    const x = (ply) => 1 + ((ply - first) / span) * (width - 6);
    pen.strokeStyle = css("--ink");
    pen.lineWidth = 1.4;
    pen.lineJoin = "round";
    pen.beginPath();
    for (const { ply, value } of this.points) pen.lineTo(x(ply), y(value));
    pen.stroke();
    const end = this.points.at(-1);
    pen.fillStyle = css("--shu");
    pen.beginPath();
    pen.arc(x(end.ply), y(end.value), 3, 0, 2 * Math.PI);
    pen.fill();
  }
}
