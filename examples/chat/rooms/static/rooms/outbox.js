// What was written but not yet confirmed by the server. Survives a lost line and a reload.

import { mark, tab } from "./tools.js";

/**
 * One message is under way at a time, the others wait in order. A message keeps its id
 * when it has to be repeated, and the server and the other pages know it by that.
 * Event "change": the list of waiting messages is another one.
 */
export class Outbox extends EventTarget {
  #line;
  #shelf;
  #flying = null;
  #timer = 0;

  constructor(line, room) {
    super();
    this.#line = line;
    this.#shelf = `outbox:${room}`;
    this.waiting = tab.get(this.#shelf, []);
    line.addEventListener("state", ({ detail }) => {
      if (detail.state !== "online") this.#flying = null;
    });
  }

  add(text) {
    this.waiting.push({ id: mark(), text });
    this.#changed();
    this.next();
  }

  /** Take out what the server has, or will never take; return it if it was waiting. */
  remove(id) {
    const found = this.waiting.find((message) => message.id === id);
    this.waiting = this.waiting.filter((message) => message.id !== id);
    if (this.#flying === id) this.#flying = null;
    if (found) this.#changed();
    this.next();
    return found;
  }

  /** Try the first one again in a while: the server found the page too fast. */
  later(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#flying = null;
      this.next();
    }, seconds * 1000);
  }

  /** Send the first one unless one is under way. */
  next() {
    if (this.#flying || !this.waiting.length) return;
    const { id, text } = this.waiting[0];
    if (this.#line.send({ type: "message", id, text })) this.#flying = id;
  }

  #changed() {
    tab.set(this.#shelf, this.waiting);
    this.dispatchEvent(new Event("change"));
  }
}
