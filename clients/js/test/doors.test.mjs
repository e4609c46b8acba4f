// Choosing the door: the best that works, down in time, and up again; nothing lost, nothing doubled.

import { afterEach, beforeEach, describe, test } from "node:test";
import { CHANNEL, OTHER, STREAM } from "./fake.mjs";
import { World, assert, count, makeRandom, until } from "./help.mjs";

const DOORS = ["socket", "sse", "poll"];
let world, server;

beforeEach(async () => {
  world = await World.start();
  server = world.server;
});
afterEach(() => world.stop());

const isAt = (client, door) => () => client.state.state === "live" && client.state.door === door;

for (const door of DOORS) {
  describe(`through ${door}`, () => {
    const only = { doors: [door] };

    test("events come once, in order: those before and those that follow", async () => {
      server.say(..."abcdefghijklmnopqrst");
      const client = await world.follow(only);
      server.say("u", "v");
      await until(() => client.events.length >= 22);

      assert.equal(client.state.door, door);
      assert.deepEqual(client.offsets(), count(1, 22));
      assert.deepEqual(client.sub.position, { offset: 22, epoch: "e1" });
    });

    test("history begins with the newest events", async () => {
      server.say(..."abcdefgh");
      const client = await world.follow(only, { history: 3 });
      server.say("i");
      await until(() => client.events.length >= 4);

      assert.deepEqual(client.offsets(), [6, 7, 8, 9]);
    });

    test("without a position it begins at the top", async () => {
      server.say("before");
      const client = await world.follow(only, {});
      server.say("after");
      await until(() => client.events.length);

      assert.deepEqual(client.offsets(), [2]);
    });

    test("a stream that is followed later joins, and the others go on", async () => {
      server.say("a");
      server.append(`channel:${OTHER}`, "x.y", 1);
      const client = await world.follow(only);
      const others = [];
      const handlers = { event: ({ offset }) => others.push(offset) };
      const other = client.channel(OTHER).subscribe(handlers, { after: { offset: 0, epoch: "e1" } });
      await other.ready;
      server.say("b");
      server.append(`channel:${OTHER}`, "x.y", 2);
      await until(() => others.length >= 2 && client.events.length >= 2);

      assert.deepEqual(others, [1, 2]);
      assert.deepEqual(client.offsets(), [1, 2]);
    });

    test("a stream that is left is heard no more, and can be followed anew", async () => {
      const client = await world.follow(only);
      server.say("a");
      await until(() => client.events.length === 1);
      client.sub.stop();
      server.say("b", "c");
      const late = [];
      const handlers = { event: ({ offset }) => late.push(offset) };
      const after = { offset: 1, epoch: "e1" };
      await client.channel(CHANNEL).subscribe(handlers, { after }).ready;
      await until(() => late.length >= 2);

      assert.deepEqual(client.offsets(), [1]);
      assert.deepEqual(late, [2, 3]);
    });

    test("what may not be read is told, and the rest goes on", async () => {
      const client = await world.follow(only);
      const lost = [];
      const id = "01a1f8c4-2e55-7f01-8d6a-00000000dead";
      const sub = client.channel(id).subscribe({ lost: ({ code }) => lost.push(code) });
      await assert.rejects(sub.ready, { code: "not_found" });
      server.say("on");
      await until(() => client.events.length);

      assert.deepEqual(lost, ["not_found"]);
    });

    test("a reset takes the position of the new snapshot", async () => {
      server.say("a", "b", "c");
      const other = await world.follow(only);
      const witness = async (offset) => {
        await until(() => other.offsets().includes(offset));
        await client.call("GET", "/channels/any");
      };
      const client = world.connect(only);
      const got = [];
      const words = [];
      const handlers = {
        event: ({ offset }) => got.push(offset),
        reset: async (word) => {
          words.push(word);
          server.append(STREAM, "x.y", "while the snapshot is taken");
          await witness(4); // it has left the server
          return { offset: 2, epoch: "e1" };
        },
      };
      const after = { offset: 9, epoch: "gone" };
      await client.channel(CHANNEL).subscribe(handlers, { after }).ready;
      server.say("d");
      await until(() => got.length >= 3);

      assert.deepEqual([words.length, words[0].reason, words[0].top.offset], [1, "epoch", 3]);
      assert.deepEqual(got, [3, 4, 5]);
    });

    test("from a snapshot that is older than the top it reads what lies between", async () => {
      server.say("a", "b", "c");
      const client = world.connect(only);
      const got = [];
      const handlers = {
        event: ({ offset }) => got.push(offset),
        reset: () => ({ offset: 1, epoch: "e1" }),
      };
      client.channel(CHANNEL).subscribe(handlers, { after: { offset: 9, epoch: "e1" } });
      await until(() => got.length >= 2);

      assert.deepEqual(got, [2, 3]);
    });

    test("after a cut nothing is missing", async () => {
      const client = await world.follow(only);
      server.say("a");
      await until(() => client.events.length === 1);
      server.cutSockets();
      server.cutStreams();
      server.http.closeAllConnections();
      server.say("b");
      await until(() => client.events.length === 2);
      server.say("c");
      await until(() => client.events.length === 3);

      assert.deepEqual(client.offsets(), [1, 2, 3]);
    });

    test("a token that is refused is asked for once, and the door is open", async () => {
      const asked = [];
      const token = ({ refused }) => (asked.push(refused), refused ? "t1" : "stale");
      const client = await world.follow({ ...only, token });

      assert.equal(client.state.door, door);
      assert.deepEqual(asked, [null, "stale"]);
    });

    test("without a token that is good it ends, and says so", async () => {
      const client = world.connect({ ...only, token: "stale" });
      await assert.rejects(client.live(), { code: "unauthorized" });

      assert.equal(client.state.state, "ended");
    });

    test("publishing takes effect once, also when its answer is lost", async () => {
      const client = await world.follow(only);
      let cuts = 0;
      const lose = server.append.bind(server);
      server.append = (...asked) => {
        const done = lose(...asked);
        if (cuts++ === 0) {
          server.cutSockets();
          server.http.closeAllConnections();
        }
        return done;
      };
      const made = await client.channel(CHANNEL).messages.create("once");
      await until(() => client.events.length === 1);

      assert.equal(made.body, "once");
      assert.equal(server.top(STREAM).offset, 1);
    });
  });
}

describe("choosing", () => {
  test("a socket that is refused costs no time", async () => {
    server.socket = "refuse";
    const client = await world.follow({ timing: { probeMs: 60_000 } });

    assert.equal(client.state.door, "sse");
  });

  test("a socket that stays mute is given up for sse", async () => {
    server.socket = "mute";
    const client = await world.follow({ timing: { probeMs: 60_000 } });

    assert.equal(client.state.door, "sse");
  });

  test("a stream that a proxy keeps back is given up for polls", async () => {
    server.socket = "refuse";
    server.sse = "buffer";
    const client = await world.follow({ timing: { probeMs: 60_000 } });
    server.say("a");
    await until(() => client.events.length);

    assert.equal(client.state.door, "poll");
  });

  test("a socket that answers nothing is left, and what was asked is asked by REST", async () => {
    const client = await world.follow({ timing: { probeMs: 60_000 } });
    server.socket = "deaf";
    const made = await client.channel(CHANNEL).messages.create("over there");
    await until(isAt(client, "sse"));
    await until(() => client.events.length);

    assert.equal(made.body, "over there");
    assert.equal(server.calls.filter((call) => call === "SOCKET").length, 1);
    assert.ok(server.calls.includes(`POST /channels/${CHANNEL}/messages`));
    assert.deepEqual(client.offsets(), [1]);
  });

  test("once the socket works again it is taken, beside the door in use", async () => {
    server.socket = "refuse";
    const client = await world.follow();
    server.say("a");
    await until(() => client.events.length === 1);
    server.socket = "ok";
    await until(isAt(client, "socket"));
    server.say("b");
    await until(() => client.events.length === 2);

    assert.deepEqual(client.offsets(), [1, 2]);
    assert.deepEqual(client.states.map(({ state }) => state).filter((s) => s === "reconnecting"), []);
    await until(() => !server.streams.size, "the old stream's end");
  });

  test("from polls it goes up to sse where the socket stays shut", async () => {
    server.socket = "refuse";
    server.sse = "refuse";
    const client = await world.follow({ timing: { backoffMs: 20 }, doors: DOORS });
    await until(isAt(client, "poll"));
    server.sse = "ok";
    await until(isAt(client, "sse"));
  });

  test("what worked last is tried first after a reload", async () => {
    const storage = makeStorage();
    server.socket = "mute";
    const timing = { probeMs: 60_000 };
    (await world.follow({ storage, timing })).close();
    server.calls = [];
    await world.follow({ storage, timing });

    assert.ok(!server.calls.includes("SOCKET"));
  });

  test("a door that is forced is the only one, until it is let go", async () => {
    const client = await world.follow();
    for (const door of ["poll", "sse", "socket", "poll"]) {
      client.force(door);
      await until(isAt(client, door), door);
      server.say(door);
      await until(() => client.events.at(-1)?.data.body === door);
    }
    client.force(null);
    await until(isAt(client, "socket"));

    assert.deepEqual(client.offsets(), count(1, 4));
  });

  test("a forced door that does not work is waited for", async () => {
    server.sse = "refuse";
    const client = await world.follow();
    client.force("sse");
    await until(() => client.state.state === "reconnecting");
    server.sse = "ok";
    await until(isAt(client, "sse"));
  });

  test("while the server drains the same door is waited for, and no other tried", async () => {
    const client = await world.follow();
    server.calls = [];
    const bye = { code: "draining", detail: "", retry: "later", retry_after: 0.2 };
    const byes = [];
    client.on("bye", (word) => byes.push(word.code));
    server.cutSockets(bye);
    await until(() => client.state.retry_at);
    await until(isAt(client, "socket"));

    assert.deepEqual(byes, ["draining"]);
    assert.deepEqual(server.calls.filter((call) => call.includes("/events")), []);
  });

  test("what the server itself says is no reason to try another door", async () => {
    server.socket = "refuse";
    let refusals = 0;
    server.fail = (method, path) =>
      path === "/events/stream" && refusals++ < 2 ? { status: 503, code: "unavailable" } : null;
    const client = await world.follow();
    await isAt(client, "sse")();

    assert.equal(refusals, 3);
    assert.ok(!server.calls.includes("GET /events"));
  });

  test("a stream that is cut before its reset was told is told it the next time", async () => {
    server.say("a", "b", "c");
    server.sse = "cut";
    const client = world.connect({ doors: ["sse"] });
    const words = [];
    const handlers = { reset: ({ reason }) => void words.push(reason) };
    client.channel(CHANNEL).subscribe(handlers, { after: { offset: 9, epoch: "e1" } });
    await until(() => words.length);

    assert.deepEqual(words, ["ahead"]);
  });

  test("over plain HTTP it is seen in the channels that it asked to be seen in", async () => {
    for (const door of ["sse", "poll"]) {
      const asked = [];
      const fetch = (url, sent) => (asked.push(new URL(url).searchParams.get("presence")), globalThis.fetch(url, sent));
      const client = world.connect({ doors: [door], fetch });
      const here = client.channel(CHANNEL).subscribe({}, { presence: true });
      await here.ready;
      assert.equal(asked.at(-1) ?? "true", "true");
      await client.channel(OTHER).subscribe({}).ready;
      await until(() => asked.includes(STREAM));
      client.close();
    }
  });

  test("more streams than plain HTTP takes are told so, one by one", async () => {
    const client = world.connect({ doors: ["poll"] });
    const lost = [];
    for (const n of count(100, 229)) {
      const id = `01a1f8c4-2e55-7f01-8d6a-000000000${n}`;
      server.reset(`channel:${id}`, "e1");
      client.channel(id).subscribe({ lost: ({ code }) => lost.push(code) });
    }
    await until(() => lost.length >= 2);

    assert.deepEqual(lost, ["too_many_subscriptions", "too_many_subscriptions"]);
  });

  test("a bye of never ends it; it can be begun again", async () => {
    const client = await world.follow();
    server.cutSockets({ code: "token_revoked", detail: "out", retry: "never", retry_after: 0 });
    await until(() => client.state.state === "ended");
    client.reconnect();
    await until(isAt(client, "socket"));

    assert.equal(client.states.find(({ state }) => state === "ended").code, "token_revoked");
  });

  test("many streams are named by a cursor, which fits into an address", async () => {
    const client = world.connect({ doors: ["sse"] });
    const subs = count(100, 180).map((n) => {
      const id = `01a1f8c4-2e55-7f01-8d6a-000000000${n}`;
      server.reset(`channel:${id}`, "e1");
      return client.channel(id).subscribe({}, { after: { offset: 0, epoch: "e1" } });
    });
    await Promise.all(subs.map(({ ready }) => ready));

    assert.ok(server.calls.includes("POST /events/cursor"));
  });
});

describe("at random", () => {
  test("the list equals the log, whatever door is open, shut, cut or forced", async (t) => {
    const { seed, random, pick } = makeRandom();
    t.diagnostic(`FANFARE_SEED=${seed}`);
    server.pieces = (text) => {
      const at = Math.floor(random() * text.length);
      return [text.slice(0, at), text.slice(at)];
    };
    const client = await world.follow({ timing: { socketMs: 60, sseMs: 60, ackMs: 60, probeMs: 10 } });
    const moves = [
      () => (server.socket = pick(["ok", "refuse", "mute", "deaf"])),
      () => (server.sse = pick(["ok", "refuse", "buffer"])),
      () => server.cutSockets(),
      () => server.cutStreams(),
      () => server.http.closeAllConnections(),
      () => client.force(pick([...DOORS, null])),
      () => client.reconnect(),
      () => client.channel(CHANNEL).messages.create("mine"),
    ];
    const sent = [];
    for (let i = 0; i < 300; i++) {
      server.say(`m${i}`);
      if (random() < 0.3) sent.push(pick(moves)());
      if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, random() * 30));
    }
    Object.assign(server, { socket: "ok", sse: "ok" });
    client.force(null);
    await Promise.all(sent);
    const top = () => server.top(STREAM).offset;
    await until(() => client.events.length >= top(), `the log; FANFARE_SEED=${seed}`);

    assert.deepEqual(client.offsets(), count(1, top()), `FANFARE_SEED=${seed}`);
    assert.equal(server.logs.get(STREAM).keys.size, top() - 300, `FANFARE_SEED=${seed}`);
  });
});

function makeStorage() {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
}
