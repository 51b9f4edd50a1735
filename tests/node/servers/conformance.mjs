// The conformance server on the reference library.
//
// Each MODE has the namespaces, events and options that a group of suites asks for, as far as socket.io 4.8.4 has them. It is
// what those suites are proven right on before they judge our own `conformance-server`. PORT, MODE, PING_INTERVAL,
// PING_TIMEOUT, MAX_PAYLOAD and DEFLATE are its only settings.

import http from "node:http";
import { createRequire } from "node:module";
import * as admin from "./admin-mode.mjs";
import * as clients from "./clients-mode.mjs";
import * as stock from "./stock-modes.mjs";
import { engineServer, socketServer } from "./attach.mjs";
import { abuse, protocolNamespaces } from "./events.mjs";

const msgpack = createRequire(import.meta.url)("socket.io-msgpack-parser");

const MODES = {
  protocol: { pingInterval: 300, pingTimeout: 200, maxHttpBufferSize: 1e6, serve: protocol },
  legacy: { pingInterval: 300, pingTimeout: 200, maxHttpBufferSize: 1e6, allowEIO3: true, serve: protocol },
  "protocol-msgpack": { pingInterval: 300, pingTimeout: 200, maxHttpBufferSize: 1e6, parser: msgpack, serve: protocol },
  ws: { pingInterval: 25_000, pingTimeout: 20_000, maxHttpBufferSize: 20e6, serve: protocol },
  clients: { pingInterval: 1000, pingTimeout: 2000, maxHttpBufferSize: 1e6, allowEIO3: true, serve: clients.serve },
  "eio-client": { pingInterval: 500, pingTimeout: 20_000, maxHttpBufferSize: 100, serve: stock.engineClient },
  "sio-client": { pingInterval: 2000, pingTimeout: 20_000, maxHttpBufferSize: 1e6, serve: stock.socketClient },
  admin: { pingInterval: 25_000, pingTimeout: 20_000, maxHttpBufferSize: 1e6, serve: admin.serve },
  abuse: { allowEIO3: true, serve: (server, options) => abuse(socketServer(server, "/socket.io", options)) },
};

function protocol(server, options) {
  const { parser, ...engine } = options;
  engineServer(server, "/engine.io", engine).on("connection", (session) => {
    session.on("message", (message) => session.send(message));
  });
  protocolNamespaces(socketServer(server, "/socket.io", { connectTimeout: 1000, ...options }));
}

function main(env) {
  const mode = MODES[env.MODE ?? "clients"];
  if (!mode) throw new Error(`unknown MODE ${env.MODE}; known: ${Object.keys(MODES).join(", ")}`);
  const { serve, ...options } = mode;
  if (env.PING_INTERVAL) options.pingInterval = Number(env.PING_INTERVAL);
  if (env.PING_TIMEOUT) options.pingTimeout = Number(env.PING_TIMEOUT);
  if (env.MAX_PAYLOAD) options.maxHttpBufferSize = Number(env.MAX_PAYLOAD);
  if (env.DEFLATE) options.perMessageDeflate = true;

  const server = http.createServer((request, response) => response.writeHead(404).end());
  server.keepAliveTimeout = 30_000;
  serve(server, options);
  server.on("upgrade", (request, socket) => {
    // Engine.IO looks at its own paths only, and at none when WebSocket is not among the transports.
    if (!/^\/(engine\.io|socket\.io|recovery|msgpack|marked|packed|marked-recovery)\//.test(request.url)) {
      const status = request.url.startsWith("/polling-only/") ? "400 Bad Request" : "404 Not Found";
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
  });
  server.listen(Number(env.PORT ?? 3000), "127.0.0.1");
}

process.on("SIGTERM", () => process.exit(0));
main(process.env);
