// The form in which messages are written. The draft survives a reload.

import { tab } from "./text.js";
import { put } from "./words.js";

const TYPING_EVERY = 3_000; // milliseconds between two "typing" notices, at least

export class Composer {
  #field; #button; #left; #complaint;
  #draft;
  #told = 0;
  #actions;

  /** `actions` has the functions send(text) and typing(). */
  constructor(part, room, actions, signal) {
    this.#field = part("text");
    this.#button = part("send");
    this.#left = part("left");
    this.#complaint = part("complaint");
    this.#actions = actions;
    this.#draft = `draft:${room}`;
    this.#field.value = tab.get(this.#draft, "");
    this.#field.addEventListener("input", () => this.#changed(true), { signal });
    this.#field.addEventListener("keydown", (event) => this.#key(event), { signal });
    const submit = (event) => {
      event.preventDefault();
      this.#send();
    };
    part("composer").addEventListener("submit", submit, { signal });
    this.#changed(false);
  }

  /** Take the focus, except on devices where a keyboard would cover the messages. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  /** Put back a text that the server refused, before what is typed meanwhile. */
  giveBack(text) {
    const typed = this.#field.value;
    this.#field.value = typed.trim() ? `${text}\n${typed}` : text;
    this.#changed(false);
  }

  #key(event) {
    // While a word is being composed (Chinese, Japanese, Korean), Enter confirms the word;
    // Safari reports this by the key code 229.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.#field.value.trim();
    if (!text) return;
    this.#field.value = "";
    this.#told = 0;
    this.#complaint.textContent = "";
    this.#changed(false);
    this.#actions.send(text);
    this.#field.focus();
  }

  #changed(byHand) {
    const text = this.#field.value;
    tab.set(this.#draft, text);
    this.#button.disabled = !text.trim();
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    const left = this.#field.maxLength - text.length;
    put(this.#left, left <= 100 ? "left" : "", { n: left });
    if (byHand && text.trim() && Date.now() - this.#told > TYPING_EVERY) {
      this.#told = Date.now();
      this.#actions.typing();
    }
  }
}
