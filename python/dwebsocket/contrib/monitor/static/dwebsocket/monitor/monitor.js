// The page of the WebSockets: shows what the server sends, says what the reader wants to see.

import { DWebSocket } from "../dwebsocket.js";
import * as columns from "./columns.js";
import { Confirm } from "./confirm.js";
import { Pager } from "./pager.js";
import { Table, write } from "./table.js";
import { count, words } from "./words.js";

const TYPING = 300; // milliseconds after the last key until the search begins
const CLOCK = 10_000; // milliseconds between two looks at the times since something
const RETRIES = 2; // attempts to reconnect, after which the page asks whether it may still be seen

const REFUSALS = ["forbidden", "gone", "unavailable"]; // codes of the server that have a text

const root = document.querySelector(".dwm");
const part = (name) => root.querySelector(`[data-part="${name}"]`);

class Page {
  #socket;
  #tables = {};
  #pagers = {};
  #confirm;
  #wanted = { search: "", user: "", group: "" };
  #number = 0; // of the view, which the server's updates name
  #typing = 0;
  #closes = 0; // how often something was closed
  #asked = new Set(); // the numbers of those that have no answer yet

  constructor() {
    for (const name of ["processes", "connections", "groups"]) {
      this.#tables[name] = new Table(part(name), columns[name]);
    }
    for (const name of ["connections", "groups"]) {
      this.#pagers[name] = new Pager(part(`${name}-pages`), () => this.#look());
    }
    this.#confirm = new Confirm(part("dialog"), (row, choice) => this.#close(row, choice));
    this.#listen();
    const hello = () => this.#hello();
    this.#socket = new DWebSocket(root.dataset.socket, { hello });
    this.#socket.addEventListener("open", () => this.#become("live"));
    this.#socket.addEventListener("data", ({ data }) => this.#hear(data));
    // A view that the server has not taken: the rows are those of the view before.
    this.#socket.addEventListener("error", () => this.#say(words("unavailable"), "error"));
    this.#socket.addEventListener("reconnecting", ({ attempt }) => this.#lost(attempt));
    this.#socket.addEventListener("close", (event) => event.willReconnect || this.#become("ended"));
    setInterval(() => document.hidden || this.#refresh(), CLOCK);
  }

  #listen() {
    const field = part("search").elements.search;
    part("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(field.value);
    });
    field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(field.value), TYPING);
    });
    part("all").addEventListener("click", () => {
      this.#filter({});
      field.focus();
    });
    root.addEventListener("click", ({ target }) => {
      const { user, group, close } = target.closest("button")?.dataset ?? {};
      if (user !== undefined) this.#filter({ user }, target.textContent);
      if (group !== undefined) this.#filter({ group }, group);
      const row = close && this.#tables.connections.data(close);
      if (row && !row.closing) this.#confirm.ask(row);
    });
    document.addEventListener("visibilitychange", () => {
      if (this.#socket.state !== "open") return;
      // A page that nobody sees costs the server nothing.
      if (document.hidden) this.#socket.send({ monitor: "hide" });
      else this.#look();
    });
  }

  #search(text) {
    clearTimeout(this.#typing);
    if (text === this.#wanted.search) return;
    this.#want({ ...this.#wanted, search: text });
  }

  /** Show only the connections of a user, or in a group, or all. */
  #filter({ user = "", group = "" }, name = "") {
    part("all").hidden = !name;
    write(part("filter"), name);
    this.#want({ ...this.#wanted, user, group });
    part("connections").scrollIntoView({ block: "nearest" });
  }

  #want(wanted) {
    this.#wanted = wanted;
    for (const pager of Object.values(this.#pagers)) pager.reset();
    this.#look();
  }

  #view() {
    const after = { after: this.#pagers.connections.after, groups_after: this.#pagers.groups.after };
    return { monitor: "view", number: ++this.#number, ...this.#wanted, ...after };
  }

  #look() {
    if (this.#socket.state === "open") this.#socket.send(this.#view());
  }

  /** What the server hears first on each connection. */
  #hello() {
    if (this.#asked.size) this.#say(words("unavailable"), "error");
    this.#asked.clear(); // their answers are lost with the connection before
    return document.hidden ? { monitor: "hide" } : this.#view();
  }

  #hear(data) {
    if (data.monitor === "update") this.#update(data);
    else this.#answered(data);
  }

  #update({ number, may_close: mayClose, site, ...tables }) {
    root.classList.toggle("dwm-may-close", mayClose);
    if (!mayClose) this.#confirm.cancel();
    if (site?.rows) this.#figures(site.rows[0]);
    for (const [name, table] of Object.entries(this.#tables)) {
      const change = tables[name];
      if (change) table.apply(change);
      // An answer to an older view does not say where this one's next page begins.
      if (change?.next !== undefined && number === this.#number) this.#pagers[name]?.show(change.next);
    }
    for (const [name, text] of [["connections", "notFound"], ["groups", "noGroup"]]) {
      part(`${name}-none`).hidden = this.#tables[name].size > 0;
      write(part(`${name}-none`), words(text));
    }
    root.dataset.view = number;
  }

  #figures(site) {
    for (const element of part("site").querySelectorAll("[data-figure]")) {
      write(element, columns.figures[element.dataset.figure](site));
    }
    part("site").dataset.broker = site.broker;
  }

  #refresh() {
    this.#tables.processes.refresh();
    this.#tables.connections.refresh();
  }

  #close({ key }, choice) {
    const number = ++this.#closes;
    try {
      // Now or never: what is closed later may surprise.
      this.#socket.send({ monitor: "close", number, key, ...choice }, { queue: false });
      this.#asked.add(number);
    } catch {
      this.#say(words("unavailable"), "error");
    }
  }

  #answered({ monitor, number, closed, code }) {
    this.#asked.delete(number);
    if (monitor === "refused") this.#say(words(REFUSALS.includes(code) ? code : "unavailable"), "error");
    else if (closed) this.#say(words("closed", { number: count(closed) }), "success");
    else this.#say(words("nothing"), "error");
  }

  #say(text, kind = "") {
    part("said").dataset.kind = kind;
    // The same text again would not be read out.
    part("said").textContent = "";
    part("said").textContent = text;
  }

  async #lost(attempt) {
    this.#become("reconnecting");
    if (attempt < RETRIES) return;
    // A browser does not tell a refused WebSocket from one that cannot be reached. The page can:
    // the server sends those who may not see it to the login.
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
    const refused = answer?.type === "opaqueredirect" || answer?.status === 403;
    if (refused && this.#socket.state !== "open") this.#socket.close();
  }

  #become(state) {
    part("state").dataset.state = state;
    write(part("state-text"), words(state));
    part("again").hidden = state !== "ended";
    root.classList.toggle("dwm-old", state !== "live");
    if (state === "ended") this.#confirm.cancel();
  }
}

new Page();
