// A server of an older generation in the cluster, on whose rooms emitters have to work too.
//
// GENERATION 4.0: socket.io 4.0.2 with socket.io-redis 6.1.1; 2: socket.io 2.5.1 with socket.io-redis 5.4.0. A client
// joins a room with `join` and hears what is emitted. PORT and REDIS_URL set it up, KEY_PREFIX if it is given.

import http from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { PORT, REDIS_URL, KEY_PREFIX: key = "socket.io", GENERATION } = process.env;

const redis = require("redis-3");
const [pubClient, subClient] = [redis.createClient(REDIS_URL), redis.createClient(REDIS_URL)];
const server = http.createServer();

const io = {
  "4.0": () => {
    const io = new (require("socket.io-4.0").Server)(server, { serveClient: false });
    io.adapter(require("socket.io-redis").createAdapter({ pubClient, subClient, key }));
    return io;
  },
  2: () => {
    const io = require("socket.io-2")(server, { serveClient: false });
    io.adapter(require("socket.io-redis-5")({ pubClient, subClient, key }));
    return io;
  },
}[GENERATION]();

for (const name of ["/", "/chat"]) {
  io.of(name).on("connection", (socket) => {
    socket.on("join", (room, ack) => {
      socket.join(room, ack);
      if (GENERATION !== "2") ack();
    });
  });
}
server.listen(Number(PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
