// Asks before connections are closed.

import { words } from "./words.js";
import { write } from "./table.js";

export class Confirm {
  #dialog; #form; #row;

  /** `close` is called with the row's data and `{ all, again }`. */
  constructor(dialog, close) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "close") return;
      const { what, again } = this.#form.elements;
      close(this.#row, { all: what.value === "all", again: again.checked });
    });
  }

  get isOpen() { return this.#dialog.open; }

  ask(row) {
    this.#row = row;
    this.#form.reset();
    const part = (name) => this.#dialog.querySelector(`[data-part="${name}"]`);
    const user = row.name ?? words("nobody");
    const address = row.address || words("unknown");
    write(part("about"), words("about", { user, path: row.path, address }));
    part("every").hidden = row.user === null;
    write(part("all-of"), words("allOf", { user }));
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    part("cancel").focus();
  }

  cancel() {
    if (this.#dialog.open) this.#dialog.close("cancel");
  }
}
