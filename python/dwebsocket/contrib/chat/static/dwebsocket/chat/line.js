// The page's line to the chat: one connection for all rooms on the page.

import { DWebSocket } from "../dwebsocket.js";
import { mark, tab } from "./text.js";

const OPTIONS = { backoff: { min: 500, max: 15_000 }, timeout: 6000 };
const LISTING_EVERY = 1000; // milliseconds between two requests for the list of rooms, at least
const LISTING_AT_LEAST = 30_000; // at most: after a crash of a server, no notice tells who left

// Milliseconds; a page that exchanges its parts soon has another panel.
const LINGER = 5000;

const lines = new Map();

/** Return the line to an address; rooms with the same address share it. */
export function lineTo(url) {
  if (!lines.has(url)) lines.set(url, new Line(url));
  return lines.get(url);
}

/**
 * The line closes when no room is entered and no list of rooms is shown any longer.
 *
 * Events: "state" ({state, until}), "data" (data from the server's application), "rooms"
 * ({rooms}, after watchRooms()), "named" (`name` has changed). States: idle, connecting,
 * online, waiting (`until` is the time of the next try), stopped (the server has ended the
 * chat; retry() connects again).
 */
export class Line extends EventTarget {
  #url;
  #key = tab.get("key") ?? mark();
  /** The rooms that are entered, and this line itself while elements show the list of rooms. */
  #users = new Set();
  #closing = 0;
  /** How many elements show the list of rooms. */
  #watching = 0;
  #listing = 0; // the time of the next request for the list of rooms, while #timer runs
  #timer = 0;
  #news = 0; // the time when the list of rooms has changed last
  socket = null;
  /** The code with which the latest connection has ended. */
  ended = 0;
  state = "idle";
  name = "";

  constructor(url) {
    super();
    this.#url = url;
    // The key identifies the person, even while the server still has the former connection.
    tab.set("key", this.#key);
  }

  /** Connect, unless done before; `name`: the chosen name, on sites where people choose. */
  open(name = this.name) {
    const renamed = name !== this.name;
    this.name = name;
    if (!this.socket) this.#connect();
    else if (this.state === "idle") this.#reconnect();
    else if (renamed) this.tell(this.#hello());
    // Dispatch this last: listeners join, and the server has to know the name before that.
    if (renamed) this.dispatchEvent(new Event("named"));
  }

  #connect() {
    const hello = () => this.#hello();
    const socket = (this.socket = new DWebSocket(this.#url, { ...OPTIONS, hello }));
    socket.addEventListener("open", () => this.#become("online"));
    socket.addEventListener("close", ({ code, willReconnect }) => {
      this.ended = code;
      if (!willReconnect) this.#become(this.#users.size ? "stopped" : "idle");
    });
    socket.addEventListener("reconnecting", ({ delay }) => this.#become("waiting", Date.now() + delay));
    socket.addEventListener("data", ({ data }) => this.#hear(data));
    socket.addEventListener("message", ({ data }) => data?.chat === "rooms" && this.#heardOfRooms());
    this.#become("connecting");
  }

  /** Send data to the server's application, if the line is up. */
  tell(data) {
    if (this.socket?.state === "open") this.socket.send(data);
  }

  /** Connect now instead of later; also after the server has ended the chat. */
  retry() {
    this.socket.close();
    this.#reconnect();
  }

  #reconnect() {
    this.socket.open();
    this.#become("connecting");
  }

  /** Keep the line, once it is open, until release() is called for the same user. */
  hold(user) {
    clearTimeout(this.#closing);
    this.#users.add(user);
  }

  /** Close the line a moment after its last user has released it. */
  release(user) {
    if (!this.#users.delete(user) || this.#users.size) return;
    // The server has ended the chat: whoever comes next tries again.
    if (this.state === "stopped") return this.#become("idle");
    this.#closing = setTimeout(() => this.socket?.close(), LINGER);
  }

  /** Update the state if the pause before the next try is over. */
  look() {
    if (this.state === "waiting" && this.socket.state === "connecting") this.#become("connecting");
  }

  /** Dispatch "rooms" events from now on, until unwatchRooms() is called as often. */
  watchRooms() {
    this.hold(this);
    this.#watching += 1;
    this.open();
    this.#beginRooms();
  }

  unwatchRooms() {
    this.#watching -= 1;
    if (this.#watching) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.release(this);
  }

  #hello() {
    return { chat: "hello", key: this.#key, name: this.name };
  }

  #hear(data) {
    if (data?.chat === "rooms") {
      this.dispatchEvent(Object.assign(new Event("rooms"), { rooms: data.rooms }));
    } else {
      this.dispatchEvent(Object.assign(new Event("data"), { data }));
    }
  }

  #heardOfRooms() {
    this.#news = performance.now();
    this.#askRooms(LISTING_EVERY);
  }

  /** Ask for the list of rooms now; only the answer lets the page hear of changes. */
  #beginRooms() {
    this.#news = performance.now();
    this.#askRooms(0);
  }

  /** Ask for the list of rooms within a time, so that many changes cause one request. */
  #askRooms(within) {
    const due = performance.now() + within;
    if (!this.#watching || (this.#timer && this.#listing <= due)) return;
    clearTimeout(this.#timer);
    this.#listing = due;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.tell({ chat: "rooms" });
      // The answer may be nearly a second old (rooms.py). Ask again also if it is refused.
      const isNews = performance.now() - this.#news < LISTING_EVERY;
      this.#askRooms(isNews ? LISTING_EVERY : LISTING_AT_LEAST);
    }, within);
  }

  #become(state, until = 0) {
    this.state = state;
    if (state === "online") this.#beginRooms();
    this.dispatchEvent(Object.assign(new Event("state"), { state, until }));
  }
}
