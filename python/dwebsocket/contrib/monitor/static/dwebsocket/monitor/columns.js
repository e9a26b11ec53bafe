// What the cells of the tables show.

import { ago, at, count, decimal, parts, rate, waiting, words } from "./words.js";
import { write } from "./table.js";

const now = () => Date.now() / 1000;

/** A button in a cell, made once; a change of its texts does not take the focus away. */
function button(cell, text, label) {
  let found = cell.querySelector("button");
  if (!found) {
    found = document.createElement("button");
    found.type = "button";
    cell.append(found);
  }
  write(found, text);
  if (found.ariaLabel !== label) found.ariaLabel = label;
  return found;
}

/** A time that is shown as the time since then; the title has the date. */
function time(cell, seconds) {
  let found = cell.querySelector("time");
  if (!found) {
    found = document.createElement("time");
    found.dateTime = new Date(seconds * 1000).toISOString();
    found.title = at(seconds);
    cell.append(found);
  }
  write(found, ago(seconds, now()));
}

/** A text that may be too long to be shown, or that has more to say: the title has all of it. */
function titled(cell, text, title = text) {
  if (cell.title !== title) cell.title = title;
  return text;
}

/** A rate, and the number of all messages. */
const messages = (cell, speed, all) =>
  titled(cell, rate(speed), words("messages", { number: count(all) }));

const brokers = { connected: "connected", away: "away", none: "noBroker", unknown: "unknown" };

export const processes = [
  (row) => row.machine,
  (row) => String(row.pid),
  (row, cell) => time(cell, row.started),
  (row) => count(row.connections),
  (row) => count(row.outbox_messages),
  (row) => count(row.inbox_messages),
  (row) => count(row.groups),
  (row) => count(row.users),
  (row) => words(brokers[row.broker]),
  (row, cell) => {
    cell.dataset.state = row.state;
    return words(row.state);
  },
];

export const connections = [
  (row, cell) => {
    if (row.user === null) return words("nobody");
    button(cell, row.name, words("filterUser", { user: row.name })).dataset.user = row.user;
  },
  (row, cell) => titled(cell, row.path),
  (row, cell) => titled(cell, row.address || words("unknown")),
  (row) => {
    const view = row.view || words("unknown");
    return row.transport === "queue" ? `${view} (queue)` : view;
  },
  (row, cell) => time(cell, row.since),
  (row, cell) => messages(cell, row.received, row.received_messages),
  (row, cell) => messages(cell, row.sent, row.sent_messages),
  (row) =>
    row.round_trip === null ? "" : words("milliseconds", { number: decimal(row.round_trip * 1000) }),
  (row) => {
    const text = waiting(row.outbox_messages, row.outbox_bytes);
    return row.dropped ? `${text}, ${words("dropped", { number: count(row.dropped) })}` : text;
  },
  (row) => count(row.inbox_messages),
  (row, cell) => {
    const more = row.groups - row.some_groups.length;
    const names = row.some_groups.join(", ");
    return titled(cell, more > 0 ? `${names}, ${words("more", { number: count(more) })}` : names);
  },
  (row) => (row.machine ? `${row.machine} ${row.pid}` : words("unknown")),
  (row, cell) => {
    const user = row.name ?? words("nobody");
    const text = words(row.closing ? "closing" : "close");
    // The button stays while the connection closes: it may have the focus.
    const made = button(cell, text, words("closeLabel", { user, path: row.path }));
    made.dataset.close = row.key;
    made.ariaDisabled = String(row.closing);
  },
];

export const groups = [
  (row, cell) => {
    button(cell, row.key, words("filterGroup", { group: row.key })).dataset.group = row.key;
  },
  (row) => count(row.members),
  (row) => count(row.processes),
];

/** The figures of the site, by the name in the page. */
export const figures = {
  connections: (site) => count(site.connections),
  received: (site) => rate(site.received),
  sent: (site) => rate(site.sent),
  outbox: (site) => waiting(site.outbox_messages, site.outbox_bytes),
  inbox: (site) => waiting(site.inbox_messages, site.inbox_bytes),
  dropped: (site) => parts(site.dropped),
  closed: (site) => parts(site.closed),
  refused: (site) => parts(site.refused),
  view_errors: (site) => count(site.view_errors),
  broker: ({ broker, broker_address: address }) =>
    address ? `${words(brokers[broker])} (${address})` : words(brokers[broker]),
  lost: (site) => count(site.lost),
  watchers: (site) => words("pages", { number: count(site.watchers) }),
};
