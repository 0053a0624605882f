// Line charts on canvases. Each pixel column shows its smallest and largest value, so a long run
// loses no spike. NaN makes a gap. All charts share one crosshair.

import { short } from "./format.js";
import { nearest } from "./series.js";

const MARGIN = { left: 46, right: 10, top: 8, bottom: 20 };
const DOTS = 24; // a line with at most this many points shows each as a dot
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Charts {
  #pending = false;

  /** `specs`: [{figure, title, lines: [{name, label, color}], format, top, describe}] */
  constructor(series, specs) {
    this.series = series;
    this.cursor = null; // step under the pointer
    this.charts = specs.map((spec) => new Chart(this, spec));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Draw all charts at the next frame; several calls before it draw once. */
  draw() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      for (const chart of this.charts) chart.draw();
    });
  }

  /** Show each metric's meaning as the tooltip of its legend. `meanings`: Map(name -> text) */
  explain(meanings) {
    for (const { line, element } of this.charts.flatMap((chart) => chart.keys)) {
      element.title = meanings.get(line.name) ?? "";
    }
  }

  moveCrosshair(step) {
    this.cursor = step;
    this.draw();
  }
}

class Chart {
  constructor(owner, spec) {
    this.owner = owner;
    this.spec = spec;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${spec.title}: no data yet`);
    this.canvas.textContent = spec.describe;
    this.caption = document.createElement("figcaption");
    const title = document.createElement("h2");
    title.textContent = spec.title;
    this.at = document.createElement("span");
    this.at.className = "at";
    this.keys = spec.lines.map((line) => key(line));
    this.caption.append(title, ...this.keys.map((item) => item.element), this.at);
    spec.figure.append(this.caption, this.canvas);
    new ResizeObserver(() => owner.draw()).observe(this.canvas);
    this.canvas.addEventListener("pointermove", (event) => owner.moveCrosshair(this.stepAt(event.offsetX)));
    this.canvas.addEventListener("pointerleave", () => owner.moveCrosshair(null));
    this.canvas.addEventListener("blur", () => owner.moveCrosshair(null));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  get lines() {
    return this.spec.lines
      .map((line) => ({ ...line, data: this.owner.series.get(line.name) }))
      .filter((line) => line.data?.x.length);
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const lines = this.lines;
    this.#scale(lines, width, height);
    this.#axes(pen, width, height);
    for (const line of lines) {
      this.#line(pen, line);
      if (line.data.x.length <= DOTS) this.#dots(pen, line);
    }
    this.#crosshair(pen, lines, height);
    this.#legend(lines);
  }

  /** Return the step at a horizontal offset in the canvas, in CSS pixels. */
  stepAt(offset) {
    const { x0, x1, left, right } = this.view;
    const share = Math.min(1, Math.max(0, (offset - left) / (right - left)));
    return x0 + share * (x1 - x0);
  }

  #scale(lines, width, height) {
    let [x0, x1, y1] = [Infinity, -Infinity, -Infinity];
    let y0 = 0;
    for (const { data } of lines) {
      x0 = Math.min(x0, data.x.data[0]);
      x1 = Math.max(x1, data.x.data[data.x.length - 1]);
      for (let i = 0; i < data.y.length; i++) {
        const value = data.y.data[i];
        if (value > y1) y1 = value;
        if (value < y0) y0 = value;
      }
    }
    if (!(x1 > x0)) [x0, x1] = Number.isFinite(x1) ? [0, x1 || 1] : [0, 1];
    if (!Number.isFinite(y1) || y1 <= y0) y1 = y0 + 1;
    y1 = Math.min(y1 + (y1 - y0) * 0.06, this.spec.top ?? Infinity);
    this.view = {
      x0, x1, y0, y1,
      left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom,
    };
  }

  #x(step) {
    const { x0, x1, left, right } = this.view;
    return left + ((step - x0) / (x1 - x0)) * (right - left);
  }

  #y(value) {
    const { y0, y1, top, bottom } = this.view;
    return bottom - ((value - y0) / (y1 - y0)) * (bottom - top);
  }

  #axes(pen, width, height) {
    const { x0, x1, y0, y1, left, right, bottom } = this.view;
    pen.font = `11px ${css("--sans")}`;
    pen.fillStyle = css("--soft");
    pen.strokeStyle = css("--faint");
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    if (!this.lines.length) {
      pen.textAlign = "center";
      pen.fillText("The first values appear after the first iteration", (left + right) / 2, bottom / 2);
      return;
    }
    for (const value of ticks(y0, y1, height / 38)) {
      const y = Math.round(this.#y(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(left, y);
      pen.lineTo(right, y);
      pen.stroke();
      pen.fillText(this.spec.tick(value), left - 7, y);
    }
    pen.textBaseline = "alphabetic";
    pen.textAlign = "right";
    pen.fillText("steps", right, height - 5);
    pen.textAlign = "center";
    for (const value of ticks(x0, x1, width / 95)) {
      const x = this.#x(value);
      if (x > left + 12 && x < right - 60) pen.fillText(short(value), x, height - 5);
    }
  }

  #line(pen, { data, color }) {
    const { x, y } = data;
    pen.strokeStyle = css(color);
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let open = false;
    for (let i = 0; i < x.length; ) {
      const column = Math.round(this.#x(x.data[i]));
      let [low, high, first, last, gap] = [Infinity, -Infinity, NaN, NaN, false];
      for (; i < x.length && Math.round(this.#x(x.data[i])) === column; i++) {
        const value = y.data[i];
        if (!Number.isFinite(value)) {
          gap = true;
          continue;
        }
        if (Number.isNaN(first)) first = value;
        last = value;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      if (Number.isNaN(first)) {
        open = false;
        continue;
      }
      if (open) pen.lineTo(column, this.#y(first));
      else pen.moveTo(column, this.#y(first));
      if (high > low) {
        pen.lineTo(column, this.#y(low));
        pen.lineTo(column, this.#y(high));
        pen.lineTo(column, this.#y(last));
      } else if (!open) pen.lineTo(column + 0.5, this.#y(last));
      open = !gap;
    }
    pen.stroke();
  }

  /** Draw a dot at each point: a line through few points is hard to see. */
  #dots(pen, { data, color }) {
    pen.fillStyle = css(color);
    for (let i = 0; i < data.x.length; i++) {
      if (!Number.isFinite(data.y.data[i])) continue;
      pen.beginPath();
      pen.arc(this.#x(data.x.data[i]), this.#y(data.y.data[i]), 2.2, 0, 2 * Math.PI);
      pen.fill();
    }
  }

  #crosshair(pen, lines, height) {
    const { cursor } = this.owner;
    if (cursor === null || !lines.length) return;
    const x = this.#x(cursor);
    pen.strokeStyle = css("--soft");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x, MARGIN.top);
    pen.lineTo(x, height - MARGIN.bottom);
    pen.stroke();
    for (const { data, color } of lines) {
      const i = nearest(data, cursor);
      if (!Number.isFinite(data.y.data[i])) continue;
      pen.fillStyle = css(color);
      pen.beginPath();
      pen.arc(this.#x(data.x.data[i]), this.#y(data.y.data[i]), 3.2, 0, 2 * Math.PI);
      pen.fill();
    }
  }

  /** Show the newest values, or those at the crosshair. */
  #legend(lines) {
    const { cursor } = this.owner;
    const said = [];
    for (const { line, value } of this.keys) {
      const data = lines.find(({ name }) => name === line.name)?.data;
      const i = !data ? -1 : cursor === null ? data.x.length - 1 : nearest(data, cursor);
      const text = i < 0 ? "–" : this.spec.format(data.y.data[i]);
      if (value.textContent !== text) value.textContent = text;
      said.push(`${line.label} ${text}`);
    }
    this.at.textContent = cursor === null ? "" : `step ${short(cursor)}`;
    this.canvas.setAttribute("aria-label", `${this.spec.title}: ${said.join(", ")}`);
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.owner.moveCrosshair(null);
    if (!by || !this.view) return;
    event.preventDefault();
    const { x0, x1 } = this.view;
    const from = this.owner.cursor ?? x1;
    this.owner.moveCrosshair(Math.min(x1, Math.max(x0, from + (by * (x1 - x0)) / (event.shiftKey ? 10 : 100))));
  }
}

function key(line) {
  const element = document.createElement("span");
  element.className = "key";
  const swatch = document.createElement("i");
  swatch.style.background = `var(${line.color})`;
  const value = document.createElement("b");
  value.textContent = "–";
  element.append(swatch, line.label, value);
  return { line, element, value };
}

/** Return about `wanted` round numbers in [low, high]. */
export function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const unit = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / unit); i * unit <= high + unit * 1e-9; i++) found.push(i * unit);
  return found;
}
