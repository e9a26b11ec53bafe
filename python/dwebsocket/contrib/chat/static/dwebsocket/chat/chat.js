/**
 * <dwebsocket-chat>: the panel of a room, as {% chat_room "lobby" %} renders it.
 *
 * `element.room` and `element.line` dispatch the events of room.js and line.js; the element
 * dispatches "unread" ({count}), which bubbles. More in docs/contrib.md.
 */

import { Banner } from "./banner.js";
import { Composer } from "./composer.js";
import { lineTo } from "./line.js";
import { Log } from "./log.js";
import { NameDialog } from "./name.js";
import { People } from "./people.js";
import { Room } from "./room.js";
import { browser, tab } from "./text.js";
import { Typing } from "./typing.js";
import { say, translate } from "./words.js";

const COMPLAIN_FOR = 3000; // milliseconds; for a message that is sent again by itself
// Refusals that another name would not change.
const NOT_THE_NAME = new Set(["forbidden", "room_full", "rooms_full", "too_many"]);

export class ChatElement extends HTMLElement {
  #controller; #log; #composer; #complaint; #dialog; #typing; #people;
  #asking = false; // whether the first question for the name is open
  room = null;
  line = null;

  connectedCallback() {
    translate(this);
    if (!this.hasAttribute("may-join")) return;
    const part = (name) => this.querySelector(`[data-part="${name}"]`);
    const { signal } = (this.#controller = new AbortController());
    this.line = lineTo(this.getAttribute("url"));
    this.room ??= new Room(this.line, this.getAttribute("room"), this.getAttribute("prefix"));
    this.#log = new Log(part, (count) => this.#unread(count), signal);
    this.#typing = new Typing(part("typing"));
    this.#people = new People(this, part, () => this.rename(), signal);
    this.#complaint = part("complaint");
    new Banner(part, this.line, signal);
    if (part("composer")) this.#composer = this.#compose(part, signal);
    if (part("dialog")) this.#dialog = new NameDialog(part, signal);
    this.#listen(signal);
    // A script that exchanges the panel may put the new one in before it takes the old one out,
    // which leaves the room that both have.
    queueMicrotask(() => signal.aborted || this.#begin());
  }

  disconnectedCallback() {
    this.#controller?.abort();
    this.room?.leave();
  }

  /** Ask for another name, on a site where visitors choose their names. */
  rename() {
    const name = this.room.you?.name ?? "";
    const answer = (wanted) => (wanted === name ? this.#dialog.hide() : this.#enter(wanted));
    this.#people.close();
    this.#dialog?.ask(answer, { name, mayCancel: true });
  }

  #begin() {
    const name = this.line.name || tab.get("name");
    if (!this.#dialog) this.room.enter();
    else if (name) this.#enter(name);
    else {
      this.#asking = true;
      this.#dialog.ask((wanted) => this.#enter(wanted), { name: browser.get("name") ?? "" });
    }
  }

  #enter(name) {
    this.#asking = false;
    tab.set("name", name);
    browser.set("name", name);
    this.room.enter(name);
  }

  #compose(part, signal) {
    const actions = { send: (text) => this.room.say(text), typing: () => this.room.typing() };
    return new Composer(part, this.room.name, actions, signal);
  }

  #listen(signal) {
    const { room, line } = this;
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal });
    on(line, "state", ({ state }) => {
      if (state !== "online") this.#typing.clear();
      this.#showPending();
    });
    // Another room on the page has asked for the name, too: one answer is enough.
    on(line, "named", () => this.#asking && this.#enter(line.name));
    on(room, "change", () => this.#showPending());
    on(room, "message", ({ message, live }) => {
      this.#typing.stop(message.who);
      this.#log.add(message, message.who === room.you?.who, live);
    });
    on(room, "people", ({ people }) => this.#people.show(people, room.you));
    on(room, "came", ({ person: { name } }) => this.#log.notice("joined", { name }));
    on(room, "went", ({ person: { name } }) => this.#log.notice("left-room", { name }));
    on(room, "renamed", ({ person: { name }, before }) => this.#log.notice("renamed", { before, name }));
    on(room, "typing", ({ person }) => this.#typing.start(person));
    on(room, "ready", () => this.#ready());
    on(room, "refused", (event) => this.#refused(event));
    on(room, "declined", (event) => this.#declined(event));
    this.#showPending();
  }

  #ready() {
    this.#log.announce();
    this.#complain("");
    this.#showPending();
    // A reconnection must not move the focus.
    if (this.#dialog?.hide()) this.#composer?.focus();
  }

  #refused({ code, suggestion }) {
    const error = say(code);
    if (!this.#dialog || NOT_THE_NAME.has(code)) {
      this.#dialog?.hide();
      return this.#complain(error);
    }
    const name = suggestion || this.line.name;
    // A code that is not the chat's own may concern the name, or not.
    const mayCancel = !code.startsWith("name_");
    if (mayCancel) this.#complain(error);
    this.#dialog.ask((wanted) => this.#enter(wanted), { name, error, mayCancel });
  }

  #declined({ code, text, again }) {
    this.#complain(say(code));
    if (again) setTimeout(() => this.#complain(""), COMPLAIN_FOR);
    else this.#composer?.giveBack(text);
  }

  #complain(words) { this.#complaint.textContent = words; }

  #showPending() {
    const { room, line } = this;
    this.#log.showPending(room.waiting, room.you?.name ?? line.name, line.state === "online");
  }

  #unread(count) {
    this.dispatchEvent(Object.assign(new Event("unread", { bubbles: true }), { count }));
  }
}

customElements.define("dwebsocket-chat", ChatElement);
