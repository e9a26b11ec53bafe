// The list of people: a column beside a wide conversation; over a narrow one, it unfolds.

import { avatar, make } from "./text.js";
import { put } from "./words.js";

export class People {
  #root; #list; #button; #rename;

  /** `rename` is called when the visitor wants to change the name. */
  constructor(root, part, rename, signal) {
    this.#root = root;
    this.#list = part("people");
    this.#button = part("here");
    this.#rename = root.hasAttribute("asks-name") ? rename : null;
    this.#button.addEventListener("click", () => this.#toggle(), { signal });
    const away = ({ target }) => this.#isUnfolded && !this.#touches(target) && this.close();
    root.addEventListener("pointerdown", away, { signal });
    const key = (event) => {
      if (event.key !== "Escape" || !this.#isUnfolded) return;
      this.close();
      this.#button.focus();
    };
    root.addEventListener("keydown", key, { signal });
    const observer = new ResizeObserver(() => this.#tell());
    observer.observe(root);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Show the people, the visitor first. */
  show(people, you) {
    const mine = ({ who }) => who === you?.who;
    const sorted = [...people].sort((a, b) => mine(b) - mine(a) || a.name.localeCompare(b.name));
    const focused = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...sorted.map((person) => this.#row(person, mine(person))));
    // A change of the list must not take the focus from "Change", its only control.
    if (focused) this.#list.querySelector("button")?.focus();
    put(this.#button, "people-here", { n: people.length });
    this.#button.hidden = false;
    this.#tell();
  }

  /** Fold the list, if it is unfolded over the conversation. */
  close() {
    if (this.#isUnfolded) delete this.#root.dataset.people;
    this.#tell();
  }

  get #isUnfolded() { return this.#root.dataset.people === "shown"; }

  #touches(target) { return this.#list.contains(target) || this.#button.contains(target); }

  #row({ name }, mine) {
    const row = make("li", { title: name }, avatar(name), make("bdi", {}, name));
    if (!mine) return row;
    const tag = make("span", { className: "dwchat-you" });
    put(tag, "you");
    row.append(tag);
    if (this.#rename) {
      const button = make("button", { type: "button", className: "dwchat-rename" });
      put(button, "rename");
      button.addEventListener("click", this.#rename);
      row.append(button);
    }
    return row;
  }

  #toggle() {
    this.#root.dataset.people = this.#list.checkVisibility() ? "hidden" : "shown";
    this.#tell();
  }

  #tell() { this.#button.ariaExpanded = String(this.#list.checkVisibility()); }
}
