// The lists at the side: rooms, and who is here.

import { avatar, byId, make } from "./tools.js";
import { put } from "./words.js";

export function showPeople(people, you) {
  const others = people.filter((name) => name !== you);
  others.sort((a, b) => a.localeCompare(b));
  const rows = [...(people.includes(you) ? [you] : []), ...others].map((name) => {
    const row = make("li", { title: name }, avatar(name), make("bdi", {}, name));
    if (name === you) {
      const tag = make("span", { className: "you" });
      put(tag, "you");
      row.append(tag);
    }
    return row;
  });
  byId("people").replaceChildren(...rows);
  byId("people-count").textContent = people.length || "";
  if (people.length) put(byId("here"), "people-here", { n: people.length });
  else byId("here").textContent = "";
}

export function showRooms(rooms, here) {
  const listed = rooms.some(({ name }) => name === here) ? rooms : [{ name: here, people: 0 }, ...rooms];
  const rows = listed.map(({ name, people }) => {
    const link = make("a", { href: roomAddress(name) }, make("bdi", {}, name));
    if (name === here) link.setAttribute("aria-current", "page");
    if (people) {
      link.append(make("span", { className: "count", ariaHidden: "true" }, String(people)));
      const spoken = make("span", { className: "hidden" });
      put(spoken, "people-here", { n: people });
      link.append(spoken);
    }
    return make("li", {}, link);
  });
  byId("rooms").replaceChildren(...rows);
}

/** Return the address of a room's page; `name` may be what somebody typed. */
export function roomAddress(name) {
  const room = name.normalize("NFC").trim().toLowerCase().replace(/\s+/g, "-");
  return new URL(`../${encodeURIComponent(room)}/`, location.href).href;
}

export const isRoomName = (name) => /^[\p{L}\p{M}\p{N}_\s-]*[\p{L}\p{N}][\p{L}\p{M}\p{N}_\s-]*$/u.test(name);
