/* Who is writing, by channel: each name stays for a few seconds after its last signal. */

import { Emitter } from "./emitter.js";

const TYPING_MS = 5_000;

/* Emits `change` (channelId). */
export class Typists extends Emitter {
  #byChannel = new Map();

  names(channelId) {
    return [...this.#of(channelId).values()].map(({ name }) => name);
  }

  add(channelId, userId, name) {
    this.remove(channelId, userId);
    const timer = setTimeout(() => this.remove(channelId, userId), TYPING_MS);
    this.#of(channelId).set(userId, { name, timer });
    this.emit("change", channelId);
  }

  remove(channelId, userId) {
    const entry = this.#of(channelId).get(userId);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.#of(channelId).delete(userId);
    this.emit("change", channelId);
  }

  #of(channelId) {
    if (!this.#byChannel.has(channelId)) this.#byChannel.set(channelId, new Map());
    return this.#byChannel.get(channelId);
  }
}
