/** Types of dwebsocket.js; the guide is docs/client.md. */

/** Where in a group's history somebody is; opaque but for its fields. */
export interface Position {
  readonly offset: number;
  readonly epoch: string;
}

/** Somebody in a group; `info` is what the server's `Session.info()` says of them. */
export interface Member<Info = any> {
  readonly id: string;
  readonly info: Info;
}

export interface Options {
  /**
   * WebSocket subprotocols to offer before "dwebsocket.v1", which is offered always. null:
   * none at all, for a server that takes none; browsers give a connection up where nothing
   * of what they offer is taken.
   */
  protocols?: string | string[] | null;
  /**
   * Returns what the server's application (`Session.on_data`) gets first on every
   * connection, before groups are joined: a token, say. Default: nothing is sent.
   */
  hello?: () => any;
  /**
   * Milliseconds of silence after which the server has to show that it is there; 0: never.
   * Default: what the server's welcome says (`Session.ping`, 25 s).
   */
  heartbeat?: number;
  /** Milliseconds that the welcome, an answer and a pong may take. Default: 10000. */
  timeout?: number;
  /**
   * Pauses between attempts, in milliseconds. Each is random, from 0 up to a limit that
   * starts at `min` and doubles up to `max`. Default: 1000 and 30000.
   */
  backoff?: { min?: number; max?: number };
  /** How many messages may wait for a connection; 0: they fail instead. Default: 256. */
  queue?: number;
  /** Whether a close means not to come back. Default: 1008 and 4000 to 4099 do. */
  isFinal?: (code: number, reason: string) => boolean;
}

export interface SendOptions {
  /** Whether it may wait for a connection. Default: true. */
  queue?: boolean;
}

/**
 * From the server: "forbidden", "invalid", "too_many", "unavailable". From here: "offline",
 * "queue_full" (not sent); "disconnected", "timeout" (sent, but whether it was done is not
 * known); "closed", "left" (not wanted any more); "protocol" (what came makes no sense).
 */
export type ErrorCode =
  | "forbidden" | "invalid" | "too_many" | "unavailable"
  | "offline" | "queue_full" | "disconnected" | "timeout" | "closed" | "left" | "protocol"
  | (string & {});

export class DWebSocketError extends Error {
  constructor(code: ErrorCode, message: string, group?: { readonly name: string });
  readonly code: ErrorCode;
  /** The group's name, where it is about one. */
  readonly group?: string;
}

export interface MessageEvent<Data = any> extends Event {
  /** What was sent; a Uint8Array if that was binary. */
  readonly data: Data;
  /** The group's name; undefined if it was sent to the user or to everybody. */
  readonly group?: string;
  /** Only in groups with a history. */
  readonly offset?: number;
  readonly epoch?: string;
}

export interface SocketEvents {
  /** Connected, and welcomed; `id` is what others know this client by. */
  open: Event & { readonly id: string };
  /** An open connection has ended, or there will be none any more. */
  close: Event & {
    readonly code: number;
    readonly reason: string;
    readonly willReconnect: boolean;
  };
  /** The next attempt (1 is the first) is made after so many milliseconds. */
  reconnecting: Event & {
    readonly attempt: number;
    readonly delay: number;
    /** Why the one before has ended. */
    readonly code: number;
    readonly reason: string;
  };
  /** The server has refused something that nobody waits for, or has sent nonsense. */
  error: Event & { readonly error: DWebSocketError };
  /** Sent to the user, to everybody, or to a group that only the server's view has joined. */
  message: MessageEvent;
  /** The server's application has called `Session.send_data()`. */
  data: Event & { readonly data: any };
}

export interface GroupEvents<Data = any, Info = any> {
  message: MessageEvent<Data>;
  /** Somebody has come. */
  join: Event & { readonly member: Member<Info> };
  /** Somebody has gone. */
  leave: Event & { readonly member: Member<Info> };
  /** A member now, for the first time or again; `missed` messages follow. */
  joined: Event & Joined;
  /** Messages were lost for good: what the page shows is to be loaded anew. */
  reset: Event & { readonly position: Position | null };
  /**
   * It could not be joined (again), which is tried again only if `willRetry`; or the server has
   * ended the membership ("forbidden").
   */
  error: Event & { readonly error: DWebSocketError; readonly willRetry: boolean };
}

export interface Joined {
  /** Whether everything since the position asked for comes; false if none was. */
  readonly recovered: boolean;
  readonly missed: number;
}

type Listener<Target, E> =
  | ((this: Target, event: E) => any)
  | { handleEvent(event: E): any };

/** A WebSocket that speaks the protocol of `dwebsocket.session`, and comes back. */
export class DWebSocket extends EventTarget {
  /** The position before the first message: asks for all that is kept. */
  static readonly START: Position;

  /**
   * Connects.
   *
   * @param url An address relative to the page, or a whole one (ws, wss, http, https).
   */
  constructor(url: string | URL, options?: Options);

  readonly url: string;
  readonly state: "connecting" | "open" | "waiting" | "closed";
  /** What others know this client by; null while there is no connection. */
  readonly id: string | null;

  /** Returns the group of this name, always the same object. A name ending in "*" stands for
   * all groups that begin with what is before it. */
  group<Data = any, Info = any>(name: string): Group<Data, Info>;

  /**
   * Sends something to the server's application, `Session.on_data()`. There is no answer.
   *
   * @throws DWebSocketError "closed", "offline" or "queue_full".
   */
  send(data: unknown, options?: SendOptions): void;

  /** Connects again after a close. Groups that were joined are joined again. */
  open(): void;

  /**
   * Ends the connection for good, and rejects what waits.
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
  /** Of the latest message seen; null in groups without a history. */
  readonly position: Position | null;

  /**
   * Becomes a member, and stays one over reconnects. Waits for a connection as long as it takes.
   *
   * @param options.since The position from which to go on; `DWebSocket.START` for all that
   *   is kept. Default: from now.
   * @throws DWebSocketError "forbidden", "invalid", "too_many", "left" or "closed".
   */
  join(options?: { since?: Position | null }): Promise<Joined>;

  /** Is no member any more. */
  leave(): Promise<void>;

  /**
   * Publishes to the group; resolves when it is out, with its position (null if the group has
   * no history).
   *
   * @throws DWebSocketError What the server says, "offline", "queue_full", "left" or "closed"; after
   *   "disconnected" and "timeout" it may have been published.
   */
  send(data: unknown, options?: SendOptions): Promise<Position | null>;

  /** Who is here. */
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
