// What is written is sent until it is answered: in order, once, also over a reload.

import { afterEach, beforeEach, describe, test } from "node:test";
import { CHANNEL, OTHER, STREAM, USER } from "./fake.mjs";
import { World, assert, until } from "./help.mjs";

let world, server, kept, storage;

beforeEach(async () => {
  world = await World.start();
  server = world.server;
  kept = new Map();
  storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
});
afterEach(() => world.stop());

const bodies = () => server.logs.get(STREAM).events.map(({ data }) => data.body ?? data);
const unavailable = () => ({ status: 503, code: "unavailable", retryable: true });

describe("the outbox", () => {
  test("three messages, written offline, survive a reload and come once, in order", async () => {
    const down = ["refuse", "refuse", "refuse"];
    [server.socket, server.sse, server.poll] = down;
    const before = world.connect({ storage, user: USER });
    for (const body of ["one", "two", "three"]) before.queue(CHANNEL, body);
    before.close();
    [server.socket, server.sse, server.poll] = ["ok", "ok", "ok"];
    const after = world.connect({ storage, user: USER });
    const shown = after.outbox.entries(CHANNEL).map(({ data }) => data.body);
    await until(() => !after.outbox.entries().length);

    assert.deepEqual(shown, ["one", "two", "three"]);
    assert.deepEqual(bodies(), ["one", "two", "three"]);
    assert.equal(JSON.parse(kept.get(`fanfare.outbox.${USER}`)).length, 0);
  });

  test("two pages with the same entries, as of a copied tab, send each once", async () => {
    server.fail = (method, path) => (path === "message.create" ? unavailable() : null);
    const one = world.connect({ storage, user: USER });
    one.queue(CHANNEL, "once");
    const copy = new Map(kept);
    const two = world.connect({ storage: { getItem: (k) => copy.get(k) ?? null, setItem() {} }, user: USER });
    await Promise.all([one.live(), two.live()]);
    server.fail = null;
    await until(() => !one.outbox.entries().length && !two.outbox.entries().length);

    assert.deepEqual(bodies(), ["once"]);
  });

  test("a channel keeps its order while one is retried, and holds no other up", async () => {
    let refusals = 0;
    server.fail = (kind, name) => (name === "message.create" && refusals++ < 3 ? unavailable() : null);
    const client = world.connect();
    await client.live();
    const sent = ["a", "b", "c"].map((body) => client.channel(CHANNEL).messages.create(body));
    sent.push(client.channel(CHANNEL).publish("x.y", "d"));
    sent.push(client.channel(OTHER).publish("x.y", "elsewhere"));
    await Promise.all(sent);

    assert.deepEqual(bodies(), ["a", "b", "c", "d"]);
    assert.equal(server.top(`channel:${OTHER}`).offset, 1);
  });

  test("one at a time: each is asked once", async () => {
    const client = await world.follow();
    await Promise.all(["a", "b", "c"].map((body) => client.channel(CHANNEL).messages.create(body)));

    assert.equal(server.calls.filter((call) => call === "PACKET message.create").length, 3);
  });

  test("a refusal rejects, nothing stays, and the next one goes on", async () => {
    server.fail = (kind, name) => (name === "publish" ? { status: 403, code: "forbidden", retryable: false } : null);
    const client = world.connect();
    await client.live();
    const refused = client.channel(CHANNEL).publish("x.y", 1);
    const next = client.channel(CHANNEL).messages.create("next");

    await assert.rejects(refused, { code: "forbidden" });
    assert.equal((await next).body, "next");
    assert.deepEqual(client.outbox.entries(), []);
  });

  test("a queued one that is refused stays to be shown, and can be sent again or dropped", async () => {
    server.fail = (kind, name) => (name === "message.create" ? { code: "too_large", retryable: false } : null);
    const client = world.connect();
    await client.live();
    const [first, second] = [client.queue(CHANNEL, "first"), client.queue(CHANNEL, "second")];
    await until(() => client.outbox.entries().every(({ state }) => state === "failed"));
    server.fail = null;
    client.outbox.remove(second.key);
    client.outbox.retry(first.key);
    await until(() => !client.outbox.entries().length);

    assert.deepEqual(bodies(), ["first"]);
  });

  test("an event of ours settles it, though its ack was lost", async () => {
    const client = await world.follow();
    server.socket = "deaf";
    server.fail = (method) => (method === "POST" ? { status: 503, code: "unavailable" } : null);
    const sent = client.channel(CHANNEL).messages.create("heard", { key: "k1" });
    await until(() => server.calls.includes("PACKET message.create"));
    server.append(STREAM, "message.created", { body: "heard", key: "k1" }, { key: "k1", actor: USER });

    assert.equal((await sent).body, "heard");
    assert.deepEqual(client.outbox.entries(), []);
  });

  test("an own key of the application is the key of its retries", async () => {
    const client = await world.follow({ doors: ["poll"] });
    const first = await client.channel(CHANNEL).publish("order.paid", 42, { key: "paid-42" });
    const again = await client.channel(CHANNEL).publish("order.paid", 42, { key: "paid-42" });

    assert.deepEqual([first.position.offset, first.replayed], [1, false]);
    assert.deepEqual([again.position.offset, again.replayed], [1, true]);
  });

  test("a storage that is full or locked costs the reload alone", async (t) => {
    t.mock.method(console, "warn", () => {});
    const full = () => {
      throw new Error("full");
    };
    const client = world.connect({ storage: { getItem: full, setItem: full }, user: USER });
    await client.channel(CHANNEL).messages.create("all the same");

    assert.deepEqual(bodies(), ["all the same"]);
  });

  test("closing rejects who waits, and keeps what waits", async () => {
    server.socket = "deaf";
    const client = world.connect({ storage, user: USER, doors: ["socket"], timing: { ackMs: 20_000 } });
    const sent = client.channel(CHANNEL).messages.create("later");
    client.close();

    await assert.rejects(sent, { code: "closed" });
    assert.equal(JSON.parse(kept.get(`fanfare.outbox.${USER}`)).length, 1);
  });
});
