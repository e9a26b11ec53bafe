/**
 * Notifications: `notification` events on the page's <dwebsocket-push>, which bubble.
 *
 *     document.addEventListener("notification", (event) => {
 *       show(event.payload);
 *       event.acknowledge();
 *     });
 *
 * A notification that is not acknowledged comes again with the next page. When another page
 * of the user acknowledges it, a `taken` event has its `id`. More in docs/contrib.md.
 */

import { DWebSocket } from "../dwebsocket.js";

/** The number of ids that are remembered, to recognize a notification that comes twice. */
const REMEMBERED = 10_000;

/** The most ids that the server takes in one message. */
const MOST = 1000;

/** Compare notifications; the ids of large databases are texts, since a number would be rounded. */
const byId = (a, b) => Number(BigInt(a.id) - BigInt(b.id));

/** One notification; after `acknowledge()`, the server need not keep it any longer. */
export class NotificationEvent extends Event {
  #acknowledge;

  constructor({ id, payload, created }, acknowledge) {
    super("notification", { bubbles: true });
    Object.assign(this, { id, payload, created: new Date(created) });
    this.#acknowledge = acknowledge;
  }

  acknowledge() { this.#acknowledge(this.id); }
}

/** The user's notifications over one connection; works without the element, too. */
export class Notifications {
  #target;
  /** Notifications that came and were not acknowledged, by id. */
  #open = new Map();
  #seen = new Set();
  /** Ids that were acknowledged here, and that the server may not know. */
  #taken = new Set();
  /** New notifications that come before all waiting ones have come; null afterwards. */
  #early = [];
  /** Ids that were shown before this connection, and have not come again in it. */
  #stale = new Set();

  /** @param target The element that gets the events. */
  constructor(url, target, options = {}) {
    this.#target = target;
    this.socket = new DWebSocket(url, options);
    this.socket.addEventListener("open", () => this.#hello());
    this.socket.addEventListener("data", ({ data }) => this.#hear(data));
    // A message without a group was pushed by the site to the user or to all: not for here.
    this.socket.addEventListener("message", ({ data, group }) => group && this.#push(data));
  }

  /** Notifications that were not acknowledged, oldest first; for scripts that start late. */
  get pending() { return [...this.#open.values()]; }

  acknowledge(...ids) {
    for (const id of ids) {
      this.#open.delete(id);
      this.#taken.add(id);
    }
    this.#report();
  }

  /** Connect again after close(); notifications that were shown are not shown again. */
  open() { this.socket.open(); }

  close() { this.socket.close(); }

  #hello() {
    this.#early = [];
    this.#stale = new Set(this.#open.keys());
    this.#report();
    this.socket.send({ push: "hello" });
  }

  /** Tell the server which ids were acknowledged; without a connection, at the next one. */
  #report() {
    if (this.socket.state !== "open") return;
    // If this message is lost, the notification comes again and is acknowledged again.
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
    // Another page has acknowledged these while this page had no connection.
    for (const id of this.#stale) this.#forget(id);
    const rest = this.#early ?? [];
    this.#early = null;
    // Some of these have also come as waiting ones: show() ignores them.
    for (const notification of rest.sort(byId)) this.#show(notification);
  }

  #show(notification) {
    const { id } = notification;
    if (this.#seen.has(id)) {
      // This notification was acknowledged before, but the server does not know that.
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
    // The notification may still come, among the waiting ones.
    this.#note(id);
    if (!this.#open.delete(id)) return;
    const event = new Event("taken", { bubbles: true });
    this.#target.dispatchEvent(Object.assign(event, { id }));
  }
}

/** `<dwebsocket-push url="/push/">`: connects as long as it is on the page. */
export class PushElement extends HTMLElement {
  connectedCallback() {
    // The element may have been moved in the page.
    if (this.notifications) this.notifications.open();
    else this.notifications = new Notifications(this.getAttribute("url"), this);
  }

  disconnectedCallback() {
    this.notifications.close();
  }
}

customElements.define("dwebsocket-push", PushElement);
