/**
 * Notifications: `notification` events on the page's <dwebsocket-push>, which bubble.
 *
 *     document.addEventListener("notification", (event) => {
 *       show(event.payload);
 *       event.acknowledge();
 *     });
 *
 * One that is not acknowledged comes again with the next page. When another page of the
 * user has acknowledged it, there is a `taken` event with its `id`. docs/contrib.md has
 * the rest.
 */

import { DWebSocket } from "../dwebsocket.js";

/** So many ids of the past are remembered, to tell what comes twice. */
const REMEMBERED = 10_000;

/** The server takes so many ids in one message. */
const MOST = 1000;

/** One notification; `acknowledge()` says that it needs no keeping any more. */
export class NotificationEvent extends Event {
  #acknowledge;

  constructor({ id, payload, created }, acknowledge) {
    super("notification", { bubbles: true });
    Object.assign(this, { id, payload, created: new Date(created) });
    this.#acknowledge = acknowledge;
  }

  acknowledge() { this.#acknowledge(this.id); }
}

/** The user's notifications over one connection; without a page, too. */
export class Notifications {
  #target;
  /** By id: those that came and were not acknowledged. */
  #open = new Map();
  #seen = new Set();
  /** Acknowledged here, and perhaps not known to the server. */
  #taken = new Set();
  /** What comes before the server has told what had waited; null afterwards. */
  #early = [];
  /** Shown before this connection, and not heard of in it. */
  #stale = new Set();

  /** @param target gets the events */
  constructor(url, target, options = {}) {
    this.#target = target;
    this.socket = new DWebSocket(url, options);
    this.socket.addEventListener("open", () => this.#hello());
    this.socket.addEventListener("data", ({ data }) => this.#hear(data));
    // What is pushed to the user, or to everybody, has no group, and is of others.
    this.socket.addEventListener("message", ({ data, group }) => group && this.#push(data));
  }

  /** What came and was not acknowledged, oldest first; for scripts that begin late. */
  get pending() { return [...this.#open.values()]; }

  acknowledge(...ids) {
    for (const id of ids) {
      this.#open.delete(id);
      this.#taken.add(id);
    }
    this.#report();
  }

  /** Connect again after close(); what was shown is not shown again. */
  open() { this.socket.open(); }

  close() { this.socket.close(); }

  #hello() {
    this.#early = [];
    this.#stale = new Set(this.#open.keys());
    this.#report();
    this.socket.send({ push: "hello" });
  }

  /** Tell the server; what cannot be told now is told at the next connection. */
  #report() {
    if (this.socket.state !== "open") return;
    // Should it be lost on the way, the notification comes again, and is told again.
    const ids = [...this.#taken];
    this.#taken.clear();
    while (ids.length) this.socket.send({ push: "taken", ids: ids.splice(0, MOST) });
  }

  #push({ notification, taken }) {
    if (notification && this.#early) this.#early.push(notification);
    else if (notification) this.#show(notification);
    for (const id of taken ?? []) this.#forget(id);
  }

  #hear(data) {
    if (data?.push !== "waiting") return;
    const { notifications, more } = data;
    for (const notification of notifications) {
      this.#stale.delete(notification.id);
      this.#show(notification);
    }
    if (more) return;
    // Taken by another page while this one had no connection.
    for (const id of this.#stale) this.#forget(id);
    const rest = this.#early ?? [];
    this.#early = null;
    // Those that had waited, too, are known by now.
    for (const notification of rest.sort((a, b) => a.id - b.id)) this.#show(notification);
  }

  #show(notification) {
    const { id } = notification;
    if (this.#seen.has(id)) {
      // Acknowledged once, and the server does not know.
      if (!this.#open.has(id)) this.acknowledge(id);
      return;
    }
    this.#note(id);
    this.#open.set(id, notification);
    const event = new NotificationEvent(notification, (id) => this.acknowledge(id));
    this.#target.dispatchEvent(event);
  }

  #note(id) {
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
  }

  #forget(id) {
    // It may still be on its way here, in what had waited.
    this.#note(id);
    if (!this.#open.delete(id)) return;
    const event = new Event("taken", { bubbles: true });
    this.#target.dispatchEvent(Object.assign(event, { id }));
  }
}

/** `<dwebsocket-push url="/push/">`: connects as long as it is on the page. */
export class PushElement extends HTMLElement {
  connectedCallback() {
    // It may have been moved.
    if (this.notifications) this.notifications.open();
    else this.notifications = new Notifications(this.getAttribute("url"), this);
  }

  disconnectedCallback() {
    this.notifications.close();
  }
}

customElements.define("dwebsocket-push", PushElement);
