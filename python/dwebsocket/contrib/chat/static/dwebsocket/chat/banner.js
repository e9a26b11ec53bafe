// The state of the line: a word at the top; in trouble also a bar above the message box.

import { put } from "./words.js";

export class Banner {
  #line; #state; #stateText; #bar; #text; #seconds; #button; #conversation;
  #ticking = 0;
  #wasOnline = false;

  constructor(part, line, signal) {
    this.#line = line;
    this.#state = part("state");
    this.#stateText = part("state-text");
    this.#bar = part("bar");
    this.#text = part("bar-text");
    this.#seconds = part("bar-count");
    this.#button = part("bar-action");
    this.#conversation = part("scroll");
    line.addEventListener("state", ({ state, until }) => this.#show(state, until), { signal });
    this.#button.addEventListener("click", () => line.retry(), { signal });
    signal.addEventListener("abort", () => clearInterval(this.#ticking));
    this.#show(line.state, 0);
  }

  #show(state, until) {
    this.#state.dataset.state = state;
    put(this.#stateText, state === "idle" ? "" : state);
    clearInterval(this.#ticking);
    this.#seconds.textContent = "";
    const focused = document.activeElement === this.#button;
    if (state === "online") this.#wasOnline = true;
    if (state === "waiting") {
      this.#open("bar-waiting", "bar-now");
      this.#count(until);
      this.#ticking = setInterval(() => this.#count(until), 1000);
    } else if (state === "connecting" && this.#wasOnline) {
      this.#open("bar-connecting");
    } else if (state === "stopped") {
      this.#open("bar-stopped", "bar-again");
    } else {
      this.#bar.hidden = true;
    }
    // A button that hides must not lose the focus to nowhere; in the message box, a second
    // press of its key would send what is there.
    if (focused && !this.#button.checkVisibility()) this.#conversation.focus();
  }

  #open(words, button = "") {
    put(this.#text, words);
    this.#button.hidden = !button;
    if (button) put(this.#button, button);
    this.#bar.hidden = false;
  }

  #count(until) {
    put(this.#seconds, "bar-seconds", { n: Math.max(1, Math.ceil((until - Date.now()) / 1000)) });
    this.#line.look();
  }
}
