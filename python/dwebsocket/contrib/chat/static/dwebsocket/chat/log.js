// The list of messages: grouped by person, with days, notices and a mark above new ones.

import { day, fresh, notice, pendingRow, retime, row } from "./rows.js";
import { isNew } from "./text.js";
import { put } from "./words.js";

const GROUP = 5 * 60_000; // messages of one person within this time (in ms) form a group
const MOST = 500; // rows kept on the page
const QUIET = 1000; // milliseconds; browsers tell a screen reader of changes a little later
const NEAR = 80; // a reader within so many pixels of the end counts as being at the end

export class Log {
  #past; #list; #pending; #scroll; #jump; #empty; #onUnread;
  #shown = new Set();
  #last = null; // the latest message, unless something else was shown since
  #day = "";
  #away = !document.hasFocus(); // a tab that was opened in the background has no event for it
  #unread = 0; // messages that came while the window was in the background
  #below = 0; // messages that came while the reader was further up
  #atEnd = true;
  #announcing = 0;

  /** `part` finds an element of the panel; `signal` removes all listeners. */
  constructor(part, onUnread, signal) {
    this.#onUnread = onUnread;
    this.#past = part("past");
    this.#past.ariaLive = "off"; // a screen reader would read all of the history out
    this.#list = part("log");
    this.#list.replaceChildren(); // if the panel was moved, all kept messages come again
    this.#pending = part("pending");
    this.#scroll = part("scroll");
    this.#jump = part("jump");
    this.#empty = part("empty");
    this.#scroll.addEventListener("scroll", () => this.#scrolled(), { signal });
    this.#jump.addEventListener("click", () => this.toEnd(), { signal });
    // Stay at the end when a phone's keyboard opens or a long text grows.
    const observer = new ResizeObserver(() => this.#atEnd && this.toEnd());
    observer.observe(this.#scroll);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      clearTimeout(this.#announcing);
    });
    addEventListener("blur", () => (this.#away = true), { signal });
    addEventListener("focus", () => this.#comeBack(), { signal });
    const looked = () => (document.hidden ? (this.#away = true) : this.#comeBack());
    document.addEventListener("visibilitychange", looked, { signal });
    document.addEventListener("chat:language", () => retime(this.#list), { signal });
  }

  /** Show a message, unless it is shown already; `live`: it was sent just now. */
  add(message, mine, live) {
    if (!isNew(this.#shown, message.id)) return;
    const at = new Date(message.at);
    this.#showDay(at);
    if (live && !mine) this.#count();
    const last = this.#last;
    const follows = last?.who === message.who && last.name === message.name && message.at - last.at < GROUP;
    this.#last = message;
    this.#append(row(message, mine, follows), mine && live);
  }

  /** Show a notice, such as that a person has joined or left. */
  notice(key, values) {
    this.#append(notice(key, values), false);
    this.#last = null;
  }

  /** Show the messages that wait to be sent, below all others. */
  showPending(messages, name, online) {
    const grown = messages.length > this.#pending.childElementCount;
    this.#pending.replaceChildren(...messages.map((message) => pendingRow(message, name, online)));
    this.#emptiness();
    if (grown || (messages.length && this.#atEnd)) this.toEnd();
  }

  /** Have a screen reader read what comes from now on: the history is there. */
  announce() {
    this.#announcing ||= setTimeout(() => (this.#past.ariaLive = "polite"), QUIET);
  }

  toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#below = 0;
    this.#jump.hidden = true;
  }

  #append(element, force) {
    this.#list.append(element);
    while (this.#list.childElementCount > MOST) this.#list.firstElementChild.remove();
    this.#emptiness();
    if (this.#atEnd || force) this.toEnd();
    else this.#showJump();
  }

  #emptiness() {
    this.#empty.hidden = this.#list.childElementCount + this.#pending.childElementCount > 0;
  }

  #showDay(at) {
    if (this.#day === at.toDateString()) return;
    this.#day = at.toDateString();
    this.#append(day(at), false);
    this.#last = null;
  }

  /** Count a message of another person that the reader may not have seen. */
  #count() {
    if (!this.#atEnd) this.#below += 1;
    if (!this.#away) return;
    if (!this.#unread) {
      this.#list.querySelector(".dwchat-fresh")?.remove();
      this.#append(fresh(), false);
      this.#last = null;
    }
    this.#unread += 1;
    this.#onUnread(this.#unread);
  }

  #comeBack() {
    this.#away = false;
    this.#unread = 0;
    this.#onUnread(0);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#atEnd) this.#below = 0;
    this.#showJump();
  }

  #showJump() {
    this.#jump.hidden = this.#atEnd;
    put(this.#jump, this.#below ? "unread" : "latest", { n: this.#below });
  }
}
