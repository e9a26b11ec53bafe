// The pages of a table: where each of them begins is known from the one before.

import { words } from "./words.js";
import { write } from "./table.js";

export class Pager {
  #element; #back; #on; #number;
  #before = []; // where the pages before this one begin
  #next = "";
  after = "";

  /** `turn` is called when the reader has turned the page. */
  constructor(element, turn) {
    this.#element = element;
    this.#back = element.querySelector('[data-go="back"]');
    this.#on = element.querySelector('[data-go="on"]');
    this.#number = element.querySelector('[data-part="number"]');
    this.#back.addEventListener("click", () => this.#go(this.#before.pop(), turn));
    this.#on.addEventListener("click", () => {
      if (!this.#next) return;
      this.#before.push(this.after);
      this.#go(this.#next, turn);
    });
  }

  /** Go back to the first page. */
  reset() {
    this.#before = [];
    this.after = this.#next = "";
  }

  /** Show where the next page begins; "": this page is the last. */
  show(next) {
    this.#next = next;
    this.#element.hidden = !next && !this.#before.length;
    // Not disabled, which would take the focus away from a reader who turns to the last page.
    this.#back.setAttribute("aria-disabled", String(!this.#before.length));
    this.#on.setAttribute("aria-disabled", String(!next));
    write(this.#number, words("page", { number: this.#before.length + 1 }));
  }

  #go(after, turn) {
    if (after === undefined) return;
    this.after = after;
    this.#next = "";
    turn();
  }
}
