// The dialog that asks for the visitor's name.

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
    // A visitor without a name cannot cancel: there is no room to go back to.
    const stay = (event) => this.#cancel.hidden && event.preventDefault();
    this.#dialog.addEventListener("cancel", stay, { signal });
  }

  /** Ask for the name, and call `answer` with it; the dialog stays open until hide(). */
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

  /** Close the dialog; return whether it was open. */
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
    this.#go.disabled = true; // until the server accepts or refuses the name
    this.#answer(name);
  }

  #complain(words) {
    this.#error.textContent = words;
    this.#field.ariaInvalid = words ? "true" : "false";
  }
}
