/** Types of dwebsocket.js; the guide is docs/client.md. */

/** A place in a group's history: the offset and the epoch of a message. */
export interface Position {
  readonly offset: number;
  readonly epoch: string;
}

/** A member of a group; `info` is the value that the server's `Session.info()` returned. */
export interface Member<Info = any> {
  readonly id: string;
  readonly info: Info;
}

export interface Options {
  /**
   * WebSocket subprotocols to offer before "dwebsocket.v1", which is always offered. null:
   * offer none at all, for a server that accepts none: browsers close a connection if the
   * server accepts nothing of their offer.
   */
  protocols?: string | string[] | null;
  /**
   * Returns the data that the server's application (`Session.on_data`) gets first on every
   * connection, before groups are joined: a token, say. Default: no data is sent.
   */
  hello?: () => any;
  /**
   * Milliseconds of silence after which the client pings the server; 0: never.
   * Default: the value in the server's welcome (`Session.ping`, 25 s).
   */
  heartbeat?: number;
  /**
   * Milliseconds to wait for the welcome, for an answer and for a pong; Infinity: no limit.
   * Default: 10000.
   */
  timeout?: number;
  /**
   * Pauses between attempts, in milliseconds. Each is random, from 0 up to a limit that
   * starts at `min` and doubles up to `max`. Default: 1000 and 30000.
   */
  backoff?: { min?: number; max?: number };
  /** How many messages may wait for a connection; 0: they fail at once. Default: 256. */
  queue?: number;
  /** Returns whether a close is final: no reconnect. Default: 1008 and 4000 to 4099 are final. */
  isFinal?: (code: number, reason: string) => boolean;
}

export interface SendOptions {
  /** Whether the message may wait for a connection. Default: true. */
  queue?: boolean;
}

export interface CallOptions extends SendOptions {
  /**
   * Milliseconds until the promise is rejected with "timeout", the time without a connection
   * included; Infinity: no limit. Default: the option `timeout` of the socket.
   */
  timeout?: number;
}

/**
 * From the server: "forbidden", "invalid", "too_many", "unavailable", "failed" (a hook of the
 * session, or the method of a call, has failed); for a call also "unknown" (no method has this
 * type) and "not_found" (the method raised Http404). From the client: "offline", "queue_full"
 * (not sent); "disconnected", "timeout" (sent, but the server may or may not have carried it
 * out); "closed" (the connection has ended for good), "left" (the group was left meanwhile);
 * "protocol" (the server has sent an invalid frame).
 */
export type ErrorCode =
  | "forbidden" | "invalid" | "too_many" | "unavailable" | "unknown" | "not_found" | "failed"
  | "offline" | "queue_full" | "disconnected" | "timeout" | "closed" | "left" | "protocol"
  | (string & {});

export class DWebSocketError extends Error {
  constructor(code: ErrorCode, message: string, group?: { readonly name: string });
  readonly code: ErrorCode;
  /** The group's name, if the error concerns a group. */
  readonly group?: string;
}

export interface MessageEvent<Data = any> extends Event {
  /** The data that was sent; a Uint8Array if the message was binary. */
  readonly data: Data;
  /** The group's name; undefined if the message was sent to the user or to everybody. */
  readonly group?: string;
  /** The message's position, only in groups with a history. */
  readonly offset?: number;
  readonly epoch?: string;
}

export interface SocketEvents {
  /** The server has sent its welcome; `id` is the id by which others know this client. */
  open: Event & { readonly id: string };
  /** An open connection has ended, or no further attempt will be made. */
  close: Event & {
    readonly code: number;
    readonly reason: string;
    readonly willReconnect: boolean;
  };
  /** The next attempt (the first is 1) is made after `delay` milliseconds. */
  reconnecting: Event & {
    readonly attempt: number;
    readonly delay: number;
    /** The close code and the reason of the previous connection. */
    readonly code: number;
    readonly reason: string;
  };
  /** The server has refused something that no promise waits for, or has sent an invalid frame. */
  error: Event & { readonly error: DWebSocketError };
  /** A message to the user, to everybody, or to a group that only the server's view has joined. */
  message: MessageEvent;
  /** The server's application has called `Session.send_data()`. */
  data: Event & { readonly data: any };
}

export interface GroupEvents<Data = any, Info = any> {
  message: MessageEvent<Data>;
  /** A member has joined. */
  join: Event & { readonly member: Member<Info> };
  /** A member has left. */
  leave: Event & { readonly member: Member<Info> };
  /** This client is a member now, for the first time or again; `missed` messages follow. */
  joined: Event & Joined;
  /** Messages were lost for good: the page has to load its content again. */
  reset: Event & { readonly position: Position | null };
  /**
   * The group could not be joined (again); the client retries only if `willRetry` is true. Or
   * the server has ended the membership ("forbidden").
   */
  error: Event & { readonly error: DWebSocketError; readonly willRetry: boolean };
}

export interface Joined {
  /** Whether all messages after the requested position follow; false if none was requested. */
  readonly recovered: boolean;
  readonly missed: number;
}

type Listener<Target, E> =
  | ((this: Target, event: E) => any)
  | { handleEvent(event: E): any };

/** A WebSocket that speaks the protocol of `dwebsocket.session`, and reconnects by itself. */
export class DWebSocket extends EventTarget {
  /** The position before the first message: asks for all messages that the group keeps. */
  static readonly START: Position;

  /**
   * Connects.
   *
   * @param url An address relative to the page, or an absolute one (ws, wss, http, https).
   */
  constructor(url: string | URL, options?: Options);

  readonly url: string;
  readonly state: "connecting" | "open" | "waiting" | "closed";
  /** The id by which others know this client; null while there is no connection. */
  readonly id: string | null;

  /** Returns the group of this name, always the same object. A name that ends in "*" stands for
   * all groups whose names begin with the part before the star. */
  group<Data = any, Info = any>(name: string): Group<Data, Info>;

  /**
   * Sends data to the server's application, `Session.on_data()`. The server does not answer.
   *
   * @throws DWebSocketError "closed", "offline" or "queue_full".
   */
  send(data: unknown, options?: SendOptions): void;

  /**
   * Calls the method of a `WebSocketView` that has this type (`@on` in Python) with the fields of
   * `data` as its arguments; resolves with what the method returns.
   *
   * @throws DWebSocketError The server's error, or "offline", "queue_full" or "closed"; after
   *   "disconnected" and "timeout" the method may have been called all the same.
   */
  call<Result = any>(type: string, data?: object, options?: CallOptions): Promise<Result>;

  /** Connects again after a close, and joins the groups again. */
  open(): void;

  /**
   * Ends the connection for good, and rejects the promises that still wait.
   *
   * @param code 1000, or 3000 to 4999.
   */
  close(code?: number, reason?: string): void;

  addEventListener<K extends keyof SocketEvents>(
    type: K,
    listener: Listener<this, SocketEvents[K]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof SocketEvents>(
    type: K,
    listener: Listener<this, SocketEvents[K]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** One group, and this client's place in it. Made by `socket.group()`. */
export class Group<Data = any, Info = any> extends EventTarget {
  private constructor();

  readonly name: string;
  readonly state: "out" | "joining" | "joined" | "leaving";
  /** The position of the latest message seen; null in groups without a history. */
  readonly position: Position | null;

  /**
   * Becomes a member, and stays one over reconnects. Waits for a connection without a limit.
   *
   * @param options.since The position after which messages are sent; `DWebSocket.START`: all
   *   messages that the group keeps. Default: only new messages.
   * @throws DWebSocketError "forbidden", "invalid", "too_many", "left" or "closed".
   */
  join(options?: { since?: Position | null }): Promise<Joined>;

  /** Ends the membership. */
  leave(): Promise<void>;

  /**
   * Publishes to the group; resolves when the server has sent the message on, with the message's
   * position (null if the group has no history).
   *
   * @throws DWebSocketError The server's error, or "offline", "queue_full", "left" or "closed"; after
   *   "disconnected" and "timeout" the message may have been published all the same.
   */
  send(data: unknown, options?: SendOptions): Promise<Position | null>;

  /** Returns the group's members. */
  members(): Promise<Member<Info>[]>;

  addEventListener<K extends keyof GroupEvents>(
    type: K,
    listener: Listener<this, GroupEvents<Data, Info>[K]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof GroupEvents>(
    type: K,
    listener: Listener<this, GroupEvents<Data, Info>[K]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
