// Built from src/ by `npm run build`: change it there.

// src/emitter.ts
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  /** Call `listener` for every `type` from now on; returns the function that ends it. */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }
  emit(type, ...values) {
    for (const listener of [...this.#listeners.get(type) ?? []]) {
      guard(() => listener(...values));
    }
  }
};
function guard(run) {
  try {
    const result = run();
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}
function report(error) {
  console.error("A listener failed.", error);
}

// src/timing.ts
var TIMING = {
  socketMs: 2500,
  sseMs: 2e3,
  callMs: 15e3,
  ackMs: 4e3,
  probeMs: 1e4,
  probeCapMs: 3e5,
  backoffMs: 500,
  backoffCapMs: 3e4
};
function backoff(attempt, baseMs = 500, capMs = 1e4) {
  return Math.random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}
function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
function makeKey() {
  const digit = () => Math.floor(Math.random() * 16).toString(16);
  return globalThis.crypto?.randomUUID?.() ?? "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit);
}

// src/channel.ts
var Follower = class {
  constructor(handlers) {
    this.handlers = handlers;
    this.ready = new Promise((resolve, reject) => {
      this.level = resolve;
      this.fail = reject;
    });
    this.ready.catch(() => {
    });
  }
  handlers;
  ready;
  roster = null;
  level;
  fail;
  lose(error) {
    this.fail(error);
    guard(() => this.handlers.lost?.(error));
  }
};
var Channel = class {
  /** `id` may be a slug. */
  constructor(core, id) {
    this.id = id;
    this.#core = core;
    this.messages = new Messages(core, id);
  }
  id;
  messages;
  #core;
  /**
   * Follow the channel: every event once and in order, across cuts and doors. Several may follow
   * one channel; `after` and `history` are for the first of them.
   */
  subscribe(handlers, options = {}) {
    return this.#core.follow(this.id, new Follower(handlers), options);
  }
  /**
   * Publish an event of the application's own. Kept until the server has it, retried with its key,
   * in the order of the channel; a refusal rejects. `ephemeral`: a signal, sent once, perhaps lost.
   */
  async publish(type, data, { key, ephemeral = false } = {}) {
    const fields = { stream: `channel:${this.id}`, type, data };
    const ask = this.#core;
    const { position = null, replayed = false } = ephemeral ? await ask.ask("publish", { ...fields, ephemeral }) : await ask.outbox.send("publish", this.id, fields, key);
    return { position, replayed };
  }
  /** Tell that the user is typing: a signal, perhaps lost. Call it at each key; it is not sent at each. */
  typing() {
    this.#core.typing(this.id);
  }
  /** Move the read marker forward. */
  read(offset) {
    return this.#core.change("read", { channel: this.id, offset });
  }
  /** The channel as it is now, and the position to follow it from. */
  sync({ messages } = {}) {
    return this.#core.http.get(`/channels/${this.id}/sync`, { messages });
  }
  /** A page of the log, after an offset (of an epoch). */
  history(page = {}) {
    return this.#core.http.get(`/channels/${this.id}/events`, page);
  }
  /** Who is present now. */
  roster() {
    return this.#core.http.get(`/channels/${this.id}/presence`);
  }
};
var Messages = class {
  #core;
  #id;
  constructor(core, id) {
    this.#core = core;
    this.#id = id;
  }
  /** Write a message. Kept until the server has it, also over a reload; a refusal rejects. */
  async create(body, { key = makeKey(), ...more } = {}) {
    const fields = { channel: this.#id, body, ...more };
    return (await this.#core.outbox.send("message.create", this.#id, fields, key)).message;
  }
  async update(id, body) {
    return (await this.#core.change("message.update", { channel: this.#id, id, body })).message;
  }
  async delete(id) {
    return (await this.#core.change("message.delete", { channel: this.#id, id })).message;
  }
  /** A page of messages, the newest first; `before` and `after` are offsets. */
  list(page = {}) {
    return this.#core.http.get(`/channels/${this.#id}/messages`, page);
  }
};

// src/calls.ts
var ROUTES = {
  "message.create": ({ channel, ...body }) => ["POST", `/channels/${channel}/messages`, body],
  "message.update": ({ channel, id, body }) => ["PATCH", `/channels/${channel}/messages/${id}`, { body }],
  "message.delete": ({ channel, id }) => ["DELETE", `/channels/${channel}/messages/${id}`],
  publish: ({ stream, ...body }) => ["POST", `/channels/${stream.slice(8)}/events`, body],
  read: ({ channel, offset }) => ["PUT", `/channels/${channel}/read`, { offset }],
  typing: ({ channel }) => ["POST", `/channels/${channel}/typing`, {}]
};
async function askByRest(http, name, data) {
  const [method, path, body] = ROUTES[name](data);
  const { body: reply, headers } = await http.call(method, path, { body });
  const position = positionOf(headers.get("Fanfare-Position"));
  const replayed = headers.get("Idempotent-Replay") === "true";
  return name.startsWith("message.") ? { message: reply, position, replayed } : { ...reply, position, replayed };
}
function positionOf(header) {
  const [, offset, epoch] = /@(\d+)\/(.+)$/.exec(header ?? "") ?? [];
  return epoch ? { offset: Number(offset), epoch } : null;
}

// src/errors.ts
var FanfareError = class extends Error {
  constructor(code, detail, { retryable = false, status = 0, fields = [], retryAfterS = 0 } = {}) {
    super(detail || code);
    this.code = code;
    this.retryable = retryable;
    this.status = status;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }
  code;
  name = "FanfareError";
  /** Whether the same request may succeed later. */
  retryable;
  status;
  fields;
  retryAfterS;
};
var TOKEN_CODES = /* @__PURE__ */ new Set(["unauthorized", "token_expired", "token_revoked"]);
var RETRYABLE_STATUS = /* @__PURE__ */ new Set([408, 425, 429, 500, 502, 503, 504]);
function isOfToken(error) {
  return TOKEN_CODES.has(error.code);
}
function isOfNetwork({ code }) {
  return ["offline", "timeout", "protocol"].includes(code) || code.startsWith("http_");
}
function offline(detail = "The server can't be reached.") {
  return new FanfareError("offline", detail, { retryable: true });
}
function timeout() {
  return new FanfareError("timeout", "No answer came in time.", { retryable: true });
}
function closed() {
  return new FanfareError("closed", "The client was closed.");
}
function asError(thrown) {
  if (thrown instanceof FanfareError) return thrown;
  return offline(thrown instanceof Error ? thrown.message : String(thrown));
}
function fromWire(error = {}) {
  const code = error.code ?? "internal";
  return new FanfareError(code, error.detail, {
    retryable: error.retryable ?? ["unavailable", "draining", "too_many_connections"].includes(code),
    fields: error.errors,
    retryAfterS: error.retry_after
  });
}
async function fromResponse(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail || problem.title || `The server answered ${response.status}.`;
  return new FanfareError(problem.code ?? `http_${response.status}`, detail, {
    retryable: RETRYABLE_STATUS.has(response.status),
    status: response.status,
    fields: problem.errors,
    retryAfterS: Number(response.headers.get("Retry-After")) || 0
  });
}

// src/door.ts
function lost(detail) {
  return { code: "lost", detail, retry: "now", retry_after: 0 };
}
function verdictOf(error) {
  const { code, message, retryAfterS } = error;
  const retry = isOfToken(error) ? "never" : retryAfterS ? "later" : "now";
  return { code, detail: message, retry, retry_after: retryAfterS };
}
function errorOf({ code, detail, retry, retry_after }) {
  return new FanfareError(code, detail, { retryable: retry !== "never", retryAfterS: retry_after });
}

// src/connection.ts
var DOORS = ["socket", "sse", "poll"];
var REMEMBERED = "fanfare.door";
var STEADY_MS = 1e4;
var Connection = class extends Emitter {
  state = { state: "connecting", door: null, detail: "", code: "", retry_at: 0 };
  #options;
  #current = null;
  #candidate = null;
  #life = new AbortController();
  #pause = new AbortController();
  #hearEnd = () => {
  };
  #isRunning = false;
  #wasLive = false;
  #attempt = 0;
  #forced = null;
  #last;
  // The socket did not answer: the next try is a door below it.
  #isSuspect = false;
  #probes = 0;
  #probeTimer;
  constructor(options) {
    super();
    this.#options = options;
    this.#last = options.keep.get(REMEMBERED);
  }
  /** The door in use; null: none. */
  get door() {
    return this.#current?.door ?? null;
  }
  start() {
    if (this.#isRunning) return this.retryNow();
    this.#life = new AbortController();
    this.#attempt = 0;
    void this.#run(this.#life.signal);
  }
  stop() {
    this.#life.abort();
    this.#candidate?.close();
    this.#drop();
    this.#wake();
    this.#hearEnd({ code: "closed", detail: closed().message, retry: "never", retry_after: 0 });
  }
  /** Skip the rest of a wait, and try a better door at once: the network or the user came back. */
  retryNow() {
    this.#wake();
    this.#probes = 0;
    void this.#probe();
  }
  /** Use this door alone, whether it works or not; null: the best that works. */
  force(name) {
    this.#forced = name;
    if (!this.#isRunning) return;
    this.#candidate?.close();
    this.#candidate = null;
    if (!name || !this.door || this.door.name === name) return this.retryNow();
    void this.#probe([name]).then(() => {
      if (this.#forced === name && this.door && this.door.name !== name) this.leave("forced");
    });
  }
  /** Leave the door in use, and come back at once; `suspect`: by a lower one. */
  leave(code, detail = "") {
    this.#isSuspect = code === "suspect";
    this.#attempt = 0;
    this.#drop();
    this.#hearEnd({ code, detail, retry: "now", retry_after: 0 });
  }
  async #run(life) {
    this.#isRunning = true;
    while (!life.aborted) {
      const error = await this.#openOne(life);
      const verdict = error ? verdictOf(error) : await this.#stay();
      if (life.aborted) break;
      if (verdict.retry === "never") {
        this.#isRunning = false;
        return this.#tell({ state: "ended", ...verdict });
      }
      await this.#wait(verdict, life);
    }
    this.#isRunning = false;
    this.#tell({ state: "ended", code: "closed", detail: closed().message });
  }
  /** Try the doors in their order; give the last error where none would open. */
  async #openOne(life) {
    let last = null;
    for (const name of this.#order()) {
      if (!this.#allowed().includes(name)) continue;
      this.#tellDown({ code: last?.code ?? "", detail: last?.message ?? "" });
      try {
        await this.#open(name, life);
        return null;
      } catch (thrown) {
        last = asError(thrown);
      }
      const isWord = !isOfNetwork(last) && (last.retryable || isOfToken(last)) && last.code !== "internal";
      if (life.aborted || isWord) break;
    }
    this.#isSuspect = false;
    return last ?? offline("No door is left.");
  }
  /** The last that worked first, then the best first. */
  #order() {
    const allowed = this.#allowed();
    const fit = allowed.filter((name) => !this.#isSuspect || name !== "socket");
    const names = fit.length ? fit : allowed;
    return names.sort((a, b) => Number(b === this.#last) - Number(a === this.#last));
  }
  #allowed() {
    const { doors } = this.#options;
    return DOORS.filter((name) => this.#forced ? name === this.#forced : doors.includes(name));
  }
  async #open(name, life) {
    const { make, sink, streams } = this.#options;
    const opened2 = { door: null, verdict: null };
    opened2.door = make(name, {
      ...sink,
      bye: (verdict) => this.#current === opened2 && sink.bye(verdict),
      ended: (verdict) => this.#hearDoor(opened2, verdict)
    });
    this.#candidate = opened2.door;
    try {
      await streams.open(opened2.door);
    } finally {
      if (this.#candidate === opened2.door) this.#candidate = null;
    }
    if (!life.aborted && !opened2.verdict) return this.#adopt(opened2);
    opened2.door.close();
    streams.leave(opened2.door);
    throw offline(opened2.verdict?.detail);
  }
  #adopt(opened2) {
    const { door: old } = this;
    this.#current = opened2;
    old?.close();
    const { name } = opened2.door;
    this.#isSuspect = false;
    this.#wasLive = true;
    this.#last = name;
    if (!this.#forced) this.#options.keep.set(REMEMBERED, name);
    this.#tell({ state: "live", door: name });
    this.#scheduleProbe();
  }
  #hearDoor(opened2, verdict) {
    opened2.verdict = verdict;
    if (this.#current !== opened2) return;
    this.#drop();
    this.#hearEnd(verdict);
  }
  #drop() {
    const { door } = this;
    this.#current = null;
    clearTimeout(this.#probeTimer);
    if (!door) return;
    this.#candidate?.close();
    this.#options.streams.leave(door);
    door.close();
  }
  /** Promise why the connection ended, over all doors that followed one another meanwhile. */
  async #stay() {
    const since = Date.now();
    const verdict = await new Promise((resolve) => this.#hearEnd = resolve);
    this.#hearEnd = () => {
    };
    if (Date.now() - since > STEADY_MS) this.#attempt = 0;
    return verdict;
  }
  async #wait({ code, detail, retry, retry_after }, life) {
    if (code === "suspect" || code === "forced") return;
    const { backoffMs, backoffCapMs } = this.#options.timing;
    const askedMs = retry === "later" ? (retry_after || 0) * 1e3 : 0;
    const ms = askedMs + backoff(this.#attempt++, backoffMs, backoffCapMs);
    this.#tellDown({ code, detail, retry_at: Date.now() + ms });
    this.#pause = new AbortController();
    if (!life.aborted) await sleep(ms, this.#pause.signal);
  }
  #wake() {
    this.#pause.abort();
  }
  #scheduleProbe() {
    clearTimeout(this.#probeTimer);
    if (!this.#better().length) return void (this.#probes = 0);
    const { probeMs, probeCapMs } = this.#options.timing;
    const more = this.#probes++ ? backoff(this.#probes - 2, probeMs, probeCapMs - probeMs) : 0;
    this.#probeTimer = setTimeout(() => void this.#probe(), probeMs + more);
  }
  #better() {
    const allowed = this.#allowed();
    return this.door ? allowed.slice(0, Math.max(0, allowed.indexOf(this.door.name))) : [];
  }
  /** Open a better door beside the one in use, and then let that go. */
  async #probe(names = this.#better()) {
    if (this.#candidate || !this.door || !names.length) return;
    const life = this.#life.signal;
    for (const name of names) {
      const isOpen = await this.#open(name, life).then(() => true, () => false);
      if (isOpen || !this.door || life.aborted) return;
    }
    this.#scheduleProbe();
  }
  #tellDown(facts) {
    const isOffline = globalThis.navigator?.onLine === false;
    const state = isOffline ? "offline" : this.#wasLive ? "reconnecting" : "connecting";
    this.#tell({ ...facts, state });
  }
  #tell({ state = "connecting", door = null, detail = "", code = "", retry_at = 0 }) {
    const next = { state, door, detail, code, retry_at };
    if (JSON.stringify(next) === JSON.stringify(this.state)) return;
    this.state = next;
    this.emit("state", next);
  }
};

// src/http.ts
var Http = class {
  #base;
  #tokens;
  #fetch;
  #callMs;
  constructor(url, tokens, fetch, callMs) {
    this.#base = `${url}/api/v1`;
    this.#tokens = tokens;
    this.#fetch = fetch;
    this.#callMs = callMs;
  }
  get(path, query) {
    return this.call("GET", path, { query }).then(({ body }) => body);
  }
  /** One call; its `body` is null where the answer has none. */
  async call(method, path, options = {}) {
    const limit = deadline(options.signal, options.timeoutMs ?? this.#callMs);
    try {
      const response = await this.#send(method, path, options, limit.signal);
      const text = await response.text();
      return { body: text ? JSON.parse(text) : null, headers: response.headers };
    } catch (error) {
      if (limit.isOver()) throw timeout();
      if (error instanceof SyntaxError) throw garbled();
      throw asError(error);
    } finally {
      limit.clear();
    }
  }
  /** Ask for a stream of events; the answer's body goes on until `signal` ends it. */
  async open(path, query, signal) {
    try {
      const response = await this.#send("GET", path, { query }, signal, "text/event-stream");
      if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) return response;
      void response.body?.cancel();
      throw garbled();
    } catch (error) {
      throw asError(error);
    }
  }
  async #send(method, path, { query, body }, signal, accept = "application/json") {
    let token = await this.#tokens.get();
    for (let attempt = 0; ; attempt++) {
      const headers = { Accept: accept, Authorization: `Bearer ${token}` };
      if (body !== void 0) headers["Content-Type"] = "application/json";
      const response = await this.#fetch(this.#base + path + encode(query), {
        method,
        headers,
        signal,
        body: body === void 0 ? null : JSON.stringify(body),
        cache: "no-store"
      });
      if (response.ok) return response;
      const error = await fromResponse(response);
      if (attempt || !isOfToken(error)) throw error;
      token = await this.#tokens.get(token);
    }
  }
};
async function callOpenly(fetch, url, body, bearer) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (bearer) headers["Authorization"] = `Bearer ${bearer}`;
  const limit = deadline(void 0, TIMING.callMs);
  try {
    const text = body && JSON.stringify(body);
    const response = await fetch(url, { method: "POST", headers, body: text, signal: limit.signal });
    if (!response.ok) throw await fromResponse(response);
    return await response.json();
  } catch (error) {
    throw asError(error);
  } finally {
    limit.clear();
  }
}
function encode(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
function garbled() {
  return new FanfareError("protocol", "No answer of Fanfare's.", { retryable: true });
}
function deadline(outer, ms) {
  const inner = new AbortController();
  let over = false;
  const end = () => inner.abort(offline("The call was given up."));
  const timer = setTimeout(() => (over = true, end()), ms);
  if (outer?.aborted) end();
  outer?.addEventListener("abort", end);
  return {
    signal: inner.signal,
    isOver: () => over,
    clear: () => {
      clearTimeout(timer);
      outer?.removeEventListener("abort", end);
    }
  };
}

// src/keep.ts
var Keep = class {
  #storage;
  #memory = /* @__PURE__ */ new Map();
  constructor(storage) {
    this.#storage = storage;
  }
  get(key) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return JSON.parse(this.#storage?.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }
  set(key, value) {
    this.#memory.set(key, value);
    try {
      this.#storage?.setItem(key, JSON.stringify(value));
    } catch (error) {
      console.warn("Nothing is kept over a reload.", error);
    }
  }
};
function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

// src/outbox.ts
var Outbox = class extends Emitter {
  #ask;
  #keep;
  #storageKey = "";
  #entries = [];
  #waiters = /* @__PURE__ */ new Map();
  #heard = /* @__PURE__ */ new WeakMap();
  #busy = /* @__PURE__ */ new Set();
  #isOnline = false;
  #life = new AbortController();
  constructor(ask, keep) {
    super();
    this.#ask = ask;
    this.#keep = keep;
  }
  /** All entries, or those of a channel, in the order in which they were written. */
  entries(channel) {
    return this.#entries.filter((entry) => !channel || entry.channel === channel);
  }
  /** Write something; it is sent as soon as it can be. */
  add(name, channel, data, key = makeKey()) {
    const at = (/* @__PURE__ */ new Date()).toISOString();
    const entry = { key, channel, name, data, at, state: "sending", detail: "" };
    this.#entries.push(entry);
    this.#changed(channel);
    void this.#flush(channel);
    return entry;
  }
  /** Write something, and promise the server's answer. A refusal rejects, and nothing stays. */
  send(name, channel, data, key) {
    return new Promise((resolve, reject) => {
      this.#waiters.set(this.add(name, channel, data, key), { resolve, reject });
    });
  }
  /** Send an entry again that was refused. */
  retry(key) {
    const entry = this.#entries.find((one) => one.key === key);
    if (!entry) return;
    Object.assign(entry, { state: "sending", detail: "" });
    this.#changed(entry.channel);
    void this.#flush(entry.channel);
  }
  /** Forget an entry: its writer gave it up. It may have taken effect all the same. */
  remove(key) {
    const entry = this.#entries.find((one) => one.key === key);
    if (!entry) return;
    this.#take(entry)?.reject(closed());
  }
  /** Take up what an earlier page of this user left. */
  load(userId) {
    if (this.#storageKey) return;
    this.#storageKey = `fanfare.outbox.${userId}`;
    const kept = this.#keep.get(this.#storageKey) ?? [];
    this.#entries = [...kept, ...this.#entries];
    for (const channel of this.#channels()) this.#changed(channel);
    if (this.#isOnline) this.connect();
  }
  /** There is a door: send. */
  connect() {
    this.#isOnline = true;
    for (const channel of this.#channels()) void this.#flush(channel);
  }
  disconnect() {
    this.#isOnline = false;
  }
  /** An event of ours came, at `position`: what it tells of is in the log, also where its ack is lost. */
  hear({ stream, key, data }, position) {
    const isIt = (entry2) => entry2.key === key && `channel:${entry2.channel}` === stream;
    const entry = key && this.#entries.find(isIt);
    if (entry) this.#heard.set(entry, { message: data, position, replayed: false });
  }
  close() {
    this.disconnect();
    this.#life.abort();
    for (const waiter of this.#waiters.values()) waiter.reject(closed());
    this.#waiters.clear();
  }
  #channels() {
    return new Set(this.#entries.map(({ channel }) => channel));
  }
  async #flush(channel) {
    if (this.#busy.has(channel)) return;
    this.#busy.add(channel);
    for (let attempt = 0; this.#isOnline; ) {
      const entry = this.#entries.find((one) => one.channel === channel && one.state === "sending");
      if (!entry) break;
      attempt = await this.#send(entry, attempt) ? 0 : attempt + 1;
    }
    this.#busy.delete(channel);
  }
  async #send(entry, attempt) {
    try {
      const { key, name, data } = entry;
      if (this.#heard.has(entry)) return this.#done(entry, this.#heard.get(entry));
      return this.#done(entry, await this.#ask(name, { ...data, key }));
    } catch (thrown) {
      const error = asError(thrown);
      if (this.#heard.has(entry)) return this.#done(entry, this.#heard.get(entry));
      if (!this.#entries.includes(entry)) return true;
      if (!error.retryable) return this.#fail(entry, error);
      const isSwitch = error.code === "timeout" && !attempt;
      const ms = error.retryAfterS * 1e3 + (isSwitch ? 0 : backoff(attempt));
      await sleep(ms, this.#life.signal);
      return false;
    }
  }
  #done(entry, reply) {
    if (!this.#entries.includes(entry)) return true;
    const waiter = this.#take(entry);
    this.emit("sent", entry, reply);
    waiter?.resolve(reply);
    return true;
  }
  #fail(entry, error) {
    if (this.#waiters.has(entry)) {
      this.#take(entry).reject(error);
    } else {
      Object.assign(entry, { state: "failed", detail: error.message });
      this.#changed(entry.channel);
    }
    return true;
  }
  #take(entry) {
    const waiter = this.#waiters.get(entry);
    this.#waiters.delete(entry);
    this.#entries = this.#entries.filter((one) => one !== entry);
    this.#changed(entry.channel);
    return waiter;
  }
  #changed(channel) {
    if (this.#storageKey) this.#keep.set(this.#storageKey, this.#entries);
    this.emit("change", channel);
  }
};

// src/http-door.ts
var MAX_QUERY_CHARS = 1800;
var MAX_STREAMS = 129;
var HttpDoor = class {
  options;
  #feed = null;
  #turn = Promise.resolve();
  #isOpen = false;
  #isClosed = false;
  constructor(options) {
    this.options = options;
  }
  async open() {
    try {
      const answers = await this.#inTurn(true);
      if (this.#isClosed) throw closed();
      this.#isOpen = true;
      return answers;
    } catch (error) {
      this.close();
      throw error;
    }
  }
  take() {
    return this.#again(true);
  }
  drop() {
    this.#again(false).catch(() => {
    });
  }
  close() {
    this.#isClosed = true;
    this.#feed?.abort();
  }
  /** Begin the feed anew, as with a fresh token. */
  restart() {
    this.drop();
  }
  end(verdict) {
    if (this.#isClosed) return;
    this.close();
    if (this.#isOpen) this.options.sink.ended(verdict);
  }
  #again(withNew) {
    return this.#inTurn(withNew).catch((thrown) => {
      this.end(verdictOf(asError(thrown)));
      throw thrown;
    });
  }
  #inTurn(withNew) {
    const begun = this.#turn.then(() => this.#begin(withNew));
    this.#turn = begun.catch(() => {
    });
    return begun;
  }
  async #begin(withNew) {
    if (this.#isClosed) throw closed();
    this.#feed?.abort();
    const feed = this.#feed = new AbortController();
    const all = this.options.wants().filter((want) => withNew || want.after);
    const wants = all.slice(0, MAX_STREAMS);
    const answers = await this.#readHistory(wants, feed.signal);
    for (const want of all.slice(MAX_STREAMS)) answers.set(want, tooMany());
    const positions = new Map(wants.map((want) => [want, placeOf(want, answers)]));
    const rest = wants.filter((want) => !(answers.get(want) instanceof Error));
    const { query, known } = await this.#query(rest, positions, feed.signal);
    const heard = merge(known, await this.start(query, feed.signal));
    for (const want of rest) {
      answers.set(want, answers.get(want) ?? answerOf(want, heard));
    }
    this.options.sink.ready({ user: { id: heard.streams?.["user:me"]?.slice(5) }, node: heard.node });
    return answers;
  }
  /** The last events of streams that are new to us; from there the feed goes on. */
  async #readHistory(wants, signal) {
    const answers = /* @__PURE__ */ new Map();
    const fresh = wants.filter((want) => !want.after && want.history);
    for (const want of fresh) {
      const query = { streams: want.stream, history: want.history };
      try {
        const { body } = await this.options.http.call("GET", "/events", { query, signal });
        answers.set(want, historyOf(want, body));
      } catch (thrown) {
        const error = asError(thrown);
        if (error.code !== "not_found") throw error;
        answers.set(want, error);
      }
    }
    return answers;
  }
  async #query(wants, places, signal) {
    const presence = presenceOf(wants);
    const streams = wants.map((want) => named(want.stream, places.get(want))).join(",");
    if (streams.length <= MAX_QUERY_CHARS) return { query: { streams, presence }, known: null };
    const all = Object.fromEntries(wants.map((want) => [want.stream, places.get(want)]));
    const asked = { body: { streams: all }, signal };
    const { body } = await this.options.http.call("POST", "/events/cursor", asked);
    const seen = presenceIn(presence, body.positions);
    return { query: { cursor: body.cursor, presence: seen }, known: body };
  }
};
function presenceOf(wants) {
  const channels = wants.filter(({ stream }) => stream.startsWith("channel:"));
  const seen = channels.filter(({ presence }) => presence).map(({ stream }) => stream);
  if (seen.length < channels.length) return seen.join(",") || void 0;
  return seen.length ? "true" : void 0;
}
function presenceIn(presence, positions) {
  if (typeof presence !== "string" || presence === "true") return presence;
  return presence.split(",").filter((name) => positions[name]).join(",") || void 0;
}
function tooMany() {
  return new FanfareError("too_many_subscriptions", "There are too many streams.");
}
function named(stream, at) {
  return at ? `${stream}@${at.offset}/${at.epoch}` : stream;
}
function placeOf(want, answers) {
  const answer = answers.get(want);
  return want.after ?? (answer && !(answer instanceof Error) ? answer.position : null);
}
function merge(known, greeting) {
  return {
    ...greeting,
    streams: { ...known?.streams, ...greeting.streams },
    unsubscribed: [...known?.unsubscribed ?? [], ...greeting.unsubscribed ?? []]
  };
}
function answerOf(want, { streams, positions, unsubscribed }) {
  const full = streams?.[want.stream] ?? want.stream;
  const loss = unsubscribed?.find(({ stream }) => stream === full || stream === want.stream);
  if (loss) return new FanfareError(loss.code, "The stream may not be read.");
  const position = want.after ?? positions[full];
  if (!position) return new FanfareError("internal", `No position of ${full}.`, { retryable: true });
  return { position, events: [], more: false, reset: null };
}
function historyOf(want, body) {
  const answer = answerOf(want, body);
  return answer instanceof Error ? answer : { ...answer, events: body.events };
}

// src/poll-door.ts
var WAIT_S = 25;
var PAUSE_MS = 1e3;
var PollDoor = class extends HttpDoor {
  name = "poll";
  async start(query, signal) {
    const first = await this.#call({ ...query, ...query["cursor"] != null && { wait: 0 } }, 0, signal);
    if (!signal.aborted) this.#tell({ ...first, unsubscribed: [] });
    void this.#goOn(first, query["presence"], signal);
    return first;
  }
  async #goOn(last, presence, signal) {
    try {
      for (let poll = last; !signal.aborted; ) {
        if (poll.bye) return this.#leave(poll.bye);
        const asked = Date.now();
        const seen = presenceIn(presence, poll.positions);
        poll = await this.#call({ cursor: poll.cursor, wait: WAIT_S, presence: seen }, WAIT_S, signal);
        if (signal.aborted) return;
        this.#tell(poll);
        const isEmpty = !poll.events.length && !poll.signals?.length && !poll.bye;
        if (isEmpty && Date.now() - asked < PAUSE_MS) await sleep(PAUSE_MS, signal);
      }
    } catch (thrown) {
      if (!signal.aborted) this.end(verdictOf(asError(thrown)));
    }
  }
  async #call(query, waitS, signal) {
    const timeoutMs = waitS * 1e3 + this.options.timing.callMs;
    return (await this.options.http.call("GET", "/events", { query, signal, timeoutMs })).body;
  }
  #tell({ resets = [], events, signals = [], unsubscribed = [] }) {
    const { sink } = this.options;
    for (const { stream, reason, oldest, position } of resets) {
      sink.reset(stream, { reason, top: position, ...oldest !== void 0 && { oldest } });
    }
    for (const event of events) sink.event(event);
    for (const signal of signals) sink.signal(signal);
    for (const { stream, code } of unsubscribed) sink.unsubscribed(stream, code);
  }
  #leave(bye) {
    this.options.sink.bye(bye);
    this.end(bye);
  }
};

// src/roster.ts
var RosterKeeper = class {
  #read;
  #tell;
  #roster = null;
  #at = /* @__PURE__ */ new Map();
  #round = 0;
  constructor(read, tell) {
    this.#read = read;
    this.#tell = tell;
  }
  /** Begin with what a subscription gave; without it, read. */
  async begin(roster) {
    const round = ++this.#round;
    this.#at.clear();
    const known = roster ?? await this.#read().catch(() => null);
    if (known && round === this.#round) this.#set(known);
  }
  hear({ type, data, at }) {
    if (!type.startsWith("presence.") || !this.#roster) return;
    const { user_id: id, count, ...person } = data;
    if (!id) return this.#set({ count, people: null });
    if ((this.#at.get(id) ?? "") > at) return;
    this.#at.set(id, at);
    const others = (this.#roster.people ?? []).filter(({ user_id }) => user_id !== id);
    const here = { user_id: id, ...person };
    const people = type === "presence.left" ? others : [...others, here];
    if (people.length === count) this.#set({ count, people });
    else void this.begin(null);
  }
  #set(roster) {
    this.#roster = roster;
    this.#tell(roster);
  }
};

// src/socket-door.ts
var RESUME_BATCH = 100;
var BYE_GRACE_MS = 2e3;
var stockSocket = async (url, options) => {
  const { io } = await import("socket.io-client");
  return io(url, options);
};
var SocketDoor = class {
  name = "socket";
  #options;
  #socket = null;
  #fail = () => {
  };
  #verdict = null;
  #isOpen = false;
  #life = new AbortController();
  constructor(options) {
    this.#options = options;
  }
  async open() {
    const { tokens, wants } = this.#options;
    const token = await tokens.get();
    try {
      await this.#join(token).catch(async (error) => {
        if (!isOfToken(error)) throw error;
        await this.#join(await tokens.get(token));
      });
      const answers = await this.take(wants());
      if (this.#life.signal.aborted) throw offline();
      this.#isOpen = true;
      return answers;
    } catch (error) {
      this.close();
      throw this.#verdict ? errorOf(this.#verdict) : error;
    }
  }
  /** Connect, and resolve at the server's greeting. */
  async #join(token) {
    const { url, path, io, timing } = this.#options;
    this.#socket?.close();
    const options = {
      path,
      auth: { token },
      transports: ["websocket"],
      reconnection: false,
      forceNew: true
    };
    const socket = await io(url, options);
    if (this.#life.signal.aborted) socket.close();
    if (this.#life.signal.aborted) throw closed();
    this.#socket = socket;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(timeout()), timing.socketMs);
      this.#fail = (error) => (clearTimeout(timer), reject(error));
      this.#listen(socket, () => (clearTimeout(timer), resolve()));
    });
  }
  #listen(socket, greet) {
    const { sink } = this.#options;
    const hear = (name, handle) => socket.on(name, (data) => this.#socket === socket && handle(data));
    hear("connect_error", (error) => this.#fail(refusal(error)));
    hear("disconnect", (reason) => this.#end(lost(String(reason))));
    hear("ready", (ready) => (sink.ready(ready), greet()));
    hear("event", (event) => sink.event(event));
    hear("signal", (signal) => sink.signal(signal));
    hear("reset", ({ stream, reason, position }) => sink.reset(stream, { reason, top: position }));
    hear("unsubscribed", ({ stream, code }) => sink.unsubscribed(stream, code));
    hear("auth.expiring", ({ expires_in }) => void this.#renew(expires_in));
    hear("bye", (bye) => this.#hearBye(bye));
  }
  async take(wants) {
    const answers = /* @__PURE__ */ new Map();
    const known = wants.filter((want) => want.after);
    const batches = known.length > 1 ? chunks(known, RESUME_BATCH) : [];
    const alone = known.length > 1 ? wants.filter((want) => !want.after) : wants;
    await Promise.all([
      ...batches.map((batch) => this.#resume(batch, answers)),
      ...alone.map((want) => this.#subscribe(want, answers))
    ]);
    return answers;
  }
  async #resume(wants, answers) {
    const positions = Object.fromEntries(wants.map(({ stream, after }) => [stream, after]));
    const presence = wants.filter((want) => want.presence).map(({ stream }) => stream);
    const asked = { positions, ...presence.length && { presence } };
    const { streams } = await this.request("resume", asked);
    for (const want of wants) {
      const reply = streams[want.stream];
      answers.set(want, reply?.ok ? reply : fromWire(reply?.error));
    }
  }
  async #subscribe(want, answers) {
    const { stream, after, history, presence } = want;
    const from = after ? { after } : history ? { history } : {};
    try {
      answers.set(want, await this.request("subscribe", { stream, ...from, ...presence && { presence } }));
    } catch (thrown) {
      const error = asError(thrown);
      if (["offline", "timeout"].includes(error.code)) throw error;
      answers.set(want, error);
    }
  }
  drop(stream) {
    this.request("unsubscribe", { stream }).catch(() => {
    });
  }
  request(name, data) {
    const socket = this.#socket;
    if (!socket) return Promise.reject(offline());
    return new Promise((resolve, reject) => {
      const end = () => (clearTimeout(timer), this.#life.signal.removeEventListener("abort", leave));
      const leave = () => (end(), reject(offline()));
      const timer = setTimeout(() => (end(), reject(timeout())), this.#options.timing.ackMs);
      if (this.#life.signal.aborted) return leave();
      this.#life.signal.addEventListener("abort", leave);
      socket.emit(name, data, (reply) => {
        end();
        if (reply?.ok) resolve(reply);
        else reject(fromWire(reply?.error));
      });
    });
  }
  close() {
    const socket = this.#socket;
    this.#socket = null;
    this.#life.abort();
    this.#fail(closed());
    socket?.close();
  }
  async #renew(expiresInS) {
    await sleep(expiresInS * 500, this.#life.signal);
    if (this.#life.signal.aborted) return;
    const { tokens } = this.#options;
    await tokens.get(tokens.last).then((token) => this.request("auth.refresh", { token })).catch(() => {
    });
  }
  #hearBye(bye) {
    this.#verdict = bye;
    this.#options.sink.bye(bye);
    void sleep(BYE_GRACE_MS, this.#life.signal).then(() => this.#end(bye));
  }
  #end(verdict) {
    if (this.#life.signal.aborted) return;
    const said = this.#verdict ??= verdict;
    const wasOpen = this.#isOpen;
    this.close();
    if (wasOpen) this.#options.sink.ended(said);
  }
};
function refusal(error) {
  if (error?.data?.code) return fromWire(error.data);
  return offline(error?.message ?? "The socket could not be opened.");
}
function chunks(items, size) {
  const starts = Array.from({ length: Math.ceil(items.length / size) }, (_, i) => i * size);
  return starts.map((start) => items.slice(start, start + size));
}

// src/sse-parser.ts
var SseParser = class {
  #rest = "";
  #event = "";
  #data = [];
  /** Give the messages that end in this piece. */
  push(piece) {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#read(line));
  }
  #read(line) {
    if (line) this.#note(line);
    else if (this.#data.length) return [this.#take()];
    else this.#event = "";
    return [];
  }
  #note(line) {
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
  }
  #take() {
    const message = { event: this.#event || "message", data: this.#data.join("\n") };
    this.#event = "";
    this.#data = [];
    return message;
  }
};

// src/sse-door.ts
var SILENCE_MS = 4e4;
var SseDoor = class extends HttpDoor {
  name = "sse";
  start(query, signal) {
    const feed = new AbortController();
    const stop = () => feed.abort();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => (reject(timeout()), stop()), this.options.timing.sseMs);
      const greet = (greeting) => (clearTimeout(timer), resolve(greeting));
      const finish = (verdict, error) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
        reject(error);
        if (!signal.aborted) this.end(verdict);
      };
      this.#run(query, feed, greet).then(
        (verdict) => finish(verdict, errorOf(verdict)),
        (thrown) => finish(verdictOf(asError(thrown)), asError(thrown))
      );
    });
  }
  /** Read until the end, and promise why it ended. */
  async #run(query, feed, greet) {
    const response = await this.options.http.open("/events/stream", query, feed.signal);
    const reader = response.body.getReader();
    const parser = new SseParser();
    const decoder = new TextDecoder();
    let bye = null;
    for (; ; ) {
      const silence = setTimeout(() => feed.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return bye ?? lost("The stream ended.");
      for (const { event, data } of parser.push(decoder.decode(value, { stream: true }))) {
        if (feed.signal.aborted) return lost("The stream was left.");
        const body = JSON.parse(data);
        if (event === "ready") greet(body);
        else if (event === "bye") bye = body;
        else this.#hear(event, body, feed.signal);
      }
    }
  }
  #hear(event, body, signal) {
    const { sink } = this.options;
    if (event === "event") sink.event(body);
    else if (event === "signal") sink.signal(body);
    else if (event === "reset") sink.reset(body.stream, { ...body, top: body.top ?? body.position });
    else if (event === "unsubscribed") sink.unsubscribed(body.stream, body.code);
    else if (event === "auth.expiring") void this.#renew(body.expires_in, signal);
  }
  async #renew(expiresInS, signal) {
    await sleep(expiresInS * 500, signal);
    if (signal.aborted) return;
    const { tokens } = this.options;
    await tokens.get(tokens.last).then(() => this.restart(), () => {
    });
  }
};

// src/streams.ts
var MAX_HELD = 2e3;
var Streams = class {
  #listener;
  #entries = /* @__PURE__ */ new Map();
  #door = null;
  #asking = 0;
  #taking = false;
  /** While it took, something more was to be taken. */
  #isMore = false;
  #scheduled = false;
  #resets = 0;
  #life = new AbortController();
  // An answer is for who asked: a stream may have been left and be followed anew meanwhile.
  #askers = /* @__PURE__ */ new WeakMap();
  constructor(listener) {
    this.#listener = listener;
  }
  get size() {
    return this.#entries.size;
  }
  has(stream) {
    return this.#entries.has(stream);
  }
  position(stream) {
    return this.#find(stream)?.after ?? null;
  }
  /** Follow a stream. One that is followed is left as it is. */
  follow(want) {
    if (this.#entries.has(want.stream)) return;
    const rest = { taken: null, held: [], gaps: 0, healed: 0, resetting: 0 };
    this.#entries.set(want.stream, { ...want, ...rest });
    this.#schedule();
  }
  /** Ask for a stream that is followed once more, for a listener who came later. */
  again(stream, presence) {
    const entry = this.#entries.get(stream);
    if (!entry) return;
    entry.presence ||= presence;
    entry.taken = null;
    this.#schedule();
  }
  unfollow(stream) {
    if (this.#entries.delete(stream)) this.#door?.drop(stream);
  }
  /** Forget everything. */
  close() {
    this.#entries.clear();
    this.#door = null;
    this.#life.abort();
  }
  /** Begin at a position, where none is known yet. */
  begin(stream, position) {
    const entry = this.#entries.get(stream);
    if (entry) entry.after ??= position;
  }
  /** All that is to be followed, from where it stands now. */
  wants() {
    return [...this.#entries.values()].map((entry) => this.#ask(entry));
  }
  /** Open a door and follow everything through it; one that is in use stays so meanwhile. */
  open(door) {
    return this.#while(async () => {
      const answers = await door.open();
      this.#door = door;
      this.#merge(answers, door);
      this.#schedule();
    });
  }
  /** A door is not in use any more. */
  leave(door) {
    if (this.#door === door) this.#door = null;
  }
  receive(event) {
    const entry = this.#find(event.stream);
    if (!entry) return;
    this.#accept(entry, event);
    if (!this.#asking) this.#drain(entry);
  }
  receiveReset(stream, word) {
    const entry = this.#find(stream);
    if (entry) void this.#replace(entry, word);
  }
  receiveLoss(stream, code) {
    const entry = this.#find(stream);
    if (entry) this.#lose(entry, new FanfareError(code, "The stream may not be read."));
  }
  // Nobody reads other people's streams, so one that is a user's is our own.
  #find(stream) {
    return this.#entries.get(stream) ?? (stream.startsWith("user:") ? this.#entries.get("user:me") : void 0);
  }
  #lose(entry, error) {
    if (!this.#isHere(entry)) return;
    this.#entries.delete(entry.stream);
    this.#listener.lost(entry.stream, error);
  }
  #isHere(entry) {
    return this.#entries.get(entry.stream) === entry;
  }
  #ask(entry) {
    const { stream, after, history, presence } = entry;
    const want = { stream, after, history, presence };
    this.#askers.set(want, { entry, gaps: entry.gaps });
    return want;
  }
  /** While answers are awaited, what comes too early is put aside, and not asked for again. */
  async #while(work) {
    this.#asking++;
    try {
      await work();
    } finally {
      this.#asking--;
      this.#rest();
    }
  }
  #rest() {
    if (this.#asking) return;
    for (const entry of this.#entries.values()) this.#drain(entry);
  }
  #merge(answers, door) {
    for (const [want, answer] of answers) {
      const { entry, gaps } = this.#askers.get(want);
      if (!this.#isHere(entry)) continue;
      if (!(answer instanceof FanfareError)) this.#settle(entry, answer, door, gaps);
      else if (answer.retryable) this.#later(answer);
      else this.#lose(entry, answer);
    }
  }
  #settle(entry, ack, door, gaps) {
    const { events, position, more, reset, presence } = ack;
    const isNews = !more && entry.taken !== door;
    entry.healed = Math.max(entry.healed, gaps);
    entry.taken = more ? null : door;
    if (reset) void this.#replace(entry, { ...reset, top: position });
    else this.#catchUp(entry, events, position);
    if (isNews) this.#listener.level(entry.stream, presence);
  }
  #catchUp(entry, events, position) {
    const first = events[0]?.offset ?? position.offset + 1;
    entry.after ??= { offset: first - 1, epoch: position.epoch };
    for (const event of events) this.#accept(entry, event);
  }
  #accept(entry, event) {
    const { after, resetting } = entry;
    if (!after || resetting || event.offset > after.offset + 1) return this.#hold(entry, event);
    if (event.offset <= after.offset) return;
    entry.after = { offset: event.offset, epoch: after.epoch };
    this.#listener.event(event);
  }
  #hold(entry, event) {
    if (entry.held.length < MAX_HELD) entry.held.push(event);
    else entry.gaps++;
  }
  /** Take what was put aside as far as nothing is missing; for what is, ask the log. */
  #drain(entry) {
    if (entry.resetting || !entry.held.length && entry.gaps === entry.healed) return;
    const held = entry.held.sort((a, b) => a.offset - b.offset);
    entry.held = [];
    for (const event of held) this.#accept(entry, event);
    if (!entry.held.length && entry.gaps === entry.healed) return;
    entry.held = [];
    entry.gaps++;
    entry.taken = null;
    this.#schedule();
  }
  async #replace(entry, word) {
    const round = entry.resetting = ++this.#resets;
    entry.held = [];
    entry.after = word.top;
    for (let attempt = 0; entry.resetting === round && this.#isHere(entry); attempt++) {
      try {
        const position = await this.#listener.reset(entry.stream, word);
        if (entry.resetting === round) this.#goOn(entry, position ?? word.top, word.top);
        return;
      } catch (thrown) {
        const error = asError(thrown);
        if (!error.retryable) return this.#lose(entry, error);
        await sleep(error.retryAfterS * 1e3 + backoff(attempt), this.#life.signal);
      }
    }
  }
  #goOn(entry, position, top) {
    entry.resetting = 0;
    entry.after = position;
    if (position.offset < top.offset) entry.gaps++;
    if (!this.#asking) this.#drain(entry);
  }
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      void this.#takeUp();
    });
  }
  #later({ retryAfterS }) {
    const ms = retryAfterS * 1e3 + 300 + backoff(2);
    void sleep(ms, this.#life.signal).then(() => this.#schedule());
  }
  /** Take up, through the door in use, what it does not follow yet. */
  async #takeUp() {
    const door = this.#door;
    const missing = [...this.#entries.values()].filter((entry) => entry.taken !== door);
    if (!door || !missing.length) return;
    if (this.#taking) return void (this.#isMore = true);
    this.#taking = true;
    this.#isMore = false;
    try {
      await this.#while(async () => {
        const answers = await door.take(missing.map((entry) => this.#ask(entry)));
        if (this.#door === door) this.#merge(answers, door);
        this.#isMore ||= [...answers.values()].some((answer) => !(answer instanceof Error));
      });
    } catch (thrown) {
      if (this.#door === door) this.#later(asError(thrown));
    }
    this.#taking = false;
    if (this.#isMore || this.#door !== door) this.#schedule();
  }
};

// src/tokens.ts
var Tokens = class {
  /** The last token that was given out. */
  last = null;
  #source;
  #flight = null;
  constructor(source) {
    this.#source = typeof source === "string" ? () => source : source;
  }
  /** Promise a token that is not `refused`. Callers at the same time share one question. */
  get(refused = null) {
    if (this.last && this.last !== refused) return Promise.resolve(this.last);
    this.#flight ??= this.#ask(refused).finally(() => this.#flight = null);
    return this.#flight;
  }
  async #ask(refused) {
    const token = await Promise.resolve(this.#source({ refused })).catch((thrown) => {
      throw asError(thrown);
    });
    if (!token || token === refused) {
      throw new FanfareError("unauthorized", "No token is accepted.");
    }
    return this.last = token;
  }
};
function userOf(token) {
  try {
    const claims = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).sub ?? null;
  } catch {
    return null;
  }
}

// src/core.ts
var CHANGE_DEADLINE_MS = 2e4;
var TYPING_EVERY_MS = 3e3;
var OWN = "user:me";
var IS_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
var Core = class extends Emitter {
  http;
  outbox;
  connection;
  streams;
  tokens;
  /** The user's id; null: not known yet. */
  user = null;
  limits = {};
  /** The node that greeted us last; undefined: it did not say. */
  node;
  #options;
  #followers = /* @__PURE__ */ new Map();
  #slugs = /* @__PURE__ */ new Map();
  #typedAt = /* @__PURE__ */ new Map();
  #status = null;
  #life = new AbortController();
  constructor(options) {
    super();
    this.#options = options;
    const { url, timing, storage, doors } = options;
    const keep = new Keep(storage);
    this.tokens = new Tokens(options.token);
    this.http = new Http(url, this.tokens, options.fetch, timing.callMs);
    this.outbox = new Outbox((name, data) => this.ask(name, data), keep);
    this.outbox.on("sent", ({ channel }) => this.#typedAt.delete(channel));
    this.streams = new Streams({
      event: (event) => this.#hearEvent(event),
      reset: (stream, word) => this.#reset(stream, word),
      lost: (stream, error) => this.#lose(stream, error),
      level: (stream, roster) => this.#level(stream, roster)
    });
    this.streams.follow({ stream: OWN, after: null, history: 0, presence: false });
    const sink = this.#sink();
    const make = (name, whole) => this.#make(name, whole);
    this.connection = new Connection({ doors, make, sink, streams: this.streams, timing, keep });
    this.connection.on("state", (state) => this.#hearState(state));
    this.#meet(options.user);
  }
  /** Ask the server, by the socket where there is one, else by REST. */
  async ask(name, data) {
    const { door } = this.connection;
    if (!door?.request) return askByRest(this.http, name, data);
    return door.request(name, data).catch((error) => {
      if (error.code === "timeout" && this.connection.door === door) {
        this.connection.leave("suspect", error.message);
      }
      throw error;
    });
  }
  /** Ask for something that names its end state, so that it may be asked again; for a while. */
  change(name, data) {
    return this.#insist(() => this.ask(name, data), Date.now() + CHANGE_DEADLINE_MS);
  }
  async #insist(work, deadline2 = Infinity) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await work();
      } catch (thrown) {
        const error = asError(thrown);
        if (!error.retryable || Date.now() > deadline2) throw error;
        await sleep(error.retryAfterS * 1e3 + backoff(attempt), this.#life.signal);
        if (this.#life.signal.aborted) throw closed();
      }
    }
  }
  typing(channel) {
    const now = Date.now();
    if (now - (this.#typedAt.get(channel) ?? 0) < TYPING_EVERY_MS) return;
    this.#typedAt.set(channel, now);
    this.ask("typing", { channel }).catch(() => {
    });
  }
  /** Set the status in which others see this connection; set again at each socket. */
  async setStatus(status) {
    this.#status = status;
    await this.connection.door?.request?.("presence.set", { status });
  }
  follow(id, follower, options) {
    let stream = "";
    const isNew = this.#resolve(id).then((found) => this.#begin(stream = found, follower, options));
    isNew.catch((error) => follower.lose(error));
    const streams = this.streams;
    return {
      ready: follower.ready,
      get position() {
        return streams.position(stream);
      },
      stop: () => this.#stop(isNew, stream, follower)
    };
  }
  close() {
    this.#life.abort();
    this.connection.stop();
    this.streams.close();
    this.outbox.close();
    for (const follower of [...this.#followers.values()].flatMap((some) => [...some])) {
      follower.fail(closed());
    }
  }
  /** The full name of a channel's stream. */
  #resolve(id) {
    if (IS_ID.test(id)) return Promise.resolve(`channel:${id}`);
    const found = this.#slugs.get(id) ?? this.#lookUp(id);
    this.#slugs.set(id, found);
    found.catch(() => this.#slugs.delete(id));
    return found;
  }
  async #lookUp(slug) {
    return `channel:${(await this.#insist(() => this.http.get(`/channels/${slug}`))).id}`;
  }
  async #begin(stream, follower, options) {
    const { after = null, history = 0, presence = false } = options;
    const others = this.#followers.get(stream) ?? /* @__PURE__ */ new Set();
    const isFollowed = this.streams.has(stream);
    if (isFollowed && (after || history)) {
      throw new FanfareError("conflict", "The channel is followed already.");
    }
    this.#followers.set(stream, others.add(follower));
    if (presence) this.#keepRoster(stream, follower);
    this.streams.follow({ stream, after, history, presence });
    if (isFollowed) this.streams.again(stream, presence);
  }
  #keepRoster(stream, follower) {
    const read = () => this.http.get(`/channels/${stream.slice(8)}/presence`);
    follower.roster = new RosterKeeper(
      read,
      (roster) => guard(() => follower.handlers.presence?.(roster))
    );
  }
  #stop(isNew, stream, follower) {
    if (!stream) return void isNew.then(() => this.#forget(follower), () => {
    });
    this.#forget(follower);
  }
  #forget(follower) {
    for (const [stream, some] of this.#followers) {
      if (!some.delete(follower) || some.size) continue;
      this.#followers.delete(stream);
      this.streams.unfollow(stream);
    }
  }
  #make(name, sink) {
    const { http, tokens, streams } = this;
    const { timing, url, io } = this.#options;
    const common = { tokens, timing, sink, wants: () => streams.wants() };
    if (name === "sse") return new SseDoor({ ...common, http });
    if (name === "poll") return new PollDoor({ ...common, http });
    const { origin, pathname } = new URL(url);
    return new SocketDoor({ ...common, io, url: origin, path: `${pathname.replace(/\/$/, "")}/socket.io` });
  }
  #sink() {
    const { streams } = this;
    return {
      ready: (ready) => this.#greet(ready),
      event: (event) => streams.receive(event),
      signal: (signal) => this.#hearSignal(signal),
      reset: (stream, word) => streams.receiveReset(stream, word),
      unsubscribed: (stream, code) => streams.receiveLoss(stream, code),
      bye: (bye) => this.emit("bye", bye)
    };
  }
  #greet({ user, position, limits, node }) {
    this.node = node;
    this.limits = limits ?? this.limits;
    if (position) this.streams.begin(OWN, position);
    this.#meet(user?.["id"]);
  }
  #meet(user) {
    if (!user || this.user) return;
    this.user = user;
    this.outbox.load(user);
  }
  #hearState(state) {
    this.#meet(userOf(this.tokens.last));
    if (state.state === "live") this.outbox.connect();
    else this.outbox.disconnect();
    if (state.door === "socket" && this.#status) this.setStatus(this.#status).catch(() => {
    });
    this.emit("state", state);
  }
  #hearEvent(event) {
    const position = this.streams.position(event.stream);
    if (event.actor === this.user && position) this.outbox.hear(event, position);
    for (const { handlers } of this.#those(event.stream)) guard(() => handlers.event?.(event));
    this.emit("event", event);
  }
  #hearSignal(signal) {
    for (const { handlers, roster } of this.#those(signal.stream)) {
      roster?.hear(signal);
      guard(() => handlers.signal?.(signal));
    }
    this.emit("signal", signal);
  }
  async #reset(stream, word) {
    if (stream === OWN) this.emit("user_reset");
    const answers = this.#those(stream).map(({ handlers }) => handlers.reset?.(word));
    const positions = (await Promise.all(answers)).filter((one) => !!one);
    return positions.sort((a, b) => a.offset - b.offset)[0];
  }
  #lose(stream, error) {
    const those = this.#those(stream);
    this.#followers.delete(stream);
    for (const follower of those) follower.lose(error);
  }
  #level(stream, roster) {
    for (const follower of this.#those(stream)) {
      void follower.roster?.begin(roster);
      follower.level();
    }
  }
  #those(stream) {
    return [...this.#followers.get(stream) ?? []];
  }
};

// src/options.ts
function complete(given) {
  return {
    url: (given.url ?? globalThis.location?.origin ?? "").replace(/\/$/, ""),
    token: given.token,
    user: given.user ?? null,
    doors: given.doors ?? DOORS,
    io: given.io ?? stockSocket,
    storage: given.storage === void 0 ? tabStorage() : given.storage,
    // A browser's fetch refuses to be called as a method of something else.
    fetch: given.fetch ?? ((...asked) => globalThis.fetch(...asked)),
    timing: { ...TIMING, ...given.timing }
  };
}

// src/client.ts
function connect(options) {
  const client = new Client(options);
  client.reconnect();
  return client;
}
var Client = class {
  notifications;
  presence;
  #core;
  #channels = /* @__PURE__ */ new Map();
  #offs = [];
  constructor(options) {
    this.#core = new Core(complete(options));
    this.notifications = new Notifications(this.#core);
    this.presence = new Presence(this.#core);
    this.#watchNetwork();
  }
  /** How the client stands to the server, and through which door. */
  get state() {
    return this.#core.connection.state;
  }
  /** The user's id; null: not known yet. */
  get user() {
    return this.#core.user;
  }
  /** The server's limits, as it told them at the socket. */
  get limits() {
    return this.#core.limits;
  }
  /** The id of the node that serves this client; undefined where the door does not tell (long-poll). */
  get node() {
    return this.#core.node;
  }
  /** What waits to be sent. */
  get outbox() {
    return this.#core.outbox;
  }
  /** Hear `state`, `event`, `signal`, `user_reset` or `bye`; returns the function that ends it. */
  on(type, listener) {
    return this.#core.on(type, listener);
  }
  /** A channel, by its id or slug. */
  channel(id) {
    const channel = this.#channels.get(id) ?? new Channel(this.#core, id);
    this.#channels.set(id, channel);
    return channel;
  }
  /** A message to be sent in its turn, as a line to show: `outbox` tells what becomes of it. */
  queue(channel, body, more = {}) {
    return this.#core.outbox.add("message.create", channel, { channel, body, ...more });
  }
  /** Resolves when the client is live; rejects when it has ended. */
  live() {
    return new Promise((resolve, reject) => {
      const look = (state) => {
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
  force(door) {
    this.#core.connection.force(door);
  }
  /** Try at once: in a wait, on a lower door, or after the end (with a token that is good again). */
  reconnect() {
    this.#core.connection.start();
  }
  /** End for good. What waits in the outbox stays in its storage. */
  close() {
    for (const off of this.#offs) off();
    this.#core.close();
  }
  /** Call the REST API, below /api/v1, with the client's token. */
  async call(method, path, body) {
    return (await this.#core.http.call(method, path, { body })).body;
  }
  #watchNetwork() {
    const { connection } = this.#core;
    const { window, document } = globalThis;
    if (!window?.addEventListener || !document) return;
    this.#offs = [
      listen(window, "online", () => connection.retryNow()),
      listen(document, "visibilitychange", () => document.hidden || connection.retryNow())
    ];
  }
};
var Notifications = class {
  #core;
  constructor(core) {
    this.#core = core;
  }
  /** The newest first. Changes come as events `notification.*` of the client. */
  list(page = {}) {
    return this.#core.http.get("/notifications", page);
  }
  async unread() {
    return (await this.#core.http.get("/notifications/unread")).count;
  }
  /** Mark these, or all, as read; promises how many unread ones are left. */
  async read(ids) {
    const body = ids ? { ids } : {};
    return (await this.#core.http.call("POST", "/notifications/read", { body })).body.unread;
  }
};
var Presence = class {
  #core;
  constructor(core) {
    this.#core = core;
  }
  /** Be seen with this status, wherever this client is present; by the socket alone. */
  set(status) {
    return this.#core.setStatus(status);
  }
  /** Who of these users is online. */
  async of(users) {
    return (await this.#core.http.get("/presence", { users: users.join(",") })).people;
  }
};
function listen(target, type, handle) {
  target.addEventListener(type, handle);
  return () => target.removeEventListener(type, handle);
}

// src/vault.ts
var DATABASE = "fanfare";
var STORE = "kept";
var LEASE_MS = 15e3;
var RETRY_MS = 90;
var opened = null;
function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}
function vaultOf(key) {
  return {
    async read() {
      const request = (await open()).transaction(STORE).objectStore(STORE).get(key);
      return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    },
    async update(change) {
      const transaction = (await open()).transaction(STORE, "readwrite");
      const store = transaction.objectStore(STORE);
      return new Promise((resolve, reject) => {
        let next;
        const request = store.get(key);
        request.onsuccess = () => {
          next = change(request.result);
          if (next === void 0) store.delete(key);
          else store.put(next, key);
        };
        transaction.oncomplete = () => resolve(next);
        transaction.onabort = () => reject(transaction.error);
      });
    }
  };
}
function lockOf(name) {
  const lease = vaultOf(name);
  return async (work) => {
    if (navigator.locks) return navigator.locks.request(name, work);
    const me = makeKey();
    while (!await take(lease, me)) await sleep(RETRY_MS);
    try {
      return await work();
    } finally {
      await lease.update((held) => held?.me === me ? void 0 : held);
    }
  };
}
async function take(lease, me) {
  const now = Date.now();
  const mine = { me, until: now + LEASE_MS };
  const held = await lease.update(
    (present) => present && present.until > now ? present : mine
  );
  return held?.me === me;
}

// src/session.ts
var enter = (how) => (url, username, password, { fetch = globalThis.fetch, ...more } = {}) => callOpenly(fetch, `${url}/api/v1/auth/${how}`, { username, password, ...more });
var logIn = enter("login");
var register = enter("register");
function session({
  url = "",
  grant,
  name = "session",
  store = defaultStore(name),
  fetch = globalThis.fetch
}) {
  let given = grant;
  const current = async () => {
    if (given) await store.write(given);
    given = void 0;
    const kept = await store.read();
    if (!kept) throw new FanfareError("unauthorized", "Nobody is logged in.");
    return kept;
  };
  const renew = async (refused) => {
    const kept = await current();
    if (kept.access_token !== refused) return kept.access_token;
    const renewed = await refresh(url, kept, store, fetch);
    return renewed.access_token;
  };
  return async ({ refused }) => {
    const kept = await current();
    if (kept.access_token !== refused) return kept.access_token;
    return store.lock(() => renew(refused));
  };
}
async function refresh(url, kept, store, fetch) {
  try {
    const path = `${url}/api/v1/auth/refresh`;
    const grant = { ...kept, ...await callOpenly(fetch, path, null, kept.refresh_token) };
    await store.write(grant);
    return grant;
  } catch (error) {
    if (error.status === 401) await store.write(null);
    throw error;
  }
}
function defaultStore(name) {
  return globalThis.indexedDB ? browserStore(name) : memoryStore();
}
function memoryStore() {
  let kept = null;
  let turn = Promise.resolve();
  return {
    read: async () => kept,
    write: async (grant) => void (kept = grant),
    lock: (work) => {
      const result = turn.then(work);
      turn = result.catch(() => {
      });
      return result;
    }
  };
}
function browserStore(name) {
  const vault = vaultOf(`session.${name}`);
  return {
    read: () => vault.read(),
    write: (grant) => vault.update(() => grant ?? void 0),
    lock: lockOf(`fanfare.refresh.${name}`)
  };
}
export {
  Channel,
  Client,
  FanfareError,
  Messages,
  Notifications,
  Outbox,
  Presence,
  TIMING,
  browserStore,
  connect,
  logIn,
  memoryStore,
  register,
  session
};
