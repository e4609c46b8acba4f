// Tokens, signals, presence, and several who follow one channel.

import { afterEach, beforeEach, describe, test } from "node:test";
import { FanfareError, TIMING, memoryStore, session } from "../dist/fanfare.js";
import { CHANNEL, STREAM } from "./fake.mjs";
import { World, assert, until } from "./help.mjs";

let world, server;

beforeEach(async () => {
  world = await World.start();
  server = world.server;
});
afterEach(() => world.stop());

const person = (user_id, more = {}) => ({ user_id, status: "online", since: "2026", ...more });
const signal = (type, data, at = "2026-01-01T00:00:00.000Z") => ({ stream: STREAM, type, data, actor: null, at });

describe("tokens", () => {
  test("a session refreshes when it is refused, once for all who ask", async () => {
    let refreshes = 0;
    const fetch = async (url, sent) => {
      refreshes += url.endsWith("/auth/refresh") && sent.headers.Authorization === "Bearer r1";
      return Response.json({ access_token: "t2", refresh_token: "r2", expires_in: 900 });
    };
    const token = session({ url: "", grant: { access_token: "t1", refresh_token: "r1" }, fetch });
    const first = await token({ refused: null });
    const renewed = await Promise.all([token({ refused: "t1" }), token({ refused: "t1" })]);

    assert.deepEqual([first, ...renewed], ["t1", "t2", "t2"]);
    assert.equal(refreshes, 1);
  });

  test("a refresh that is refused ends the session, for the next one too", async () => {
    const fetch = async () => Response.json({ code: "unauthorized" }, { status: 401 });
    const store = memoryStore();
    const token = session({ grant: { access_token: "t1", refresh_token: "r1" }, fetch, store });
    await assert.rejects(token({ refused: "t1" }), { code: "unauthorized" });

    assert.equal(await store.read(), null);
    await assert.rejects(token({ refused: null }), { code: "unauthorized", retryable: false });
  });

  test("a token that can't be had for the moment is asked for again", async () => {
    let asked = 0;
    const token = () => {
      if (++asked < 3) throw new Error("the network is down");
      return "t1";
    };
    const client = world.connect({ token });
    await client.live();

    assert.equal(asked, 3);
  });

  test("an application that has no token any more ends the client", async () => {
    const token = () => {
      throw new FanfareError("unauthorized", "Please log in.");
    };
    await assert.rejects(world.connect({ token }).live(), { message: "Please log in." });
  });

  test("before it expires the socket is given a fresh one", async () => {
    const given = ["t2"];
    const client = await world.follow({ token: ({ refused }) => (refused ? given[0] : "t1") });
    server.token = "t2";
    for (const socket of server.sockets) socket.tell("auth.expiring", { expires_in: 0.1 });
    await until(() => server.calls.includes("PACKET auth.refresh"));
    server.say("still here");
    await until(() => client.events.length);

    assert.equal(client.states.filter(({ state }) => state === "live").length, 1);
  });

  test("before it expires a stream begins anew with a fresh one", async () => {
    const client = await world.follow({ doors: ["sse"], token: ({ refused }) => (refused ? "t2" : "t1") });
    server.token = "t2";
    for (const stream of server.streams) stream.tell("auth.expiring", { expires_in: 0.1 });
    await until(() => server.calls.filter((call) => call === "GET /events/stream").length > 1);
    server.say("still here");
    await until(() => client.events.length);

    assert.deepEqual(client.offsets(), [1]);
    assert.equal(client.states.filter(({ state }) => state === "live").length, 1);
  });
});

describe("presence", () => {
  test("a roster is told at first and after each signal, and read anew where one is missing", async () => {
    server.roster = { count: 1, people: [person("ada")] };
    const client = world.connect({ doors: ["sse"] });
    const rosters = [];
    const names = () => rosters.at(-1)?.people?.map(({ user_id, status }) => `${user_id} ${status}`);
    const sub = client.channel(CHANNEL).subscribe({ presence: (roster) => rosters.push(roster) }, { presence: true });
    await sub.ready;
    await until(() => rosters.length === 1);
    server.signal(signal("presence.joined", { ...person("bob"), count: 2 }));
    await until(() => rosters.length === 2);
    server.signal(signal("presence.updated", { ...person("bob", { status: "away" }), count: 2 }, "2026-02-02T00:00:00.000Z"));
    server.signal(signal("presence.updated", { ...person("bob"), count: 2 }));
    await until(() => rosters.length === 3);
    assert.deepEqual(names(), ["ada online", "bob away"]);
    server.roster = { count: 1, people: [person("cy")] };
    server.signal(signal("presence.left", { user_id: "bob", count: 7 }, "2026-03-03T00:00:00.000Z"));
    await until(() => rosters.length === 4);

    assert.deepEqual(names(), ["cy online"]);
    server.signal(signal("presence.updated", { user_id: null, count: 300 }));
    await until(() => rosters.length === 5);
    assert.deepEqual(rosters.at(-1), { count: 300, people: null });
  });

  test("a status is set again on each new socket", async () => {
    const client = await world.follow();
    await client.presence.set("away");
    server.cutSockets();
    const sets = () => server.calls.filter((call) => call === "PACKET presence.set").length;
    await until(() => sets() === 2);

    assert.equal(client.state.door, "socket");
  });
});

describe("who follows", () => {
  test("a channel named by its slug is followed by its id", async () => {
    const client = world.connect();
    const got = [];
    await client.channel("orders-42").subscribe({ event: ({ offset }) => got.push(offset) }).ready;
    server.say("a");
    await until(() => got.length);

    assert.deepEqual(got, [1]);
  });

  test("several hear the same, and the last one who stops leaves the stream", async () => {
    const client = await world.follow();
    const late = [];
    const second = client.channel(CHANNEL).subscribe({ event: ({ offset }) => late.push(offset) });
    await second.ready;
    server.say("both");
    await until(() => client.events.length && late.length);
    client.sub.stop();
    server.say("one");
    await until(() => late.length === 2);
    second.stop();
    await until(() => server.calls.includes("PACKET unsubscribe"));

    assert.deepEqual(client.offsets(), [1]);
  });

  test("another position for a channel that is followed is refused, not passed over", async () => {
    const client = await world.follow();
    const sub = client.channel(CHANNEL).subscribe({}, { after: { offset: 0, epoch: "e1" } });

    await assert.rejects(sub.ready, { code: "conflict" });
  });

  test("a handler that throws keeps nobody from hearing", async (t) => {
    const report = t.mock.method(console, "error", () => {});
    const client = await world.follow();
    client.on("event", () => {
      throw new Error("a fault of the page");
    });
    server.say("a", "b");
    await until(() => client.events.length === 2);

    assert.equal(report.mock.callCount(), 2);
  });

  test("signals reach those who follow", async () => {
    const client = world.connect();
    const types = [];
    await client.channel(CHANNEL).subscribe({ signal: ({ type }) => types.push(type) }).ready;
    server.signal(signal("typing", {}));
    await until(() => types.length);

    assert.deepEqual(types, ["typing"]);
  });

  test("lines of a stream may end as they like, and break anywhere", async () => {
    server.say("söme wörds ✓");
    const fetch = async (url, sent) => {
      const answer = await globalThis.fetch(url, sent);
      if (!url.includes("/events/stream")) return answer;
      return new Response(answer.body.pipeThrough(new TransformStream({ transform: shred })), answer);
    };
    const client = await world.follow({ doors: ["sse"], fetch });
    await until(() => client.events.length);

    assert.equal(client.events[0].data.body, "söme wörds ✓");
  });
});

describe("its budgets", () => {
  test("a blocked socket and a kept stream cost less than five seconds in all", () => {
    assert.ok(TIMING.socketMs + TIMING.sseMs < 5_000);
  });
});

// Byte by byte, with the line ends of another system.
function shred(piece, controller) {
  for (const byte of piece) {
    if (byte === 10) controller.enqueue(Uint8Array.of(13));
    controller.enqueue(Uint8Array.of(byte));
  }
}
