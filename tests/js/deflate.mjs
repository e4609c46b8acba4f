// The stock client with compression as it offers it by itself: events of every size, both ways.

import { io } from "socket.io-client";
import { ask, assert, runAll, step, until, url } from "./harness.mjs";

async function follow(options) {
  const { token, channel } = await ask("whom");
  const stream = `channel:${channel}`;
  const socket = io(url, { transports: ["websocket"], auth: { token }, forceNew: true, ...options });
  const sizes = [];
  socket.on("event", (event) => sizes.push(event.data.text.length));
  await until(() => socket.connected, "the connection");
  const transport = () => socket.io.engine.transport;
  await until(() => transport().name === "websocket", "the WebSocket");
  assert.equal((await socket.emitWithAck("subscribe", { stream })).ok, true);
  for (let n = 0; n < 20; n += 1) {
    const data = { text: "0123456789".repeat(20 * n) };
    const ack = await socket.emitWithAck("publish", { stream, type: "a.b", data });
    assert.equal(ack.ok, true);
  }
  await until(() => sizes.length === 20, "all events");
  const { extensions } = transport().ws;
  socket.close();
  assert.deepEqual(sizes, Array.from({ length: 20 }, (_, n) => 200 * n));
  return extensions;
}

step("events are the same, whatever was compressed of them", async () => {
  assert.equal(await follow({}), "permessage-deflate");
});

step("also where it began with polling", async () => {
  assert.equal(await follow({ transports: ["polling", "websocket"] }), "permessage-deflate");
});

step("and who offers nothing gets them plain", async () => {
  assert.equal(await follow({ perMessageDeflate: false }), "");
});

await runAll();
