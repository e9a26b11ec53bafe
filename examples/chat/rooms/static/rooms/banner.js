// The state of the line: a word at the top, and a bar above the message box in trouble.

import { byId } from "./tools.js";
import { put } from "./words.js";

export class Banner {
  #bar = byId("bar");
  #text = byId("bar-text");
  #seconds = byId("bar-count");
  #button = byId("bar-action");
  #ticking = 0;
  #wasOnline = false;
  #act = () => {};

  /** `useHere` is called where the user takes the chat back from another window. */
  constructor(line, useHere) {
    this.line = line;
    this.useHere = useHere;
    line.addEventListener("state", ({ detail }) => this.#show(detail));
    this.#button.addEventListener("click", () => this.#act());
  }

  replaced() {
    this.#open("bar-replaced", "bar-here", this.useHere);
  }

  #show({ state, until }) {
    byId("state").dataset.state = state;
    put(byId("state-text"), state);
    clearInterval(this.#ticking);
    this.#seconds.textContent = "";
    if (state === "online") this.#wasOnline = true;
    if (state === "waiting") {
      this.#open("bar-waiting", "bar-now", () => this.line.check());
      this.#count(until);
      this.#ticking = setInterval(() => this.#count(until), 1000);
    } else if (state === "connecting" && this.#wasOnline) {
      this.#open("bar-connecting");
    } else {
      this.#bar.hidden = true;
    }
  }

  #open(words, button = "", act = () => {}) {
    put(this.#text, words);
    this.#button.hidden = !button;
    if (button) put(this.#button, button);
    this.#act = act;
    this.#bar.hidden = false;
  }

  #count(until) {
    const n = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    put(this.#seconds, "bar-seconds", { n });
  }
}
