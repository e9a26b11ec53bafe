/**
 * <dwebsocket-chat-rooms>: the list of rooms, as {% chat_rooms "room" %} renders it.
 */

import { lineTo } from "./line.js";
import { make } from "./text.js";
import { put, say, translate } from "./words.js";

const ANY = "any-room"; // a placeholder for the room in the address that the server made

const LONGEST = 32; // characters

// What clean_room() in text.py removes: what is no character, and what nobody can see.
const UNSEEN = /(?![\t\n])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Default_Ignorable_Code_Point}\u2800]/gu;
const NAME = /^[\p{L}\p{M}\p{N}_-]*[\p{L}\p{N}][\p{L}\p{M}\p{N}_-]*$/u;

/** Return a room's name as used in addresses, by the rules of the server; "" if there is none. */
export function roomName(typed) {
  const seen = typed.normalize("NFC").replace(UNSEEN, "").trim();
  // In lower case, the name may need fewer code points.
  const name = seen.toLowerCase().replace(/\s+/g, "-").normalize("NFC");
  return NAME.test(name) && [...name].length <= LONGEST ? name : "";
}

export class RoomsElement extends HTMLElement {
  #controller;
  #line;

  connectedCallback() {
    translate(this);
    const { signal } = (this.#controller = new AbortController());
    this.#line = lineTo(this.getAttribute("url"));
    this.#line.addEventListener("rooms", ({ rooms }) => this.#show(rooms), { signal });
    this.#line.watchRooms();
    const field = this.querySelector("input");
    field?.addEventListener("input", () => field.setCustomValidity(""), { signal });
    this.querySelector("form")?.addEventListener("submit", (event) => this.#open(event, field), { signal });
  }

  disconnectedCallback() {
    this.#controller.abort();
    this.#line.unwatchRooms();
  }

  #address(room) { return this.getAttribute("address").replace(ANY, encodeURIComponent(room)); }

  #open(event, field) {
    event.preventDefault();
    if (!field.value.trim()) return;
    const room = roomName(field.value);
    if (room) return location.assign(this.#address(room));
    field.setCustomValidity(say("room-name"));
    field.reportValidity();
  }

  #show(rooms) {
    const here = this.getAttribute("current");
    const listed = !here || rooms.some(({ name }) => name === here) ? rooms : [{ name: here, people: 0 }, ...rooms];
    const list = this.querySelector("ul");
    const focused = list.contains(document.activeElement) && document.activeElement.dataset.room;
    list.replaceChildren(...listed.map((room) => this.#row(room, here)));
    // A change of the list must not take the focus from a reader who moves through it.
    if (focused) [...list.querySelectorAll("a")].find((link) => link.dataset.room === focused)?.focus();
  }

  #row({ name, people }, here) {
    const link = make("a", { href: this.#address(name) }, make("bdi", {}, name));
    link.dataset.room = name;
    if (name === here) link.setAttribute("aria-current", "page");
    if (people) {
      link.append(make("span", { className: "dwchat-count", ariaHidden: "true" }, String(people)));
      const spoken = make("span", { className: "dwchat-hidden" });
      put(spoken, "people-here", { n: people });
      link.append(spoken);
    }
    return make("li", {}, link);
  }
}

customElements.define("dwebsocket-chat-rooms", RoomsElement);
