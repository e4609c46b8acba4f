/* The streams that the page follows: every event once, in order, across reconnects.
 *
 * Each stream keeps its position. While a stream catches up, what arrives live is held and
 * then laid behind what the log gave; repeats fall out by offset and a gap sends the stream
 * back to the log. So nothing here has to trust the seam between history and live. */

import { Emitter } from "./emitter.js";
import { backoffMs, sleep } from "./timing.js";

const MAX_HELD = 2_000;
const RESUME_BATCH = 100;

/* Emits `event` (in order, once), `reset` ({stream, reason}) and `lost` ({stream, code}). */
export class Streams extends Emitter {
  #ask;
  #resync;
  #streams = new Map();
  #round = 0;
  #online = false;
  #scheduled = false;

  /**
   * `ask(name, data)` promises an ack; `resync(stream, top)` takes a new snapshot, where `top` is
   * the server's word on where the stream stands, and promises the position it is true at.
   */
  constructor(ask, resync) {
    super();
    this.#ask = ask;
    this.#resync = resync;
  }

  has(stream) {
    return this.#streams.has(stream);
  }

  position(stream) {
    return this.#streams.get(stream)?.position ?? null;
  }

  get size() {
    return this.#streams.size;
  }

  /** Follow from `position`, which a snapshot gave. A stream that is followed is left as it is. */
  follow(stream, position) {
    if (this.#streams.has(stream)) return;
    this.#streams.set(stream, { stream, position, behind: true, held: [] });
    this.#schedule();
  }

  unfollow(stream) {
    if (!this.#streams.delete(stream) || !this.#online) return;
    this.#ask("unsubscribe", { stream }).catch(() => {});
  }

  /** The connection stands: take up every stream where it was left. Resolves when all are level. */
  async connect() {
    this.#online = true;
    this.#round++;
    for (const entry of this.#streams.values()) this.#fallBehind(entry);
    await this.#catchUp();
  }

  disconnect() {
    this.#online = false;
    this.#round++;
  }

  receive(event) {
    const entry = this.#streams.get(event.stream);
    if (!entry) return;
    if (entry.behind) this.#hold(entry, event);
    else this.#deliver(entry, event);
  }

  /** The server says that the log was left: only a new snapshot helps. */
  receiveReset({ stream, reason, position }) {
    const entry = this.#streams.get(stream);
    if (!entry) return;
    entry.behind = true;
    entry.held = [];
    this.#replace(entry, reason, position, this.#round);
  }

  receiveLoss({ stream, code }) {
    if (this.#streams.delete(stream)) this.emit("lost", { stream, code });
  }

  #schedule() {
    if (this.#scheduled || !this.#online) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#catchUp();
    });
  }

  #fallBehind(entry) {
    entry.behind = true;
    entry.asking = false;
    entry.held = [];
  }

  async #catchUp() {
    const round = this.#round;
    const waiting = [...this.#streams.values()].filter((entry) => entry.behind && !entry.asking);
    const batches = [];
    for (let i = 0; i < waiting.length; i += RESUME_BATCH) {
      batches.push(this.#resume(waiting.slice(i, i + RESUME_BATCH), round));
    }
    await Promise.all(batches);
  }

  async #resume(entries, round) {
    for (const entry of entries) entry.asking = true;
    const positions = Object.fromEntries(entries.map((e) => [e.stream, e.position]));
    try {
      const { streams } = await this.#ask("resume", { positions });
      const current = entries.filter((entry) => this.#isCurrent(entry, round));
      await Promise.all(current.map((e) => this.#settle(e, streams[e.stream], round)));
    } catch (error) {
      await this.#retry(entries, error, round);
    }
  }

  async #retry(entries, error, round) {
    // A lost connection ends the round, and the next one starts over by itself.
    await sleep(error.retryAfterS * 1000 + 300 + backoffMs(2));
    if (round !== this.#round) return;
    for (const entry of entries) entry.asking = false;
    await this.#catchUp();
  }

  async #settle(entry, ack, round) {
    if (!ack || ack.error || ack.ok === false) {
      return this.receiveLoss({ stream: entry.stream, code: ack?.error?.code ?? "internal" });
    }
    if (ack.reset) return this.#replace(entry, ack.reset.reason, ack.position, round);
    for (const event of ack.events) this.#accept(entry, event);
    entry.position = ack.position;
    if (!ack.more) return this.#goLive(entry);
    return this.#readOn(entry, round);
  }

  async #readOn(entry, round) {
    const { stream, position } = entry;
    try {
      const ack = await this.#ask("subscribe", { stream, after: position });
      if (this.#isCurrent(entry, round)) await this.#settle(entry, ack, round);
    } catch (error) {
      if (error.retryable) await this.#retry([entry], error, round);
      else if (this.#isCurrent(entry, round)) this.receiveLoss({ stream, code: error.code });
    }
  }

  async #replace(entry, reason, top, round) {
    entry.asking = true;
    this.emit("reset", { stream: entry.stream, reason });
    for (let attempt = 0; this.#isCurrent(entry, round); attempt++) {
      try {
        const position = await this.#resync(entry.stream, top);
        if (!this.#isCurrent(entry, round)) return;
        entry.position = position;
        return this.#goLive(entry);
      } catch (error) {
        if (!error.retryable) return this.receiveLoss({ stream: entry.stream, code: error.code });
        await sleep(backoffMs(attempt));
      }
    }
  }

  #isCurrent(entry, round) {
    return round === this.#round && this.#streams.get(entry.stream) === entry;
  }

  #goLive(entry) {
    const { held, overflowed } = entry;
    Object.assign(entry, { behind: false, asking: false, held: [], overflowed: false });
    for (const event of held) this.receive(event);
    if (overflowed) {
      entry.behind = true;
      this.#schedule();
    }
  }

  #hold(entry, event) {
    // Beyond the bound the newest are let go: the gap they leave is read from the log.
    if (entry.held.length < MAX_HELD) entry.held.push(event);
    else entry.overflowed = true;
  }

  #deliver(entry, event) {
    if (event.offset > entry.position.offset + 1) {
      entry.behind = true;
      this.#hold(entry, event);
      this.#schedule();
    } else {
      this.#accept(entry, event);
    }
  }

  #accept(entry, event) {
    if (event.offset <= entry.position.offset) return;
    entry.position = { ...entry.position, offset: event.offset };
    this.emit("event", event);
  }
}
