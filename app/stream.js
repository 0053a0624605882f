// The live stream. EventSource reconnects after a cut but gives up for ever on any answer that is
// not 200 (a 503, a server that is just starting), so every failure ends in a new one made here.

const EVENTS = [
  "hello", "started", "compiling", "running", "paused", "resumed", "checkpoint",
  "stopped", "finished", "failed", "reset", "bye",
  "iteration", "board", "game", "evaluation", "alert",
];
const GREETINGS = ["hello", "reset", "bye"];
const TOPICS = "status,metrics,board,eval,alert";
const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 15000;

export class Stream {
  #source = null;
  #last = null;
  #wait = FIRST_WAIT;
  #timer = null;

  /** `on.event(name, data)`, `on.open()`, `on.down()`. */
  constructor(on) {
    this.on = on;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  connect() {
    const after = this.#last === null ? "" : `&after=${encodeURIComponent(this.#last)}`;
    const source = new EventSource(`api/events?topics=${TOPICS}${after}`);
    this.#source = source;
    source.onopen = () => this.on.open();
    source.onerror = () => this.#lost(source);
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.#last = event.lastEventId;
        if (name === "reset") this.#last = null;
        // Only news proves that the stream lasts: one of a run that ended says hello and bye at once.
        if (!GREETINGS.includes(name)) this.#wait = FIRST_WAIT;
        this.on.event(name, JSON.parse(event.data));
      });
    }
  }

  #lost(source) {
    if (source !== this.#source) return;
    source.close();
    this.#source = null;
    this.on.down();
    // Spread out, so that many pages do not come back in one instant.
    this.#timer = setTimeout(() => this.#retryNow(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #retryNow() {
    if (this.#source !== null || this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.connect();
  }
}
