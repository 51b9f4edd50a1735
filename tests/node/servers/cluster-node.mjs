// One node of a cluster on the reference library, driven by its clients.
//
// Does what cluster-commands.mjs lists, as our own `cluster-node` does. It is the Node.js member of mixed clusters, and what
// the cluster suite is proven right on. PORT, REDIS_URL, ADAPTER, NODE_NAME, KEY_PREFIX and SUBSCRIPTION_MODE set it up;
// with ADMIN it serves the Admin UI, with RECOVERY clients may be away for a minute.

import http from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { Server } from "socket.io";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { commands } from "./cluster-commands.mjs";

const env = process.env;
const name = env.NODE_NAME ?? `node-${process.pid}`;
const kind = env.ADAPTER ?? "memory";

async function adapter() {
  if (kind === "memory") return undefined;
  const clients = [];
  for (const role of ["publisher", "subscriber"]) {
    const client = createClient({ url: env.REDIS_URL, socket: { reconnectStrategy: () => 100 } });
    client.on("error", (error) => console.error(role, error.message));
    clients.push(client);
  }
  await Promise.all(clients.map((client) => client.connect()));
  const key = env.KEY_PREFIX ?? "socket.io";
  if (kind === "classic") return createAdapter(...clients, { key, requestsTimeout: 3000 });
  if (kind === "sharded") {
    return createShardedAdapter(...clients, { channelPrefix: key, subscriptionMode: env.SUBSCRIPTION_MODE ?? "dynamic" });
  }
  if (kind === "streams") return createStreamsAdapter(clients[0], { streamName: key, channelPrefix: key });
  throw new Error(`this server has no adapter ${kind}`);
}

const server = http.createServer();
const io = new Server(server, {
  serveClient: false,
  maxHttpBufferSize: 4e6 + 1000,
  adapter: await adapter(),
  ...(env.RECOVERY && { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } }),
});
for (const nsp of [io.of("/"), io.of("/chat")]) commands(nsp, { name, kind, recovery: Boolean(env.RECOVERY) });
if (env.ADMIN) instrument(io, { auth: false, serverId: name, mode: "development" });
server.listen(Number(env.PORT ?? 3000), "127.0.0.1");

// Commands that were under way when Redis went are rejected, and the adapter catches none of it.
process.on("unhandledRejection", (error) => console.error("not caught by the adapter:", error.message));
process.on("SIGTERM", async () => {
  await io.close();
  process.exit(0);
});
