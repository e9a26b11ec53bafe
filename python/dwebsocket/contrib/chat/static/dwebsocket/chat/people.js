// Who is here, as a list.

import { avatar, make } from "./text.js";
import { put } from "./words.js";

/** Fill a list with people, oneself first. */
export function listPeople(list, people, you) {
  const rows = people.map(({ name, who }) => {
    const row = make("li", { title: name }, avatar(name), make("bdi", {}, name));
    if (who === you?.who) {
      const tag = make("span", { className: "you" });
      put(tag, "you");
      row.append(tag);
    }
    return { row, name, mine: who === you?.who };
  });
  rows.sort((a, b) => b.mine - a.mine || a.name.localeCompare(b.name));
  list.replaceChildren(...rows.map(({ row }) => row));
}
