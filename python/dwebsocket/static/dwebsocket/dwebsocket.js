/**
* The page's half of dwebsocket.session.Session (groups, presence and resume) and of the typed
* messages of dwebsocket.WebSocketView, over one WebSocket that reconnects by itself. docs/client.md has the guide and the protocol,
* dwebsocket.d.ts describes each option, method and event.
*/

const DEFAULTS = {
  protocols: [],
  hello: undefined,
  heartbeat: undefined,
  timeout: 10_000,
  backoff: { min: 1000, max: 30_000 },
  queue: 256,
  isFinal: (code) => code === 1008 || (code >= 4000 && code <= 4099),
};

const PROTOCOL = "dwebsocket.v1"; // the protocol's name as a subprotocol
const STABLE = 5000; // milliseconds; a connection that lasts as long resets the backoff
const SILENCE = 3000; // milliseconds until a missing welcome is reported; Sessions send it at once
const FORMER = 16; // ids of former connections that are kept
const HANGING = 2000; // milliseconds; an attempt that takes as long may hang on a network that is gone
const LONGEST = 2 ** 31 - 1; // milliseconds; browsers take longer times, and Infinity, for 0

/** The reason why a call failed; `code` is for programs, `message` for people. */
export class DWebSocketError extends Error {
  name = "DWebSocketError";

  constructor(code, message, group) {
    super(message);
    this.code = code;
    this.group = group?.name;
  }
}

const emit = (target, type, fields) =>
  void target.dispatchEvent(Object.assign(new Event(type), fields));

const decode = (frame) =>
  frame.encoding === "base64"
    ? Uint8Array.from(atob(frame.data), (character) => character.charCodeAt(0))
    : frame.data;

/** Call a function after a time; never if the time is Infinity. */
const later = (milliseconds, then) =>
  milliseconds === Infinity ? undefined : setTimeout(then, Math.min(milliseconds, LONGEST));

const positionOf = ({ offset, epoch }) => (epoch ? { offset, epoch } : null);

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return { type: "error", code: "protocol", message: "the server sent what is not JSON" };
  }
}

function absolute(url) {
  const { document, location } = globalThis;
  // The address of a worker that was made from a blob cannot be a base for relative addresses.
  const own = location?.protocol === "blob:" ? location.origin : location?.href;
  const found = new URL(url, document?.baseURI ?? own);
  found.protocol = found.protocol.replace(/^http/, "ws");
  found.hash = "";
  return found.href;
}

const NO_SESSION =
  "A DWebSocket talks to a view that runs a Session: MySession(request.websocket, request).run(), " +
  "see dwebsocket.session; or to a WebSocketView that has methods with @on. Use the browser's own WebSocket for other views.";
const NO_SOCKET =
  "If the server is there, it has refused: its log says why (the browser may have the status). " +
  "See docs/troubleshooting.md.";
const warned = new Set(); // addresses and texts of the warnings on the console
const reached = new Set(); // addresses that have accepted a connection

const bare = (url) => url.replace(/\?.*/, ""); // the query may have a token

/** Warn the page's author of a problem with an address, once for each address and help text. */
function warnOf(url, what, help = NO_SESSION) {
  const key = bare(url) + help;
  if (warned.has(key)) return;
  warned.add(key);
  console.warn(`dwebsocket.js: ${bare(url)} ${what}. ${help}`);
}

const closed = (group) => new DWebSocketError("closed", "the connection was closed", group);

/**
* One connection. The server's welcome makes it ready, and must arrive in time. A connection
* on which no frame has arrived for a while asks the server for an answer. It ends once, for
* any reason, and then has neither timers nor events left.
*/
class Connection {
  #socket; #settings; #on; #timer; #silence;
  #begun = performance.now();
  #interval = 0;
  #heard = 0; #asked = false;
  ready = false;

  constructor(url, settings, on) {
    this.#settings = settings;
    this.#on = on;
    const socket = (this.#socket = new WebSocket(url, settings.protocols));
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onopen = () => {
      reached.add(bare(url));
      const warn = () => warnOf(url, "is connected, and does not say welcome");
      this.#silence = setTimeout(warn, SILENCE);
    };
    socket.onclose = (event) => {
      if (!this.ready && event.code === 1000) warnOf(url, "has closed without a welcome");
      if (!reached.has(bare(url))) warnOf(url, "cannot be connected to", NO_SOCKET);
      this.#end(event.code, event.reason, false);
    };
    this.#wait(settings.timeout, () => this.#giveUp("the server did not welcome us"));
  }

  /** Whether a frame can be sent now. */
  get isWritable() { return this.ready && this.#socket.readyState === WebSocket.OPEN; }

  send(text) { this.#socket.send(text); }

  /** Ask the server for an answer, and give up if none arrives in time. */
  check() {
    if (!this.ready || this.#asked) return;
    this.#asked = true;
    this.send('{"type":"ping"}');
    this.#wait(this.#settings.timeout, () => this.#giveUp("the server does not answer"));
  }

  /** Give up an attempt to connect that takes long already. */
  hurry() {
    if (performance.now() - this.#begun >= HANGING) this.#giveUp("the attempt took too long");
  }

  /** End the connection for good and at once, without waiting for a server that may be gone. */
  close(code, reason) {
    this.#socket.close(code, reason);
    this.#end(code, reason, true);
  }

  #giveUp(reason) {
    this.#socket.close();
    this.#end(1006, reason, false);
  }

  #end(code, reason, final) {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.ready = false;
    this.#on.end(code, reason, final);
  }

  #hear(text) {
    this.#heard = performance.now();
    const frame = parse(text);
    const first = !this.ready;
    if (first) {
      if (frame.type !== "welcome") return warnOf(this.#socket.url, "sends no welcome first");
      clearTimeout(this.#silence);
      this.ready = true;
      this.#interval = this.#settings.heartbeat ?? (frame.ping ?? 0) * 1000;
    }
    if (first || this.#asked) this.#listen();
    this.#on.frame(frame);
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#asked = false;
    if (!(this.#interval > 0)) return;
    const left = this.#heard + this.#interval - performance.now();
    // Timers may be late, but are early by at most a millisecond.
    if (left > 1) this.#wait(left, () => this.#listen());
    else this.check();
  }

  #wait(milliseconds, then) {
    clearTimeout(this.#timer);
    this.#timer = later(milliseconds, then);
  }
}

/** A WebSocket that speaks the protocol of sessions, and reconnects. */
export class DWebSocket extends EventTarget {
  /** The position before a group's first message: it asks for the whole history. */
  static START = Object.freeze({ offset: 0, epoch: "" });

  #url; #settings; #timer;
  #state = "closed";
  #id = null;
  #former = []; // the ids of the connections before this one
  #connection = null;
  #groups = new Map();
  #queue = []; // commands that wait to be sent
  #sent = new Map(); // commands that wait for their answers, by id
  #number = 0;
  #attempt = 0;
  /** Connect, or check the connection, when the page is visible or the network is back. */
  #wake = ({ type }) => {
    if (type === "visibilitychange" && document.visibilityState === "hidden") return;
    if (this.#state === "open") return this.#connection?.check();
    // The reason for long pauses may be over.
    this.#attempt = 0;
    this.#connection?.hurry();
    if (this.#state === "waiting") this.#connect();
  };

  constructor(url, options = {}) {
    super();
    const backoff = { ...DEFAULTS.backoff, ...options.backoff };
    this.#url = absolute(url);
    const { protocols: asked = [] } = options;
    const protocols = [asked ?? []].flat();
    // The page's own subprotocols go first. A duplicate name would be an error.
    if (asked !== null && !protocols.includes(PROTOCOL)) protocols.push(PROTOCOL);
    this.#settings = { ...DEFAULTS, ...options, backoff, protocols };
    this.open();
  }

  get url() { return this.#url; }

  /** "connecting", "open", "waiting" (for the next attempt) or "closed". */
  get state() { return this.#state; }

  /** The id by which other members know this client; null while there is no connection. */
  get id() { return this.#id; }

  /** The group of this name; always the same object. */
  group(name) {
    let group = this.#groups.get(name);
    if (!group) this.#groups.set(name, (group = new Group(this, name)));
    return group;
  }

  /** Send data to the server's application. */
  send(data, { queue = true } = {}) {
    this.#submit({ text: JSON.stringify({ type: "data", data }) }, queue);
  }

  /** Call the method of the view that has this type (@on in Python); resolves with its result. */
  async call(type, data = {}, { timeout = this.#settings.timeout, queue = true } = {}) {
    const { promise, ...answer } = Promise.withResolvers();
    const id = ++this.#number;
    const command = { ...answer, id, text: JSON.stringify({ ...data, type, id }) };
    // The time that the call waits for a connection counts, too.
    this.#limit(command, timeout);
    try {
      this.#submit(command, queue);
    } catch (error) {
      clearTimeout(command.timer);
      throw error;
    }
    return (await promise).data;
  }

  /** Connect again after a close, and join the groups of before again. */
  open() {
    if (this.#state !== "closed") return;
    this.#attempt = 0;
    this.#connect();
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  /** End the connection without reconnecting. Commands that wait for an answer are rejected. */
  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    if (this.#connection) this.#connection.close(code, reason);
    else this.#finish(code, reason);
  }

  // For groups, not for applications.

  get _former() { return this.#former; }

  async _request(type, group, fields, queue = true) {
    const { promise, ...answer } = Promise.withResolvers();
    const id = ++this.#number;
    const text = JSON.stringify({ type, id, group: group.name, ...fields });
    this.#submit({ ...answer, id, text, group }, queue);
    return promise;
  }

  /** Send at once, before all commands that wait, and without a time limit for the answer. */
  _demand(type, group, fields, answer) {
    const id = ++this.#number;
    this.#sent.set(id, { ...answer, group });
    this.#connection.send(JSON.stringify({ type, id, group: group.name, ...fields }));
  }

  /** Send the commands that can be sent now. With `error`, reject those of `group` instead. */
  _flush(group, error) {
    for (const command of this.#queue.splice(0)) {
      if (error && command.group === group) command.reject(error);
      else if (this.#canSend(command)) this.#transmit(command);
      else this.#queue.push(command);
    }
  }

  /** "Full jitter": a random pause up to a limit that doubles, so that clients spread out. */
  _pause(attempt) {
    const { min, max } = this.#settings.backoff;
    return Math.random() * Math.min(max, min * 2 ** attempt);
  }

  #canSend({ group }) {
    return Boolean(this.#connection?.isWritable) && (!group || group._isReady);
  }

  #submit(command, queue) {
    const { group } = command;
    const limit = this.#settings.queue;
    if (this.#state === "closed") throw closed(group);
    if (this.#canSend(command)) this.#transmit(command);
    else if (!queue || limit === 0) throw new DWebSocketError("offline", "not connected", group);
    else if (this.#queue.length < limit) this.#queue.push(command);
    else throw new DWebSocketError("queue_full", `${limit} messages wait already`, group);
  }

  #transmit(command) {
    this.#connection.send(command.text);
    if (command.id === undefined) return;
    this.#sent.set(command.id, command);
    if (!("timer" in command)) this.#limit(command, this.#settings.timeout);
  }

  /** Reject a command unless its answer comes in time. */
  #limit(command, timeout) {
    command.timer = later(timeout, () => {
      this.#sent.delete(command.id);
      this.#queue = this.#queue.filter((other) => other !== command);
      command.reject(new DWebSocketError("timeout", "no answer in time", command.group));
    });
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#connection = new Connection(this.#url, this.#settings, {
      frame: (frame) => this.#receive(frame),
      end: (code, reason, final) => this.#lost(code, reason, final),
    });
    this.#state = "connecting";
  }

  #lost(code, reason, final) {
    clearTimeout(this.#timer);
    const wasOpen = this.#state === "open";
    if (this.#id) this.#former = [...this.#former, this.#id].slice(-FORMER);
    this.#connection = this.#id = null;
    if (final || this.#settings.isFinal(code, reason)) return this.#finish(code, reason);
    const delay = this._pause(this.#attempt++);
    this.#state = "waiting";
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#settle(null);
    const attempt = this.#attempt;
    if (wasOpen) emit(this, "close", { code, reason, willReconnect: true });
    if (this.#state === "waiting" && this.#attempt === attempt) {
      emit(this, "reconnecting", { attempt, delay, code, reason });
    }
  }

  #finish(code, reason) {
    clearTimeout(this.#timer);
    this.#state = "closed";
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#settle(closed());
    for (const command of this.#queue.splice(0)) {
      clearTimeout(command.timer);
      command.reject?.(closed(command.group));
    }
    emit(this, "close", { code, reason, willReconnect: false });
  }

  /** Reject the commands of a connection that is gone; `final`: the error if it was the last one. */
  #settle(final) {
    for (const id of [...this.#sent.keys()]) {
      const { group, reject } = this.#take(id);
      reject(new DWebSocketError("disconnected", "the connection broke before the answer", group));
    }
    for (const group of this.#groups.values()) group._lost(final);
  }

  #receive(frame) {
    switch (frame.type) {
      case "welcome": return this.#welcome(frame);
      case "message": return this.#message(frame);
      case "data": return emit(this, "data", { data: frame.data });
      case "join": case "leave": case "reset":
        return this.#groups.get(frame.group)?._hear(frame);
      case "removed": return this.#groups.get(frame.group)?._removed();
      case "error": return this.#refused(frame);
      default: // an answer, a pong, or a frame of a newer server
        this.#take(frame.id)?.resolve(frame);
    }
  }

  #welcome(frame) {
    this.#state = "open";
    this.#id = frame.id;
    this.#timer = setTimeout(() => (this.#attempt = 0), STABLE);
    const hello = this.#settings.hello?.();
    if (hello !== undefined) this.#connection.send(JSON.stringify({ type: "data", data: hello }));
    for (const group of this.#groups.values()) group._enter();
    this._flush();
    emit(this, "open", { id: frame.id });
  }

  #message(frame) {
    const own = this.#groups.get(frame.group);
    let targets = [...this.#groups.values()].filter((group) => group._covers(frame.group));
    if (!targets.length) {
      // The page did not ask: a view has joined the group, or has pushed to a user or to all.
      if (own && own.state !== "out") return;
      targets = [own ?? this];
    }
    if (targets.includes(own)) {
      if (!own._advance(frame)) return;
      // Names with a star have no history: they have heard this one, or have missed it.
      if (own._isMissed(frame)) targets = [own];
    }
    const event = { data: decode(frame), group: frame.group, ...positionOf(frame) };
    for (const target of targets) emit(target, "message", event);
  }

  #refused({ id, code, message }) {
    const command = this.#take(id);
    const error = new DWebSocketError(code, message, command?.group);
    if (command) command.reject(error);
    else emit(this, "error", { error });
  }

  #take(id) {
    const command = this.#sent.get(id);
    this.#sent.delete(id);
    clearTimeout(command?.timer);
    return command;
  }
}

/** One group, and this client's membership in it. */
export class Group extends EventTarget {
  #socket; #name; #timer;
  #state = "out";
  #position = null;
  #joinedAt = null; // the group's position at the join; missed messages lead up to it
  #wish = null; // the promise of the membership that the page wants, if any
  #established = false; // whether the client was a member: then open() joins again after close()
  #attempt = 0;

  constructor(socket, name) {
    super();
    this.#socket = socket;
    this.#name = name;
  }

  get name() { return this.#name; }

  /** "out", "joining", "joined" or "leaving". */
  get state() { return this.#state; }

  /** The offset and the epoch of the latest message seen; null in groups without a history. */
  get position() { return this.#position && { ...this.#position }; }

  /** Become a member, and stay one over reconnects; resolves with `{ recovered, missed }`. */
  async join({ since } = {}) {
    if (this.#socket.state === "closed") throw closed(this);
    if (!this.#wish) {
      if (since !== undefined) this.#position = since && { ...since };
      this.#wish = Promise.withResolvers();
      this._enter();
    }
    return this.#wish.promise;
  }

  /** End the membership, and forget the position. */
  async leave() {
    const error = new DWebSocketError("left", "the group was left", this);
    this.#wish?.reject(error);
    this.#wish = this.#position = null;
    this.#established = false;
    clearTimeout(this.#timer);
    this.#socket._flush(this, error);
    if (this.#socket.state !== "open") return;
    this.#state = "leaving";
    const { promise, resolve, reject } = Promise.withResolvers();
    const out = () => {
      if (this.#state === "leaving") this.#state = "out";
      resolve();
    };
    const refused = (error) => (error.code === "disconnected" ? out() : reject(error));
    this.#socket._demand("leave", this, {}, { resolve: out, reject: refused });
    return promise;
  }

  /** Publish; the server's answer resolves to the message's position (null without a history). */
  async send(data, { queue = true } = {}) {
    return positionOf(await this.#socket._request("publish", this, { data }, queue));
  }

  /** The members of the group: an array of `{ id, info }`. */
  async members() {
    return (await this.#socket._request("members", this, {})).members;
  }

  // For the socket, not for applications.

  get _isReady() { return !this.#wish || this.#state === "joined"; }

  _covers(name) {
    if (this.#state !== "joined" || name === undefined) return false;
    if (this.#name.endsWith("*")) return name.startsWith(this.#name.slice(0, -1));
    return name === this.#name;
  }

  /** Advance the position to a message; false if the message was seen before. */
  _advance(frame) {
    const { epoch, offset } = this.#position ?? {};
    if (frame.epoch && frame.epoch === epoch && frame.offset <= offset) return false;
    if (frame.epoch) this.#position = positionOf(frame);
    return true;
  }

  /** Whether a message was published before this client joined. */
  _isMissed({ offset, epoch }) {
    return Boolean(epoch) && epoch === this.#joinedAt?.epoch && offset <= this.#joinedAt.offset;
  }

  _enter() {
    const wish = this.#wish;
    if (!wish || this.#socket.state !== "open") return;
    this.#state = "joining";
    const since = this.#position;
    // `was` keeps the server from resending messages that excluded a former connection.
    const was = this.#established ? this.#socket._former : [];
    this.#socket._demand("join", this, since && { since, ...(was.length && { was }) }, {
      resolve: (frame) => this.#wish === wish && this.#joined(frame, since),
      reject: (error) => this.#wish === wish && this.#refused(error),
    });
  }

  /** The connection has gone; `final`: the error for those that wait, if it was the last one. */
  _lost(final) {
    clearTimeout(this.#timer);
    const joined = this.#state === "joined";
    this.#state = "out";
    if (!this.#wish) return;
    if (final) this.#wish.reject(final);
    if (joined || (final && this.#established)) this.#renew();
    else if (final) this.#wish = null;
  }

  /** A frame about the group: "join", "leave" or "reset". */
  _hear(frame) {
    const { type, member } = frame;
    if (type !== "reset") return emit(this, type, { member });
    this.#position = positionOf(frame);
    emit(this, "reset", { position: this.position });
  }

  /** The server has ended the membership, because the client lost its permission. */
  _removed() {
    if (!this.#wish || this.#state !== "joined") return;
    this.#refused(new DWebSocketError("forbidden", "you may not be in this group any longer", this));
  }

  /** Prepare to join again. No caller needs to handle the new promise. */
  #renew() {
    this.#wish = Promise.withResolvers();
    this.#wish.promise.catch(() => {});
  }

  #joined(frame, since) {
    const { recovered, missed = 0 } = frame;
    this.#state = "joined";
    this.#established = true;
    this.#attempt = 0;
    this.#joinedAt = positionOf(frame);
    // Missed messages arrive next, and each of them advances the position.
    if (!recovered || !missed) this.#position = positionOf(frame);
    this.#wish.resolve({ recovered, missed });
    this.#socket._flush();
    emit(this, "joined", { recovered, missed });
    if (since?.epoch && !recovered) emit(this, "reset", { position: this.position });
  }

  #refused(error) {
    if (error.code === "disconnected") return;
    this.#state = "out";
    // Where the client was a member, the server's failure may be over a moment later.
    const willRetry = error.code === "unavailable" || (error.code === "failed" && this.#established);
    if (willRetry) {
      this.#timer = setTimeout(() => this._enter(), this.#socket._pause(this.#attempt++));
    } else {
      this.#wish.reject(error);
      this.#wish = null;
      this.#established = false;
      this.#socket._flush(this, error);
    }
    emit(this, "error", { error, willRetry });
  }
}
