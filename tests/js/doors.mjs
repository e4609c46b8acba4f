// Steps of clients/js, each through a proxy that is as bad as the step asks for.

import { randomUUID } from "node:crypto";
import { connect, FanfareError, memoryStore, session } from "../../clients/js/dist/fanfare.js";
import { Person, ask, assert, proxy, runAll, step, until } from "./harness.mjs";

const DOORS = ["socket", "sse", "poll"];
const START = (channel) => ({ offset: 0, epoch: channel.epoch });
const clients = new Set();
let seed = 0;

// Short where a step would only wait; what is waited for an answer stays as it is.
const QUICK = { probeMs: 300, probeCapMs: 1_000, backoffMs: 100, backoffCapMs: 1_000 };

function open(person, options = {}) {
  const { timing, ...rest } = options;
  const client = connect({ url: proxy, token: person.token, timing: { ...QUICK, ...timing }, ...rest });
  client.states = [];
  client.on("state", (state) => client.states.push(state));
  clients.add(client);
  return client;
}

// A client that follows a channel from its first event on; `lists` what it was handed.
async function follow(person, channel, options = {}, more = {}) {
  const client = open(person, options);
  client.events = [];
  client.lost = [];
  client.sub = client.channel(channel.id).subscribe(
    {
      event: (event) => client.events.push(event),
      lost: (error) => client.lost.push(error.code),
      ...more.handlers,
    },
    more.options ?? { after: START(channel) },
  );
  await client.sub.ready;
  return client;
}

const isAt = (client, door) =>
  until(() => client.state.state === "live" && client.state.door === door, `the door ${door}`);
const offsets = (client) => client.events.map(({ offset }) => offset);
const count = (to) => Array.from({ length: to }, (_, i) => i + 1);
const network = (...faults) => ask("network", { faults });

async function log(person, channel) {
  const { items } = await person.call("GET", `/channels/${channel.id}/events?limit=1000`);
  return items;
}

// Everything that is in the log, once and in order, and nothing else.
async function holdsTheLog(client, person, channel) {
  const whole = await log(person, channel);
  await until(() => client.events.length >= whole.length, `${whole.length} events`);
  assert.deepEqual(client.events, whole);
}

async function meet(more) {
  const person = await Person.register();
  const channel = await person.channel(more);
  channel.epoch = (await person.call("GET", `/channels/${channel.id}/sync`)).position.epoch;
  return { person, channel };
}

function promise(name, run) {
  step(name, async () => {
    try {
      await network();
      await run();
    } finally {
      for (const client of clients) client.close();
      clients.clear();
      await network();
    }
  });
}

for (const door of DOORS) {
  const only = { doors: [door] };

  promise(`${door}: events before and after come once, in order`, async () => {
    const { person, channel } = await meet();
    await person.say(channel, "a", "b");
    const client = await follow(person, channel, only);
    await person.say(channel, "c", "d");
    await holdsTheLog(client, person, channel);

    assert.equal(client.state.door, door);
    assert.deepEqual(client.sub.position, { offset: 6, epoch: channel.epoch });
  });

  promise(`${door}: history, and a start at the top`, async () => {
    const { person, channel } = await meet();
    await person.say(channel, "a", "b", "c");
    const old = await follow(person, channel, only, { options: { history: 2 } });
    const fresh = await follow(person, channel, only, { options: {} });
    await person.say(channel, "d");
    await until(() => old.events.length >= 3 && fresh.events.length >= 1, "the events");

    assert.deepEqual(offsets(old), [4, 5, 6]);
    assert.deepEqual(offsets(fresh), [6]);
  });

  promise(`${door}: messages, events of one's own, and signals`, async () => {
    const { person, channel } = await meet();
    const other = await Person.register();
    await other.call("PUT", `/channels/${channel.id}/members/me`, {});
    const signals = [];
    const heard = { signal: ({ type }) => signals.push(type) };
    const reader = await follow(other, channel, only, { handlers: heard });
    const writer = await follow(person, channel, only);
    const { messages } = writer.channel(channel.id);
    const made = await messages.create("one", { data: { x: 1 }, key: "k1" });
    await messages.update(made.id, "two");
    await messages.delete(made.id);
    const done = await writer.channel(channel.id).publish("order.paid", { order: 42 });
    await until(() => {
      writer.channel(channel.id).typing();
      return signals.includes("typing");
    }, "the signal of typing");
    await writer.channel(channel.id).read(done.position.offset);
    await holdsTheLog(reader, person, channel);

    assert.deepEqual(done.position, { offset: 7, epoch: channel.epoch });
    assert.deepEqual(
      reader.events.slice(3).map(({ type }) => type),
      ["message.created", "message.updated", "message.deleted", "order.paid"],
    );
  });

  promise(`${door}: a restart of the server loses nothing`, async () => {
    const { person, channel } = await meet();
    const client = await follow(person, channel, only);
    const sent = client.channel(channel.id).messages.create("before");
    await sent;
    await ask("kill");
    const waiting = client.channel(channel.id).messages.create("meanwhile");
    await ask("start");
    await waiting;
    await person.say(channel, "after");
    await holdsTheLog(client, person, channel);

    assert.equal(client.events.filter(({ type }) => type === "message.created").length, 3);
  });

  promise(`${door}: a cut connection is taken up`, async () => {
    const { person, channel } = await meet();
    const client = await follow(person, channel, only);
    await ask("cut");
    await person.say(channel, "a");
    await holdsTheLog(client, person, channel);
  });

  promise(`${door}: a position that can't be gone on from takes a new snapshot`, async () => {
    const { person, channel } = await meet();
    await person.say(channel, "a");
    const words = [];
    const got = [];
    let at = null;
    const client = open(person, only);
    const handle = client.channel(channel.id);
    const handlers = {
      event: ({ offset }) => got.push(offset),
      reset: async ({ reason }) => {
        words.push(reason);
        at = (await handle.sync()).position;
        return at;
      },
    };
    await handle.subscribe(handlers, { after: { offset: 99, epoch: channel.epoch } }).ready;
    await until(() => at, "the snapshot");
    await person.say(channel, "b");
    await until(() => got.length, "the event after the snapshot");

    assert.deepEqual([words, got], [["ahead"], [4]]);
  });

  promise(`${door}: a token that expires is renewed, and nothing is missed`, async () => {
    const { person, channel } = await meet();
    const { username } = person.user;
    let asked = 0;
    const token = async () => (++asked, (await ask("token", { username, ttl: 4 })).token);
    const client = await follow(person, channel, { ...only, token });
    await until(async () => {
      await person.say(channel, "still here");
      await new Promise((resolve) => setTimeout(resolve, 500));
      return asked >= 3;
    }, "the third token");
    await holdsTheLog(client, person, channel);

    assert.ok(!client.states.some(({ state }) => state === "ended"));
  });

  promise(`${door}: logging out elsewhere ends it`, async () => {
    const { person, channel } = await meet();
    const client = await follow(person, channel, only);
    await person.call("POST", "/auth/logout");
    await until(() => client.state.state === "ended", "the end");
  });

  promise(`${door}: a channel that is lost is told so, and the others go on`, async () => {
    const { person, channel } = await meet({ kind: "private" });
    const other = await Person.register();
    const open = await other.channel();
    open.epoch = channel.epoch;
    await person.call("PUT", `/channels/${channel.id}/members/${other.user.id}`, {});
    const client = await follow(other, channel, only);
    const rest = [];
    const { ready } = client.channel(open.id).subscribe({ event: (event) => rest.push(event) });
    await ready;
    await person.call("DELETE", `/channels/${channel.id}/members/${other.user.id}`);
    await until(() => client.lost.length, "the loss");
    await other.say(open, "on");
    await until(() => rest.length, "what goes on");

    // Between two polls nobody is there to be told how it was lost: it is not found then.
    assert.ok(["forbidden", door === "poll" && "not_found"].includes(client.lost[0]), client.lost[0]);
  });

  promise(`${door}: who is present is seen, and seen to go`, async () => {
    const { person, channel } = await meet();
    const other = await Person.register();
    const rosters = [];
    const names = () => (rosters.at(-1)?.people ?? []).map(({ user_id }) => user_id).sort();
    const present = { presence: true };
    const seen = { handlers: { presence: (roster) => rosters.push(roster) }, options: present };
    await follow(person, channel, only, seen);
    const guest = await follow(other, channel, only, { options: present });
    const both = [person.user.id, other.user.id].sort();
    await until(() => String(names()) === String(both), "both");
    guest.close();
    await until(() => String(names()) === person.user.id, "the one who stays");
  });
}

promise("upgrades that are refused: by sse, and back up when they are not", async () => {
  const { person, channel } = await meet();
  await network("refuse_upgrades");
  const client = await follow(person, channel);
  await person.say(channel, "a");
  await isAt(client, "sse");
  await holdsTheLog(client, person, channel);
  await network();
  await isAt(client, "socket");
  await person.say(channel, "b");
  await holdsTheLog(client, person, channel);
});

promise("frames that are swallowed after the handshake: by sse", async () => {
  const { person, channel } = await meet();
  await network("swallow_frames");
  const client = await follow(person, channel);
  await isAt(client, "sse");
  await person.say(channel, "a");
  await holdsTheLog(client, person, channel);
});

promise("a socket that goes deaf under way: what was asked is done, once, by another door", async () => {
  const { person, channel } = await meet();
  const client = await follow(person, channel, { timing: { ackMs: 1_000 } });
  await isAt(client, "socket");
  await network("swallow_frames");
  const made = await client.channel(channel.id).messages.create("once");
  await isAt(client, "sse");
  await holdsTheLog(client, person, channel);
  await network();
  await isAt(client, "socket");
  await person.say(channel, "b");
  await holdsTheLog(client, person, channel);

  assert.equal(made.body, "once");
  assert.equal(client.events.filter(({ key }) => key === made.key).length, 1);
});

promise("streams that are kept back as well: by polls, and back up", async () => {
  const { person, channel } = await meet();
  await network("refuse_upgrades", "buffer_sse");
  const client = await follow(person, channel);
  await isAt(client, "poll");
  await person.say(channel, "a");
  await holdsTheLog(client, person, channel);
  await network("refuse_upgrades");
  await isAt(client, "sse");
  await network();
  await isAt(client, "socket");
  await person.say(channel, "b");
  await holdsTheLog(client, person, channel);
});

promise("a restored backup is a reset at every door", async () => {
  const { person, channel } = await meet();
  await person.say(channel, "a");
  const resets = [];
  const follower = async (door) => {
    const handle = {};
    const handlers = {
      reset: async ({ reason }) => {
        const { position } = await handle.client.channel(channel.id).sync();
        // Not before: what is said from now on comes after every snapshot.
        resets.push(`${door} ${reason}`);
        return position;
      },
    };
    handle.client = await follow(person, channel, { doors: [door] }, { handlers });
    return handle.client;
  };
  const all = await Promise.all(DOORS.map(follower));
  await ask("stop");
  await ask("new_epoch");
  await ask("start");
  await until(() => new Set(resets).size >= 3, "three resets");
  await person.say(channel, "b");
  await until(() => all.every(({ events }) => events.at(-1)?.data.body === "b"), "what follows");

  assert.deepEqual([...new Set(resets)].sort(), ["poll epoch", "socket epoch", "sse epoch"].sort());
});

promise("three messages, written while the server is away, survive a reload", async () => {
  const { person, channel } = await meet();
  const kept = new Map();
  const storage = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => void kept.set(k, v) };
  await ask("stop");
  const before = open(person, { storage, user: person.user.id });
  for (const body of ["one", "two", "three"]) before.queue(channel.id, body);
  before.close();
  const client = await Promise.race([
    follow(person, channel, { storage, user: person.user.id }),
    ask("start").then(() => new Promise(() => {})),
  ]);
  await until(() => !client.outbox.entries().length, "an empty outbox");
  await holdsTheLog(client, person, channel);

  assert.deepEqual(client.events.slice(2).map(({ data }) => data.body), ["one", "two", "three"]);
});

promise("a session renews itself, and a reload goes on with it", async () => {
  const person = await Person.register();
  const store = memoryStore();
  const grant = { access_token: "spoilt", refresh_token: person.refreshToken };
  const first = open(person, { token: session({ url: proxy, grant, store }) });
  await first.live();
  first.close();
  const again = open(person, { token: session({ url: proxy, store }) });
  await again.live();

  assert.equal(again.user, person.user.id);
});

promise("what the server refuses is told by its code", async () => {
  const { person, channel } = await meet();
  const client = open(person);
  await client.live();
  const long = client.channel(channel.id).messages.create("x".repeat(70_000));
  await assert.rejects(long, (error) => error instanceof FanfareError && error.code === "too_large");
  const nowhere = client.channel(randomUUID()).subscribe({});
  await assert.rejects(nowhere.ready, { code: "not_found" });
  await assert.rejects(client.channel("no-such-slug").subscribe({}).ready, { code: "not_found" });
});

promise("notifications are listed, counted and read", async () => {
  const { person } = await meet();
  const client = open(person);
  await client.live();

  assert.deepEqual((await client.notifications.list({ unread: true })).items, []);
  assert.equal(await client.notifications.unread(), 0);
  assert.equal(await client.notifications.read(), 0);
});

promise("at random: doors forced, shut and cut while somebody publishes: the list equals the log", async () => {
  ({ seed } = await ask("seed"));
  const random = makeRandom(seed);
  const pick = (items) => items[Math.floor(random() * items.length)];
  const { person, channel } = await meet();
  const client = await follow(person, channel, { timing: { ackMs: 1_500, socketMs: 1_500, sseMs: 1_500 } });
  const moves = [
    () => network(...["refuse_upgrades", "swallow_frames", "buffer_sse"].filter(() => random() < 0.4)),
    () => ask("cut", { path: pick(["", "/socket.io", "/api/v1/events"]) }),
    () => client.force(pick([...DOORS, null])),
    () => client.reconnect(),
  ];
  const sent = [];
  for (let i = 0; i < 60; i++) {
    await person.say(channel, `m${i}`);
    sent.push(client.channel(channel.id).messages.create(`mine ${i}`));
    if (random() < 0.4) await pick(moves)();
    await new Promise((resolve) => setTimeout(resolve, random() * 100)); // so that moves meet
  }
  await network();
  client.force(null);
  await Promise.all(sent);
  await holdsTheLog(client, person, channel);

  const doors = new Set(client.states.map(({ door }) => door).filter(Boolean));
  assert.ok(doors.size > 1, `only ${[...doors]}; seed ${seed}`);
  assert.equal(client.events.length, 122, `seed ${seed}`);
  assert.deepEqual(offsets(client), count(122));
  const mine = client.events.map(({ data }) => data.body).filter((body) => body?.startsWith("mine"));
  assert.deepEqual(mine, Array.from({ length: 60 }, (_, i) => `mine ${i}`));
});

function makeRandom(from) {
  let state = from | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

await runAll();
