/* The client of one user: tokens, REST, the socket, the streams and the outbox, wired.
 *
 * A snapshot comes by REST with its position, the events after it by the socket; after a
 * cut every stream is resumed from its position before the client calls itself live. */

import { Emitter } from "./emitter.js";
import { Outbox } from "./outbox.js";
import { Rest, call } from "./rest.js";
import { Socket } from "./socket.js";
import { Streams } from "./streams.js";
import { backoffMs, sleep } from "./timing.js";
import { Tokens } from "./tokens.js";

const CHANGE_DEADLINE_MS = 20_000;
const TYPING_EVERY_MS = 3_000;
const DEFAULT_MAX_SUBSCRIPTIONS = 128;
const DEFAULT_MAX_BYTES = 64 * 1024;

export function login(username, password) {
  return call("POST", "/auth/login", { body: { username, password } });
}

export function register(username, password, displayName) {
  const body = { username, password, ...(displayName && { display_name: displayName }) };
  return call("POST", "/auth/register", { body });
}

/*
 * Emits `status`, `live`, `event`, `signal`, `snapshot` (channelId, sync), `user_reset`,
 * `lost` ({stream, code}) and `bye`.
 */
export class Fanfare extends Emitter {
  status = { state: "connecting", node: null, detail: "" };

  #accounts;
  #tokens;
  #socket;
  #socketToken = null;
  #ready = 0;
  #level = false;
  #wasLive = false;
  #typedAt = new Map();
  #limits = {};
  #offs = [];

  constructor(accounts, user) {
    super();
    this.user = user;
    this.userStream = `user:${user.id}`;
    this.#accounts = accounts;
    this.#tokens = new Tokens(accounts, user.id);
    this.rest = new Rest(this.#tokens);
    this.#socket = new Socket(socketUrl(), (options) => this.#authenticate(options));
    const ask = (name, data) => this.#socket.request(name, data);
    this.streams = new Streams(ask, (stream, top) => this.#resync(stream, top));
    this.outbox = new Outbox(ask, user.id);
    this.#wire();
  }

  start() {
    this.#socket.open();
  }

  /** End for good: the object is not used again. */
  stop() {
    for (const off of this.#offs) off();
    this.#socket.stop();
    this.streams.disconnect();
    this.outbox.disconnect();
  }

  /** Try at once, after a wait or after the server said never. */
  reconnect() {
    if (this.#socket.state === "stopped") this.#socket.open();
    else this.#socket.retryNow();
  }

  /** The snapshot of a channel; whoever draws it hears it as `snapshot` too. */
  async sync(channelId, messages = 50) {
    const sync = await this.rest.get(`/channels/${channelId}/sync`, { messages });
    this.emit("snapshot", sync.channel.id, sync);
    return sync;
  }

  /** A change by the socket that outlives a short outage; safe, as it names its end state. */
  async change(name, data) {
    const deadline = Date.now() + CHANGE_DEADLINE_MS;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#socket.request(name, data);
      } catch (error) {
        if (!error.retryable || Date.now() > deadline) throw error;
        await sleep(error.retryAfterS * 1000 + 200 + backoffMs(attempt, { capMs: 3_000 }));
      }
    }
  }

  read(channelId, offset) {
    return this.#socket.request("read", { channel: channelId, offset });
  }

  typing(channelId) {
    const now = Date.now();
    if (now - (this.#typedAt.get(channelId) ?? 0) < TYPING_EVERY_MS) return;
    this.#typedAt.set(channelId, now);
    this.#socket.request("typing", { channel: channelId }).catch(() => {});
  }

  /** The next `typing` is sent at once, because what was typed has been sent. */
  typed(channelId) {
    this.#typedAt.delete(channelId);
  }

  /** End this session everywhere and forget it here, also when the server can't be told. */
  async logOut() {
    await this.rest.post("/auth/logout").catch(() => {});
    this.#accounts.drop(this.user.id);
  }

  #wire() {
    this.#socket.on("state", (facts) => this.#showSocket(facts));
    this.#socket.on("leave", () => this.#pause());
    this.#socket.on("packet", (name, data) => this.#hear(name, data));
    this.#socket.on("bye", (bye) => this.emit("bye", bye));
    this.streams.on("event", (event) => this.#pass(event));
    this.streams.on("lost", (loss) => this.emit("lost", loss));
    this.#offs = [
      this.#accounts.on("changed", (userId) => userId === this.user.id && this.#reauthenticate()),
      listen(window, "online", () => this.reconnect()),
      listen(window, "offline", () => this.#showSocket({ state: this.#socket.state })),
      listen(document, "visibilitychange", () => document.hidden || this.#socket.retryNow()),
    ];
  }

  async #authenticate({ fresh }) {
    const refused = fresh ? this.#socketToken : null;
    this.#socketToken = await this.#tokens.get({ refused });
    return { token: this.#socketToken };
  }

  /** How many streams one connection may follow, as the server last said. */
  get maxSubscriptions() {
    return this.#limits.max_subscriptions ?? DEFAULT_MAX_SUBSCRIPTIONS;
  }

  get maxBytes() {
    return this.#limits.max_event_bytes ?? DEFAULT_MAX_BYTES;
  }

  #hear(name, data) {
    if (name === "event") this.streams.receive(data);
    else if (name === "signal") this.emit("signal", data);
    else if (name === "ready") this.#takeUp(data);
    else if (name === "reset") this.streams.receiveReset(data);
    else if (name === "unsubscribed") this.streams.receiveLoss(data);
    else if (name === "auth.expiring") this.#renew();
  }

  async #takeUp({ node, position, limits }) {
    this.#limits = limits ?? {};
    const round = ++this.#ready;
    this.streams.follow(this.userStream, position);
    await this.streams.connect();
    if (round !== this.#ready) return;
    this.#level = this.#wasLive = true;
    this.#setStatus("live", { node, detail: "" });
    this.outbox.connect();
    this.emit("live");
  }

  #pause() {
    this.#ready++;
    this.#level = false;
    this.streams.disconnect();
    this.outbox.disconnect();
  }

  #pass(event) {
    // A message of ours may come as an event before its ack does, or after a lost ack.
    if (event.type === "message.created" && event.actor === this.user.id) {
      this.outbox.remove(event.key);
    }
    this.emit("event", event);
  }

  async #resync(stream, top) {
    if (stream !== this.userStream) {
      return (await this.sync(stream.slice("channel:".length))).position;
    }
    this.emit("user_reset");
    return top;
  }

  async #renew() {
    // Where tokens live for less than a minute the warning comes with each new one: half of its
    // life is let pass, or the two would chase one another.
    const { obtained_at, expires_at } = this.#accounts.find(this.user.id) ?? {};
    const round = this.#ready;
    await sleep(Math.max(0, (obtained_at + expires_at) / 2 - Date.now()));
    if (round !== this.#ready) return;
    await this.#tokens.get({ refused: this.#socketToken }).catch(() => {});
    await this.#reauthenticate();
  }

  async #reauthenticate() {
    const token = this.#accounts.find(this.user.id)?.access_token;
    if (!token || token === this.#socketToken || this.#socket.state !== "joined") return;
    await this.#socket.request("auth.refresh", { token }).then(
      () => { this.#socketToken = token; },
      () => {},
    );
  }

  #showSocket({ state, reason = "", code, detail }) {
    const facts = { detail: detail || reason };
    if (state === "stopped" && code === "token_revoked") this.#accounts.drop(this.user.id);
    // The browser's own word on the network is not taken over that of a link which works: the
    // server may be this very machine.
    if (state === "joined" && this.#level) return;
    if (state === "stopped" || !navigator.onLine) this.#setStatus("offline", facts);
    else this.#setStatus(this.#wasLive ? "reconnecting" : "connecting", facts);
  }

  #setStatus(state, facts) {
    this.status = { ...this.status, ...facts, state, retryAt: this.#socket.retryAt };
    this.emit("status", this.status);
  }
}

function socketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/socket.io/?EIO=4&transport=websocket`;
}

function listen(target, type, handle) {
  target.addEventListener(type, handle);
  return () => target.removeEventListener(type, handle);
}
