/* What is on its way: each is sent until the server has answered it, and counts once.
 *
 * An entry keeps its `key` through every retry, through whichever door, also across a reload, so
 * a send whose answer was lost cannot take effect twice. In a channel one at a time, in order. */

import { Emitter } from "./emitter.js";
import { type FanfareError, asError, closed } from "./errors.js";
import type { Keep } from "./keep.js";
import { backoff, makeKey, sleep } from "./timing.js";
import type { FanfareEvent, Position } from "./types.js";

/** What waits to be sent. `failed`: it was refused, and stays until `retry` or `remove`. */
export interface OutboxEntry {
  key: string;
  channel: string;
  /** `message.create` or `publish`. */
  name: string;
  /** Its fields, as the packet of that name has them. */
  data: Record<string, unknown>;
  /** When it was written. */
  at: string;
  state: "sending" | "failed";
  detail: string;
}

interface Waiter {
  resolve: (reply: any) => void;
  reject: (error: FanfareError) => void;
}

interface OutboxTypes extends Record<string, unknown[]> {
  /** The entries of a channel are others. */
  change: [channel: string];
  /** The server has it: an ack, or (after a lost ack) an event of ours. */
  sent: [entry: OutboxEntry, reply: any];
}

export class Outbox extends Emitter<OutboxTypes> {
  #ask: (name: string, data: unknown) => Promise<any>;
  #keep: Keep;
  #storageKey = "";
  #entries: OutboxEntry[] = [];
  #waiters = new Map<OutboxEntry, Waiter>();
  #heard = new WeakMap<OutboxEntry, unknown>();
  #busy = new Set<string>();
  #isOnline = false;
  #life = new AbortController();

  constructor(ask: (name: string, data: unknown) => Promise<any>, keep: Keep) {
    super();
    this.#ask = ask;
    this.#keep = keep;
  }

  /** All entries, or those of a channel, in the order in which they were written. */
  entries(channel?: string): OutboxEntry[] {
    return this.#entries.filter((entry) => !channel || entry.channel === channel);
  }

  /** Write something; it is sent as soon as it can be. */
  add(name: string, channel: string, data: Record<string, unknown>, key = makeKey()): OutboxEntry {
    const at = new Date().toISOString();
    const entry: OutboxEntry = { key, channel, name, data, at, state: "sending", detail: "" };
    this.#entries.push(entry);
    this.#changed(channel);
    void this.#flush(channel);
    return entry;
  }

  /** Write something, and promise the server's answer. A refusal rejects, and nothing stays. */
  send(name: string, channel: string, data: Record<string, unknown>, key?: string): Promise<any> {
    return new Promise((resolve, reject) => {
      this.#waiters.set(this.add(name, channel, data, key), { resolve, reject });
    });
  }

  /** Send an entry again that was refused. */
  retry(key: string): void {
    const entry = this.#entries.find((one) => one.key === key);
    if (!entry) return;
    Object.assign(entry, { state: "sending", detail: "" });
    this.#changed(entry.channel);
    void this.#flush(entry.channel);
  }

  /** Forget an entry: its writer gave it up. It may have taken effect all the same. */
  remove(key: string): void {
    const entry = this.#entries.find((one) => one.key === key);
    if (!entry) return;
    this.#take(entry)?.reject(closed());
  }

  /** Take up what an earlier page of this user left. */
  load(userId: string): void {
    if (this.#storageKey) return;
    this.#storageKey = `fanfare.outbox.${userId}`;
    const kept = (this.#keep.get(this.#storageKey) ?? []) as OutboxEntry[];
    this.#entries = [...kept, ...this.#entries];
    for (const channel of this.#channels()) this.#changed(channel);
    if (this.#isOnline) this.connect();
  }

  /** There is a door: send. */
  connect(): void {
    this.#isOnline = true;
    for (const channel of this.#channels()) void this.#flush(channel);
  }

  disconnect(): void {
    this.#isOnline = false;
  }

  /** An event of ours came, at `position`: what it tells of is in the log, also where its ack is lost. */
  hear({ stream, key, data }: FanfareEvent, position: Position): void {
    const isIt = (entry: OutboxEntry) => entry.key === key && `channel:${entry.channel}` === stream;
    const entry = key && this.#entries.find(isIt);
    if (entry) this.#heard.set(entry, { message: data, position, replayed: false });
  }

  close(): void {
    this.disconnect();
    this.#life.abort();
    for (const waiter of this.#waiters.values()) waiter.reject(closed());
    this.#waiters.clear();
  }

  #channels(): Set<string> {
    return new Set(this.#entries.map(({ channel }) => channel));
  }

  async #flush(channel: string): Promise<void> {
    if (this.#busy.has(channel)) return;
    this.#busy.add(channel);
    for (let attempt = 0; this.#isOnline; ) {
      const entry = this.#entries.find((one) => one.channel === channel && one.state === "sending");
      if (!entry) break;
      attempt = (await this.#send(entry, attempt)) ? 0 : attempt + 1;
    }
    this.#busy.delete(channel);
  }

  async #send(entry: OutboxEntry, attempt: number): Promise<boolean> {
    try {
      const { key, name, data } = entry;
      if (this.#heard.has(entry)) return this.#done(entry, this.#heard.get(entry));
      return this.#done(entry, await this.#ask(name, { ...data, key }));
    } catch (thrown) {
      const error = asError(thrown);
      if (this.#heard.has(entry)) return this.#done(entry, this.#heard.get(entry));
      if (!this.#entries.includes(entry)) return true; // it was given up meanwhile
      if (!error.retryable) return this.#fail(entry, error);
      // The first retry is by another door, and at once; a server that refuses is given time.
      const isSwitch = error.code === "timeout" && !attempt;
      const ms = error.retryAfterS * 1000 + (isSwitch ? 0 : backoff(attempt));
      await sleep(ms, this.#life.signal);
      return false;
    }
  }

  #done(entry: OutboxEntry, reply: any): true {
    if (!this.#entries.includes(entry)) return true;
    const waiter = this.#take(entry);
    this.emit("sent", entry, reply);
    waiter?.resolve(reply);
    return true;
  }

  #fail(entry: OutboxEntry, error: FanfareError): true {
    if (this.#waiters.has(entry)) {
      this.#take(entry)!.reject(error);
    } else {
      Object.assign(entry, { state: "failed", detail: error.message });
      this.#changed(entry.channel);
    }
    return true;
  }

  #take(entry: OutboxEntry): Waiter | undefined {
    const waiter = this.#waiters.get(entry);
    this.#waiters.delete(entry);
    this.#entries = this.#entries.filter((one) => one !== entry);
    this.#changed(entry.channel);
    return waiter;
  }

  #changed(channel: string): void {
    if (this.#storageKey) this.#keep.set(this.#storageKey, this.#entries);
    this.emit("change", channel);
  }
}
