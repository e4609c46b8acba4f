/* One channel, as an application sees it: what can be asked of it, and who hears it. */

import { guard } from "./emitter.js";
import type { FanfareError } from "./errors.js";
import { makeKey } from "./timing.js";
import type { Core } from "./core.js";
import type { RosterKeeper } from "./roster.js";
import type {
  FanfareEvent, LogPage, Message, Page, Position, ResetWord, Roster, Signal, Sync,
} from "./types.js";

export interface Handlers {
  /** Each event of the channel, once and in order. */
  event?(event: FanfareEvent): void;
  signal?(signal: Signal): void;
  /** Who is present, at first and after each change; with `presence: true`. */
  presence?(roster: Roster): void;
  /**
   * The log can't be gone on from: forget what you hold, and take a new sync(). Return a promise of
   * its `position`, and no event is missed or doubled. Return nothing, and it goes on at the top.
   */
  reset?(word: ResetWord): Promise<Position | void> | Position | void;
  /** The channel may not be read (any more), or is gone. The subscription has ended. */
  lost?(error: FanfareError): void;
}

export interface SubscribeOptions {
  /** Go on behind it. Absent: begin at the top. */
  after?: Position;
  /** Begin with so many of the newest events (0–1000); without `after`. */
  history?: number;
  /** Be shown as present in the channel, and hear who comes and goes. */
  presence?: boolean;
}

/** What follows a channel until `stop()`. */
export interface Subscription {
  /** Resolves when the channel is followed; rejects where it may not be. */
  readonly ready: Promise<void>;
  /** After the last event that was handled; null: before the first answer. Keep it to go on from there. */
  readonly position: Position | null;
  stop(): void;
}

export interface NewMessage {
  data?: unknown;
  reply_to?: string;
  key?: string;
}

export class Follower {
  readonly ready: Promise<void>;
  roster: RosterKeeper | null = null;
  level!: () => void;
  fail!: (error: FanfareError) => void;

  constructor(readonly handlers: Handlers) {
    this.ready = new Promise((resolve, reject) => {
      this.level = resolve;
      this.fail = reject;
    });
    this.ready.catch(() => {}); // whoever does not look at it hears of it by `lost`
  }

  lose(error: FanfareError): void {
    this.fail(error);
    guard(() => this.handlers.lost?.(error));
  }
}

export class Channel {
  readonly messages: Messages;
  readonly #core: Core;

  /** `id` may be a slug. */
  constructor(core: Core, readonly id: string) {
    this.#core = core;
    this.messages = new Messages(core, id);
  }

  /**
   * Follow the channel: every event once and in order, across cuts and doors. Several may follow
   * one channel; `after` and `history` are for the first of them.
   */
  subscribe(handlers: Handlers, options: SubscribeOptions = {}): Subscription {
    return this.#core.follow(this.id, new Follower(handlers), options);
  }

  /**
   * Publish an event of the application's own. Kept until the server has it, retried with its key,
   * in the order of the channel; a refusal rejects. `ephemeral`: a signal, sent once, perhaps lost.
   */
  async publish(
    type: string,
    data: unknown,
    { key, ephemeral = false }: { key?: string; ephemeral?: boolean } = {},
  ): Promise<{ position: Position | null; replayed: boolean }> {
    const fields = { stream: `channel:${this.id}`, type, data };
    const ask = this.#core;
    const { position = null, replayed = false } = ephemeral
      ? await ask.ask("publish", { ...fields, ephemeral })
      : await ask.outbox.send("publish", this.id, fields, key);
    return { position, replayed };
  }

  /** Tell that the user is typing: a signal, perhaps lost. Call it at each key; it is not sent at each. */
  typing(): void {
    this.#core.typing(this.id);
  }

  /** Move the read marker forward. */
  read(offset: number): Promise<{ read_offset: number; unread: number }> {
    return this.#core.change("read", { channel: this.id, offset });
  }

  /** The channel as it is now, and the position to follow it from. */
  sync({ messages }: { messages?: number } = {}): Promise<Sync> {
    return this.#core.http.get(`/channels/${this.id}/sync`, { messages });
  }

  /** A page of the log, after an offset (of an epoch). */
  history(page: { after?: number; epoch?: string; limit?: number; cursor?: string } = {}): Promise<LogPage> {
    return this.#core.http.get(`/channels/${this.id}/events`, page);
  }

  /** Who is present now. */
  roster(): Promise<Roster> {
    return this.#core.http.get(`/channels/${this.id}/presence`);
  }
}

export class Messages {
  readonly #core: Core;
  readonly #id: string;

  constructor(core: Core, id: string) {
    this.#core = core;
    this.#id = id;
  }

  /** Write a message. Kept until the server has it, also over a reload; a refusal rejects. */
  async create(body: string, { key = makeKey(), ...more }: NewMessage = {}): Promise<Message> {
    const fields = { channel: this.#id, body, ...more };
    return (await this.#core.outbox.send("message.create", this.#id, fields, key)).message;
  }

  async update(id: string, body: string): Promise<Message> {
    return (await this.#core.change("message.update", { channel: this.#id, id, body })).message;
  }

  async delete(id: string): Promise<Message> {
    return (await this.#core.change("message.delete", { channel: this.#id, id })).message;
  }

  /** A page of messages, the newest first; `before` and `after` are offsets. */
  list(page: {
    before?: number; after?: number; author?: string; q?: string; sort?: string;
    limit?: number; cursor?: string;
  } = {}): Promise<Page<Message>> {
    return this.#core.http.get(`/channels/${this.#id}/messages`, page);
  }
}

