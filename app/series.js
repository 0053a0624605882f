// Metric histories: each name has a growing column of steps and one of values (NaN: no number).

const LIMIT = 60000; // points of a name above which the page loads a thinned history

class Column {
  constructor(data = []) {
    this.length = data.length;
    this.data = new Float64Array(Math.max(256, data.length * 2));
    this.data.set(data.map((value) => value ?? NaN));
  }

  push(value) {
    if (this.length === this.data.length) {
      const grown = new Float64Array(this.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data[this.length++] = value ?? NaN;
  }
}

export class Series {
  constructor() {
    this.byName = new Map();
  }

  /** Replace all columns by the `series` of an answer of /api/metrics. */
  load(history) {
    this.byName.clear();
    for (const [name, { step, value }] of Object.entries(history)) {
      this.byName.set(name, { x: new Column(step), y: new Column(value) });
    }
  }

  /** Add the values of an iteration. Ignore those at steps that the columns already have. */
  append(step, values) {
    for (const [name, value] of Object.entries(values)) {
      if (!this.byName.has(name)) this.byName.set(name, { x: new Column(), y: new Column() });
      const { x, y } = this.byName.get(name);
      if (x.length && step <= x.data[x.length - 1]) continue;
      x.push(step);
      y.push(value);
    }
  }

  get(name) {
    return this.byName.get(name);
  }

  get tooLong() {
    return [...this.byName.values()].some(({ x }) => x.length > LIMIT);
  }
}

/** Return the index of the point whose step is nearest to `at`, or -1 if there is none. */
export function nearest({ x }, at) {
  if (!x.length) return -1;
  let low = 0;
  let high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x.data[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - x.data[low - 1] < x.data[low] - at ? low - 1 : low;
}
