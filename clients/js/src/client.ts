/* What an application holds: one client for one user, and its channels. */

import { Channel } from "./channel.js";
import { Core, type Types } from "./core.js";
import { FanfareError } from "./errors.js";
import { complete, type ConnectOptions } from "./options.js";
import type { OutboxEntry } from "./outbox.js";
import type { DoorName, Notification, Page, State } from "./types.js";

/** Connect, choose the door, and stay connected until `close()`. */
export function connect(options: ConnectOptions): Client {
  const client = new Client(options);
  client.reconnect();
  return client;
}

export class Client {
  readonly notifications: Notifications;
  readonly presence: Presence;
  #core: Core;
  #channels = new Map<string, Channel>();
  #offs: (() => void)[] = [];

  constructor(options: ConnectOptions) {
    this.#core = new Core(complete(options));
    this.notifications = new Notifications(this.#core);
    this.presence = new Presence(this.#core);
    this.#watchNetwork();
  }

  /** How the client stands to the server, and through which door. */
  get state(): State {
    return this.#core.connection.state;
  }

  /** The user's id; null: not known yet. */
  get user(): string | null {
    return this.#core.user;
  }

  /** The server's limits, as it told them at the socket. */
  get limits(): Record<string, number> {
    return this.#core.limits;
  }

  /** The id of the node that serves this client; undefined where the door does not tell (long-poll). */
  get node(): string | undefined {
    return this.#core.node;
  }

  /** What waits to be sent. */
  get outbox() {
    return this.#core.outbox;
  }

  /** Hear `state`, `event`, `signal`, `user_reset` or `bye`; returns the function that ends it. */
  on<Type extends keyof Types>(type: Type, listener: (...values: Types[Type]) => void): () => void {
    return this.#core.on(type, listener);
  }

  /** A channel, by its id or slug. */
  channel(id: string): Channel {
    const channel = this.#channels.get(id) ?? new Channel(this.#core, id);
    this.#channels.set(id, channel);
    return channel;
  }

  /** A message to be sent in its turn, as a line to show: `outbox` tells what becomes of it. */
  queue(channel: string, body: string, more: { data?: unknown; reply_to?: string } = {}): OutboxEntry {
    return this.#core.outbox.add("message.create", channel, { channel, body, ...more });
  }

  /** Resolves when the client is live; rejects when it has ended. */
  live(): Promise<State> {
    return new Promise((resolve, reject) => {
      const look = (state: State) => {
        if (state.state === "live") resolve(state);
        else if (state.state === "ended") reject(new FanfareError(state.code, state.detail));
        else return;
        off();
      };
      let off = this.on("state", look);
      look(this.state);
    });
  }

  /** Use this door alone; null: choose again. Nothing is lost or doubled by it. */
  force(door: DoorName | null): void {
    this.#core.connection.force(door);
  }

  /** Try at once: in a wait, on a lower door, or after the end (with a token that is good again). */
  reconnect(): void {
    this.#core.connection.start();
  }

  /** End for good. What waits in the outbox stays in its storage. */
  close(): void {
    for (const off of this.#offs) off();
    this.#core.close();
  }

  /** Call the REST API, below /api/v1, with the client's token. */
  async call<Body = any>(method: string, path: string, body?: unknown): Promise<Body> {
    return (await this.#core.http.call<Body>(method, path, { body })).body;
  }

  #watchNetwork(): void {
    const { connection } = this.#core;
    const { window, document } = globalThis;
    if (!window?.addEventListener || !document) return;
    this.#offs = [
      listen(window, "online", () => connection.retryNow()),
      listen(document, "visibilitychange", () => document.hidden || connection.retryNow()),
    ];
  }
}

export class Notifications {
  #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** The newest first. Changes come as events `notification.*` of the client. */
  list(page: { unread?: boolean; kind?: string; limit?: number; cursor?: string } = {}): Promise<Page<Notification>> {
    return this.#core.http.get("/notifications", page);
  }

  async unread(): Promise<number> {
    return (await this.#core.http.get<{ count: number }>("/notifications/unread")).count;
  }

  /** Mark these, or all, as read; promises how many unread ones are left. */
  async read(ids?: string[]): Promise<number> {
    const body = ids ? { ids } : {};
    return (await this.#core.http.call("POST", "/notifications/read", { body })).body.unread;
  }
}

export class Presence {
  #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Be seen with this status, wherever this client is present; by the socket alone. */
  set(status: string): Promise<void> {
    return this.#core.setStatus(status);
  }

  /** Who of these users is online. */
  async of(users: string[]): Promise<{ user_id: string; online: boolean; status: string | null; since: string | null }[]> {
    return (await this.#core.http.get("/presence", { users: users.join(",") })).people;
  }
}

function listen(target: EventTarget, type: string, handle: () => unknown): () => void {
  target.addEventListener(type, handle);
  return () => target.removeEventListener(type, handle);
}
