// Connection state recovery on the same node of a cluster: what others send to a client's rooms while it is away is heard
// for it, also when nobody else is in them; and no longer when it has left them.
//
//     ADAPTER=classic|sharded|streams SERVER_CMD='["target/debug/cluster-node"]' node --test recovery-back.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { event, until } from "./lib/waiting.mjs";

const adapter = process.env.ADAPTER ?? "classic";
const cluster = clusterUnderTest(undefined, { env: { RECOVERY: process.env.RECOVERY ?? "60" } });

/** A client of node a that is alone in a room, and has heard something there. */
async function alone() {
  const socket = await cluster.client("a");
  const room = fresh("room");
  await cmd(socket, { op: "join", rooms: [room] });
  await cmd(socket, { op: "broadcast", to: [room], event: "hello", args: [] });
  await socket.heard.next("hello");
  return { socket, room };
}

async function breaks(socket) {
  const gone = event(socket, "disconnect");
  socket.io.engine.transport.ws.terminate();
  await gone;
}

async function comesBack(socket) {
  const back = event(socket, "connect");
  socket.connect();
  await back;
}

for (const sender of ["b", "n"]) {
  test(`what node ${sender} sends to the room of one who is away is there when it comes back`, async () => {
    const { socket, room } = await alone();
    const { id } = socket;
    const [other, witness] = [await cluster.client(sender), await cluster.client("a")];
    await breaks(socket);
    for (const [number, to] of [[1, [room]], [2, [id]], [3, [fresh("another")]], [4, [room, id]]]) {
      await cmd(other, { op: "broadcast", to, event: "news", args: [number] });
    }
    // Sharded channels are in no order with each other.
    for (let i = 0; i < 2; i++) {
      await cmd(other, { op: "broadcast", event: "fence", args: [] });
      await witness.heard.next("fence");
    }
    await comesBack(socket);
    assert.equal(socket.recovered, true);
    await cmd(other, { op: "broadcast", to: [room], event: "news", args: [5] });
    await until(2000, "the last is heard", () => socket.heard.of("news").some(([n]) => n === 5));
    const heard = socket.heard.of("news").map(([n]) => n);
    assert.deepEqual(adapter === "sharded" ? heard.sort() : heard, [1, 2, 4, 5]);
  });
}

if (adapter === "sharded") {
  test("a room is heard while its only member is away, and no longer once it has left", async () => {
    const redis = await createClient({ url: cluster.redis.url }).connect();
    const { socket, room } = await alone();
    const witness = await cluster.client("b");
    const channel = `socket.io#/#${room}#`;
    const subscribers = async () => (await redis.pubSubShardNumSub([channel]))[channel];
    assert.equal(await subscribers(), 1);
    await breaks(socket);
    const members = async () => (await cmd(witness, { op: "fetchSockets", to: [room] })).sockets.length;
    await until(2000, "it is gone from the room", async () => (await members()) === 0);
    assert.equal(await subscribers(), 1, "the room is heard for who may come back");
    await comesBack(socket);
    assert.deepEqual([socket.recovered, await subscribers()], [true, 1]);
    // Who has left is not waited for.
    await cmd(socket, { op: "leave", room });
    await until(2000, "nobody hears the room", async () => (await subscribers()) === 0);
    redis.destroy();
  });
}
