// Steps, each reported as one line of JSON; questions to the test that runs us; stock clients.

import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

export { assert };

const DEADLINE_MS = 30_000;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const steps = [];
const opened = new Set();
export let url = "";
export let proxy = ""; // where the network is bad, for those who are led so

const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// The test that runs us can do what no client can: restart the server, make short tokens.
export async function ask(what, more = {}) {
  tell({ ask: what, ...more });
  return JSON.parse((await lines.next()).value);
}

export function step(name, run) {
  steps.push({ name, run });
}

export async function runAll() {
  ({ url, proxy } = JSON.parse((await lines.next()).value));
  for (const { name, run } of steps) {
    try {
      await within(run(), `the step "${name}"`, 2 * DEADLINE_MS);
      tell({ step: name, ok: true });
    } catch (error) {
      tell({ step: name, ok: false, error: String(error?.stack ?? error) });
    }
    for (const client of opened) client.close();
    opened.clear();
  }
  tell({ done: steps.length });
  process.exit(0);
}

function within(promise, what, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function until(find, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await find();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// A person: registered, with calls to the REST API.
export class Person {
  static async register() {
    const person = new Person();
    const body = { username: `u-${randomUUID().slice(0, 18)}`, password: "correct horse battery" };
    const answer = await person.call("POST", "/auth/register", body);
    person.user = answer.user;
    person.token = answer.access_token;
    person.refreshToken = answer.refresh_token;
    return person;
  }

  async call(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const sent = { method, headers, body: body && JSON.stringify(body) };
    const answer = await fetch(`${url}/api/v1${path}`, sent);
    const text = await answer.text();
    assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async channel(more = {}) {
    const slug = `c-${randomUUID().slice(0, 18)}`;
    const made = await this.call("POST", "/channels", { name: "Club", kind: "public", slug, ...more });
    return { ...made, stream: `channel:${made.id}` };
  }

  async say(channel, ...bodies) {
    for (const body of bodies) {
      await this.call("POST", `/channels/${channel.id}/messages`, { body });
    }
  }
}

// A stock client that remembers all that it was sent.
export class Client {
  constructor(auth, options = {}) {
    this.packets = [];
    this.refusals = [];
    this.io = io(`${url}${options.namespace ?? ""}`, {
      auth,
      transports: ["websocket"],
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 300,
      ...options,
    });
    opened.add(this.io);
    this.io.onAny((name, data) => this.packets.push([name, data]));
    this.io.on("connect_error", (error) => this.refusals.push(error));
    this.io.on("disconnect", (reason) => this.packets.push(["disconnect", reason]));
  }

  static async of(person, options) {
    const client = new Client({ token: person.token }, options);
    await client.packet("ready");
    return client;
  }

  named(name) {
    return this.packets.filter(([packet]) => packet === name).map(([, data]) => data);
  }

  packet(name, count = 1) {
    return until(() => this.named(name)[count - 1], `${count} × ${name}`);
  }

  events(stream) {
    return this.named("event").filter((event) => event.stream === stream);
  }

  async eventsOf(stream, count) {
    await until(() => this.events(stream).length >= count, `${count} events of ${stream}`);
    return this.events(stream);
  }

  call(event, ...args) {
    return this.io.timeout(DEADLINE_MS).emitWithAck(event, ...args);
  }

  async ok(event, ...args) {
    const ack = await this.call(event, ...args);
    assert.equal(ack.ok, true, `${event} was refused: ${JSON.stringify(ack)}`);
    return ack;
  }

  async refused(event, ...args) {
    const ack = await this.call(event, ...args);
    assert.equal(ack.ok, false, `${event} was accepted: ${JSON.stringify(ack)}`);
    assert.equal(typeof ack.error.detail, "string");
    assert.equal(typeof ack.error.retryable, "boolean");
    return ack.error;
  }

  refusal() {
    return until(() => this.refusals[0], "a connect_error");
  }
}

export const bodies = (events) => events.map((event) => event.data.body);
export const types = (events) => events.map((event) => event.type);
