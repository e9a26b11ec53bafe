// The line that names the people who are writing just now.

import { put } from "./words.js";

const FADES_AFTER = 5_000;

export class Typing {
  #element;
  #people = new Map();

  constructor(element) {
    this.#element = element;
  }

  start({ who, name }) {
    clearTimeout(this.#people.get(who)?.timer);
    this.#people.set(who, { name, timer: setTimeout(() => this.stop(who), FADES_AFTER) });
    this.#show();
  }

  stop(who) {
    clearTimeout(this.#people.get(who)?.timer);
    if (this.#people.delete(who)) this.#show();
  }

  clear() {
    for (const who of [...this.#people.keys()]) this.stop(who);
  }

  #show() {
    const [a, b, more] = [...this.#people.values()].map(({ name }) => name);
    const key = more ? "typing-more" : b ? "typing-2" : a ? "typing-1" : "";
    put(this.#element, key, { a, b });
  }
}
