// The page's line to the chat: one connection, whatever the rooms on the page.

import { DWebSocket } from "../dwebsocket.js";
import { mark, tab } from "./text.js";

const OPTIONS = { backoff: { min: 500, max: 15_000 }, timeout: 6000 };
const LISTING_EVERY = 1000; // milliseconds; ask for the list of rooms at most this often
const LISTING_AT_LEAST = 30_000; // people of a server that has crashed leave silently

const lines = new Map();

/** Return the line to an address; rooms share it. */
export function lineTo(url) {
  if (!lines.has(url)) lines.set(url, new Line(url));
  return lines.get(url);
}

/**
 * Events: "state" ({state, until}), "data" (what the server's application says), "rooms"
 * ({rooms}, after watchRooms()), "named" (`name` is another one). States: idle, connecting, online, waiting (until: time of
 * the next try), stopped (by the server's wish; retry() to go on).
 */
export class Line extends EventTarget {
  #url;
  #key = tab.get("key") ?? mark();
  /** How many elements show the list of rooms. */
  #watching = 0;
  #listing = 0;
  #timer = 0;
  socket = null;
  state = "idle";
  name = "";

  constructor(url) {
    super();
    this.#url = url;
    // Who has the key is the same person, even if the server still sees the former line.
    tab.set("key", this.#key);
  }

  /** Connect, unless that was done; where people choose their names, with one. */
  open(name = this.name) {
    const renamed = name !== this.name;
    this.name = name;
    if (!this.socket) this.#connect();
    else if (renamed) this.tell(this.#hello());
    // Only now: who hears of it joins, and the server has to know the name before.
    if (renamed) this.dispatchEvent(new Event("named"));
  }

  #connect() {
    const hello = () => this.#hello();
    const socket = (this.socket = new DWebSocket(this.#url, { ...OPTIONS, hello }));
    socket.addEventListener("open", () => this.#become("online"));
    socket.addEventListener("close", ({ willReconnect }) => willReconnect || this.#become("stopped"));
    socket.addEventListener("reconnecting", ({ delay }) => this.#become("waiting", Date.now() + delay));
    socket.addEventListener("data", ({ data }) => this.#hear(data));
    socket.addEventListener("message", ({ data }) => data?.chat === "rooms" && this.#askRooms(LISTING_EVERY));
    this.#become("connecting");
  }

  /** Tell the server's application something, if the line is up. */
  tell(data) {
    if (this.socket?.state === "open") this.socket.send(data);
  }

  /** Try now, and not later; after the server has ended the chat, too. */
  retry() {
    this.socket.close();
    this.socket.open();
    this.#become("connecting");
  }

  /** Note that a pause is over. */
  look() {
    if (this.state === "waiting" && this.socket.state === "connecting") this.#become("connecting");
  }

  /** Have "rooms" events from now on, until as many call unwatchRooms(). */
  watchRooms() {
    this.#watching += 1;
    this.#listing = 1;
    this.open();
    this.#askRooms(0);
  }

  unwatchRooms() {
    this.#watching -= 1;
    if (this.#watching) return;
    clearTimeout(this.#timer);
    this.#timer = this.#listing = 0;
  }

  #hello() {
    return { chat: "hello", key: this.#key, name: this.name };
  }

  #hear(data) {
    if (data?.chat === "rooms") {
      this.dispatchEvent(Object.assign(new Event("rooms"), { rooms: data.rooms }));
      this.#askRooms(LISTING_AT_LEAST);
    } else {
      this.dispatchEvent(Object.assign(new Event("data"), { data }));
    }
  }

  /** Ask for the list of rooms within a time: many changes are one question. */
  #askRooms(within) {
    const due = Date.now() + within;
    if (!this.#listing || (this.#timer && this.#listing <= due)) return;
    clearTimeout(this.#timer);
    this.#listing = due;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.tell({ chat: "rooms" });
    }, within);
  }

  #become(state, until = 0) {
    this.state = state;
    if (state === "online") this.#askRooms(0);
    this.dispatchEvent(Object.assign(new Event("state"), { state, until }));
  }
}
