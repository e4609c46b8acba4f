// What the tests share: a client of a fake server, what it heard, and waiting for a condition.

import { strict as assert } from "node:assert";
import { connect } from "../dist/fanfare.js";
import { FakeServer, STREAM } from "./fake.mjs";

export { assert };

// Short, so that a test of giving up is; long enough for a machine that is busy.
export const QUICK = {
  socketMs: 500,
  sseMs: 500,
  ackMs: 500,
  probeMs: 50,
  probeCapMs: 200,
  backoffMs: 20,
  backoffCapMs: 200,
};

export async function until(condition, what) {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what ?? condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// A seed that is printed when the test fails, and can be given again: FANFARE_SEED=7 node --test …
export function makeRandom() {
  const seed = Number(process.env.FANFARE_SEED ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { seed, random, pick: (items) => items[Math.floor(random() * items.length)] };
}

export class World {
  clients = [];

  static async start() {
    const world = new World();
    world.server = await FakeServer.start();
    return world;
  }

  connect(options = {}) {
    const { timing, ...rest } = options;
    const client = connect({
      url: this.server.url,
      token: this.server.token,
      io: this.server.io,
      timing: { ...QUICK, ...timing },
      ...rest,
    });
    client.states = [];
    client.on("state", (state) => client.states.push(state));
    this.clients.push(client);
    return client;
  }

  // A client that follows the channel, with what it heard in `events`.
  async follow(options = {}, subscribe = { after: { offset: 0, epoch: "e1" } }) {
    const client = this.connect(options);
    client.events = [];
    client.offsets = () => client.events.map(({ offset }) => offset);
    client.resets = [];
    const handlers = {
      event: (event) => client.events.push(event),
      reset: (word) => void client.resets.push(word),
    };
    client.sub = client.channel(STREAM.slice(8)).subscribe(handlers, subscribe);
    await client.live();
    await client.sub.ready;
    return client;
  }

  async stop() {
    for (const client of this.clients) client.close();
    await this.server.stop();
  }
}

export const count = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
