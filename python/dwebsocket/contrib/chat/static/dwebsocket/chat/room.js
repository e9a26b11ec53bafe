// A room without a face: what is said, who is here, and what is on its way there.

import { DWebSocket } from "../dwebsocket.js";
import { Outbox } from "./outbox.js";

// Milliseconds. Who is back within this time was not away: a page was loaded again, or a
// server was stopped, which all the others have seen a moment before they lost it, too.
const AWAY = 5000;
const BACK_AGAIN = 30_000; // after a break of one's own, the others come back without notice
const PATIENCE = 6000; // for the history
const BROKEN = new Set(["disconnected", "offline", "closed", "left"]);
const AGAIN = new Set(["too_fast", "too_many", "unavailable", "timeout"]);

const event = (type, fields) => Object.assign(new Event(type), fields);

// A view of the site may send to a room's group, or be in it, past the chat.
const isPerson = (info) => typeof info?.who === "string" && typeof info.name === "string";
const isMessage = (data) => typeof data?.id === "string" && typeof data.text === "string";

/**
 * Events: "you" ({name, who}), "message" ({message, live}), "people" ({people}: each with
 * name and who), "came" and "went" ({person}), "renamed" ({person, before}), "typing"
 * ({person}), "ready" (all that was missed is there), "refused" ({code, suggestion}: not let in), "declined" ({code, text}:
 * a message of one's own), "change" (of `waiting`, what is on its way).
 */
export class Room extends EventTarget {
  #line; #group; #outbox;
  #members = new Map();
  /** So many of the messages to come are old ones. */
  #missed = 0;
  /** What comes while the whole history is on its way; null otherwise. */
  #held = null;
  #suggestion = "";
  /** Those who went just now, by mark: {person, timer}. */
  #leaving = new Map();
  /** Marks of those who were here before a break. */
  #expected = new Set();
  #expecting = 0;
  #wanted = false;
  you = null;

  constructor(line, name, prefix) {
    super();
    this.#line = line;
    this.name = name;
    this.groupName = `${prefix}.${name}`;
    this.#outbox = new Outbox(name, (message) => this.#send(message));
    this.#outbox.addEventListener("change", () => this.dispatchEvent(event("change")));
    line.addEventListener("state", ({ state }) => this.#lineBecame(state));
    line.addEventListener("data", ({ data }) => data?.room === name && this.#told(data));
  }

  /** Who is here, each person once. */
  get people() {
    return [...new Map([...this.#members.values()].map((person) => [person.who, person])).values()];
  }

  /** What was written and has not arrived. */
  get waiting() { return this.#outbox.waiting; }

  /** Go in, under a name where people choose theirs; again, under another name. */
  async enter(name = "") {
    this.#suggestion = "";
    this.#outbox.pause(); // until the room is entered, nothing said would be taken
    if (this.#group && this.#wanted) await this.#group.leave().catch(() => {});
    this.#line.open(name);
    this.#group ??= this.#listen(this.#line.socket.group(this.groupName));
    this.#wanted = true;
    this.#join();
  }

  /** Go out. */
  leave() {
    if (this.#wanted) this.#group.leave().catch(() => {});
    this.#wanted = false;
    this.#outbox.pause();
  }

  say(text) { this.#outbox.add(text); }

  /** Show the others that one is writing. */
  typing() { this.#line.tell({ chat: "typing", room: this.name }); }

  #join() {
    const since = this.#group.position ?? DWebSocket.START;
    this.#group.join({ since }).catch(() => {}); // the group's "error" event tells
  }

  #lineBecame(state) {
    if (state === "online") {
      // A line that was shut by hand has forgotten those who had not come in yet.
      if (this.#wanted && this.#group.state === "out") this.#join();
      return;
    }
    // Whether they have gone, or only the server, shows when the line is up again.
    for (const { person, timer } of this.#leaving.values()) {
      clearTimeout(timer);
      this.#expected.add(person.who);
    }
    this.#leaving.clear();
  }

  #listen(group) {
    group.addEventListener("joined", ({ missed }) => this.#joined(missed));
    group.addEventListener("message", (message) => this.#message(message));
    group.addEventListener("reset", () => this.#askHistory());
    group.addEventListener("join", ({ member }) => this.#came(member));
    group.addEventListener("leave", ({ member }) => this.#went(member));
    group.addEventListener("error", ({ error, willRetry }) => willRetry || this.#refused(error));
    return group;
  }

  /** What the server's application says of this room. */
  #told(data) {
    if (data.chat === "you") {
      this.you = { name: data.name, who: data.who };
      this.dispatchEvent(event("you", this.you));
    } else if (data.chat === "suggestion") {
      this.#suggestion = data.name;
    } else if (data.chat === "history") {
      this.#fill(data.messages);
    }
  }

  async #joined(missed) {
    this.#missed = missed;
    const before = this.people;
    // The answer comes after what was missed.
    const members = await this.#group.members().catch(() => null);
    if (!members) {
      // The line is up, and only this question was not answered: what waits need not wait for it.
      if (this.#group.state === "joined" && !this.#held) this.#ready();
      return;
    }
    const here = members.filter(({ info }) => isPerson(info));
    this.#members = new Map(here.map(({ id, info }) => [id, info]));
    for (const { who } of before) this.#expected.add(who);
    for (const { who } of this.people) this.#expected.delete(who);
    clearTimeout(this.#expecting);
    this.#expecting = setTimeout(() => this.#expected.clear(), BACK_AGAIN);
    this.#showPeople();
    if (!this.#held) this.#ready();
  }

  #ready() {
    this.dispatchEvent(event("ready"));
    this.#outbox.resume();
  }

  #message({ data, offset }) {
    if (data?.typing && isPerson(data)) return this.dispatchEvent(event("typing", { person: data }));
    const live = !(offset && this.#missed > 0 && this.#missed--);
    if (!isMessage(data)) return;
    if (this.#held) this.#held.push(data);
    else this.#show(data, live);
  }

  #show(message, live) {
    this.#outbox.remove(message.id);
    this.dispatchEvent(event("message", { message, live }));
  }

  /** The server remembers another past than this page: after a restart, say. */
  #askHistory() {
    const held = (this.#held = []);
    this.#line.tell({ chat: "history", room: this.name });
    // Should the answer not come, what was said now is shown without what was before.
    setTimeout(() => this.#held === held && this.#fill([]), PATIENCE);
  }

  #fill(messages) {
    const held = this.#held ?? [];
    this.#held = null;
    for (const message of messages) this.#show(message, false);
    for (const message of held) this.#show(message, true);
    this.#ready();
  }

  #came({ id, info }) {
    if (!isPerson(info)) return;
    const isNew = !this.people.some(({ who }) => who === info.who);
    this.#members.set(id, info);
    this.#showPeople();
    const left = this.#leaving.get(info.who);
    clearTimeout(left?.timer);
    this.#leaving.delete(info.who);
    if (this.#expected.delete(info.who) || !isNew) return;
    if (!left) this.dispatchEvent(event("came", { person: info }));
    else if (left.person.name !== info.name) {
      this.dispatchEvent(event("renamed", { person: info, before: left.person.name }));
    }
  }

  #went({ id, info }) {
    if (!isPerson(info)) return;
    this.#members.delete(id);
    const { who } = info;
    if (this.people.some((person) => person.who === who)) return;
    this.#showPeople();
    clearTimeout(this.#leaving.get(who)?.timer);
    const timer = setTimeout(() => {
      this.#leaving.delete(who);
      this.dispatchEvent(event("went", { person: info }));
    }, AWAY);
    this.#leaving.set(who, { person: info, timer });
  }

  #showPeople() { this.dispatchEvent(event("people", { people: this.people })); }

  #refused({ code }) {
    this.#wanted = false;
    this.dispatchEvent(event("refused", { code, suggestion: this.#suggestion }));
  }

  async #send({ id, text }) {
    try {
      await this.#group.send({ id, text }, { queue: false });
      this.#outbox.remove(id);
    } catch ({ code }) {
      if (BROKEN.has(code)) return this.#outbox.pause();
      // Perhaps it was published: it keeps its id, and is shown once.
      const again = AGAIN.has(code);
      if (again) this.#outbox.later();
      else this.#outbox.remove(id);
      this.dispatchEvent(event("declined", { code, text, again }));
    }
  }
}
