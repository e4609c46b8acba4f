/* Messages on their way: each is sent until the server has answered it, and counts once.
 *
 * An entry keeps its `key` through every retry, also across a reload (sessionStorage), so a
 * send whose answer was lost cannot become two messages. One at a time, in order. */

import { Emitter } from "./emitter.js";
import { backoffMs, makeKey, sleep } from "./timing.js";

/* Emits `change` (channelId) and `sent` (channelId, message). */
export class Outbox extends Emitter {
  #ask;
  #storageKey;
  #entries;
  #flushing = false;
  #online = false;

  constructor(ask, userId) {
    super();
    this.#ask = ask;
    this.#storageKey = `fanfare.outbox.${userId}`;
    this.#entries = load(this.#storageKey);
  }

  /** The entries of a channel, in the order in which they were written. */
  of(channelId) {
    return this.#entries.filter((entry) => entry.channel === channelId);
  }

  add(channel, body, replyTo = null) {
    const at = new Date().toISOString();
    this.#entries.push({ key: makeKey(), channel, body, reply_to: replyTo, at, state: "sending" });
    this.#changed(channel);
    this.#flush();
  }

  retry(key) {
    const entry = this.#find(key);
    if (!entry) return;
    Object.assign(entry, { state: "sending", detail: "" });
    this.#changed(entry.channel);
    this.#flush();
  }

  /** Forget an entry: it is in the log, or its writer gave it up. */
  remove(key) {
    const entry = this.#find(key);
    if (!entry) return;
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#changed(entry.channel);
  }

  connect() {
    this.#online = true;
    this.#flush();
  }

  disconnect() {
    this.#online = false;
  }

  #find(key) {
    return this.#entries.find((entry) => entry.key === key);
  }

  async #flush() {
    if (this.#flushing) return;
    this.#flushing = true;
    for (let attempt = 0; this.#online; ) {
      const entry = this.#entries.find(({ state }) => state === "sending");
      if (!entry) break;
      attempt = (await this.#send(entry, attempt)) ? 0 : attempt + 1;
    }
    this.#flushing = false;
  }

  async #send(entry, attempt) {
    const { channel, body, reply_to, key } = entry;
    try {
      const packet = { channel, body, key, ...(reply_to && { reply_to }) };
      const { message } = await this.#ask("message.create", packet);
      this.emit("sent", channel, message);
      this.remove(key);
    } catch (error) {
      if (!error.retryable) return this.#fail(entry, error);
      await sleep(error.retryAfterS * 1000 + backoffMs(attempt));
      return false;
    }
    return true;
  }

  #fail(entry, error) {
    Object.assign(entry, { state: "failed", detail: error.message });
    this.#changed(entry.channel);
    return true;
  }

  #changed(channel) {
    sessionStorage.setItem(this.#storageKey, JSON.stringify(this.#entries));
    this.emit("change", channel);
  }
}

function load(storageKey) {
  try {
    return JSON.parse(sessionStorage.getItem(storageKey)) ?? [];
  } catch {
    return [];
  }
}
