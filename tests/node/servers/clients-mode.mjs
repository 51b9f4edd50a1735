// Mode `clients`: an Engine.IO echo and seven independent Socket.IO servers on one port.

import { createRequire } from "node:module";
import { engineServer, socketServer } from "./attach.mjs";
import { marked, packed } from "../lib/parsers.mjs";
import { everything } from "./events.mjs";

const msgpack = createRequire(import.meta.url)("socket.io-msgpack-parser");

/** Serves all of them on `server`. */
export function serve(server, options) {
  engineEcho(engineServer(server, "/engine.io", options));

  const common = { connectTimeout: 1000, ...options };
  namespaces(socketServer(server, "/socket.io", {
    serveClient: true,
    ...common,
    cookie: true,
    cors: { origin: "http://allowed.test", credentials: true },
    allowRequest: (request, done) =>
      "x-deny" in request.headers ? done("denied by allowRequest", false) : done(null, true),
  }));
  recovery(socketServer(server, "/recovery", {
    ...common,
    connectionStateRecovery: { maxDisconnectionDuration: 3000, skipMiddlewares: true },
  }));
  namespaces(socketServer(server, "/msgpack", { ...common, parser: msgpack }));
  namespaces(socketServer(server, "/marked", { ...common, parser: marked }));
  namespaces(socketServer(server, "/packed", { ...common, parser: packed }));
  recovery(socketServer(server, "/marked-recovery", {
    ...common,
    parser: marked,
    connectionStateRecovery: { maxDisconnectionDuration: 3000, skipMiddlewares: true },
  }));
  namespaces(socketServer(server, "/polling-only", { ...common, transports: ["polling"] }));
}

function engineEcho(engine) {
  const reasons = new Map();
  const refusals = [];
  engine.on("connection_error", ({ code, message, context }) => refusals.push({ code, message, context }));
  engine.on("connection", (session) => {
    const { id, protocol } = session;
    session.on("close", (reason) => reasons.set(id, reason));
    session.on("message", (message) => {
      if (message === "close-me") session.close();
      else if (message === "who") session.send(JSON.stringify({ id, transport: session.transport.name, eio: protocol }));
      else if (message === "refusals") session.send(JSON.stringify(refusals.splice(0)));
      else if (typeof message === "string" && message.startsWith("reason-of ")) {
        session.send(`reason ${reasons.get(message.slice("reason-of ".length)) ?? "none"}`);
      } else session.send(message);
    });
  });
}

function namespaces(io) {
  for (const name of ["/", "/custom"]) {
    const nsp = io.of(name);
    nsp.on("connection", (socket) => everything(io, nsp, socket));
  }
  io.of("/auth").use((socket, next) => {
    if (socket.handshake.auth.token === "secret") return next();
    next(Object.assign(new Error("not authorized"), { data: { code: 401 } }));
  });
  io.of("/refuse").use((socket, next) => next(new Error("refused")));
  io.of("/slow").use((socket, next) => setTimeout(next, 150));
  io.of(/^\/dyn-\d+$/).on("connection", (socket) => socket.emit("dyn", socket.nsp.name));
}

function recovery(io) {
  let runs = 0;
  io.use((socket, next) => ((runs += 1), next()));
  for (const name of ["/", "/custom"]) {
    const nsp = io.of(name);
    nsp.on("connection", (socket) => {
      everything(io, nsp, socket);
      socket.on("middleware-runs", (ack) => ack(runs));
    });
  }
}
