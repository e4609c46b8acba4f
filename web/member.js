/* One user, signed in: the client library, as the page's store and views use it.
 *
 * A snapshot comes by REST with its position, and the channel is followed from there. Which door
 * is in use, what is tried again and what was had already is the library's business. */

import { Client } from "/static/client/fanfare.js";

import { Emitter } from "./emitter.js";
import { io } from "./link.js";
import { Rest } from "./rest.js";
import { tokensOf } from "./tokens.js";

const DEFAULT_MAX_SUBSCRIPTIONS = 128;
const DEFAULT_MAX_BYTES = 64 * 1024;

/*
 * Emits `status`, `live`, `event`, `signal`, `snapshot` (channelId, sync), `reset` ({stream,
 * reason}), `user_reset`, `lost` ({stream, code}) and `bye`.
 */
export class Member extends Emitter {
  #accounts;
  #client;
  #followed = new Map();

  /** `doors`: the choice of a door (doors.js). */
  constructor(accounts, user, doors) {
    super();
    this.user = user;
    this.userStream = `user:${user.id}`;
    this.#accounts = accounts;
    const token = tokensOf(accounts, user);
    this.#client = new Client({ token, user: user.id, io, timing: doors.timing });
    this.rest = new Rest(this.#client);
    for (const name of ["event", "signal", "bye"]) {
      this.#client.on(name, (value) => this.emit(name, value));
    }
    this.#client.on("state", (state) => this.#show(state));
    this.#client.on("user_reset", () => this.#hearReset());
    this.force(doors.forced);
  }

  /** How the page stands to the server: `{state, door, node, detail, code, retry_at}`. */
  get status() {
    const { state } = this.#client;
    return { ...state, node: state.state === "live" ? this.#client.node : null };
  }

  /** The messages on their way. */
  get outbox() {
    return this.#client.outbox;
  }

  /** How many channels may be followed. */
  get maxChannels() {
    return this.#client.limits.max_subscriptions ?? DEFAULT_MAX_SUBSCRIPTIONS;
  }

  get maxBytes() {
    return this.#client.limits.max_event_bytes ?? DEFAULT_MAX_BYTES;
  }

  /** Connect; while connected, try a better door at once; in a wait, skip the rest of it. */
  reconnect() {
    this.#client.reconnect();
  }

  /** Use one door alone; null: the best that works. */
  force(door) {
    this.#client.force(door);
  }

  /** End for good: the object is not used again. */
  stop() {
    this.#client.close();
  }

  channel(id) {
    return this.#client.channel(id);
  }

  /** Write a message: it is in the outbox until the server has it. */
  send(channelId, body, replyTo) {
    this.#client.queue(channelId, body, replyTo ? { reply_to: replyTo } : {});
  }

  /** The snapshot of a channel; whoever draws it hears it as `snapshot` too. */
  async sync(channelId, messages = 50) {
    const sync = await this.channel(channelId).sync({ messages });
    this.emit("snapshot", sync.channel.id, sync);
    return sync;
  }

  get following() {
    return this.#followed.size;
  }

  follows(channelId) {
    return this.#followed.has(channelId);
  }

  /** Follow a channel from `after`, which a snapshot gave; one that is followed is left as it is. */
  follow(channelId, after) {
    if (this.follows(channelId)) return;
    const handlers = {
      reset: ({ reason }) => this.#resync(channelId, reason),
      lost: ({ code }) => this.#lose(channelId, subscription, code),
    };
    const subscription = this.channel(channelId).subscribe(handlers, { after });
    this.#followed.set(channelId, subscription);
  }

  unfollow(channelId) {
    this.#followed.get(channelId)?.stop();
    this.#followed.delete(channelId);
  }

  /** End this session everywhere and forget it here, also when the server can't be told. */
  async logOut() {
    await this.rest.post("/auth/logout").catch(() => {});
    this.#accounts.drop(this.user.id);
  }

  async #resync(channelId, reason) {
    this.emit("reset", { stream: `channel:${channelId}`, reason });
    return (await this.sync(channelId)).position;
  }

  #hearReset() {
    this.emit("reset", { stream: this.userStream, reason: "own" });
    this.emit("user_reset");
  }

  #lose(channelId, subscription, code) {
    // One that was left and is followed anew meanwhile is not lost with the old one.
    if (this.#followed.get(channelId) !== subscription) return;
    this.#followed.delete(channelId);
    this.emit("lost", { stream: `channel:${channelId}`, code });
  }

  #show({ state, code }) {
    this.emit("status", this.status);
    if (state === "live") this.emit("live");
    // Where the session has ended otherwise, its next refresh tells.
    else if (state === "ended" && code === "token_revoked") this.#accounts.drop(this.user.id);
  }
}
