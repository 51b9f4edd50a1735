// The Admin UI of a cluster: connected to one node, it sees and reaches the sockets of all, of Node.js among them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cmd, clusterUnderTest } from "./lib/cluster.mjs";
import { until } from "./lib/waiting.mjs";

process.env.ADMIN = "1";
const cluster = clusterUnderTest();

/** The next `event` that passes `test`. */
async function told(socket, event, test) {
  for (;;) {
    const args = await socket.heard.next(event);
    if (test(...args)) return args;
  }
}

for (const at of ["a", "n"]) {
  test(`the Admin UI at node ${at} is told of all sockets, with the connections under them`, async () => {
    const clients = await cluster.clients("/chat", 1);
    await cmd(clients.b1, { op: "join", rooms: ["lobby"] });
    const admin = await cluster.client(at, "/admin");
    const [sockets] = await admin.heard.next("all_sockets");
    for (const [name, { id, io }] of Object.entries(clients)) {
      const socket = sockets.find((socket) => socket.id === id && socket.nsp === "/chat");
      assert.ok(socket, `${name} is told`);
      assert.equal(socket.clientId, io.engine.id.slice(0, 12), name);
      assert.equal(socket.transport, "websocket");
      assert.ok(!("_admin" in socket.data) && !("auth" in socket.handshake));
      assert.deepEqual(socket.rooms, name === "b1" ? [id, "lobby"] : [id]);
    }
  });

  test(`the Admin UI at node ${at} is told what happens at all nodes`, async () => {
    const admin = await cluster.client(at, "/admin");
    await admin.heard.next("all_sockets");
    const servers = new Set();
    while (servers.size < 3) servers.add((await admin.heard.next("server_stats"))[0].serverId);
    assert.deepEqual([...servers].sort(), ["a", "b", "n"]);
    for (const name of ["a", "b", "n"]) {
      const bob = await cluster.client(name);
      const { id } = bob;
      await told(admin, "socket_connected", (socket) => socket.id === id);
      await cmd(bob, { op: "join", rooms: ["red"] });
      await told(admin, "room_joined", (nsp, room, who) => room === "red" && who === id);
      await told(admin, "event_received", (nsp, who, [event]) => who === id && event === "cmd");
      bob.disconnect();
      await told(admin, "socket_disconnected", (nsp, who) => who === id);
    }
  });

  test(`the Admin UI at node ${at} reaches the sockets of all nodes`, async () => {
    const clients = await cluster.clients("/", 1);
    const admin = await cluster.client(at, "/admin");
    await admin.heard.next("config");
    for (const [name, bob] of Object.entries(clients)) {
      const room = `vip-${at}-${name}`;
      admin.emit("join", "/", room, bob.id);
      await told(admin, "room_joined", (nsp, joined, who) => joined === room && who === bob.id);
      admin.emit("emit", "/", room, "hello", name);
      assert.deepEqual(await bob.heard.next("hello"), [name]);
      admin.emit("_disconnect", "/", false, bob.id);
      await until(5000, `${name} is out`, () => !bob.connected);
    }
  });
}
