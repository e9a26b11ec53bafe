// Who is writing just now.

import { byId } from "./tools.js";
import { put } from "./words.js";

const FADES_AFTER = 5_000;

export class Typing {
  #timers = new Map();

  start(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => this.stop(name), FADES_AFTER));
    this.#show();
  }

  stop(name) {
    clearTimeout(this.#timers.get(name));
    if (this.#timers.delete(name)) this.#show();
  }

  clear() {
    for (const name of [...this.#timers.keys()]) this.stop(name);
  }

  #show() {
    const names = [...this.#timers.keys()];
    const element = byId("typing");
    if (names.length > 2) put(element, "typing-more");
    else if (names.length) put(element, `typing-${names.length}`, { a: names[0], b: names[1] });
    else put(element, "idle");
  }
}
