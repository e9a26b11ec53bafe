// A room without a user interface: its messages, its people, and messages being sent.

import { DWebSocket } from "../dwebsocket.js";
import { Outbox } from "./outbox.js";
import { isNew } from "./text.js";

// Milliseconds. No notice is shown of a person who is back within this time: the page was
// loaded again, or a server was stopped. (When a server stops, its other pages see people
// leave a moment before they lose the connection, too.)
const AWAY = 5000;
const BACK_AGAIN = 30_000; // after this page's own break, others come back without a notice
const PATIENCE = 6000; // wait so long for the history
const BROKEN = new Set(["offline", "closed", "left"]);
const TOO_LONG = 1009; // the close code for a message over the server's limit in bytes
const AGAIN = new Set(["too_fast", "too_many", "unavailable", "timeout"]);

const event = (type, fields) => Object.assign(new Event(type), fields);

// A view of the site may send to a room's group, or join it, without the chat's protocol.
const isPerson = (info) => typeof info?.who === "string" && typeof info.name === "string";
const isMessage = (data) => typeof data?.id === "string" && typeof data.text === "string";

/**
 * Events: "you" ({name, who}), "message" ({message, live}), "people" ({people}: each with
 * name and who), "came" and "went" ({person}), "renamed" ({person, before}), "typing"
 * ({person}), "ready" (all missed messages are there), "refused" ({code, suggestion}: the
 * server did not let the page in), "declined" ({code, text, again}: the server did not take
 * a message), "change" (`waiting` has changed).
 */
export class Room extends EventTarget {
  #line; #group; #outbox;
  #members = new Map();
  /** How many of the next messages are old ones. */
  #missed = 0;
  /** Messages that come before the requested history; null if none is requested. */
  #held = null;
  /** Ids of messages that the page has got. */
  #shown = new Set();
  #suggestion = "";
  /** People who have just left, by mark: {person, timer}. */
  #leaving = new Map();
  /** Marks of people who were here before a break. */
  #expected = new Set();
  #expecting = 0;
  #wanted = false;
  /** From enter() to leave(): ends the listeners, since the group and the line live on. */
  #stay = null;
  you = null;

  constructor(line, name, prefix) {
    super();
    this.#line = line;
    this.name = name;
    this.groupName = `${prefix}.${name}`;
    this.#outbox = new Outbox(name, (message) => this.#send(message));
    this.#outbox.addEventListener("change", () => this.dispatchEvent(event("change")));
  }

  /** The people in the room, each person once. */
  get people() {
    return [...new Map([...this.#members.values()].map((person) => [person.who, person])).values()];
  }

  /** Messages that were written and have not arrived. */
  get waiting() { return this.#outbox.waiting; }

  /** Enter the room, with a name on sites where people choose; again: change the name. */
  async enter(name = "") {
    this.#suggestion = "";
    this.#outbox.pause(); // the server takes no message before the room is entered
    this.#line.hold(this);
    const stay = this.#stay;
    if (this.#wanted) await this.#group.leave().catch(() => {});
    if (this.#stay !== stay) return; // the room was left meanwhile
    this.#line.open(name);
    this.#stay ??= this.#listen();
    this.#wanted = true;
    this.#join();
  }

  /** Leave the room; who enters it again gets all messages that it has kept. */
  leave() {
    this.#shown.clear();
    if (this.#wanted) this.#group.leave().catch(() => {});
    this.#wanted = false;
    this.#stay?.abort();
    this.#stay = this.#held = null;
    this.#outbox.pause();
    this.#line.release(this);
  }

  say(text) { this.#outbox.add(text); }

  /** Tell the others that the visitor is writing. */
  typing() { this.#line.tell({ chat: "typing", room: this.name }); }

  /** Whether the server takes messages; it refuses them also while the name is changed. */
  get #isIn() { return this.#group.state === "joined"; }

  #join() {
    const since = this.#group.position ?? DWebSocket.START;
    this.#group.join({ since }).catch(() => {}); // the group's "error" event reports it
  }

  #lineBecame(state) {
    if (state === "online") {
      // A line that was closed by hand forgets rooms that were not entered yet.
      if (this.#wanted && this.#group.state === "out") this.#join();
      return;
    }
    // The page itself has closed the line: no message is to blame.
    if (state === "connecting") this.#outbox.pause();
    // Only when the line is up again is it clear whether these people or the server left.
    for (const { person, timer } of this.#leaving.values()) {
      clearTimeout(timer);
      this.#expected.add(person.who);
    }
    this.#leaving.clear();
  }

  #listen() {
    const stay = new AbortController();
    const { signal } = stay;
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal });
    on(this.#line, "state", ({ state }) => this.#lineBecame(state));
    on(this.#line, "data", ({ data }) => data?.room === this.name && this.#told(data));
    const group = (this.#group ??= this.#line.socket.group(this.groupName));
    on(group, "joined", ({ missed }) => this.#joined(missed, signal));
    on(group, "message", (message) => this.#message(message));
    on(group, "reset", () => this.#askHistory());
    on(group, "join", ({ member }) => this.#came(member));
    on(group, "leave", ({ member }) => this.#went(member));
    on(group, "error", ({ error, willRetry }) => willRetry || this.#refused(error));
    return stay;
  }

  /** Handle data of the server's application about this room. */
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

  async #joined(missed, signal) {
    this.#missed = missed;
    const before = this.people;
    // The answer comes after the missed messages.
    const members = await this.#group.members().catch(() => null);
    if (signal.aborted) return;
    if (!members) {
      // Perhaps only this request failed: send the waiting messages all the same.
      if (!this.#held) this.#ready();
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
    if (!this.#isIn) return;
    this.dispatchEvent(event("ready"));
    // Only now it is clear that the message is not among those that have arrived.
    const { hopeless } = this.#outbox;
    if (hopeless) this.#decline(hopeless, this.#line.ended === TOO_LONG ? "message_long" : "failed");
    if (this.#isIn) this.#outbox.resume();
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
    // The history comes again after a change of the name, and when the server has lost its own.
    if (isNew(this.#shown, message.id)) this.dispatchEvent(event("message", { message, live }));
  }

  /** Ask for the whole history: the server's differs from this page's, after a restart, say. */
  #askHistory() {
    const held = (this.#held = []);
    this.#line.tell({ chat: "history", room: this.name });
    // If no answer comes, the new messages are shown without the old ones.
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
    const wasHere = this.people.some(({ who }) => who === info.who);
    this.#members.set(id, info);
    this.#showPeople();
    const left = this.#leaving.get(info.who);
    clearTimeout(left?.timer);
    this.#leaving.delete(info.who);
    if (this.#expected.delete(info.who) || wasHere) return;
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
      if (code === "disconnected") return this.#outbox.broke(id);
      if (BROKEN.has(code)) return this.#outbox.pause();
      if (!AGAIN.has(code)) return this.#decline({ id, text }, code);
      // The message may have been published: it keeps its id, so pages show it once.
      this.#outbox.later();
      this.dispatchEvent(event("declined", { code, text, again: true }));
    }
  }

  /** Give up a message that the server will never take. */
  #decline({ id, text }, code) {
    this.#outbox.remove(id);
    this.dispatchEvent(event("declined", { code, text, again: false }));
  }
}
