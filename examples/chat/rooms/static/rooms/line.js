// The line to the server: a WebSocket that comes back by itself.

const FIRST_DELAY = 500; // milliseconds; doubled with each failure
const LONGEST_DELAY = 15_000;
const QUIET = 20_000; // without a word from the server, ask whether it is there
const PATIENCE = 6_000; // how long it may take to answer that, or to connect

/**
 * Events: "state" ({state, until}), "message" (what the server sent, parsed).
 * States: idle, connecting, online (welcome received), waiting (until: time of the next
 * try), stopped (by the server's or the user's wish; call open() to go on).
 */
export class Line extends EventTarget {
  #url;
  #hello = () => null;
  #socket = null;
  #failures = 0;
  #timer = 0;
  #pulse = 0;
  state = "idle";

  constructor(path) {
    super();
    this.#url = new URL(path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    addEventListener("online", () => this.check());
    addEventListener("pageshow", () => this.check());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.check();
    });
  }

  /** Connect, and stay connected. `hello` returns the first thing to say each time. */
  open(hello) {
    this.#hello = hello;
    this.#failures = 0;
    this.#connect();
  }

  /** Send an event if the line is up; return whether it went out. */
  send(event) {
    if (this.state !== "online") return false;
    this.#socket.send(JSON.stringify(event));
    return true;
  }

  /** Stay away until the next open(). */
  stop() {
    this.#drop();
    this.#become("stopped");
  }

  /** Make sure now, rather than some time later, that the line is up. */
  check() {
    if (this.state === "waiting") this.#connect();
    else if (this.state === "online") this.#ask();
  }

  #connect() {
    this.#drop();
    this.#become("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify(this.#hello()));
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    socket.onclose = ({ code }) => this.#closed(code);
    this.#expect(PATIENCE);
  }

  #received(event) {
    if (event.type === "welcome") {
      this.#failures = 0;
      this.#become("online");
    }
    this.#rest();
    this.dispatchEvent(new CustomEvent("message", { detail: event }));
  }

  #closed(code) {
    this.#drop();
    // 4000 to 4999 are the server's own words: not let in, replaced elsewhere.
    if (code >= 4000) {
      this.#become("stopped");
      this.dispatchEvent(new CustomEvent("message", { detail: { type: "stopped", code } }));
      return;
    }
    this.#retry();
  }

  /** Come back later: each time later, and by chance, so that not all come at once. */
  #retry() {
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#become("waiting", Date.now() + delay);
  }

  /** Once the line has been quiet for long, ask whether the server is still there. */
  #rest() {
    clearTimeout(this.#pulse);
    this.#pulse = setTimeout(() => this.#ask(), QUIET);
  }

  #ask() {
    if (this.send({ type: "ping" })) this.#expect(PATIENCE);
  }

  #expect(milliseconds) {
    clearTimeout(this.#pulse);
    this.#pulse = setTimeout(() => {
      this.#drop();
      this.#retry();
    }, milliseconds);
  }

  /** Let go of the socket without waiting for an answer that may never come. */
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #become(state, until = 0) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, until } }));
  }
}
