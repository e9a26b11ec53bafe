// The question for the name.

import { say } from "./words.js";

export class NameDialog {
  #dialog; #field; #error; #cancel; #go;
  #answer = () => {};

  constructor(part, signal) {
    this.#dialog = part("dialog");
    this.#field = part("name");
    this.#error = part("name-error");
    this.#cancel = part("name-cancel");
    this.#go = part("name-go");
    part("name-form").addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#cancel.addEventListener("click", () => this.#dialog.close(), { signal });
    // Without a name there is nothing to go back to.
    const stay = (event) => this.#cancel.hidden && event.preventDefault();
    this.#dialog.addEventListener("cancel", stay, { signal });
  }

  /** Ask, and call back with the name; the dialog stays open until hide(). */
  ask(answer, { name = "", error = "", mayCancel = false } = {}) {
    this.#answer = answer;
    this.#cancel.hidden = !mayCancel;
    this.#go.disabled = false;
    this.#field.value = name;
    this.#complain(error);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#field.focus();
    this.#field.select();
  }

  /** Return whether it was open. */
  hide() {
    const { open } = this.#dialog;
    if (open) this.#dialog.close();
    return open;
  }

  #submit(event) {
    event.preventDefault();
    const name = this.#field.value.trim();
    if (!name) return this.#complain(say("name_empty"));
    this.#complain("");
    this.#go.disabled = true; // until the server has let the page in, or not
    this.#answer(name);
  }

  #complain(words) {
    this.#error.textContent = words;
    this.#field.ariaInvalid = words ? "true" : "false";
  }
}
