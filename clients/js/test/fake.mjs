// A server of a few lines that follows docs/protocol.md as far as a client can see, in this process:
// the socket by a stand-in for socket.io-client, the doors over plain HTTP by real HTTP. Each can be
// broken while it runs.

import { createServer } from "node:http";

export const CHANNEL = "01a1f8c4-2e55-7f01-8d6a-00000000c001";
export const STREAM = `channel:${CHANNEL}`;
export const OTHER = "01a1f8c4-2e55-7f01-8d6a-00000000c002";
export const USER = "01a1f8c2-7d10-7a3b-9c4e-0000000000a1";
const OWN = `user:${USER}`;

export class FakeServer {
  socket = "ok"; // refuse | mute (greets nobody) | deaf (acks nothing)
  sse = "ok"; // refuse | buffer
  poll = "ok"; // refuse
  wait = 0.3; // what a poll waits at most, in seconds
  token = "t1"; // the one that is good
  calls = [];
  sockets = new Set();
  logs = new Map();
  watchers = new Set();
  streams = new Set();
  roster = { count: 0, people: [] };
  fail = null; // (method, path) => {status, code} | null
  pieces = (text) => [text];

  static async start() {
    const fake = new FakeServer();
    for (const stream of [OWN, STREAM, `channel:${OTHER}`]) fake.reset(stream, "e1");
    fake.http = createServer((request, response) => fake.#serve(request, response));
    await new Promise((resolve) => fake.http.listen(0, "127.0.0.1", resolve));
    fake.url = `http://127.0.0.1:${fake.http.address().port}`;
    return fake;
  }

  async stop() {
    this.cutSockets();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  reset(stream, epoch) {
    this.logs.set(stream, { epoch, events: [], keys: new Map() });
  }

  top(stream) {
    const { events, epoch } = this.logs.get(stream);
    return { offset: events.length, epoch };
  }

  append(stream, type, data, { key = null, actor = null } = {}) {
    const log = this.logs.get(stream);
    if (key && log.keys.has(key)) return { event: log.keys.get(key), replayed: true };
    const at = new Date().toISOString();
    const event = { stream, offset: log.events.length + 1, type, data, actor, key, at };
    log.events.push(event);
    if (key) log.keys.set(key, event);
    for (const watcher of [...this.watchers]) watcher(event);
    return { event, replayed: false };
  }

  say(...bodies) {
    for (const body of bodies) this.append(STREAM, "message.created", { body });
  }

  // What came after a position: an ack of `subscribe`.
  read(stream, after, history = 0, limit = 500) {
    const { events, epoch } = this.logs.get(stream);
    const top = this.top(stream);
    const from = after ? after.offset : top.offset - Math.min(history, top.offset);
    if (after && (after.epoch !== epoch || after.offset > top.offset)) {
      const reason = after.epoch !== epoch ? "epoch" : "ahead";
      return { events: [], position: top, more: false, reset: { reason, oldest: 1, top } };
    }
    const page = events.slice(from, from + limit);
    const position = { offset: from + page.length, epoch };
    return { events: page, position, more: position.offset < top.offset, reset: null };
  }

  full = (stream) => (stream === "user:me" ? OWN : stream);

  // ------------------------------------------------------------------ the socket
  io = (_url, { auth }) => new FakeSocket(this, auth);

  cutSockets(bye) {
    for (const socket of [...this.sockets]) socket.cut(bye);
  }

  // ------------------------------------------------------------------ plain HTTP
  async #serve(request, response) {
    const url = new URL(request.url, this.url);
    const path = url.pathname.replace("/api/v1", "");
    let body = "";
    for await (const piece of request) body += piece;
    this.calls.push(`${request.method} ${path}`);
    const answer = (status, value, headers = {}) => {
      response.writeHead(status, { "Content-Type": "application/json", ...headers });
      response.end(JSON.stringify(value));
    };
    const refuse = (status, code) => answer(status, { status, code, detail: code });
    const failure = this.fail?.(request.method, path);
    if (failure === "cut") return request.socket.destroy();
    if (failure) return refuse(failure.status, failure.code);
    if (request.headers.authorization !== `Bearer ${this.token}`) return refuse(401, "token_expired");
    const door = { "/events": "poll", "/events/stream": "sse" }[path];
    if (door && this[door] === "refuse") return request.socket.destroy();
    if (path === "/events/cursor") {
      const { streams } = JSON.parse(body);
      if (Object.keys(streams).length > 129) return refuse(422, "invalid");
      return this.#makeCursor(streams, answer);
    }
    if (path === "/events") return this.#poll(url.searchParams, response, answer);
    if (path === "/events/stream") return this.#stream(url.searchParams, response);
    if (path.endsWith("/presence")) return answer(200, this.roster);
    const [, id, what] = /^\/channels\/([^/]+)(?:\/(\w+))?/.exec(path) ?? [];
    if (request.method === "GET" && !what) return answer(200, { id: CHANNEL, slug: id });
    return this.#write(`channel:${id}`, what, body ? JSON.parse(body) : {}, answer);
  }

  #write(stream, what, { key, ephemeral, ...data }, answer) {
    if (ephemeral || what === "typing") return answer(202, {});
    const type = what === "messages" ? "message.created" : data.type;
    const payload = what === "messages" ? { ...data, key } : data.data;
    const { event, replayed } = this.append(stream, type, payload, { key, actor: USER });
    const { epoch } = this.logs.get(stream);
    answer(replayed ? 200 : 201, what === "messages" ? event.data : { event }, {
      "Fanfare-Position": `${stream}@${event.offset}/${epoch}`,
      ...(replayed && { "Idempotent-Replay": "true" }),
    });
  }

  // Where the reader stands, of `streams` or `cursor`, by full names.
  #places(query) {
    if (query.has("cursor")) return { names: {}, places: JSON.parse(query.get("cursor")) };
    const names = {};
    const places = {};
    for (const one of query.get("streams").split(",")) {
      const [, name, offset, epoch] = /^([^@]+)(?:@(\d+)\/(.*))?$/.exec(one);
      names[name] = this.full(name);
      places[this.full(name)] = epoch && { offset: Number(offset), epoch };
    }
    return { names, places };
  }

  #makeCursor(streams, answer) {
    const names = Object.fromEntries(Object.keys(streams).map((name) => [name, this.full(name)]));
    const positions = Object.fromEntries(
      Object.entries(streams).map(([name, at]) => [this.full(name), at ?? this.top(this.full(name))]),
    );
    answer(200, { cursor: JSON.stringify(positions), positions, streams: names, unsubscribed: [] });
  }

  #take(places, history) {
    const found = { events: [], resets: [], unsubscribed: [], positions: {} };
    for (const [stream, at] of Object.entries(places)) {
      if (!this.logs.has(stream)) {
        found.unsubscribed.push({ stream, code: "not_found" });
        continue;
      }
      const { events, position, reset } = this.read(stream, at, history);
      if (reset) found.resets.push({ stream, ...reset, position });
      found.events.push(...events);
      found.positions[stream] = position;
    }
    return found;
  }

  async #poll(query, response, answer) {
    const { names, places } = this.#places(query);
    let found = this.#take(places, Number(query.get("history") ?? 0));
    const wait = query.has("cursor") ? Math.min(Number(query.get("wait")), this.wait) : 0;
    if (!found.events.length && !found.resets.length && wait) {
      await this.#somethingOr(wait * 1000, response);
      found = this.#take(places);
    }
    const cursor = JSON.stringify(found.positions);
    const bye = this.bye ?? null;
    answer(200, { ...found, signals: [], streams: names, cursor, bye });
  }

  #somethingOr(ms, response) {
    return new Promise((resolve) => {
      const end = () => (clearTimeout(timer), this.watchers.delete(end), resolve());
      const timer = setTimeout(end, ms);
      this.watchers.add(end);
      response.on("close", end);
    });
  }

  #stream(query, response) {
    const { names, places } = this.#places(query);
    const positions = {};
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    const send = (text) => {
      if (this.sse === "buffer") return;
      for (const piece of this.pieces(text)) response.write(piece);
    };
    const tell = (event, data) => send(`event: ${event}\nid: x\ndata: ${JSON.stringify(data)}\n\n`);
    const found = this.#take(places);
    for (const [stream, position] of Object.entries(found.positions)) {
      const isReset = found.resets.some((reset) => reset.stream === stream);
      positions[stream] = isReset ? position : (places[stream] ?? position);
    }
    tell("ready", { streams: names, positions, unsubscribed: found.unsubscribed });
    if (this.sse === "cut" && (this.sse = "ok")) return response.end();
    for (const reset of found.resets) tell("reset", reset);
    for (const event of found.events) tell("event", event);
    const watcher = (event) => event.stream in positions && tell("event", event);
    const stream = { response, tell, end: () => (leave(), response.end()) };
    const leave = () => (this.watchers.delete(watcher), this.streams.delete(stream));
    this.watchers.add(watcher);
    this.streams.add(stream);
    response.on("close", leave);
  }

  cutStreams(bye) {
    for (const stream of [...this.streams]) {
      if (bye) stream.tell("bye", bye);
      stream.end();
    }
  }

  // To everybody who listens, now.
  signal(signal) {
    for (const socket of this.sockets) socket.tell("signal", signal);
    for (const stream of this.streams) stream.tell("signal", signal);
  }
}

class FakeSocket {
  #handlers = {};
  #watched = new Set([OWN]);
  #isOpen = true;

  constructor(server, auth) {
    this.server = server;
    this.isDeaf = false;
    server.sockets.add(this);
    setTimeout(() => this.#greet(auth), 1);
  }

  on(name, listener) {
    this.#handlers[name] = listener;
  }

  // Later, and in order, as over a network.
  tell(name, value) {
    setTimeout(() => this.#isOpen && !this.isDeaf && this.#handlers[name]?.(value), 1);
  }

  #greet({ token }) {
    const { server } = this;
    server.calls.push("SOCKET");
    if (server.socket === "mute") return;
    if (server.socket === "refuse") return this.tell("connect_error", new Error("websocket error"));
    if (token !== server.token) {
      const data = { code: "token_expired", detail: "expired" };
      return this.tell("connect_error", Object.assign(new Error("x"), { data }));
    }
    this.tell("ready", { user: { id: USER }, position: server.top(OWN), limits: {} });
    this.watcher = (event) => this.#watched.has(event.stream) && this.tell("event", event);
    server.watchers.add(this.watcher);
  }

  emit(name, data, ack) {
    const { server } = this;
    server.calls.push(`PACKET ${name}`);
    if (!this.#isOpen || this.isDeaf || server.socket === "deaf") return;
    const reply = this.#answer(name, data);
    setTimeout(() => this.#isOpen && !this.isDeaf && server.socket !== "deaf" && ack(reply), 1);
  }

  #answer(name, data) {
    const refused = (code) => ({ ok: false, error: { code, detail: code, retryable: false } });
    const failure = this.server.fail?.("PACKET", name);
    if (failure) return { ok: false, error: { detail: "", ...failure } };
    if (name === "resume") {
      const acks = Object.entries(data.positions).map(([stream, after]) => [
        stream, this.#subscribe({ stream, after }),
      ]);
      return { ok: true, streams: Object.fromEntries(acks) };
    }
    if (name === "subscribe") return this.#subscribe(data);
    if (name === "unsubscribe") return { ok: this.#watched.delete(data.stream) };
    if (name === "message.create" || name === "publish") return this.#publish(name, data);
    if (name === "auth.refresh") return data.token === this.server.token ? { ok: true } : refused("unauthorized");
    return { ok: true };
  }

  #subscribe({ stream, after, history }) {
    const full = this.server.full(stream);
    if (!this.server.logs.has(full)) return { ok: false, error: { code: "not_found", detail: "", retryable: false } };
    const ack = this.server.read(full, after, history, 7);
    if (!ack.more) this.#watched.add(full);
    return { ok: true, stream: full, ...ack };
  }

  #publish(name, { channel, stream = `channel:${channel}`, key, type, data, body }) {
    const isMessage = name === "message.create";
    const payload = isMessage ? { body, key } : data;
    const kind = isMessage ? "message.created" : type;
    const { event, replayed } = this.server.append(stream, kind, payload, { key, actor: USER });
    const position = { offset: event.offset, epoch: "e1" };
    return { ok: true, replayed, position, ...(isMessage && { message: event.data }) };
  }

  cut(bye) {
    if (bye) this.#handlers.bye?.(bye);
    this.#handlers.disconnect?.("transport close");
    this.close();
  }

  close() {
    this.#isOpen = false;
    this.server.sockets.delete(this);
    this.server.watchers.delete(this.watcher);
  }
}
