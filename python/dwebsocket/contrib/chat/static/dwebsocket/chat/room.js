// A room without a face: what is said, who is here, and what is on its way there.

import { DWebSocket } from "../dwebsocket.js";
import { Outbox } from "./outbox.js";

const BACK_AGAIN = 30_000; // after a break, those who were here come back without notice
const PATIENCE = 6000; // milliseconds, for the history
const NO_RETRY = new Set(["disconnected", "timeout", "offline", "closed", "left"]);

const event = (type, fields) => Object.assign(new Event(type), fields);

/**
 * Events: "you" ({name, who}), "message" ({message, live}), "people" ({people}: each with
 * name and who), "came" and "went" ({person}), "typing" ({person}), "ready" (all that was
 * missed is there), "refused" ({code, suggestion}: not let in), "declined" ({code, text}:
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
  /** Marks of those who were here before a break. */
  #expected = new Set();
  #wanted = false;
  you = null;

  constructor(line, name, prefix) {
    super();
    this.#line = line;
    this.name = name;
    this.groupName = `${prefix}.${name}`;
    this.#outbox = new Outbox(name, (message) => this.#send(message));
    this.#outbox.addEventListener("change", () => this.dispatchEvent(event("change")));
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
    if (this.#group && this.#wanted) await this.#group.leave().catch(() => {});
    this.#line.open(name);
    this.#group ??= this.#listen(this.#line.socket.group(this.groupName));
    this.#wanted = true;
    const since = this.#group.position ?? DWebSocket.START;
    this.#group.join({ since }).catch(() => {}); // the group's "error" event tells
  }

  /** Go out. */
  leave() {
    if (this.#wanted) this.#group.leave().catch(() => {});
    this.#wanted = false;
  }

  say(text) { this.#outbox.add(text); }

  /** Show the others that one is writing. */
  typing() { this.#line.tell({ chat: "typing", room: this.name }); }

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
    if (!members) return;
    this.#members = new Map(members.map(({ id, info }) => [id, info]));
    const here = new Set(this.people.map(({ who }) => who));
    this.#expected = new Set(before.map(({ who }) => who).filter((who) => !here.has(who)));
    setTimeout(() => this.#expected.clear(), BACK_AGAIN);
    this.#showPeople();
    if (!this.#held) this.#ready();
  }

  #ready() {
    this.dispatchEvent(event("ready"));
    this.#outbox.resume();
  }

  #message({ data, offset }) {
    if (data.typing) return this.dispatchEvent(event("typing", { person: data }));
    const live = !(offset && this.#missed > 0 && this.#missed--);
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
    const isNew = !this.people.some(({ who }) => who === info.who);
    this.#members.set(id, info);
    this.#showPeople();
    if (!this.#expected.delete(info.who) && isNew) this.dispatchEvent(event("came", { person: info }));
  }

  #went({ id, info }) {
    this.#members.delete(id);
    if (this.people.some(({ who }) => who === info.who)) return;
    this.#showPeople();
    this.dispatchEvent(event("went", { person: info }));
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
      if (NO_RETRY.has(code)) return this.#outbox.pause();
      const again = code === "too_fast" || code === "too_many" || code === "unavailable";
      if (again) this.#outbox.later();
      else this.#outbox.remove(id);
      this.dispatchEvent(event("declined", { code, text, again }));
    }
  }
}
