// What was written but not yet confirmed by the server. Survives a lost line and a reload.

import { mark, tab } from "./text.js";

const AGAIN = 1500; // milliseconds until the next try, where the server had no time

/**
 * One message is under way at a time, the others wait in order. A message keeps its id
 * when it has to be repeated, and pages know it by that and show it once.
 * Event "change": the list of waiting messages is another one.
 */
export class Outbox extends EventTarget {
  #shelf;
  #send;
  #flying = null;
  #paused = true;
  #timer = 0;

  /** `send` is called with one message, and confirms it by remove(). */
  constructor(room, send) {
    super();
    this.#send = send;
    this.#shelf = `outbox:${room}`;
    this.waiting = tab.get(this.#shelf, []);
  }

  add(text) {
    this.waiting.push({ id: mark(), text });
    this.#changed();
    this.#next();
  }

  /** Take out what the server has, or will never take. */
  remove(id) {
    const before = this.waiting.length;
    this.waiting = this.waiting.filter((message) => message.id !== id);
    if (this.#flying === id) this.#flying = null;
    if (this.waiting.length < before) this.#changed();
    this.#next();
  }

  /** The line is broken. */
  pause() {
    this.#paused = true;
    this.#flying = null;
  }

  /** The line is up, and what was missed is known. */
  resume() {
    this.#paused = false;
    this.#flying = null;
    this.#next();
  }

  /** Try the first one again in a while. */
  later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#flying = null;
      this.#next();
    }, AGAIN);
  }

  #next() {
    if (this.#paused || this.#flying || !this.waiting.length) return;
    this.#flying = this.waiting[0].id;
    this.#send(this.waiting[0]);
  }

  #changed() {
    tab.set(this.#shelf, this.waiting);
    this.dispatchEvent(new Event("change"));
  }
}
