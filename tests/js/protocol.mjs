// The stock socket.io-client through the whole of the socket protocol.

import { Client, Person, ask, assert, bodies, runAll, step, types, until } from "./harness.mjs";

let ada, bob;

step("people register", async () => {
  [ada, bob] = [await Person.register(), await Person.register()];
});

// Connecting

for (const [name, transports, end] of [
  ["by websocket", ["websocket"], "websocket"],
  ["by polling that upgrades", ["polling", "websocket"], "websocket"],
  ["by polling alone", ["polling"], "polling"],
]) {
  step(`connect ${name}`, async () => {
    const channel = await ada.channel();
    const client = await Client.of(ada, { transports });
    await until(() => client.io.io.engine.transport.name === end, `the transport ${end}`);
    const { position } = await client.ok("subscribe", { stream: channel.stream });
    await ada.say(channel, "hello");
    const [event] = await client.eventsOf(channel.stream, 1);
    assert.equal(event.offset, position.offset + 1);
    assert.equal(event.data.body, "hello");
  });
}

step("ready tells who and what is allowed", async () => {
  const ready = await (await Client.of(ada)).packet("ready");
  const names = ["connection_id", "limits", "node", "position", "server_time", "user"];
  assert.deepEqual(Object.keys(ready).sort(), names);
  assert.equal(ready.user.id, ada.user.id);
  assert.equal(typeof ready.position.offset, "number");
  assert.equal(typeof ready.position.epoch, "string");
});

for (const [name, auth, codes] of [
  ["without a token", () => undefined, ["invalid", "unauthorized"]],
  ["with an empty token", () => ({ token: "" }), ["invalid", "unauthorized"]],
  ["with a made-up token", () => ({ token: "e30.e30.c2ln" }), ["unauthorized"]],
  ["with a refresh token", () => ({ token: ada.refreshToken }), ["unauthorized"]],
]) {
  step(`refused ${name}`, async () => {
    const error = await new Client(auth()).refusal();
    assert(error instanceof Error);
    assert(codes.includes(error.data.code), error.data.code);
    assert.equal(error.data.detail, error.message);
  });
}

step("refused with an expired token", async () => {
  const { token } = await ask("token", { username: ada.user.username, ttl: 1 });
  const error = await until(async () => {
    const client = new Client({ token });
    const first = await until(() => client.refusals[0] ?? client.named("ready")[0], "an answer");
    client.io.close();
    return first instanceof Error && first;
  }, "the token's end");
  assert.equal(error.data.code, "token_expired");
});

step("refused after the logout", async () => {
  const person = await Person.register();
  await person.call("POST", "/auth/logout");
  const error = await new Client({ token: person.token }).refusal();
  assert.equal(error.data.code, "token_revoked");
});

step("refused in a namespace that does not exist", async () => {
  const client = new Client({ token: ada.token }, { namespace: "/other" });
  assert((await client.refusal()) instanceof Error);
  assert.equal(client.io.connected, false);
});

// Subscribing

step("subscribe starts at the top", async () => {
  const channel = await ada.channel();
  await ada.say(channel, "before");
  const client = await Client.of(ada);
  const ack = await client.ok("subscribe", { stream: channel.stream });
  await ada.say(channel, "after");
  assert.deepEqual([ack.events, ack.more, ack.reset], [[], false, null]);
  assert.deepEqual(bodies(await client.eventsOf(channel.stream, 1)), ["after"]);
});

step("subscribe with history, by slug", async () => {
  const channel = await ada.channel();
  await ada.say(channel, "one", "two", "three");
  const client = await Client.of(ada);
  const ack = await client.ok("subscribe", { stream: `channel:${channel.slug}`, history: 2 });
  assert.equal(ack.stream, channel.stream);
  assert.deepEqual(bodies(ack.events), ["two", "three"]);
});

step("subscribe after a position, page by page, then live", async () => {
  const channel = await ada.channel();
  const { stream } = channel;
  const client = await Client.of(ada);
  const start = (await client.ok("subscribe", { stream })).position;
  await client.ok("unsubscribe", { stream });
  await ada.say(channel, "1", "2", "3", "4", "5");
  const pages = [await client.ok("subscribe", { stream, after: start, limit: 2 })];
  while (pages.at(-1).more) {
    const after = pages.at(-1).position;
    pages.push(await client.ok("subscribe", { stream, after, limit: 2 }));
  }
  await ada.say(channel, "live");
  assert.deepEqual(pages.map((page) => bodies(page.events)), [["1", "2"], ["3", "4"], ["5"]]);
  assert.deepEqual(bodies(await client.eventsOf(stream, 1)), ["live"]);
});

step("unsubscribe ends delivery", async () => {
  const channel = await ada.channel();
  const { stream } = channel;
  const client = await Client.of(ada);
  await client.ok("subscribe", { stream });
  await client.ok("unsubscribe", { stream });
  await ada.say(channel, "unheard");
  await client.ok("subscribe", { stream });
  assert.deepEqual(client.events(stream), []);
});

step("a hidden stream does not exist", async () => {
  const hidden = await ada.channel({ kind: "private" });
  const error = await (await Client.of(bob)).refused("subscribe", { stream: hidden.stream });
  assert.equal(error.code, "not_found");
});

step("reset: another epoch, and ahead of the top", async () => {
  const { stream } = await ada.channel();
  const client = await Client.of(ada);
  const top = (await client.ok("subscribe", { stream })).position;
  const other = await client.ok("subscribe", { stream, after: { ...top, epoch: "elsewhere" } });
  const ahead = await client.ok("subscribe", { stream, after: { ...top, offset: 99 } });
  assert.equal(other.reset.reason, "epoch");
  assert.equal(ahead.reset.reason, "ahead");
  assert.deepEqual([other.position, other.reset.top, ahead.position], [top, top, top]);
});

step("reset: trimmed away", async () => {
  const channel = await ada.channel();
  const { stream } = channel;
  const client = await Client.of(ada);
  const { epoch } = (await client.ok("subscribe", { stream })).position;
  await client.ok("unsubscribe", { stream });
  await ada.say(channel, ...Array.from({ length: 30 }, (_, n) => `${n}`));
  const ack = await until(async () => {
    const found = await client.ok("subscribe", { stream, after: { offset: 1, epoch } });
    return found.reset && found;
  }, "the trimming");
  assert.equal(ack.reset.reason, "trimmed");
  assert.deepEqual(ack.events, []);
});

step("resume many streams in one call", async () => {
  const [seen, hidden] = [await ada.channel(), await bob.channel({ kind: "private" })];
  const client = await Client.of(ada);
  const at = (await client.ok("subscribe", { stream: seen.stream })).position;
  await client.ok("unsubscribe", { stream: seen.stream });
  await ada.say(seen, "missed");
  const { streams } = await client.ok("resume", {
    positions: { [seen.stream]: at, [hidden.stream]: at },
  });
  await ada.say(seen, "live");
  assert.deepEqual(bodies(streams[seen.stream].events), ["missed"]);
  assert.equal(streams[hidden.stream].error.code, "not_found");
  assert.deepEqual(bodies(await client.eventsOf(seen.stream, 1)), ["live"]);
});

// Publishing and messages

step("publish an event, once for each key", async () => {
  const { stream } = await ada.channel();
  const [maker, watcher] = [await Client.of(ada), await Client.of(bob)];
  await watcher.ok("subscribe", { stream });
  const packet = { stream, type: "order.paid", data: { order: 42 }, key: "k1" };
  const first = await maker.ok("publish", packet);
  const again = await maker.ok("publish", packet);
  const other = await maker.refused("publish", { ...packet, data: { order: 43 } });
  await maker.ok("publish", { ...packet, key: "k2" });
  const events = await watcher.eventsOf(stream, 2);
  assert.deepEqual(again.position, first.position);
  assert.equal(other.code, "conflict");
  assert.deepEqual(events.map((event) => event.key), ["k1", "k2"]);
  assert.equal(events[0].offset, first.position.offset);
  assert.equal(events[0].actor, ada.user.id);
  assert.deepEqual(events[0].data, { order: 42 });
});

step("publish a signal", async () => {
  const { stream } = await ada.channel();
  const [maker, watcher] = [await Client.of(ada), await Client.of(bob)];
  const { position } = await maker.ok("subscribe", { stream });
  await watcher.ok("subscribe", { stream });
  await maker.ok("publish", { stream, type: "cursor.moved", data: { x: 1 }, ephemeral: true });
  const signal = await watcher.packet("signal");
  assert.deepEqual([signal.type, signal.data], ["cursor.moved", { x: 1 }]);
  assert(!("offset" in signal));
  assert.deepEqual((await maker.ok("subscribe", { stream })).position, position);
  assert.deepEqual(maker.named("signal"), []);
});

step("publish is refused to who may not, and for the server's own types", async () => {
  const { stream } = await ada.channel();
  const packet = { stream, type: "order.paid", data: {} };
  assert.equal((await (await Client.of(bob)).refused("publish", packet)).code, "forbidden");
  const reserved = { ...packet, type: "message.created" };
  assert.equal((await (await Client.of(ada)).refused("publish", reserved)).code, "invalid");
});

step("a message is written, edited and deleted before a watcher's eyes", async () => {
  const { id, stream } = await ada.channel();
  const [author, watcher] = [await Client.of(ada), await Client.of(bob)];
  await watcher.ok("subscribe", { stream });
  const made = await author.ok("message.create", { channel: id, body: "Helo", key: "m1" });
  const again = await author.ok("message.create", { channel: id, body: "Helo", key: "m1" });
  const named = { channel: id, id: made.message.id };
  const edited = await author.ok("message.update", { ...named, body: "Hello" });
  const deleted = await author.ok("message.delete", named);
  const events = await watcher.eventsOf(stream, 3);
  assert.deepEqual(again.message, made.message);
  assert.deepEqual(types(events), ["message.created", "message.updated", "message.deleted"]);
  const acks = [made, edited, deleted];
  assert.deepEqual(events.map((event) => event.data), acks.map((ack) => ack.message));
  assert.deepEqual(events.map((event) => event.offset), acks.map((ack) => ack.position.offset));
  assert.deepEqual(bodies(events), ["Helo", "Hello", null]);
});

step("packets are handled in the order of their sending", async () => {
  const { id, stream } = await ada.channel();
  const client = await Client.of(ada);
  await client.ok("subscribe", { stream });
  const wanted = Array.from({ length: 15 }, (_, number) => `${number}`);
  for (const body of wanted) client.io.emit("message.create", { channel: id, body });
  assert.deepEqual(bodies(await client.eventsOf(stream, 15)), wanted);
});

step("typing reaches the others", async () => {
  const { id, stream } = await ada.channel();
  const [writer, watcher] = [await Client.of(ada), await Client.of(bob)];
  for (const client of [writer, watcher]) await client.ok("subscribe", { stream });
  await writer.ok("typing", { channel: id });
  const signal = await watcher.packet("signal");
  assert.deepEqual([signal.type, signal.actor, signal.stream], ["typing", ada.user.id, stream]);
  assert.deepEqual(writer.named("signal"), []);
});

step("reading on one device is read on all", async () => {
  const channel = await ada.channel();
  await bob.call("PUT", `/channels/${channel.id}/members/me`, {});
  await ada.say(channel, "one", "two");
  const [phone, laptop] = [await Client.of(bob), await Client.of(bob)];
  const { offset } = (await phone.ok("subscribe", { stream: channel.stream })).position;
  const ack = await phone.ok("read", { channel: channel.id, offset: offset - 1 });
  const [event] = await laptop.eventsOf(`user:${bob.user.id}`, 1);
  assert.equal(ack.unread, 1);
  assert.equal(event.type, "read.moved");
  assert.deepEqual(event.data, { channel_id: channel.id, offset: offset - 1, unread: 1 });
});

// Tokens and access

step("a token is told to expire, refreshed, and outlived", async () => {
  const { token } = await ask("token", { username: ada.user.username, ttl: 4 });
  const client = new Client({ token });
  const { expires_in } = await client.packet("auth.expiring");
  const ack = await client.ok("auth.refresh", { token: ada.token });
  const end = Date.now() + (expires_in + 1) * 1000;
  await until(() => Date.now() > end, "the old token's end");
  assert(expires_in <= 4);
  assert(ack.expires_in > 60);
  assert.deepEqual(client.named("bye"), []);
  await client.ok("subscribe", { stream: "user:me" });
});

step("a token that is not refreshed ends with a goodbye", async () => {
  const { token } = await ask("token", { username: ada.user.username, ttl: 3 });
  const client = new Client({ token });
  const bye = await client.packet("bye");
  await client.packet("disconnect");
  assert.deepEqual([bye.code, bye.retry], ["token_expired", "now"]);
});

step("a token of somebody else is refused", async () => {
  const client = await Client.of(ada);
  assert.equal((await client.refused("auth.refresh", { token: bob.token })).code, "bad_request");
  await client.ok("subscribe", { stream: "user:me" });
});

step("a member who is removed hears no more", async () => {
  const club = await ada.channel({ kind: "private", members: [bob.user.id] });
  const client = await Client.of(bob);
  await client.ok("subscribe", { stream: club.stream });
  await ada.call("DELETE", `/channels/${club.id}/members/${bob.user.id}`);
  const told = await client.packet("unsubscribed");
  await ada.say(club, "without Bob");
  assert.deepEqual(told, { stream: club.stream, code: "forbidden" });
  assert.equal((await client.refused("subscribe", { stream: club.stream })).code, "not_found");
  assert(!types(client.events(club.stream)).includes("message.created"));
});

step("a logout ends every socket of the session", async () => {
  const person = await Person.register();
  const clients = [await Client.of(person), await Client.of(person)];
  await person.call("POST", "/auth/logout");
  for (const client of clients) {
    const bye = await client.packet("bye");
    await client.packet("disconnect");
    assert.deepEqual([bye.code, bye.retry], ["token_revoked", "never"]);
  }
});

// Bad packets

for (const [name, args, code] of [
  ["an unknown event", ["no.such.event", {}], "bad_request"],
  ["no argument", ["subscribe"], "bad_request"],
  ["an argument that is no object", ["subscribe", "user:me"], "bad_request"],
  ["two arguments", ["subscribe", { stream: "user:me" }, {}], "bad_request"],
  ["a missing field", ["subscribe", {}], "invalid"],
  ["an unknown field", ["subscribe", { stream: "user:me", colour: "red" }], "invalid"],
  ["binary data", ["publish", { stream: "user:me", data: new Uint8Array(3) }], "bad_request"],
  ["a channel that is none", ["message.create", { channel: "nowhere", body: "x" }], "not_found"],
]) {
  step(`acked with an error: ${name}`, async () => {
    const client = await Client.of(ada);
    assert.equal((await client.refused(...args)).code, code);
    await client.ok("subscribe", { stream: "user:me" });
  });
}

// Coming back

step("after a restart the client comes back and resumes", async () => {
  const channel = await ada.channel();
  const { stream } = channel;
  const client = await Client.of(ada);
  const at = (await client.ok("subscribe", { stream })).position;
  await ada.say(channel, "before");
  const [seen] = await client.eventsOf(stream, 1);
  await ask("stop");
  const bye = await client.packet("bye");
  const greeted = client.named("ready").length;
  await ask("publish", { stream, type: "while.away", data: 1 });
  await ask("start");
  await client.packet("ready", greeted + 1);
  const positions = { [stream]: { ...at, offset: seen.offset } };
  const { streams } = await client.ok("resume", { positions });
  await ada.say(channel, "after");
  assert.deepEqual([bye.code, bye.retry], ["draining", "later"]);
  assert.deepEqual(types(streams[stream].events), ["while.away"]);
  assert.deepEqual(bodies(await client.eventsOf(stream, 2)), ["before", "after"]);
});

step("after a crash too", async () => {
  const { stream } = await ada.channel();
  const client = await Client.of(ada);
  const at = (await client.ok("subscribe", { stream })).position;
  await ask("kill");
  await client.packet("disconnect");
  await ask("publish", { stream, type: "while.away", data: 1 });
  await ask("start");
  await client.packet("ready", 2);
  const { streams } = await client.ok("resume", { positions: { [stream]: at } });
  assert.deepEqual(types(streams[stream].events), ["while.away"]);
  assert.deepEqual(client.named("bye"), []);
});

await runAll();
