// Messages that the server has not confirmed yet. They survive a lost line and a reload.

import { mark, tab } from "./text.js";

const AGAIN = 1500; // milliseconds until the next try, if the server was too busy
const TRIES = 3; // a message with which the line breaks so often is itself the reason

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
    if (this.#flying === id) this.#land();
    if (this.waiting.length < before) this.#changed();
    this.#next();
  }

  /** Stop sending, because the line is broken. */
  pause() {
    this.#paused = true;
    this.#land();
  }

  /** Stop sending, because the line broke with this message on the way. */
  broke(id) {
    // Else the message is not to blame, or the break has been counted: it was sent twice.
    if (this.#flying !== id) return;
    this.pause();
    const message = this.waiting.find((message) => message.id === id);
    if (!message) return;
    message.breaks = (message.breaks ?? 0) + 1;
    this.#keep();
  }

  /** The first message, if the line has broken with it again and again. */
  get hopeless() {
    return this.waiting[0]?.breaks >= TRIES ? this.waiting[0] : null;
  }

  /** Go on sending: the line is up, and the missed messages are there. */
  resume() {
    this.#paused = false;
    this.#land();
    this.#next();
  }

  /** Send the first message again after a while. */
  later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#land();
      this.#next();
    }, AGAIN);
  }

  /** No message is on the way any longer, nor waits for its next try. */
  #land() {
    clearTimeout(this.#timer);
    this.#flying = null;
  }

  #next() {
    if (this.#paused || this.#flying || !this.waiting.length) return;
    this.#flying = this.waiting[0].id;
    this.#send(this.waiting[0]);
  }

  #keep() { tab.set(this.#shelf, this.waiting); }

  #changed() {
    this.#keep();
    this.dispatchEvent(new Event("change"));
  }
}
