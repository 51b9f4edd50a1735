// Servers of the reference library with different options, each on a port of its own, for compare.test.mjs.
//
// tests/src/bin/compare-server.rs is the same on ours. Prints the ports as one line of JSON once all of them listen.

import { once } from "node:events";
import http from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";

const parser = createRequire(import.meta.url)("socket.io-msgpack-parser");
const origin = ["http://a.test", "http://b.test"];

const SETS = {
  default: { allowEIO3: true },
  today: {},
  "cors-any": { cors: { origin: "*", methods: ["GET", "POST"] } },
  "cors-list": { cors: { origin, methods: ["GET", "POST"] } },
  "cors-all": {
    cors: {
      origin,
      credentials: true,
      methods: ["GET", "POST"],
      allowedHeaders: ["x-one", "x-two"],
      exposedHeaders: ["x-three"],
      maxAge: 600,
    },
  },
  cookie: { cookie: true },
  "cookie-all": { cookie: { name: "node", path: "/x", httpOnly: false, secure: true, sameSite: "strict" } },
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  "no-upgrades": { allowUpgrades: false },
  small: { maxHttpBufferSize: 100 },
  deny: { allowRequest: (request, answer) => ("x-deny" in request.headers ? answer("no entry", false) : answer(null, true)) },
  msgpack: { parser },
  path: { path: "/chat", addTrailingSlash: false, serveClient: false },
};

function events(io) {
  for (const name of ["/", "/custom"]) {
    io.of(name).on("connection", (socket) => {
      socket.on("message", (...args) => socket.emit("message-back", ...args));
      socket.on("message-with-ack", (...args) => args.pop()(...args));
      socket.on("kick", () => socket.disconnect());
      socket.on("close", () => socket.disconnect(true));
    });
  }
  io.of("/refuse").use((socket, next) => next(Object.assign(new Error("refused"), { data: { code: 401 } })));
}

const ports = {};
for (const [name, options] of Object.entries(SETS)) {
  const server = http.createServer((request, response) => response.writeHead(404).end());
  // Ours answers every EIO 3 client unless told otherwise.
  events(new Server(server, { allowEIO3: name !== "today", ...options }));
  await once(server.listen(0, "127.0.0.1"), "listening");
  ports[name] = server.address().port;
}
console.log(JSON.stringify(ports));
process.on("SIGTERM", () => process.exit(0));
