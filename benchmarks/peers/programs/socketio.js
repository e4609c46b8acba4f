// Socket.IO for Node.js as its documentation recommends for production: WebSocket alone, bufferutil
// installed, the first request of each connection let go. With a Redis's URL it takes its adapter.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, redisUrl] = process.argv.slice(2);
const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

if (redisUrl) {
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const publisher = createClient({ url: redisUrl });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

io.on("connection", (socket) => {
  socket.on("subscribe", ({ room }, acknowledge) => {
    socket.join(room);
    acknowledge({ ok: true });
  });
  socket.on("publish", ({ room, data }, acknowledge) => {
    io.to(room).emit("event", data);
    acknowledge?.({ ok: true });
  });
});

server.listen(Number(port), "127.0.0.1", 8192, () => console.log("ready"));
