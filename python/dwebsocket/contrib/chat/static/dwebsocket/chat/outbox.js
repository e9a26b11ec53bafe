// Messages that the server has not confirmed yet. They survive a lost line and a reload.

import { mark, tab } from "./text.js";

const AGAIN = 1500; // milliseconds until the next try, if the server was too busy

/**
 * One message is sent at a time; the others wait in order. A message that is sent again
 * keeps its id, so that pages recognize it and show it once.
 * Event "change": the list of waiting messages has changed.
 */
export class Outbox extends EventTarget {
  #shelf;
  #send;
  #flying = null;
  #paused = true;
  #timer = 0;

  /** `send` is called with a message; it calls remove() to confirm the message. */
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

  /** Remove a message that the server has, or will never take. */
  remove(id) {
    const before = this.waiting.length;
    this.waiting = this.waiting.filter((message) => message.id !== id);
    if (this.#flying === id) this.#flying = null;
    if (this.waiting.length < before) this.#changed();
    this.#next();
  }

  /** Stop sending, because the line is broken. */
  pause() {
    this.#paused = true;
    this.#flying = null;
  }

  /** Go on sending: the line is up, and the missed messages are there. */
  resume() {
    this.#paused = false;
    this.#flying = null;
    this.#next();
  }

  /** Send the first message again after a while. */
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
