// The messages: grouped by person, with days, notices and what is new.

import { avatar, byId, hue, isJumbo, linked, make } from "./tools.js";
import { locale, put, say } from "./words.js";

const GROUP = 5 * 60_000; // within this time, messages of one person stand together
const MOST = 500; // rows kept on the page
const NEAR = 80; // pixels from the end that still count as being there

export class Log {
  #list = byId("log");
  #pending = byId("pending");
  #scroll = byId("scroll");
  #jump = byId("jump");
  #shown = new Set();
  #last = null; // the message that the next one may follow
  #away = false;
  #unread = 0; // while the window was not looked at
  #below = 0; // while the reader was further up
  #atEnd = true;

  constructor(onUnread) {
    this.onUnread = onUnread;
    this.#scroll.addEventListener("scroll", () => this.#scrolled());
    this.#jump.addEventListener("click", () => this.toEnd());
    // The keyboard of a phone comes up, a long text grows: stay at the end.
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(this.#scroll);
    addEventListener("blur", () => this.#leave());
    addEventListener("focus", () => this.#comeBack());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#leave() : this.#comeBack()));
    document.addEventListener("chat:language", () => this.#retime());
  }

  has(id) {
    return this.#shown.has(id);
  }

  /** Show messages that came at once, for instance those of the time before. */
  fill(messages, you) {
    byId("past").ariaBusy = "true";
    for (const message of messages) this.add(message, you, false);
    byId("past").ariaBusy = "false";
  }

  /** Show a message, unless it is there already. */
  add(message, you, live = true) {
    if (this.#shown.has(message.id)) return;
    this.#shown.add(message.id);
    const mine = message.name === you;
    const at = new Date(message.at);
    this.#day(at);
    if (live && !mine) this.#count();
    const follows =
      this.#last?.name === message.name && message.at - this.#last.at < GROUP && this.#last.day === at.toDateString();
    this.#last = { name: message.name, at: message.at, day: at.toDateString() };
    this.#append(row(message, mine, follows), mine);
  }

  notice(key, name) {
    const text = make("span");
    put(text, key, { name });
    const element = make("li", { className: "notice" }, text, time(new Date()));
    element.dataset.about = `${key} ${name}`;
    // Somebody whose line broke for a moment: gone and back again is no news.
    const before = this.#list.lastElementChild;
    if (key === "joined" && before?.dataset.about === `left-room ${name}`) before.remove();
    else this.#append(element, false);
    this.#last = null;
  }

  /** Show what waits to be sent below everything else. */
  showPending(messages, you, online) {
    const rows = messages.map(({ id, text }) => {
      const element = row({ id, text, name: you, at: Date.now() }, true, true);
      const status = element.querySelector("time");
      const words = make("span", { className: "when" });
      put(words, online ? "sending" : "not-sent");
      status.replaceWith(words);
      return element;
    });
    this.#pending.replaceChildren(...rows);
    this.#emptiness();
    if (rows.length) this.toEnd();
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
    byId("empty").hidden = this.#list.childElementCount + this.#pending.childElementCount > 0;
  }

  #day(at) {
    if (this.#last?.day === at.toDateString() || this.#list.dataset.day === at.toDateString()) return;
    this.#list.dataset.day = at.toDateString();
    const element = make("li", { className: "day" }, make("time", { dateTime: at.toISOString() }, dayWords(at)));
    this.#append(element, false);
    this.#last = null;
  }

  /** Count a message of somebody else's that the reader may not have seen. */
  #count() {
    if (!this.#atEnd) this.#below += 1;
    if (!this.#away) return;
    if (!this.#unread) {
      this.#list.querySelector(".fresh")?.remove();
      const words = make("span");
      put(words, "fresh");
      this.#append(make("li", { className: "fresh" }, words), false);
      this.#last = null;
    }
    this.#unread += 1;
    this.onUnread(this.#unread);
  }

  #leave() {
    this.#away = true;
  }

  #comeBack() {
    this.#away = false;
    this.#unread = 0;
    this.onUnread(0);
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

  #retime() {
    for (const element of this.#list.querySelectorAll("time")) {
      const at = new Date(element.dateTime);
      element.textContent = element.closest(".day") ? dayWords(at) : clock(at);
    }
  }
}

function row({ name, text, at }, mine, follows) {
  const element = make("li", { className: `message${mine ? " mine" : ""}${follows ? " follow" : ""}` });
  element.style.setProperty("--hue", hue(name));
  const who = make("bdi", { className: follows || mine ? "hidden" : "name" }, name);
  const when = time(new Date(at));
  if (!follows && !mine) element.append(avatar(name));
  if (follows) {
    when.className = "when";
    element.append(who);
  } else {
    element.append(make("div", { className: "meta" }, who, when));
  }
  const bubble = make("div", { className: isJumbo(text) ? "bubble jumbo" : "bubble", dir: "auto" }, ...linked(text));
  element.append(make("div", { className: "row" }, bubble, ...(follows ? [when] : [])));
  return element;
}

const clock = (at) => at.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });

const time = (at) => make("time", { dateTime: at.toISOString(), title: at.toLocaleString(locale()) }, clock(at));

function dayWords(at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return say("today");
  if (at.toDateString() === yesterday.toDateString()) return say("yesterday");
  return at.toLocaleDateString(locale(), { weekday: "long", day: "numeric", month: "long" });
}
