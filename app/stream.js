// The event stream. EventSource reconnects when a connection breaks, but stops for good at any
// answer other than 200 (such as 503, or a server that is starting). So this class closes it after
// every failure and opens a new one.

const EVENTS = [
  "hello", "started", "compiling", "running", "paused", "resumed", "checkpoint",
  "stopped", "finished", "failed", "stale", "killed", "reset", "bye",
  "iteration", "board", "game", "evaluation", "alert",
];
const GREETINGS = ["hello", "reset", "bye"];
const TOPICS = "status,metrics,board,eval,alert";
const FIRST_WAIT = 500; // milliseconds before the first new attempt; doubles with each failure
const LONGEST_WAIT = 15000; // milliseconds

export class Stream {
  #source = null;
  #last = null;
  #wait = FIRST_WAIT;
  #timer = null;

  /** Callbacks: `on.event(name, data)`, `on.open()`, `on.down()` (the connection broke). */
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
        // Only other events prove that the stream works: a run that ended sends hello, then bye.
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
    // A random wait, so that many pages do not reconnect at the same moment.
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
